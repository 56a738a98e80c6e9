// SPDX-License-Identifier: GPL-3.0-or-later
// A worker's counters of the layers below the proxy.
#include "worker_metrics.h"

namespace sluice::server {
WorkerMetrics::WorkerMetrics(metrics::Registry& r)
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
          r.counter("sluice_accept_errors_total", "Failed accepts (out of descriptors).")) {}

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

}  // namespace sluice::server
