// SPDX-License-Identifier: GPL-3.0-or-later
// TLS on a TCP connection, once it is open (connection_opening.cc).
#include "sluice/net/connection.h"

#include <algorithm>
#include <array>
#include <utility>

#include "sluice/base/check.h"
#include "sluice/base/copy.h"
#include "sluice/io/socket.h"
#include "sluice/tls/client_hello.h"

namespace sluice::net {
namespace {

Error end_of_stream() { return {ErrorKind::closed, Side::self, Retry::never, "the peer closed"}; }

constexpr int records_at_once = 64;
constexpr std::size_t held_at_once = 16 * 1024;
// With its owner: 3000 idle ones take 12.5 KB each with HTTP/2, 6.8 with HTTP/1.1.
constexpr std::size_t encrypted_bytes = 12 * 1024;
// As much of a chain as most have is a part of that.
constexpr std::size_t usual_chain_bytes = 4 * 1024;

constexpr std::array<std::string_view, 7> state_names{
    "idle", "opening", "handshaking", "established", "closing", "terminating", "closed"};
std::string_view to_string(Connection::State state) {
  return state_names.at(static_cast<std::size_t>(state));
}

constexpr std::array<std::string_view, 10> phase_names{
    "opening",      "handshaking", "established", "failed", "without TLS",
    "proxy header", "unnamed",     "refused",     "nobody", "passed on"};

}  // namespace

Connection::Connection(Transport& transport, ConnectionHandler& handler)
    : transport_(transport),
      handler_(handler),
      tcp_(transport, *this),
      input_bytes_(transport.held_bytes_),
      above_(transport.held_bytes_),
      own_bytes_(transport.own_bytes_),
      handshake_deadline_(io::Timer::bind<&Connection::deadline_passed>(this)) {}

Connection::State Connection::state() const {
  switch (tcp_.state()) {
    case TcpConnection::State::idle: return State::idle;
    case TcpConnection::State::connecting: return State::opening;
    case TcpConnection::State::open: break;
    case TcpConnection::State::closing:
    case TcpConnection::State::lingering: return State::closing;
    case TcpConnection::State::terminating: return State::terminating;
    case TcpConnection::State::closed: return State::closed;
  }
  switch (phase_) {
    case Phase::proxy_header:
    case Phase::unnamed:
    case Phase::opening: return State::opening;
    case Phase::handshaking: return State::handshaking;
    case Phase::established:
    case Phase::passed_on: return State::established;
    case Phase::failed:
    case Phase::without_tls:
    case Phase::refused:
    case Phase::nobody: break;
  }
  return State::closing;
}

void Connection::set_phase(Phase phase) {
  if (transitions.refuse("TLS", phase_, phase)) [[unlikely]] {
    return tcp_.terminate_by_mistake(phase_names.at(static_cast<std::size_t>(phase_)),
                                     phase_names.at(static_cast<std::size_t>(phase)));
  }
  phase_ = phase;
}

// --- Handshake ---------------------------------------------------------------------------------

void Connection::set_deadline(Duration timeout) {
  io::Reactor& reactor = transport_.reactor();
  reactor.timers().set(handshake_deadline_, reactor.now(), timeout);
}

void Connection::queue_handshake() {
  io::Reactor& reactor = transport_.reactor();
  // The time that it waits for us is not the peer's.
  handshake_queued_at_ = reactor.now();
  handshake_time_left_ = std::max(handshake_deadline_.deadline() - reactor.now(), Duration::zero());
  handshake_deadline_.cancel();
  if (select_) {
    transport_.handshakes_.push(*this, turns_);
  } else {
    transport_.own_handshakes_.push_back(*this);
  }
  reactor.at_turn_end(transport_.handshake_, io::Reactor::Phase::handshakes);
}

void Connection::leave_handshake() {
  handshake_deadline_.cancel();
  static_cast<ListNode<HandshakeTag>&>(*this).unlink();
  leave_fair_queue();
}

Result<void> Connection::begin_engine() {
  if (engine_ != nullptr) return {};
  auto engine = tls::Engine::server(std::move(context_));
  if (!engine) return std::unexpected(std::move(engine.error()));
  engine_ = std::move(*engine);
  own_bytes_.set(encrypted_bytes);
  return {};
}

void Connection::continue_handshake() {
  if (state() != State::handshaking) return;
  io::Reactor& reactor = transport_.reactor();
  // Who has given up in the meantime costs nothing more.
  if (handshake_queued_at_ != reactor.now() && io::peer_has_ended(tcp_.descriptor())) {
    return fail(end_of_stream());
  }
  if (auto begun = begin_engine(); !begun) return fail(std::move(begun.error()));
  engine_->feed(held_);
  engine_->judge_at(reactor.ring().wall_now());
  const tls::Engine::Status status = engine_->handshake();
  mark_dirty();  // a flight or an alert may be pending
  switch (status) {
    case tls::Engine::Status::need_input:
      drop_held();
      set_deadline(handshake_time_left_);
      return tcp_.receive_once();
    case tls::Engine::Status::closed: return fail(end_of_stream());
    case tls::Engine::Status::failed: {
      Error error = engine_->error();
      error.retry = Retry::not_executed;
      return fail(std::move(error));
    }
    case tls::Engine::Status::done: break;
  }
  ++transport_.counters_.handshakes_finished;
  set_phase(Phase::established);
  count_chain();
  const std::vector<std::uint8_t> fed = std::exchange(held_, {});
  handler_.on_established();
  give_out({});  // what the peer sent right behind its last flight, and was fed with it
  count_held();
  if (established() && input_ == Input::direct) tcp_.receive();
}

// A client's is kept, whether it is believed or not.
void Connection::count_chain() {
  std::size_t bytes = 0;
  for (const auto& der : engine_->peer_certificate().chain_der) bytes += der.size();
  if (bytes <= usual_chain_bytes) return;
  chain_bytes_ = bytes - usual_chain_bytes;
  own_bytes_.set(own_bytes_.part() + chain_bytes_);
}

void Connection::deadline_passed() {
  if (state() != State::opening && state() != State::handshaking) return;
  Error error{ErrorKind::timeout, Side::self, Retry::not_executed,
              "no TLS handshake with " + peer().to_string() + " in time"};
  if (phase_ == Phase::unnamed) return tcp_.fail(std::move(error));
  if (phase_ != Phase::proxy_header) return fail(std::move(error));
  error.context = "no whole PROXY header in time";
  fail(std::move(error), Phase::refused);
}

// Before it is done: whatever went wrong, an accepted client or a connected backend did not get
// through it.
void Connection::count_failed_handshake() {
  if (phase_ == Phase::handshaking || (phase_ == Phase::opening && select_)) {
    ++transport_.counters_.handshakes_failed;
  }
}

// --- Input -------------------------------------------------------------------------------------

void Connection::on_receive(Bytes bytes) {
  switch (phase_) {
    case Phase::proxy_header: hold(bytes); return read_proxy_header();
    case Phase::unnamed:
      set_phase(Phase::opening);
      name_caller();
      [[fallthrough]];
    case Phase::opening: hold(bytes); return read_hello();
    case Phase::handshaking: hold(bytes); return queue_handshake();
    case Phase::established:
    case Phase::passed_on: break;
    case Phase::failed:
    case Phase::without_tls:
    case Phase::refused:
    case Phase::nobody: CHECK(false);
  }
  if (input_ == Input::ended) {
    return fail({ErrorKind::protocol, Side::self, Retry::never, "more came behind a close_notify"});
  }
  if (input_ == Input::direct && is_put_off()) {
    pause_receiving();
    hold(bytes);
    return resume_receiving();
  }
  if (input_ != Input::direct) return hold(bytes);
  weigh([&] { give_out(bytes); });
}

// Only while work waits, and only what clients send.
bool Connection::is_put_off() {
  if (!select_ || never_put_off_) return false;
  const io::TurnLoad& load = transport_.reactor().load();
  transport_.meter_.look(load.windows(), load.wait());
  return transport_.meter_.much(work_);
}

template <class Work>
void Connection::weigh(Work&& work) {
  if (!select_ || !transport_.meter_.weighs()) return work();
  const io::Ring& ring = transport_.reactor().ring();
  const Instant begin = ring.clock();
  work();
  transport_.meter_.add(work_, ring.clock() - begin);
}

void Connection::hold(Bytes bytes) {
  held_.erase(held_.begin(), held_.begin() + static_cast<std::ptrdiff_t>(held_at_));
  held_at_ = 0;
  held_.insert(held_.end(), bytes.begin(), bytes.end());
  count_held();
}

void Connection::drop_held() {
  std::vector<std::uint8_t>().swap(held_);
  held_at_ = 0;
  count_held();
}

void Connection::give_out(Bytes encrypted) {
  if (phase_ == Phase::passed_on) return handler_.on_receive(encrypted);
  engine_->feed(encrypted);
  read_plain();
  if (input_ != Input::direct) engine_->keep_input();
}

// Others wait meanwhile: a buffer full of tiny records is for several turns.
void Connection::read_plain() {
  int records = 0;
  while (established() && input_ == Input::direct) {
    if (++records > records_at_once) {
      pause_receiving();
      return resume_receiving();
    }
    const auto [status, plain] = engine_->read();
    switch (status) {
      case tls::Engine::Status::done: handler_.on_receive(plain); break;
      case tls::Engine::Status::need_input:
        if (engine_->pending_bytes() > 0) mark_dirty();
        return;
      case tls::Engine::Status::closed: return peer_said_end();
      case tls::Engine::Status::failed: mark_dirty(); return fail(engine_->error());
    }
  }
}

// RFC 8446 section 6.1: a close_notify ends its sender's direction alone, and nothing may follow.
void Connection::peer_said_end() {
  if (!handler_.on_peer_ended(true)) return fail(end_of_stream());
  input_ = Input::ended;
}

bool Connection::on_peer_ended() {
  if (!established()) return false;
  if (input_ == Input::ended) return true;
  if (input_ != Input::direct || !handler_.on_peer_ended(false)) return false;
  input_ = Input::ended;
  return true;
}

void Connection::pause_receiving() {
  if (!established() || input_ == Input::ended) return;
  input_ = Input::paused;
  tcp_.pause_receiving();
}

void Connection::resume_receiving() {
  if (!receiving_paused()) return;
  if (held_.empty() && !has_input()) {
    input_ = Input::direct;
    return tcp_.receive();
  }
  input_ = Input::waiting;
  wait_for_turn();
}

void Connection::ask_for_turn() {
  if (!established()) return;
  turn_asked_for_ = true;
  wait_for_turn();
}

void Connection::wait_for_turn() {
  if (in_fair_queue() || static_cast<ListNode<InputTag>&>(*this).linked()) return;
  if (select_) {
    transport_.input_.push(*this, turns_);
  } else {
    transport_.own_input_.push_back(*this);
  }
  transport_.reactor().at_turn_end(transport_.input_turns_, io::Reactor::Phase::resume);
}

// At the end of a turn, because whoever resumes may be in the middle of something.
void Connection::take_turn() {
  if (!established()) return;
  weigh([this] {
    if (std::exchange(turn_asked_for_, false)) handler_.on_turn();
    if (established() && input_ == Input::waiting) read_held();
  });
}

void Connection::read_held() {
  input_ = Input::direct;
  do {
    // In pieces, the next one when the last is read: what is left is copied when it stops again.
    const auto begin = held_.begin() + static_cast<std::ptrdiff_t>(held_at_);
    const std::size_t bytes = has_input() ? 0 : std::min(held_.size() - held_at_, held_at_once);
    const std::vector<std::uint8_t> piece(begin, begin + static_cast<std::ptrdiff_t>(bytes));
    held_at_ += bytes;
    if (held_at_ == held_.size()) drop_held();
    give_out(piece);
  } while (established() && input_ == Input::direct && !held_.empty());
  if (established() && (input_ == Input::direct || input_ == Input::ended)) tcp_.receive();
}

// --- Output ------------------------------------------------------------------------------------

TcpHandler::Fill Connection::on_fill(MutableBytes room) {
  if (phase_ == Phase::without_tls || phase_ == Phase::nobody) {
    const Bytes answer =
        as_bytes(phase_ == Phase::nobody ? tls::unrecognized_name_alert : tls::plain_http_answer);
    copy_bytes(room.data(), answer.data(), answer.size());
    return {answer.size(), false};
  }
  if (phase_ == Phase::passed_on) return collect_plain(room);
  if (engine_ == nullptr || phase_ == Phase::opening) return {};
  tls::RecordBuffer records{room.data(), 0, room.size()};
  engine_->take_pending(records);
  const bool drained = phase_ != Phase::established || collect(records);
  const bool more = !drained || engine_->pending_bytes() > 0;
  const bool closing = tcp_.state() == TcpConnection::State::closing || tcp_.ending_output();
  if (closing && !more && phase_ == Phase::established && !cut_) {
    engine_->close_notify();
    engine_->take_pending(records);
  }
  return {records.size, more};
}

TcpHandler::Fill Connection::collect_plain(MutableBytes room) {
  std::size_t bytes = 0;
  while (bytes < room.size()) {
    const std::size_t more = handler_.on_collect(room.subspan(bytes));
    if (more == 0) return {bytes, false};
    bytes += more;
  }
  return {bytes, true};
}

// True when nothing is left to be collected.
bool Connection::collect(tls::RecordBuffer& records) {
  for (;;) {
    const MutableBytes place = engine_->begin_record(records);
    if (place.empty()) break;
    const std::size_t bytes = handler_.on_collect(place);
    if (bytes == 0) return true;
    if (!engine_->end_record(bytes, records)) break;
    ++transport_.counters_.records;
  }
  if (engine_->failed()) fail(engine_->error());
  return false;
}

// --- The end -----------------------------------------------------------------------------------

void Connection::end_output(bool in_order) {
  if (!established()) return;
  cut_ = !in_order;
  tcp_.end_output();
}

void Connection::close() {
  if (state() == State::opening) return terminate();  // nothing was said yet
  leave_handshake();
  drop_held();        // nobody will be given it, and to close may take long
  own_bytes_.set(0);  // in a moment
  tcp_.close();
}

void Connection::terminate() {
  leave_handshake();
  tcp_.terminate();
}

// An alert or a last answer is sent on the way out; a connection that never got that far just ends.
void Connection::fail(Error error, Phase phase) {
  const bool has_last_words = phase == Phase::without_tls || phase == Phase::nobody ||
                              (engine_ != nullptr && engine_->pending_bytes() > 0);
  count_failed_handshake();
  set_phase(phase);
  leave_handshake();
  if (has_last_words && tcp_.state() == TcpConnection::State::open && !send_in_flight()) {
    tcp_.close_after(std::move(error));
  } else {
    tcp_.fail(std::move(error));
  }
}

void Connection::on_end(const Error& error) {
  count_failed_handshake();  // unless fail() has
  // Who looks in without a word has refused us nothing.
  if (phase_ == Phase::proxy_header && !held_.empty()) set_phase(Phase::refused);
  handler_.on_end(error);
}

void Connection::on_closed() {
  leave_handshake();
  engine_.reset();
  handler_.on_closed();  // may destroy this
}

std::string Connection::describe() const {
  return "connection " + tcp_.describe(to_string(state())) +
         (named_ && named_->client ? " client=" + named_->client->to_string() : "") +
         (receiving_paused() ? " paused" : "") +
         (held_.empty() ? "" : " held=" + std::to_string(held_.size() - held_at_));
}

}  // namespace sluice::net
