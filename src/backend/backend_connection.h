// SPDX-License-Identifier: GPL-3.0-or-later
// One HTTP/2 connection to a backend, and the streams on it.
//
//   connecting ──▶ ready ──▶ draining ──▶ ended
//       (SETTINGS)    (GOAWAY, age, idle)
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "sluice/backend/connection_pool.h"
#include "sluice/base/random.h"
#include "sluice/base/slot_map.h"
#include "sluice/base/transitions.h"
#include "sluice/net/connection.h"

namespace sluice::backend {

class BackendConnection;

// What the connections of one pool share; outlives them.
struct ConnectionParts {
  net::Transport& transport;
  const Endpoint& endpoint;
  const PoolKind kind;
  const PoolOptions& options;
  std::shared_ptr<const tls::ClientContext> context;  // of those that are opened next
  Random& random;
  PoolCounters& counters;
};

// Whose a place is, and for what: of who is proven all connections are one client's. All that is
// known of others is where they come from, which good and bad ones may have in common.
struct PlaceHolder {
  Stay stay = Stay::brief;
  std::uint64_t name = 0;
};
PlaceHolder holder_of(BackendStream& stream);

// Told of what concerns more than one connection.
class ConnectionOwner {
 public:
  enum class Connected : std::uint8_t { connecting, ready, draining, ended };

  virtual ~ConnectionOwner() = default;
  virtual void state_changed(Connected from, Connected to) = 0;
  // What a connection that is ready is used for, and how many streams it can take.
  enum class Use : std::uint8_t { none, nothing_yet, brief, lengthy, lasting };
  static constexpr std::size_t uses = 5;
  static Use use_of(Stay stay);
  struct Places {
    Use use = Use::none;
    std::size_t free = 0;
    friend bool operator==(const Places&, const Places&) = default;
  };
  virtual void places_changed(const Places& before, const Places& now) = 0;
  // A stream came here, or left; a cancelled one's place is left when it is not held any more.
  virtual void place_taken(const PlaceHolder& holder) = 0;
  virtual void place_left(const PlaceHolder& holder) = 0;
  // Who waits may take its place, or that of a suspect that was answered.
  virtual void stream_ended() = 0;
  // The same; but its place may be held for a while.
  virtual void stream_cancelled() = 0;
  virtual void connection_ready(Duration took) = 0;  // to connect, and for all handshakes
  virtual void connection_draining() = 0;
  // One that was never used, and is not needed, ends without an error.
  virtual void connection_ended(const Error* error, bool was_connecting) = 0;
  virtual void connection_closed(BackendConnection& connection) = 0;  // destroys it
  virtual void tell(PoolEvent event, const std::string& context) = 0;
  // Whether one that gives no sign of life should end.
  virtual bool silence_confirmed() = 0;
};

class BackendConnection final : public Carrier,
                                private net::ConnectionHandler,
                                private http2::SessionHandler {
 public:
  using State = ConnectionOwner::Connected;
  using Use = ConnectionOwner::Use;

  BackendConnection(ConnectionOwner& owner, const ConnectionParts& parts);
  ~BackendConnection() override;

  void connect();
  State state() const { return state_; }

  // Places for new streams: what the backend allows, less open and lately cancelled ones. As it was
  // when something happened here last, or look_at_places() was called.
  std::size_t free_places() const { return places_.free; }
  Use use() const { return places_.use; }
  void look_at_places();
  // How many streams more it could carry, one after the other where only one may be unanswered.
  std::size_t room() const;
  // When the next place comes free that a cancelled stream still holds.
  std::optional<Instant> next_place_held_until() const;
  std::size_t open_streams() const { return stream_count_; }

  // A waiting one. False when the codec refused; the stream goes on waiting then.
  bool open(BackendStream& stream);
  // Carrier
  void cancel(BackendStream& stream) override;
  void consume(BackendStream& stream, std::size_t bytes) override;
  void grow_window(BackendStream& stream, std::uint32_t bytes) override;
  void resume_body(BackendStream& stream) override;

  // Asks for a sign of life; without one the connection ends, see ConnectionPool::check().
  void check();
  // No new streams; closed when the last one has ended.
  void drain();
  // Opened under a context that is not its pool's any more.
  bool outdated() const { return context_ != parts_.context; }
  void for_each_stream(const std::function<void(BackendStream&)>& what);
  // Those of streams, and those that cancelled ones still hold.
  void for_each_place(const std::function<void(const PlaceHolder&)>& what);
  // Tells each stream that the connection should be left; whether any of them does now.
  bool retire(Retiring who);
  void terminate();

 private:
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
  http::BodyResult on_body_wanted(http2::StreamRef, MutableBytes room) override;
  void on_goaway(http2::StreamId last_stream_id, http2::ErrorCode code) override;
  void on_settings() override;
  void on_ping_answer(std::uint64_t opaque) override;
  void on_output_ready() override { connection_.mark_dirty(); }

  void set_state(State state);
  void wrong_transition(State state);
  BackendStream* find(http2::StreamRef ref);
  void detach(BackendStream& stream);
  void leave_held_places(Instant until);
  void end_stream(BackendStream& stream, const StreamEnd& end);
  void lose_streams(const std::string& context);
  void heartbeat();
  void check_over();
  void end_silent();
  void close_if_unused();
  void look_for_places();
  std::size_t count_free_places();
  Use count_as(std::size_t free_places) const;
  io::Reactor& reactor() const { return parts_.transport.reactor(); }
  Instant now() const { return reactor().now(); }
  const PoolOptions& options() const { return parts_.options; }
  const std::string& name() const { return parts_.endpoint.name; }

  ConnectionOwner& owner_;
  const ConnectionParts& parts_;
  std::shared_ptr<const tls::ClientContext> context_;
  State state_ = State::connecting;
  net::Connection connection_;
  http2::Session http2_;
  List<BackendStream, OpenTag> streams_;
  SlotMap<BackendStream*> slots_;
  std::size_t stream_count_ = 0;
  std::size_t unanswered_ = 0;  // of them, without a final head
  struct HeldPlace {
    Instant until{};
    PlaceHolder holder;
  };
  std::deque<HeldPlace> held_;  // by cancelled streams, while it is ready
  Stay stay_ = Stay::brief;     // of its streams
  ConnectionOwner::Places places_;
  bool established_ = false;
  bool ping_outstanding_ = false;
  Instant last_receive_{};
  bool heard_ = false;  // since a check began
  Instant check_until_{};
  Instant unused_since_{};
  Instant retire_at_{};
  Instant connect_began_{};
  io::Timer heartbeat_;
  io::Timer check_;
};

}  // namespace sluice::backend
