// SPDX-License-Identifier: GPL-3.0-or-later
// A client's connection: TLS, who the client is, which HTTP it speaks, deadlines and the close.
// Requests are its protocol's.
//
//   handshake ──▶ serving ──▶ leaving (the last word is said) ──▶ closed
//
// A budget that was exceeded makes it leave, too: nothing more is read, watches end cleanly, and
// what is left is closed after a few seconds.
//
// Owned by its worker; destroyed from on_closed's notification at the end of a turn.
#pragma once

#include <algorithm>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "client_metrics.h"
#include "client_protocol.h"
#include "client_shares.h"
#include "cluster_finder.h"
#include "sluice/base/transitions.h"
#include "sluice/io/reactor.h"
#include "sluice/io/timer_wheel.h"
#include "sluice/net/connection.h"
#include "sluice/proxy/client_identity.h"
#include "sluice/proxy/proxy.h"
#include "sluice/proxy/resources.h"
#include "sluice/server/options.h"
#include "worker_cluster.h"

namespace sluice::server {

// What the clients are told whose certificate is not taken, whatever comes along.
std::string refusal_of(const proxy::ClientIdentity& client);

// Between the two GOAWAYs of a drain: a round trip and more (RFC 9113 section 6.8).
inline constexpr Duration goaway_gap = std::chrono::seconds(1);
inline Duration goaway_gap_within(Duration window) { return std::min(goaway_gap, window / 4); }

class ClientConnection final : public net::ConnectionHandler,
                               public SharedPlace,
                               public proxy::ConnectionHolding,
                               public WaitingClient,
                               private ClientProtocolOwner {
 public:
  using OnClosed = std::function<void(ClientConnection&)>;

  ClientConnection(net::Transport& transport, proxy::Resources& resources, ClientShares& shares,
                   const ClientOptions& options, metrics::Cells& cells,
                   const ClientMetrics& metrics, OnClosed on_closed);
  ~ClientConnection() override;

  // `clusters` outlives the connection. `listener`: the cluster whose listener has accepted it.
  void accept(int descriptor, ClusterFinder& clusters, std::optional<std::size_t> listener = {});

  // Our own stop, at any moment of its life: first a notice (GOAWAY), `gap` later the last word
  // (RFC 9113 section 6.8); closed when no request is left.
  void leave(Duration gap);
  bool is_of(std::size_t cluster) const {
    return cluster_ != nullptr && cluster_->number == cluster;
  }
  // By a listener of that cluster, and it has none yet.
  bool came_in_by(std::size_t cluster) const { return cluster_ == nullptr && listener_ == cluster; }
  // It carries a tunnel, whose end is not ours to choose until its time is over.
  bool tunnels() const { return protocol_ != nullptr && protocol_->tunnels(); }
  // What is left is told to go (GOAWAY, close_notify, FIN), never reset.
  void close_now();
  // Nothing is waited for.
  void terminate();
  // Its state and its requests, in lines for people.
  void describe(Outline& outline) const;

  // net::ConnectionHandler
  void on_established() override;
  void on_receive(Bytes plain) override;
  void on_turn() override;
  std::size_t on_collect(MutableBytes batch) override;
  void on_end(const Error& error) override;
  bool on_peer_ended(bool in_order) override;
  bool still_watched(bool quiet) override;
  void on_closed() override;

  // SharedPlace
  Instant resting_since() const override { return idle_since_; }
  void make_room(Duration within) override;

  // proxy::ConnectionHolding
  std::size_t held_bytes() const override { return connection_.held_bytes(); }
  std::size_t resting_bytes() const override;
  const proxy::ClientFacts& facts() const override { return facts_; }
  const proxy::Proxy* proxy() const override {
    return cluster_ == nullptr ? nullptr : &cluster_->proxy;
  }
  void end_for_room() override;

  // WaitingClient
  void cluster_known() override { connection_.go_on(); }

 private:
  enum class State : std::uint8_t { handshake, serving, leaving, closed };
  static constexpr Transitions<State, 4> transitions{{
      0,                                                         // handshake
      states(State::handshake),                                  // serving
      states(State::serving),                                    // leaving
      states(State::handshake, State::serving, State::leaving),  // closed
  }};

  // ClientProtocolOwner
  void output_ready() override { connection_.mark_dirty(); }
  void input_due() override;
  void may_switch() override { connection_.receive_in_pieces(); }
  void switched() override { speak(Protocol::tunnel); }
  void be_patient() override { connection_.watch_peer(options_.silence_timeout); }
  void requests_over() override;
  void proven() override;
  void request_begins() override;
  bool misdirected(std::string_view authority) const override;

  // net::ConnectionHandler: what it costs is charged to where it comes from, from now on. One from
  // where too many are ends.
  void on_caller_known() override;
  std::shared_ptr<const tls::ServerContext> choose_cluster(std::string_view server_name);
  ClientOrigin origin() const { return {connection_.peer(), listener_}; }
  bool take_address_share();
  bool take_identity_share();
  void handshake_failed(const Error& error);

  bool has_bad_neighbours();
  bool is_idle() const;
  void speak(Protocol protocol);
  void set_state(State state);
  void wrong_transition(State state);
  EndReason end_reason(const Error& error) const;
  void note_address();
  void establish_identity();
  void judge_anew();
  void begin_protocol();
  void begin_passing();
  bool passes_on() const { return speaks_ == Protocol::pass_through; }
  void note_movement();
  void rest_if_quiet();
  void begin_leaving();
  void say_last_word();
  void close_in_order();
  void close_within(Duration time);
  void conclude(std::string_view refusal);
  void end(std::string_view refusal);
  void give_up(const Error& why);
  void close_if_unused();
  void close_given_up();
  void log_end();
  void stop_timers();
  void deadline_passed();
  Instant now() { return connection_.transport().reactor().now(); }
  void set_deadline(Instant when) { connection_.transport().reactor().timers().set(timer_, when); }

  net::Connection connection_;
  proxy::Resources& resources_;
  ClusterFinder* clusters_ = nullptr;  // from accept() on
  std::optional<std::size_t> listener_;
  ServedCluster* cluster_ = nullptr;  // from its ClientHello on, and for ever
  std::uint64_t judged_under_ = 0;    // ServedCluster::trust
  ClientShares& shares_;
  const ClientOptions& options_;
  metrics::Cells& cells_;
  const ClientMetrics& metrics_;
  OnClosed on_closed_;
  State state_ = State::handshake;
  std::optional<Protocol> speaks_;            // what was agreed on
  std::unique_ptr<ClientProtocol> protocol_;  // from the end of the handshake on
  proxy::ClientFacts facts_;
  balance::ChargeLease address_share_;
  balance::ChargeLease identity_share_;
  bool makes_room_ = false;
  bool must_go_ = false;  // when its deadline passes, whatever the client does
  Instant idle_since_{};
  std::optional<Duration> leave_gap_;  // set from when it is to leave
  std::string given_up_;               // why, when a limit was exceeded
  std::string_view limit_;             // which
  io::Timer timer_;
  io::Timer last_word_;
};

}  // namespace sluice::server
