// SPDX-License-Identifier: GPL-3.0-or-later
// What the workers and the control thread have in common; outlives them all. Each part says which
// threads may use it: atomics, cells and padded lines, each with one writer, or constant.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "client_metrics.h"
#include "cluster_table.h"
#include "sluice/balance/charge_table.h"
#include "sluice/net/listener.h"
#include "sluice/observability/access_log.h"
#include "sluice/observability/metrics.h"
#include "sluice/proxy/resources.h"
#include "sluice/server/options.h"
#include "worker_metrics.h"

namespace sluice::server {

struct Shared {
  // Header names may be unusable, the access log may not be writable.
  static Result<std::unique_ptr<Shared>> create(const ServerOptions& options);

  // The only cluster, without a name, is made where it is used before anybody asks for it, and has
  // all of its series from the start. Of clusters with names there may be any number at any time.
  const bool alone;

  // The control thread's. Workers are given theirs.
  std::shared_ptr<const ClusterTable> table;
  std::vector<BrokenCluster> broken;        // clusters
  std::vector<std::string> reserved_names;  // for them
  std::vector<std::string> mistakes;  // of the process's own configuration, at the last reload
  std::uint64_t reloads = 0;          // that were taken over by all workers
  std::uint64_t refused_reloads = 0;  // because of mistakes of the process's own
  // Those that are served.
  std::vector<Cluster*> clusters() const;
  Cluster& cluster(std::size_t number) const { return *table->entries.at(number).cluster; }
  std::size_t backends() const;
  // All series of all clusters that are used.
  std::string render_metrics() const;

  std::unique_ptr<observability::AccessLog> access_log;  // null: none
  net::AdmissionBudget admission;
  balance::ChargeTable charges;  // of clients, by ClientKeys
  metrics::Registry registry;    // of what belongs to no cluster
  proxy::ResourcesMetrics resources_metrics;
  ClientMetrics client_metrics;
  WorkerMetrics worker_metrics;

 private:
  Shared(const ServerOptions& options, std::shared_ptr<const ClusterTable> its_table,
         std::unique_ptr<observability::AccessLog> log);
  void register_reloads();
  void register_logs();
};

}  // namespace sluice::server
