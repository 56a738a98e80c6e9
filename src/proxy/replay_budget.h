// SPDX-License-Identifier: GPL-3.0-or-later
// How many of a worker's requests may be sent again: a share of all, and some after a quiet time.
// Suspects have a budget of their own: wrong tokens must not use up that of honest requests.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>

namespace sluice::proxy {

class ReplayBudget {
 public:
  explicit ReplayBudget(std::uint32_t percent) : share_(percent / 100.0) {}

  void set_percent(std::uint32_t percent) { share_ = percent / 100.0; }

  // A request has come, of whichever kind. A suspect's replay costs the backends nothing, it was
  // refused: as many as there are requests.
  void earn() {
    tokens_[0] = std::min(tokens_max, tokens_[0] + share_);
    tokens_[1] = std::min(tokens_max, tokens_[1] + 1.0);
  }
  bool take(bool suspect) {
    double& tokens = tokens_[suspect ? 1 : 0];
    if (tokens < 1) return false;
    tokens -= 1;
    return true;
  }

 private:
  // Possible at once after a quiet time, whatever the share.
  static constexpr double tokens_max = 1000;

  double share_;
  std::array<double, 2> tokens_{50, 50};  // of honest requests, of suspects
};

}  // namespace sluice::proxy
