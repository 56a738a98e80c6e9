// SPDX-License-Identifier: GPL-3.0-or-later
// What a connection that is passed on has at its target: the bytes of both directions, each
// bounded, and the ends of each. The client's side is a ClientPassThrough.
//
//   connecting (one target after the other) ──▶ open ──▶ ending ──▶ gone
//        └──────────────────────────────────────────────────┘
//
// A direction ends by FIN when its sender has ended it and its bytes have left; the connection when
// both have. Who is lost, on either side, has said all that it had to say: the other is given that,
// and then a FIN.
//
// Owned by PassThrough, and destroyed when both sides are gone. Thread: the worker's.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "pass_metrics.h"
#include "pass_targets.h"
#include "sluice/base/tally.h"
#include "sluice/base/transitions.h"
#include "sluice/net/tcp_connection.h"
#include "sluice/observability/access_log.h"

namespace sluice::server {

class PassedConnection;

// The client's side.
class PassedClient {
 public:
  virtual ~PassedClient() = default;
  // There is something to collect, or nothing will come any more.
  virtual void passed_output() = 0;
  // send() may be called with more.
  virtual void passed_room() = 0;
};

// Who it is, for the log.
struct PassedFacts {
  std::string client;  // address and port
  std::string server_name;
};

// What concerns more than one connection.
class PassOwner {
 public:
  virtual ~PassOwner() = default;
  // Of those that were not tried; nothing: all were.
  virtual std::optional<std::size_t> choose(const std::vector<bool>& tried) = 0;
  virtual void connected(std::size_t target) = 0;
  virtual void connect_failed(std::size_t target) = 0;
  virtual void unreachable(const PassedFacts& client, std::string_view why) = 0;  // all targets
  virtual void over(PassedConnection& connection) = 0;                            // destroys it
};

// All outlive the object.
struct PassThroughParts {
  net::Transport& transport;
  const PassTargets& targets;
  metrics::Cells& cells;
  const PassThroughMetrics& metrics;
  observability::AccessLog* access_log;  // may be null
  std::size_t worker;
  std::string_view cluster;  // its name, for the log
};

class PassedConnection final : private net::TcpHandler {
 public:
  PassedConnection(PassOwner& owner, const PassThroughParts& parts, PassedClient& client,
                   PassedFacts facts);
  ~PassedConnection() override;

  void begin();

  // From the client's side. All bytes are taken; there should be no more while wants_more() is
  // false.
  void send(Bytes bytes);
  bool wants_more() const;
  std::size_t collect(MutableBytes room);
  bool has_output() const { return down_.bytes() > 0; }
  void end_input();
  // Nothing will come any more; and nothing goes any more.
  bool output_ended() const { return down_.ended && down_.bytes() == 0; }
  bool finished() const { return output_ended() && up_.ended; }
  // Of both directions, and as memory.
  std::size_t held_bytes() const { return up_.held() + down_.held(); }
  // Its connection is over: it is not called any more.
  void client_gone();

  // Ends both directions in order, because we stop.
  void end();
  // Now.
  void terminate();
  std::string describe() const;

 private:
  enum class State : std::uint8_t { connecting, open, ending, gone };
  static constexpr Transitions<State, 4> transitions{{
      0,                                                      // connecting
      states(State::connecting),                              // open
      states(State::connecting, State::open),                 // ending
      states(State::connecting, State::open, State::ending),  // gone
  }};
  static std::string_view to_string(State state);

  // A direction.
  struct Way {
    void add(Bytes bytes);
    std::size_t take(MutableBytes room);
    void drop();
    std::size_t bytes() const { return queue.size() - begin; }
    std::size_t held() const { return queue.capacity(); }

    std::vector<std::uint8_t> queue;
    std::size_t begin = 0;
    std::uint64_t taken = 0;
    bool ended = false;  // its sender has said all
  };

  void on_connected() override;
  void on_receive(Bytes bytes) override;
  Fill on_fill(MutableBytes room) override;
  void on_end(const Error& error) override;
  bool on_peer_ended() override;
  void on_closed() override;

  void set_state(State state);
  void try_next();
  void unreachable();
  void end_both(observability::EndedBy ended_by, std::string_view reason);
  void close_target();
  void close_if_finished();
  void leave_target();
  void tell_client();
  bool receives() const;
  void record() const;
  Instant now() const { return parts_.transport.reactor().now(); }

  PassOwner& owner_;
  const PassThroughParts& parts_;
  PassedClient* client_;  // null: gone
  const PassedFacts facts_;
  State state_ = State::connecting;
  Way up_;    // to the target
  Way down_;  // to the client
  std::vector<bool> tried_;
  std::optional<std::size_t> target_;  // the last one that was tried
  bool counted_ = false;               // among its connections
  std::unique_ptr<net::TcpConnection> tcp_;
  Tally left_;  // what is held when the client is gone
  const Instant begun_;
  const std::chrono::sys_time<std::chrono::milliseconds> wall_begun_;
  observability::EndedBy ended_by_ = observability::EndedBy::completed;
  std::string reason_;
};

}  // namespace sluice::server
