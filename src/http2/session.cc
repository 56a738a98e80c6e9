// SPDX-License-Identifier: GPL-3.0-or-later
// The calls of a session's owner.
#include "sluice/http2/session.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <initializer_list>
#include <utility>

#include "http2/session_state.h"
#include "sluice/base/check.h"

namespace sluice::http2 {

namespace {

// The codec's own limiters run on a clock of their own and stop during a drain; abuse_limits does
// their work. Its limiter for noise stays on for what only the codec sees. A backend's frames for
// streams that we have just reset count as noise there, therefore far more room for it.
constexpr std::uint64_t codec_resets_unlimited = std::uint64_t{1} << 40;
constexpr std::uint64_t client_glitch_burst = 2000;
constexpr std::uint64_t client_glitch_rate = 200;
constexpr std::uint64_t backend_glitch_burst = 200'000;
constexpr std::uint64_t backend_glitch_rate = 20'000;

// What we queue on our own account for a stream, while its peer does not read: an interim head, a
// head, credit, RST_STREAM. As many streams are open as we have granted.
constexpr std::size_t queued_frames_per_stream = 4;
// What the codec allocates for one that waits, without a head.
constexpr std::size_t queued_frame_bytes = 256;

constexpr std::size_t hpack_table_bytes = 4096;
constexpr std::uint32_t streams_before_settings = 100;

class Options {
 public:
  explicit Options(const SessionOptions& options) {
    CHECK_EQ(nghttp2_option_new(&option_), 0);
    nghttp2_option_set_no_auto_window_update(option_, 1);
    nghttp2_option_set_peer_max_concurrent_streams(option_, streams_before_settings);
    nghttp2_option_set_max_deflate_dynamic_table_size(option_, hpack_table_bytes);
    // An upper bound that the codec estimates before it packs; every field counts 12 bytes there.
    nghttp2_option_set_max_send_header_block_length(
        option_,
        2 * std::size_t{options.sent_list_bytes_max} + 16 * std::size_t{options.sent_fields_max});
    // A blank at the end of a value (a token read from a file) is passed on as it is.
    nghttp2_option_set_no_rfc9113_leading_and_trailing_ws_validation(option_, 1);
    // What AbuseLimits lets through must reach the codec.
    nghttp2_option_set_max_continuations(option_,
                                         header_block_bytes_max(options) / record_bytes + 8);
    nghttp2_option_set_max_outbound_ack(option_, options.outbound_queue_frames_max);
    nghttp2_option_set_stream_reset_rate_limit(option_, codec_resets_unlimited,
                                               codec_resets_unlimited);
    if (options.server) {
      nghttp2_option_set_glitch_rate_limit(option_, client_glitch_burst, client_glitch_rate);
    } else {
      nghttp2_option_set_glitch_rate_limit(option_, backend_glitch_burst, backend_glitch_rate);
    }
  }
  ~Options() { nghttp2_option_del(option_); }
  Options(const Options&) = delete;
  Options& operator=(const Options&) = delete;

  const nghttp2_option* get() const { return option_; }

