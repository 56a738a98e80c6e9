// SPDX-License-Identifier: GPL-3.0-or-later
// Admission: who is let in, and what happens to those who queue.
#include "sluice/net/listener.h"

#include "pair.h"

namespace sluice::net {
namespace {

class ListenerTest : public NetTest {
 protected:
  void open(std::size_t connections_max) {
    budget = std::make_unique<AdmissionBudget>(connections_max);
    const int descriptor = io::listen_on(*io::Address::parse("127.0.0.1:0"), {}).value();
    where = io::local_address(descriptor).value();
    under_test = std::make_unique<Listener>(*transport, descriptor, *budget,
                                            [this](int accepted) { in.push_back(accepted); });
    under_test->start();
  }

  void knock(int times) {
    for (int i = 0; i < times; ++i) {
      const int descriptor = io::open_stream(where.family()).value();
      out.push_back(descriptor);
      operations.push_back(std::make_unique<io::Operation>(
          this,
          [](void* self, const io::Completion&) { ++static_cast<ListenerTest*>(self)->done; }));
      reactor->ring().connect(*operations.back(), descriptor, where);
    }
    ASSERT_TRUE(until([&] { return done == operations.size(); }));
  }

  void TearDown() override {
    under_test->stop();
    ASSERT_TRUE(until([&] { return under_test->stopped(); }));
    under_test.reset();
    for (const int descriptor : in) io::close_socket(descriptor);
    for (const int descriptor : out) io::close_socket(descriptor);
    NetTest::TearDown();
  }

  std::unique_ptr<AdmissionBudget> budget;
  io::Address where;
  std::unique_ptr<Listener> under_test;
  std::vector<int> in;
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

}  // namespace
}  // namespace sluice::net
