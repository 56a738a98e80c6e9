// SPDX-License-Identifier: GPL-3.0-or-later
// What workers count of the connections to a cluster's backends.
#pragma once

#include <vector>

#include "sluice/backend/backend_set.h"
#include "sluice/observability/metrics.h"

namespace sluice::server {

struct BackendMetrics {
  BackendMetrics(metrics::Registry& registry, const backend::Cluster& cluster);
  metrics::CounterTable connects;  // backend × pool
  metrics::CounterTable connect_failures;
  metrics::CounterTable connections_lost;
  metrics::CounterTable goaways;
  metrics::CounterTable streams_refused;
  metrics::CounterTable ping_timeouts;
  metrics::CounterTable retired;
  metrics::CounterTable upgrade_connects;
  metrics::CounterTable upgrade_connect_failures;
  metrics::CounterTable upgrade_connections_lost;
  std::vector<metrics::GaugeId> connections;          // backend × pool, flat
  std::vector<metrics::GaugeId> upgrade_connections;  // the same

  // Takes over what the pools have counted by themselves. On the thread of `cells`.
  void publish(metrics::Cells& cells, backend::BackendSet& backends) const;

 private:
  void publish_upgrades(metrics::Cells& cells, const backend::BackendSet& backends, std::size_t b,
                        std::size_t k) const;
};

}  // namespace sluice::server
