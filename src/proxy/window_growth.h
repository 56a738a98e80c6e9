// SPDX-License-Identifier: GPL-3.0-or-later
// When the flow-control window of one direction of an exchange should grow. A window is what its
// sender may be ahead of us; over a path with delay, a small one limits the rate. It grows when the
// other side took whole windows quickly, and never shrinks: what was advertised cannot be taken
// back (RFC 9113 section 6.9). The bytes that it grows by are lent by the worker's budget.
#pragma once

#include <cstdint>

#include "sluice/base/time.h"

namespace sluice::proxy {

class WindowGrowth {
 public:
  // A window that takes longer to pass is not what limits the rate: round trips are shorter.
  static constexpr Duration quick = std::chrono::milliseconds(500);

  // `window`: what the peer was granted at first, in bytes.
  void begin(std::uint32_t window, Instant now) {
    window_ = initial_ = window;
    passed_ = 0;
    passed_at_ = now;
  }
  // Whether `total` bytes having left for the other side, with none waiting, is a reason to grow.
  bool due(std::uint64_t total, Instant now) {
    return total - passed_ >= window_ && whole_window_passed(total, now);
  }
  void grow_to(std::uint32_t window) { window_ = window; }
  std::uint32_t window() const { return window_; }
  // What the peer may be ahead beyond the first window.
  std::uint32_t lent() const { return window_ - initial_; }

 private:
  bool whole_window_passed(std::uint64_t total, Instant now) {
    const bool quickly = now - passed_at_ <= quick;
    passed_ = total;
    passed_at_ = now;
    return quickly;
  }

  std::uint32_t window_ = 0;
  std::uint32_t initial_ = 0;
  std::uint64_t passed_ = 0;  // of the total, when a whole window had last passed
  Instant passed_at_{};
};

}  // namespace sluice::proxy
