// SPDX-License-Identifier: GPL-3.0-or-later
// Admission: who is let in, and what happens to those who queue.
#include "sluice/net/listener.h"

#include <fcntl.h>

#include <memory>
#include <vector>

#include "pair.h"

namespace sluice::net {
namespace {

class ListenerTest : public NetTest {
 protected:
  void open(std::size_t connections_max, bool shared = false) {
    budget = std::make_unique<AdmissionBudget>(connections_max);
    const int descriptor = io::listen_on(*io::Address::parse("127.0.0.1:0"), {}).value();
    where = io::local_address(descriptor).value();
    under_test = std::make_unique<Listener>(
        *transport, descriptor, *budget, [this](int accepted) { in.push_back(accepted); }, shared);
    under_test->start();
  }

  // Another one that accepts on the same socket, as if it were another process's.
  std::unique_ptr<Listener> another(int descriptor, bool shared) {
    auto made = std::make_unique<Listener>(
        *transport, ::fcntl(descriptor, F_DUPFD_CLOEXEC, 0), *budget,
        [this](int accepted) { elsewhere.push_back(accepted); }, shared);
    made->start();
    return made;
  }
  void end(Listener& other) {
    other.stop();
    ASSERT_TRUE(until([&] { return other.stopped(); }));
  }

  void knock(int times) {
    knock_without_waiting(times);
    ASSERT_TRUE(until([&] { return done == operations.size(); }));
  }
  void knock_without_waiting(int times) {
    for (int i = 0; i < times; ++i) {
      const int descriptor = io::open_stream(where.family()).value();
      out.push_back(descriptor);
      operations.push_back(std::make_unique<io::Operation>(
          this,
          [](void* self, const io::Completion&) { ++static_cast<ListenerTest*>(self)->done; }));
      reactor->ring().connect(*operations.back(), descriptor, where);
    }
  }

  void TearDown() override {
    under_test->stop();
    ASSERT_TRUE(until([&] { return under_test->stopped(); }));
    under_test.reset();
    for (const int descriptor : in) io::close_socket(descriptor);
    for (const int descriptor : elsewhere) io::close_socket(descriptor);
    for (const int descriptor : out) io::close_socket(descriptor);
    NetTest::TearDown();
  }

