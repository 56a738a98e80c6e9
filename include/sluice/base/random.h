// SPDX-License-Identifier: GPL-3.0-or-later
// A small, fast, seedable generator (xoshiro256**) for choices that need no secrecy. Equal seeds
// give equal sequences. Not for keys.
#pragma once

#include <cstdint>

#include "sluice/base/time.h"

namespace sluice {

class Random {
 public:
  explicit Random(std::uint64_t seed);

  std::uint64_t next();

  // Uniform in [0, bound); bound > 0.
  std::uint32_t below(std::uint32_t bound) {
    return static_cast<std::uint32_t>(((next() >> 32) * bound) >> 32);
  }

  // Uniform in [0, 1).
  double unit() { return static_cast<double>(next() >> 11) * 0x1.0p-53; }

  // Uniform in [low, high).
  Duration between(Duration low, Duration high) {
    const auto span = static_cast<double>((high - low).count());
    return low + Duration(static_cast<Duration::rep>(span * unit()));
  }

 private:
  std::uint64_t state_[4];
};

}  // namespace sluice
