// SPDX-License-Identifier: GPL-3.0-or-later
// A worker's counters of the layers below the proxy.
#include "worker_metrics.h"

#include <string>

namespace sluice::server {
namespace {

std::vector<metrics::Dimension> backend_and_pool(const backend::Cluster& cluster) {
  metrics::Dimension backends{"backend", {}};
  for (const auto& backend : cluster.backends) backends.values.push_back(backend->endpoint.name);
  return {backends, metrics::dimension_of<backend::PoolKind>("pool")};
}

}  // namespace

WorkerMetrics::WorkerMetrics(metrics::Registry& r, const backend::Cluster& cluster)
    : turns(r.counter("sluice_worker_turns_total", "Turns of the workers' loops.")),
      completions(r.counter("sluice_ring_completions_total", "Completions from io_uring.")),
      receive_starved(r.counter("sluice_ring_receive_starved_total",
                                "Receives that found no provided buffer.")),
      completion_overflow(
          r.counter("sluice_ring_completion_overflow_total", "Overflows of the completion queue.")),
      submission_queue_full(r.counter("sluice_ring_submission_queue_full_total",
                                      "Times that the submission queue was full.")),
      sends(r.counter("sluice_sends_total", "Send operations.")),
      records(r.counter("sluice_tls_records_total", "TLS records sent.")),
      bytes_sent(r.counter("sluice_bytes_sent_total", "Encrypted bytes sent.")),
      bytes_received(r.counter("sluice_bytes_received_total", "Encrypted bytes received.")),
      handshakes_failed(r.counter("sluice_tls_handshakes_failed_total",
                                  "TLS handshakes that failed, both sides.")),
      accept_paused(r.counter("sluice_accept_paused_total",
                              "Times that accepting paused: connection limit or handshake queue.")),
      accept_errors(
          r.counter("sluice_accept_errors_total", "Failed accepts (out of descriptors).")),
      backend_connects(r.counters("sluice_backend_connects_total",
                                  "Connections opened to backends.", backend_and_pool(cluster))),
      backend_connect_failures(r.counters("sluice_backend_connect_failures_total",
                                          "Connections to backends that could not be opened.",
                                          backend_and_pool(cluster))),
      backend_connections_lost(r.counters("sluice_backend_connections_lost_total",
                                          "Backend connections that ended with requests on them.",
                                          backend_and_pool(cluster))),
      backend_goaways(r.counters("sluice_backend_goaways_total", "GOAWAY frames from backends.",
                                 backend_and_pool(cluster))),
      backend_streams_refused(r.counters("sluice_backend_streams_refused_total",
                                         "Streams that a backend refused without executing them.",
                                         backend_and_pool(cluster))),
      backend_ping_timeouts(r.counters("sluice_backend_ping_timeouts_total",
                                       "Backend connections ended because a PING got no answer.",
                                       backend_and_pool(cluster))),
      backend_retired(r.counters("sluice_backend_connections_retired_total",
                                 "Draining backend connections whose watches were moved.",
                                 backend_and_pool(cluster))),
      upgrade_connects(
          r.counters("sluice_upgrade_connects_total",
                     "Connections opened to backends for requests that switch protocols: exec, "
                     "attach, port-forward.",
                     backend_and_pool(cluster))),
      upgrade_connect_failures(r.counters("sluice_upgrade_connect_failures_total",
                                          "Such connections that could not be opened.",
                                          backend_and_pool(cluster))),
      upgrade_connections_lost(r.counters("sluice_upgrade_connections_lost_total",
                                          "Such connections that ended before their time.",
                                          backend_and_pool(cluster))) {
  for (const auto& backend : cluster.backends) {
    for (std::size_t k = 0; k < backend::pool_kinds; ++k) {
      const metrics::Labels labels{
          {"backend", backend->endpoint.name},
          {"pool", std::string(to_string(static_cast<backend::PoolKind>(k)))}};
      backend_connections.push_back(r.gauge("sluice_backend_connections",
                                            "Connections to backends, draining ones included.",
                                            labels));
      upgrade_connections.push_back(
          r.gauge("sluice_upgrade_connections",
                  "Connections to backends for requests that switch protocols.", labels));
    }
  }
}

void WorkerMetrics::publish(metrics::Cells& cells, const io::RingCounters& ring) const {
  cells.publish(turns, ring.turns);
  cells.publish(completions, ring.completions);
  cells.publish(receive_starved, ring.receive_starved);
  cells.publish(completion_overflow, ring.completion_overflow);
  cells.publish(submission_queue_full, ring.submission_queue_full);
}

void WorkerMetrics::publish(metrics::Cells& cells, const net::TransportCounters& transport) const {
  cells.publish(sends, transport.sends);
  cells.publish(records, transport.records);
  cells.publish(bytes_sent, transport.bytes_sent);
  cells.publish(bytes_received, transport.bytes_received);
  cells.publish(handshakes_failed, transport.handshakes_failed);
}

void WorkerMetrics::publish(metrics::Cells& cells,
                            std::span<const std::unique_ptr<net::Listener>> listeners) const {
  std::uint64_t paused = 0;
  std::uint64_t errors = 0;
  for (const auto& listener : listeners) {
    paused += listener->counters().paused;
    errors += listener->counters().accept_errors;
  }
  cells.publish(accept_paused, paused);
  cells.publish(accept_errors, errors);
}

void WorkerMetrics::publish_upgrades(metrics::Cells& cells, const backend::BackendSet& backends,
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

void WorkerMetrics::publish(metrics::Cells& cells, backend::BackendSet& backends) const {
  for (std::size_t b = 0; b < backends.size(); ++b) {
    for (std::size_t k = 0; k < backend::pool_kinds; ++k) {
      const backend::ConnectionPool* pool = backends.pool(b, static_cast<backend::PoolKind>(k));
      if (pool == nullptr) continue;
      const backend::PoolCounters& counters = pool->counters();
      cells.publish(backend_connects.at(b, k), counters.connects);
      cells.publish(backend_connect_failures.at(b, k), counters.connect_failures);
      cells.publish(backend_connections_lost.at(b, k), counters.connections_lost);
      cells.publish(backend_goaways.at(b, k), counters.goaways);
      cells.publish(backend_streams_refused.at(b, k), counters.refused_streams);
      cells.publish(backend_ping_timeouts.at(b, k), counters.ping_timeouts);
      cells.publish(backend_retired.at(b, k), counters.retired);
      cells.set(backend_connections[b * backend::pool_kinds + k],
                static_cast<std::int64_t>(pool->connections()));
      publish_upgrades(cells, backends, b, k);
    }
  }
}

}  // namespace sluice::server
