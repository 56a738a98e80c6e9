// SPDX-License-Identifier: GPL-3.0-or-later
// Rings and sockets without a kernel: connections are strings in memory, and the one clock moves
// only when every ring sleeps and nothing else is left to happen. So a test of minutes takes no
// time, and runs the same each time. With a weather connections are short, slow, stalled and reset,
// by chance from a seed.
//
// simulated_ring.cc defines the functions of io/ring.h and io/socket.h; a test program that has it
// among its sources gets this ring under everything (see src/io/meson.build).
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>

#include "sluice/base/random.h"
#include "sluice/base/time.h"
#include "sluice/io/address.h"
#include "sluice/io/socket.h"

namespace sluice::test {

// How the connections of a listener fare. Each chance is drawn for each direction of each new
// connection, and says whether this happens to it at all.
struct Weather {
  // What a direction holds for a reader that does not read, drawn between the two.
  std::size_t buffer_bytes_min = SIZE_MAX;
  std::size_t buffer_bytes_max = SIZE_MAX;
  double in_pieces = 0;  // sends end short, receives bring less than there is
  double slow = 0;       // a byte takes up to byte_time_max
  Duration byte_time_max = std::chrono::microseconds(100);
  double stalls = 0;  // once, for up to stall_max
  Duration stall_max = std::chrono::seconds(5);
  double resets = 0;  // once
  // Where it stalls or is reset: as often within the first few bytes as within so many.
  std::uint32_t fault_bytes_bits = 19;
};

// What the rings and sockets of a test live in. One at a time, made before the first ring.
class SimulatedNetwork {
 public:
  SimulatedNetwork();
  ~SimulatedNetwork();  // CHECKs that every descriptor was closed

  Instant now() const { return now_; }
  std::size_t open_descriptors() const { return sockets_.size(); }
  // What has happened so far, as a number: unchanged over a turn, nothing happened in it.
  std::uint64_t progress() const { return happened_; }
  // Time passes while nobody turns: a machine that is busy with something else.
  void pass(Duration duration) { now_ += duration; }
  // Time passes because a thread works. (There is one.)
  void work(Duration duration) {
    now_ += duration;
    worked_ += duration;
  }
  Duration worked() const { return worked_; }
  // Connects to this address get no answer at all. (One without a listener is refused.)
  void swallow(const io::Address& address) { swallowed_.insert(address.to_string()); }
  // Connections come from this host from now on; at first each from that of its listener.
  void connect_from(std::string host) { source_ = std::move(host); }
  // Nothing more comes from the other ends of connections to or from this address, not even an
  // acknowledgement.
  void vanish(const io::Address& address) { vanished_.insert_or_assign(address.to_string(), now_); }
  void come_back(const io::Address& address) { vanished_.erase(address.to_string()); }
  // Accepting fails with this error number, until it is 0 again.
  void fail_accepts(int error) { accept_error_ = error; }
  // What a socket holds for a reader that does not read; a sender waits for room. No bound at
  // first.
  void bound_receive_buffers(std::size_t bytes) { receive_buffer_bytes_ = bytes; }
  // A receive completes with so many bytes at most.
  void receive_in_pieces(std::size_t bytes) { receive_bytes_max_ = bytes; }
  // A send completes short after so many bytes.
  void send_in_pieces(std::size_t bytes) { send_bytes_max_ = bytes; }

  // Connections to this listener from now on.
  void weather(const io::Address& listener, const Weather& weather, std::uint64_t seed) {
    weathers_.insert_or_assign(listener.to_string(), ListenerWeather{weather, Random(seed)});
  }
  std::uint64_t resets() const { return resets_; }

  // Only for simulated_ring.cc from here on.
  static constexpr std::uint64_t never = UINT64_MAX;
  // How bytes fare on their way into a socket.
  struct Way {
    std::size_t buffer_bytes = SIZE_MAX;
    bool in_pieces = false;
    Duration byte_time{};
    std::uint64_t stalls_at = never;
    Duration stalls_for{};
    std::uint64_t resets_at = never;
    std::uint64_t entered = 0;
    std::uint64_t left = 0;
    Instant open_at{};  // nothing is received before
  };
  struct Socket {
    enum class Kind : std::uint8_t { stream, listener, wake };
    Kind kind = Kind::stream;
    io::Address local = {};
    io::Address remote = {};
    int peer = -1;
    std::string inbound = {};
    Way way = {};
    bool peer_ended = false;       // no more will come
    bool peer_gone = false;        // nobody takes what is sent
    bool reset = false;            // the peer closed with input unread
    std::deque<int> backlog = {};  // listener
    std::uint64_t arrivals = 0;    // what a poll announces
    bool signalled = false;        // wake
    Instant heard_at = {};         // the peer's bytes, or its acknowledgement of ours
  };
  Socket& socket(int descriptor);
  int add(Socket socket);
  void close(int descriptor);
  int connect(int descriptor, const io::Address& address);  // 0, -ECONNREFUSED, or 1: no answer
  io::PeerSigns signs_of_peer(int descriptor);
  Socket* listener_at(const io::Address& address);
  void reset(int descriptor);
  // Bytes that have come: how many of them a receive takes now; 0 when they are not there yet.
  std::size_t receivable(Socket& socket);
  // Of a send of so many bytes, how many it takes before it ends.
  std::size_t sendable(const Socket& receiver, std::size_t bytes);
  void entered(int descriptor, std::size_t bytes);

  // A ring has nothing to do until `deadline`. When all rings have said so, and nothing has
  // happened since, the clock moves.
  void sleep(const void* ring, std::optional<Instant> deadline);
  void happened() { ++happened_; }

  struct ListenerWeather {
    Weather weather;
    Random random;
  };
  struct Sleep {
    std::uint64_t since = never;  // what had happened by then
    std::optional<Instant> until;
  };
  Instant now_{std::chrono::seconds(1000)};
  Duration worked_{};
  std::uint64_t happened_ = 0;
  std::uint64_t resets_ = 0;
  std::map<const void*, Sleep> rings_;
  std::map<std::string, ListenerWeather> weathers_;
  Random chance_{1};  // what is drawn for each send and receive
  std::map<int, Socket> sockets_;
  std::map<int, int> operations_;  // in flight, by descriptor
  std::set<std::string> swallowed_;
  std::map<std::string, Instant> vanished_;  // since when
  int accept_error_ = 0;
  std::string source_;
  std::size_t receive_buffer_bytes_ = SIZE_MAX;
  std::size_t receive_bytes_max_ = std::size_t{16} * 1024;
  std::size_t send_bytes_max_ = SIZE_MAX;
  int next_descriptor_ = 100;
  std::uint16_t next_port_ = 40000;

 private:
  void draw_ways(const io::Address& listener, Way& one, Way& other);
  std::optional<Instant> next_arrival() const;
};

}  // namespace sluice::test
