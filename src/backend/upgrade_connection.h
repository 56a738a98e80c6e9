// SPDX-License-Identifier: GPL-3.0-or-later
// One HTTP/1.1 connection to a backend, and the one request that it was opened for.
//
//   connecting ──▶ carrying ──▶ ending          the stream may leave at any time;
//        └────────────────────────┘             what is left of the connection ends by itself
//
// What comes before a 101, and after any other answer, is HTTP; in between it is the tunnel's, and
// neither looked at nor gathered: bytes that the client does not take keep the connection from
// receiving.
#pragma once

#include <memory>
#include <string>

#include "sluice/backend/upgrade_pool.h"
#include "sluice/base/transitions.h"
#include "sluice/http1/upgrade.h"
#include "sluice/net/connection.h"

namespace sluice::backend {

class UpgradeConnection;

// Told of what concerns more than one connection.
class UpgradeOwner {
 public:
  virtual ~UpgradeOwner() = default;
  // Its handshake is over, well or not: the next one may begin. Null: well.
  virtual void connect_over(const Error* error) = 0;
  // It ended with its request unfinished.
  virtual void connection_lost(const Error& error) = 0;
  virtual void connection_closed(UpgradeConnection& connection) = 0;  // destroys it
};

// What the connections of one pool share; outlives them.
struct UpgradeParts {
  net::Transport& transport;
  const Endpoint& endpoint;
  const UpgradeOptions& options;
  std::shared_ptr<const tls::ClientContext> context;  // of those that are opened next
};

class UpgradeConnection final : public Carrier,
                                private net::ConnectionHandler,
                                private http1::UpgradeHandler {
 public:
  UpgradeConnection(UpgradeOwner& owner, const UpgradeParts& parts);
  ~UpgradeConnection() override;

  // A waiting one. It ends, and nothing is connected, when its head cannot be written.
  void open(BackendStream& stream);
  void terminate();
  bool ending() const { return state_ == State::ending; }

  // Carrier
  void cancel(BackendStream& stream) override;
  void conclude(BackendStream& stream, bool in_order) override;
  std::size_t held_bytes(const BackendStream& stream) const override;
  void consume(BackendStream& stream, std::size_t bytes) override;
  void grow_window(BackendStream&, std::uint32_t) override {}
  void resume_body(BackendStream& stream) override;

 private:
  enum class State : std::uint8_t { connecting, carrying, ending };
  static constexpr Transitions<State, 3> transitions{{
      0,                                           // connecting
      states(State::connecting),                   // carrying
      states(State::connecting, State::carrying),  // ending
  }};

  // net::ConnectionHandler
  void on_established() override;
  void on_receive(Bytes plain) override;
  std::size_t on_collect(MutableBytes batch) override;
  void on_end(const Error& error) override;
  bool on_peer_ended(bool in_order) override;
  void on_closed() override;

  // http1::UpgradeHandler
  void on_interim(http::ResponseHead&& head) override;
  void on_answer(http::ResponseHead&& head, bool end) override;
  void on_data(Bytes bytes) override;
  void on_end(bool in_order) override;
  http::BodyResult on_body_wanted(MutableBytes room) override;

  void set_state(State state);
  BackendStream& leave_stream();
  void lose(const Error& error);
  void look_for_end();
  const std::string& name() const { return parts_.endpoint.name; }

  UpgradeOwner& owner_;
  const UpgradeParts& parts_;
  State state_ = State::connecting;
  net::Connection connection_;
  http1::Upgrade upgrade_;
  BackendStream* stream_ = nullptr;
  std::size_t ahead_bytes_ = 0;  // received, and not consumed
};

}  // namespace sluice::backend
