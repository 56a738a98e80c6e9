// SPDX-License-Identifier: GPL-3.0-or-later
// Who is refused while a worker has more to do than it can, and who never is.
#include "governor.h"

#include <gtest/gtest.h>

#include <map>

namespace sluice::proxy {
namespace {

using namespace std::chrono_literals;
using kubernetes::RequestClass;

class GovernorTest : public testing::Test {
 protected:
  // Windows in which work waited for so long; in each, clients ask as often as they like to, and
  // come back in the next.
  void windows(int count, Duration wait) {
    for (int i = 0; i < count; ++i) {
      now += io::TurnLoad::window;
      thread_time += io::TurnLoad::window;
      ASSERT_TRUE(load.turn(now, wait));
      load.end_window(thread_time);
      governor.look(load);
      for (const auto& [client, times] : asks) ask(client, times);
    }
  }
  void ask(std::uint64_t client, int times, RequestClass request_class = RequestClass::short_read) {
    for (int i = 0; i < times; ++i) {
      ++asked[client];
      if (governor.refuses(client, request_class, random)) ++refused[client];
    }
  }
  double refused_part(std::uint64_t client) { return double(refused[client]) / asked[client]; }
  void forget() {
    asked.clear();
    refused.clear();
  }

  Random random{1};
  Instant now{1000s};
  Duration thread_time{};
  io::TurnLoad load{now};
  Governor governor{{.wait_max = 150ms, .patience = 1s}};
  std::map<std::uint64_t, int> asks;
  std::map<std::uint64_t, int> asked;
  std::map<std::uint64_t, int> refused;
};

TEST_F(GovernorTest, NobodyIsRefusedOrEvenCountedWhileTheQueueMoves) {
  asks = {{1, 1000}, {2, 1}};
  windows(100, 120ms);
  EXPECT_EQ(refused[1] + refused[2], 0);
  EXPECT_EQ(governor.clients(), 0U);
}

TEST_F(GovernorTest, NobodyIsRefusedForABurstShorterThanThePatience) {
  asks = {{1, 1000}};
  for (int i = 0; i < 10; ++i) {
    windows(9, 300ms);
    windows(1, 120ms);
  }
  EXPECT_EQ(refused[1], 0);
}

TEST_F(GovernorTest, WhoCausesMostIsRefusedAndWhoCausesLittleIsNot) {
  asks = {{1, 1000}, {2, 10}, {3, 12}};
  windows(40, 300ms);
  EXPECT_GT(governor.shed(), 0.9);
  EXPECT_GT(refused[1], 1000);
  EXPECT_EQ(refused[2], 0);
  EXPECT_EQ(refused[3], 0);
}

TEST_F(GovernorTest, ClientsThatCauseTheSameAreRefusedAlike) {
  asks = {{1, 100}, {2, 100}, {3, 100}};
  windows(20, 300ms);
  forget();
  windows(50, 300ms);
  for (const std::uint64_t client : {1U, 2U, 3U}) {
    EXPECT_NEAR(refused_part(client), refused_part(1), 0.05);
    EXPECT_GT(refused_part(client), 0.5);
    EXPECT_LT(refused_part(client), 1);
  }
}

TEST_F(GovernorTest, ListsGoBeforeReadsAndWatchesAfterThem) {
  // Half of the work is refused.
  while (governor.shed() < 0.5) {
    asks = {{1, 100}};
    windows(1, 300ms);
  }
  std::map<RequestClass, int> refused_of;
  for (const RequestClass request_class :
       {RequestClass::list, RequestClass::short_write, RequestClass::watch}) {
    for (int i = 0; i < 1000; ++i) {
      if (governor.refuses(1, request_class, random)) ++refused_of[request_class];
    }
  }
  EXPECT_GT(refused_of[RequestClass::list], refused_of[RequestClass::short_write]);
  EXPECT_GT(refused_of[RequestClass::short_write], refused_of[RequestClass::watch]);
  EXPECT_GT(refused_of[RequestClass::watch], 0);
}

TEST_F(GovernorTest, BytesAreWorkToo) {
  asks = {{1, 10}, {2, 10}};
  for (int i = 0; i < 30; ++i) {
    windows(1, 300ms);
    governor.charge_bytes(1, 64 << 20);
  }
  EXPECT_GT(refused[1], 100);
  EXPECT_EQ(refused[2], 0);
}

TEST_F(GovernorTest, EverythingIsServedAgainSoonAfterTheQueueMoves) {
  asks = {{1, 1000}, {2, 10}};
  windows(40, 300ms);
  windows(20, 50ms);
  EXPECT_EQ(governor.shed(), 0);
  EXPECT_FALSE(governor.watches());
  EXPECT_EQ(governor.clients(), 0U);
  forget();
  windows(5, 50ms);
  EXPECT_EQ(refused[1], 0);
}

TEST_F(GovernorTest, WhatIsCountedIsBoundedHoweverManyClientsThereAre) {
  for (int i = 0; i < 20; ++i) {
    windows(1, 300ms);
    for (std::uint64_t client = 0; client < 10'000; ++client) ask(client, 1);
    ask(1, 5000);
  }
  EXPECT_LE(governor.clients(), 4096U);
  EXPECT_GT(refused[1], 1000);
}

TEST_F(GovernorTest, NothingIsEverRefusedWhereItIsTurnedOff) {
  Governor off({.wait_max = Duration::zero(), .patience = 1s});
  windows(30, 500ms);
  off.look(load);
  EXPECT_FALSE(off.watches());
  EXPECT_FALSE(off.refuses(1, RequestClass::list, random));
}

}  // namespace
}  // namespace sluice::proxy
