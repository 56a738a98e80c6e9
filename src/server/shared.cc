// SPDX-License-Identifier: GPL-3.0-or-later
// The common parts, and what is counted of them.
#include "shared.h"

#include <string_view>
#include <unordered_set>
#include <utility>

#include "sluice/observability/log.h"

namespace sluice::server {

Result<std::unique_ptr<Shared>> Shared::create(const ServerOptions& options) {
  auto table = std::make_shared<ClusterTable>();
  table->names = ClusterNames(options);
  for (const ClusterOptions& each : options.clusters) {
    auto settings = ClusterSettings::create(each);
    if (!settings) return std::unexpected(settings.error());
    auto cluster = std::make_shared<Cluster>(std::move(*settings), options.cpus.size());
    auto version = cluster->version();
    table->entries.push_back({std::move(cluster), std::move(version)});
  }
  std::unique_ptr<observability::AccessLog> log;
  if (!options.access_log.empty()) {
    auto opened = observability::AccessLog::open(
        {.path = options.access_log, .workers = options.cpus.size()});
    if (!opened) return std::unexpected(opened.error());
    log = std::move(*opened);
  }
  return std::unique_ptr<Shared>(new Shared(options, std::move(table), std::move(log)));
}

Shared::Shared(const ServerOptions& options, std::shared_ptr<const ClusterTable> its_table,
               std::unique_ptr<observability::AccessLog> its_log)
    : alone(options.clusters.size() == 1 && options.clusters[0].name.empty()),
      table(std::move(its_table)),
      broken(options.broken),
      reserved_names(options.reserved_names),
      access_log(std::move(its_log)),
      admission(options.client_connections_max),
      resources_metrics(registry),
      client_metrics(registry),
      worker_metrics(registry) {
  registry.gauge_function("sluice_build_info", "Always 1; the version is a label.",
                          [] { return 1.0; }, {{"version", options.version}});
  register_reloads();
  register_logs();
  if (!alone) return;
  cluster(0).metrics();
  for (const auto& series : cluster(0).version()->series) series->metrics();
}

std::vector<Cluster*> Shared::clusters() const {
  std::vector<Cluster*> served;
  for (const ClusterTable::Entry& entry : table->entries) {
    if (entry.cluster != nullptr && !entry.leaving) served.push_back(entry.cluster.get());
  }
  return served;
}

std::size_t Shared::backends() const {
  std::size_t backends = 0;
  for (const Cluster* cluster : clusters()) backends += cluster->backends().serving();
  return backends;
}

namespace {

using Registries = std::vector<std::unique_ptr<metrics::Registry>>;

// What is so now, and may be otherwise at the next scrape.
metrics::Registry& add_registry(Registries& registries, std::string_view cluster) {
  metrics::RegistryOptions options;
  if (!cluster.empty()) options.labels = {{"cluster", std::string(cluster)}};
  return *registries.emplace_back(std::make_unique<metrics::Registry>(std::move(options)));
}

void add_errors(metrics::Registry& registry, std::size_t mistakes) {
  registry.gauge_function(
      "sluice_config_errors",
      "Mistakes in the configuration: of the process, or of one cluster. What was right before "
      "serves on.",
      [mistakes] { return static_cast<double>(mistakes); });
}

void add_certificates(metrics::Registry& registry, const ClusterOptions& cluster) {
  for (const NamedCertificate& certificate : cluster.certificates) {
    const auto not_after = static_cast<double>(certificate.not_after.time_since_epoch().count());
    registry.gauge_function("sluice_certificate_not_after_seconds",
                            "When the certificate ends, in seconds since 1970.",
                            [not_after] { return not_after; }, {{"use", certificate.use}});
  }
}

void add_sources(metrics::Registry& registry, const discovery::Sources& sources) {
  for (const discovery::SourceStatus& source : sources.status()) {
    const metrics::Labels labels = {{"kind", std::string(to_string(source.kind))},
                                    {"name", source.name}};
    const auto endpoints = static_cast<double>(source.endpoints);
    registry.gauge_function(
        "sluice_discovery_endpoints",
        "API servers that the source names, or named when it was good last.",
        [endpoints] { return endpoints; }, labels);
    const auto failures = static_cast<double>(source.failures);
    registry.counter_function(
        "sluice_discovery_failures_total",
        "How often the source could not be asked, or named nobody.",
        [failures] { return failures; }, labels);
    const auto success = static_cast<double>(source.last_success.time_since_epoch().count());
    registry.gauge_function(
        "sluice_discovery_last_success_seconds",
        "When the source was good last, in seconds since 1970; 0: never.",
        [success] { return success; }, labels);
    if (source.kind != discovery::SourceStatus::Kind::self) continue;
    const auto candidates = static_cast<double>(source.candidates);
    registry.gauge_function(
        "sluice_discovery_candidates",
        "Addresses that the API servers' own slice names and that have not shown to be one.",
        [candidates] { return candidates; }, labels);
    const auto refused = static_cast<double>(source.refused_total);
    registry.counter_function(
        "sluice_discovery_refused_total",
        "Addresses that the API servers' own slice has named anew and that may not be tried: "
        "another port, outside of --backend-networks, or ours.",
        [refused] { return refused; }, labels);
  }
  const auto left_out = static_cast<double>(sources.left_out());
  registry.gauge_function("sluice_discovery_left_out",
                          "API servers that are named and not used, because a cluster may have 64.",
                          [left_out] { return left_out; });
}

// One that leaves may have a namesake that has come.
bool is_shown(const backend::Cluster& backends, std::size_t slot) {
  if (backends.backends[slot] == nullptr) return false;
  if (backends.serves(slot)) return true;
  for (std::size_t other = 0; other < backends.backends.size(); ++other) {
    if (other == slot || backends.backends[other] == nullptr) continue;
    if (!backends.serves(other) && other > slot) continue;
    if (backends.backends[other]->endpoint.name == backends.backends[slot]->endpoint.name) {
      return false;
    }
  }
  return true;
}

void append_used(std::vector<const metrics::Registry*>& registries, const Cluster& cluster) {
  const ClusterMetrics* used = cluster.metrics_if_used();
  if (used == nullptr) return;
  registries.push_back(&used->registry);
  const ClusterVersion& version = *cluster.version();
  for (std::size_t slot = 0; slot < version.series.size(); ++slot) {
    if (!is_shown(version.backends, slot)) continue;
    if (const BackendMetrics* series = version.series[slot]->metrics_if_used()) {
      registries.push_back(&series->registry);
    }
  }
}

}  // namespace

std::string Shared::render_metrics() const {
  Registries passing;
  add_errors(add_registry(passing, {}), mistakes.size());
  for (const BrokenCluster& cluster : broken) {
    if (cluster.waits) continue;
    add_errors(add_registry(passing, cluster.name), cluster.mistakes.size());
  }
  std::vector<const metrics::Registry*> registries{&registry};
  std::unordered_set<std::string_view> names;
  for (const Cluster* cluster : clusters()) {
    names.insert(cluster->name());
    if (!cluster->version()->options().certificates.empty()) {
      add_certificates(add_registry(passing, cluster->name()), cluster->version()->options());
    }
    if (cluster->version()->options().discovery.any()) {
      add_sources(add_registry(passing, cluster->name()), cluster->sources());
    }
    append_used(registries, *cluster);
  }
  for (const ClusterTable::Entry& entry : table->entries) {
    if (entry.leaving && names.insert(entry.cluster->name()).second) {
      append_used(registries, *entry.cluster);
    }
  }
  for (const auto& each : passing) registries.push_back(each.get());
  return metrics::Registry::render(registries);
}

void Shared::register_reloads() {
  constexpr std::string_view help =
      "How often the configuration was read again: until all workers had taken it over, or until "
      "it was refused as a whole.";
  registry.counter_function("sluice_config_reloads_total", help,
                            [this] { return static_cast<double>(reloads); },
                            {{"result", "taken_over"}});
  registry.counter_function("sluice_config_reloads_total", help,
                            [this] { return static_cast<double>(refused_reloads); },
                            {{"result", "refused"}});
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
