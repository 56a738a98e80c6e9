// SPDX-License-Identifier: GPL-3.0-or-later
// The counters of connections to backends.
#include "backend_metrics.h"

#include <string>
#include <utility>

#include "sluice/backend/api_version.h"

namespace sluice::server {
namespace {

const metrics::Dimension& by_pool() {
  static const metrics::Dimension pools = metrics::dimension_of<backend::PoolKind>("pool");
  return pools;
}

metrics::CounterTable count(metrics::Registry& registry, std::string_view name,
                            std::string_view help) {
  return registry.counters(name, help, {by_pool()});
}

metrics::RegistryOptions of_backend(std::string_view cluster, std::string_view backend) {
  metrics::RegistryOptions options = registry_options(cluster);
  options.labels.emplace_back("backend", std::string(backend));
  return options;
}

}  // namespace

metrics::RegistryOptions registry_options(std::string_view cluster) {
  if (cluster.empty()) return {};
  return {.labels = {{"cluster", std::string(cluster)}}, .sparse = true};
}

BackendMetrics::BackendMetrics(std::string_view cluster,
                               std::shared_ptr<const backend::BackendStatus> status,
                               std::shared_ptr<const balance::LoadBoard> board, std::size_t slot)
    : registry(of_backend(cluster, status->endpoint.name)),
      requests(registry.counters("sluice_requests_total",
                                 "Requests sent to a backend, by class and backend.",
                                 {metrics::dimension_of<kubernetes::RequestClass>("class")})),
      connects(count(registry, "sluice_backend_connects_total", "Connections opened to backends.")),
      connect_failures(count(registry, "sluice_backend_connect_failures_total",
                             "Connections to backends that could not be opened.")),
      connections_lost(count(registry, "sluice_backend_connections_lost_total",
                             "Backend connections that ended with requests on them.")),
      goaways(count(registry, "sluice_backend_goaways_total", "GOAWAY frames from backends.")),
      streams_refused(count(registry, "sluice_backend_streams_refused_total",
                            "Streams that a backend refused without executing them.")),
      ping_timeouts(count(registry, "sluice_backend_ping_timeouts_total",
                          "Backend connections ended because a PING got no answer.")),
      retired(count(registry, "sluice_backend_connections_retired_total",
                    "Draining backend connections whose watches were moved.")),
      upgrade_connects(
          count(registry, "sluice_upgrade_connects_total",
                "Connections opened to backends for requests that switch protocols: exec, "
                "attach, port-forward.")),
      upgrade_connect_failures(count(registry, "sluice_upgrade_connect_failures_total",
                                     "Such connections that could not be opened.")),
      upgrade_connections_lost(count(registry, "sluice_upgrade_connections_lost_total",
                                     "Such connections that ended before their time.")) {
  for (std::size_t k = 0; k < backend::pool_kinds; ++k) {
    const metrics::Labels labels{
        {"pool", std::string(to_string(static_cast<backend::PoolKind>(k)))}};
    connections[k] = registry.gauge("sluice_backend_connections",
                                    "Connections to backends, draining ones included.", labels);
    upgrade_connections[k] =
        registry.gauge("sluice_upgrade_connections",
                       "Connections to backends for requests that switch protocols.", labels);
  }
  register_state(status, board, slot);
}

void BackendMetrics::register_state(const std::shared_ptr<const backend::BackendStatus>& status,
                                    const std::shared_ptr<const balance::LoadBoard>& board,
                                    std::size_t slot) {
  registry.gauge_function(
      "sluice_backend_ready", "1 while the backend is ready; 0 also while it answers probes late.",
      [status] {
        return status->health.load(std::memory_order_relaxed) == backend::Health::ready ? 1.0 : 0.0;
      });
  registry.gauge_function(
      "sluice_backend_trusts_identity",
      "1 while the backend takes the identities that the proxy vouches for.",
      [status] { return status->trusts_identity.load(std::memory_order_relaxed) ? 1.0 : 0.0; });
  registry.gauge_function(
      "sluice_backend_renewal_pending",
      "1 while the backend has not been seen to take a new front-proxy pair, or certificates under "
      "new authorities: the old ones serve there.",
      [status] { return status->renewal_pending.load(std::memory_order_relaxed) ? 1.0 : 0.0; });
  registry.gauge_function(
      "sluice_backend_api_minor_version",
      "Minor version of Kubernetes whose API the backend serves; 0 while it is not known.",
      [status] {
        const std::uint32_t version = status->version.load(std::memory_order_relaxed);
        return static_cast<double>(backend::ApiVersion::of(version).minor);
      });
  registry.gauge_function(
      "sluice_backend_weight",
      "What share of the requests the backend should get, beside others: 1 is a full one.",
      [board, slot] { return static_cast<double>(board->share(slot).weight); });
  for (const balance::Lowered why : {balance::Lowered::starting, balance::Lowered::slow,
                                     balance::Lowered::failing, balance::Lowered::overloaded}) {
    registry.gauge_function(
        "sluice_backend_lowered", "1 while the backend's share is lowered for this.",
        [board, slot, why] { return board->share(slot).why == why ? 1.0 : 0.0; },
        {{"reason", std::string(to_string(why))}});
  }
  registry.gauge_function("sluice_backend_work", "Work in flight, in seats.",
                          [board, slot] { return static_cast<double>(board->total(slot).work); });
  registry.gauge_function("sluice_backend_watches", "Open watches.", [board, slot] {
    return static_cast<double>(board->total(slot).watches);
  });
  registry.gauge_function("sluice_backend_tunnels", "Open tunnels.", [board, slot] {
    return static_cast<double>(board->total(slot).tunnels);
  });
}

void BackendMetrics::publish_upgrades(metrics::Cells& cells, const backend::BackendSet& backends,
                                      std::size_t slot, std::size_t k) const {
  const backend::UpgradePool* pool = backends.upgrades(slot, static_cast<backend::PoolKind>(k));
  if (pool == nullptr) return;
  const backend::UpgradeCounters& counters = pool->counters();
  cells.publish(upgrade_connects.at(k), counters.connects);
  cells.publish(upgrade_connect_failures.at(k), counters.connect_failures);
  cells.publish(upgrade_connections_lost.at(k), counters.connections_lost);
  cells.set(upgrade_connections[k], static_cast<std::int64_t>(pool->connections()));
}

void BackendMetrics::publish(metrics::Cells& cells, backend::BackendSet& backends,
                             std::size_t slot) const {
  for (std::size_t k = 0; k < backend::pool_kinds; ++k) {
    const backend::ConnectionPool* pool = backends.pool(slot, static_cast<backend::PoolKind>(k));
    if (pool == nullptr) {
      cells.set(connections[k], 0);
      cells.set(upgrade_connections[k], 0);
      continue;
    }
    const backend::PoolCounters& counters = pool->counters();
    cells.publish(connects.at(k), counters.connects);
    cells.publish(connect_failures.at(k), counters.connect_failures);
    cells.publish(connections_lost.at(k), counters.connections_lost);
    cells.publish(goaways.at(k), counters.goaways);
    cells.publish(streams_refused.at(k), counters.refused_streams);
    cells.publish(ping_timeouts.at(k), counters.ping_timeouts);
    cells.publish(retired.at(k), counters.retired);
    cells.set(connections[k], static_cast<std::int64_t>(pool->connections()));
    publish_upgrades(cells, backends, slot, k);
  }
}

std::uint64_t BackendMetrics::requests_sent() const {
  std::uint64_t sent = 0;
  for (std::size_t c = 0; c < enumerator_names<kubernetes::RequestClass>().size(); ++c) {
    sent += registry.total(requests.at(c));
  }
  return sent;
}

BackendMetrics& BackendSeries::metrics() {
  if (BackendMetrics* used = metrics_if_used()) return *used;
  const std::lock_guard lock(making_);
  if (metrics_ == nullptr) {
    metrics_ = std::make_unique<BackendMetrics>(cluster_, status_, board_, slot_);
    used_.store(metrics_.get(), std::memory_order_release);
  }
  return *metrics_;
}

}  // namespace sluice::server
