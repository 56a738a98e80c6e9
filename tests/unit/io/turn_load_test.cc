// SPDX-License-Identifier: GPL-3.0-or-later
// When work waits for a thread that is busy itself, and when it does not.
#include "sluice/io/turn_load.h"

#include <gtest/gtest.h>

namespace sluice::io {
namespace {

using namespace std::chrono_literals;

// A thread and its clocks.
class TurnLoadTest : public testing::Test {
 protected:
  // So many turns, each of so much CPU time in so much time.
  void turns(int count, Duration cpu, Duration wall, Duration starved = {}) {
    for (int i = 0; i < count; ++i) {
      now += wall;
      thread_time += cpu;
      if (load.turn(now, starved)) load.end_window(thread_time);
    }
  }

  Instant now{1000s};
  Duration thread_time{};
  TurnLoad load{now};
};

TEST_F(TurnLoadTest, AThreadThatSleepsMakesNobodyWait) {
  turns(20, 10us, 60ms);
  EXPECT_EQ(load.windows(), 10U);
  EXPECT_LT(load.wait(), 1ms);
}

TEST_F(TurnLoadTest, ManyShortTurnsMakeNobodyWait) {
  turns(1000, 2ms, 2ms);
  EXPECT_EQ(load.windows(), 20U);
  EXPECT_EQ(load.wait(), 2ms);
}

TEST_F(TurnLoadTest, TurnsThatAllTakeLongMakeEverybodyWait) {
  turns(10, 150ms, 150ms);
  EXPECT_EQ(load.windows(), 10U);
  EXPECT_EQ(load.wait(), 150ms);
}

TEST_F(TurnLoadTest, ReceivesThatWaitForBuffersOverManyTurnsWaitAsLong) {
  turns(200, 5ms, 5ms, 180ms);
  EXPECT_EQ(load.wait(), 180ms);
}

TEST_F(TurnLoadTest, OneLongTurnAmongShortOnesIsNoQueue) {
  for (int i = 0; i < 10; ++i) {
    turns(1, 70ms, 70ms);
    turns(15, 2ms, 2ms);
  }
  EXPECT_EQ(load.wait(), 2ms);
}

TEST_F(TurnLoadTest, WhatANeighbourOnTheCoreTakesIsNotOurs) {
  turns(10, 10ms, 200ms);
  EXPECT_EQ(load.wait(), 10ms);
}

TEST_F(TurnLoadTest, ATurnThatSleptHalfOfItsTimeCountsWithTheOtherHalf) {
  turns(10, 30ms, 60ms);
  EXPECT_EQ(load.wait(), 30ms);
}

}  // namespace
}  // namespace sluice::io
