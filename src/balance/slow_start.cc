// SPDX-License-Identifier: GPL-3.0-or-later
// A share that doubles with time and with what gets done.
#include "sluice/balance/slow_start.h"

#include <algorithm>
#include <cmath>

namespace sluice::balance {
namespace {

// Of what its share lets expect, what it must have completed not to be held up: it is asked for a
// little less than its share, and what it was asked last is not answered yet.
constexpr double enough = 0.5;
// Units that say nothing yet.
constexpr double chance = 20;

}  // namespace

void SlowStart::advance(const SlowStartOptions& options, Duration passed, double completed,
                        double others) {
  if (over()) return;
  if (options.time == Duration::zero()) return skip();
  time_ += passed;
  completed_ += completed;
  expected_ += others * share() * enough;
  const double done = std::min(1.0, (completed_ + chance) / (expected_ + chance));
  progress_ = std::max(progress_, to_seconds(time_) / to_seconds(options.time) * done);
}

double SlowStart::share() const { return over() ? 1.0 : std::pow(first_share, 1.0 - progress_); }

}  // namespace sluice::balance
