// SPDX-License-Identifier: GPL-3.0-or-later
// What all threads have of one cluster: how its backends are, how loaded, what is counted of them.
// Nothing in it is another cluster's. What each worker has of it is a WorkerCluster.
//
// Owned by Shared, outlives all threads' use of it. Thread: any; each part says how (atomics, cells
// and padded lines, each with one writer, or constant).
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <string_view>

#include "backend_metrics.h"
#include "pass_metrics.h"
#include "pass_targets.h"
#include "sluice/backend/backend_set.h"
#include "sluice/balance/load_board.h"
#include "sluice/kubernetes/identity_fields.h"
#include "sluice/observability/metrics.h"
#include "sluice/proxy/proxy.h"
#include "sluice/server/options.h"

namespace sluice::server {

// A backend of one of the clusters, by their places in Shared.
struct BackendId {
  std::size_t cluster = 0;
  std::size_t backend = 0;
  friend bool operator==(const BackendId&, const BackendId&) = default;
};

class Cluster;

// Of a cluster that is used: one that nobody uses has no series.
struct ClusterMetrics {
  explicit ClusterMetrics(const Cluster& cluster);

  metrics::Registry registry;  // its series have the cluster's name as a label, if it has one
  proxy::ProxyMetrics proxy;
  BackendMetrics backends;
  std::optional<PassThroughMetrics> pass_through;  // of one whose connections are passed on

 private:
  void register_backends(const Cluster& cluster);
};

class Cluster {
 public:
  // Header names may be unusable. `options` outlive the object, for so many workers.
  static Result<std::unique_ptr<Cluster>> create(const ClusterOptions& options,
                                                 std::size_t workers);

  const ClusterOptions& options() const { return options_; }
  std::string_view name() const { return options_.name; }
  bool has_backends() const { return !options_.backends.empty(); }
  // Its connections go on untouched, to `targets`.
  bool passes_on() const { return !targets.empty(); }
  // There are no API servers for now, and that is no failure.
  bool hibernates() const { return !has_backends() && !passes_on(); }
  // Whether there is an API server, or a target, that can be used, as far as is known.
  bool usable() const { return passes_on() ? any_may_be_reached(targets) : status.any_usable(); }
  // Whether it serves who calls from there.
  bool admits(const io::Address& client) const {
    return options_.allowed_networks.empty() || io::any_contains(options_.allowed_networks, client);
  }
  // For logs: the backend's own name, behind that of the cluster if it has one.
  std::string backend_name(std::size_t backend) const;

  // Whether each backend has been asked once how it is. Before that nobody's request is sent to
  // one: whether it takes what we say of a client for what it is must be known. Said by the control
  // thread.
  bool known() const { return known_.load(std::memory_order_acquire); }
  void set_known() { known_.store(true, std::memory_order_release); }

  // Any thread; made when they are first asked for.
  ClusterMetrics& metrics();
  // Null when that was never.
  ClusterMetrics* metrics_if_used() const { return used_.load(std::memory_order_acquire); }

  backend::Cluster status;
  balance::LoadBoard board;
  const kubernetes::IdentityFields identity_fields;
  const PassTargets targets;

 private:
  Cluster(const ClusterOptions& options, std::size_t workers, kubernetes::IdentityFields names);

  const ClusterOptions& options_;
  std::atomic<bool> known_{false};
  std::mutex making_;
  std::unique_ptr<ClusterMetrics> metrics_;
  std::atomic<ClusterMetrics*> used_{nullptr};
};

}  // namespace sluice::server
