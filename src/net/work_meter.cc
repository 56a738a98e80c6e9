// SPDX-License-Identifier: GPL-3.0-or-later
// Weighing connections' input.
#include "sluice/net/work_meter.h"

#include <algorithm>

namespace sluice::net {
namespace {

// Of work for the thread, in a whole window; below it nothing is weighed.
constexpr Duration wait_min = std::chrono::milliseconds(1);
// Of one connection in a window; less is never much.
constexpr Duration work_min = std::chrono::microseconds(500);
// Twice the mean.
constexpr int clearly_more = 2;
// Where taking turns is what makes nothing wait, it goes on for a second.
constexpr std::uint64_t calm_windows = 10;
constexpr int calm_part = 4;

}  // namespace

void WorkMeter::look(std::uint64_t windows, Duration wait) {
  if (windows == window_) return;
  const std::uint64_t passed = windows - window_;
  window_ = windows;
  if (wait >= wait_min) weighs_ = true;
  if (wait >= wait_min / calm_part) calm_since_ = windows;
  if (windows - calm_since_ >= calm_windows) weighs_ = false;
  // Of longer ago nothing counts.
  const bool known = passed == 1 && connections_ > 0;
  much_ = known ? std::max(work_min, clearly_more * all_ / static_cast<Duration::rep>(connections_))
                : Duration::max();
  all_ = {};
  connections_ = 0;
}

void WorkMeter::begin_window(Work& work) const {
  if (work.window == window_) return;
  work.before = work.window + 1 == window_ ? work.now : Duration{};
  work.now = {};
  work.window = window_;
}

void WorkMeter::add(Work& work, Duration time) {
  begin_window(work);
  if (work.now == Duration{}) ++connections_;
  // A clock may stand still.
  work.now += std::max(time, Duration(1));
  all_ += time;
}

bool WorkMeter::much(const Work& work) const {
  if (!weighs_) return false;
  if (work.window == window_) return work.before > much_;
  return work.window + 1 == window_ && work.now > much_;
}

}  // namespace sluice::net
