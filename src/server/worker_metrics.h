// SPDX-License-Identifier: GPL-3.0-or-later
// What workers count of rings, transports, listeners and backend connections.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "sluice/backend/backend_set.h"
#include "sluice/io/ring.h"
#include "sluice/net/listener.h"
#include "sluice/net/transport.h"
#include "sluice/observability/metrics.h"

namespace sluice::server {

struct WorkerMetrics {
  explicit WorkerMetrics(metrics::Registry& registry, const backend::Cluster& cluster);
  metrics::CounterId turns;
  metrics::CounterId completions;
  metrics::CounterId receive_starved;
  metrics::CounterId completion_overflow;
  metrics::CounterId submission_queue_full;
  metrics::CounterId sends;
  metrics::CounterId records;
  metrics::CounterId bytes_sent;
  metrics::CounterId bytes_received;
  metrics::CounterId handshakes_failed;
  metrics::CounterId accept_paused;
  metrics::CounterId accept_errors;
  metrics::CounterTable backend_connects;  // backend × pool
  metrics::CounterTable backend_connect_failures;
  metrics::CounterTable backend_connections_lost;
  metrics::CounterTable backend_goaways;
  metrics::CounterTable backend_streams_refused;
  metrics::CounterTable backend_ping_timeouts;
  metrics::CounterTable backend_retired;
  metrics::CounterTable upgrade_connects;
  metrics::CounterTable upgrade_connect_failures;
  metrics::CounterTable upgrade_connections_lost;
  std::vector<metrics::GaugeId> backend_connections;  // backend × pool, flat
  std::vector<metrics::GaugeId> upgrade_connections;  // the same

  // Takes over what the layers have counted by themselves. On the thread of `cells`.
  void publish(metrics::Cells& cells, const io::RingCounters& ring) const;
  void publish(metrics::Cells& cells, const net::TransportCounters& transport) const;
  void publish(metrics::Cells& cells,
               std::span<const std::unique_ptr<net::Listener>> listeners) const;
  void publish(metrics::Cells& cells, backend::BackendSet& backends) const;

 private:
  void publish_upgrades(metrics::Cells& cells, const backend::BackendSet& backends, std::size_t b,
                        std::size_t k) const;
};

}  // namespace sluice::server
