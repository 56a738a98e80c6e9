// SPDX-License-Identifier: GPL-3.0-or-later
// Accepts connections on one address for one worker, with admission: a process-wide budget of
// client connections, a back-off when descriptors run out, and a pause while the handshake queue is
// full. Running out costs no spin: a paused listener only looks again on a timer.
//
// A multishot accept takes whatever the backlog holds before anybody can stop it; it is used only
// while there is room for a whole backlog. Nearer to the limit the listener is polled and
// connections are taken one by one.
//
// So is a socket on which others accept, too (workers of this process, or the process that we take
// over from): an accept that waits is woken alone among all that wait, and one that is cancelled at
// that moment leaves its connection to nobody; a poll is woken always. And it takes a few
// connections in a turn, so that a burst is not all one worker's.
#pragma once

#include <algorithm>
#include <atomic>
#include <functional>
#include <memory>

#include "sluice/io/operation.h"
#include "sluice/io/reactor.h"
#include "sluice/net/transport.h"

namespace sluice::net {

// Shared by all workers; descriptors that clients may take.
struct AdmissionBudget {
  explicit AdmissionBudget(std::size_t max) : connections_max(max) {}
  const std::size_t connections_max;
  std::atomic<std::size_t> connections{0};
  std::size_t room() const {
    const std::size_t taken = connections.load(std::memory_order_relaxed);
    return taken < connections_max ? connections_max - taken : 0;
  }

  // Newcomers should find room at once, so a part of it is kept free as long as somebody can be
  // asked to go: how many more should. Those who were asked already count as gone.
  std::size_t shortage() const {
    if (connections_max < 2) return 0;
    const std::size_t reserve = std::min(connections_max / 16 + 1, connections_max - 1);
    const std::size_t free = room() + leaving.load(std::memory_order_relaxed);
    return free < reserve ? reserve - free : 0;
  }
  std::atomic<std::size_t> leaving{0};  // were asked to go, to make room
  // There is room, but an accept failed for want of a descriptor: somebody should go all the same.
  std::atomic<bool> starved{false};
};

struct ListenerCounters {
  std::uint64_t accepted = 0;
  std::uint64_t paused = 0;         // times that admission stopped accepting
  std::uint64_t accept_errors = 0;  // EMFILE and kin
};

class Listener {
 public:
  using Accepted = std::function<void(int descriptor)>;

  // Takes over a listening descriptor. `shared`: others accept on its socket, too.
  Listener(Transport& transport, int descriptor, AdmissionBudget& budget, Accepted accepted,
           bool shared = false);
  ~Listener();  // CHECKs stopped()

  void start();
  // Takes what is left in the backlog, then closes the descriptor; stopped() once nothing is in
  // flight. (A closed reuseport listener loses its queued connections otherwise.)
  void stop();
  // The same, but what is in the backlog is left to others that accept on the socket.
  void leave();
  // The others have left.
  void own();
  bool stopped() const { return descriptor_ < 0 && !accept_.in_flight() && !knock_.in_flight(); }

  const ListenerCounters& counters() const { return counters_; }

 private:
  void accepted(const io::Completion& completion);
  void knocked(const io::Completion& completion);
  void admit(int descriptor);
  void accept_some();
  void accept_more();
  bool may_accept() const { return budget_.room() > 0 && !transport_.handshake_queue_full(); }
  void fail();
  void pause(Duration retry);
  void retry();
  void finish_stop();

  Transport& transport_;
  int descriptor_;
  AdmissionBudget& budget_;
  Accepted accepted_;
  ListenerCounters counters_;
  io::Operation accept_;
  io::Operation knock_;
  io::Timer retry_;
  io::TurnEnd more_;
  bool shared_;
  bool stopping_ = false;
  bool leaving_ = false;
};

}  // namespace sluice::net
