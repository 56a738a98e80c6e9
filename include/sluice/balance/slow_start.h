// SPDX-License-Identifier: GPL-3.0-or-later
// The share of a backend that has joined or come back: it begins with an eighth of what it will
// have, doubles three times, and takes the longer for it the less it gets done. Caches are cold
// there, and the first thing that a server gets to do is the most expensive. Pure.
#pragma once

#include "sluice/base/time.h"

namespace sluice::balance {

struct SlowStartOptions {
  Duration time = std::chrono::seconds(15);  // at least; zero: the full share at once

  friend bool operator==(const SlowStartOptions&, const SlowStartOptions&) = default;
};

class SlowStart {
 public:
  static constexpr double first_share = 1.0 / 8;

  // From the beginning.
  void restart() { *this = {}; }
  // There is none, or it is over.
  void skip() { progress_ = 1; }

  // So much time has passed, in which it has completed so many units of work and others, with a
  // full share, so many each. Where nobody has much to do only time counts.
  void advance(const SlowStartOptions& options, Duration passed, double completed, double others);

  bool over() const { return progress_ >= 1; }
  double share() const;

 private:
  Duration time_{};
  double completed_ = 0;
  double expected_ = 0;
  double progress_ = 0;  // 0 to 1
};

}  // namespace sluice::balance