 private:
  nghttp2_option* option_ = nullptr;
};

// The codec copies names and values before it returns, and never writes to them.
std::uint8_t* codec_bytes(std::string_view text) {
  return reinterpret_cast<std::uint8_t*>(const_cast<char*>(text.data()));
}

nghttp2_nv name_value(std::string_view name, std::string_view value, bool never_indexed = false) {
  return {
      codec_bytes(name), codec_bytes(value), name.size(), value.size(),
      static_cast<std::uint8_t>(never_indexed ? NGHTTP2_NV_FLAG_NO_INDEX : NGHTTP2_NV_FLAG_NONE)};
}

// Credentials stay out of compression tables (RFC 7541 section 7.1.3), also where a client did not
// ask for it.
bool is_credential(std::string_view name) {
  return name == "authorization" || name == "proxy-authorization" || name == "cookie";
}

// Puts `pseudo` and the fields behind them into `list`, which is reused.
void fill(std::vector<nghttp2_nv>& list, std::initializer_list<nghttp2_nv> pseudo,
          const http::Fields& fields) {
  list.resize(pseudo.size() + fields.size());
  auto at = std::copy(pseudo.begin(), pseudo.end(), list.begin());
  for (std::size_t i = 0; i < fields.size(); ++i) {
    const http::Field field = fields[i];
    *at++ = name_value(field.name, field.value, field.never_indexed || is_credential(field.name));
  }
}

std::array<char, 3> status_text(int status) {
  CHECK(status >= 100 && status <= 999);
  return {static_cast<char>('0' + status / 100), static_cast<char>('0' + status / 10 % 10),
          static_cast<char>('0' + status % 10)};
}

nghttp2_data_provider2 body_source(nghttp2_data_source_read_callback2 read) {
  nghttp2_data_provider2 provider{};
  provider.read_callback = read;
  return provider;
}

}  // namespace

// --- the inside ----------------------------------------------------------------------------------

Session::State::State(SessionHandler& owner, const SessionOptions& session_options, Instant start)
    : handler(owner),
      options(session_options),
      own_memory(session_options.memory == nullptr ? std::make_unique<CodecMemory>() : nullptr),
      memory(
          (session_options.memory == nullptr ? own_memory.get() : session_options.memory)->impl()),
      limits(session_options, start),
      scanner(session_options.server),
      builder(session_options, memory.roomy),
      now(start) {
  const Options codec_options(options);
  nghttp2_mem hooks = memory.hooks();
  // Created inside an event of a session that packs, this one cannot share the frame buffer.
  memory.creating = !memory.packing;
  const int result =
      options.server
          ? nghttp2_session_server_new3(&codec, callbacks(), this, codec_options.get(), &hooks)
          : nghttp2_session_client_new3(&codec, callbacks(), this, codec_options.get(), &hooks);
  memory.creating = false;
  CHECK_EQ(result, 0);
  ++memory.sessions;
  queue_preface();
}

Session::State::~State() {
  CHECK_EQ(phase, Phase::idle);
  nghttp2_session_del(codec);
  streams.for_each([this](Stream& stream) { memory.give_back(std::unique_ptr<Stream>(&stream)); });
  --memory.sessions;
}

void Session::State::queue_preface() {
  if (!options.server) {
    // The client's magic lies in the frame buffer from the start: it must not wait there, where
    // another session packs.
    const std::uint8_t* magic = nullptr;
    const nghttp2_ssize size = nghttp2_session_mem_send2(codec, &magic);
    CHECK_EQ(size, static_cast<nghttp2_ssize>(client_preface_bytes));
    pending.assign(magic, magic + size);
  }
  std::vector<nghttp2_settings_entry> settings;
  if (options.server) {
    settings.push_back({NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, options.max_concurrent_streams});
  } else {
    settings.push_back({NGHTTP2_SETTINGS_ENABLE_PUSH, 0});
  }
  settings.push_back({NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, options.stream_window_bytes});
  settings.push_back({NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, options.header_list_bytes_max});
  // Without it the codec would not share between streams (RFC 9218 section 2.1).
  settings.push_back({NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES, 1});
  CHECK_EQ(nghttp2_submit_settings(codec, NGHTTP2_FLAG_NONE, settings.data(), settings.size()), 0);
  CHECK_EQ(
      nghttp2_session_set_local_window_size(
          codec, NGHTTP2_FLAG_NONE, 0, static_cast<std::int32_t>(options.connection_window_bytes)),
      0);
}

void Session::State::end(AbuseKind abuse_kind, ErrorCode code, std::string_view why) {
  if (failure) return;
  abuse = abuse_kind;
  const bool broken = abuse_kind == AbuseKind::protocol || abuse_kind == AbuseKind::none;
  failure = Error{broken ? ErrorKind::protocol : ErrorKind::limit, peer_side(), Retry::never,
                  std::string(why)};
  // Drops what is queued, PING answers too, and queues GOAWAY. Does nothing when the codec has
  // already done so itself.
  nghttp2_session_terminate_session(codec, static_cast<std::uint32_t>(code));
}

void Session::State::end_for_exceeded_limit() {
  if (limits.exceeded() == AbuseKind::protocol) {
    return end(AbuseKind::protocol, ErrorCode::protocol_error,
               "The peer sent a frame that it must not send.");
  }
  stop_reading(limits.exceeded(),
               fmt::format("The peer exceeded the limit for {}.", to_string(limits.exceeded())));
}

// Not reading is all the protection that a budget needs. A backend's connection ends at once: it is
// read for all who share it.
void Session::State::stop_reading(AbuseKind abuse_kind, std::string_view why) {
  if (!options.server) return end(abuse_kind, ErrorCode::enhance_your_calm, why);
  if (failure) return;
  abuse = abuse_kind;
  failure = Error{ErrorKind::limit, peer_side(), Retry::never, std::string(why)};
  say_goaway(ErrorCode::enhance_your_calm, why);
}

// The last stream is decided here, not when the frame leaves: see on_begin_headers.
void Session::State::say_goaway(ErrorCode code, std::string_view debug) {
  if (draining) return;
  draining = true;
  final_code = code;
  final_stream = nghttp2_session_get_last_proc_stream_id(codec);
  CHECK_EQ(
      nghttp2_submit_goaway(codec, NGHTTP2_FLAG_NONE, final_stream,
                            static_cast<std::uint32_t>(code), as_bytes(debug).data(), debug.size()),
      0);
}

void Session::State::check_codec_result(nghttp2_ssize result) {
  if (result >= 0) return;
  switch (result) {
    case NGHTTP2_ERR_BAD_CLIENT_MAGIC:
      return end(AbuseKind::protocol, ErrorCode::protocol_error,
                 "The client did not begin with the HTTP/2 preface.");
    case NGHTTP2_ERR_FLOODED:
      return end(AbuseKind::outbound_queue, ErrorCode::enhance_your_calm,
                 "The peer does not read the answers that it causes.");
    case NGHTTP2_ERR_TOO_MANY_CONTINUATIONS:
      return end(AbuseKind::continuation, ErrorCode::enhance_your_calm,
                 "A header block has too many CONTINUATION frames.");
    default:
      // Out of memory, or a mistake of ours in a callback.
      CHECK_NE(result, static_cast<nghttp2_ssize>(NGHTTP2_ERR_NOMEM));
      CHECK_NE(result, static_cast<nghttp2_ssize>(NGHTTP2_ERR_CALLBACK_FAILURE));
      return end(AbuseKind::protocol, ErrorCode::internal_error,
                 nghttp2_strerror(static_cast<int>(result)));
  }
}

// The codec does not say when it has ended the connection by itself: it ignores all input from then
// on. So a PING acknowledgement, which has no other effect, is shown to it where one frame has
// ended and none has begun.
void Session::State::probe_codec() {
  static constexpr std::array<std::uint8_t, frame_header_bytes + 8> ping_answer = {
      0, 0, 8, static_cast<std::uint8_t>(FrameType::ping), frame_flag::ack};
  probe_due = false;
  if (nghttp2_session_want_read(codec) == 0) return;
  probing = true;
  probe_answered = false;
  check_codec_result(nghttp2_session_mem_recv2(codec, ping_answer.data(), ping_answer.size()));
  probing = false;
  if (!probe_answered) {
    end(AbuseKind::protocol, ErrorCode::protocol_error, "The peer broke the rules of HTTP/2.");
  }
}

bool Session::State::wants_output() const {
  return pending_at < pending.size() || nghttp2_session_want_write(codec) != 0 ||
         (!had_turn.empty() && nghttp2_session_get_remote_window_size(codec) > 0);
}

void Session::State::output_queued() {
  if (phase != Phase::idle || output_announced || !wants_output()) return;
  output_announced = true;
  handler.on_output_ready();
}

void Session::State::reset(Stream& stream, Reset by, ErrorCode code) {
  if (stream.reset != Reset::none) return;
  stream.reset = by;
  CHECK_EQ(nghttp2_submit_rst_stream(codec, NGHTTP2_FLAG_NONE, stream.id,
                                     static_cast<std::uint32_t>(code)),
           0);
}

// The codec serves the uploads of a client in the order of their ids, each until it has nothing to
// send or its window is used up. Here each upload that had a turn is deferred until all others that
// can send had theirs.
void Session::State::start_next_round() {
  streams.for_each([](Stream& stream) { stream.had_turn = false; });
  std::vector<StreamId> waiting;
  waiting.swap(had_turn);
  for (const StreamId id : waiting) nghttp2_session_resume_data(codec, id);
}

bool Session::State::submit_trailers(StreamId id, const http::Fields& fields) {
  fill(memory.header_list, {}, fields);
  return nghttp2_submit_trailer(codec, id, memory.header_list.data(), memory.header_list.size()) ==
         0;
}

std::size_t Session::State::data_room() const {
  const std::size_t left = output_left();
  const std::size_t to_record_end = record_bytes - output_used % record_bytes;
  if (to_record_end >= data_room_min || left <= to_record_end) return std::min(left, to_record_end);
  return std::min(left, to_record_end + record_bytes);
}

// --- the owner's calls ---------------------------------------------------------------------------

Session::Session(SessionHandler& handler, const SessionOptions& options, Instant now)
    : state_(std::make_unique<State>(handler, options, now)) {}

Session::~Session() = default;

Result<void> Session::feed(Bytes plain, Instant now) {
  State& s = *state_;
  CHECK_EQ(s.phase, State::Phase::idle);
  s.now = now;
  if (!s.failure && !(plain.empty() && !can_go_on())) {
    const State::PhaseGuard guard(s, State::Phase::feeding);
    const std::size_t queued = nghttp2_session_get_outbound_queue_size(s.codec);
    const std::size_t good = s.scanner.scan(
        plain, [&](const FrameHeader& frame) { return s.limits.on_frame(frame, now); });
    s.process(plain.first(good));
    if (s.limits.exceeded() != AbuseKind::none) s.end_for_exceeded_limit();
    const std::size_t queued_now = nghttp2_session_get_outbound_queue_size(s.codec);
    if (queued_now >
        s.options.outbound_queue_frames_max + queued_frames_per_stream * s.streams.size()) {
      s.stop_reading(AbuseKind::outbound_queue,
                     "The peer does not read the answers that it causes.");
    }
    s.probe_due |= queued_now > queued;
    if (s.failure) {
      s.held.clear();
      s.more_to_decode = false;
    }
    if (!s.failure && s.probe_due && !s.more_to_decode && s.scanner.at_boundary()) s.probe_codec();
  }
  s.count_held();
  if (s.failure) return std::unexpected(*s.failure);
  return {};
}

void Session::State::process(Bytes scanned) {
  if (scanned.empty() && !more_to_decode) return;
  decoded_bytes = 0;
  more_to_decode = false;
  std::vector<std::uint8_t> before = std::exchange(held, {});
  if (!before.empty()) {
    before.insert(before.end(), scanned.begin(), scanned.end());
    scanned = before;
  }
  const nghttp2_ssize taken = nghttp2_session_mem_recv2(codec, scanned.data(), scanned.size());
  check_codec_result(taken);
  if (failure) return;
  const Bytes rest = scanned.subspan(static_cast<std::size_t>(taken));
  held.assign(rest.begin(), rest.end());
}

bool Session::can_go_on() const { return state_->more_to_decode; }

bool Session::wants_input() const { return state_->held.size() <= held_input_max; }

std::size_t Session::State::bytes_of(std::span<const nghttp2_nv> head) {
  std::size_t bytes = 0;
  for (const nghttp2_nv& field : head) bytes += field.namelen + field.valuelen + sizeof field;
  return bytes;
}

void Session::State::count_queued_head(Stream& stream, std::span<const nghttp2_nv> head) {
  const std::size_t bytes = bytes_of(head);
  stream.queued_head_bytes += bytes;
  queued_head_bytes += bytes;
}

// Trailers were not counted.
void Session::State::forget_queued_head(Stream& stream, std::size_t bytes) {
  bytes = std::min(bytes, stream.queued_head_bytes);
  DCHECK(bytes <= queued_head_bytes);
  stream.queued_head_bytes -= bytes;
  queued_head_bytes -= bytes;
}

void Session::State::count_held() {
  held_bytes = held.size() + (building != nullptr ? builder.held_bytes() : 0) + pending.size() +
               queued_head_bytes +
               nghttp2_session_get_outbound_queue_size(codec) * queued_frame_bytes;
}

std::size_t Session::collect(MutableBytes batch) {
  State& s = *state_;
  CHECK_EQ(s.phase, State::Phase::idle);
  CHECK(!s.memory.packing);  // A session's events must not collect from another one.
  if (batch.empty()) return 0;
  const State::PhaseGuard guard(s, State::Phase::collecting);
  s.output = batch;
  s.output_used = 0;
  s.out_of_room = false;
  if (s.pending_at < s.pending.size()) {
    const std::size_t n = std::min(batch.size(), s.pending.size() - s.pending_at);
    std::memcpy(batch.data(), s.pending.data() + s.pending_at, n);
    s.pending_at += n;
    s.output_used = n;
    if (s.pending_at == s.pending.size()) {
      std::vector<std::uint8_t>().swap(s.pending);
      s.pending_at = 0;
    }
  }
  while (s.output_left() > 0) {
    const std::uint8_t* frame = nullptr;
    const nghttp2_ssize result = nghttp2_session_mem_send2(s.codec, &frame);
    if (result < 0) {
      s.check_codec_result(result);
      break;
    }
    if (result == 0) {
      if (s.out_of_room || s.had_turn.empty()) break;
      s.start_next_round();
      continue;
    }
    const auto size = static_cast<std::size_t>(result);
    const std::size_t fits = std::min(size, s.output_left());
    std::memcpy(s.output.data() + s.output_used, frame, fits);
    s.output_used += fits;
    if (fits < size) s.pending.assign(frame + fits, frame + size);
  }
  s.output = {};
  s.count_held();
  if (!s.wants_output()) s.output_announced = false;
  return s.output_used;
}

bool Session::wants_output() const { return state_->wants_output(); }

bool Session::finished() const {
  const State& s = *state_;
  return s.pending_at == s.pending.size() && nghttp2_session_want_read(s.codec) == 0 &&
         nghttp2_session_want_write(s.codec) == 0;
}

Result<StreamId> Session::submit_request(const http::RequestHead& head, bool has_body,
                                         std::uint64_t tag) {
  State& s = *state_;
  CHECK(!s.options.server);
  if (!can_open_stream()) {
    return fail(ErrorKind::unavailable, "The session cannot open another stream.", Side::backend,
                Retry::not_executed);
  }
  std::vector<nghttp2_nv>& list = s.memory.header_list;
  fill(list,
       {name_value(":method", head.method), name_value(":scheme", head.scheme),
        name_value(":path", head.path), name_value(":authority", head.authority)},
       head.fields);
  // An absent authority is not an empty one.
  if (head.authority.empty()) list.erase(list.begin() + 3);
  const nghttp2_data_provider2 body = body_source(&State::read_body);
  const std::int32_t id = nghttp2_submit_request2(s.codec, nullptr, list.data(), list.size(),
                                                  has_body ? &body : nullptr, nullptr);
  if (id < 0) {
    return fail(ErrorKind::unavailable, nghttp2_strerror(id), Side::backend, Retry::not_executed);
  }
  Stream& stream = s.open_stream(id, tag);
  stream.announced = true;
  stream.send(Part::body);
  if (has_body) {
    stream.uploading = true;
    ++s.uploads;
  }
  s.output_queued();
  return id;
}

void Session::set_tag(StreamId id, std::uint64_t tag) {
  if (Stream* stream = state_->streams.find(id)) stream->tag = tag;
}

void Session::submit_response(StreamId id, const http::ResponseHead& head, bool has_body) {
  State& s = *state_;
  CHECK(s.options.server);
  Stream* stream = s.streams.find(id);
  if (stream == nullptr || stream->reset != Reset::none) return;
  CHECK_EQ(stream->sending, Part::head);
  const std::array<char, 3> status = status_text(head.status);
  CHECK_GE(head.status, 200);
  std::vector<nghttp2_nv>& list = s.memory.header_list;
  fill(list, {name_value(":status", {status.data(), status.size()})}, head.fields);
  const nghttp2_data_provider2 body = body_source(&State::read_body);
  CHECK_EQ(
      nghttp2_submit_response2(s.codec, id, list.data(), list.size(), has_body ? &body : nullptr),
      0);
  s.count_queued_head(*stream, list);
  stream->send(Part::body);
  stream->answered = true;
  s.output_queued();
}

void Session::submit_interim(StreamId id, const http::ResponseHead& head) {
  State& s = *state_;
  CHECK(s.options.server);
  Stream* stream = s.streams.find(id);
  if (stream == nullptr || stream->reset != Reset::none) return;
  CHECK_EQ(stream->sending, Part::head);
  CHECK_LT(head.status, 200);
  const std::array<char, 3> status = status_text(head.status);
  std::vector<nghttp2_nv>& list = s.memory.header_list;
  fill(list, {name_value(":status", {status.data(), status.size()})}, head.fields);
  CHECK_EQ(nghttp2_submit_headers(s.codec, NGHTTP2_FLAG_NONE, id, nullptr, list.data(), list.size(),
                                  nullptr),
           0);
  s.count_queued_head(*stream, list);
  s.output_queued();
}

void Session::resume_body(StreamId id) {
  State& s = *state_;
  Stream* stream = s.streams.find(id);
  if (stream == nullptr) return;
  stream->resumed = true;
  // Fails when the body is not waiting, which is as good.
  nghttp2_session_resume_data(s.codec, id);
  s.output_queued();
}

void Session::reset_stream(StreamId id, ErrorCode code) {
  State& s = *state_;
  Stream* stream = s.streams.find(id);
  if (stream == nullptr) return;
  if (s.options.server && code == ErrorCode::no_error && stream->sending == Part::body) {
    stream->stop_upload = true;  // RST_STREAM now would drop the queued response.
    return;
  }
  if (stream->malformed && code == ErrorCode::no_error) code = ErrorCode::protocol_error;
  s.reset(*stream, stream->malformed ? Reset::provoked : Reset::by_us, code);
  s.output_queued();
}

void Session::consume(StreamId id, std::size_t bytes) {
  CHECK_EQ(nghttp2_session_consume_stream(state_->codec, id, bytes), 0);
  state_->output_queued();
}

void Session::grow_stream_window(StreamId id, std::uint32_t bytes) {
  State& s = *state_;
  const std::int32_t now = nghttp2_session_get_stream_effective_local_window_size(s.codec, id);
  if (now < 0 || static_cast<std::uint32_t>(now) >= bytes || bytes > INT32_MAX) return;
  CHECK_EQ(nghttp2_session_set_local_window_size(s.codec, NGHTTP2_FLAG_NONE, id,
                                                 static_cast<std::int32_t>(bytes)),
           0);
  s.output_queued();
}

void Session::goaway_notice() {
  if (!state_->options.server) return;
  CHECK_EQ(nghttp2_submit_shutdown_notice(state_->codec), 0);
  state_->output_queued();
}

void Session::goaway_final(ErrorCode code, std::string_view debug) {
  state_->say_goaway(code, debug);
  state_->output_queued();
}

void Session::ping(std::uint64_t opaque) {
  std::array<std::uint8_t, 8> bytes{};
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    bytes[i] = static_cast<std::uint8_t>(opaque >> (8 * (bytes.size() - 1 - i)));
  }
  state_->limits.on_ping_sent();
  CHECK_EQ(nghttp2_submit_ping(state_->codec, NGHTTP2_FLAG_NONE, bytes.data()), 0);
  state_->output_queued();
}

