// SPDX-License-Identifier: GPL-3.0-or-later
// What is counted of one backend of a cluster: of the connections to it by workers, and of how it
// is by whoever knows. Backends come and go, so each has a registry of its own, made when its
// cluster is first used.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

#include "sluice/backend/backend_set.h"
#include "sluice/balance/load_board.h"
#include "sluice/kubernetes/long_running.h"
#include "sluice/observability/metrics.h"

namespace sluice::server {

// How a cluster's series are registered: with its name, if it has one.
metrics::RegistryOptions registry_options(std::string_view cluster);

struct BackendMetrics {
  BackendMetrics(std::string_view cluster, std::shared_ptr<const backend::BackendStatus> status,
                 std::shared_ptr<const balance::LoadBoard> board, std::size_t slot);

  metrics::Registry registry;
  metrics::CounterTable requests;  // RequestClass
  metrics::CounterTable connects;  // PoolKind, as those below
  metrics::CounterTable connect_failures;
  metrics::CounterTable connections_lost;
  metrics::CounterTable goaways;
  metrics::CounterTable streams_refused;
  metrics::CounterTable ping_timeouts;
  metrics::CounterTable retired;
  metrics::CounterTable upgrade_connects;
  metrics::CounterTable upgrade_connect_failures;
  metrics::CounterTable upgrade_connections_lost;
  std::array<metrics::GaugeId, backend::pool_kinds> connections;
  std::array<metrics::GaugeId, backend::pool_kinds> upgrade_connections;

  // Takes over what the pools in this slot have counted by themselves. On the thread of `cells`.
  void publish(metrics::Cells& cells, backend::BackendSet& backends, std::size_t slot) const;
  // All that were sent there.
  std::uint64_t requests_sent() const;

 private:
  void register_state(const std::shared_ptr<const backend::BackendStatus>& status,
                      const std::shared_ptr<const balance::LoadBoard>& board, std::size_t slot);
  void publish_upgrades(metrics::Cells& cells, const backend::BackendSet& backends,
                        std::size_t slot, std::size_t kind) const;
};

// Those of one backend in its slot, if anybody has asked for them. Any thread.
class BackendSeries {
 public:
  BackendSeries(std::string_view cluster, std::shared_ptr<const backend::BackendStatus> status,
                std::shared_ptr<const balance::LoadBoard> board, std::size_t slot)
      : cluster_(cluster), status_(std::move(status)), board_(std::move(board)), slot_(slot) {}

  const backend::BackendStatus& status() const { return *status_; }
  // Made when they are first asked for.
  BackendMetrics& metrics();
  // Null when that was never.
  BackendMetrics* metrics_if_used() const { return used_.load(std::memory_order_acquire); }

 private:
  const std::string cluster_;
  const std::shared_ptr<const backend::BackendStatus> status_;
  const std::shared_ptr<const balance::LoadBoard> board_;
  const std::size_t slot_;
  std::mutex making_;
  std::unique_ptr<BackendMetrics> metrics_;
  std::atomic<BackendMetrics*> used_{nullptr};
};

}  // namespace sluice::server
