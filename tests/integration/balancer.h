// SPDX-License-Identifier: GPL-3.0-or-later
// A balancer of TCP connections on loopback, in a thread of its own: it forwards bytes both ways,
// and says first for whom.
#pragma once

#include <array>
#include <atomic>
#include <list>
#include <mutex>
#include <string>
#include <thread>

#include "sluice/io/address.h"

namespace sluice::test {

class Balancer {
 public:
  // Connections to it go on to `target`.
  explicit Balancer(const io::Address& target);
  ~Balancer();
  Balancer(const Balancer&) = delete;
  Balancer& operator=(const Balancer&) = delete;

  const io::Address& address() const { return address_; }
  // What new connections begin with.
  void begin_with(std::string header) {
    const std::scoped_lock lock(mutex_);
    header_ = std::move(header);
  }

 private:
  // One direction holds what the other end has not taken yet; nothing more is read meanwhile.
  struct Way {
    std::string bytes = {};
    bool ended = false;   // nothing more will come
    bool closed = false;  // and the other end was told
  };
  struct Pair {
    int client = -1;
    int target = -1;
    Way up, down;
  };

  void run();
  void accept();
  // False when the connection is over.
  static bool move(Pair& pair, short client_events, short target_events);
  static bool move(Way& way, int from, int to, bool readable);

  const io::Address target_;
  io::Address address_;
  int listener_ = -1;
  std::mutex mutex_;
  std::string header_;
  std::list<Pair> pairs_;
  std::atomic<bool> stopping_ = false;
  std::thread thread_;
};

}  // namespace sluice::test
