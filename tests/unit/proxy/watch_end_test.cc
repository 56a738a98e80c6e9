// SPDX-License-Identifier: GPL-3.0-or-later
// When watches may end, instant by instant.
#include "sluice/proxy/watch_end.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

namespace sluice::proxy {
namespace {

using namespace std::chrono_literals;
using Start = WatchEndRule::Start;

constexpr WatchEndOptions options;
constexpr Instant head = Instant(std::chrono::hours(1));

WatchEndRule watch(Start start, bool resumes = true) {
  WatchEndRule rule;
  rule.begin(start, resumes, head);
  return rule;
}

TEST(WatchEndRuleTest, AResumedWatchHasNoFirstBurstAndMayEndTwoSecondsAfterItsHead) {
  WatchEndRule rule = watch(Start::resumed);
  EXPECT_TRUE(rule.burst_over());
  EXPECT_FALSE(rule.look_at_burst(options, true, head));
  EXPECT_EQ(rule.earliest(options), head + 2s);
  rule.on_bytes(100'000'000, head + 5s);  // whatever it brings
  EXPECT_EQ(rule.earliest(options), head + 2s);
}

TEST(WatchEndRuleTest, TheFirstBurstEndsWithTheFirstPause) {
  WatchEndRule rule = watch(Start::existing_and_mark);
  Instant now = head;
  for (int i = 0; i < 20; ++i) {
    rule.on_bytes(1000, now);
    EXPECT_EQ(rule.look_at_burst(options, false, now), now + 500ms);
    now += 499ms;
    EXPECT_TRUE(rule.look_at_burst(options, false, now));
  }
  EXPECT_FALSE(rule.look_at_burst(options, false, now + 1ms));
  EXPECT_TRUE(rule.burst_over());
  rule.on_bytes(1000, now + 1s);  // an event, no burst any more
  EXPECT_TRUE(rule.burst_over());
  EXPECT_FALSE(rule.look_at_burst(options, true, now + 1s));
}

TEST(WatchEndRuleTest, BytesThatWaitForTheClientAreNoPause) {
  WatchEndRule rule = watch(Start::existing_objects);
  rule.on_bytes(1000, head);
  EXPECT_EQ(rule.look_at_burst(options, true, head + 10s), head + 10s + 500ms);
  EXPECT_FALSE(rule.burst_over());
}

TEST(WatchEndRuleTest, TheFirstBurstEndsAtLatestThirtySecondsAfterTheHead) {
  WatchEndRule rule = watch(Start::existing_objects);
  rule.on_bytes(1000, head + 29900ms);
  EXPECT_EQ(rule.look_at_burst(options, true, head + 29900ms), head + 30s);
  EXPECT_FALSE(rule.look_at_burst(options, true, head + 30s));
  EXPECT_TRUE(rule.burst_over());
}

TEST(WatchEndRuleTest, WhereAMarkIsSureToComeSilenceBeforeItIsNoPause) {
  WatchEndRule marked = watch(Start::existing_and_mark);
  EXPECT_EQ(marked.look_at_burst(options, false, head + 5s), head + 5500ms);
  marked.on_bytes(10, head + 6s);
  EXPECT_FALSE(marked.look_at_burst(options, false, head + 6500ms));

  WatchEndRule unmarked = watch(Start::existing_objects);  // there may be none
  EXPECT_EQ(unmarked.look_at_burst(options, false, head), head + 500ms);
  EXPECT_FALSE(unmarked.look_at_burst(options, false, head + 500ms));
}

TEST(WatchEndRuleTest, AFirstBurstThatNothingFeedsIsOverWhenItsBytesHaveLeft) {
  WatchEndRule rule = watch(Start::existing_and_mark);
  rule.on_bytes(10, head);
  rule.source_ended();
  EXPECT_TRUE(rule.look_at_burst(options, true, head + 1ms));
  EXPECT_FALSE(rule.look_at_burst(options, false, head + 2ms));
  EXPECT_TRUE(rule.burst_over());
}

TEST(WatchEndRuleTest, AfterTheFirstBurstItMayEndInFourSecondsAndOneForEachTenMegabytes) {
  WatchEndRule rule = watch(Start::existing_and_mark);
  rule.on_bytes(10, head + 1s);
  EXPECT_EQ(rule.earliest(options), head + 5s + 1us);
  rule.on_bytes(149'999'990, head + 20s);
  EXPECT_EQ(rule.earliest(options), head + 24s + 15s);
  EXPECT_FALSE(rule.look_at_burst(options, false, head + 21s));
  rule.on_bytes(50'000'000, head + 22s);  // events
  EXPECT_EQ(rule.earliest(options), head + 24s + 15s);
}

TEST(WatchEndRuleTest, WhatMustEndDoesSoSoonAndSpread) {
  Random random(1);
  const WatchEndRule rule = watch(Start::resumed);
  for (const Duration age : {0s, 1s, 3s, 600s}) {
    const Instant from = std::max(head + age, head + 2s);
    std::vector<Instant> ends;
    for (int i = 0; i < 1000; ++i) ends.push_back(rule.soon(options, head + age, random));
    const auto [first, last] = std::ranges::minmax(ends);
    EXPECT_GE(first, from);
    EXPECT_LT(first, from + 50ms);
    EXPECT_LT(last, from + 800ms);
    EXPECT_GT(last, from + 750ms);
  }
}

TEST(WatchEndRuleTest, WithinAWindowThoseThatResumeGoFirst) {
  Random random(1);
  const EndWindow window{head + 100s, head + 140s};
  for (int i = 0; i < 1000; ++i) {
    const Instant resuming =
        watch(Start::resumed, true).within(options, window, window.from, random);
    EXPECT_GE(resuming, window.from);
    EXPECT_LT(resuming, head + 120s);
    const Instant other = watch(Start::resumed, false).within(options, window, window.from, random);
    EXPECT_GE(other, head + 120s);
    EXPECT_LT(other, window.until);
  }
}

TEST(WatchEndRuleTest, WhoComesLateIntoAWindowHasTheRestOfItAndTooLateItsOwnTime) {
  Random random(1);
  const EndWindow window{head - 1s, head + 9s};
  for (int i = 0; i < 1000; ++i) {
    const WatchEndRule rule = watch(Start::resumed);
    EXPECT_GE(rule.within(options, window, head, random), head + 2s);
    EXPECT_LT(rule.within(options, window, head, random), head + 4s);
    EXPECT_GE(rule.within(options, window, head + 5s, random), head + 5s);
    EXPECT_LT(rule.within(options, window, head + 5s, random), window.until);
  }
  WatchEndRule burst = watch(Start::existing_objects);
  burst.on_bytes(0, head + 7s);
  EXPECT_EQ(burst.within(options, window, head + 8s, random), head + 11s);
}

}  // namespace
}  // namespace sluice::proxy
