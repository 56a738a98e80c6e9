// SPDX-License-Identifier: GPL-3.0-or-later
// A pace that all workers keep together.
#include "sluice/backend/connect_pace.h"

#include <algorithm>

namespace sluice::backend {
namespace {

// What takes less is no sign of anything.
constexpr std::uint32_t unremarkable_us = 25'000;
constexpr double stretch_max = 8;
constexpr std::uint32_t usual_over = 64;
constexpr std::uint32_t lately_over = 4;

// Nobody minds an update that is lost between two threads.
void approach(std::atomic<std::uint32_t>& mean, std::uint32_t value, std::uint32_t over) {
  const auto before = static_cast<std::int64_t>(mean.load(std::memory_order_relaxed));
  const std::int64_t now =
      before == 0 ? value : before + (static_cast<std::int64_t>(value) - before) / over;
  mean.store(static_cast<std::uint32_t>(std::max<std::int64_t>(now, 1)), std::memory_order_relaxed);
}

}  // namespace

std::optional<Instant> ConnectPace::take(Instant now, std::uint32_t per_second, Random& random) {
  const std::uint32_t failures = failures_.load(std::memory_order_relaxed);
  Duration interval{};
  Duration ahead{};
  if (failures > 0) {
    interval =
        std::min(failing_interval_max, failing_interval_min * (1 << std::min(failures, 10U)));
  } else if (per_second > 0) {
    const Duration even = std::chrono::seconds(1);
    interval = std::chrono::duration_cast<Duration>(even * stretch() / per_second);
    ahead = interval * (burst - 1);
  } else {
    return std::nullopt;
  }
  Instant::rep next = next_.load(std::memory_order_relaxed);
  for (;;) {
    const Instant due{Duration{next}};
    if (due - ahead > now) {
      // Those that wait do not come back at the same time.
      return due - ahead + random.between(Duration::zero(), interval);
    }
    const Instant after = std::max(due, now) + interval;
    if (next_.compare_exchange_weak(next, after.time_since_epoch().count(),
                                    std::memory_order_relaxed)) {
      return std::nullopt;
    }
  }
}

void ConnectPace::succeeded(Duration took) {
  forget_failures();
  const auto us = static_cast<std::uint32_t>(std::clamp<std::int64_t>(
      std::chrono::duration_cast<std::chrono::microseconds>(took).count(), 1, 60'000'000));
  approach(usual_us_, us, usual_over);
  approach(lately_us_, us, lately_over);
}

void ConnectPace::failed() { failures_.fetch_add(1, std::memory_order_relaxed); }

double ConnectPace::stretch() const {
  const std::uint32_t usual = std::max(usual_us_.load(std::memory_order_relaxed), unremarkable_us);
  const std::uint32_t lately = lately_us_.load(std::memory_order_relaxed);
  return std::clamp(static_cast<double>(lately) / usual, 1.0, stretch_max);
}

}  // namespace sluice::backend
