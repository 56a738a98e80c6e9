// SPDX-License-Identifier: GPL-3.0-or-later
// What the admin listener shows of backends.
#pragma once

#include <string>

#include "sluice/backend/backend_set.h"
#include "sluice/balance/load_board.h"
#include "sluice/observability/metrics.h"
#include "sluice/proxy/proxy.h"

namespace sluice::server {

// {"backends":[{"name":…,"health":…,"trustsIdentity":…,"work":…,"watches":…,"requests":…}]}
std::string backends_page(const backend::Cluster& cluster, const balance::LoadBoard& board,
                          const metrics::Registry& registry, const proxy::ProxyMetrics& metrics);

}  // namespace sluice::server
