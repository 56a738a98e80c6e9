// SPDX-License-Identifier: GPL-3.0-or-later
// When a window has earned to grow.
#include "window_growth.h"

#include <gtest/gtest.h>

namespace sluice::proxy {
namespace {

constexpr Instant start{};
constexpr std::uint32_t first = 64 * 1024;

Instant after(std::int64_t milliseconds) { return start + std::chrono::milliseconds(milliseconds); }

WindowGrowth growth() {
  WindowGrowth growth;
  growth.begin(first, start);
  return growth;
}

TEST(WindowGrowthTest, LessThanAWindowIsNoReason) {
  WindowGrowth g = growth();
  EXPECT_FALSE(g.due(first - 1, after(1)));
  EXPECT_TRUE(g.due(first, after(2)));
}

TEST(WindowGrowthTest, AWindowThatTookLongIsNoReasonButTheNextMayBe) {
  WindowGrowth g = growth();
  EXPECT_FALSE(g.due(first, after(501)));
  EXPECT_FALSE(g.due(2 * first - 1, after(502)));
  EXPECT_TRUE(g.due(2 * first, after(1001)));
}

TEST(WindowGrowthTest, AGrownWindowMustPassWholeBeforeItGrowsAgain) {
  WindowGrowth g = growth();
  ASSERT_TRUE(g.due(first, after(1)));
  g.grow_to(2 * first);
  EXPECT_EQ(g.lent(), first);
  EXPECT_FALSE(g.due(3 * first - 1, after(2)));
  EXPECT_TRUE(g.due(3 * first, after(3)));
}

TEST(WindowGrowthTest, BeginningAgainForgetsWhatWasLent) {
  WindowGrowth g = growth();
  g.grow_to(8 * first);
  g.begin(first, after(10));
  EXPECT_EQ(g.window(), first);
  EXPECT_EQ(g.lent(), 0U);
  EXPECT_FALSE(g.due(first - 1, after(11)));
}

}  // namespace
}  // namespace sluice::proxy
