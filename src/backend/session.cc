// SPDX-License-Identifier: GPL-3.0-or-later
// One HTTP/2 connection to a backend.
#include "session.h"

#include <algorithm>

#include "sluice/base/check.h"

namespace sluice::backend {
namespace {

SlotId slot_of(std::uint64_t tag) {
  return {static_cast<std::uint32_t>(tag), static_cast<std::uint32_t>(tag >> 32)};
}

}  // namespace

Session::Session(SessionPool& pool)
    : pool_(pool),
      connection_(pool.transport_, *this),
      http2_(*this, pool.options_.session, pool.transport_.reactor().now()),
      heartbeat_(io::Timer::bind<&Session::heartbeat>(this)) {}

Session::~Session() { CHECK_EQ(stream_count_, std::size_t{0}); }

void Session::connect() {
  // Spread over a fifth, so that connections opened together do not end together.
  const Duration age = pool_.options_.connection_age_max;
  retire_at_ = now() + pool_.random_.between(age - age / 5, age + Duration(1));
  connection_.connect(pool_.endpoint_.address, pool_.context_);
}

void Session::set_state(State state) {
  DCHECK(static_cast<int>(state) > static_cast<int>(state_));
  state_ = state;
}

std::size_t Session::free_places() {
  if (state_ != State::ready || !http2_.can_open_stream()) return 0;
  // An answer of 401 ends the connection, and with it whatever was opened behind it: of suspects
  // only one at a time waits for its answer.
  if (is_suspect(pool_.kind_) && unanswered_ > 0) return 0;
  while (!cancelled_until_.empty() && cancelled_until_.front() <= now())
    cancelled_until_.pop_front();
  const std::size_t limit =
      std::min(pool_.options_.streams_per_connection_max, http2_.peer_max_concurrent_streams());
  const std::size_t taken = stream_count_ + cancelled_until_.size();
  if (taken >= limit) return 0;
  return is_suspect(pool_.kind_) ? 1 : limit - taken;
}

std::optional<Instant> Session::next_place_held_until() const {
  if (state_ != State::ready) return std::nullopt;
  const auto next = std::ranges::upper_bound(cancelled_until_, now());
  return next == cancelled_until_.end() ? std::nullopt : std::optional(*next);
}

bool Session::open(Stream& stream) {
  CHECK(stream.state_ != Stream::State::open);
  const SlotId slot = pool_.streams_.insert(&stream);
  const auto id =
      http2_.submit_request(stream.handler_.request_head(), stream.has_body_, slot.packed());
  if (!id) {
    pool_.streams_.take(slot);
    return false;
  }
  stream.slot_ = slot;
  stream.id_ = *id;
  stream.session_ = this;
  stream.pool_ = &pool_;
  stream.state_ = Stream::State::open;
  streams_.push_back(stream);
  ++stream_count_;
  ++unanswered_;
  ++pool_.counters_.streams;
  connection_.mark_dirty();
  if (stream.ends_connection_) drain();
  return true;
}

void Session::detach(Stream& stream) {
  static_cast<ListNode<OpenTag>&>(stream).unlink();
  --stream_count_;
  if (!stream.answered_) --unanswered_;
  pool_.streams_.take(stream.slot_);
  stream.reset_to_idle();
  if (stream_count_ == 0) unused_since_ = now();
}

void Session::end_stream(Stream& stream, StreamEnd end) {
  detach(stream);
  stream.state_ = Stream::State::ended;
  stream.handler_.on_stream_ended(end);
  pool_.serve_waiting();
}

void Session::cancel(Stream& stream, http2::ErrorCode code) {
  const http2::StreamId id = stream.id_;
  if (!stream.ended_cleanly_) {
    cancelled_until_.push_back(now() + pool_.options_.cancelled_place_held);
  }
  detach(stream);
  http2_.reset_stream(id, code);
  connection_.mark_dirty();
  close_if_unused();
  pool_.serve_waiting();   // a suspect's place is free at once,
  pool_.provide_places();  // others' stay taken for a while
}

void Session::consume(Stream& stream, std::size_t bytes) {
  http2_.consume(stream.id_, bytes);
  if (http2_.wants_output()) connection_.mark_dirty();
}

void Session::grow_window(Stream& stream, std::uint32_t bytes) {
  http2_.grow_stream_window(stream.id_, bytes);
  if (http2_.wants_output()) connection_.mark_dirty();
}

void Session::resume_body(Stream& stream) {
  http2_.resume_body(stream.id_);
  connection_.mark_dirty();
}

void Session::drain() {
  if (state_ == State::draining || state_ == State::ended) return;
  set_state(State::draining);
  pool_.session_draining(*this);
  close_if_unused();
}

void Session::retire() {
  // Handlers may end their streams while we walk: each round looks at one that was not told yet.
  std::vector<SlotId> slots;
  for (Stream* stream = streams_.empty() ? nullptr : &streams_.front(); stream != nullptr;
       stream = streams_.next(*stream)) {
    slots.push_back(stream->slot_);
  }
  for (const SlotId slot : slots) {
    if (Stream** stream = pool_.streams_.find(slot)) (*stream)->handler_.on_connection_retiring();
  }
}

void Session::terminate() {
  if (connection_.state() != net::Connection::State::closed) connection_.terminate();
  if (state_ == State::ended) return;
  set_state(State::ended);
  heartbeat_.cancel();
  lose_streams("the connection to " + pool_.endpoint_.name + " was ended");
}

void Session::close_if_unused() {
  if (state_ != State::draining || stream_count_ > 0) return;
  set_state(State::ended);
  heartbeat_.cancel();
  http2_.goaway_final();
  connection_.close();
}

void Session::on_established() {
  established_ = true;
  last_receive_ = unused_since_ = now();
  if (connection_.engine()->alpn() != "h2") {
    on_end({ErrorKind::protocol, Side::backend, Retry::not_executed,
            pool_.endpoint_.name + " does not speak HTTP/2"});
    connection_.terminate();
    return;
  }
  connection_.mark_dirty();  // preface and SETTINGS
  io::Reactor& reactor = pool_.transport_.reactor();
  reactor.timers().set(heartbeat_, reactor.now(), pool_.options_.ping_timeout);
}

void Session::on_receive(Bytes plain) {
  last_receive_ = now();
  if (const auto fed = http2_.feed(plain, last_receive_); !fed) {
    Error error = fed.error();
    error.side = Side::backend;
    connection_.close();  // what is left (a GOAWAY) goes out first
    on_end(error);
    return;
  }
  if (http2_.wants_output()) connection_.mark_dirty();
  close_if_unused();
}

std::size_t Session::on_collect(MutableBytes batch) {
  const std::size_t bytes = http2_.collect(batch);
  if (bytes == 0 && http2_.finished() && state_ != State::ended) {
    // The codec has given the connection up, with a GOAWAY that has just been collected.
    connection_.close();
    on_end(
        {ErrorKind::protocol, Side::backend, Retry::never, pool_.endpoint_.name + " broke HTTP/2"});
  }
  return bytes;
}

void Session::on_settings() {
  if (state_ != State::connecting) return;
  set_state(State::ready);
  pool_.session_ready(*this);
}

void Session::on_end(const Error& error) {
  if (state_ == State::ended) return;
  const bool was_connecting = state_ == State::connecting;
  const bool in_use = stream_count_ > 0;
  set_state(State::ended);
  heartbeat_.cancel();
  lose_streams(error.context);
  if (was_connecting || in_use)
    pool_.session_ended(*this, error, was_connecting);
  else
    pool_.provide_places();
}

void Session::on_closed() {
  if (state_ != State::ended) {
    set_state(State::ended);
    lose_streams("the connection was closed");
  }
  pool_.session_closed(*this);  // destroys this
}

void Session::lose_streams(const std::string& context) {
  while (!streams_.empty()) {
    Stream& stream = streams_.front();
    StreamEnd end{StreamEnd::Cause::connection_lost, http2::ErrorCode::internal_error, Retry::never,
                  context};
    if (stream.ended_cleanly_) {
      end.cause = StreamEnd::Cause::completed;
    } else if (!http2_.request_written(stream.id_)) {
      end.retry = Retry::not_executed;
    } else if (!stream.answered_) {
      end.retry = Retry::idempotent;
    }
    end_stream(stream, std::move(end));
  }
}

Stream* Session::find(http2::StreamRef ref) {
  Stream** stream = pool_.streams_.find(slot_of(ref.tag));
  if (stream == nullptr || (*stream)->session_ != this || (*stream)->id_ != ref.id) return nullptr;
  return *stream;
}

void Session::on_response(http2::StreamRef ref, http::ResponseHead&& head, bool end_of_stream) {
  Stream* stream = find(ref);
  if (stream == nullptr) return;
  if (head.status >= 200 && !stream->answered_) {
    stream->answered_ = true;
    --unanswered_;
  }
  // GOAWAY follows; a stream that is opened before it is read would be refused.
  if (head.status == 401 && is_suspect(pool_.kind_)) drain();
  stream->handler_.on_response(std::move(head), end_of_stream);
  if (is_suspect(pool_.kind_)) pool_.serve_waiting();
}

void Session::on_data(http2::StreamRef ref, Bytes bytes) {
  if (Stream* stream = find(ref)) {
    stream->handler_.on_response_body(bytes);
  } else {
    http2_.consume(ref.id, bytes.size());
  }
}

void Session::on_trailers(http2::StreamRef ref, http::Fields&& trailers) {
  if (Stream* stream = find(ref)) stream->handler_.on_response_trailers(std::move(trailers));
}

void Session::on_end_of_stream(http2::StreamRef ref) {
  Stream* stream = find(ref);
  if (stream == nullptr) return;
  stream->ended_cleanly_ = true;
  const bool uploading = !stream->request_sent_;
  end_stream(*stream, {StreamEnd::Cause::completed, http2::ErrorCode::no_error, Retry::never, {}});
  // The answer is complete; the rest of the upload is of no use (RFC 9113 section 8.1).
  if (uploading) {
    http2_.reset_stream(ref.id, http2::ErrorCode::cancel);
    connection_.mark_dirty();
  }
}

void Session::on_stream_closed(http2::StreamRef ref, http2::ErrorCode code, bool by_peer) {
  Stream* stream = find(ref);
  if (stream == nullptr) return;
  StreamEnd end{StreamEnd::Cause::reset, code, Retry::never, {}};
  if (code == http2::ErrorCode::refused_stream) {
    ++pool_.counters_.refused_streams;
    end.cause = StreamEnd::Cause::refused;
    end.retry = Retry::not_executed;
    end.context = pool_.endpoint_.name + " refused the stream";
  } else {
    end.context = pool_.endpoint_.name + (by_peer ? " reset the stream" : " broke HTTP/2");
  }
  end_stream(*stream, std::move(end));
  close_if_unused();
}

http2::BodyResult Session::on_body_wanted(http2::StreamRef ref, MutableBytes room) {
  Stream* stream = find(ref);
  if (stream == nullptr) return {0, http2::BodyStatus::more};  // cancelled: RST_STREAM follows
  const http2::BodyResult result = stream->handler_.on_request_body_wanted(room);
  stream->request_sent_ = result.status == http2::BodyStatus::finished;
  return result;
}

void Session::on_goaway(http2::StreamId, http2::ErrorCode) {
  ++pool_.counters_.goaways;
  pool_.on_event_(PoolEvent::goaway, pool_.endpoint_.name);
  if (state_ == State::connecting) {
    on_end({ErrorKind::unavailable, Side::backend, Retry::not_executed,
            pool_.endpoint_.name + " sent GOAWAY before anything else"});
    connection_.close();
    return;
  }
  drain();
}

void Session::on_ping_answer(std::uint64_t) { ping_outstanding_ = false; }

// Answers to PING, idleness, age: one timer, woken every ping_interval while connected.
void Session::heartbeat() {
  const PoolOptions& options = pool_.options_;
  io::Reactor& reactor = pool_.transport_.reactor();
  if (state_ == State::connecting) {
    on_end({ErrorKind::timeout, Side::backend, Retry::not_executed,
            pool_.endpoint_.name + " sent no SETTINGS in time"});
    connection_.terminate();
    return;
  }
  if (ping_outstanding_) {
    if (last_receive_ + options.ping_timeout <= now()) {
      ++pool_.counters_.ping_timeouts;
      on_end({ErrorKind::timeout, Side::backend, Retry::never,
              pool_.endpoint_.name + " does not answer PING"});
      connection_.terminate();
      return;
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
  reactor.timers().set(heartbeat_, reactor.now(), next);
}

}  // namespace sluice::backend
