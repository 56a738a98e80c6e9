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
  network = nullptr;
}

SimulatedNetwork::Socket& SimulatedNetwork::socket(int descriptor) {
  const auto found = sockets_.find(descriptor);
  CHECK(found != sockets_.end());
  return found->second;
}

int SimulatedNetwork::add(Socket socket) {
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
  client.local = *io::Address::parse(address.host() + ":" + std::to_string(next_port_++));
  const int accepted = add({.local = address, .remote = client.local, .peer = descriptor});
  client.peer = accepted;
  listener->backlog.push_back(accepted);
  ++listener->arrivals;
  return 0;
}

void SimulatedNetwork::close(int descriptor) {
  CHECK_EQ(operations_[descriptor], 0);
  operations_.erase(descriptor);
  Socket closed = std::move(socket(descriptor));
  sockets_.erase(descriptor);
  for (const int waiting : closed.backlog) close(waiting);
  if (closed.peer < 0 || !sockets_.contains(closed.peer)) return;
  Socket& peer = socket(closed.peer);
  peer.peer = -1;
  peer.peer_ended = peer.peer_gone = true;
}

}  // namespace sluice::test

namespace sluice::io {

using test::network;
using test::SimulatedNetwork;
using Socket = SimulatedNetwork::Socket;

struct Ring::State {
  enum class Kind : std::uint8_t { accept, receive, send, connect, poll };
  struct Entry {
    Kind kind;
    Operation* operation;
    int descriptor;
    Bytes bytes = {};
    Address address = {};
    bool cancelled = false;
    std::uint64_t arrivals_seen = 0;
  };
  struct Ready {
    std::uint32_t id;
    Completion completion;
    std::string received;
  };

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
    if (entry.cancelled) return complete(-ECANCELED, true);
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
        if (!socket.inbound.empty()) {
          std::string chunk = socket.inbound.substr(0, receive_bytes_max);
          socket.inbound.erase(0, chunk.size());
          complete(static_cast<std::int32_t>(chunk.size()), false);
          ready.back().received = std::move(chunk);
        } else if (socket.peer_ended) {
          complete(0, true);
        }
        return;
      case Kind::send:
        if (socket.peer_gone) return complete(-EPIPE, true);
        network->socket(socket.peer).inbound += as_text(entry.bytes);
        return complete(static_cast<std::int32_t>(entry.bytes.size()), true);
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
    ++network->completions_;
    operation.callback_(completion);
  }

  void turn(std::optional<Instant> deadline) {
    ++counters.turns;
    std::vector<Ready> ready;
    for (auto& [id, entry] : entries) gather(id, entry, ready);
    if (ready.empty()) {
      CHECK(deadline.has_value());  // it would sleep for ever
      network->now_ = std::max(network->now_, *deadline);
    }
    for (const Ready& one : ready) deliver(one);
  }

  static constexpr std::size_t receive_bytes_max = 16 * 1024;
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
void Ring::turn(std::optional<Instant> deadline) { state_->turn(deadline); }
Instant Ring::now() const { return network->now(); }
WallTime Ring::wall_now() const {
  constexpr WallTime begin{std::chrono::seconds(1767225600)};  // 2026-01-01
  return begin + std::chrono::floor<std::chrono::seconds>(network->now().time_since_epoch());
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
int socket_error(int) { return 0; }
Result<Address> local_address(int descriptor) { return network->socket(descriptor).local; }
Result<Address> peer_address(int descriptor) { return network->socket(descriptor).remote; }
void shutdown_send(int descriptor) {
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
  if (!std::exchange(socket.signalled, true)) ++socket.arrivals;
}
void drain_wake(int descriptor) { network->socket(descriptor).signalled = false; }

}  // namespace sluice::io
