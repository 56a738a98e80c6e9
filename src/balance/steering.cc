// SPDX-License-Identifier: GPL-3.0-or-later
// Shares of the watches.
#include "sluice/balance/steering.h"

#include <bit>
#include <cstdint>

namespace sluice::balance {

BackendMask with_history(std::span<const Load> loads, BackendMask usable, BackendMask young) {
  usable &= mask_of_first(loads.size());
  if ((usable & young) == 0 || (usable & ~young) == 0) return 0;
  std::uint64_t watches = 1;  // this one
  for (std::size_t i = 0; i < loads.size(); ++i) {
    if ((usable & mask_of(i)) != 0) watches += loads[i].watches;
  }
  const auto backends = static_cast<std::uint64_t>(std::popcount(usable));
  const std::uint64_t tenths = backends == 2 ? 16 : 13;
  BackendMask below = 0;
  for (std::size_t i = 0; i < loads.size(); ++i) {
    const BackendMask backend = mask_of(i);
    if ((usable & ~young & backend) == 0) continue;
    if (loads[i].watches * backends * 10 < watches * tenths) below |= backend;
  }
  return below;
}

}  // namespace sluice::balance
