// SPDX-License-Identifier: GPL-3.0-or-later
// Bytes to a target and back.
#include "passed_connection.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "sluice/base/check.h"
#include "sluice/base/copy.h"
#include "sluice/observability/log.h"

namespace sluice::server {
namespace {

using observability::EndedBy;

// Of each direction, above which its sender waits: about what one send carries.
constexpr std::size_t way_bytes_max = std::size_t{64} * 1024;

}  // namespace

// --- a direction -------------------------------------------------------------------------------

void PassedConnection::Way::add(Bytes bytes) {
  if (ended) return;
  queue.erase(queue.begin(), queue.begin() + static_cast<std::ptrdiff_t>(begin));
  begin = 0;
  queue.insert(queue.end(), bytes.begin(), bytes.end());
}

std::size_t PassedConnection::Way::take(MutableBytes room) {
  const std::size_t n = std::min(room.size(), bytes());
  copy_bytes(room.data(), queue.data() + begin, n);
  begin += n;
  taken += n;
  if (bytes() == 0) drop();
  return n;
}

// One that rests holds nothing.
void PassedConnection::Way::drop() {
  std::vector<std::uint8_t>().swap(queue);
  begin = 0;
}

// --- beginning ---------------------------------------------------------------------------------

PassedConnection::PassedConnection(PassOwner& owner, const PassThroughParts& parts,
                                   PassedClient& client, PassedFacts facts)
    : owner_(owner),
      parts_(parts),
      client_(&client),
      facts_(std::move(facts)),
      tried_(parts.targets.size(), false),
      left_(parts.transport.held_bytes_sum()),
      begun_(parts.transport.reactor().now()),
      wall_begun_(parts.transport.reactor().ring().wall_now_exactly()) {}

PassedConnection::~PassedConnection() {
  CHECK(client_ == nullptr);
  CHECK(tcp_ == nullptr);
}

void PassedConnection::set_state(State state) {
  if (transitions.refuse("passed connection", state_, state)) [[unlikely]] {
    log::error("a passed connection is ended by a mistake of this program",
               {{"state", to_string(state_)}, {"next", to_string(state)}});
    parts_.transport.count_wrong_transition();
    if (tcp_ != nullptr) tcp_->terminate();
  }
  state_ = state;
}

void PassedConnection::begin() { try_next(); }

// The client waits meanwhile, and what it says.
void PassedConnection::try_next() {
  CHECK(state_ == State::connecting);
  CHECK(tcp_ == nullptr);
  const bool late = now() - begun_ >= parts_.transport.options().handshake_timeout;
  const auto next = late ? std::nullopt : owner_.choose(tried_);
  if (!next) return unreachable();
  target_ = next;
  tried_[*next] = true;
  PassTarget& target = *parts_.targets[*next];
  target.connections.fetch_add(1, std::memory_order_relaxed);
  counted_ = true;
  parts_.cells.add(parts_.metrics.connects.at(*next));
  net::TcpHandler& handler = *this;
  tcp_ = std::make_unique<net::TcpConnection>(parts_.transport, handler);
  tcp_->connect(target.address);
}

void PassedConnection::unreachable() {
  parts_.cells.add(parts_.metrics.unreachable);
  owner_.unreachable(facts_, reason_);
  end_both(EndedBy::backend_lost, "no target can be reached");
  up_.drop();
  set_state(State::gone);
  tell_client();
}

void PassedConnection::on_connected() {
  owner_.connected(*target_);
  set_state(State::open);
  reason_.clear();
  tcp_->receive_in_pieces();
  tcp_->hear_out();
  tcp_->watch_peer();
  tcp_->receive();
  if (up_.bytes() > 0) tcp_->mark_dirty();
  if (up_.ended) tcp_->end_output();
}

// --- to the target -----------------------------------------------------------------------------

bool PassedConnection::wants_more() const { return up_.ended || up_.bytes() < way_bytes_max; }

void PassedConnection::send(Bytes bytes) {
  up_.add(bytes);
  if (state_ == State::open) tcp_->mark_dirty();
}

void PassedConnection::end_input() {
  up_.ended = true;
  if (state_ == State::open) tcp_->end_output();
  close_if_finished();
}

net::TcpHandler::Fill PassedConnection::on_fill(MutableBytes room) {
  const bool waited = !wants_more();
  const std::size_t n = up_.take(room);
  parts_.cells.add(parts_.metrics.bytes.at(PassWay::to_target), n);
  if (client_ == nullptr) left_.set(up_.held());
  if (waited && wants_more() && client_ != nullptr) client_->passed_room();
  return {n, up_.bytes() > 0};
}

// --- to the client -----------------------------------------------------------------------------

bool PassedConnection::receives() const {
  return state_ == State::open && tcp_->state() == net::TcpConnection::State::open;
}

void PassedConnection::on_receive(Bytes bytes) {
  down_.add(bytes);
  if (down_.bytes() >= way_bytes_max && receives()) tcp_->pause_receiving();
  tell_client();
}

std::size_t PassedConnection::collect(MutableBytes room) {
  const bool waited = down_.bytes() >= way_bytes_max;
  const std::size_t n = down_.take(room);
  parts_.cells.add(parts_.metrics.bytes.at(PassWay::to_client), n);
  if (waited && down_.bytes() < way_bytes_max && receives()) tcp_->receive();
  return n;
}

bool PassedConnection::on_peer_ended() {
  down_.ended = true;
  close_if_finished();
  tell_client();
  return true;
}

void PassedConnection::tell_client() {
  if (client_ != nullptr) client_->passed_output();
}

// --- the end -----------------------------------------------------------------------------------

// Nothing more is taken of either side; what was is still on its way.
void PassedConnection::end_both(EndedBy ended_by, std::string_view reason) {
  if (ended_by_ == EndedBy::completed && !(up_.ended && down_.ended)) {
    ended_by_ = ended_by;
    reason_ = reason;
  }
  up_.ended = true;
  down_.ended = true;
}

void PassedConnection::close_if_finished() {
  if (up_.ended && down_.ended) close_target();
}

void PassedConnection::close_target() {
  if (state_ != State::connecting && state_ != State::open) return;
  const bool open = state_ == State::open;
  set_state(State::ending);
  if (tcp_ == nullptr) return;
  open ? tcp_->close() : tcp_->terminate();
}

void PassedConnection::on_end(const Error& error) {
  if (state_ == State::connecting) {
    parts_.cells.add(parts_.metrics.connect_failures.at(*target_));
    reason_ = error.context;
    return owner_.connect_failed(*target_);
  }
  if (state_ != State::open) return;
  end_both(EndedBy::backend_lost, error.context);
  up_.drop();
  set_state(State::ending);
  tell_client();
}

void PassedConnection::on_closed() {
  leave_target();
  tcp_.reset();
  if (state_ == State::connecting) return try_next();
  set_state(State::gone);
  if (client_ == nullptr) {
    record();
    return owner_.over(*this);  // destroys this
  }
  end_both(EndedBy::backend_lost, "the connection to the target is closed");
  tell_client();
}

void PassedConnection::leave_target() {
  if (!std::exchange(counted_, false)) return;
  parts_.targets[*target_]->connections.fetch_sub(1, std::memory_order_relaxed);
}

void PassedConnection::client_gone() {
  client_ = nullptr;
  down_.drop();
  end_both(EndedBy::client_reset, "");
  left_.set(up_.held());
  close_target();
  if (state_ != State::gone && tcp_ != nullptr) return;
  record();
  owner_.over(*this);  // destroys this
}

void PassedConnection::end() {
  if (state_ != State::connecting && state_ != State::open) return;
  end_both(EndedBy::drain, "");
  close_target();
  tell_client();
}

void PassedConnection::terminate() {
  end_both(EndedBy::drain, "");
  if (state_ == State::connecting || state_ == State::open) set_state(State::ending);
  if (tcp_ != nullptr) tcp_->terminate();
  tell_client();
}

void PassedConnection::record() const {
  const std::string_view target = target_ ? std::string_view(parts_.targets[*target_]->name) : "";
  if (parts_.access_log == nullptr) return;
  const auto tries = std::ranges::count(tried_, true);
  parts_.access_log->write(parts_.worker, {.time = wall_begun_,
                                           .cluster = parts_.cluster,
                                           .client = facts_.client,
                                           .protocol = "pass_through",
                                           .server_name = facts_.server_name,
                                           .backend = target,
                                           .tries = static_cast<int>(tries),
                                           .bytes_in = up_.taken,
                                           .bytes_out = down_.taken,
                                           .duration = now() - begun_,
                                           .ended_by = ended_by_,
                                           .reason = reason_});
}

std::string_view PassedConnection::to_string(State state) {
  switch (state) {
    case State::connecting: return "connecting";
    case State::open: return "open";
    case State::ending: return "ending";
    case State::gone: return "gone";
  }
  return "unknown";
}

std::string PassedConnection::describe() const {
  return fmt::format("passed state={} target={} age={:.1f}s to_target={} to_client={} pending={}",
                     to_string(state_), target_ ? parts_.targets[*target_]->name : "",
                     to_seconds(now() - begun_), up_.taken, down_.taken,
                     up_.bytes() + down_.bytes());
}

}  // namespace sluice::server
