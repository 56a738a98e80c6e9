// SPDX-License-Identifier: GPL-3.0-or-later
// Connections ahead of need, and streams that wait for a place.
#include "sluice/backend/connection_pool.h"

#include <algorithm>
#include <array>
#include <optional>
#include <utility>
#include <vector>

#include "backend_connection.h"
#include "pool_places.h"
#include "sluice/base/check.h"
#include "sluice/base/random.h"
#include "waiting_room.h"

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

// How often clients that hold most are asked to make room for who waits.
constexpr Duration room_interval = std::chrono::milliseconds(500);
constexpr std::size_t draining_asked_at_once = 4;
// Watches end some seconds later, and the places of cancelled streams are held for one.
constexpr Duration room_made_within = std::chrono::seconds(2);
// Turns of clients that have their share, which are passed over when a place is free.
constexpr std::size_t passed_over_max = 256;
// Between the connections that drain because TLS has changed, so that not all open anew at once.
constexpr Duration renewal_interval = std::chrono::milliseconds(50);

}  // namespace

class ConnectionPool::State final : private ConnectionOwner, private Carrier {
 public:
  State(net::Transport& transport, Endpoint endpoint, PoolKind kind, const PoolOptions& options,
        std::shared_ptr<const tls::ClientContext> context, std::uint64_t seed, OnEvent on_event,
        std::shared_ptr<ConnectPace> pace)
      : endpoint_(std::move(endpoint)),
        options_(options),
        random_(seed),
        on_event_(std::move(on_event)),
        pace_(std::move(pace)),
        parts_{transport, endpoint_, kind, options_, std::move(context), random_, counters_},
        reconnect_timer_(io::Timer::bind<&State::provide_places>(this)),
        waiting_timer_(io::Timer::bind<&State::waited_too_long>(this)),
        held_place_timer_(io::Timer::bind<&State::held_place_came_free>(this)),
        room_timer_(io::Timer::bind<&State::make_room>(this)),
        renewal_timer_(io::Timer::bind<&State::drain_outdated>(this)) {}
  ~State() override { CHECK(connections_.empty()); }

  void open(BackendStream& stream, const OpenRequest& request);
  void warm_up() {
    if (connections_.empty()) provide_places();
  }
  void check(std::function<bool()> confirmed);
  void update(const PoolOptions& options, std::shared_ptr<const tls::ClientContext> context);
  bool leave();
  void terminate();

  bool full(Stay stay) const {
    const Stay as = places_.treated_as(stay);
    return places_.is_short(as) && places_.free(as) == 0;
  }
  bool hopeless() const { return unreachable() && failures_ > 1; }
  void retry();
  bool unreachable() const { return failures_ > 0 && places_.count(Connected::ready) == 0; }
  const ConnectionParts& parts() const { return parts_; }
  const Connections& connections() const { return connections_; }
  const PoolPlaces& places() const { return places_; }

 private:
  // Carrier of those that wait.
  void cancel(BackendStream& stream) override { waiting_.remove(stream); }
  void consume(BackendStream&, std::size_t) override {}
  void grow_window(BackendStream&, std::uint32_t) override {}
  void resume_body(BackendStream&) override {}

  // ConnectionOwner
  void state_changed(Connected from, Connected to) override { places_.state_changed(from, to); }
  void places_changed(const Places& before, const Places& now) override {
    places_.changed(before, now);
  }
  void place_taken(const PlaceHolder& holder) override { places_.taken(holder); }
  void place_left(const PlaceHolder& holder) override { places_.left(holder); }
  void stream_ended() override { serve_waiting(); }
  void stream_cancelled() override;
  void connection_ready(Duration took) override;
  void connection_draining() override;
  void connection_ended(const Error* error, bool was_connecting) override;
  void connection_closed(BackendConnection& connection) override;
  void tell(PoolEvent event, const std::string& context) override { on_event_(event, context); }
  bool silence_confirmed() override { return check_confirmed_(); }

  void await_room(Duration interval);
  void make_room();
  void make_room_for(Stay stay);
  void leave_oldest_draining();
  void provide_places();
  void await_held_place();
  void held_place_came_free();
  void connect();
  void renew();
  bool may_open_another() const;
  bool take_turn();
  void drain_outdated();
  void serve_waiting();
  void serve_waiting(Stay stay, bool behind);
  void fail_waiting(const std::string& context);
  void retire_oldest();
  void waited_too_long();
  io::Reactor& reactor() { return parts_.transport.reactor(); }
  Instant now() { return reactor().now(); }

