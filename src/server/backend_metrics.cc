// SPDX-License-Identifier: GPL-3.0-or-later
// The counters of connections to backends.
#include "backend_metrics.h"

#include <string>

namespace sluice::server {
namespace {

std::vector<metrics::Dimension> backend_and_pool(const backend::Cluster& cluster) {
  metrics::Dimension backends{"backend", {}};
  for (const auto& backend : cluster.backends) backends.values.push_back(backend->endpoint.name);
  return {backends, metrics::dimension_of<backend::PoolKind>("pool")};
}

metrics::CounterTable count(metrics::Registry& registry, const backend::Cluster& cluster,
                            std::string_view name, std::string_view help) {
  return registry.counters(name, help, backend_and_pool(cluster));
}

}  // namespace

BackendMetrics::BackendMetrics(metrics::Registry& r, const backend::Cluster& cluster)
    : connects(
          count(r, cluster, "sluice_backend_connects_total", "Connections opened to backends.")),
      connect_failures(count(r, cluster, "sluice_backend_connect_failures_total",
                             "Connections to backends that could not be opened.")),
      connections_lost(count(r, cluster, "sluice_backend_connections_lost_total",
                             "Backend connections that ended with requests on them.")),
      goaways(count(r, cluster, "sluice_backend_goaways_total", "GOAWAY frames from backends.")),
      streams_refused(count(r, cluster, "sluice_backend_streams_refused_total",
                            "Streams that a backend refused without executing them.")),
      ping_timeouts(count(r, cluster, "sluice_backend_ping_timeouts_total",
                          "Backend connections ended because a PING got no answer.")),
      retired(count(r, cluster, "sluice_backend_connections_retired_total",
                    "Draining backend connections whose watches were moved.")),
      upgrade_connects(
          count(r, cluster, "sluice_upgrade_connects_total",
                "Connections opened to backends for requests that switch protocols: exec, "
                "attach, port-forward.")),
      upgrade_connect_failures(count(r, cluster, "sluice_upgrade_connect_failures_total",
                                     "Such connections that could not be opened.")),
      upgrade_connections_lost(count(r, cluster, "sluice_upgrade_connections_lost_total",
                                     "Such connections that ended before their time.")) {
  for (const auto& backend : cluster.backends) {
    for (std::size_t k = 0; k < backend::pool_kinds; ++k) {
      const metrics::Labels labels{
          {"backend", backend->endpoint.name},
          {"pool", std::string(to_string(static_cast<backend::PoolKind>(k)))}};
      connections.push_back(r.gauge("sluice_backend_connections",
                                    "Connections to backends, draining ones included.", labels));
      upgrade_connections.push_back(
          r.gauge("sluice_upgrade_connections",
                  "Connections to backends for requests that switch protocols.", labels));
    }
  }
}

void BackendMetrics::publish_upgrades(metrics::Cells& cells, const backend::BackendSet& backends,
                                      std::size_t b, std::size_t k) const {
  const backend::UpgradePool* pool = backends.upgrades(b, static_cast<backend::PoolKind>(k));
  if (pool == nullptr) return;
  const backend::UpgradeCounters& counters = pool->counters();
  cells.publish(upgrade_connects.at(b, k), counters.connects);
  cells.publish(upgrade_connect_failures.at(b, k), counters.connect_failures);
  cells.publish(upgrade_connections_lost.at(b, k), counters.connections_lost);
  cells.set(upgrade_connections[b * backend::pool_kinds + k],
            static_cast<std::int64_t>(pool->connections()));
}

void BackendMetrics::publish(metrics::Cells& cells, backend::BackendSet& backends) const {
  for (std::size_t b = 0; b < backends.size(); ++b) {
    for (std::size_t k = 0; k < backend::pool_kinds; ++k) {
      const backend::ConnectionPool* pool = backends.pool(b, static_cast<backend::PoolKind>(k));
      if (pool == nullptr) continue;
      const backend::PoolCounters& counters = pool->counters();
      cells.publish(connects.at(b, k), counters.connects);
      cells.publish(connect_failures.at(b, k), counters.connect_failures);
      cells.publish(connections_lost.at(b, k), counters.connections_lost);
      cells.publish(goaways.at(b, k), counters.goaways);
      cells.publish(streams_refused.at(b, k), counters.refused_streams);
      cells.publish(ping_timeouts.at(b, k), counters.ping_timeouts);
      cells.publish(retired.at(b, k), counters.retired);
      cells.set(connections[b * backend::pool_kinds + k],
                static_cast<std::int64_t>(pool->connections()));
      publish_upgrades(cells, backends, b, k);
    }
  }
}

}  // namespace sluice::server
