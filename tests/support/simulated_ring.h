// SPDX-License-Identifier: GPL-3.0-or-later
// A ring and sockets without a kernel: connections are strings in memory, and time moves only when
// nothing else is left to happen. So a test of minutes takes no time, and runs the same each time.
//
// simulated_ring.cc defines the functions of io/ring.h and io/socket.h; a test program that has it
// among its sources gets this ring under everything (see src/io/meson.build).
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <set>
#include <string>

#include "sluice/base/time.h"
#include "sluice/io/address.h"

namespace sluice::test {

// What the rings and sockets of a test live in. One at a time, made before the first ring.
class SimulatedNetwork {
 public:
  SimulatedNetwork();
  ~SimulatedNetwork();  // CHECKs that every descriptor was closed

  Instant now() const { return now_; }
  std::size_t open_descriptors() const { return sockets_.size(); }
  // Completions delivered so far: unchanged over a turn, nothing moved in it.
  std::uint64_t completions() const { return completions_; }
  // Connects to this address get no answer at all. (One without a listener is refused.)
  void swallow(const io::Address& address) { swallowed_.insert(address.to_string()); }
  // Accepting fails with this error number, until it is 0 again.
  void fail_accepts(int error) { accept_error_ = error; }

  // Only for simulated_ring.cc from here on.
  struct Socket {
    enum class Kind : std::uint8_t { stream, listener, wake };
    Kind kind = Kind::stream;
    io::Address local = {};
    io::Address remote = {};
    int peer = -1;
    std::string inbound = {};
    bool peer_ended = false;       // no more will come
    bool peer_gone = false;        // nobody takes what is sent
    std::deque<int> backlog = {};  // listener
    std::uint64_t arrivals = 0;    // what a poll announces
    bool signalled = false;        // wake
  };
  Socket& socket(int descriptor);
  int add(Socket socket);
  void close(int descriptor);
  int connect(int descriptor, const io::Address& address);  // 0, -ECONNREFUSED, or 1: no answer
  Socket* listener_at(const io::Address& address);

  Instant now_{std::chrono::seconds(1000)};
  std::uint64_t completions_ = 0;
  std::map<int, Socket> sockets_;
  std::map<int, int> operations_;  // in flight, by descriptor
  std::set<std::string> swallowed_;
  int accept_error_ = 0;
  int next_descriptor_ = 100;
  std::uint16_t next_port_ = 40000;
};

}  // namespace sluice::test
