// SPDX-License-Identifier: GPL-3.0-or-later
// A TCP connection with TLS on top of the ring.
#include "sluice/net/connection.h"

#include <algorithm>
#include <cerrno>

#include "sluice/base/check.h"
#include "sluice/io/socket.h"
#include "sluice/tls/client_hello.h"

namespace sluice::net {
namespace {

// Input that may wait for the handshake queue; a peer that sends more before its handshake is
// served does not follow TLS.
constexpr std::size_t early_bytes_max = 64 * 1024;

Error end_of_stream() { return {ErrorKind::closed, Side::self, Retry::never, "the peer closed"}; }

std::string_view to_string(Connection::State state) {
  switch (state) {
    case Connection::State::idle: return "idle";
    case Connection::State::opening: return "opening";
    case Connection::State::handshaking: return "handshaking";
    case Connection::State::established: return "established";
    case Connection::State::closing: return "closing";
    case Connection::State::terminating: return "terminating";
    case Connection::State::closed: return "closed";
  }
  return "unknown";
}

}  // namespace

Connection::Connection(Transport& transport, ConnectionHandler& handler)
    : transport_(transport),
      handler_(handler),
      connect_(io::Operation::bind<&Connection::connected>(this)),
      receive_(io::Operation::bind<&Connection::received>(this)),
      send_(io::Operation::bind<&Connection::sent>(this)),
      timer_(io::Timer::bind<&Connection::deadline_passed>(this)) {}

Connection::~Connection() { CHECK(state_ == State::idle || state_ == State::closed); }

void Connection::set_state(State state) {
  DCHECK(static_cast<int>(state) > static_cast<int>(state_));
  state_ = state;
}

void Connection::accept(int descriptor, const ContextSelector& select) {
  CHECK(state_ == State::idle);
  ++transport_.connections_;
  set_state(State::opening);
  descriptor_ = descriptor;
  select_ = select;
  if (const auto peer = io::peer_address(descriptor_)) peer_ = *peer;
  io::Reactor& reactor = transport_.reactor();
  reactor.timers().set(timer_, reactor.now(), transport_.options().handshake_timeout);
  start_receiving();
}

void Connection::connect(const io::Address& address, tls::ClientContext& context) {
  CHECK(state_ == State::idle);
  ++transport_.connections_;
  set_state(State::opening);
  peer_ = address;
  io::Reactor& reactor = transport_.reactor();
  reactor.timers().set(timer_, reactor.now(), transport_.options().connect_timeout);
  auto descriptor = io::open_stream(address.family());
  if (!descriptor) return fail_with(std::move(descriptor.error()));
  descriptor_ = *descriptor;
  auto engine = tls::Engine::client(context);
  if (!engine) return fail_with(std::move(engine.error()));
  engine_ = std::move(*engine);
  reactor.ring().connect(connect_, descriptor_, address);
}

void Connection::connected(const io::Completion& completion) {
  if (state_ == State::terminating) return join();
  if (completion.result < 0) {
    const int error = -completion.result;
    return fail_with({error == ECONNREFUSED ? ErrorKind::refused : ErrorKind::system, Side::backend,
                      Retry::not_executed,
                      fail_errno("connect to " + peer_.to_string(), error).error().context});
  }
  set_state(State::handshaking);
  io::Reactor& reactor = transport_.reactor();
  reactor.timers().set(timer_, reactor.now(), transport_.options().handshake_timeout);
  start_receiving();
  queue_handshake();
}

void Connection::start_receiving() { transport_.reactor().ring().receive(receive_, descriptor_); }

void Connection::received(const io::Completion& completion) {
  if (completion.result > 0) {
    transport_.counters_.bytes_received += static_cast<std::uint64_t>(completion.result);
  }
  switch (state_) {
    case State::terminating:
      if (completion.last) join();
      return;
    case State::closing:
      // Discarded: we have said our last word; only the peer's end counts.
      if (completion.result <= 0) {
        peer_ended_ = true;
        if (!send_.in_flight() && fin_sent_)
          terminate();
        else if (completion.result < 0)
          terminate();
      }
      return;
    default: break;
  }
  if (completion.result == 0) return fail_with(end_of_stream());
  if (completion.result < 0) {
    const int error = -completion.result;
    return fail_with({error == ECONNRESET ? ErrorKind::reset : ErrorKind::system, Side::self,
                      Retry::never, fail_errno("receive", error).error().context});
  }
  switch (state_) {
    case State::opening: return receive_hello(completion.bytes);
    case State::handshaking:
      if (early_.size() + completion.bytes.size() > early_bytes_max) {
        return fail_with({ErrorKind::limit, Side::self, Retry::never,
                          "more than 64 KB arrived before the handshake was served"});
      }
      early_.insert(early_.end(), completion.bytes.begin(), completion.bytes.end());
      return queue_handshake();
    case State::established: engine_->feed(completion.bytes); return read_plain();
    default: CHECK(false);
  }
}

void Connection::receive_hello(Bytes bytes) {
  if (early_.size() + bytes.size() > early_bytes_max) {
    return fail_with({ErrorKind::limit, Side::self, Retry::never, "the ClientHello is too long"});
  }
  early_.insert(early_.end(), bytes.begin(), bytes.end());
  tls::ClientHello hello = tls::peek_client_hello(early_);
  switch (hello.status) {
    case tls::ClientHello::Status::incomplete: return;
    case tls::ClientHello::Status::invalid:
      return fail_with({ErrorKind::tls, Side::self, Retry::never, "not a TLS ClientHello"});
    case tls::ClientHello::Status::complete: break;
  }
  server_name_ = std::move(hello.server_name);
  tls::ServerContext* context = select_(server_name_);
  if (context == nullptr) {
    return fail_with({ErrorKind::tls, Side::self, Retry::never, "no such server name"});
  }
  auto engine = tls::Engine::server(*context);
  if (!engine) return fail_with(std::move(engine.error()));
  engine_ = std::move(*engine);
  set_state(State::handshaking);
  queue_handshake();
}

void Connection::queue_handshake() {
  if (static_cast<ListNode<HandshakeTag>&>(*this).linked()) return;
  transport_.to_handshake_.push_back(*this);
  ++transport_.handshakes_waiting_;
  transport_.reactor().at_turn_end(transport_.handshake_, io::Reactor::Phase::handshakes);
}

void Connection::continue_handshake() {
  if (state_ != State::handshaking) return;
  engine_->feed(early_);
  const tls::Engine::Status status = engine_->handshake();
  mark_dirty();  // a flight or an alert may be pending
  switch (status) {
    case tls::Engine::Status::need_input: early_.clear(); return;
    case tls::Engine::Status::closed: return fail_with(end_of_stream());
    case tls::Engine::Status::failed: {
      Error error = engine_->error();
      error.retry = Retry::not_executed;
      return fail_with(std::move(error));
    }
    case tls::Engine::Status::done: break;
  }
  ++transport_.counters_.handshakes_finished;
  timer_.cancel();
  set_state(State::established);
  handler_.on_established();
  if (state_ == State::established) read_plain();
  // What the peer sent right behind its last flight has been read, or belongs to an ended one.
  std::vector<std::uint8_t>().swap(early_);
}

void Connection::read_plain() {
  while (state_ == State::established) {
    const auto [status, bytes] = engine_->read(transport_.plain_in_);
    switch (status) {
      case tls::Engine::Status::done:
        handler_.on_receive(Bytes(transport_.plain_in_).first(bytes));
        break;
      case tls::Engine::Status::need_input:
        if (engine_->pending_bytes() > 0) mark_dirty();
        return;
      case tls::Engine::Status::closed: return fail_with(end_of_stream());
      case tls::Engine::Status::failed: mark_dirty(); return fail_with(engine_->error());
    }
  }
}

void Connection::mark_dirty() {
  if (state_ == State::terminating || state_ == State::closed || state_ == State::idle) return;
  if (send_.in_flight()) {
    dirty_while_sending_ = true;
    return;
  }
  if (static_cast<ListNode<FlushTag>&>(*this).linked()) return;
  transport_.to_flush_.push_back(*this);
  transport_.reactor().at_turn_end(transport_.flush_, io::Reactor::Phase::flush);
}

void Connection::flush() {
  if (engine_ == nullptr || send_.in_flight() || fin_sent_) return;
  if (state_ != State::handshaking && state_ != State::established && state_ != State::closing) {
    return;
  }
  if (!send_buffer_) send_buffer_ = transport_.send_buffers_.lease();
  tls::RecordBuffer records{send_buffer_.get(), 0, transport_.send_buffers_.buffer_bytes()};
  engine_->take_pending(records);
  bool drained = false;
  if (engine_->established() && !failed_) {
    while (records.room() >= tls::encrypted_record_bytes_max) {
      const std::size_t bytes = handler_.on_collect(transport_.plain_out_);
      if (bytes == 0) {
        drained = true;
        break;
      }
      if (!engine_->write(Bytes(transport_.plain_out_).first(bytes), records)) {
        fail_with(engine_->error());
        break;
      }
      ++transport_.counters_.records;
    }
  } else {
    drained = true;
  }
  if (state_ == State::closing && drained && engine_->pending_bytes() == 0) {
    if (engine_->established() && !failed_) {
      engine_->close_notify();
      engine_->take_pending(records);
    }
    fin_sent_ = true;  // follows the records; see sent()
  }
  if (state_ == State::terminating || state_ == State::closed || records.size == 0) {
    transport_.send_buffers_.give_back(std::move(send_buffer_));
    if (fin_sent_ && state_ == State::closing) {
      io::shutdown_send(descriptor_);
      if (peer_ended_) terminate();
    }
    return;
  }
  dirty_while_sending_ = !drained || engine_->pending_bytes() > 0;
  send_begin_ = 0;
  send_end_ = records.size;
  ++transport_.counters_.sends;
  io::Reactor& reactor = transport_.reactor();
  if (state_ == State::established) {
    reactor.timers().set(timer_, reactor.now(), transport_.options().send_stall_timeout);
  }
  reactor.ring().send(send_, descriptor_, {send_buffer_.get(), send_end_});
}

void Connection::sent(const io::Completion& completion) {
  if (state_ == State::terminating) {
    transport_.send_buffers_.give_back(std::move(send_buffer_));
    return join();
  }
  if (completion.result <= 0) {
    transport_.send_buffers_.give_back(std::move(send_buffer_));
    const int error = -completion.result;
    if (state_ == State::closing) return terminate();
    return fail_with({error == EPIPE || error == ECONNRESET ? ErrorKind::reset : ErrorKind::system,
                      Side::self, Retry::never, fail_errno("send", error).error().context});
  }
  const auto bytes = static_cast<std::size_t>(completion.result);
  transport_.counters_.bytes_sent += bytes;
  send_begin_ += bytes;
  CHECK_LE(send_begin_, send_end_);
  io::Reactor& reactor = transport_.reactor();
  if (send_begin_ < send_end_) {
    ++transport_.counters_.short_sends;
    if (state_ == State::established) {
      reactor.timers().set(timer_, reactor.now(), transport_.options().send_stall_timeout);
    }
    reactor.ring().send(send_, descriptor_,
                        {send_buffer_.get() + send_begin_, send_end_ - send_begin_});
    return;
  }
  transport_.send_buffers_.give_back(std::move(send_buffer_));
  if (fin_sent_) {
    io::shutdown_send(descriptor_);
    if (peer_ended_) terminate();
    return;
  }
  if (dirty_while_sending_) {
    dirty_while_sending_ = false;
    mark_dirty();
  }
}

void Connection::close() {
  switch (state_) {
    case State::closing:
    case State::terminating:
    case State::closed: return;
    case State::idle: CHECK(false);
    case State::opening: return terminate();  // nothing was said yet
    case State::handshaking:
    case State::established: break;
  }
  set_state(State::closing);
  ended_reported_ = true;
  io::Reactor& reactor = transport_.reactor();
  reactor.timers().set(timer_, reactor.now(), transport_.options().close_linger);
  mark_dirty();
}

void Connection::terminate() {
  if (state_ == State::terminating || state_ == State::closed) return;
  CHECK(state_ != State::idle);
  set_state(State::terminating);
  ended_reported_ = true;
  timer_.cancel();
  static_cast<ListNode<FlushTag>&>(*this).unlink();
  if (static_cast<ListNode<HandshakeTag>&>(*this).linked()) {
    static_cast<ListNode<HandshakeTag>&>(*this).unlink();
    --transport_.handshakes_waiting_;
  }
  io::Ring& ring = transport_.reactor().ring();
  ring.cancel(connect_);
  ring.cancel(receive_);
  ring.cancel(send_);
  join();
}

void Connection::fail_with(Error error) {
  if (state_ == State::terminating || state_ == State::closed) return;
  failed_ = true;
  // Before the handshake is done: whatever went wrong, an accepted client or a connected backend
  // did not get through it.
  if (state_ == State::handshaking || (state_ == State::opening && select_)) {
    ++transport_.counters_.handshakes_failed;
  }
  if (!ended_reported_) {
    ended_reported_ = true;
    pending_error_ = std::move(error);
  }
  // An alert or a last answer is flushed on the way out; a connection that never got that far just
  // ends. The report comes at the end of the turn, never from inside the caller.
  if (engine_ != nullptr && engine_->pending_bytes() > 0 && !send_.in_flight() &&
      (state_ == State::handshaking || state_ == State::established)) {
    set_state(State::closing);
    io::Reactor& reactor = transport_.reactor();
    reactor.timers().set(timer_, reactor.now(), transport_.options().close_linger);
    mark_dirty();
    if (!static_cast<ListNode<ReapTag>&>(*this).linked()) {
      transport_.to_reap_.push_back(*this);
      reactor.at_turn_end(transport_.reap_, io::Reactor::Phase::reap);
    }
    return;
  }
  terminate();
  // Nothing in flight: join() has queued the reaping; otherwise report at the end of this turn.
  if (!static_cast<ListNode<ReapTag>&>(*this).linked()) {
    transport_.to_reap_.push_back(*this);
    transport_.reactor().at_turn_end(transport_.reap_, io::Reactor::Phase::reap);
  }
}

void Connection::join() {
  CHECK(state_ == State::terminating);
  if (connect_.in_flight() || receive_.in_flight() || send_.in_flight()) return;
  if (static_cast<ListNode<ReapTag>&>(*this).linked()) return;
  transport_.to_reap_.push_back(*this);
  transport_.reactor().at_turn_end(transport_.reap_, io::Reactor::Phase::reap);
}

// End of turn: reports an end, and closes when nothing is in flight.
void Connection::finish_close() {
  if (pending_error_) {
    const Error error = std::move(*pending_error_);
    pending_error_.reset();
    handler_.on_end(error);
  }
  if (state_ != State::terminating) return;
  if (connect_.in_flight() || receive_.in_flight() || send_.in_flight()) return;
  if (send_buffer_) transport_.send_buffers_.give_back(std::move(send_buffer_));
  if (descriptor_ >= 0) io::close_socket(descriptor_);
  descriptor_ = -1;
  engine_.reset();
  set_state(State::closed);
  --transport_.connections_;
  handler_.on_closed();  // may destroy this
}

void Connection::deadline_passed() {
  switch (state_) {
    case State::closing: return terminate();
    case State::opening:
      return fail_with({ErrorKind::timeout, Side::self, Retry::not_executed,
                        "no connection to " + peer_.to_string() + " in time"});
    case State::handshaking:
      return fail_with({ErrorKind::timeout, Side::self, Retry::not_executed,
                        "no TLS handshake with " + peer_.to_string() + " in time"});
    case State::established:
      // The timer stays armed after a send that ended in time: cheaper than cancelling each.
      if (!send_.in_flight()) return;
      return fail_with({ErrorKind::timeout, Side::self, Retry::never,
                        peer_.to_string() + " takes nothing of what is sent"});
    default: return;
  }
}

std::string Connection::describe() const {
  return "connection " + peer_.to_string() + " " + std::string(to_string(state_)) +
         (send_.in_flight() ? " sending" : "");
}

}  // namespace sluice::net