  std::unique_ptr<AdmissionBudget> budget;
  io::Address where;
  std::unique_ptr<Listener> under_test;
  std::vector<int> in;
  std::vector<int> elsewhere;
  std::vector<int> out;
  std::vector<std::unique_ptr<io::Operation>> operations;
  std::size_t done = 0;
};

TEST_F(ListenerTest, AcceptsUpToTheBudgetAndGoesOnWhenThereIsRoomAgain) {
  open(32);
  knock(60);
  ASSERT_TRUE(until([&] { return under_test->counters().paused > 0; }));
  EXPECT_EQ(in.size(), 32U);
  budget->connections.store(0);
  EXPECT_TRUE(until([&] { return in.size() == 60; }));
}

TEST_F(ListenerTest, APlaceThatBecomesFreeIsGivenToOneWhoWaits) {
  open(32);
  knock(40);
  ASSERT_TRUE(until([&] { return under_test->counters().paused > 0; }));
  EXPECT_EQ(in.size(), 32U);
  budget->connections.fetch_sub(1);
  EXPECT_TRUE(until([&] { return in.size() == 33; }));
}

TEST(AdmissionBudgetTest, APartOfTheRoomIsKeptForNewcomers) {
  AdmissionBudget budget(160);
  for (const auto& [taken, shortage] : {std::pair{0U, 0U}, {149U, 0U}, {150U, 1U}, {160U, 11U}}) {
    budget.connections.store(taken);
    EXPECT_EQ(budget.shortage(), shortage) << taken;
  }
  budget.leaving.store(4);
  EXPECT_EQ(budget.shortage(), 7U);
  budget.leaving.store(100);
  EXPECT_EQ(budget.shortage(), 0U);
}

// Not the only one there is.
TEST(AdmissionBudgetTest, WhoIsAloneIsNotAskedToGo) {
  for (const std::size_t max : {0U, 1U, 2U}) {
    AdmissionBudget budget(max);
    budget.connections.store(max / 2);
    EXPECT_EQ(budget.shortage(), 0U) << max;
  }
}

TEST_F(ListenerTest, StoppingTakesWhatIsInTheBacklog) {
  open(1000);
  knock(20);
  under_test->stop();
  EXPECT_TRUE(until([&] { return under_test->stopped(); }));
  EXPECT_EQ(in.size(), 20U);
}

TEST_F(ListenerTest, LeavingTakesNothingOfTheBacklogAndTheSocketListensOn) {
  open(1000);
  const int kept = io::listen_on(*io::Address::parse("127.0.0.1:0"), {}).value();
  where = io::local_address(kept).value();
  Listener leaves(
      *transport, ::fcntl(kept, F_DUPFD_CLOEXEC, 0), *budget,
      [this](int accepted) { elsewhere.push_back(accepted); }, true);
  knock(20);
  leaves.leave();
  ASSERT_TRUE(until([&] { return leaves.stopped(); }));
  knock(5);
  EXPECT_TRUE(elsewhere.empty());
  for (int taken = io::accept_now(kept); taken >= 0; taken = io::accept_now(kept)) {
    elsewhere.push_back(taken);
  }
  EXPECT_EQ(elsewhere.size(), 25U);
  io::close_socket(kept);
}

// Whoever of them is woken.
TEST_F(ListenerTest, WhatOneThatLeavesDoesNotTakeTheOtherDoes) {
  const int kept = io::listen_on(*io::Address::parse("127.0.0.1:0"), {}).value();
  open(100'000);
  where = io::local_address(kept).value();
  for (int round = 0; round < 20; ++round) {
    const std::size_t before = elsewhere.size();
    const std::unique_ptr<Listener> old = another(kept, false);  // waits in an accept
    const std::unique_ptr<Listener> young = another(kept, true);
    reactor->turn(false);
    knock_without_waiting(3);
    old->leave();
    EXPECT_TRUE(until([&] { return old->stopped() && elsewhere.size() == before + 3; }));
    end(*young);
  }
  ASSERT_TRUE(until([&] { return done == operations.size(); }));
  io::close_socket(kept);
}

TEST_F(ListenerTest, AllOfABurstIsTakenWhereOthersAcceptToo) {
  open(100'000, true);
  knock(100);
  EXPECT_TRUE(until([&] { return in.size() == 100; }));
  EXPECT_EQ(under_test->counters().paused, 0U);
}

TEST_F(ListenerTest, TwoOnOneSocketHaveBothTheirPartOfABurst) {
  open(100'000);
  const int kept = io::listen_on(*io::Address::parse("127.0.0.1:0"), {}).value();
  where = io::local_address(kept).value();
  std::size_t first = 0;
  std::size_t second = 0;
  const auto take = [this](std::size_t& count) {
    return [this, &count](int accepted) {
      elsewhere.push_back(accepted);
      ++count;
    };
  };
  knock(200);
  Listener one(*transport, ::fcntl(kept, F_DUPFD_CLOEXEC, 0), *budget, take(first), true);
  Listener two(*transport, ::fcntl(kept, F_DUPFD_CLOEXEC, 0), *budget, take(second), true);
  one.start();
  two.start();
  EXPECT_TRUE(until([&] { return first + second == 200; }));
  EXPECT_GE(first, 50U);
  EXPECT_GE(second, 50U);
  end(one);
  end(two);
  io::close_socket(kept);
}

TEST_F(ListenerTest, WhoOwnsItsSocketAgainGoesOnWithoutAPause) {
  open(100'000, true);
  knock(3);
  EXPECT_TRUE(until([&] { return in.size() == 3; }));
  under_test->own();
  knock(30);
  EXPECT_TRUE(until([&] { return in.size() == 33; }));
  EXPECT_EQ(under_test->counters().paused, 0U);
}

}  // namespace
}  // namespace sluice::net
