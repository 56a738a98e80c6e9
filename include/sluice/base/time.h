// SPDX-License-Identifier: GPL-3.0-or-later
// Instants and durations. An Instant is a point of the monotonic clock that the ring gives out once
// a turn; code below `io` gets it as an argument and never asks a clock itself.
#pragma once

#include <chrono>
#include <cstdint>

namespace sluice {

using Duration = std::chrono::nanoseconds;

struct MonotonicClock {
  using duration = Duration;
  using rep = duration::rep;
  using period = duration::period;
  using time_point = std::chrono::time_point<MonotonicClock, duration>;
  static constexpr bool is_steady = true;
};

using Instant = MonotonicClock::time_point;

// Wall-clock time in whole seconds, for certificate validity and logs.
using WallTime = std::chrono::sys_seconds;

constexpr double to_seconds(Duration d) { return std::chrono::duration<double>(d).count(); }

}  // namespace sluice
