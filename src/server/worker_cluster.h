// SPDX-License-Identifier: GPL-3.0-or-later
// What one worker has of one cluster: what its clients are shown and judged by (TLS), the pools to
// its backends, its exchanges and what its tokens have proven. Two clusters of a worker share what
// is the worker's (reactor, transport, bytes, CPU time) and nothing else.
//
// Owned by Worker, and destroyed when no connection of its clients is left and it is terminated().
// Thread: the worker's.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "cluster.h"
#include "cluster_names.h"
#include "cluster_settings.h"
#include "outline.h"
#include "pass_through.h"
#include "sluice/backend/backend_set.h"
#include "sluice/base/list.h"
#include "sluice/http2/codec_memory.h"
#include "sluice/net/transport.h"
#include "sluice/proxy/proxy.h"
#include "sluice/tls/context.h"

namespace sluice::server {

// Asks the control thread, from a worker's thread.
class WorkerEvents {
 public:
  virtual ~WorkerEvents() = default;
  // A worker has a first client of it, or lets go of it. Cluster::known() is told, now or later, to
  // who begins to use it.
  virtual void cluster_used(std::size_t worker, std::size_t cluster, bool used) = 0;
  virtual void probe_soon(BackendId backend) = 0;
  virtual void backend_silent(BackendId backend) = 0;  // it answers no PING
  virtual void identity_refused(BackendId backend) = 0;
  // What one worker has learned of a token of this cluster, for the others.
  virtual void token_changed(std::size_t worker, std::size_t cluster,
                             const proxy::TokenChange& change) = 0;
  // What a client has written through one of its workers, for the others.
  virtual void client_wrote(std::size_t worker, std::size_t cluster,
                            const proxy::OwnWrite& write) = 0;
  // A worker serves it by `before`, and there is something newer: Worker::renew() brings it.
  virtual void cluster_outdated(std::size_t worker, std::size_t cluster,
                                std::shared_ptr<const ClusterSettings> before) = 0;
  // It has taken a renewal over.
  virtual void cluster_renewed(std::size_t worker) = 0;
  // Nothing of a cluster that leaves is left in this worker; or of a backend that leaves, as of
  // this revision.
  virtual void cluster_left(std::size_t worker, std::size_t cluster,
                            std::shared_ptr<const Cluster> which) = 0;
  virtual void backend_left(std::size_t worker, BackendId backend, std::uint64_t revision) = 0;
};

struct WaitingTag;
// One whose ClientHello has come.
class WaitingClient : public ListNode<WaitingTag> {
 public:
  virtual ~WaitingClient() = default;
  virtual void cluster_known() = 0;
};

// What a client's connection sees of its cluster.
struct ServedCluster {
  std::shared_ptr<const tls::ServerContext> tls;  // null: connections are passed on
  proxy::Proxy& proxy;
  const ClusterNames* names = nullptr;  // null: there is no other cluster
  std::size_t number = 0;
  std::size_t clients = 0;  // that are its own
  // Grows when the authorities change by which their certificates are judged.
  std::uint64_t trust = 0;
  // Of them, those whose handshakes wait until it is known how its backends are; null: none has to.
  List<WaitingClient, WaitingTag>* waiting = nullptr;
  PassThrough* pass_through = nullptr;  // where they go; null: they are served here
};

// All outlive the object.
struct WorkerClusterParts {
  net::Transport& transport;
  proxy::Resources& resources;
  http2::CodecMemory& codec_memory;
  observability::AccessLog* access_log;  // may be null
  WorkerEvents& events;
  std::size_t worker;
  std::shared_ptr<Cluster> cluster;
  std::size_t number;         // the cluster's
  const ClusterNames* names;  // null: there is no other cluster
  proxy::HashKey key;         // the process's
};

class WorkerCluster final : private proxy::ProxyEvents {
 public:
  // Keys and certificates may be unusable.
  static Result<std::unique_ptr<WorkerCluster>> create(
      const WorkerClusterParts& parts, std::shared_ptr<const ClusterVersion> version,
      std::uint64_t seed);

  ServedCluster& served() { return served_; }
  std::size_t number() const { return parts_.number; }
  proxy::Proxy& proxy() { return proxy_; }
  backend::BackendSet& backends() { return backends_; }

  // Its backends have been asked: clients that wait go on.
  void known();

  const ClusterVersion& version() const { return *version_; }
  // Serves by this from now on: clients that come, requests that begin, connections that are
  // opened.
  void renew(ClusterRenewal renewal);
  // Those that leave, and those that have been seen to take newer TLS. To be called now and then.
  void look_after_backends();

  // It is served no more: its requests end within these windows, as in a drain of the process. The
  // caller tells its clients to go.
  void drain(Duration window, Duration tunnel_window);
  bool drains() const { return drain_.has_value(); }
  bool drain_over() const;    // only tunnels may be left
  bool tunnels_over() const;  // and those were told to end
  // To be called now and then.
  void go_on_draining();

  // Writes the counters that layers keep for themselves to the cells.
  void publish();
  void describe(Outline& outline);

  // It has clients, or requests or bytes of theirs that are still on their way.
  bool in_use() const;
  // Nobody has been its client for a while, and nothing of it is left at its backends: it may go.
  // To be asked now and then.
  bool unused();

  // The window of tunnels is over, and of what is passed on: they end in order.
  void end_tunnels();
  void terminate();
  bool terminated() const;

 private:
  // What a worker counts of one backend.
  struct Counted {
    std::shared_ptr<BackendSeries> series;
    const BackendMetrics* metrics = nullptr;
    std::unique_ptr<metrics::Cells> cells;
  };
  struct Drain {
    Instant over{};
    Instant tunnels_over{};
    bool cut = false;
    bool tunnels_told = false;
  };

  WorkerCluster(const WorkerClusterParts& parts, std::shared_ptr<const ClusterVersion> version,
                std::shared_ptr<const tls::ServerContext> server_context,
                const backend::BackendContexts& backend_contexts,
                std::vector<backend::BackendContexts> earlier, std::uint64_t seed);
  static backend::BackendSetOptions set_options(const WorkerClusterParts& parts,
                                                const ClusterVersion& version);
  void count_backends();
  Instant now() const { return parts_.transport.reactor().now(); }
  BackendId id(std::size_t backend) const { return {parts_.number, backend}; }
  void pool_event(std::size_t backend, backend::PoolKind kind, backend::PoolEvent event,
                  const std::string& text);

  // proxy::ProxyEvents
  void on_token_change(const proxy::TokenChange& change) override {
    parts_.events.token_changed(parts_.worker, parts_.number, change);
  }
  void on_own_write(const proxy::OwnWrite& write) override {
    parts_.events.client_wrote(parts_.worker, parts_.number, write);
  }
  void on_sent(std::size_t backend, kubernetes::RequestClass request_class) override;
  void on_identity_refused(std::size_t backend) override;
  void on_drain_answer(std::size_t backend) override;

  const WorkerClusterParts parts_;
  std::shared_ptr<const ClusterVersion> version_;
  const ClusterMetrics& metrics_;
  metrics::Cells cells_;
  std::vector<Counted> counted_;  // by slot
  backend::BackendContexts contexts_;
  backend::BackendSet backends_;
  proxy::Proxy proxy_;
  std::optional<PassThrough> pass_through_;
  List<WaitingClient, WaitingTag> waiting_;
  ServedCluster served_;
  std::optional<Instant> unused_since_;
  std::optional<Drain> drain_;
};

}  // namespace sluice::server
