// SPDX-License-Identifier: GPL-3.0-or-later
// io/ring.h and io/socket.h in memory.
#include "simulated_ring.h"

#include <algorithm>
#include <cerrno>
#include <memory>
#include <utility>
#include <vector>

#include "sluice/base/check.h"
#include "sluice/io/ring.h"
#include "sluice/io/socket.h"

namespace sluice::test {
namespace {

SimulatedNetwork* network = nullptr;

}  // namespace

SimulatedNetwork::SimulatedNetwork() {
  CHECK(network == nullptr);
  network = this;
}

SimulatedNetwork::~SimulatedNetwork() {
  CHECK_EQ(sockets_.size(), std::size_t{0});
  CHECK(rings_.empty());
  network = nullptr;
}

SimulatedNetwork::Socket& SimulatedNetwork::socket(int descriptor) {
  const auto found = sockets_.find(descriptor);
  CHECK(found != sockets_.end());
  return found->second;
}

int SimulatedNetwork::add(Socket socket) {
  socket.heard_at = now_;
  sockets_.emplace(next_descriptor_, std::move(socket));
  return next_descriptor_++;
}

SimulatedNetwork::Socket* SimulatedNetwork::listener_at(const io::Address& address) {
  for (auto& [descriptor, socket] : sockets_) {
    if (socket.kind == Socket::Kind::listener && socket.local == address) return &socket;
  }
  return nullptr;
}

int SimulatedNetwork::connect(int descriptor, const io::Address& address) {
  if (swallowed_.contains(address.to_string())) return 1;
  Socket* listener = listener_at(address);
  if (listener == nullptr) return -ECONNREFUSED;
  Socket& client = socket(descriptor);
  client.remote = address;
  const std::string host = source_.empty() ? address.host() : source_;
  client.local = *io::Address::parse(host + ":" + std::to_string(next_port_++));
  Socket served{.local = address, .remote = client.local, .peer = descriptor};
  draw_ways(address, client.way, served.way);
  const int accepted = add(std::move(served));
  client.peer = accepted;
  listener->backlog.push_back(accepted);
  ++listener->arrivals;
  return 0;
}

void SimulatedNetwork::draw_ways(const io::Address& listener, Way& one, Way& other) {
  const auto found = weathers_.find(listener.to_string());
  if (found == weathers_.end()) return;
  auto& [weather, random] = found->second;
  const auto somewhere = [&weather, &random] {
    return random.below(std::uint32_t{1} << (1 + random.below(weather.fault_bytes_bits)));
  };
  for (Way* way : {&one, &other}) {
    way->buffer_bytes = weather.buffer_bytes_min;
    if (weather.buffer_bytes_max > weather.buffer_bytes_min) {
      way->buffer_bytes += random.below(
          static_cast<std::uint32_t>(weather.buffer_bytes_max - weather.buffer_bytes_min));
    }
    way->in_pieces = random.unit() < weather.in_pieces;
    if (random.unit() < weather.slow) {
      way->byte_time = random.between(Duration(1), weather.byte_time_max);
    }
    if (random.unit() < weather.stalls) {
      way->stalls_at = somewhere();
      way->stalls_for = random.between(Duration(1), weather.stall_max);
    }
    if (random.unit() < weather.resets) way->resets_at = somewhere();
  }
}

io::PeerSigns SimulatedNetwork::signs_of_peer(int descriptor) {
  const Socket& its = socket(descriptor);
  if (its.reset) return {std::chrono::hours(1), 1, true};
  for (const io::Address& end : {its.local, its.remote}) {
    const auto found = vanished_.find(end.to_string());
    if (found != vanished_.end()) return {now_ - found->second, 1, false};
  }
  return {now_ - its.heard_at, 0, false};
}

std::size_t SimulatedNetwork::receivable(Socket& socket) {
  Way& way = socket.way;
  if (now_ < way.open_at) return 0;
  std::size_t bytes = std::min(socket.inbound.size(), receive_bytes_max_);
  if (way.in_pieces && bytes > 1 && chance_.below(2) == 0) {
    bytes = 1 + chance_.below(static_cast<std::uint32_t>(bytes));
  }
  way.open_at = now_ + way.byte_time * bytes;
  way.left += bytes;
  if (way.left > way.stalls_at) {
    way.open_at += way.stalls_for;
    way.stalls_at = never;
  }
  return bytes;
}

std::size_t SimulatedNetwork::sendable(const Socket& receiver, std::size_t bytes) {
  bytes = std::min(bytes, send_bytes_max_);
  if (!receiver.way.in_pieces || bytes <= 1 || chance_.below(4) != 0) return bytes;
  return 1 + chance_.below(static_cast<std::uint32_t>(bytes));
}

void SimulatedNetwork::entered(int descriptor, std::size_t bytes) {
  if (bytes == 0) return;
  happened();
  Socket& receiver = socket(descriptor);
  for (const int end : {descriptor, receiver.peer}) {
    if (sockets_.contains(end)) socket(end).heard_at = now_;
  }
  Way& way = receiver.way;
  way.entered += bytes;
  if (way.entered > way.resets_at) reset(descriptor);
}

// Somewhere between the two: neither learns how much the other had got.
void SimulatedNetwork::reset(int descriptor) {
  ++resets_;
  happened();
  for (const int end : {descriptor, socket(descriptor).peer}) {
    Socket& one = socket(end);
    one.peer = -1;
    one.peer_ended = one.peer_gone = one.reset = true;
    one.inbound.clear();
    one.way.open_at = {};
  }
}

std::optional<Instant> SimulatedNetwork::next_arrival() const {
  std::optional<Instant> next;
  for (const auto& [descriptor, socket] : sockets_) {
    if (socket.inbound.empty() || socket.way.open_at <= now_) continue;
    next = std::min(next.value_or(socket.way.open_at), socket.way.open_at);
  }
  return next;
}

void SimulatedNetwork::sleep(const void* ring, std::optional<Instant> deadline) {
  rings_.at(ring) = {happened_, deadline};
  std::optional<Instant> wake = next_arrival();
  for (const auto& [other, sleep] : rings_) {
    if (sleep.since != happened_) return;
    if (sleep.until) wake = std::min(wake.value_or(*sleep.until), *sleep.until);
  }
  CHECK(wake.has_value());  // all would sleep for ever
  now_ = std::max(now_, *wake);
  for (auto& [other, sleep] : rings_) sleep = {};
}

void SimulatedNetwork::close(int descriptor) {
  CHECK_EQ(operations_[descriptor], 0);
  operations_.erase(descriptor);
  Socket closed = std::move(socket(descriptor));
  sockets_.erase(descriptor);
  happened();
  for (const int waiting : closed.backlog) close(waiting);
  if (closed.peer < 0 || !sockets_.contains(closed.peer)) return;
  Socket& peer = socket(closed.peer);
  peer.peer = -1;
  peer.peer_ended = peer.peer_gone = true;
  // As TCP does: a reset, behind what has arrived.
  if (!closed.inbound.empty()) peer.reset = true;
}

}  // namespace sluice::test

