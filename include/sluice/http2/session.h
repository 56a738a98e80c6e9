// SPDX-License-Identifier: GPL-3.0-or-later
// One HTTP/2 connection (RFC 9113) without a socket: feed() plain bytes, collect() plain bytes,
// events per stream. The same class serves clients (role server) and speaks to backends (role
// client). Not thread-safe.
//
// Streams are named by id; a StreamId of an ended stream is answered with "no such stream", never
// with another one. The session may be destroyed only outside of its own callbacks.
//
// Flow control: connection-level credit is returned on receipt; stream-level credit only by
// consume(), when the bytes have left for the other side.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "sluice/base/bytes.h"
#include "sluice/base/error.h"
#include "sluice/base/time.h"
#include "sluice/http/body.h"
#include "sluice/http/message.h"

namespace sluice::http2 {

class CodecMemory;

using StreamId = std::int32_t;

// A stream in an event: its id, and the tag that the owner gave it (0 until set_tag).
struct StreamRef {
  StreamId id = 0;
  std::uint64_t tag = 0;
};

// RFC 9113 section 7.
enum class ErrorCode : std::uint32_t {
  no_error = 0,
  protocol_error = 1,
  internal_error = 2,
  flow_control_error = 3,
  settings_timeout = 4,
  stream_closed = 5,
  frame_size_error = 6,
  refused_stream = 7,
  cancel = 8,
  compression_error = 9,
  connect_error = 10,
  enhance_your_calm = 11,
  inadequate_security = 12,
  http_1_1_required = 13,
};

struct SessionOptions {
  bool server = true;
  std::uint32_t max_concurrent_streams = 250;  // advertised when server
  std::uint32_t stream_window_bytes = 64 * 1024;
  std::uint32_t connection_window_bytes = 16 * 1024 * 1024;
  // Heads that are received.
  std::uint32_t header_fields_max = 4096;
  std::uint32_t header_list_bytes_max = 256 * 1024;  // as RFC 9113 section 6.5.2 counts
  // One feed() decodes no more than this of heads and leaves the rest for the next, whose owner
  // asks can_go_on(): one byte on the wire can be a field of kilobytes, and others wait for all of
  // it.
  std::size_t decoded_at_once = SIZE_MAX;
  // Heads that are sent; the limits of whoever received them. A head above it is reset.
  std::uint32_t sent_fields_max = 8192;
  std::uint32_t sent_list_bytes_max = 1024 * 1024;
  // Abuse budgets: token buckets for each connection; exceeding one ends it.
  // RST_STREAM received or provoked, see abuse_limits.h; at least twice the streams of a client.
  std::uint32_t resets_burst = 500;
  std::uint32_t resets_per_second = 20;
  std::uint32_t control_frames_burst = 200;  // PING, SETTINGS, PRIORITY, empty DATA …
  std::uint32_t control_frames_per_second = 20;
  std::uint32_t large_heads_burst = 20;  // above a limit of a head
  // Answers that we owe to a peer that does not read, beside those of its open streams.
  std::uint32_t outbound_queue_frames_max = 1000;
  // Shared by all sessions of a worker (codec_memory.h); null: the session has its own, 16 KB more.
  CodecMemory* memory = nullptr;

  // For a peer of whose kind several have exceeded them lately: a tenth at once, as often later.
  SessionOptions with_little_patience() const {
    SessionOptions little = *this;
    for (std::uint32_t* burst :
         {&little.resets_burst, &little.control_frames_burst, &little.large_heads_burst}) {
      *burst = *burst / 10 + 1;
    }
    return little;
  }

  friend bool operator==(const SessionOptions&, const SessionOptions&) = default;
};

using http::BodyResult;
using http::BodyStatus;

// Events, called from feed() and collect(). None may destroy the session; all may call its methods.
class SessionHandler {
 public:
  virtual ~SessionHandler() = default;

  // role server: a complete request head. role client: never.
  virtual void on_request(StreamRef, http::RequestHead&&, bool /*end_of_stream*/) {}
  // role client: a complete response head; `head.status` may be 1xx, then another head follows.
  virtual void on_response(StreamRef, http::ResponseHead&&, bool /*end_of_stream*/) {}
  // The head of this stream broke a limit (fields, bytes) and was dropped but for its request line,
  // as far as that came: answer it with 431 or reset it. Role server only; a backend's stream is
  // reset by the session itself (enhance_your_calm), as are trailers, and requests above
  // head_answered_bytes_max, which are not shown at all.
  virtual void on_head_too_large(StreamRef, http::RequestHead&& /*line*/) {}
  // The request breaks a rule of HTTP; `why` says which, in a sentence. Either its head (`head` has
  // what was read of it; the first event of the stream), or, with an empty `head`, its body or its
  // trailers; what comes of the body now is not the request's. If submit_response was called, or is
  // called now, RST_STREAM(protocol_error) follows the answer as soon as the peer has ended its
  // direction or reset_stream(no_error) is called; else the stream is reset. Role server only.
  virtual void on_malformed(StreamRef, http::RequestHead&& /*head*/, std::string_view /*why*/) {}
  virtual void on_data(StreamRef, Bytes) = 0;
  virtual void on_trailers(StreamRef, http::Fields&&) {}
  // The peer has finished its direction. Called once, after the last on_data / on_trailers, also
  // when the head itself ended the stream.
  virtual void on_end_of_stream(StreamRef) = 0;
  // The stream is over, both directions or by reset; the last event of the stream. `by_peer`: the
  // code came from the peer's RST_STREAM or GOAWAY; else from us.
  virtual void on_stream_closed(StreamRef, ErrorCode, bool by_peer) = 0;

