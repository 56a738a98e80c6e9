// SPDX-License-Identifier: GPL-3.0-or-later
// Connections ahead of need, and streams that wait for a place.
#include "sluice/backend/session_pool.h"

#include <algorithm>
#include <optional>

#include "session.h"
#include "sluice/base/check.h"

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

std::string_view to_string(StreamEnd::Cause cause) {
  switch (cause) {
    case StreamEnd::Cause::completed: return "completed";
    case StreamEnd::Cause::reset: return "reset";
    case StreamEnd::Cause::refused: return "refused";
    case StreamEnd::Cause::connection_lost: return "connection_lost";
    case StreamEnd::Cause::not_connected: return "not_connected";
  }
  return "unknown";
}

void Stream::reset_to_idle() {
  state_ = State::idle;
  session_ = nullptr;
  pool_ = nullptr;
  id_ = 0;
  slot_ = {};
}

void Stream::cancel(http2::ErrorCode code) {
  switch (state_) {
    case State::waiting: pool_->remove_waiting(*this); break;
    case State::open: session_->cancel(*this, code); break;
    case State::idle:
    case State::ended: break;
  }
  reset_to_idle();
}

void Stream::consume(std::size_t bytes) {
  if (state_ == State::open) session_->consume(*this, bytes);
}

void Stream::grow_window(std::uint32_t bytes) {
  if (state_ == State::open) session_->grow_window(*this, bytes);
}

void Stream::resume_body() {
  if (state_ == State::open) session_->resume_body(*this);
}

SessionPool::SessionPool(net::Transport& transport, Endpoint endpoint, PoolKind kind,
                         const PoolOptions& options, tls::ClientContext& context,
                         std::uint64_t seed, OnEvent on_event)
    : transport_(transport),
      endpoint_(std::move(endpoint)),
      kind_(kind),
      options_(options),
      context_(context),
      random_(seed),
      on_event_(std::move(on_event)),
      reconnect_timer_(io::Timer::bind<&SessionPool::reconnect>(this)),
      waiting_timer_(io::Timer::bind<&SessionPool::waited_too_long>(this)),
      held_place_timer_(io::Timer::bind<&SessionPool::held_place_came_free>(this)) {}

SessionPool::~SessionPool() {
  CHECK(sessions_.empty());
  CHECK_EQ(waiting_count_, std::size_t{0});
}

void SessionPool::open(Stream& stream, bool has_body, bool ends_connection) {
  CHECK(stream.state_ == Stream::State::idle || stream.state_ == Stream::State::ended);
  stream.reset_to_idle();
  stream.has_body_ = has_body;
  stream.ends_connection_ = ends_connection;
  stream.request_sent_ = !has_body;
  stream.answered_ = false;
  stream.ended_cleanly_ = false;
  if (Session* session = waiting_.empty() ? session_with_place() : nullptr) {
    if (session->open(stream)) return provide_places();
  }
  io::Reactor& reactor = transport_.reactor();
  stream.state_ = Stream::State::waiting;
  stream.pool_ = this;
  stream.waiting_since_ = reactor.now();
  waiting_.push_back(stream);
  ++waiting_count_;
  if (!waiting_timer_.armed()) {
    reactor.timers().set(waiting_timer_, reactor.now(), options_.wait_timeout);
  }
  provide_places();
}

void SessionPool::remove_waiting(Stream& stream) {
  DCHECK(waiting_count_ > 0);
  static_cast<ListNode<WaitingTag>&>(stream).unlink();
  --waiting_count_;
}

Session* SessionPool::session_with_place() {
  // The oldest first: requests share records and system calls when they share connections.
  for (const auto& session : sessions_) {
    if (session->free_places() > 0) return session.get();
  }
  return nullptr;
}

std::size_t SessionPool::ready_connections() const {
  return static_cast<std::size_t>(std::ranges::count_if(
      sessions_, [](const auto& s) { return s->state() == Session::State::ready; }));
}

std::size_t SessionPool::open_streams() const {
  std::size_t streams = 0;
  for (const auto& session : sessions_) streams += session->open_streams();
  return streams;
}

// Opens connections before they are needed: free places should cover who waits and a tenth more.
void SessionPool::provide_places() {
  if (terminating_) return;
  std::size_t free_places = 0;
  std::size_t connecting = 0;
  std::size_t ready = 0;
  for (const auto& session : sessions_) {
    if (session->state() == Session::State::connecting) ++connecting;
    if (session->state() == Session::State::ready) ++ready;
    free_places += session->free_places();
  }
  const std::size_t per_connection = is_suspect(kind_) ? 1 : options_.streams_per_connection_max;
  const std::size_t margin =
      ready + connecting == 0 ? 1 : std::max<std::size_t>(1, per_connection / 10);
  if (free_places + connecting * per_connection >= waiting_count_ + margin) return;
  if (connecting >= options_.connecting_max || sessions_.size() >= options_.connections_max) {
    return await_held_place();
  }
  io::Reactor& reactor = transport_.reactor();
  if (next_connect_ > reactor.now()) {
    if (!reconnect_timer_.armed()) reactor.timers().set(reconnect_timer_, next_connect_);
    return;
  }
  connect();
}

