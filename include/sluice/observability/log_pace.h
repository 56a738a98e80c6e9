// SPDX-License-Identifier: GPL-3.0-or-later
// A line of the log that a peer can cause as often as it likes is written now and then only, for
// all that came since the last one: or the log would be the peer's to fill.
//
// Pure; one thread.
#pragma once

#include <cstdint>
#include <optional>
#include <utility>

#include "sluice/base/time.h"

namespace sluice::log {

class Pace {
 public:
  explicit Pace(Duration interval = std::chrono::seconds(1)) : interval_(interval) {}

  // How often it has happened since the last line, this time included; nothing: not yet another
  // line.
  std::optional<std::uint64_t> due(Instant now) {
    ++times_;
    if (last_ && now - *last_ < interval_) return std::nullopt;
    last_ = now;
    return std::exchange(times_, 0);
  }

 private:
  Duration interval_;
  std::optional<Instant> last_;
  std::uint64_t times_ = 0;
};

}  // namespace sluice::log
