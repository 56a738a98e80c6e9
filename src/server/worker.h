// SPDX-License-Identifier: GPL-3.0-or-later
// One of everything on one reactor: listeners, client connections, exchanges and backend pools.
// Workers share nothing mutable on the data path; what they are told comes as calls on their
// thread, what they know leaves them through metric cells and the load board.
//
//   serving ──drain()──▶ draining ──▶ stopping ──▶ stopped
//
// Thread: the reactor's, which the caller owns and turns; several workers may live on one thread.
#pragma once

#include <array>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "client_connection.h"
#include "client_shares.h"
#include "outline.h"
#include "shared.h"
#include "sluice/backend/backend_set.h"
#include "sluice/base/random.h"
#include "sluice/http2/codec_memory.h"
#include "sluice/net/listener.h"
#include "sluice/proxy/proxy.h"
#include "sluice/server/options.h"
#include "sluice/tls/context.h"

namespace sluice::server {

// Asks the control thread, from a worker's thread.
class WorkerEvents {
 public:
  virtual ~WorkerEvents() = default;
  virtual void probe_soon(std::size_t backend) = 0;
  virtual void backend_silent(std::size_t backend) = 0;  // it answers no PING
  virtual void identity_refused(std::size_t backend) = 0;
  // What one worker has learned of a token, for the others.
  virtual void token_changed(std::size_t worker, const proxy::TokenChange& change) = 0;
};

// What a worker is given beside its options; outlives it.
struct WorkerParts {
  Shared& shared;
  WorkerEvents& events;
  std::array<std::uint64_t, 2> token_key;  // the same for all workers, and nobody's guess
};

class Worker final : private proxy::ProxyEvents {
 public:
  // Keys and certificates may be unusable; the worker keeps none of them. `reactor` outlives it.
  static Result<std::unique_ptr<Worker>> create(io::Reactor& reactor, std::size_t number,
                                                WorkerOptions options, const WorkerParts& parts,
                                                std::uint64_t seed);
  ~Worker() override;  // CHECKs stopped()

  // Accepts clients on a listening descriptor, which it takes over.
  void listen(int descriptor);

  // Stops accepting (backlogs are emptied first), tells clients to go, ends watches spread over
  // `window`, and everything else but tunnels at the latest when it is over; those have a window of
  // their own. Stops when both are over.
  void drain(Duration window, Duration tunnel_window);
  // Ends at once; stopped() when all operations have come back.
  void stop();
  bool stopped() const { return state_ == State::stopping && all_gone(); }

  // Another worker has learned it.
  void learn(const proxy::TokenChange& change) { proxy_.learn(change); }
  std::size_t number() const { return number_; }
  // A probe of this backend failed: its connections must give a sign of life.
  void check_backend(std::size_t backend) { backends_.check(backend); }
  // What it is at, in lines for people: its state, its connections, its requests. No more than so
  // many bytes, and no secrets.
  std::string describe(std::size_t bytes_max);
  // Writes the counters that layers keep for themselves to the cells; it does so twice a second.
  void publish();

 private:
  enum class State : std::uint8_t { serving, draining, stopping };
  static std::string_view to_string(State state);

  Worker(io::Reactor& reactor, std::size_t number, WorkerOptions options, const WorkerParts& parts,
         std::shared_ptr<const tls::ServerContext> server_context,
         const backend::BackendContexts& backend_contexts, std::uint64_t seed);
  WorkerOptions with_memory(WorkerOptions options);
  void accepted(int descriptor);
  void drain_over();
  void tunnels_over();
  void end_all_but_tunnels();
  bool listeners_stopped() const;
  bool all_gone() const;
  void heartbeat();
  void make_room();
  void describe_backends(Outline& outline);
  void pool_event(std::size_t backend, backend::PoolKind kind, backend::PoolEvent event,
                  const std::string& text);

  proxy::ConnectionBytes connection_bytes() const override;
  std::vector<proxy::ConnectionHolding*> holding_connections() override;
  void on_token_change(const proxy::TokenChange& change) override {
    parts_.events.token_changed(number_, change);
  }
  void on_identity_refused(std::size_t backend) override;
  void on_drain_answer(std::size_t backend) override;

  io::Reactor& reactor_;
  const std::size_t number_;
  http2::CodecMemory codec_memory_;
  const WorkerOptions options_;
  const WorkerParts parts_;
  Random random_;
  State state_ = State::serving;
  metrics::Cells cells_;
  std::shared_ptr<const tls::ServerContext> server_context_;
  net::Transport transport_;
  backend::BackendSet backends_;
  proxy::Proxy proxy_;
  ClientShares shares_;
  std::vector<std::unique_ptr<net::Listener>> listeners_;
  std::unordered_map<ClientConnection*, std::unique_ptr<ClientConnection>> clients_;
  io::Timer heartbeat_;
  io::Timer drain_end_;
  io::Timer tunnels_end_;
  io::Timer make_room_;
  Duration drain_gap_{};       // between the two GOAWAYs
  bool drain_over_ = false;    // only tunnels are left
  bool tunnels_over_ = false;  // and those were told to end
  Instant tunnels_ended_at_{};
};

}  // namespace sluice::server
