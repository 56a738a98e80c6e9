// SPDX-License-Identifier: GPL-3.0-or-later
// How often many pools may connect to one backend together.
#include "sluice/backend/connect_pace.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <thread>
#include <vector>

namespace sluice::backend {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

// Pools that all want to connect, and come back when they are told to.
class ConnectPaceTest : public testing::Test {
 protected:
  // The turns that are taken in so much time.
  std::vector<Instant> turns(std::size_t pools, Duration time, std::uint32_t per_second,
                             bool succeeds) {
    std::vector<Instant> asks(pools, now_);
    std::vector<Instant> taken;
    for (const Instant end = now_ + time;;) {
      const auto next = std::ranges::min_element(asks);
      if (*next >= end) {
        now_ = end;
        return taken;
      }
      now_ = std::max(now_, *next);
      if (const auto later = pace_.take(now_, per_second, random_)) {
        EXPECT_GT(*later, now_);
        *next = *later;
        continue;
      }
      taken.push_back(now_);
      succeeds ? pace_.succeeded(milliseconds(3)) : pace_.failed();
      *next = now_ + milliseconds(1);
    }
  }

  ConnectPace pace_;
  Random random_{1};
  Instant now_{seconds(100)};
};

TEST_F(ConnectPaceTest, ABurstAndThenOneAfterTheOtherHoweverManyWantTo) {
  for (const std::size_t pools : {1U, 64U}) {
    now_ += seconds(10);
    EXPECT_GE(turns(pools, milliseconds(1), 50, true).size(), pools == 1 ? 1U : 8U);
    EXPECT_LE(turns(pools, seconds(10), 50, true).size(), 500U + ConnectPace::burst);
  }
  EXPECT_GE(turns(64, seconds(10), 50, true).size(), 450U);
}

TEST_F(ConnectPaceTest, WithoutALimitOnlyFailuresCount) {
  EXPECT_GE(turns(4, seconds(1), 0, true).size(), 3900U);
  EXPECT_LE(turns(4, seconds(60), 0, false).size(), 70U);
}

TEST_F(ConnectPaceTest, WhileNoneSucceedsAllTogetherConnectOnceASecondAtMostAndNotInStep) {
  turns(64, seconds(5), 50, false);
  const std::vector<Instant> taken = turns(64, seconds(60), 50, false);
  EXPECT_LE(taken.size(), 61U);
  EXPECT_GE(taken.size(), 30U);
  std::vector<Duration> gaps;
  for (std::size_t i = 1; i < taken.size(); ++i) gaps.push_back(taken[i] - taken[i - 1]);
  EXPECT_GE(*std::ranges::min_element(gaps), ConnectPace::failing_interval_max);
  EXPECT_NE(*std::ranges::min_element(gaps), *std::ranges::max_element(gaps));
}

TEST_F(ConnectPaceTest, ASuccessEndsThat) {
  turns(8, seconds(20), 50, false);
  pace_.forget_failures();
  EXPECT_EQ(pace_.take(now_, 50, random_), std::nullopt);  // at once
  EXPECT_GE(turns(8, seconds(1), 50, true).size(), 40U);
}

TEST_F(ConnectPaceTest, SlowsDownWhileHandshakesTakeLongerThanUsual) {
  for (int i = 0; i < 500; ++i) pace_.succeeded(milliseconds(30));
  EXPECT_DOUBLE_EQ(pace_.stretch(), 1.0);
  for (int i = 0; i < 10; ++i) pace_.succeeded(milliseconds(300));
  EXPECT_GT(pace_.stretch(), 2.0);
  EXPECT_LE(pace_.stretch(), 8.0);
  const double slow = pace_.stretch();
  int taken = 0;
  for (; taken < 100 && !pace_.take(now_, 50, random_); ++taken) {
  }
  EXPECT_EQ(taken, ConnectPace::burst);
  const Instant next = *pace_.take(now_, 50, random_);
  EXPECT_GE(next - now_, milliseconds(static_cast<int>(20 * slow) - 1));
  for (int i = 0; i < 30; ++i) pace_.succeeded(milliseconds(30));
  EXPECT_LT(pace_.stretch(), 1.1);
}

TEST_F(ConnectPaceTest, FastHandshakesThatBecomeLessFastAreNoStorm) {
  for (int i = 0; i < 100; ++i) pace_.succeeded(milliseconds(1));
  for (int i = 0; i < 10; ++i) pace_.succeeded(milliseconds(20));
  EXPECT_DOUBLE_EQ(pace_.stretch(), 1.0);
}

TEST_F(ConnectPaceTest, ManyThreadsTakeNoMoreThanThereIs) {
  std::array<int, 4> taken{};
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < taken.size(); ++i) {
    threads.emplace_back([&, i] {
      Random random(i);
      for (int asked = 0; asked < 1000; ++asked) {
        if (!pace_.take(now_ + milliseconds(asked), 50, random)) ++taken.at(i);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  const int all = taken[0] + taken[1] + taken[2] + taken[3];
  EXPECT_GE(all, 50);
  EXPECT_LE(all, 50 + ConnectPace::burst);
}

}  // namespace
}  // namespace sluice::backend
