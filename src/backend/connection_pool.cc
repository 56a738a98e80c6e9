// SPDX-License-Identifier: GPL-3.0-or-later
// Connections ahead of need, and streams that wait for a place.
#include "sluice/backend/connection_pool.h"

#include <algorithm>
#include <array>
#include <optional>
#include <utility>
#include <vector>

#include "backend_connection.h"
#include "sluice/base/check.h"
#include "sluice/base/random.h"

namespace sluice::backend {

std::string_view to_string(PoolKind kind) {
  switch (kind) {
    case PoolKind::identity: return "identity";
    case PoolKind::bearer: return "bearer";
    case PoolKind::suspect: return "suspect";
    case PoolKind::suspect_identity: return "suspect_identity";
  }
  return "unknown";
}

namespace {

// When all of them wait: so many turns in a row for each Standing.
constexpr std::uint32_t stranger_turns = 1;
constexpr std::uint32_t unproven_turns = 4;
constexpr std::uint32_t proven_turns = 16;

}  // namespace

class ConnectionPool::State final : private ConnectionOwner, private Carrier {
 public:
  State(net::Transport& transport, Endpoint endpoint, PoolKind kind, const PoolOptions& options,
        std::shared_ptr<const tls::ClientContext> context, std::uint64_t seed, OnEvent on_event)
      : endpoint_(std::move(endpoint)),
        options_(options),
        random_(seed),
        on_event_(std::move(on_event)),
        parts_{transport, endpoint_, kind, options_, std::move(context), random_, counters_},
        reconnect_timer_(io::Timer::bind<&State::provide_places>(this)),
        waiting_timer_(io::Timer::bind<&State::waited_too_long>(this)),
        held_place_timer_(io::Timer::bind<&State::held_place_came_free>(this)) {}
  ~State() override {
    CHECK(connections_.empty());
    CHECK_EQ(waiting_count_, std::size_t{0});
    CHECK(waiting_.empty());
    CHECK_EQ(free_places_, std::size_t{0});
    for (const std::size_t connections : in_state_) CHECK_EQ(connections, std::size_t{0});
  }

  void open(BackendStream& stream, const OpenRequest& request);
  void warm_up() {
    if (connections_.empty()) provide_places();
  }
  void check(std::function<bool()> confirmed);
  void terminate();

  bool unreachable() const { return failures_ > 0 && count(Connected::ready) == 0; }
  std::size_t count(Connected state) const { return in_state_[static_cast<std::size_t>(state)]; }
  const ConnectionParts& parts() const { return parts_; }
  const auto& connections() const { return connections_; }

 private:
  // Carrier of those that wait.
  void cancel(BackendStream& stream) override { remove_waiting(stream); }
  void consume(BackendStream&, std::size_t) override {}
  void grow_window(BackendStream&, std::uint32_t) override {}
  void resume_body(BackendStream&) override {}

  // ConnectionOwner
  void state_changed(Connected from, Connected to) override;
  void places_changed(std::ptrdiff_t by) override;
  void stream_ended() override { serve_waiting(); }
  void stream_cancelled() override;
  void connection_ready() override;
  void connection_draining() override;
  void connection_ended(const Error* error, bool was_connecting) override;
  void connection_closed(BackendConnection& connection) override;
  void tell(PoolEvent event, const std::string& context) override { on_event_(event, context); }
  bool silence_confirmed() override { return check_confirmed_(); }

  BackendConnection* connection_with_place();
  void provide_places();
  void await_held_place();
  void held_place_came_free();
  void connect();
  void serve_waiting();
  void add_waiting(BackendStream& stream, const OpenRequest& request);
  void remove_waiting(BackendStream& stream);
  void end_unconnected(List<BackendStream, WaitingTag>& streams, StreamEnd::Cause cause,
                       const std::string& context);
  void fail_waiting(const std::string& context);
  void retire_oldest();
  void waited_too_long();
  io::Reactor& reactor() { return parts_.transport.reactor(); }
  Instant now() { return reactor().now(); }

