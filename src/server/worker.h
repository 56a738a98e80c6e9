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
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "client_connection.h"
#include "client_shares.h"
#include "cluster_finder.h"
#include "handover.h"
#include "listening_sockets.h"
#include "outline.h"
#include "shared.h"
#include "sluice/base/random.h"
#include "sluice/http2/codec_memory.h"
#include "sluice/net/listener.h"
#include "sluice/observability/log_pace.h"
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

class Worker final : private proxy::ResourcesEvents, private ClusterFinder {
 public:
  // Keys and certificates of the only cluster may be unusable; the worker keeps none of them.
  // `reactor` outlives it.
  static Result<std::unique_ptr<Worker>> create(io::Reactor& reactor, std::size_t number,
                                                WorkerOptions options, const WorkerParts& parts,
                                                std::uint64_t seed);
  ~Worker() override;  // CHECKs stopped()

  // Accepts clients on a listening socket, which it takes over: of all clusters, or of the one
  // whose socket it is.
  void listen(WorkerSocket socket);

  // A client's connection that was accepted in the place of another worker, on a socket that is no
  // cluster's alone.
  void adopt(int descriptor);

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

  // What is served has changed. A cluster that leaves drains within these windows; for one that has
  // changed WorkerEvents is asked for what it takes to serve by it.
  void update(std::shared_ptr<const ClusterTable> table, Duration window, Duration tunnel_window);
  void renew(std::size_t cluster, ClusterRenewal renewal);
  // For clients that come, and what those that are there do next; what its memory was laid out by
  // stays.
  void update(const WorkerOptions& options);

  // The control thread has asked its backends how they are.
  void cluster_known(std::size_t cluster);
  // Another worker has learned it.
  void learn(std::size_t cluster, const proxy::TokenChange& change);
  void learn(std::size_t cluster, const proxy::OwnWrite& write);
  // What is known here of proven tokens, of each cluster that is served and used.
  std::vector<ClusterProofs> proven_tokens() const;
  // Whether the number is that of the cluster that is served by this name.
  bool is_number_of(std::size_t number, std::string_view name) const;
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
  void compare(std::size_t number);
  void let_go_of_backends(std::size_t number);
  void let_go_of_unused_clusters();
  void go_on_draining_clusters();
  void for_each_client_of(const WorkerCluster& cluster,
                          const std::function<void(ClientConnection&)>& what);
  void let_go_of(std::size_t number);
  void for_each_cluster(const std::function<void(WorkerCluster&)>& what);
  bool serves(std::size_t cluster) const;
  bool admits(std::size_t cluster, const ClientOrigin& origin);
  void close_entrance(std::size_t number);
  std::optional<std::size_t> heir_of(std::size_t number) const;
  bool entered(std::size_t number) const;
  void say_left(std::size_t number);
  void accepted(int descriptor, std::optional<std::size_t> cluster);
  void drain_over();
  void tunnels_over();
  void end_all_but_tunnels();
  bool listeners_stopped() const;
  bool all_gone() const;
  void heartbeat();
  void make_room();

  // ClusterFinder
  bool may_call(const ClientOrigin& origin) override;
  ServedCluster* find(const ClientOrigin& origin, std::string_view server_name) override;

  // proxy::ResourcesEvents
  proxy::ConnectionBytes connection_bytes() const override;
  std::vector<proxy::ConnectionHolding*> holding_connections() override;

  io::Reactor& reactor_;
  const std::size_t number_;
  http2::CodecMemory codec_memory_;
  WorkerOptions options_;
  const WorkerParts parts_;
  std::shared_ptr<const ClusterTable> table_;
  Random random_;
  State state_ = State::serving;
  metrics::Cells cells_;
  net::Transport transport_;
  proxy::Resources resources_;
  std::vector<std::unique_ptr<WorkerCluster>> clusters_;  // by number; null: not used here
  ClientShares shares_;
  std::vector<std::unique_ptr<net::Listener>> listeners_;
  std::vector<net::Listener*> in_use_;  // of them, those on which the process before may accept
  // Of them, those of one cluster.
  struct Entrance {
    explicit Entrance(std::size_t its_cluster) : cluster(its_cluster) {}
    std::size_t cluster;
    net::Listener* listener = nullptr;
  };
  std::vector<std::unique_ptr<Entrance>> entrances_;
  log::Pace told_not_allowed_;
  std::set<std::size_t> to_be_left_;  // clusters of which nothing else is left
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
