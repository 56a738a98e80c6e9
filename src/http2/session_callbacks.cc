// SPDX-License-Identifier: GPL-3.0-or-later
// What the codec calls while it reads and writes frames. Events reach the owner from here. A stream
// object lives until on_stream_close, which the codec never calls inside of an event.
#include <algorithm>
#include <cstring>
#include <utility>

#include "http2/broken_rule.h"
#include "http2/session_state.h"
#include "sluice/base/check.h"

namespace sluice::http2 {

namespace {

// What is done for a request beside decoding it, as bytes that are decoded in the time.
constexpr std::size_t head_cost = 2048;

// Set by our patch of the codec, which then gives a placeholder: name or value was longer than
// 256 KB on the wire (subprojects/packagefiles/nghttp2).
constexpr std::uint8_t nv_flag_too_long = 0x80;

// What on_invalid_frame may say to our patch of the codec: the stream is not reset, we answer it.
constexpr int stream_is_answered = 1;

std::string_view text_of(nghttp2_rcbuf* buffer) {
  const nghttp2_vec bytes = nghttp2_rcbuf_get_buf(buffer);
  return {reinterpret_cast<const char*>(bytes.base), bytes.len};
}

constexpr std::size_t reason_bytes_max = 128;

// A peer's words, fit for a log line.
std::string printable(const std::uint8_t* data, std::size_t size) {
  std::string text(reinterpret_cast<const char*>(data), std::min(size, reason_bytes_max));
  for (char& c : text) {
    if (c < 0x20 || c > 0x7e) c = '?';
  }
  return text;
}

}  // namespace

const nghttp2_session_callbacks* Session::State::callbacks() {
  static const nghttp2_session_callbacks* const callbacks = [] {
    nghttp2_session_callbacks* c = nullptr;
    CHECK_EQ(nghttp2_session_callbacks_new(&c), 0);
    nghttp2_session_callbacks_set_on_begin_headers_callback(c, on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback2(c, on_header);
    nghttp2_session_callbacks_set_on_invalid_header_callback2(c, on_invalid_header);
    nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(c, on_invalid_frame);
    nghttp2_session_callbacks_set_on_frame_recv_callback(c, on_frame_received);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(c, on_data_chunk);
    nghttp2_session_callbacks_set_on_stream_close_callback(c, on_stream_close);
    nghttp2_session_callbacks_set_before_frame_send_callback(c, before_frame_sent);
    nghttp2_session_callbacks_set_on_frame_send_callback(c, on_frame_sent);
    nghttp2_session_callbacks_set_on_frame_not_send_callback(c, on_frame_not_sent);
    nghttp2_session_callbacks_set_data_source_read_length_callback2(c, data_length);
    nghttp2_session_callbacks_set_send_data_callback(c, send_data);
    return c;
  }();
  return callbacks;
}

Stream& Session::State::open_stream(StreamId id, std::uint64_t tag) {
  Stream* stream = memory.take_stream().release();
  stream->id = id;
  stream->tag = tag;
  stream->opened = now;
  streams.insert(stream);
  return *stream;
}

// --- receiving -----------------------------------------------------------------------------------

int Session::State::on_begin_headers(nghttp2_session* codec, const nghttp2_frame* frame,
                                     void* user) {
  State& s = *static_cast<State*>(user);
  const StreamId id = frame->hd.stream_id;
  Stream* stream = s.streams.find(id);
  if (stream == nullptr) {
    CHECK(s.options.server);
    stream = &s.open_stream(id, 0);
    // All streams share the connection equally, by bytes. A more urgent one, a watch with much to
    // say, would keep others from it for as long as it likes; and the client's wishes do not count
    // (RFC 9218 section 4.2: not incremental would mean one after the other).
    const nghttp2_extpri priority{NGHTTP2_EXTPRI_DEFAULT_URGENCY, 1};
    CHECK_EQ(nghttp2_session_change_extpri_stream_priority(codec, id, &priority, 1), 0);
    // While other frames leave before our GOAWAY, the codec still takes streams that it will say
    // were not processed: the client sends such a request again, whatever its method.
    if (s.draining && id > s.final_stream) {
      s.reset(*stream, Reset::by_us, ErrorCode::refused_stream);
    }
  }
  s.building = stream;
  ++s.heads_begun;
  s.decoded_bytes += head_cost;
  if (stream->receiving != Part::head) {
    s.builder.begin(HeadBuilder::Kind::trailers);
  } else {
    s.builder.begin(s.options.server ? HeadBuilder::Kind::request : HeadBuilder::Kind::response);
  }
  return 0;
}

int Session::State::on_header(nghttp2_session*, const nghttp2_frame*, nghttp2_rcbuf* name,
                              nghttp2_rcbuf* value, std::uint8_t flags, void* user) {
  State& s = *static_cast<State*>(user);
  Stream* stream = s.building;
  const std::size_t size = text_of(name).size() + text_of(value).size();
  // Nobody reads it, and it takes its time all the same.
  if (stream == nullptr || stream->reset != Reset::none) return s.decoded(size);
  const HeadBuilder::Added added =
      (flags & nv_flag_too_long) == 0
          ? s.builder.add(text_of(name), text_of(value), (flags & NGHTTP2_NV_FLAG_NO_INDEX) != 0)
          : HeadBuilder::Added::too_large;
  const int go_on = s.decoded(size);
  if (added == HeadBuilder::Added::kept) [[likely]]
    return go_on;
  if (!stream->head_too_large) {
    stream->head_too_large = true;
    s.builder.keep_request_line();
    if (!s.limits.on_head_too_large(s.now)) s.end_for_exceeded_limit();
  }
  // Only the head of a request can be answered with a status.
  if (s.options.server && stream->receiving == Part::head &&
      added == HeadBuilder::Added::too_large) {
    return go_on;
  }
  s.stream_error(*stream, ErrorCode::enhance_your_calm);
  return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;  // The rest is decoded without being looked at.
}

// Stops the codec when it is enough for now.
int Session::State::decoded(std::size_t bytes) {
  decoded_bytes += bytes;
  if (decoded_bytes <= options.decoded_at_once) return 0;
  more_to_decode = true;
  return NGHTTP2_ERR_PAUSE;
}

// Without this the codec would drop some of these fields in silence and pass the message on.
int Session::State::on_invalid_header(nghttp2_session*, const nghttp2_frame*, nghttp2_rcbuf* name,
                                      nghttp2_rcbuf*, std::uint8_t, void* user) {
  State& s = *static_cast<State*>(user);
  if (s.options.server) s.rule = broken_rule(text_of(name));
  return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
}

// The codec queues RST_STREAM, unless we answer, or ends the connection.
int Session::State::on_invalid_frame(nghttp2_session*, const nghttp2_frame* frame, int error,
                                     void* user) {
  State& s = *static_cast<State*>(user);
  s.reason = nghttp2_strerror(error);
  s.count_stream_error();
  Stream* stream = s.streams.find(frame->hd.stream_id);
  if (stream == nullptr || stream->reset != Reset::none) return 0;
  const bool malformed = error == NGHTTP2_ERR_HTTP_HEADER || error == NGHTTP2_ERR_HTTP_MESSAGING;
  if (!s.options.server || !malformed || s.failure) {
    stream->reset = Reset::provoked;
    return 0;
  }
  if (error == NGHTTP2_ERR_HTTP_MESSAGING) s.rule = s.broken_message_rule(*stream, *frame);
  stream->malformed = true;  // Told when the frame is complete.
  return stream_is_answered;
}

// All fields of the message are valid by themselves.
std::string_view Session::State::broken_message_rule(const Stream& stream,
                                                     const nghttp2_frame& frame) {
  if (frame.hd.type == NGHTTP2_HEADERS && &stream == building) {
    if (stream.receiving != Part::head) {
      if ((frame.hd.flags & NGHTTP2_FLAG_END_STREAM) == 0) {
        return "trailers do not end the stream (RFC 9113 section 8.1)";
      }
    } else if (const std::string_view why = builder.finish_request(); !why.empty()) {
      return why;
    } else if (!builder.request().path.starts_with('/')) {
      return ":path does not begin with a slash";
    }
  }
  return "the body is not as long as the field \"content-length\" says (RFC 9113 section 8.1.1)";
}

void Session::State::tell_malformed(Stream& stream) {
  if (std::exchange(stream.malformed_told, true)) return;
  http::RequestHead head;
  if (stream.receiving == Part::head) {
    stream.receive(Part::body);
    head = std::move(builder.request());
  }
  stream.announced = true;
  if (!failure) handler.on_malformed(stream.ref(), std::move(head), rule);
  // An answer that has begun goes on, as an API server's does: who sees the head of an error may
  // end its upload early (curl 7.88).
  if (stream.sending == Part::head) reset(stream, Reset::provoked, ErrorCode::protocol_error);
}

void Session::State::stream_error(Stream& stream, ErrorCode code) {
  reset(stream, Reset::provoked, code);
  count_stream_error();
}

void Session::State::count_stream_error() {
  if (!limits.on_stream_error(now)) end_for_exceeded_limit();
}

int Session::State::on_frame_received(nghttp2_session*, const nghttp2_frame* frame, void* user) {
  State& s = *static_cast<State*>(user);
  const bool end_of_stream = (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
  const bool is_answer = (frame->hd.flags & NGHTTP2_FLAG_ACK) != 0;
  switch (frame->hd.type) {
    case NGHTTP2_DATA:
      if (Stream* stream = s.streams.find(frame->hd.stream_id);
          stream != nullptr && end_of_stream) {
        s.finish_peer(*stream);
      }
      break;
    case NGHTTP2_HEADERS:
      if (Stream* stream = s.building) {
        s.building = nullptr;
        if (stream->reset == Reset::none) s.finish_head(*stream, end_of_stream);
        s.builder.release();
        if (end_of_stream) s.finish_peer(*stream);
      }
      break;
    case NGHTTP2_RST_STREAM: s.peer_reset(frame->hd.stream_id); break;
    case NGHTTP2_SETTINGS:
      if (is_answer) break;
      s.settings_received = true;
      s.handler.on_settings();
      break;
    case NGHTTP2_PING:
      if (!is_answer) break;
      if (s.probing) {
        s.probe_answered = true;
      } else {
        std::uint64_t opaque = 0;
        for (const std::uint8_t byte : frame->ping.opaque_data) opaque = (opaque << 8) | byte;
        s.handler.on_ping_answer(opaque);
      }
      break;
    case NGHTTP2_GOAWAY: s.peer_goaway(frame->goaway); break;
    default: break;
  }
  return 0;
}

void Session::State::finish_head(Stream& stream, bool end_of_stream) {
  if (stream.malformed) return tell_malformed(stream);
  if (stream.receiving == Part::body) {
    return handler.on_trailers(stream.ref(), std::move(builder.trailers()));
  }
  if (!options.server) {
    http::ResponseHead& head = builder.response();
    if (head.status >= 200) stream.receive(Part::body);
    return handler.on_response(stream.ref(), std::move(head), end_of_stream);
  }
  if (stream.head_too_large) {
    stream.receive(Part::body);
    stream.announced = true;
    builder.keep_request_line();  // a field that was too long by itself is followed by others
    return handler.on_head_too_large(stream.ref(), std::move(builder.request()));
  }
  if (const std::string_view why = builder.finish_request(); !why.empty()) {
    rule = why;
    count_stream_error();
    stream.malformed = true;
    return tell_malformed(stream);
  }
  stream.receive(Part::body);
  stream.announced = true;
  handler.on_request(stream.ref(), std::move(builder.request()), end_of_stream);
}

void Session::State::finish_peer(Stream& stream) {
  if (stream.receiving == Part::ended) return;
  stream.receive(Part::ended);
  if (stream.malformed && stream.reset == Reset::none) tell_malformed(stream);
  if (stream.announced && stream.reset == Reset::none) handler.on_end_of_stream(stream.ref());
  end_malformed(stream);
}

// The answer has been sent, and nothing more can come.
void Session::State::end_malformed(Stream& stream) {
  if (!stream.malformed || stream.sending != Part::ended || stream.receiving != Part::ended) return;
  reset(stream, Reset::provoked, ErrorCode::protocol_error);
}

void Session::State::peer_reset(StreamId id) {
  Stream* stream = streams.find(id);
  bool within_limits = true;
  if (stream == nullptr) {
    within_limits = limits.on_late_reset_received(now);
  } else if (stream->reset == Reset::none) {
    stream->reset = Reset::by_peer;
    within_limits = limits.on_reset_received(now - stream->opened, stream->answered, now);
  }  // else both sides reset it at the same time
  if (!within_limits) end_for_exceeded_limit();
}

// The codec closes our streams above the last id after this.
void Session::State::peer_goaway(const nghttp2_goaway& frame) {
  goaway_received = true;
  if (frame.opaque_data_len > 0) {
    reason = printable(frame.opaque_data, frame.opaque_data_len);
  }
  handler.on_goaway(frame.last_stream_id, static_cast<ErrorCode>(frame.error_code));
}

int Session::State::on_data_chunk(nghttp2_session* codec, std::uint8_t, std::int32_t id,
                                  const std::uint8_t* data, std::size_t size, void* user) {
  State& s = *static_cast<State*>(user);
  CHECK_EQ(nghttp2_session_consume_connection(codec, size), 0);
  Stream* stream = s.streams.find(id);
  if (stream != nullptr && stream->malformed && stream->reset == Reset::none) {
    s.tell_malformed(*stream);
  }
  // The rest of a frame whose stream was reset meanwhile is dropped.
  if (stream != nullptr && stream->reset == Reset::none) {
    s.handler.on_data(stream->ref(), {data, size});
  }
  return 0;
}

int Session::State::on_stream_close(nghttp2_session*, std::int32_t id, std::uint32_t code,
                                    void* user) {
  State& s = *static_cast<State*>(user);
  Stream* stream = s.streams.find(id);
  if (stream == nullptr) return 0;
  if (s.building == stream) s.building = nullptr;
  s.end_upload(*stream);
  if (stream->reset == Reset::none || stream->reset == Reset::by_us) s.limits.on_stream_finished();
  const bool refused_by_goaway = !s.options.server && s.goaway_received &&
                                 stream->reset == Reset::none && code == NGHTTP2_REFUSED_STREAM;
  if (stream->announced) {
    s.handler.on_stream_closed(stream->ref(), static_cast<ErrorCode>(code),
                               stream->reset == Reset::by_peer || refused_by_goaway);
  }
  s.forget_queued_head(*stream, stream->queued_head_bytes);
  s.streams.erase(id);
  s.memory.give_back(std::unique_ptr<Stream>(stream));
  return 0;
}

// --- sending -------------------------------------------------------------------------------------

int Session::State::before_frame_sent(nghttp2_session*, const nghttp2_frame* frame, void* user) {
  State& s = *static_cast<State*>(user);
  if (frame->hd.type != NGHTTP2_HEADERS) return 0;
  Stream* stream = s.streams.find(frame->hd.stream_id);
  if (stream == nullptr) return 0;
  if (frame->headers.cat == NGHTTP2_HCAT_REQUEST) {
    stream->written = true;
  } else if (stream->queued_head_bytes > 0) {
    s.forget_queued_head(*stream, bytes_of({frame->headers.nva, frame->headers.nvlen}));
  }
  return 0;
}

int Session::State::on_frame_sent(nghttp2_session*, const nghttp2_frame* frame, void* user) {
  State& s = *static_cast<State*>(user);
  if (frame->hd.type == NGHTTP2_DATA || frame->hd.type == NGHTTP2_HEADERS) {
    if ((frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0) s.sent_end_of_stream(frame->hd.stream_id);
  } else if (frame->hd.type == NGHTTP2_GOAWAY) {
    s.sent_goaway(frame->goaway);
  }
  return 0;
}

// A response head or trailers above the codec's bound: nobody else would end the stream. (A request
// that cannot be sent is closed by the codec with REFUSED_STREAM; it was never written.)
int Session::State::on_frame_not_sent(nghttp2_session*, const nghttp2_frame* frame, int error,
                                      void* user) {
  State& s = *static_cast<State*>(user);
  if (error != NGHTTP2_ERR_FRAME_SIZE_ERROR || frame->hd.type != NGHTTP2_HEADERS ||
      frame->headers.cat == NGHTTP2_HCAT_REQUEST) {
    return 0;
  }
  if (Stream* stream = s.streams.find(frame->hd.stream_id)) {
    s.reset(*stream, Reset::by_us, ErrorCode::internal_error);
  }
  return 0;
}

void Session::State::sent_end_of_stream(StreamId id) {
  Stream* stream = streams.find(id);
  if (stream == nullptr) return;
  stream->send(Part::ended);
  end_upload(*stream);
  end_malformed(*stream);
  if (stream->stop_upload && stream->receiving != Part::ended) {
    if (stream->malformed) return reset(*stream, Reset::provoked, ErrorCode::protocol_error);
    reset(*stream, Reset::by_us, ErrorCode::no_error);
  }
}

void Session::State::sent_goaway(const nghttp2_goaway& frame) {
  const auto code = static_cast<ErrorCode>(frame.error_code);
  if (code == ErrorCode::no_error || (draining && code == final_code)) return;
  // The codec knows best what was wrong.
  if (frame.opaque_data_len > 0) {
    reason = printable(frame.opaque_data, frame.opaque_data_len);
  }
  end(code == ErrorCode::enhance_your_calm ? AbuseKind::control_frames : AbuseKind::protocol, code,
      reason.empty() ? std::string_view("The peer broke the rules of HTTP/2.") : reason);
}

void Session::State::end_upload(Stream& stream) {
  if (!stream.uploading) return;
  stream.uploading = false;
  --uploads;
}

// How much DATA fits where the next frame would lie. The codec takes the minimum of it and both
// windows; it must not be zero.
nghttp2_ssize Session::State::data_length(nghttp2_session*, std::uint8_t, std::int32_t,
                                          std::int32_t connection_window,
                                          std::int32_t stream_window, std::uint32_t, void* user) {
  State& s = *static_cast<State*>(user);
  s.data_window = std::min(connection_window, stream_window);
  const std::size_t room = s.data_room();
  if (room < data_room_min) return 1;  // read_body will say that it has to wait.
  return static_cast<nghttp2_ssize>(
      std::min(room - frame_header_bytes, record_bytes - frame_header_bytes));
}

// The body is written where send_data will want it, behind the room for the frame's header.
nghttp2_ssize Session::State::read_body(nghttp2_session*, std::int32_t id, std::uint8_t*,
                                        std::size_t length, std::uint32_t* data_flags,
                                        nghttp2_data_source*, void* user) {
  State& s = *static_cast<State*>(user);
  if (s.data_room() < data_room_min) {
    s.out_of_room = true;
    return NGHTTP2_ERR_PAUSE;
  }
  Stream* stream = s.streams.find(id);
  CHECK(stream != nullptr);
  if (stream->had_turn && s.uploads > 1) {
    s.had_turn.push_back(id);
    return NGHTTP2_ERR_DEFERRED;
  }
  const BodyResult body =
      s.ask_for_body(*stream, s.output.subspan(s.output_used + frame_header_bytes, length));
  if (body.bytes == 0 && body.status == BodyStatus::more) return NGHTTP2_ERR_DEFERRED;
  stream->had_turn = stream->uploading;
  *data_flags |= NGHTTP2_DATA_FLAG_NO_COPY;
  if (body.status == BodyStatus::finished) {
    *data_flags |= NGHTTP2_DATA_FLAG_EOF;
    if (s.attach_trailers(*stream)) *data_flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
  }
  s.limits.on_data_sent(body.bytes, body.bytes == static_cast<std::size_t>(s.data_window));
  return static_cast<nghttp2_ssize>(body.bytes);
}

BodyResult Session::State::ask_for_body(Stream& stream, MutableBytes room) {
  stream.resumed = false;
  BodyResult body = handler.on_body_wanted(stream.ref(), room);
  if (body.bytes == 0 && body.status == BodyStatus::more && stream.resumed) {
    // It became ready while it was asked; the codec takes a resume only from a waiting body.
    body = handler.on_body_wanted(stream.ref(), room);
  }
  CHECK_LE(body.bytes, room.size());
  return body;
}

bool Session::State::attach_trailers(const Stream& stream) {
  const http::Fields* trailers = handler.on_trailers_wanted(stream.ref());
  if (trailers == nullptr || trailers->empty()) return false;
  return submit_trailers(stream.id, *trailers);
}

int Session::State::send_data(nghttp2_session*, nghttp2_frame*, const std::uint8_t* header,
                              std::size_t length, nghttp2_data_source*, void* user) {
  State& s = *static_cast<State*>(user);
  CHECK_LE(frame_header_bytes + length, s.output_left());
  std::memcpy(s.output.data() + s.output_used, header, frame_header_bytes);
  s.output_used += frame_header_bytes + length;
  return 0;
}

}  // namespace sluice::http2
