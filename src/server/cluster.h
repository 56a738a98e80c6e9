// SPDX-License-Identifier: GPL-3.0-or-later
// What all threads have of one cluster for as long as it is served, whatever is configured of it
// meanwhile: how loaded its backends are, what is counted, what is in force. Nothing in it is
// another cluster's. What each worker has of it is a WorkerCluster.
//
// Owned by whoever holds a ClusterTable or a WorkerCluster of it. Thread: any; each part says how
// (atomics, cells and padded lines, each with one writer, or constant), but for what is the control
// thread's.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>

#include "cluster_settings.h"
#include "pass_metrics.h"
#include "pass_targets.h"
#include "sluice/balance/load_board.h"
#include "sluice/observability/metrics.h"
#include "sluice/proxy/proxy.h"
#include "sluice/server/options.h"

namespace sluice::server {

// A backend of one of the clusters, by their numbers.
struct BackendId {
  std::size_t cluster = 0;
  std::size_t backend = 0;
  friend bool operator==(const BackendId&, const BackendId&) = default;
};

// Of a cluster that is used: one that nobody uses has no series.
struct ClusterMetrics {
  ClusterMetrics(std::string_view cluster, const PassTargets& targets)
      : registry(registry_options(cluster)), proxy(registry) {
    if (!targets.empty()) pass_through.emplace(registry, targets);
  }

  metrics::Registry registry;  // its series have the cluster's name as a label, if it has one
  proxy::ProxyMetrics proxy;
  // Of one whose connections are passed on.
  std::optional<PassThroughMetrics> pass_through;
};

class Cluster {
 public:
  // For so many workers.
  Cluster(std::shared_ptr<const ClusterSettings> settings, std::size_t workers);

  std::string_view name() const { return name_; }
  // Its connections go on untouched, to `targets`.
  bool passes_on() const { return !targets.empty(); }
  // For logs: the backend's own name, behind that of the cluster if it has one.
  std::string backend_name(const backend::Endpoint& backend) const;

  // Whether each backend has been asked once how it is. Before that nobody's request is sent to
  // one: whether it takes what we say of a client for what it is must be known. Said by the control
  // thread.
  bool known() const { return known_.load(std::memory_order_acquire); }
  void set_known() { known_.store(true, std::memory_order_release); }

  // Any thread; made when they are first asked for.
  ClusterMetrics& metrics();
  // Null when that was never.
  ClusterMetrics* metrics_if_used() const { return used_.load(std::memory_order_acquire); }

  // The control thread's: what is in force, and what comes after it. The settings may be the same
  // and the slots others.
  const std::shared_ptr<const ClusterVersion>& version() const { return version_; }
  const backend::Cluster& backends() const { return version_->backends; }
  // Where its API servers are, whoever says so; when they name others, follow_sources() is due.
  discovery::Sources& sources() { return sources_; }
  const discovery::Sources& sources() const { return sources_; }
  // Whether there is an API server, or a target, that can be used, as far as is known.
  bool usable() const {
    return passes_on() ? any_may_be_reached(targets) : backends().any_usable();
  }
  std::shared_ptr<const ClusterVersion> renew(std::shared_ptr<const ClusterSettings> settings);
  // With the endpoints that its sources name by now.
  std::shared_ptr<const ClusterVersion> follow_sources();
  // Where all others are to come, those that it had stay beside them for a while: nobody would be
  // there in between. Whether some do; whether one that has come could take over; and that none
  // stays any more, from the next version on.
  bool keeps_former() const { return keeps_former_; }
  bool has_successor() const;
  void part_with_former() {
    keeps_former_ = false;
    parts_ = true;
  }
  std::shared_ptr<const ClusterVersion> free_slot(std::size_t slot);
  std::shared_ptr<const ClusterVersion> forget_keys();

  const std::shared_ptr<balance::LoadBoard> board;
  // Others take another cluster of the same name.
  const PassTargets targets;

 private:
  std::shared_ptr<const ClusterVersion> take_over(ClusterVersion version);
  std::vector<backend::Endpoint> endpoints();

  const std::string name_;
  discovery::Sources sources_;
  bool keeps_former_ = false;
  bool parts_ = false;  // at the next version
  std::shared_ptr<const ClusterVersion> version_;
  std::atomic<bool> known_{false};
  std::mutex making_;
  std::unique_ptr<ClusterMetrics> metrics_;
  std::atomic<ClusterMetrics*> used_{nullptr};
};

}  // namespace sluice::server
