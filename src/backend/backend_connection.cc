// SPDX-License-Identifier: GPL-3.0-or-later
// One HTTP/2 connection to a backend.
#include "backend_connection.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "sluice/base/check.h"
#include "sluice/observability/log.h"

namespace sluice::backend {
namespace {

using State = BackendConnection::State;

constexpr Transitions<State, 4> transitions{{
    0,                                                         // connecting
    states(State::connecting),                                 // ready
    states(State::connecting, State::ready),                   // draining
    states(State::connecting, State::ready, State::draining),  // ended
}};

std::string_view to_string(State state) {
  switch (state) {
    case State::connecting: return "connecting";
    case State::ready: return "ready";
    case State::draining: return "draining";
    case State::ended: return "ended";
  }
  return "unknown";
}

// A timer that fires so much late says that we were not running, not that the backend is silent.
constexpr Duration turn_late_max = std::chrono::milliseconds(250);

}  // namespace

PlaceHolder holder_of(BackendStream& stream) {
  const BackendStream::Carriage& carriage = stream.carriage();
  return {carriage.stay,
          carriage.standing == Standing::proven ? carriage.client : carriage.connection};
}

BackendConnection::BackendConnection(ConnectionOwner& owner, const ConnectionParts& parts)
    : owner_(owner),
      parts_(parts),
      connection_(parts.transport, *this),
      http2_(*this, parts.options.session, parts.transport.reactor().now()),
      heartbeat_(io::Timer::bind<&BackendConnection::heartbeat>(this)),
      check_(io::Timer::bind<&BackendConnection::check_over>(this)) {}

BackendConnection::~BackendConnection() {
  CHECK(state_ == State::ended);
  CHECK_EQ(stream_count_, std::size_t{0});
  CHECK_EQ(unanswered_, std::size_t{0});
  CHECK(streams_.empty());
  CHECK(held_.empty());
}

void BackendConnection::connect() {
  // Spread over a fifth, so that connections opened together do not end together.
  const Duration age = options().connection_age_max;
  retire_at_ = now() + parts_.random.between(age - age / 5, age + Duration(1));
  context_ = parts_.context;
  connect_began_ = now();
  connection_.connect(parts_.endpoint.address, context_, parts_.endpoint.server_name);
}

void BackendConnection::set_state(State state) {
  if (transitions.refuse("backend connection", state_, state)) [[unlikely]]
    return wrong_transition(state);
  const State before = std::exchange(state_, state);
  owner_.state_changed(before, state);
  if (state != State::ready) leave_held_places(Instant::max());
  look_at_places();
}

// A mistake of ours costs one connection, not all.
void BackendConnection::wrong_transition(State state) {
  log::error("a backend connection is ended by a mistake of this program",
             {{"backend", name()}, {"state", to_string(state_)}, {"next", to_string(state)}});
  connection_.transport().count_wrong_transition();
  connection_.terminate();
}

void BackendConnection::look_at_places() {
  const std::size_t free = count_free_places();
  const ConnectionOwner::Places now{count_as(free), free};
  if (now == places_) return;
  owner_.places_changed(std::exchange(places_, now), now);
}

ConnectionOwner::Use ConnectionOwner::use_of(Stay stay) {
  switch (stay) {
    case Stay::brief: return Use::brief;
    case Stay::lengthy: return Use::lengthy;
    case Stay::lasting: return Use::lasting;
  }
  return Use::brief;
}

// One whose places are all held by what was cancelled is no spare one.
ConnectionOwner::Use BackendConnection::count_as(std::size_t free_places) const {
  if (state_ != State::ready) return Use::none;
  if (stream_count_ == 0 && free_places > 0) return Use::nothing_yet;
  return ConnectionOwner::use_of(stay_);
}

std::size_t BackendConnection::count_free_places() {
  if (state_ != State::ready || !http2_.can_open_stream()) return 0;
  // An answer of 401 ends the connection, and with it whatever was opened behind it: of suspects
  // only one at a time waits for its answer.
  if (is_suspect(parts_.kind) && unanswered_ > 0) return 0;
  leave_held_places(now());
  const std::size_t places = room();
  return is_suspect(parts_.kind) ? std::min<std::size_t>(1, places) : places;
}

std::size_t BackendConnection::room() const {
  if (state_ != State::ready) return 0;
  const std::size_t limit =
      std::min(options().streams_per_connection_max, http2_.peer_max_concurrent_streams());
  const std::size_t taken = stream_count_ + held_.size();
  return limit - std::min(limit, taken);
}

std::optional<Instant> BackendConnection::next_place_held_until() const {
  if (state_ != State::ready) return std::nullopt;
  const auto next = std::ranges::upper_bound(held_, now(), {}, &HeldPlace::until);
  return next == held_.end() ? std::nullopt : std::optional(next->until);
}

void BackendConnection::leave_held_places(Instant until) {
  for (; !held_.empty() && held_.front().until <= until; held_.pop_front()) {
    owner_.place_left(held_.front().holder);
  }
}

bool BackendConnection::open(BackendStream& stream) {
  CHECK(state_ == State::ready);
  CHECK_GT(places_.free, std::size_t{0});
  const SlotId slot = slots_.insert(&stream);
  const auto id = http2_.submit_request(stream.handler().request_head(), stream.carriage().has_body,
                                        slot.packed());
  if (!id) {
    slots_.take(slot);
    look_at_places();
    return false;
  }
  CHECK_GT(*id, 0);
  stream.open_on(*this);
  stream.carriage().slot = slot;
  stream.carriage().number = *id;
  streams_.push_back(stream);
  if (stream_count_ == 0) stay_ = stream.carriage().stay;
  ++stream_count_;
  owner_.place_taken(holder_of(stream));
  ++unanswered_;
  ++parts_.counters.streams;
  look_at_places();
  connection_.mark_dirty();
  if (stream.carriage().ends_connection) drain();
  return true;
}

void BackendConnection::detach(BackendStream& stream) {
  CHECK(stream.state() == BackendStream::State::open);
  CHECK(static_cast<ListNode<OpenTag>&>(stream).linked());
  CHECK_GT(stream_count_, std::size_t{0});
  static_cast<ListNode<OpenTag>&>(stream).unlink();
  --stream_count_;
  if (!stream.carriage().answered) {
    CHECK_GT(unanswered_, std::size_t{0});
    --unanswered_;
  }
  CHECK_LE(unanswered_, stream_count_);
  CHECK(slots_.find(stream.carriage().slot) != nullptr);
  slots_.take(stream.carriage().slot);
  owner_.place_left(holder_of(stream));
  look_at_places();
  if (stream_count_ > 0) return;
  unused_since_ = now();
  const Instant idle_end = unused_since_ + options().idle_timeout;
  if (heartbeat_.armed() && !ping_outstanding_ && heartbeat_.deadline() > idle_end) {
    reactor().timers().set(heartbeat_, idle_end);
  }
}

void BackendConnection::end_stream(BackendStream& stream, const StreamEnd& end) {
  detach(stream);
  stream.end(end);
  owner_.stream_ended();
}

void BackendConnection::cancel(BackendStream& stream) {
  const http2::StreamId id = stream.carriage().number;
  CHECK_GT(id, 0);
  if (!stream.carriage().ended_cleanly && state_ == State::ready) {
    held_.push_back({now() + options().cancelled_place_held, holder_of(stream)});
    owner_.place_taken(held_.back().holder);
  }
  detach(stream);
  stream.let_go();
  http2_.reset_stream(id, http2::ErrorCode::cancel);
  connection_.mark_dirty();
  close_if_unused();
  owner_.stream_cancelled();
}

void BackendConnection::consume(BackendStream& stream, std::size_t bytes) {
  DCHECK(stream.carriage().number > 0);
  http2_.consume(stream.carriage().number, bytes);
  if (http2_.wants_output()) connection_.mark_dirty();
}

void BackendConnection::grow_window(BackendStream& stream, std::uint32_t bytes) {
  http2_.grow_stream_window(stream.carriage().number, bytes);
  if (http2_.wants_output()) connection_.mark_dirty();
}

void BackendConnection::resume_body(BackendStream& stream) {
  DCHECK(stream.carriage().number > 0);
  http2_.resume_body(stream.carriage().number);
  connection_.mark_dirty();
}

void BackendConnection::drain() {
  if (state_ == State::draining || state_ == State::ended) return;
  set_state(State::draining);
  owner_.connection_draining();
  close_if_unused();
}

void BackendConnection::for_each_stream(const std::function<void(BackendStream&)>& what) {
  for (BackendStream* stream = streams_.empty() ? nullptr : &streams_.front(); stream != nullptr;
       stream = streams_.next(*stream)) {
    what(*stream);
  }
}

void BackendConnection::for_each_place(const std::function<void(const PlaceHolder&)>& what) {
  for_each_stream([&](BackendStream& stream) { what(holder_of(stream)); });
  for (const HeldPlace& held : held_) what(held.holder);
}

bool BackendConnection::retire(Retiring who) {
  // Handlers may end their streams while we walk.
  std::vector<SlotId> slots;
  for_each_stream([&](BackendStream& stream) { slots.push_back(stream.carriage().slot); });
  bool any = false;
  for (const SlotId slot : slots) {
    BackendStream** stream = slots_.find(slot);
    if (stream != nullptr && (*stream)->handler().on_connection_retiring(who)) any = true;
  }
  return any;
}

void BackendConnection::terminate() {
  if (connection_.state() != net::Connection::State::closed) connection_.terminate();
  if (state_ == State::ended) return;
  set_state(State::ended);
  heartbeat_.cancel();
  check_.cancel();
  lose_streams("the connection to " + name() + " was ended");
}

void BackendConnection::close_if_unused() {
  if (state_ != State::draining || stream_count_ > 0) return;
  CHECK(streams_.empty());
  set_state(State::ended);
  heartbeat_.cancel();
  check_.cancel();
  http2_.goaway_final();
  connection_.close();
}

void BackendConnection::on_established() {
  established_ = true;
  last_receive_ = unused_since_ = now();
  if (connection_.engine()->alpn() != "h2") {
    on_end({ErrorKind::protocol, Side::backend, Retry::not_executed,
            name() + " does not speak HTTP/2"});
    connection_.terminate();
    return;
  }
  connection_.mark_dirty();  // preface and SETTINGS
  reactor().timers().set(heartbeat_, now(), options().ping_timeout);
}

void BackendConnection::on_receive(Bytes plain) {
  last_receive_ = now();
  heard_ = true;
  if (const auto fed = http2_.feed(plain, last_receive_); !fed) {
    Error error = fed.error();
    error.side = Side::backend;
    connection_.close();  // what is left (a GOAWAY) goes out first
    on_end(error);
    return;
  }
  if (http2_.wants_output()) connection_.mark_dirty();
  close_if_unused();
  // While it tells of an end, the codec counts that stream still.
  if (places_.free == 0) look_for_places();
}

// For whoever waits for them.
void BackendConnection::look_for_places() {
  look_at_places();
  if (places_.free > 0) owner_.stream_ended();
}

std::size_t BackendConnection::on_collect(MutableBytes batch) {
  const std::size_t bytes = http2_.collect(batch);
  if (bytes == 0 && http2_.finished() && state_ != State::ended) {
    // The codec has given the connection up, with a GOAWAY that has just been collected.
    connection_.close();
    on_end({ErrorKind::protocol, Side::backend, Retry::never, name() + " broke HTTP/2"});
  }
  return bytes;
}

void BackendConnection::on_settings() {
  if (state_ != State::connecting) return look_for_places();  // it may allow more
  set_state(State::ready);
  owner_.connection_ready(now() - connect_began_);
}

void BackendConnection::on_end(const Error& error) {
  if (state_ == State::ended) return;
  const bool was_connecting = state_ == State::connecting;
  const bool in_use = stream_count_ > 0;
  set_state(State::ended);
  heartbeat_.cancel();
  check_.cancel();
  lose_streams(error.context);
  owner_.connection_ended(was_connecting || in_use ? &error : nullptr, was_connecting);
}

void BackendConnection::on_closed() {
  if (state_ != State::ended) {
    set_state(State::ended);
    lose_streams("the connection was closed");
  }
  CHECK(streams_.empty());
  owner_.connection_closed(*this);  // destroys this
}

void BackendConnection::lose_streams(const std::string& context) {
  while (!streams_.empty()) {
    BackendStream& stream = streams_.front();
    StreamEnd end{StreamEnd::Cause::connection_lost, Retry::never, context};
    if (stream.carriage().ended_cleanly) {
      end.cause = StreamEnd::Cause::completed;
    } else if (!http2_.request_written(stream.carriage().number)) {
      end.retry = Retry::not_executed;
    } else if (!stream.carriage().answered) {
      end.retry = Retry::idempotent;
    }
    end_stream(stream, end);
  }
}

BackendStream* BackendConnection::find(http2::StreamRef ref) {
  BackendStream** stream = slots_.find(SlotId::unpacked(ref.tag));
  return stream == nullptr || (*stream)->carriage().number != ref.id ? nullptr : *stream;
}

void BackendConnection::on_response(http2::StreamRef ref, http::ResponseHead&& head,
                                    bool end_of_stream) {
  BackendStream* stream = find(ref);
  if (stream == nullptr) return;
  if (head.status >= 200 && !stream->carriage().answered) {
    CHECK_GT(unanswered_, std::size_t{0});
    stream->carriage().answered = true;
    --unanswered_;
    look_at_places();
  }
  // GOAWAY follows; a stream that is opened before it is read would be refused.
  if (head.status == 401 && is_suspect(parts_.kind)) drain();
  stream->handler().on_response(std::move(head), end_of_stream);
  if (is_suspect(parts_.kind)) owner_.stream_ended();
}

void BackendConnection::on_data(http2::StreamRef ref, Bytes bytes) {
  if (BackendStream* stream = find(ref)) {
    stream->handler().on_response_body(bytes);
  } else {
    http2_.consume(ref.id, bytes.size());
  }
}

void BackendConnection::on_trailers(http2::StreamRef ref, http::Fields&& trailers) {
  if (BackendStream* stream = find(ref))
    stream->handler().on_response_trailers(std::move(trailers));
}

void BackendConnection::on_end_of_stream(http2::StreamRef ref) {
  BackendStream* stream = find(ref);
  if (stream == nullptr) return;
  stream->carriage().ended_cleanly = true;
  const bool uploading = !stream->carriage().request_sent;
  end_stream(*stream, {StreamEnd::Cause::completed, Retry::never, {}});
  // The answer is complete; the rest of the upload is of no use (RFC 9113 section 8.1).
  if (uploading) {
    http2_.reset_stream(ref.id, http2::ErrorCode::cancel);
    connection_.mark_dirty();
  }
}

void BackendConnection::on_stream_closed(http2::StreamRef ref, http2::ErrorCode code,
                                         bool by_peer) {
  BackendStream* stream = find(ref);
  if (stream == nullptr) return;
  StreamEnd end{StreamEnd::Cause::reset, Retry::never, {}};
  if (code == http2::ErrorCode::refused_stream) {
    ++parts_.counters.refused_streams;
    end.cause = StreamEnd::Cause::refused;
    end.retry = Retry::not_executed;
    end.context = name() + " refused the stream";
  } else if (code == http2::ErrorCode::enhance_your_calm && !by_peer &&
             !stream->carriage().answered) {
    end.cause = StreamEnd::Cause::too_large;
    end.context = name() + " sent a head above --response-head-bytes-max or -fields-max";
  } else {
    end.context = name() + (by_peer ? " reset the stream" : " broke HTTP/2");
  }
  end_stream(*stream, end);
  close_if_unused();
}

http::BodyResult BackendConnection::on_body_wanted(http2::StreamRef ref, MutableBytes room) {
  BackendStream* stream = find(ref);
  if (stream == nullptr) return {0, http::BodyStatus::more};  // cancelled: RST_STREAM follows
  const http::BodyResult result = stream->handler().on_request_body_wanted(room);
  stream->carriage().request_sent = result.status == http::BodyStatus::finished;
  return result;
}

void BackendConnection::on_goaway(http2::StreamId, http2::ErrorCode) {
  ++parts_.counters.goaways;
  owner_.tell(PoolEvent::goaway, name());
  if (state_ == State::connecting) {
    on_end({ErrorKind::unavailable, Side::backend, Retry::not_executed,
            name() + " sent GOAWAY before anything else"});
    connection_.close();
    return;
  }
  drain();
}

void BackendConnection::on_ping_answer(std::uint64_t) { ping_outstanding_ = false; }

// Answers to PING, idleness, age: one timer, woken every ping_interval while connected.
void BackendConnection::heartbeat() {
  CHECK(established_);
  CHECK(state_ != State::ended);
  const PoolOptions& options = parts_.options;
  if (state_ == State::connecting) {
    on_end({ErrorKind::timeout, Side::backend, Retry::not_executed,
            name() + " sent no SETTINGS in time"});
    connection_.terminate();
    return;
  }
  if (ping_outstanding_) {
    if (last_receive_ + options.ping_timeout <= now()) {
      return end_silent();
    }
    ping_outstanding_ = false;  // other frames arrived: the connection lives
  }
  if (stream_count_ == 0 && state_ == State::ready &&
      unused_since_ + options.idle_timeout <= now()) {
    set_state(State::draining);  // not by drain(), which opens the replacement first
    return close_if_unused();
  }
  if (state_ == State::ready && retire_at_ <= now()) {
    drain();
    if (state_ == State::ended) return;
  }
  Duration next = options.ping_interval;
  if (stream_count_ > 0 && last_receive_ + options.ping_interval <= now()) {
    ping_outstanding_ = true;
    http2_.ping(static_cast<std::uint64_t>(now().time_since_epoch().count()));
    connection_.mark_dirty();
    next = options.ping_timeout;
  }
  // Neither may wait for a PING that is far away; an answer to one must be given its time.
  if (!ping_outstanding_ && state_ == State::ready) {
    if (stream_count_ == 0) next = std::min(next, unused_since_ + options.idle_timeout - now());
    next = std::min(next, retire_at_ - now());
  }
  reactor().timers().set(heartbeat_, now(), next);
}

void BackendConnection::check() {
  if (!established_ || state_ == State::ended || check_.armed()) return;
  http2_.ping(static_cast<std::uint64_t>(now().time_since_epoch().count()));
  connection_.mark_dirty();
  heard_ = false;
  check_until_ = now() + options().check_timeout;
  reactor().timers().set(check_, check_until_);
}

void BackendConnection::check_over() {
  CHECK(established_);
  CHECK(state_ != State::ended);
  if (heard_) return;
  if (now() - check_until_ > turn_late_max) return check();
  if (owner_.silence_confirmed()) end_silent();
}

void BackendConnection::end_silent() {
  CHECK(state_ != State::ended);
  ++parts_.counters.ping_timeouts;
  owner_.tell(PoolEvent::silent, name());
  on_end({ErrorKind::timeout, Side::backend, Retry::never, name() + " does not answer PING"});
  connection_.terminate();
}

}  // namespace sluice::backend
