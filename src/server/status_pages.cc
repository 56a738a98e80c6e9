// SPDX-License-Identifier: GPL-3.0-or-later
// Backends as JSON.
#include "status_pages.h"

#include <fmt/format.h>

#include <iterator>

#include "sluice/observability/escape.h"

namespace sluice::server {

std::string backends_page(const backend::Cluster& cluster, const balance::LoadBoard& board,
                          const metrics::Registry& registry, const proxy::ProxyMetrics& metrics) {
  constexpr std::size_t classes = 6;
  constexpr std::size_t name_bytes_max = 1024;  // more than a host name and a port have
  std::string page = "{\"backends\":[";
  for (std::size_t i = 0; i < cluster.backends.size(); ++i) {
    const backend::BackendStatus& status = *cluster.backends[i];
    std::uint64_t requests = 0;
    for (std::size_t c = 0; c < classes; ++c) requests += registry.total(metrics.requests.at(c, i));
    const balance::Load load = board.total(i);
    page += i == 0 ? R"({"name":)" : R"(,{"name":)";
    observability::append_json_string(page, status.endpoint.name, name_bytes_max);
    fmt::format_to(std::back_inserter(page),
                   R"(,"health":"{}","trustsIdentity":{},"work":{},"watches":{},"requests":{}}})",
                   to_string(status.health.load(std::memory_order_relaxed)),
                   status.trusts_identity.load(std::memory_order_relaxed), load.work, load.watches,
                   requests);
  }
  page += "]}\n";
  return page;
}

}  // namespace sluice::server