std::uint32_t Session::peer_max_concurrent_streams() const {
  return nghttp2_session_get_remote_settings(state_->codec,
                                             NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS);
}

bool Session::receiving_head() const {
  return state_->building != nullptr && !state_->more_to_decode;
}

std::uint64_t Session::heads_begun() const { return state_->heads_begun; }

bool Session::settings_received() const { return state_->settings_received; }

std::size_t Session::open_streams() const { return state_->streams.size(); }

bool Session::goaway_received() const { return state_->goaway_received; }

bool Session::request_written(StreamId id) const {
  const Stream* stream = state_->streams.find(id);
  return stream != nullptr && stream->written;
}

std::vector<StreamRef> Session::streams() const {
  std::vector<StreamRef> refs;
  refs.reserve(state_->streams.size());
  state_->streams.for_each([&refs](const Stream& stream) {
    if (stream.announced) refs.push_back(stream.ref());
  });
  return refs;
}

StreamId Session::last_peer_stream() const {
  return nghttp2_session_get_last_proc_stream_id(state_->codec);
}

bool Session::can_open_stream() const {
  const State& s = *state_;
  return !s.options.server && !s.failure && !s.draining && !s.goaway_received &&
         s.streams.size() < peer_max_concurrent_streams() &&
         nghttp2_session_check_request_allowed(s.codec) != 0;
}

