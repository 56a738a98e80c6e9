// SPDX-License-Identifier: GPL-3.0-or-later
// The common parts, and what is counted of them.
#include "shared.h"

#include <utility>

#include "sluice/observability/log.h"

namespace sluice::server {

Result<std::unique_ptr<Shared>> Shared::create(const ServerOptions& options) {
  auto names = kubernetes::IdentityFields::make(options.request_headers);
  if (!names) return std::unexpected(names.error());
  std::unique_ptr<observability::AccessLog> log;
  if (!options.access_log.empty()) {
    auto opened = observability::AccessLog::open(
        {.path = options.access_log, .workers = options.cpus.size()});
    if (!opened) return std::unexpected(opened.error());
    log = std::move(*opened);
  }
  return std::unique_ptr<Shared>(new Shared(options, std::move(*names), std::move(log)));
}

Shared::Shared(const ServerOptions& options, kubernetes::IdentityFields names,
               std::unique_ptr<observability::AccessLog> log)
    : cluster(options.backends),
      board(options.cpus.size(), options.backends.size()),
      identity_fields(std::move(names)),
      access_log(std::move(log)),
      admission(options.client_connections_max),
      proxy_metrics(registry, cluster),
      client_metrics(registry),
      worker_metrics(registry, cluster) {
  register_process(options);
  register_backends();
  register_logs();
}

void Shared::register_process(const ServerOptions& options) {
  for (const NamedCertificate& certificate : options.certificates) {
    const auto not_after = static_cast<double>(certificate.not_after.time_since_epoch().count());
    registry.gauge_function("sluice_certificate_not_after_seconds",
                            "When the certificate ends, in seconds since 1970.",
                            [not_after] { return not_after; }, {{"use", certificate.use}});
  }
  registry.gauge_function("sluice_build_info", "Always 1; the version is a label.",
                          [] { return 1.0; }, {{"version", options.version}});
}

void Shared::register_backends() {
  for (std::size_t i = 0; i < cluster.backends.size(); ++i) {
    const backend::BackendStatus& status = *cluster.backends[i];
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
        [this, i] { return static_cast<double>(board.total(i).work); }, labels);
    registry.gauge_function(
        "sluice_backend_watches", "Open watches.",
        [this, i] { return static_cast<double>(board.total(i).watches); }, labels);
    registry.gauge_function(
        "sluice_backend_tunnels", "Open tunnels.",
        [this, i] { return static_cast<double>(board.total(i).tunnels); }, labels);
  }
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
