// SPDX-License-Identifier: GPL-3.0-or-later
// One HTTP/2 connection to a backend, and the streams on it.
//
//   connecting ──▶ ready ──▶ draining ──▶ ended
//       (SETTINGS)    (GOAWAY, age, idle)
#pragma once

#include <deque>
#include <optional>

#include "sluice/backend/session_pool.h"
#include "sluice/net/connection.h"

namespace sluice::backend {

class Session final : public net::ConnectionHandler, public http2::SessionHandler {
 public:
  enum class State : std::uint8_t { connecting, ready, draining, ended };

  explicit Session(SessionPool& pool);
  ~Session() override;

  void connect();
  State state() const { return state_; }
  bool closed() const { return connection_.state() == net::Connection::State::closed; }

  // Places for new streams: what the backend allows, less open and lately cancelled ones.
  std::size_t free_places();
  // When the next place comes free that a cancelled stream still holds.
  std::optional<Instant> next_place_held_until() const;
  std::size_t open_streams() const { return stream_count_; }

  // False when the codec refused; the stream is untouched then.
  bool open(Stream& stream);
  void cancel(Stream& stream, http2::ErrorCode code);
  void consume(Stream& stream, std::size_t bytes);
  void grow_window(Stream& stream, std::uint32_t bytes);
  void resume_body(Stream& stream);

  // No new streams; closed when the last one has ended.
  void drain();
  // Tells each stream that the connection should be left.
  void retire();
  void terminate();

  // net::ConnectionHandler
  void on_established() override;
  void on_receive(Bytes plain) override;
  std::size_t on_collect(MutableBytes batch) override;
  void on_end(const Error& error) override;
  void on_closed() override;

  // http2::SessionHandler
  void on_response(http2::StreamRef, http::ResponseHead&&, bool end_of_stream) override;
  void on_data(http2::StreamRef, Bytes) override;
  void on_trailers(http2::StreamRef, http::Fields&&) override;
  void on_end_of_stream(http2::StreamRef) override;
  void on_stream_closed(http2::StreamRef, http2::ErrorCode, bool by_peer) override;
  http2::BodyResult on_body_wanted(http2::StreamRef, MutableBytes room) override;
  void on_goaway(http2::StreamId last_stream_id, http2::ErrorCode code) override;
  void on_settings() override;
  void on_ping_answer(std::uint64_t opaque) override;
  void on_output_ready() override { connection_.mark_dirty(); }

 private:
  void set_state(State state);
  Stream* find(http2::StreamRef ref);
  void detach(Stream& stream);
  void end_stream(Stream& stream, StreamEnd end);
  void lose_streams(const std::string& context);
  void heartbeat();
  void close_if_unused();
  Instant now() const { return pool_.transport_.reactor().now(); }

  SessionPool& pool_;
  State state_ = State::connecting;
  net::Connection connection_;
  http2::Session http2_;
  List<Stream, OpenTag> streams_;
  std::size_t stream_count_ = 0;
  std::size_t unanswered_ = 0;  // of them, without a final head
  std::deque<Instant> cancelled_until_;
  bool established_ = false;
  bool ping_outstanding_ = false;
  Instant last_receive_{};
  Instant unused_since_{};
  Instant retire_at_{};
  io::Timer heartbeat_;
};

}  // namespace sluice::backend
