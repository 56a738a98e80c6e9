// SPDX-License-Identifier: GPL-3.0-or-later
// The wall clock, or the one that a test has put in its place.
#include "clock.h"

#include <atomic>
#include <chrono>

#include "library.h"
#include "sluice/tls/context.h"

namespace sluice::tls {

namespace {

std::atomic<WallClock> wall_clock{nullptr};

}  // namespace

WallTime wall_now() {
  if (const WallClock clock = wall_clock.load(std::memory_order_relaxed)) return clock();
  return std::chrono::floor<std::chrono::seconds>(std::chrono::system_clock::now());
}

void set_wall_clock(WallClock clock) { wall_clock.store(clock, std::memory_order_relaxed); }

// The library asks for the time here (registered in initialize()).
time_t library_time(time_t* out) {
  const auto now = static_cast<time_t>(wall_now().time_since_epoch().count());
  if (out != nullptr) *out = now;
  return now;
}

}  // namespace sluice::tls