namespace sluice::io {

using test::network;
using test::SimulatedNetwork;
using Socket = SimulatedNetwork::Socket;

struct Ring::State {
  enum class Kind : std::uint8_t { accept, receive, receive_once, send, connect, poll };
  struct Entry {
    Kind kind;
    Operation* operation;
    int descriptor;
    Bytes bytes = {};
    Address address = {};
    bool cancelled = false;
    std::uint64_t arrivals_seen = 0;
    std::size_t sent = 0;
    std::size_t ends_at = 0;  // a send; drawn when it begins
  };
  struct Ready {
    std::uint32_t id;
    Completion completion;
    std::string received;
  };

  State() { network->rings_.emplace(this, SimulatedNetwork::Sleep{}); }
  ~State() { network->rings_.erase(this); }
  State(const State&) = delete;
  State& operator=(const State&) = delete;

  void begin(Operation& operation, Entry entry) {
    CHECK(!operation.in_flight());
    entry.operation = &operation;
    ++network->operations_[entry.descriptor];
    operation.slot_ = next_id;
    entries.emplace(next_id++, entry);
  }

  void gather(std::uint32_t id, Entry& entry, std::vector<Ready>& ready) const {
    const auto complete = [&](std::int32_t result, bool last) {
      ready.push_back({id, {.result = result, .last = last, .bytes = {}}, {}});
    };
    if (entry.cancelled && !arrives_before_cancel(entry)) {
      return complete(entry.sent > 0 ? static_cast<std::int32_t>(entry.sent) : -ECANCELED, true);
    }
    Socket& socket = network->socket(entry.descriptor);
    switch (entry.kind) {
      case Kind::accept:
        if (network->accept_error_ != 0 && !socket.backlog.empty()) {
          return complete(-network->accept_error_, true);
        }
        while (!socket.backlog.empty()) {
          complete(socket.backlog.front(), false);
          socket.backlog.pop_front();
        }
        return;
      case Kind::receive:
      case Kind::receive_once:
        if (!socket.inbound.empty()) {
          const std::size_t bytes = network->receivable(socket);
          if (bytes == 0) return;
          std::string chunk = socket.inbound.substr(0, bytes);
          socket.inbound.erase(0, chunk.size());
          complete(static_cast<std::int32_t>(chunk.size()), entry.kind == Kind::receive_once);
          ready.back().received = std::move(chunk);
        } else if (socket.peer_ended) {
          complete(socket.reset ? -ECONNRESET : 0, true);
        }
        return;
      case Kind::send: return gather_send(entry, socket, complete);
      case Kind::connect:
        if (const int result = network->connect(entry.descriptor, entry.address); result <= 0) {
          complete(result, true);
        }
        return;
      case Kind::poll:
        if (socket.arrivals == entry.arrivals_seen) return;
        entry.arrivals_seen = socket.arrivals;
        return complete(1, false);
    }
  }