  // Body bytes to be sent for a stream are wanted: write up to `room.size()` bytes into `room`.
  virtual BodyResult on_body_wanted(StreamRef, MutableBytes room) = 0;
  // Trailers to send after a body that finished; null for none.
  virtual const http::Fields* on_trailers_wanted(StreamRef) { return nullptr; }

  // The peer said GOAWAY. Streams above `last_stream_id` will also see on_stream_closed with
  // refused_stream.
  virtual void on_goaway(StreamId /*last_stream_id*/, ErrorCode) {}
  virtual void on_settings() {}
  virtual void on_ping_answer(std::uint64_t /*opaque*/) {}
  // There is something to collect: called when that becomes true outside of feed() and collect().
  virtual void on_output_ready() {}
};

// Why a connection had to end, one counter each (metrics: reason label).
enum class AbuseKind : std::uint8_t {
  none,
  resets,
  control_frames,
  header_block,
  continuation,
  outbound_queue,
  protocol,
};
std::string_view to_string(AbuseKind kind);

// A request's head that breaks its limits is decoded to its end up to this size (or the limit,
// where that is larger), so that it can be answered.
inline constexpr std::uint32_t head_answered_bytes_max = 1024 * 1024;

class Session {
 public:
  // `handler` outlives the session. Queues our preface and SETTINGS.
  Session(SessionHandler& handler, const SessionOptions& options, Instant now);
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  // Plain bytes from the peer; all are consumed. Where heads decompress to more than is decoded at
  // once, the rest is held, and can_go_on() says so; with no bytes feed() goes on with it. An error
  // means that no more will be taken. Of kind
  // `limit` (role server): the peer has used up a budget. A GOAWAY is queued, requests that it does
  // not name are refused, and streams that are open can be answered to their end. Any other error
  // ends the connection: collect() what is left (a GOAWAY), send it, close. Some broken frames are
  // recognised only when their GOAWAY is collected; finished() is true then, too. Streams that are
  // open at the end of a session get no further event: streams() names them.
  Result<void> feed(Bytes plain, Instant now);
  bool can_go_on() const;
  // Whether there should be more input now: not much is held.
  bool wants_input() const;

  // Fills `batch` with whole frames or parts of them; returns the bytes written, 0 when there is
  // nothing to send now. Fills it up to less than 64 bytes while there is DATA to send; a DATA
  // frame ends at a multiple of 16384 bytes from the start of `batch`, so that it never spans two
  // records. `batch` should have 16384 bytes; with less than 64 DATA may not move at all.
  std::size_t collect(MutableBytes batch);
  bool wants_output() const;
  // Neither side has anything left to say: close the connection.
  bool finished() const;

  // role client: opens a stream; on_body_wanted is asked when `has_body`. Fails when the session is
  // draining, closed or has no free stream.
  Result<StreamId> submit_request(const http::RequestHead& head, bool has_body, std::uint64_t tag);
  // The tag that events of this stream carry; an owner's SlotId::packed(), for example.
  void set_tag(StreamId, std::uint64_t tag);
  // role server. Interim heads (1xx) with submit_interim.
  void submit_response(StreamId, const http::ResponseHead& head, bool has_body);
  void submit_interim(StreamId, const http::ResponseHead& head);
  // There are body bytes again, or the body has finished.
  void resume_body(StreamId);
  // Ends the stream; on_stream_closed follows from collect(), when RST_STREAM has been written.
  // With no_error after submit_response it only stops the peer's upload: RST_STREAM waits until
  // END_STREAM has been sent (RFC 9113 section 8.1). No effect on an ended stream.
  void reset_stream(StreamId, ErrorCode);
  // Returns stream-level credit for bytes that were received and have left for the other side.
  void consume(StreamId, std::size_t bytes);
  // Lets a stream receive up to `bytes` without credit being returned; 0 to 2^31-1, no effect when
  // that is less than now. Cannot be taken back.
  void grow_stream_window(StreamId, std::uint32_t bytes);

  // GOAWAY with the highest possible id: "open no new streams"; then, after a round trip,
  // goaway_final() names the last stream that was handed to the owner (RFC 9113 section 6.8); from
  // then on no other is, whenever the frame leaves. The first call counts.
  void goaway_notice();
  void goaway_final(ErrorCode code = ErrorCode::no_error, std::string_view debug = {});
  void ping(std::uint64_t opaque);

  // Streams that the peer allows us to have open (role client); 100 until its SETTINGS arrived.
  std::uint32_t peer_max_concurrent_streams() const;
  bool settings_received() const;
  // A header block has begun, and its end has not come: a deadline for the head applies, for each
  // of its own.
  bool receiving_head() const;
  std::uint64_t heads_begun() const;
  std::size_t open_streams() const;
  bool goaway_received() const;
  // Whether bytes of this request have left through collect(), so that the backend may have seen
  // it (role client). Also valid inside on_stream_closed; false for unknown streams.
  bool request_written(StreamId) const;
  // All streams that are open, for the end of a connection.
  std::vector<StreamRef> streams() const;
  StreamId last_peer_stream() const;  // highest id that the peer opened
  // Whether a stream can be opened now (role client).
  bool can_open_stream() const;
  // Bytes still unsent of everything queued inside the codec (not bodies).
  std::size_t queued_frames() const;
  // What the peer makes the session hold, in bytes, beside a fixed amount for itself and for each
  // stream: the head that is being received, and what is queued inside of the codec. An estimate,
  // as of the last feed() or collect().
  std::size_t held_bytes() const;
  AbuseKind abuse() const;
  // Connection-level credit that the peer has with us, and we with the peer.
  std::int32_t receive_window() const;
  std::int32_t send_window() const;

  // One line for logs and crash dumps.
  std::string describe() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// The version of the codec that is linked in.
std::string library_version();

}  // namespace sluice::http2