std::size_t Session::held_bytes() const { return state_->held_bytes; }

std::size_t Session::queued_frames() const {
  return nghttp2_session_get_outbound_queue_size(state_->codec);
}

AbuseKind Session::abuse() const { return state_->abuse; }

std::int32_t Session::receive_window() const {
  return nghttp2_session_get_local_window_size(state_->codec);
}

std::int32_t Session::send_window() const {
  return nghttp2_session_get_remote_window_size(state_->codec);
}

std::string Session::describe() const {
  const State& s = *state_;
  return fmt::format(
      "http2 {} streams={} last_peer_stream={} queued_frames={} pending_bytes={} "
      "receive_window={} send_window={} settings={} goaway={}{} abuse={}{}{}",
      s.options.server ? "server" : "client", s.streams.size(), last_peer_stream(), queued_frames(),
      s.pending.size() - s.pending_at, receive_window(), send_window(),
      s.settings_received ? "received" : "awaited", s.draining ? "sent" : "",
      s.goaway_received ? "received" : "", to_string(s.abuse),
      s.reason.empty() ? "" : " reason=", s.reason);
}

std::string_view to_string(AbuseKind kind) {
  switch (kind) {
    case AbuseKind::none: return "none";
    case AbuseKind::resets: return "resets";
    case AbuseKind::control_frames: return "control_frames";
    case AbuseKind::header_block: return "header_block";
    case AbuseKind::continuation: return "continuation";
    case AbuseKind::outbound_queue: return "outbound_queue";
    case AbuseKind::protocol: return "protocol";
  }
  return "unknown";
}

}  // namespace sluice::http2
