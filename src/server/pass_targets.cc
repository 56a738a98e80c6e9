// SPDX-License-Identifier: GPL-3.0-or-later
// The choice of a target.
#include "pass_targets.h"

#include <algorithm>

namespace sluice::server {
namespace {

std::optional<std::size_t> least(std::span<const TargetLoad> targets, bool refuses,
                                 Random& random) {
  std::optional<std::size_t> best;
  std::uint32_t equals = 0;
  for (std::size_t i = 0; i < targets.size(); ++i) {
    const TargetLoad& target = targets[i];
    if (target.tried || target.refuses != refuses) continue;
    if (best && target.connections > targets[*best].connections) continue;
    equals = best && target.connections == targets[*best].connections ? equals + 1 : 1;
    // Each of the equals with the same chance.
    if (equals == 1 || random.below(equals) == 0) best = i;
  }
  return best;
}

}  // namespace

PassTargets make_targets(const std::vector<io::Address>& addresses) {
  PassTargets targets;
  for (const io::Address& address : addresses) {
    targets.push_back(std::make_unique<PassTarget>(address));
  }
  return targets;
}

bool any_may_be_reached(const PassTargets& targets) {
  return std::ranges::any_of(
      targets, [](const auto& target) { return !target->refuses.load(std::memory_order_relaxed); });
}

std::optional<std::size_t> choose_target(std::span<const TargetLoad> targets, Random& random) {
  const auto usable = least(targets, false, random);
  return usable ? usable : least(targets, true, random);
}

}  // namespace sluice::server
