// SPDX-License-Identifier: GPL-3.0-or-later
// What all threads have of one cluster.
#include "cluster.h"

#include <utility>

namespace sluice::server {
namespace {

metrics::RegistryOptions registry_options(std::string_view name) {
  if (name.empty()) return {};
  return {.labels = {{"cluster", std::string(name)}}, .sparse = true};
}

}  // namespace

ClusterMetrics::ClusterMetrics(const Cluster& cluster)
    : registry(registry_options(cluster.name())),
      proxy(registry, cluster.status),
      backends(registry, cluster.status) {
  register_backends(cluster);
  if (cluster.passes_on()) pass_through.emplace(registry, cluster.targets);
}

void ClusterMetrics::register_backends(const Cluster& cluster) {
  const balance::LoadBoard& board = cluster.board;
  for (std::size_t i = 0; i < cluster.status.backends.size(); ++i) {
    const backend::BackendStatus& status = *cluster.status.backends[i];
    const metrics::Labels labels{{"backend", status.endpoint.name}};
    registry.gauge_function(
        "sluice_backend_ready",
        "1 while the backend is ready; 0 also while it answers probes late.",
        [&status] {
          return status.health.load(std::memory_order_relaxed) == backend::Health::ready ? 1.0
                                                                                         : 0.0;
        },
        labels);
    registry.gauge_function(
        "sluice_backend_trusts_identity",
        "1 while the backend takes the identities that the proxy vouches for.",
        [&status] { return status.trusts_identity.load(std::memory_order_relaxed) ? 1.0 : 0.0; },
        labels);
    registry.gauge_function(
        "sluice_backend_work", "Work in flight, in seats.",
        [&board, i] { return static_cast<double>(board.total(i).work); }, labels);
    registry.gauge_function(
        "sluice_backend_watches", "Open watches.",
        [&board, i] { return static_cast<double>(board.total(i).watches); }, labels);
    registry.gauge_function(
        "sluice_backend_tunnels", "Open tunnels.",
        [&board, i] { return static_cast<double>(board.total(i).tunnels); }, labels);
  }
}

Result<std::unique_ptr<Cluster>> Cluster::create(const ClusterOptions& options,
                                                 std::size_t workers) {
  auto names = kubernetes::IdentityFields::make(options.request_headers);
  if (!names) return std::unexpected(names.error());
  return std::unique_ptr<Cluster>(new Cluster(options, workers, std::move(*names)));
}

Cluster::Cluster(const ClusterOptions& options, std::size_t workers,
                 kubernetes::IdentityFields names)
    : status(options.backends),
      board(workers, options.backends.size()),
      identity_fields(std::move(names)),
      targets(make_targets(options.pass_through)),
      options_(options) {}

std::string Cluster::backend_name(std::size_t backend) const {
  const std::string& own = status.backends[backend]->endpoint.name;
  return options_.name.empty() ? own : options_.name + "/" + own;
}

ClusterMetrics& Cluster::metrics() {
  if (ClusterMetrics* used = metrics_if_used()) return *used;
  const std::lock_guard lock(making_);
  if (metrics_ == nullptr) {
    metrics_ = std::make_unique<ClusterMetrics>(*this);
    used_.store(metrics_.get(), std::memory_order_release);
  }
  return *metrics_;
}

}  // namespace sluice::server
