// SPDX-License-Identifier: GPL-3.0-or-later
// How often a backend must be found good before it is believed.
#include "return_rule.h"

#include <gtest/gtest.h>

namespace sluice::backend {
namespace {

using std::chrono::seconds;

class ReturnRuleTest : public testing::Test {
 protected:
  void live(Duration time) {
    rule_.came_back(now_);
    now_ += time;
    rule_.went(now_);
  }
  std::uint32_t needed() const { return rule_.successes(2); }

  ReturnRule rule_;
  Instant now_{seconds(1)};
};

TEST_F(ReturnRuleTest, TheFirstTimeIsForgiven) {
  EXPECT_EQ(needed(), 2U);
  rule_.went(now_);
  EXPECT_EQ(needed(), 2U);
}

TEST_F(ReturnRuleTest, EachReturnInVainCostsTwiceAsMuchUpToABound) {
  rule_.went(now_);
  for (const std::uint32_t expected : {4U, 8U, 16U, 32U, 32U}) {
    live(seconds(3));
    EXPECT_EQ(needed(), expected);
  }
}

TEST_F(ReturnRuleTest, WhoHasStayedForAWhileIsBelievedAgain) {
  rule_.went(now_);
  live(seconds(3));
  live(seconds(3));
  EXPECT_EQ(needed(), 8U);
  live(ReturnRule::soon);
  EXPECT_EQ(needed(), 2U);
}

}  // namespace
}  // namespace sluice::backend
