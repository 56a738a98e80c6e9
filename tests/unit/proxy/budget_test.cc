// SPDX-License-Identifier: GPL-3.0-or-later
// What counts as used up.
#include "budget.h"

#include <gtest/gtest.h>

namespace sluice::proxy {
namespace {

class BudgetTest : public testing::Test {
 protected:
  static constexpr BudgetOptions of_all = {
      .bytes_max = 1000, .client_bytes_max = 1000, .replay_bytes_max = 50};
  static constexpr BudgetOptions of_cluster = {.client_bytes_max = 1000};

  bool admitted(const Budget& budget) const { return !budget.used_up_for(*client_.get()); }

  ClientAccounts accounts_;
  AccountRef client_ = accounts_.open(1, 1);
  Budget whole_{of_all};
};

TEST_F(BudgetTest, OneClusterAloneHasAll) {
  Budget only(of_cluster, &whole_);
  BytesLease held = only.bodies();
  held.set(1000);
  EXPECT_TRUE(admitted(only));
  EXPECT_EQ(whole_.charged_bytes(), 1000U);
  held.set(1001);
  EXPECT_FALSE(admitted(only));
  EXPECT_EQ(whole_.missing_room(), 1001U - (1000 - 1000 / 16));
}

TEST_F(BudgetTest, WhateverOthersHoldAClusterIsAdmittedUpToWhatIsGuaranteed) {
  Budget greedy(of_cluster, &whole_);
  Budget modest(of_cluster, &whole_);
  BytesLease much = greedy.bodies();
  // As far as it is let.
  while (admitted(greedy)) much.add(10);
  EXPECT_EQ(much.bytes(), 880U);  // all but an eighth
  EXPECT_TRUE(greedy.wants_room());
  BytesLease little = modest.requests();
  while (little.bytes() < 125) {
    ASSERT_TRUE(admitted(modest)) << little.bytes();
    ASSERT_FALSE(modest.exhausted());
    EXPECT_FALSE(modest.short_of_memory());
    little.add(10);
  }
  EXPECT_FALSE(admitted(modest));
  EXPECT_FALSE(admitted(greedy));
}

TEST_F(BudgetTest, WhatNobodyNeedsIsForWhomeverNeedsIt) {
  Budget one(of_cluster, &whole_);
  Budget other(of_cluster, &whole_);
  BytesLease held = one.bodies();
  held.set(700);
  EXPECT_TRUE(admitted(one));
  held.set(100);
  BytesLease also = other.bodies();
  also.set(700);
  EXPECT_TRUE(admitted(other));
  EXPECT_TRUE(admitted(one));
}

TEST_F(BudgetTest, WhatIsGuaranteedIsDividedAnewWhenAClusterComesOrGoes) {
  Budget one(of_cluster, &whole_);
  BytesLease held = one.bodies();
  held.set(900);
  EXPECT_TRUE(admitted(one));
  {
    Budget two(of_cluster, &whole_);
    EXPECT_FALSE(admitted(one));
    EXPECT_TRUE(admitted(two));
    Budget three(of_cluster, &whole_);
    BytesLease its = three.bodies();
    its.set(80);
    EXPECT_TRUE(admitted(three));
    its.set(90);
    EXPECT_FALSE(admitted(three));
  }
  EXPECT_TRUE(admitted(one));
}

TEST_F(BudgetTest, NothingGoesForWhatIsKeptUnlessSomebodyHoldsMoreThanThat) {
  Budget one(of_cluster, &whole_);
  Budget other(of_cluster, &whole_);
  BytesLease held = one.bodies();
  held.set(100);
  whole_.set_connections(800, 0);  // and 250 are kept
  EXPECT_FALSE(whole_.wants_room());
  EXPECT_TRUE(admitted(one));
  held.set(130);
  EXPECT_EQ(whole_.missing_room(), 5U);
  EXPECT_FALSE(admitted(one));
  EXPECT_TRUE(admitted(other));
  whole_.set_connections(950, 0);
  EXPECT_EQ(whole_.missing_room(), 130U + 950 - (1000 - 1000 / 16));
}

TEST_F(BudgetTest, NoClusterGrowsWindowsAtTheExpenseOfAllOthers) {
  Budget one(of_cluster, &whole_);
  EXPECT_TRUE(one.may_lend(500, nullptr));
  Budget other(of_cluster, &whole_);
  EXPECT_FALSE(one.may_lend(251, nullptr));
  BytesLease lent = one.window();
  lent.set(250);
  EXPECT_TRUE(other.may_lend(250, nullptr));
  EXPECT_FALSE(other.may_lend(251, nullptr));
}

TEST_F(BudgetTest, CopiesForReplaysAreLimitedOverAllClusters) {
  Budget one(of_cluster, &whole_);
  Budget other(of_cluster, &whole_);
  BytesLease kept = one.replay();
  kept.set(51);
  EXPECT_TRUE(other.replays_used_up());
}

TEST_F(BudgetTest, ConnectionsThemselvesAreAReasonToMakeRoomAndNoneToRefuse) {
  Budget budget({.bytes_max = 1000, .client_bytes_max = 1000});
  const ClientAccount nobody;
  BytesLease bodies = budget.bodies();
  bodies.set(600);
  EXPECT_FALSE(budget.wants_room());
  budget.set_connections(0, 400);
  EXPECT_EQ(budget.missing_room(), 1000U - (1000 - 1000 / 16));
  EXPECT_FALSE(budget.used_up_for(nobody));
  budget.set_connections(0, 1'000'000);
  EXPECT_EQ(budget.missing_room(), 1100U - (1000 - 1000 / 16));  // half of all counts at most
  EXPECT_FALSE(budget.used_up_for(nobody));
  budget.set_connections(401, 0);
  EXPECT_TRUE(budget.used_up_for(nobody));
  budget.set_connections(0, 0);
  EXPECT_FALSE(budget.wants_room());
}

}  // namespace
}  // namespace sluice::proxy