  // What had come when it was cancelled may still be delivered.
  static bool arrives_before_cancel(const Entry& entry) {
    if (entry.kind != Kind::receive && entry.kind != Kind::receive_once) return false;
    const Socket& socket = network->socket(entry.descriptor);
    return socket.way.in_pieces && !socket.inbound.empty() &&
           socket.way.open_at <= network->now() && network->chance_.below(2) == 0;
  }

  // Goes on when the peer has made room, as a kernel's send with MSG_WAITALL does.
  template <class Complete>
  static void gather_send(Entry& entry, const Socket& socket, const Complete& complete) {
    if (socket.peer_gone) return complete(socket.reset ? -ECONNRESET : -EPIPE, true);
    const int peer = socket.peer;
    Socket& receiver = network->socket(peer);
    if (entry.ends_at == 0) entry.ends_at = network->sendable(receiver, entry.bytes.size());
    const std::size_t holds = std::min(network->receive_buffer_bytes_, receiver.way.buffer_bytes);
    const std::size_t room = holds - std::min(holds, receiver.inbound.size());
    const std::size_t part = std::min(entry.ends_at - entry.sent, room);
    receiver.inbound += as_text(entry.bytes.subspan(entry.sent, part));
    entry.sent += part;
    if (entry.sent == entry.ends_at) complete(static_cast<std::int32_t>(entry.sent), true);
    network->entered(peer, part);
  }

  void deliver(const Ready& ready) {
    const auto found = entries.find(ready.id);
    if (found == entries.end()) return;
    Operation& operation = *found->second.operation;
    Completion completion = ready.completion;
    completion.bytes = as_bytes(ready.received);
    if (completion.last) {
      --network->operations_[found->second.descriptor];
      entries.erase(found);
      operation.slot_ = Operation::none;
    }
    ++counters.completions;
    network->happened();
    operation.callback_(completion);
  }

  void turn(std::optional<Instant> deadline) {
    ++counters.turns;
    std::vector<Ready> ready;
    const std::uint64_t before = network->progress();
    for (auto& [id, entry] : entries) gather(id, entry, ready);
    if (ready.empty() && network->progress() == before) network->sleep(this, deadline);
    for (const Ready& one : ready) deliver(one);
  }