  const Endpoint endpoint_;
  PoolOptions options_;
  Random random_;
  OnEvent on_event_;
  const std::shared_ptr<ConnectPace> pace_;
  std::function<bool()> check_confirmed_;
  PoolCounters counters_;
  ConnectionParts parts_;
  Connections connections_;
  PoolPlaces places_{connections_, options_, parts_.kind};
  // Each Stay: nothing is kept for what nobody asks for.
  std::array<bool, stays> asked_for_{true};
  WaitingRoom waiting_;
  std::uint32_t failures_ = 0;  // connects that failed in a row
  Instant next_connect_{};
  bool leaving_ = false;  // nothing is opened but for those that wait
  bool terminating_ = false;
  io::Timer reconnect_timer_;
  io::Timer waiting_timer_;
  io::Timer held_place_timer_;
  io::Timer room_timer_;
  io::Timer renewal_timer_;
};

void ConnectionPool::State::open(BackendStream& stream, const OpenRequest& request) {
  const Stay stay = places_.treated_as(request.stay);
  stream.wait(*this, {.has_body = request.has_body,
                      .ends_connection = request.ends_connection,
                      .stay = stay,
                      .standing = request.standing,
                      .client = request.client,
                      .connection = request.connection,
                      .slot = {},
                      .waiting_since = now()});
  asked_for_[static_cast<std::size_t>(stay)] = true;
  const bool behind = !places_.may_take(stream);
  BackendConnection* connection = nullptr;
  if (!behind && !waiting_.anybody(stay, false)) {
    connection = places_.find(stay);
  }
  if (connection == nullptr || !connection->open(stream)) {
    waiting_.add(stream, behind);
    if (!waiting_timer_.armed()) {
      reactor().timers().set(waiting_timer_, now(), options_.wait_timeout);
    }
    if (!behind && places_.is_short(stay) && !room_timer_.armed()) await_room(room_interval);
  }
  provide_places();
}

void ConnectionPool::State::await_room(Duration interval) {
  if (!terminating_) reactor().timers().set(room_timer_, now(), interval);
}

void ConnectionPool::State::make_room() {
  for (const Stay stay : all_stays) make_room_for(stay);
}

// Somebody with few waits, and nothing comes free by itself: streams of the client that holds most
// go, those that can move or that nobody reads.
void ConnectionPool::State::make_room_for(Stay stay) {
  if (!places_.is_short(stay) || !waiting_.anybody(stay, false)) return;
  if (!room_timer_.armed()) await_room(room_interval);
  if (places_.crowded_by_draining()) return leave_oldest_draining();
  const std::vector<BackendStream*> held = places_.of_largest(stay);
  std::size_t wanted = std::min(waiting_.count(stay), (held.size() + 1) / 2);
  // A handler may end its own stream, and no other one.
  for (BackendStream* stream : held) {
    if (wanted == 0) return;
    if (!stream->handler().on_connection_retiring(Retiring::for_others)) continue;
    --wanted;
    await_room(room_made_within);
  }
}

// What drains keeps all others from being opened: what can move goes, and what nobody reads.
void ConnectionPool::State::leave_oldest_draining() {
  std::size_t asked = 0;
  for (std::size_t i = 0; i < connections_.size() && asked < draining_asked_at_once; ++i) {
    BackendConnection& connection = *connections_[i];
    if (connection.state() != Connected::draining) continue;
    if (connection.retire(Retiring::for_others)) ++asked;
  }
}

// Opens connections before they are needed.
void ConnectionPool::State::provide_places() {
  if (terminating_ || (leaving_ && waiting_.empty())) return;
  const std::size_t connecting = places_.count(Connected::connecting);
  std::size_t wanted = 0;
  for (const Stay stay : all_stays) {
    if (asked_for_[static_cast<std::size_t>(stay)]) {
      wanted += places_.wanted(stay, waiting_.count(stay));
    }
  }
  if (wanted <= places_.unused() + connecting) return;
  if (connecting >= options_.connecting_max || !places_.may_connect()) return;
  if (!take_turn()) {
    if (!reconnect_timer_.armed()) reactor().timers().set(reconnect_timer_, next_connect_);
    return;
  }
  connect();
}

