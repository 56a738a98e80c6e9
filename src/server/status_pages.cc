// SPDX-License-Identifier: GPL-3.0-or-later
// Backends as JSON.
#include "status_pages.h"

#include <fmt/format.h>

namespace sluice::server {

std::string backends_page(const backend::Cluster& cluster, const balance::LoadBoard& board,
                          const metrics::Registry& registry, const proxy::ProxyMetrics& metrics) {
  constexpr std::size_t classes = 6;
  std::string page = "{\"backends\":[";
  for (std::size_t i = 0; i < cluster.backends.size(); ++i) {
    const backend::BackendStatus& status = *cluster.backends[i];
    std::uint64_t requests = 0;
    for (std::size_t c = 0; c < classes; ++c) requests += registry.total(metrics.requests.at(c, i));
    const balance::Load load = board.total(i);
    // Names are addresses: nothing in them needs escaping.
    page += fmt::format(
        R"({}{{"name":"{}","health":"{}","trustsIdentity":{},"work":{},"watches":{},"requests":{}}})",
        i == 0 ? "" : ",", status.endpoint.name,
        to_string(status.health.load(std::memory_order_relaxed)),
        status.trusts_identity.load(std::memory_order_relaxed), load.work, load.watches, requests);
  }
  page += "]}\n";
  return page;
}

}  // namespace sluice::server