// Nothing else happens when a cancelled stream's place comes free.
void SessionPool::await_held_place() {
  if (waiting_.empty() || held_place_timer_.armed()) return;
  std::optional<Instant> next;
  for (const auto& session : sessions_) {
    const auto until = session->next_place_held_until();
    if (until && (!next || *until < *next)) next = until;
  }
  if (next) transport_.reactor().timers().set(held_place_timer_, *next);
}

void SessionPool::held_place_came_free() {
  serve_waiting();
  provide_places();
}

void SessionPool::connect() {
  next_connect_ = transport_.reactor().now() + options_.connect_spacing;
  ++counters_.connects;
  sessions_.push_back(std::make_unique<Session>(*this));
  sessions_.back()->connect();
}

void SessionPool::reconnect() { provide_places(); }

void SessionPool::warm_up() {
  if (sessions_.empty()) provide_places();
}

void SessionPool::serve_waiting() {
  if (terminating_) return;
  while (!waiting_.empty()) {
    Session* session = session_with_place();
    if (session == nullptr) return;
    Stream& stream = waiting_.front();
    remove_waiting(stream);
    if (!session->open(stream)) {
      waiting_.push_front(stream);
      ++waiting_count_;
      return;
    }
  }
}

// One by one: a handler may cancel others of them, or put its own stream into a queue again.
void SessionPool::end_unconnected(List<Stream, WaitingTag>& streams, const std::string& context) {
  while (!streams.empty()) {
    Stream& stream = streams.front();
    remove_waiting(stream);
    stream.reset_to_idle();
    stream.state_ = Stream::State::ended;
    stream.handler_.on_stream_ended({StreamEnd::Cause::not_connected,
                                     http2::ErrorCode::refused_stream, Retry::not_executed,
                                     context});
  }
}

void SessionPool::fail_waiting(const std::string& context) {
  List<Stream, WaitingTag> failed;  // only those that wait now
  failed.splice_back(waiting_);
  end_unconnected(failed, context);
}

void SessionPool::waited_too_long() {
  io::Reactor& reactor = transport_.reactor();
  const Instant since = reactor.now() - options_.wait_timeout;
  List<Stream, WaitingTag> expired;
  while (!waiting_.empty() && waiting_.front().waiting_since_ <= since) {
    expired.push_back(*waiting_.pop_front());
  }
  if (!waiting_.empty()) {
    reactor.timers().set(waiting_timer_, waiting_.front().waiting_since_ + options_.wait_timeout);
  }
  end_unconnected(expired, "no free place on a connection to " + endpoint_.name + " in time");
}

void SessionPool::session_ready(Session&) {
  failures_ = 0;
  on_event_(PoolEvent::connected, endpoint_.name);
  serve_waiting();
  provide_places();
}

void SessionPool::session_draining(Session&) {
  // The replacement first: the next request should not have to wait for a handshake.
  provide_places();
  retire_oldest();
}

void SessionPool::retire_oldest() {
  std::size_t draining = 0;
  Session* oldest = nullptr;
  for (const auto& session : sessions_) {
    if (session->state() != Session::State::draining) continue;
    if (draining++ == 0) oldest = session.get();
  }
  if (draining <= options_.draining_max) return;
  ++counters_.retired;
  oldest->retire();
}

void SessionPool::session_ended(Session&, const Error& error, bool was_connecting) {
  io::Reactor& reactor = transport_.reactor();
  if (was_connecting) {
    ++counters_.connect_failures;
    ++failures_;
    const Duration delay = std::min(options_.reconnect_delay_max,
                                    options_.reconnect_delay_min * (1 << std::min(failures_, 10U)));
    next_connect_ = std::max(next_connect_, reactor.now() + random_.between(delay / 2, delay));
    on_event_(PoolEvent::connect_failed, error.context);
  } else {
    ++counters_.connections_lost;
    on_event_(PoolEvent::connection_lost, error.context);
  }
  if (terminating_) return;
  const bool hope = std::ranges::any_of(sessions_, [](const auto& s) {
    return s->state() == Session::State::ready || s->state() == Session::State::connecting;
  });
  if (!hope && failures_ > 0) fail_waiting(error.context);
  provide_places();
}

void SessionPool::session_closed(Session& session) {
  const auto found =
      std::ranges::find_if(sessions_, [&](const auto& s) { return s.get() == &session; });
  CHECK(found != sessions_.end());
  sessions_.erase(found);
  if (waiting_count_ > 0) provide_places();
}

void SessionPool::terminate() {
  terminating_ = true;
  reconnect_timer_.cancel();
  waiting_timer_.cancel();
  held_place_timer_.cancel();
  fail_waiting("the proxy is stopping");
  for (const auto& session : sessions_) session->terminate();
}

}  // namespace sluice::backend
