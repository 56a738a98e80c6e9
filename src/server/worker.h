// SPDX-License-Identifier: GPL-3.0-or-later
// One of everything on one reactor: listeners, client connections, and what it has of each cluster
// (worker_cluster.h). Workers share nothing mutable on the data path; what they are told comes as
// calls on their thread, what they know leaves them through metric cells and load boards.
//
//   serving ──drain()──▶ draining ──▶ stopping ──▶ stopped
//
// Thread: the reactor's, which the caller owns and turns; several workers may live on one thread.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "client_connection.h"
#include "client_shares.h"
#include "listening_sockets.h"
#include "outline.h"
#include "shared.h"
#include "sluice/base/random.h"
#include "sluice/http2/codec_memory.h"
#include "sluice/net/listener.h"
#include "sluice/proxy/resources.h"
#include "sluice/server/options.h"
#include "worker_cluster.h"

namespace sluice::server {

// What a worker is given beside its options; outlives it.
struct WorkerParts {
  Shared& shared;
  WorkerEvents& events;
  proxy::HashKey key;  // the same for all workers, and nobody's guess
};

class Worker final : private proxy::ResourcesEvents {
 public:
  // Keys and certificates of the only cluster may be unusable; the worker keeps none of them.
  // `reactor` outlives it.
  static Result<std::unique_ptr<Worker>> create(io::Reactor& reactor, std::size_t number,
                                                WorkerOptions options, const WorkerParts& parts,
                                                std::uint64_t seed);
  ~Worker() override;  // CHECKs stopped()

  // Accepts clients on a listening socket, which it takes over.
  void listen(WorkerSocket socket);

  // Stops accepting (backlogs are emptied first), tells clients to go, ends watches spread over
  // `window`, and everything else but tunnels at the latest when it is over; those have a window of
  // their own. Stops when both are over.
  void drain(Duration window, Duration tunnel_window);
  // Another process has taken over its listening sockets: it accepts on them no more, and leaves
  // what is in their backlogs.
  void leave_backlogs();
  // The process that they were taken over from is gone.
  void own_sockets();
  // Ends at once; stopped() when all operations have come back.
  void stop();
  bool stopped() const { return state_ == State::stopping && all_gone(); }

  // The control thread has asked its backends how they are.
  void cluster_known(std::size_t cluster);
  // Another worker has learned it.
  void learn(std::size_t cluster, const proxy::TokenChange& change);
  // What is known here of proven tokens, by cluster.
  std::vector<std::vector<proxy::TokenChange>> proven_tokens() const;
  std::size_t number() const { return number_; }
  // A probe of this backend failed: its connections must give a sign of life.
  void check_backend(BackendId backend);
  // What it is at, in lines for people: its state, its connections, its requests. No more than so
  // many bytes, and no secrets.
  std::string describe(std::size_t bytes_max);
  // Writes the counters that layers keep for themselves to the cells; it does so twice a second.
  void publish();

 private:
  enum class State : std::uint8_t { serving, draining, stopping };
  static std::string_view to_string(State state);

  Worker(io::Reactor& reactor, std::size_t number, WorkerOptions options, const WorkerParts& parts,
         std::uint64_t seed);
  WorkerOptions with_memory(WorkerOptions options);
  Result<WorkerCluster*> make_cluster(std::size_t number);
  void let_go_of_unused_clusters();
  void for_each_cluster(const std::function<void(WorkerCluster&)>& what);
  ServedCluster* find_cluster(std::string_view server_name);
  void accepted(int descriptor);
  void drain_over();
  void tunnels_over();
  void end_all_but_tunnels();
  bool listeners_stopped() const;
  bool all_gone() const;
  void heartbeat();
  void make_room();

  // proxy::ResourcesEvents
  proxy::ConnectionBytes connection_bytes() const override;
  std::vector<proxy::ConnectionHolding*> holding_connections() override;

  io::Reactor& reactor_;
  const std::size_t number_;
  http2::CodecMemory codec_memory_;
  const WorkerOptions options_;
  const WorkerParts parts_;
  Random random_;
  State state_ = State::serving;
  metrics::Cells cells_;
  net::Transport transport_;
  proxy::Resources resources_;
  std::vector<std::unique_ptr<WorkerCluster>> clusters_;  // by number; null: not used here
  const ClientConnection::FindCluster find_cluster_;
  ClientShares shares_;
  std::vector<std::unique_ptr<net::Listener>> listeners_;
  std::vector<net::Listener*> in_use_;  // of them, those on which the process before may accept
  std::unordered_map<ClientConnection*, std::unique_ptr<ClientConnection>> clients_;
  io::Timer heartbeat_;
  io::Timer drain_end_;
  io::Timer tunnels_end_;
  io::Timer make_room_;
  Duration drain_gap_{};                // between the two GOAWAYs
  std::optional<Instant> watches_end_;  // while it drains
  bool drain_over_ = false;             // only tunnels are left
  bool tunnels_over_ = false;           // and those were told to end
  Instant tunnels_ended_at_{};
};

}  // namespace sluice::server
