// SPDX-License-Identifier: GPL-3.0-or-later
// What workers count of rings, transports and listeners.
#pragma once

#include <memory>
#include <span>

#include "sluice/io/ring.h"
#include "sluice/net/listener.h"
#include "sluice/net/transport.h"
#include "sluice/observability/metrics.h"

namespace sluice::server {

struct WorkerMetrics {
  explicit WorkerMetrics(metrics::Registry& registry);
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

  // Takes over what the layers have counted by themselves. On the thread of `cells`.
  void publish(metrics::Cells& cells, const io::RingCounters& ring) const;
  void publish(metrics::Cells& cells, const net::TransportCounters& transport) const;
  void publish(metrics::Cells& cells,
               std::span<const std::unique_ptr<net::Listener>> listeners) const;
};

}  // namespace sluice::server
