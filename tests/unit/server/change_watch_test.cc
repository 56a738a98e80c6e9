// SPDX-License-Identifier: GPL-3.0-or-later
// When changes count as settled.
#include "change_watch.h"

#include <gtest/gtest.h>

namespace sluice::server {
namespace {

using namespace std::chrono_literals;

constexpr Instant start{1h};

ChangeWatch on() {
  ChangeWatch watch;
  watch.turn(true);
  return watch;
}

TEST(ChangeWatchTest, WaitsUntilItIsQuiet) {
  ChangeWatch watch = on();
  EXPECT_FALSE(watch.due(start));
  watch.changed(start);
  EXPECT_FALSE(watch.due(start + 499ms));
  watch.changed(start + 499ms);
  EXPECT_FALSE(watch.due(start + 998ms));
  EXPECT_TRUE(watch.due(start + 999ms));
  EXPECT_FALSE(watch.due(start + 2s));  // that was all
}

TEST(ChangeWatchTest, WaitsForNobodyWhoNeverStops) {
  ChangeWatch watch = on();
  Duration since{};
  for (; since < 5s; since += 100ms) {
    watch.changed(start + since);
    EXPECT_FALSE(watch.due(start + since)) << since.count();
  }
  watch.changed(start + since);
  EXPECT_TRUE(watch.due(start + since));
}

TEST(ChangeWatchTest, WhatComesWhileItIsReadCountsAgain) {
  ChangeWatch watch = on();
  watch.changed(start);
  EXPECT_TRUE(watch.due(start + 1s));
  watch.changed(start + 1100ms);
  watch.looked(start + 1200ms, false);
  EXPECT_FALSE(watch.due(start + 1300ms));
  EXPECT_TRUE(watch.due(start + 1600ms));
}

TEST(ChangeWatchTest, LooksOnceAMinuteAndOftenWhileSomethingIsWaitedFor) {
  ChangeWatch watch = on();
  watch.looked(start, false);
  EXPECT_FALSE(watch.due(start + 59s));
  EXPECT_TRUE(watch.due(start + 60s));
  watch.looked(start + 60s, true);
  EXPECT_FALSE(watch.due(start + 60900ms));
  EXPECT_TRUE(watch.due(start + 61s));
}

TEST(ChangeWatchTest, SaysNothingWhenItIsOff) {
  ChangeWatch watch = on();
  watch.changed(start);
  watch.looked(start, true);
  watch.turn(false);
  EXPECT_FALSE(watch.due(start + 1h));
  watch.turn(true);
  EXPECT_TRUE(watch.due(start + 1h));
}

}  // namespace
}  // namespace sluice::server
