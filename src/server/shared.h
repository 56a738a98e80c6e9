// SPDX-License-Identifier: GPL-3.0-or-later
// What the workers and the control thread have in common; outlives them all. Each part says which
// threads may use it: atomics, cells and padded lines, each with one writer, or constant.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "client_metrics.h"
#include "cluster.h"
#include "cluster_names.h"
#include "sluice/balance/charge_table.h"
#include "sluice/net/listener.h"
#include "sluice/observability/access_log.h"
#include "sluice/observability/metrics.h"
#include "sluice/proxy/resources.h"
#include "sluice/server/options.h"
#include "worker_metrics.h"

namespace sluice::server {

struct Shared {
  using Clusters = std::vector<std::unique_ptr<Cluster>>;

  // Header names may be unusable, the access log may not be writable. `options` outlive the object.
  static Result<std::unique_ptr<Shared>> create(const ServerOptions& options);

  // The only cluster is made where it is used before anybody asks for it, and has all of its series
  // from the start.
  bool only_one() const { return clusters.size() == 1; }
  // Else it is the one of a process that has but one, and cannot be told from that.
  bool clusters_have_names() const { return !only_one() || !clusters[0]->name().empty(); }
  std::size_t backends() const;
  // All series of all clusters that are used.
  std::string render_metrics() const;

  const Clusters clusters;
  const ClusterNames names;
  std::unique_ptr<observability::AccessLog> access_log;  // null: none
  net::AdmissionBudget admission;
  balance::ChargeTable charges;  // of clients, by ClientKeys
  metrics::Registry registry;    // of what belongs to no cluster
  proxy::ResourcesMetrics resources_metrics;
  ClientMetrics client_metrics;
  WorkerMetrics worker_metrics;

 private:
  Shared(const ServerOptions& options, Clusters its_clusters,
         std::unique_ptr<observability::AccessLog> log);
  void register_process(const ServerOptions& options);
  void register_logs();
};

}  // namespace sluice::server
