// SPDX-License-Identifier: GPL-3.0-or-later
// The common parts, and what is counted of them.
#include "shared.h"

#include <utility>

#include "sluice/observability/log.h"

namespace sluice::server {

Result<std::unique_ptr<Shared>> Shared::create(const ServerOptions& options) {
  Clusters clusters;
  for (const ClusterOptions& each : options.clusters) {
    auto cluster = Cluster::create(each, options.cpus.size());
    if (!cluster) return std::unexpected(cluster.error());
    clusters.push_back(std::move(*cluster));
  }
  std::unique_ptr<observability::AccessLog> log;
  if (!options.access_log.empty()) {
    auto opened = observability::AccessLog::open(
        {.path = options.access_log, .workers = options.cpus.size()});
    if (!opened) return std::unexpected(opened.error());
    log = std::move(*opened);
  }
  return std::unique_ptr<Shared>(new Shared(options, std::move(clusters), std::move(log)));
}

Shared::Shared(const ServerOptions& options, Clusters its_clusters,
               std::unique_ptr<observability::AccessLog> log)
    : clusters(std::move(its_clusters)),
      names(options),
      access_log(std::move(log)),
      admission(options.client_connections_max),
      resources_metrics(registry),
      client_metrics(registry),
      worker_metrics(registry) {
  register_process(options);
  register_logs();
  if (only_one()) clusters[0]->metrics();
}

std::size_t Shared::backends() const {
  std::size_t backends = 0;
  for (const auto& cluster : clusters) backends += cluster->status.backends.size();
  return backends;
}

std::string Shared::render_metrics() const {
  std::vector<const metrics::Registry*> registries{&registry};
  for (const auto& cluster : clusters) {
    if (const ClusterMetrics* used = cluster->metrics_if_used()) {
      registries.push_back(&used->registry);
    }
  }
  return metrics::Registry::render(registries);
}

void Shared::register_process(const ServerOptions& options) {
  for (const ClusterOptions& cluster : options.clusters) {
    for (const NamedCertificate& certificate : cluster.certificates) {
      const auto not_after = static_cast<double>(certificate.not_after.time_since_epoch().count());
      metrics::Labels labels{{"use", certificate.use}};
      if (!cluster.name.empty()) labels.insert(labels.begin(), {"cluster", cluster.name});
      registry.gauge_function(
          "sluice_certificate_not_after_seconds",
          "When the certificate ends, in seconds since 1970.", [not_after] { return not_after; },
          std::move(labels));
    }
  }
  registry.gauge_function("sluice_build_info", "Always 1; the version is a label.",
                          [] { return 1.0; }, {{"version", options.version}});
}

void Shared::register_logs() {
  if (access_log) {
    registry.counter_function("sluice_access_log_dropped_total",
                              "Access log records dropped because the log could not keep up.",
                              [this] { return static_cast<double>(access_log->dropped()); });
    registry.counter_function(
        "sluice_access_log_lost_total",
        "Access log records that could not be written: no space, a closed pipe.",
        [this] { return static_cast<double>(access_log->lost()); });
  }
  registry.counter_function("sluice_log_dropped_total", "Log lines dropped.",
                            [] { return static_cast<double>(log::counters().dropped); });
  registry.counter_function("sluice_log_lost_total",
                            "Log lines that could not be written: no space, a closed pipe.",
                            [] { return static_cast<double>(log::counters().lost); });
}

}  // namespace sluice::server
