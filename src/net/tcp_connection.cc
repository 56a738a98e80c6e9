// SPDX-License-Identifier: GPL-3.0-or-later
// A TCP connection on the ring.
#include "sluice/net/tcp_connection.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

#include "sluice/base/check.h"
#include "sluice/io/socket.h"
#include "sluice/observability/log.h"

namespace sluice::net {
namespace {

// What a peer must acknowledge within `close_linger` for the linger to go on.
constexpr std::size_t linger_progress_bytes = 1024;
// What a peer may send after our last word. Enough for what is on its way when it hears it; whoever
// floods on is not read any more.
constexpr std::size_t discarded_bytes_max = 256U * 1024U;

constexpr std::array<std::string_view, 7> state_names{
    "idle", "connecting", "open", "closing", "lingering", "terminating", "closed"};
std::string_view to_string(TcpConnection::State state) {
  return state_names.at(static_cast<std::size_t>(state));
}

}  // namespace

TcpConnection::TcpConnection(Transport& transport, TcpHandler& handler)
    : transport_(transport),
      handler_(handler),
      connect_(io::Operation::bind<&TcpConnection::connected>(this)),
      receive_(io::Operation::bind<&TcpConnection::received>(this)),
      send_(io::Operation::bind<&TcpConnection::sent>(this)),
      timer_(io::Timer::bind<&TcpConnection::deadline_passed>(this)),
      sending_bytes_(transport.held_bytes_) {}

TcpConnection::~TcpConnection() { CHECK(state_ == State::idle || state_ == State::closed); }

void TcpConnection::set_state(State state) {
  if (transitions.refuse("TCP connection", state_, state)) [[unlikely]] {
    return terminate_by_mistake(to_string(state_), to_string(state));
  }
  state_ = state;
}

void TcpConnection::terminate_by_mistake(std::string_view state, std::string_view next) {
  log::error("a connection is ended by a mistake of this program",
             {{"peer", peer_.to_string()}, {"state", state}, {"next", next}});
  transport_.count_wrong_transition();
  if (transitions.allow(state_, State::terminating)) terminate();
}

void TcpConnection::set_deadline(Duration timeout) {
  io::Reactor& reactor = transport_.reactor();
  reactor.timers().set(timer_, reactor.now(), timeout);
}

// --- Beginning ---------------------------------------------------------------------------------

void TcpConnection::accept(int descriptor) {
  CHECK(state_ == State::idle);
  ++transport_.connections_;
  set_state(State::open);
  descriptor_ = descriptor;
  if (const auto peer = io::peer_address(descriptor_)) peer_ = *peer;
}

void TcpConnection::connect(const io::Address& address) {
  CHECK(state_ == State::idle);
  ++transport_.connections_;
  set_state(State::connecting);
  peer_ = address;
  auto descriptor = io::open_stream(address.family());
  if (!descriptor) return fail(std::move(descriptor.error()));
  descriptor_ = *descriptor;
  set_deadline(transport_.options().connect_timeout);
  transport_.reactor().ring().connect(connect_, descriptor_, address);
}

void TcpConnection::connected(const io::Completion& completion) {
  transport_.reactor_.working_on(descriptor_);
  if (state_ == State::terminating) return join();
  if (completion.result < 0) {
    const int error = -completion.result;
    return fail({error == ECONNREFUSED ? ErrorKind::refused : ErrorKind::system, Side::backend,
                 Retry::not_executed,
                 fail_errno("connect to " + peer_.to_string(), error).error().context});
  }
  timer_.cancel();
  set_state(State::open);
  handler_.on_connected();
}

// --- Receiving ---------------------------------------------------------------------------------

void TcpConnection::receive() {
  if (receiving_ == Receiving::ended) return;
  receiving_ = Receiving::on;
  // While a cancelled receive is still on its way out, its last completion comes here again.
  if (receive_.in_flight()) return;
  io::Ring& ring = transport_.reactor().ring();
  in_pieces_ ? ring.receive_once(receive_, descriptor_) : ring.receive(receive_, descriptor_);
}

void TcpConnection::receive_in_pieces() {
  if (std::exchange(in_pieces_, true) || state_ != State::open) return;
  transport_.reactor().ring().cancel(receive_);
}

void TcpConnection::receive_once() {
  receiving_ = Receiving::once;
  transport_.reactor().ring().receive_once(receive_, descriptor_);
}

void TcpConnection::pause_receiving() {
  if (receiving_ == Receiving::ended) return;
  receiving_ = Receiving::paused;
  transport_.reactor().ring().cancel(receive_);
}

void TcpConnection::received(const io::Completion& completion) {
  transport_.reactor_.working_on(descriptor_);
  if (completion.result > 0) {
    transport_.counters_.bytes_received += static_cast<std::uint64_t>(completion.result);
  }
  switch (state_) {
    case State::terminating:
      if (completion.last) join();
      return;
    case State::closing:
    case State::lingering: return discard(completion);
    default: break;
  }
  CHECK(state_ == State::open);
  if (completion.result <= 0) return receive_ended(completion.result);
  if (receiving_ == Receiving::once) receiving_ = Receiving::paused;
  handler_.on_receive(completion.bytes);
  // It had been cancelled by a pause that is over.
  if (completion.last && state_ == State::open && receiving_ == Receiving::on) receive();
}

void TcpConnection::receive_ended(std::int32_t result) {
  if (result == -ECANCELED) {
    if (receiving_ == Receiving::on) receive();
  } else if (result < 0) {
    receive_failed(error_of("receive", result));
  } else if (receiving_ != Receiving::paused) {  // after a pause the next receive finds it again
    receiving_ = Receiving::ended;
    if (broken_) return fail(std::move(*broken_));
    if (handler_.on_peer_ended()) return;
    fail({ErrorKind::closed, Side::self, Retry::never, "the peer closed"});
  }
}

// What a receive or send that failed says of the connection. The kernel gives a peer up that
// answers no keep-alive probe, or nothing that is sent again.
Error TcpConnection::error_of(std::string_view operation, std::int32_t result) {
  Error error = fail_errno(operation, -result).error();
  if (result == -ECONNRESET || result == -EPIPE) error.kind = ErrorKind::reset;
  if (result == -ETIMEDOUT || result == -EHOSTUNREACH || result == -ENETUNREACH) {
    error.kind = ErrorKind::timeout;
    vanished_ = true;
  }
  return error;
}

// The kernel tells it once: to the receive behind a pause it is an end of stream.
void TcpConnection::receive_failed(Error error) {
  if (broken_) error = std::move(*broken_);
  if (!hears_out_ || receiving_ != Receiving::paused) return fail(std::move(error));
  broken_ = std::move(error);
  output_ = Output::ended;
}

// We have said our last word; only the peer's end counts, and not even that for one that floods:
// the linger ends it.
void TcpConnection::discard(const io::Completion& completion) {
  if (completion.result <= 0 && completion.result != -ECANCELED) {
    receiving_ = Receiving::ended;
    if (completion.result < 0 || state_ == State::lingering) terminate();
    return;
  }
  discarded_ += static_cast<std::size_t>(std::max(completion.result, 0));
  if (discarded_ > discarded_bytes_max) {
    transport_.reactor().ring().cancel(receive_);
  } else if (completion.last) {
    receive();
  }
}

// --- Sending -----------------------------------------------------------------------------------

void TcpConnection::mark_dirty() {
  if (state_ != State::open && state_ != State::closing) return;
  if (output_ == Output::ended) return;
  if (sending_ == Sending::in_flight) sending_ = Sending::in_flight_and_dirty;
  if (sending_ != Sending::idle || static_cast<ListNode<FlushTag>&>(*this).linked()) return;
  transport_.to_flush_.push_back(*this);
  transport_.reactor().at_turn_end(transport_.flush_, io::Reactor::Phase::flush);
}

void TcpConnection::flush() {
  if (sending_ != Sending::idle || (state_ != State::open && state_ != State::closing)) return;
  if (output_ == Output::ended) return;
  send_buffer_ = transport_.send_buffers_.lease();
  const auto [bytes, more] =
      handler_.on_fill({send_buffer_.get(), transport_.send_buffers_.buffer_bytes()});
  const bool last_words = (state_ == State::closing || output_ == Output::ending) && !more;
  if (state_ == State::terminating || bytes == 0) {
    transport_.send_buffers_.give_back(std::move(send_buffer_));
    if (last_words) fin();
    return;
  }
  sending_ = last_words ? Sending::last_words
             : more     ? Sending::in_flight_and_dirty
                        : Sending::in_flight;
  send_begin_ = 0;
  send_end_ = bytes;
  ++transport_.counters_.sends;
  send();
}

void TcpConnection::send() {
  sending_bytes_.set(transport_.send_buffers_.buffer_bytes());  // however little is left in it
  if (!watch_ || state_ != State::open) set_deadline(transport_.options().send_stall_timeout);
  transport_.reactor().ring().send(send_, descriptor_,
                                   {send_buffer_.get() + send_begin_, send_end_ - send_begin_});
}

void TcpConnection::sent(const io::Completion& completion) {
  transport_.reactor_.working_on(descriptor_);
  if (completion.result > 0 && state_ != State::terminating) {
    const auto bytes = static_cast<std::size_t>(completion.result);
    transport_.counters_.bytes_sent += bytes;
    send_begin_ += bytes;
    CHECK_LE(send_begin_, send_end_);
    if (send_begin_ < send_end_) {
      ++transport_.counters_.short_sends;
      return send();
    }
  }
  transport_.send_buffers_.give_back(std::move(send_buffer_));
  sending_bytes_.set(0);
  if (state_ == State::terminating) return join();
  const Sending sending = std::exchange(sending_, Sending::idle);
  if (completion.result <= 0) return send_failed(error_of("send", completion.result));
  switch (sending) {
    case Sending::idle: CHECK(false);
    case Sending::in_flight: return;
    case Sending::in_flight_and_dirty: return mark_dirty();
    case Sending::last_words: return fin();
  }
}

// What came before a reset may still lie in the socket, and is received first, when its time comes.
void TcpConnection::send_failed(Error error) {
  const bool heard_all = receiving_ == Receiving::ended;
  if (!hears_out_ || heard_all || state_ != State::open) return fail(std::move(error));
  output_ = Output::ended;
  if (!broken_) broken_ = std::move(error);
}

// --- The end -----------------------------------------------------------------------------------

// Input is discarded from here on, but must not pile up unread: closing a socket with unread input
// resets the connection and takes what was sent with it.
void TcpConnection::close() {
  CHECK(state_ != State::idle);
  if (state_ == State::connecting) return terminate();  // nothing was said yet
  if (state_ != State::open) return;
  set_state(State::closing);
  if (output_ == Output::ended) {
    receive();
    return fin();
  }
  set_deadline(transport_.options().send_stall_timeout);
  receive();
  mark_dirty();
}

void TcpConnection::end_output() {
  if (state_ != State::open || output_ != Output::open) return;
  output_ = Output::ending;
  mark_dirty();
}

void TcpConnection::close_after(Error error) {
  report(std::move(error));
  close();
}

void TcpConnection::fin() {
  if (state_ == State::open) {
    output_ = Output::ended;
    return io::shutdown_send(descriptor_);
  }
  set_state(State::lingering);
  if (output_ != Output::ended) io::shutdown_send(descriptor_);
  output_ = Output::ended;
  if (receiving_ == Receiving::ended) return terminate();
  unacknowledged_ = io::unacknowledged_bytes(descriptor_);
  set_deadline(transport_.options().close_linger);
}

// A peer that still takes what it was sent, however slowly, is not cut off.
void TcpConnection::linger_or_terminate() {
  const std::size_t left = io::unacknowledged_bytes(descriptor_);
  if (left + std::min(linger_progress_bytes, unacknowledged_) > unacknowledged_ ||
      unacknowledged_ == 0) {
    return terminate();
  }
  unacknowledged_ = left;
  set_deadline(transport_.options().close_linger);
}

void TcpConnection::deadline_passed() {
  transport_.reactor_.working_on(descriptor_);
  switch (state_) {
    case State::connecting:
      return fail({ErrorKind::timeout, Side::self, Retry::not_executed,
                   "no connection to " + peer_.to_string() + " in time"});
    case State::open:
      if (watch_) return look_for_peer();
      // The timer stays armed after a send that ended in time: cheaper than cancelling each.
      if (!send_.in_flight()) return;
      return fail({ErrorKind::timeout, Side::self, Retry::never,
                   peer_.to_string() + " takes nothing of what is sent"});
    case State::closing: return terminate();
    case State::lingering: return linger_or_terminate();
    default: return;
  }
}

// --- A peer that may take its time --------------------------------------------------------------

void TcpConnection::watch_peer(Duration silence_max) {
  if (state_ != State::open || watch_) return;
  watch_.emplace(silence_max);
  set_deadline(watch_->first_look());
}

void TcpConnection::look_for_peer() {
  const io::PeerSigns signs = io::signs_of_peer(descriptor_);
  // Told when what came before it was received; behind an end of stream nothing is received.
  if (signs.reset && hears_out_ && receiving_ != Receiving::ended) return;
  const PeerWatch::Verdict verdict = watch_->look(signs);
  if (verdict.gone) {
    vanished_ = !signs.reset;
    return fail({ErrorKind::timeout, Side::self, Retry::never,
                 "nothing comes from " + peer_.to_string() + " any more"});
  }
  if (handler_.still_watched(verdict.quiet)) return set_deadline(verdict.look_again);
  watch_.reset();
  if (send_.in_flight()) set_deadline(transport_.options().send_stall_timeout);
}

void TcpConnection::fail(Error error) {
  report(std::move(error));
  terminate();
}

// At the end of the turn, never from inside the caller. Who has closed already hears nothing.
void TcpConnection::report(Error error) {
  if (state_ != State::connecting && state_ != State::open) return;
  pending_error_ = std::move(error);
  reap_at_turn_end();
}

void TcpConnection::terminate() {
  if (state_ == State::terminating || state_ == State::closed) return;
  CHECK(state_ != State::idle);
  set_state(State::terminating);
  timer_.cancel();
  io::Ring& ring = transport_.reactor().ring();
  ring.cancel(connect_);
  ring.cancel(receive_);
  ring.cancel(send_);
  join();
}

bool TcpConnection::in_flight() const {
  return connect_.in_flight() || receive_.in_flight() || send_.in_flight();
}

void TcpConnection::join() {
  CHECK(state_ == State::terminating);
  if (!in_flight()) reap_at_turn_end();
}

void TcpConnection::reap_at_turn_end() {
  if (static_cast<ListNode<ReapTag>&>(*this).linked()) return;
  transport_.to_reap_.push_back(*this);
  transport_.reactor().at_turn_end(transport_.reap_, io::Reactor::Phase::reap);
}

// End of turn: reports an end, and closes when nothing is in flight.
void TcpConnection::finish_close() {
  if (pending_error_) {
    const Error error = std::move(*pending_error_);
    pending_error_.reset();
    handler_.on_end(error);
  }
  if (state_ != State::terminating || in_flight()) return;
  if (descriptor_ >= 0) io::close_socket(descriptor_);
  descriptor_ = -1;
  set_state(State::closed);
  --transport_.connections_;
  handler_.on_closed();  // may destroy this
}

std::string TcpConnection::describe(std::string_view state) const {
  return "peer=" + peer_.to_string() + " descriptor=" + std::to_string(descriptor_) +
         " state=" + std::string(state) + (send_.in_flight() ? " sending" : "");
}

}  // namespace sluice::net
