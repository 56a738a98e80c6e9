// SPDX-License-Identifier: GPL-3.0-or-later
// When to read again without being asked: what happened and when goes in, whether to look or to
// read comes out. Pure: no clock, no system call.
//
// Who writes files writes several, one after the other: nothing is read before it has been quiet
// for a moment, unless it never is.
#pragma once

#include <algorithm>
#include <optional>

#include "sluice/base/time.h"

namespace sluice::server {

class ChangeWatch {
 public:
  static constexpr Duration settled_after = std::chrono::milliseconds(500);
  static constexpr Duration settled_at_latest = std::chrono::seconds(5);
  // What is not told (another machine's writes to a network's file system, an overflow) is seen.
  static constexpr Duration look_interval = std::chrono::seconds(60);
  // While something that does not fit yet is waited for.
  static constexpr Duration look_while_waiting = std::chrono::seconds(1);

  void turn(bool on) { on_ = on; }
  bool on() const { return on_; }

  // Something was changed, as far as is told; or it may have been.
  void changed(Instant now) {
    if (!first_) first_ = now;
    last_ = now;
  }
  // All was read, or looked at, and nothing more has happened since it was begun.
  void looked(Instant now, bool waits) {
    next_look_ = now + (waits ? look_while_waiting : look_interval);
  }

  // Whether to look now; from then on only what happens later counts.
  bool due(Instant now) {
    if (!on_) return false;
    const bool settled =
        first_ && now >= std::min(*last_ + settled_after, *first_ + settled_at_latest);
    if (!settled && (!next_look_ || now < *next_look_)) return false;
    first_.reset();
    last_.reset();
    next_look_ = now + look_interval;
    return true;
  }

 private:
  bool on_ = false;
  std::optional<Instant> first_;  // of the changes that were not looked at yet
  std::optional<Instant> last_;
  std::optional<Instant> next_look_;
};

}  // namespace sluice::server
