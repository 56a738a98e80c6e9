// SPDX-License-Identifier: GPL-3.0-or-later
// One's part of a sum, which it takes along when it is destroyed. The sum outlives it.
#pragma once

#include <cstddef>

#include "sluice/base/check.h"

namespace sluice {

class Tally {
 public:
  explicit Tally(std::size_t& sum) : sum_(sum) {}
  Tally(const Tally&) = delete;
  Tally& operator=(const Tally&) = delete;
  ~Tally() { set(0); }

  void set(std::size_t part) {
    DCHECK(part_ <= sum_);
    sum_ += part - part_;
    part_ = part;
  }
  std::size_t part() const { return part_; }

 private:
  std::size_t& sum_;
  std::size_t part_ = 0;
};

}  // namespace sluice
