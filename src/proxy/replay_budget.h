// SPDX-License-Identifier: GPL-3.0-or-later
// How many of a worker's requests may be sent again: a share of all, and some after a quiet time.
// Suspects have a budget of their own: wrong tokens must not use up that of honest requests. So
// have those that a backend has answered and another one may answer better: anybody can ask for
// what one server does not have, and must not use up what is for backends that fail.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

namespace sluice::proxy {

class ReplayBudget {
 public:
  enum class Share : std::uint8_t { honest, suspect, answered };

  explicit ReplayBudget(std::uint32_t percent) : share_(percent / 100.0) {}

  void set_percent(std::uint32_t percent) { share_ = percent / 100.0; }

  // A request has come, of whichever kind. A suspect's replay costs the backends nothing, it was
  // refused: as many as there are requests.
  void earn() {
    tokens_[0] = std::min(tokens_max, tokens_[0] + share_);
    tokens_[1] = std::min(tokens_max, tokens_[1] + 1.0);
    tokens_[2] = std::min(tokens_max, tokens_[2] + share_);
  }
  bool take(Share share) {
    double& tokens = tokens_[static_cast<std::size_t>(share)];
    if (tokens < 1) return false;
    tokens -= 1;
    return true;
  }

 private:
  // Possible at once after a quiet time, whatever the share.
  static constexpr double tokens_max = 1000;

  double share_;
  std::array<double, 3> tokens_{50, 50, 50};  // by Share
};

}  // namespace sluice::proxy
