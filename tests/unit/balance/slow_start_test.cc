// SPDX-License-Identifier: GPL-3.0-or-later
// How a share grows.
#include "sluice/balance/slow_start.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace sluice::balance {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr Duration step = milliseconds(250);
constexpr double steps_per_second = 4;

// Until the share is full, or for so long, when it completes its share times `pace` of what others
// with a full one complete.
Duration time_to_full(double others_per_second, double pace, Duration most = seconds(120)) {
  SlowStart start;
  const SlowStartOptions options;
  Duration passed{};
  while (!start.over() && passed < most) {
    const double others = others_per_second / steps_per_second;
    start.advance(options, step, others * start.share() * pace, others);
    passed += step;
  }
  return passed;
}

TEST(SlowStartTest, BeginsWithAnEighthAndDoublesEachThirdOfItsTime) {
  SlowStart start;
  const SlowStartOptions options;
  EXPECT_DOUBLE_EQ(start.share(), 0.125);
  start.advance(options, seconds(5), 0, 0);
  EXPECT_DOUBLE_EQ(start.share(), 0.25);
  start.advance(options, seconds(5), 0, 0);
  EXPECT_DOUBLE_EQ(start.share(), 0.5);
  EXPECT_FALSE(start.over());
  start.advance(options, seconds(5), 0, 0);
  EXPECT_DOUBLE_EQ(start.share(), 1.0);
  EXPECT_TRUE(start.over());
}

TEST(SlowStartTest, IsOverInItsTimeWhereItsShareGetsDone) {
  for (const double load : {0.0, 1.0, 100.0, 100'000.0}) {
    EXPECT_EQ(time_to_full(load, 1.0), seconds(15)) << load;
  }
}

TEST(SlowStartTest, TakesLongerForWhoGetsLessDone) {
  EXPECT_GT(time_to_full(1000, 0.25), seconds(25));
  EXPECT_LT(time_to_full(1000, 0.25), seconds(35));
}

TEST(SlowStartTest, WhoGetsNothingDoneStaysSmall) {
  SlowStart start;
  for (int i = 0; i < 1000; ++i) start.advance({}, step, 0, 250);
  EXPECT_LT(start.share(), 0.2);
}

TEST(SlowStartTest, WhereNobodyHasMuchToDoItDoesNotStaySlow) {
  EXPECT_LE(time_to_full(0.5, 0.0), seconds(20));
}

TEST(SlowStartTest, NeverFallsBack) {
  SlowStart start;
  double before = start.share();
  for (int i = 0; i < 200; ++i) {
    // It does well for a while, and then nothing.
    start.advance({}, step, i < 20 ? 250 * start.share() : 0, 250);
    EXPECT_GE(start.share(), before);
    before = start.share();
  }
}

TEST(SlowStartTest, CanBeSkippedTurnedOffAndBegunAnew) {
  SlowStart start;
  start.skip();
  EXPECT_DOUBLE_EQ(start.share(), 1.0);
  start.restart();
  EXPECT_DOUBLE_EQ(start.share(), SlowStart::first_share);
  start.advance({.time = Duration::zero()}, Duration::zero(), 0, 0);
  EXPECT_TRUE(start.over());
}

}  // namespace
}  // namespace sluice::balance
