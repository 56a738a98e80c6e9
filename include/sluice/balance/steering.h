// SPDX-License-Identifier: GPL-3.0-or-later
// Where a watch that goes on from where it was has the history that it needs. An API server that
// has just begun to run knows nothing of what was before, and its clients would list everything
// again; fewest watches first sends them all there.
//
// The others take such watches only up to a bit more than their fair share: where servers are
// restarted one after the other, the last one would end up with all of them, and lose them all.
// Pure.
#pragma once

#include <span>

#include "sluice/balance/picker.h"

namespace sluice::balance {

// Those of `usable` that are not `young` and hold less than 1.3 times their fair share of the
// watches (1.6 times where there are two: one alone takes all of the other's). None: as always.
BackendMask with_history(std::span<const Load> loads, BackendMask usable, BackendMask young);

}  // namespace sluice::balance