// False: not before next_connect_.
bool ConnectionPool::State::take_turn() {
  if (next_connect_ > now()) return false;
  const std::uint32_t per_second = is_suspect(parts_.kind) ? 0 : options_.connects_per_second;
  const auto later = pace_->take(now(), per_second, random_);
  if (later) next_connect_ = *later;
  return !later;
}

// Not all pools of all workers at once.
void ConnectionPool::State::retry() {
  if (terminating_ || !unreachable()) return;
  pace_->forget_failures();
  next_connect_ = now();
  reconnect_timer_.cancel();
  provide_places();
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
  CHECK(places_.may_connect());
  CHECK_LT(places_.count(Connected::connecting), options_.connecting_max);
  next_connect_ = now() + options_.connect_spacing;
  ++counters_.connects;
  places_.opened();
  ConnectionOwner& owner = *this;
  connections_.push_back(std::make_unique<BackendConnection>(owner, parts_));
  connections_.back()->connect();
}

void ConnectionPool::State::update(const PoolOptions& options,
                                   std::shared_ptr<const tls::ClientContext> context) {
  options_ = options;
  leaving_ = false;
  const bool renewed = parts_.context != context;
  parts_.context = std::move(context);
  for (const auto& connection : connections_) connection->look_at_places();
  if (renewed) renew();
}

void ConnectionPool::State::renew() {
  // What failed before may have failed for the old context.
  next_connect_ = {};
  if (!terminating_ && places_.count(Connected::ready) > 0 && may_open_another() && take_turn()) {
    connect();
  }
  drain_outdated();
}

bool ConnectionPool::State::may_open_another() const {
  return places_.may_connect() && places_.count(Connected::connecting) < options_.connecting_max;
}

// Of the new connections one comes before the first of the old ones goes, unless there is no room
// for it.
void ConnectionPool::State::drain_outdated() {
  BackendConnection* outdated = nullptr;
  bool more = false;
  bool renewed = false;
  for (const auto& connection : connections_) {
    if (connection->state() == Connected::connecting && connection->outdated()) more = true;
    if (connection->state() != Connected::ready) continue;
    if (!connection->outdated()) renewed = true;
    if (connection->outdated() && outdated == nullptr) outdated = connection.get();
  }
  if (terminating_ || (outdated == nullptr && !more)) return;
  reactor().timers().set(renewal_timer_, now(), renewal_interval);
  if (outdated == nullptr) return;
  if (renewed || !places_.may_connect()) return outdated->drain();
  if (places_.count(Connected::connecting) == 0 && take_turn()) connect();
}

// One connection's watches at a time, so that not all resume at once.
bool ConnectionPool::State::leave() {
  leaving_ = true;
  if (connections_.empty()) return waiting_.empty();
  std::vector<BackendConnection*> ready;
  for (const auto& connection : connections_) {
    if (connection->state() == Connected::ready) ready.push_back(connection.get());
  }
  for (BackendConnection* connection : ready) connection->drain();
  for (const auto& connection : connections_) {
    if (connection->state() == Connected::draining && connection->retire(Retiring::all)) break;
  }
  return false;
}

void ConnectionPool::State::check(std::function<bool()> confirmed) {
  check_confirmed_ = std::move(confirmed);
  for (const auto& connection : connections_) connection->check();
}

void ConnectionPool::State::serve_waiting() {
  for (const Stay stay : all_stays) {
    serve_waiting(stay, false);
    serve_waiting(stay, true);
  }
}

void ConnectionPool::State::serve_waiting(Stay stay, bool behind) {
  if (terminating_) return;
  std::size_t refused = 0;
  while (places_.free(stay) > 0) {
    BackendStream* stream = waiting_.next(stay, behind);
    if (stream == nullptr) return;
    if (!places_.may_take(*stream)) {
      if (!behind) {
        waiting_.put_behind(*stream);
        continue;
      }
      // Whoever has its share is in nobody's way.
      waiting_.pass_over(*stream);
      if (++refused >= std::min(waiting_.turns_of_all_behind(stay), passed_over_max)) return;
      continue;
    }
    BackendConnection* connection = places_.find(stay);
    if (connection == nullptr || !connection->open(*stream)) return waiting_.give_back(*stream);
    waiting_.served(*stream);
  }
}

