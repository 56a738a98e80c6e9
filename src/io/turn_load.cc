// SPDX-License-Identifier: GPL-3.0-or-later
// The end of a window.
#include "sluice/io/turn_load.h"

#include <utility>

namespace sluice::io {

void TurnLoad::end_window(Duration thread_time) {
  const Duration ran = thread_time - std::exchange(thread_time_, thread_time);
  const Duration passed = last_ - std::exchange(began_, last_);
  const double busy =
      std::clamp(static_cast<double>(ran.count()) / static_cast<double>(passed.count()), 0.0, 1.0);
  const auto shortest = static_cast<double>(std::exchange(shortest_, Duration::max()).count());
  wait_ = Duration(static_cast<Duration::rep>(shortest * busy));
  ++windows_;
}

}  // namespace sluice::io
