// SPDX-License-Identifier: GPL-3.0-or-later
// What is counted of connections that are passed on.
#include "pass_metrics.h"

#include <string>

namespace sluice::server {
namespace {

metrics::CounterTable by_target(metrics::Registry& registry, const PassTargets& targets,
                                std::string_view name, std::string_view help) {
  metrics::Dimension dimension{"target", {}};
  for (const auto& target : targets) dimension.values.push_back(target->name);
  return registry.counters(name, help, {dimension});
}

}  // namespace

std::string_view to_string(PassWay way) {
  switch (way) {
    case PassWay::to_target: return "to_target";
    case PassWay::to_client: return "to_client";
  }
  return "unknown";
}

PassThroughMetrics::PassThroughMetrics(metrics::Registry& registry, const PassTargets& targets)
    : connects(by_target(registry, targets, "sluice_pass_through_connects_total",
                         "Connections opened to targets for connections that are passed on.")),
      connect_failures(by_target(registry, targets, "sluice_pass_through_connect_failures_total",
                                 "Such connections that could not be opened.")),
      bytes(registry.counters_by<PassWay>("sluice_pass_through_bytes_total",
                                          "Bytes that were passed on, by direction.", "way")),
      unreachable(registry.counter("sluice_pass_through_unreachable_total",
                                   "Connections that ended because no target could be reached.")) {
  for (const auto& target : targets) {
    const metrics::Labels labels{{"target", target->name}};
    registry.gauge_function(
        "sluice_pass_through_connections", "Open connections that are passed on.",
        [&target = *target] {
          return static_cast<double>(target.connections.load(std::memory_order_relaxed));
        },
        labels);
    registry.gauge_function(
        "sluice_pass_through_target_usable",
        "0 while the target refuses connections, so that others are passed on.",
        [&target = *target] { return target.refuses.load(std::memory_order_relaxed) ? 0.0 : 1.0; },
        labels);
  }
}

}  // namespace sluice::server