  const Endpoint endpoint_;
  const PoolOptions options_;
  Random random_;
  OnEvent on_event_;
  std::function<bool()> check_confirmed_;
  PoolCounters counters_;
  const ConnectionParts parts_;
  std::vector<std::unique_ptr<BackendConnection>> connections_;  // oldest first
  std::array<std::size_t, 4> in_state_{};                        // of them
  std::size_t free_places_ = 0;                                  // on all of them
  List<BackendStream, WaitingTag> waiting_;                      // in order of arrival
  std::size_t waiting_count_ = 0;  // who is being told that waiting was in vain included
  balance::FairQueue turns_{stranger_turns, unproven_turns, proven_turns};  // of those that wait
  std::uint32_t failures_ = 0;  // connects that failed in a row
  Instant next_connect_{};
  bool terminating_ = false;
  io::Timer reconnect_timer_;
  io::Timer waiting_timer_;
  io::Timer held_place_timer_;
};

void ConnectionPool::State::open(BackendStream& stream, const OpenRequest& request) {
  BackendConnection* connection = waiting_.empty() ? connection_with_place() : nullptr;
  stream.wait(*this, {.has_body = request.has_body,
                      .ends_connection = request.ends_connection,
                      .slot = {},
                      .waiting_since = now()});
  if (connection == nullptr || !connection->open(stream)) add_waiting(stream, request);
  provide_places();
}

void ConnectionPool::State::add_waiting(BackendStream& stream, const OpenRequest& request) {
  CHECK(stream.state() == BackendStream::State::waiting);
  CHECK(!stream.in_fair_queue());
  waiting_.push_back(stream);
  turns_.push(stream,
              {.client = request.client, .lane = static_cast<std::size_t>(request.standing)});
  ++waiting_count_;
  if (!waiting_timer_.armed()) {
    reactor().timers().set(waiting_timer_, now(), options_.wait_timeout);
  }
}

void ConnectionPool::State::remove_waiting(BackendStream& stream) {
  CHECK_GT(waiting_count_, std::size_t{0});
  CHECK(static_cast<ListNode<WaitingTag>&>(stream).linked());
  static_cast<ListNode<WaitingTag>&>(stream).unlink();
  turns_.remove(stream);
  --waiting_count_;
}

BackendConnection* ConnectionPool::State::connection_with_place() {
  if (free_places_ == 0) return nullptr;
  // The oldest first: requests share records and system calls when they share connections.
  for (const auto& connection : connections_) {
    if (connection->free_places() > 0) return connection.get();
  }
  return nullptr;
}

void ConnectionPool::State::state_changed(Connected from, Connected to) {
  CHECK_GT(count(from), std::size_t{0});
  --in_state_[static_cast<std::size_t>(from)];
  ++in_state_[static_cast<std::size_t>(to)];
}

void ConnectionPool::State::places_changed(std::ptrdiff_t by) {
  CHECK_GE(static_cast<std::ptrdiff_t>(free_places_) + by, std::ptrdiff_t{0});
  free_places_ = static_cast<std::size_t>(static_cast<std::ptrdiff_t>(free_places_) + by);
}

// Opens connections before they are needed: free places should cover who waits and a tenth more.
void ConnectionPool::State::provide_places() {
  if (terminating_) return;
  const std::size_t connecting = count(Connected::connecting);
  const std::size_t per_connection =
      is_suspect(parts_.kind) ? 1 : options_.streams_per_connection_max;
  const std::size_t margin =
      count(Connected::ready) + connecting == 0 ? 1 : std::max<std::size_t>(1, per_connection / 10);
  if (free_places_ + connecting * per_connection >= waiting_count_ + margin) return;
  if (connecting >= options_.connecting_max || connections_.size() >= options_.connections_max) {
    return;
  }
  if (next_connect_ > now()) {
    if (!reconnect_timer_.armed()) reactor().timers().set(reconnect_timer_, next_connect_);
    return;
  }
  connect();
}

// Nothing else happens when a cancelled stream's place comes free.
void ConnectionPool::State::await_held_place() {
  if (terminating_ || held_place_timer_.armed()) return;
  std::optional<Instant> next;
  for (const auto& connection : connections_) {
    const auto until = connection->next_place_held_until();
    if (until && (!next || *until < *next)) next = until;
  }
  if (next) reactor().timers().set(held_place_timer_, *next);
}

void ConnectionPool::State::held_place_came_free() {
  for (const auto& connection : connections_) connection->look_at_places();
  await_held_place();
  serve_waiting();
  provide_places();
}

void ConnectionPool::State::connect() {
  CHECK(!terminating_);
  CHECK_LT(connections_.size(), options_.connections_max);
  CHECK_LT(count(Connected::connecting), options_.connecting_max);
  next_connect_ = now() + options_.connect_spacing;
  ++counters_.connects;
  ++in_state_[static_cast<std::size_t>(Connected::connecting)];
  ConnectionOwner& owner = *this;
  connections_.push_back(std::make_unique<BackendConnection>(owner, parts_));
  connections_.back()->connect();
}

void ConnectionPool::State::check(std::function<bool()> confirmed) {
  check_confirmed_ = std::move(confirmed);
  for (const auto& connection : connections_) connection->check();
}

void ConnectionPool::State::serve_waiting() {
  if (terminating_) return;
  while (!turns_.empty()) {
    BackendConnection* connection = connection_with_place();
    if (connection == nullptr) return;
    BackendStream& stream = static_cast<BackendStream&>(*turns_.pop());
    CHECK_GT(waiting_count_, std::size_t{0});
    --waiting_count_;
    if (!connection->open(stream)) {
      ++waiting_count_;
      return turns_.give_back(stream);
    }
    static_cast<ListNode<WaitingTag>&>(stream).unlink();
  }
}

// One by one: a handler may cancel others of them, or put its own stream into a queue again.
void ConnectionPool::State::end_unconnected(List<BackendStream, WaitingTag>& streams,
                                            StreamEnd::Cause cause, const std::string& context) {
  while (!streams.empty()) {
    BackendStream& stream = streams.front();
    remove_waiting(stream);
    stream.end({cause, Retry::not_executed, context});
  }
}

void ConnectionPool::State::fail_waiting(const std::string& context) {
  List<BackendStream, WaitingTag> failed;  // only those that wait now
  while (BackendStream* stream = waiting_.pop_front()) {
    turns_.remove(*stream);
    failed.push_back(*stream);
  }
  end_unconnected(failed, StreamEnd::Cause::not_connected, context);
}

void ConnectionPool::State::waited_too_long() {
  const Instant since = now() - options_.wait_timeout;
  List<BackendStream, WaitingTag> expired;
  while (!waiting_.empty() && waiting_.front().carriage().waiting_since <= since) {
    turns_.remove(waiting_.front());
    expired.push_back(*waiting_.pop_front());
  }
  if (!waiting_.empty()) {
    reactor().timers().set(waiting_timer_,
                           waiting_.front().carriage().waiting_since + options_.wait_timeout);
  }
  if (count(Connected::ready) > 0) {
    end_unconnected(expired, StreamEnd::Cause::no_place,
                    "no free place on a connection to " + endpoint_.name + " in time");
  } else {
    end_unconnected(expired, StreamEnd::Cause::not_connected,
                    "no connection to " + endpoint_.name + " in time");
  }
}

void ConnectionPool::State::stream_cancelled() {
  await_held_place();
  serve_waiting();   // a suspect's place is free at once,
  provide_places();  // others' stay taken for a while
}

void ConnectionPool::State::connection_ready() {
  failures_ = 0;
  on_event_(PoolEvent::connected, endpoint_.name);
  serve_waiting();
  provide_places();
}

void ConnectionPool::State::connection_draining() {
  // The replacement first: the next request should not have to wait for a handshake.
  provide_places();
  retire_oldest();
}

// One connection's watches move for each that drains above the bound. Those that resume go first,
// wherever they are.
void ConnectionPool::State::retire_oldest() {
  if (count(Connected::draining) <= options_.draining_max) return;
  std::vector<BackendConnection*> draining;
  for (const auto& connection : connections_) {
    if (connection->state() == Connected::draining) draining.push_back(connection.get());
  }
  for (const Retiring who : {Retiring::those_that_resume, Retiring::all}) {
    for (BackendConnection* connection : draining) {
      if (!connection->retire(who)) continue;
      ++counters_.retired;
      return;
    }
  }
}

void ConnectionPool::State::connection_ended(const Error* error, bool was_connecting) {
  if (error == nullptr) return provide_places();
  if (was_connecting) {
    ++counters_.connect_failures;
    ++failures_;
    const Duration delay = std::min(options_.reconnect_delay_max,
                                    options_.reconnect_delay_min * (1 << std::min(failures_, 10U)));
    next_connect_ = std::max(next_connect_, now() + random_.between(delay / 2, delay));
    on_event_(PoolEvent::connect_failed, error->context);
  } else {
    ++counters_.connections_lost;
    on_event_(PoolEvent::connection_lost, error->context);
  }
  if (terminating_) return;
  const bool hope = count(Connected::ready) + count(Connected::connecting) > 0;
  if (!hope && failures_ > 0) fail_waiting(error->context);
  provide_places();
}

void ConnectionPool::State::connection_closed(BackendConnection& connection) {
  const auto found =
      std::ranges::find_if(connections_, [&](const auto& c) { return c.get() == &connection; });
  CHECK(found != connections_.end());
  CHECK_EQ(connection.open_streams(), std::size_t{0});
  CHECK_EQ(connection.free_places(), std::size_t{0});
  CHECK_GT(count(connection.state()), std::size_t{0});
  --in_state_[static_cast<std::size_t>(connection.state())];
  connections_.erase(found);
  if (waiting_count_ > 0) provide_places();
}

void ConnectionPool::State::terminate() {
  terminating_ = true;
  reconnect_timer_.cancel();
  waiting_timer_.cancel();
  held_place_timer_.cancel();
  fail_waiting("the proxy is stopping");
  for (const auto& connection : connections_) connection->terminate();
}

http2::SessionOptions PoolOptions::default_session() {
  const http2::SessionOptions client;
  http2::SessionOptions session;
  session.server = false;
  session.header_fields_max = client.sent_fields_max;
  session.header_list_bytes_max = client.sent_list_bytes_max;
  session.sent_fields_max = client.header_fields_max;
  session.sent_list_bytes_max = client.header_list_bytes_max;
  // A backend is no stranger, and its connection is shared: something before the API server that
  // asks for a sign of life with every answer costs nobody a watch. What it may make us hold is
  // bounded all the same.
  session.control_frames_burst = 20'000;
  session.control_frames_per_second = 2'000;
  return session;
}

ConnectionPool::ConnectionPool(net::Transport& transport, Endpoint endpoint, PoolKind kind,
                               const PoolOptions& options,
                               std::shared_ptr<const tls::ClientContext> context,
                               std::uint64_t seed, OnEvent on_event)
    : state_(std::make_unique<State>(transport, std::move(endpoint), kind, options,
                                     std::move(context), seed, std::move(on_event))) {}

ConnectionPool::~ConnectionPool() = default;

void ConnectionPool::open(BackendStream& stream, const OpenRequest& request) {
  state_->open(stream, request);
}

void ConnectionPool::warm_up() { state_->warm_up(); }

void ConnectionPool::check(std::function<bool()> confirmed) { state_->check(std::move(confirmed)); }

bool ConnectionPool::unreachable() const { return state_->unreachable(); }

void ConnectionPool::terminate() { state_->terminate(); }

PoolKind ConnectionPool::kind() const { return state_->parts().kind; }

const PoolCounters& ConnectionPool::counters() const { return state_->parts().counters; }

std::size_t ConnectionPool::ready_connections() const {
  return state_->count(ConnectionOwner::Connected::ready);
}

std::size_t ConnectionPool::connections() const { return state_->connections().size(); }

std::size_t ConnectionPool::open_streams() const {
  std::size_t streams = 0;
  for (const auto& connection : state_->connections()) streams += connection->open_streams();
  return streams;
}

}  // namespace sluice::backend