void ConnectionPool::State::fail_waiting(const std::string& context) {
  waiting_.end(Instant::max(), StreamEnd::Cause::not_connected, context);
}

void ConnectionPool::State::waited_too_long() {
  const Instant since = now() - options_.wait_timeout;
  if (places_.count(Connected::ready) > 0) {
    waiting_.end(since, StreamEnd::Cause::no_place,
                 "no free place on a connection to " + endpoint_.name + " in time");
  } else {
    waiting_.end(since, StreamEnd::Cause::not_connected,
                 "no connection to " + endpoint_.name + " in time");
  }
  if (const auto oldest = waiting_.oldest()) {
    reactor().timers().set(waiting_timer_, *oldest + options_.wait_timeout);
  }
}

void ConnectionPool::State::stream_cancelled() {
  await_held_place();
  serve_waiting();   // a suspect's place is free at once,
  provide_places();  // others' stay taken for a while
}

void ConnectionPool::State::connection_ready(Duration took) {
  failures_ = 0;
  pace_->succeeded(took);
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
  if (places_.count(Connected::draining) <= options_.draining_max) return;
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
    pace_->failed();
    const Duration delay = std::min(options_.reconnect_delay_max,
                                    options_.reconnect_delay_min * (1 << std::min(failures_, 10U)));
    next_connect_ = std::max(next_connect_, now() + random_.between(delay / 2, delay));
    on_event_(PoolEvent::connect_failed, error->context);
  } else {
    ++counters_.connections_lost;
    on_event_(PoolEvent::connection_lost, error->context);
  }
  if (terminating_) return;
  const bool hope = places_.count(Connected::ready) + places_.count(Connected::connecting) > 0;
  if (!hope && failures_ > 0) fail_waiting(error->context);
  provide_places();
}

void ConnectionPool::State::connection_closed(BackendConnection& connection) {
  const auto found =
      std::ranges::find_if(connections_, [&](const auto& c) { return c.get() == &connection; });
  CHECK(found != connections_.end());
  places_.closed(connection);
  connections_.erase(found);
  if (!waiting_.empty()) provide_places();
}

void ConnectionPool::State::terminate() {
  terminating_ = true;
  reconnect_timer_.cancel();
  waiting_timer_.cancel();
  held_place_timer_.cancel();
  room_timer_.cancel();
  renewal_timer_.cancel();
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
                               std::uint64_t seed, OnEvent on_event,
                               std::shared_ptr<ConnectPace> pace)
    : state_(std::make_unique<State>(transport, std::move(endpoint), kind, options,
                                     std::move(context), seed, std::move(on_event),
                                     std::move(pace))) {}

ConnectionPool::~ConnectionPool() = default;

void ConnectionPool::open(BackendStream& stream, const OpenRequest& request) {
  state_->open(stream, request);
}

void ConnectionPool::warm_up() { state_->warm_up(); }

void ConnectionPool::check(std::function<bool()> confirmed) { state_->check(std::move(confirmed)); }

bool ConnectionPool::full(Stay stay) const { return state_->full(stay); }

bool ConnectionPool::unreachable() const { return state_->unreachable(); }

bool ConnectionPool::hopeless() const { return state_->hopeless(); }

void ConnectionPool::retry() { state_->retry(); }

void ConnectionPool::update(const PoolOptions& options,
                            std::shared_ptr<const tls::ClientContext> context) {
  state_->update(options, std::move(context));
}

bool ConnectionPool::leave() { return state_->leave(); }

void ConnectionPool::terminate() { state_->terminate(); }

PoolKind ConnectionPool::kind() const { return state_->parts().kind; }

const PoolCounters& ConnectionPool::counters() const { return state_->parts().counters; }

std::size_t ConnectionPool::ready_connections() const {
  return state_->places().count(ConnectionOwner::Connected::ready);
}

std::size_t ConnectionPool::connections() const { return state_->connections().size(); }

std::size_t ConnectionPool::open_streams() const {
  std::size_t streams = 0;
  for (const auto& connection : state_->connections()) streams += connection->open_streams();
  return streams;
}

}  // namespace sluice::backend
