// SPDX-License-Identifier: GPL-3.0-or-later
// Which target a connection goes to.
#include "pass_targets.h"

#include <gtest/gtest.h>

#include <array>
#include <vector>

namespace sluice::server {
namespace {

TEST(PassTargetsTest, TheOneWithTheFewestConnectionsIsChosen) {
  Random random(1);
  const std::array<TargetLoad, 4> loads{
      {{3, false, false}, {1, false, false}, {2, false, false}, {1, true, false}}};
  for (int i = 0; i < 20; ++i) EXPECT_EQ(choose_target(loads, random), 1U);
}

TEST(PassTargetsTest, AmongEqualsChanceDecides) {
  Random random(1);
  const std::vector<TargetLoad> loads(3);
  std::array<int, 3> chosen{};
  for (int i = 0; i < 3000; ++i) ++chosen.at(*choose_target(loads, random));
  for (const int times : chosen) {
    EXPECT_GT(times, 900);
    EXPECT_LT(times, 1100);
  }
}

TEST(PassTargetsTest, OneThatRefusesIsTriedWhenNoOtherIsLeft) {
  Random random(1);
  std::vector<TargetLoad> loads{{9, false, false}, {0, true, false}, {1, true, false}};
  EXPECT_EQ(choose_target(loads, random), 0U);
  loads[0].tried = true;
  EXPECT_EQ(choose_target(loads, random), 1U);
  loads[1].tried = true;
  EXPECT_EQ(choose_target(loads, random), 2U);
  loads[2].tried = true;
  EXPECT_EQ(choose_target(loads, random), std::nullopt);
  EXPECT_EQ(choose_target({}, random), std::nullopt);
}

TEST(PassTargetsTest, AreReachedAsLongAsOneIsNotKnownToRefuse) {
  const PassTargets targets =
      make_targets({*io::Address::parse("10.0.0.1:1"), *io::Address::parse("10.0.0.2:1")});
  EXPECT_TRUE(any_may_be_reached(targets));
  targets[0]->refuses = true;
  EXPECT_TRUE(any_may_be_reached(targets));
  targets[1]->refuses = true;
  EXPECT_FALSE(any_may_be_reached(targets));
  EXPECT_FALSE(any_may_be_reached({}));
}

}  // namespace
}  // namespace sluice::server