  std::map<std::uint32_t, Entry> entries;
  std::uint32_t next_id = 0;
  RingCounters counters;
};

Result<std::unique_ptr<Ring>> Ring::create(const RingOptions&) {
  return std::unique_ptr<Ring>(new Ring(std::make_unique<State>()));
}
Ring::Ring(std::unique_ptr<State> state) : state_(std::move(state)) {}
Ring::~Ring() { CHECK_EQ(in_flight(), std::size_t{0}); }

void Ring::accept(Operation& operation, int listener) {
  state_->begin(operation, {State::Kind::accept, nullptr, listener});
}
void Ring::receive(Operation& operation, int descriptor) {
  state_->begin(operation, {State::Kind::receive, nullptr, descriptor});
}
void Ring::receive_once(Operation& operation, int descriptor) {
  state_->begin(operation, {State::Kind::receive_once, nullptr, descriptor});
}
void Ring::send(Operation& operation, int descriptor, Bytes bytes) {
  CHECK(!bytes.empty());
  state_->begin(operation, {State::Kind::send, nullptr, descriptor, bytes});
}
void Ring::connect(Operation& operation, int descriptor, const Address& address) {
  state_->begin(operation, {State::Kind::connect, nullptr, descriptor, {}, address});
}
void Ring::poll_readable(Operation& operation, int descriptor) {
  state_->begin(operation, {State::Kind::poll, nullptr, descriptor});
}
void Ring::cancel(Operation& operation) {
  if (operation.in_flight()) state_->entries.at(operation.slot_).cancelled = true;
}
void Ring::submit() {}  // whatever was begun is under way
void Ring::turn(std::optional<Instant> deadline) { state_->turn(deadline); }
Instant Ring::now() const { return network->now(); }
Instant Ring::clock() const { return network->now(); }
Duration Ring::thread_time() const { return network->worked(); }
Duration Ring::starved() const { return {}; }
WallTime Ring::wall_now() const {
  return std::chrono::floor<std::chrono::seconds>(wall_now_exactly());
}
std::chrono::sys_time<std::chrono::milliseconds> Ring::wall_now_exactly() const {
  constexpr WallTime begin{std::chrono::seconds(1767225600)};  // 2026-01-01
  return begin + std::chrono::floor<std::chrono::milliseconds>(network->now().time_since_epoch());
}
std::size_t Ring::in_flight() const { return state_->entries.size(); }
const RingCounters& Ring::counters() const { return state_->counters; }

Result<int> listen_on(const Address& address, const ListenOptions&) {
  Address local = address;
  if (local.port() == 0) {
    local = *Address::parse(address.host() + ":" + std::to_string(network->next_port_++));
  }
  if (network->listener_at(local) != nullptr) return fail_errno("listen", EADDRINUSE);
  return network->add({.kind = Socket::Kind::listener, .local = local});
}
Result<int> open_stream(int) { return network->add({}); }
void configure_stream(int) {}
bool peer_has_ended(int descriptor) {
  const Socket& socket = network->socket(descriptor);
  return socket.peer_ended && socket.inbound.empty();
}
std::size_t unacknowledged_bytes(int descriptor) {
  const int peer = network->socket(descriptor).peer;
  return peer < 0 ? 0 : network->socket(peer).inbound.size();
}
PeerSigns signs_of_peer(int descriptor) { return network->signs_of_peer(descriptor); }
Result<Address> local_address(int descriptor) { return network->socket(descriptor).local; }
Result<Address> peer_address(int descriptor) { return network->socket(descriptor).remote; }
void shutdown_send(int descriptor) {
  network->happened();
  const int peer = network->socket(descriptor).peer;
  if (peer >= 0) network->socket(peer).peer_ended = true;
}
void reset_on_close(int) {}
void close_socket(int descriptor) { network->close(descriptor); }
int accept_now(int listener) {
  std::deque<int>& backlog = network->socket(listener).backlog;
  if (backlog.empty()) {
    errno = EAGAIN;
    return -1;
  }
  const int descriptor = backlog.front();
  backlog.pop_front();
  return descriptor;
}
Result<int> open_wake_descriptor() { return network->add({.kind = Socket::Kind::wake}); }
void signal_wake(int descriptor) {
  Socket& socket = network->socket(descriptor);
  if (std::exchange(socket.signalled, true)) return;
  ++socket.arrivals;
  network->happened();
}
void drain_wake(int descriptor) { network->socket(descriptor).signalled = false; }

}  // namespace sluice::io
