// SPDX-License-Identifier: GPL-3.0-or-later
// Who gets the watches that go on while a server is young.
#include "sluice/balance/steering.h"

#include <gtest/gtest.h>

#include <numeric>
#include <vector>

namespace sluice::balance {
namespace {

std::vector<Load> watches(std::initializer_list<std::uint32_t> counts) {
  std::vector<Load> loads;
  for (const std::uint32_t count : counts) loads.push_back({.watches = count});
  return loads;
}

constexpr BackendMask all = 0b111;

TEST(SteeringTest, NothingIsSteeredWhileAllAreOldOrAllAreYoung) {
  EXPECT_EQ(with_history(watches({10, 10, 0}), all, 0), 0U);
  EXPECT_EQ(with_history(watches({10, 10, 0}), all, all), 0U);
  EXPECT_EQ(with_history(watches({10, 10, 0}), 0b011, 0b100), 0U) << "the young one is not usable";
  EXPECT_EQ(with_history(watches({10, 10, 0}), 0b100, 0b100), 0U);
  EXPECT_EQ(with_history({}, 0, 0), 0U);
}

TEST(SteeringTest, TheOldOnesAreAskedFirst) {
  EXPECT_EQ(with_history(watches({10, 12, 5}), all, 0b100), 0b011U);
  EXPECT_EQ(with_history(watches({0, 0, 0}), all, 0b010), 0b101U);
}

TEST(SteeringTest, WhoHoldsAThirdMoreThanItsShareGetsNoMore) {
  // 31 with this one: a share is 10.3, and 1.3 of it 13.4.
  EXPECT_EQ(with_history(watches({13, 14, 3}), all, 0b100), 0b001U);
  EXPECT_EQ(with_history(watches({14, 14, 2}), all, 0b100), 0U);
}

TEST(SteeringTest, OneOfTwoMayHoldMore) {
  // 20 with this one: a share is 10, and 1.6 of it 16.
  EXPECT_EQ(with_history(watches({15, 4}), 0b11, 0b10), 0b01U);
  EXPECT_EQ(with_history(watches({16, 3}), 0b11, 0b10), 0U);
}

TEST(SteeringTest, TheLastOldOneOfARollNeverCarriesAll) {
  std::vector<Load> loads = watches({16, 0, 0});
  for (int i = 0; i < 34; ++i) {
    const bool steered = with_history(loads, all, 0b110) != 0;
    ++loads[steered ? 0 : 1 + static_cast<std::size_t>(i % 2)].watches;
  }
  EXPECT_LE(loads[0].watches, 22U);
  EXPECT_GE(loads[0].watches, 20U);
  EXPECT_EQ(std::accumulate(loads.begin(), loads.end(), 0U,
                            [](unsigned sum, const Load& load) { return sum + load.watches; }),
            50U);
}

TEST(SteeringTest, CountsBeyondThirtyTwoBitsAreNoneSmaller) {
  constexpr std::uint32_t most = 0xffffffff;
  EXPECT_EQ(with_history(watches({most, most, 0}), all, 0b100), 0U);
  EXPECT_EQ(with_history(watches({most, 7, most}), all, 0b100), 0b010U);
}

}  // namespace
}  // namespace sluice::balance
