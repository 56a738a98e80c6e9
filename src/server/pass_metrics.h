// SPDX-License-Identifier: GPL-3.0-or-later
// What is counted of connections that are passed on.
#pragma once

#include <cstdint>
#include <string_view>

#include "pass_targets.h"
#include "sluice/observability/metrics.h"

namespace sluice::server {

enum class PassWay : std::uint8_t { to_target, to_client };
std::string_view to_string(PassWay way);

struct PassThroughMetrics {
  // `targets` outlive the registry.
  PassThroughMetrics(metrics::Registry& registry, const PassTargets& targets);
  metrics::CounterTable connects;          // target
  metrics::CounterTable connect_failures;  // target
  metrics::CounterTable bytes;             // PassWay
  metrics::CounterId unreachable;
};

}  // namespace sluice::server
