// SPDX-License-Identifier: GPL-3.0-or-later
// What connections of one thread share: the reactor, pooled send buffers, the list of connections
// to flush at the end of the turn, and the queue of handshakes.
//
// Handshakes cost up to a millisecond each; they are served from a queue at the end of a turn, at
// most `handshake_time_per_turn` (a quarter of it for strangers), after established traffic. Our
// own to backends come first, then those of clients in turns, by the names that their owners give
// them: the clusters', and within a cluster its addresses'. However many one begins, another waits
// for one of each that waits. When the queue is full, who has its share of it gets no more in, and
// everybody else does; so neither one client nor one cluster is ever a reason not to accept.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "sluice/balance/fair_queue.h"
#include "sluice/base/bytes.h"
#include "sluice/base/list.h"
#include "sluice/io/reactor.h"
#include "sluice/net/work_meter.h"

namespace sluice::net {

class Connection;
class TcpConnection;

struct TransportOptions {
  std::size_t send_buffer_bytes = 64 * 1024;  // records of one send, for each connection that sends
  Duration handshake_time_per_turn = std::chrono::milliseconds(1);
  // For input that was left for later; all that arrives anew is looked at once before.
  Duration input_time_per_turn = std::chrono::microseconds(250);
  // As many as are served within the time for which clients wait. At twice as many, which takes
  // that many clients, accepting waits.
  std::size_t handshake_queue_max = 4096;
  Duration handshake_timeout = std::chrono::seconds(10);    // from accept or connect to established
  Duration proxy_header_timeout = std::chrono::seconds(2);  // of the same; from accept
  Duration connect_timeout = std::chrono::seconds(3);
  Duration send_stall_timeout = std::chrono::seconds(60);  // a send that makes no progress
  // Of a watched peer, which is asked at least every half minute.
  Duration peer_silence_max = std::chrono::seconds(60);
  // After the FIN: so long with nothing acknowledged ends it.
  Duration close_linger = std::chrono::seconds(2);

  friend bool operator==(const TransportOptions&, const TransportOptions&) = default;
};

// Read by any thread, written by the owner's only.
struct TransportCounters {
  std::uint64_t handshakes_finished = 0;
  std::uint64_t handshakes_failed = 0;
  std::uint64_t sends = 0;
  std::uint64_t short_sends = 0;
  std::uint64_t records = 0;
  std::uint64_t bytes_sent = 0;      // encrypted
  std::uint64_t bytes_received = 0;  // encrypted
  std::uint64_t wrong_transitions = 0;
};

// Pool of equal pieces of memory, grown on demand, kept for reuse up to a bound.
class BufferPool {
 public:
  explicit BufferPool(std::size_t buffer_bytes, std::size_t keep_max);
  std::unique_ptr<std::uint8_t[]> lease();
  void give_back(std::unique_ptr<std::uint8_t[]> buffer);
  std::size_t buffer_bytes() const { return buffer_bytes_; }
  std::size_t leased() const { return leased_; }

 private:
  std::size_t buffer_bytes_;
  std::size_t keep_max_;
  std::size_t leased_ = 0;
  std::vector<std::unique_ptr<std::uint8_t[]>> free_;
};

// Whose turns clients' handshakes and input that was left for later take; for FairShare. Strangers
// can be many, and have one of five turns.
enum class TurnLane : std::uint8_t { strangers, known };

struct FlushTag;
struct HandshakeTag;
struct InputTag;
struct ReapTag;

class Transport {
 public:
  Transport(io::Reactor& reactor, const TransportOptions& options);
  ~Transport();  // CHECKs that no connection is left

  io::Reactor& reactor() { return reactor_; }
  const TransportOptions& options() const { return options_; }
  // For connections that begin from now on, and what those that are there wait for next.
  void update(const TransportOptions& options);
  const TransportCounters& counters() const { return counters_; }
  std::size_t connections() const { return connections_; }
  // What their peers make them hold, see Connection::held_bytes().
  std::size_t held_bytes() const { return held_bytes_; }
  // For what is held for a connection that is not there any more.
  std::size_t& held_bytes_sum() { return held_bytes_; }
  // And what they cost by themselves, see Connection::own_bytes().
  std::size_t own_bytes() const { return own_bytes_; }
  // One of them, or of what is built on them, made a transition that it must not make.
  void count_wrong_transition() { ++counters_.wrong_transitions; }
  std::size_t handshakes_waiting() const { return handshakes_.size(); }  // of clients
  bool handshake_queue_full() const {
    return handshakes_.size() >= 2 * options_.handshake_queue_max;
  }

 private:
  friend class Connection;
  friend class TcpConnection;
  void flush();
  void handshake();
  Connection* next_handshake();
  bool may_wait(const balance::FairShare& share) const;
  void read_input();
  void reap();

  io::Reactor& reactor_;
  TransportOptions options_;
  TransportCounters counters_;
  BufferPool send_buffers_;
  List<TcpConnection, FlushTag> to_flush_;
  List<Connection, HandshakeTag> own_handshakes_;
  balance::FairQueue handshakes_{1, 4};  // TurnLane
  List<Connection, InputTag> own_input_;
  balance::FairQueue input_{1, 4};  // TurnLane
  WorkMeter meter_;                 // of clients' input
  List<TcpConnection, ReapTag> to_reap_;
  std::size_t connections_ = 0;
  std::size_t held_bytes_ = 0;
  std::size_t own_bytes_ = 0;
  io::TurnEnd flush_;
  io::TurnEnd handshake_;
  io::TurnEnd input_turns_;
  io::TurnEnd reap_;
};

}  // namespace sluice::net
