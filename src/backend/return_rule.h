// SPDX-License-Identifier: GPL-3.0-or-later
// How many good answers in a row bring a backend back. One that has come back and was gone again
// soon has to give twice as many the next time: a server that dies every few seconds takes requests
// with it each time. Pure.
#pragma once

#include <cstdint>
#include <optional>

#include "sluice/base/time.h"

namespace sluice::backend {

class ReturnRule {
 public:
  static constexpr Duration soon = std::chrono::seconds(60);
  static constexpr std::uint32_t doublings_max = 4;

  // `usual` of one that is known to stay.
  std::uint32_t successes(std::uint32_t usual) const { return usual << doublings_; }
  void came_back(Instant now) { back_since_ = now; }
  void went(Instant now) {
    const bool in_vain = back_since_ && now - *back_since_ < soon;
    doublings_ = !in_vain ? 0 : doublings_ < doublings_max ? doublings_ + 1 : doublings_max;
    back_since_.reset();
  }

 private:
  std::optional<Instant> back_since_;  // none: it has never been away
  std::uint32_t doublings_ = 0;
};

}  // namespace sluice::backend
