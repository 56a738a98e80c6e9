// SPDX-License-Identifier: GPL-3.0-or-later
// The seedable generator.
#include "sluice/base/random.h"

#include <gtest/gtest.h>

#include <array>

namespace sluice {
namespace {

TEST(RandomTest, EqualSeedsGiveEqualSequences) {
  Random a(7), b(7), c(8);
  bool differs = false;
  for (int i = 0; i < 100; ++i) {
    const auto x = a.next();
    EXPECT_EQ(x, b.next());
    differs |= x != c.next();
  }
  EXPECT_TRUE(differs);
}

TEST(RandomTest, BelowIsEvenAndStaysBelow) {
  Random random(1);
  std::array<int, 3> counts{};
  for (int i = 0; i < 30000; ++i) ++counts.at(random.below(3));
  for (const int count : counts) EXPECT_NEAR(count, 10000, 500);
}

TEST(RandomTest, BetweenStaysInItsRange) {
  Random random(2);
  for (int i = 0; i < 1000; ++i) {
    const Duration d = random.between(std::chrono::seconds(1), std::chrono::seconds(5));
    EXPECT_GE(d, std::chrono::seconds(1));
    EXPECT_LT(d, std::chrono::seconds(5));
  }
}

}  // namespace
}  // namespace sluice
