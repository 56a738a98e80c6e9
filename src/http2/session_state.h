// SPDX-License-Identifier: GPL-3.0-or-later
// The inside of a session: the codec, the streams, and what the codec's callbacks work on.
// session.cc holds what the owner calls, session_callbacks.cc what the codec calls.
#pragma once

#include <nghttp2/nghttp2.h>

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "http2/abuse_limits.h"
#include "http2/codec_memory_impl.h"
#include "http2/frame_scanner.h"
#include "http2/head_builder.h"
#include "http2/stream.h"
#include "sluice/http2/session.h"

namespace sluice::http2 {

// A record of TLS carries 16384 bytes; a DATA frame and its header fit into one.
inline constexpr std::size_t record_bytes = 16384;
// Room below this is not worth a DATA frame.
inline constexpr std::size_t data_room_min = 64;
// More input is not wanted above it: a record.
inline constexpr std::size_t held_input_max = 16 * 1024;

struct Session::State {
  State(SessionHandler& handler, const SessionOptions& options, Instant now);
  ~State();
  State(const State&) = delete;
  State& operator=(const State&) = delete;

  // Where calls come from: events may not re-enter feed() and collect().
  enum class Phase : std::uint8_t { idle, feeding, collecting };

  class PhaseGuard {
   public:
    PhaseGuard(State& state, Phase phase) : state_(state), packing_(phase == Phase::collecting) {
      state_.phase = phase;
      if (packing_) state_.memory.packing = true;
    }
    ~PhaseGuard() {
      state_.phase = Phase::idle;
      if (packing_) state_.memory.packing = false;
    }
    PhaseGuard(const PhaseGuard&) = delete;
    PhaseGuard& operator=(const PhaseGuard&) = delete;

   private:
    State& state_;
    bool packing_;
  };

  Side peer_side() const { return options.server ? Side::client : Side::backend; }

  // --- session.cc
  void queue_preface();
  void check_codec_result(nghttp2_ssize result);
  // The connection is over: GOAWAY is queued, feed() fails from now on.
  void end(AbuseKind abuse_kind, ErrorCode code, std::string_view why);
  void end_for_exceeded_limit();
  // Nothing more is fed and no stream is taken any more; those that are open can still be answered.
  void stop_reading(AbuseKind abuse_kind, std::string_view why);
  void say_goaway(ErrorCode code, std::string_view debug);
  void probe_codec();
  void process(Bytes scanned);
  int decoded(std::size_t bytes);
  void count_held();
  static std::size_t bytes_of(std::span<const nghttp2_nv> head);
  void count_queued_head(Stream& stream, std::span<const nghttp2_nv> head);
  void forget_queued_head(Stream& stream, std::size_t bytes);
  bool wants_output() const;
  void output_queued();
  void reset(Stream& stream, Reset reset, ErrorCode code);
  void start_next_round();
  bool submit_trailers(StreamId id, const http::Fields& fields);
  std::size_t output_left() const { return output.size() - output_used; }
  std::size_t data_room() const;

  // --- session_callbacks.cc
  static const nghttp2_session_callbacks* callbacks();
  Stream& open_stream(StreamId id, std::uint64_t tag);
  void finish_head(Stream& stream, bool end_of_stream);
  void finish_peer(Stream& stream);
  void stream_error(Stream& stream, ErrorCode code);
  void count_stream_error();
  std::string_view broken_message_rule(const Stream& stream, const nghttp2_frame& frame);
  void tell_malformed(Stream& stream);
  void end_malformed(Stream& stream);
  void peer_reset(StreamId id);
  void peer_goaway(const nghttp2_goaway& frame);
  void sent_end_of_stream(StreamId id);
  void sent_goaway(const nghttp2_goaway& frame);
  BodyResult ask_for_body(Stream& stream, MutableBytes room);
  bool attach_trailers(const Stream& stream);
  void end_upload(Stream& stream);

  static int on_begin_headers(nghttp2_session*, const nghttp2_frame*, void*);
  static int on_header(nghttp2_session*, const nghttp2_frame*, nghttp2_rcbuf*, nghttp2_rcbuf*,
                       std::uint8_t, void*);
  static int on_invalid_header(nghttp2_session*, const nghttp2_frame*, nghttp2_rcbuf*,
                               nghttp2_rcbuf*, std::uint8_t, void*);
  static int on_invalid_frame(nghttp2_session*, const nghttp2_frame*, int, void*);
  static int on_frame_received(nghttp2_session*, const nghttp2_frame*, void*);
  static int on_data_chunk(nghttp2_session*, std::uint8_t, std::int32_t, const std::uint8_t*,
                           std::size_t, void*);
  static int on_stream_close(nghttp2_session*, std::int32_t, std::uint32_t, void*);
  static int before_frame_sent(nghttp2_session*, const nghttp2_frame*, void*);
  static int on_frame_sent(nghttp2_session*, const nghttp2_frame*, void*);
  static int on_frame_not_sent(nghttp2_session*, const nghttp2_frame*, int, void*);
  static nghttp2_ssize data_length(nghttp2_session*, std::uint8_t, std::int32_t, std::int32_t,
                                   std::int32_t, std::uint32_t, void*);
  static nghttp2_ssize read_body(nghttp2_session*, std::int32_t, std::uint8_t*, std::size_t,
                                 std::uint32_t*, nghttp2_data_source*, void*);
  static int send_data(nghttp2_session*, nghttp2_frame*, const std::uint8_t*, std::size_t,
                       nghttp2_data_source*, void*);

  SessionHandler& handler;
  const SessionOptions options;
  std::unique_ptr<CodecMemory> own_memory;  // null when shared
  CodecMemory::Impl& memory;
  nghttp2_session* codec = nullptr;

  StreamTable streams;
  AbuseLimits limits;
  FrameScanner scanner;
  HeadBuilder builder;
  Stream* building = nullptr;  // whose header block is being received
  std::uint64_t heads_begun = 0;
  Instant now;
  Phase phase = Phase::idle;

  MutableBytes output;  // the batch of the running collect()
  std::size_t output_used = 0;
  std::vector<std::uint8_t> pending;  // the rest of a frame that did not fit
  std::size_t pending_at = 0;
  bool out_of_room = false;      // DATA waits for the next batch
  std::int32_t data_window = 0;  // what the peer's windows allow the next DATA frame

  // Role client: the codec would finish one upload before it starts the next; see start_next_round.
  std::uint32_t uploads = 0;
  std::vector<StreamId> had_turn;

  std::size_t queued_head_bytes = 0;  // of answers, in the codec
  std::vector<std::uint8_t> held;     // received and scanned, not decoded yet
  std::size_t decoded_bytes = 0;      // of heads, in this feed()
  bool more_to_decode = false;        // it stopped in the middle of a head
  std::size_t held_bytes = 0;         // as of the last feed() or collect()

  std::optional<Error> failure;
  AbuseKind abuse = AbuseKind::none;
  std::string reason;      // of the codec, for describe()
  std::string rule;        // that the request breaks of which the codec has just told
  bool probe_due = false;  // the codec has queued something, perhaps GOAWAY
  bool probing = false;
  bool probe_answered = false;
  bool settings_received = false;
  bool goaway_received = false;
  bool draining = false;  // a final GOAWAY is queued or sent, with this code and last stream
  ErrorCode final_code = ErrorCode::no_error;
  StreamId final_stream = 0;
  bool output_announced = false;
};

}  // namespace sluice::http2
