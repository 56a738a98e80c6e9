// SPDX-License-Identifier: GPL-3.0-or-later
// Who may have one of the last places.
#include "place_shares.h"

#include <gtest/gtest.h>

#include <map>
#include <random>

namespace sluice::backend {
namespace {

TEST(PlaceSharesTest, WhileThereIsEnoughAnybodyMayTakeAnyNumber) {
  PlaceShares shares;
  for (int i = 0; i < 90; ++i) {
    EXPECT_TRUE(shares.may_take(1, 100 - shares.taken())) << i;
    shares.take(1);
  }
  EXPECT_FALSE(shares.may_take(1, 10));
  EXPECT_TRUE(shares.may_take(2, 10));
}

TEST(PlaceSharesTest, TheShareIsThatOfOneMoreThanThereAre) {
  PlaceShares shares;
  for (std::uint64_t client = 0; client < 9; ++client) {
    for (int i = 0; i < 10; ++i) shares.take(client);
  }
  // A hundred for nine and a newcomer.
  EXPECT_FALSE(shares.may_take(3, 10));
  for (int i = 0; i < 9; ++i) {
    EXPECT_TRUE(shares.may_take(99, 10 - static_cast<std::size_t>(i))) << i;
    shares.take(99);
  }
}

TEST(PlaceSharesTest, EvenWhereThereAreMoreClientsThanPlacesOneIsNotTooMany) {
  PlaceShares shares;
  for (std::uint64_t client = 0; client < 20; ++client) shares.take(client);
  EXPECT_TRUE(shares.may_take(99, 0));
  EXPECT_FALSE(shares.may_take(3, 0));
}

TEST(PlaceSharesTest, WhoHoldsMostIsNamedOnlyAboveAShare) {
  PlaceShares shares;
  EXPECT_FALSE(shares.largest(0));
  shares.take(1);
  EXPECT_FALSE(shares.largest(0));
  for (int i = 0; i < 9; ++i) shares.take(2);
  EXPECT_EQ(shares.largest(0), 2U);
  EXPECT_FALSE(shares.largest(20));  // a third of thirty
}

TEST(PlaceSharesTest, WhatIsGivenBackIsForgotten) {
  PlaceShares shares;
  std::map<std::uint64_t, std::size_t> model;
  std::mt19937 random(3);
  for (int step = 0; step < 10'000; ++step) {
    const std::uint64_t client = random() % 7;
    if (random() % 2 == 0) {
      shares.take(client);
      ++model[client];
    } else if (model[client] > 0) {
      shares.give_back(client);
      --model[client];
    }
    EXPECT_EQ(shares.held(client), model[client]);
    std::size_t all = 0;
    std::size_t holders = 0;
    for (const auto& [who, number] : model) {
      all += number;
      holders += number > 0 ? 1U : 0U;
    }
    ASSERT_EQ(shares.taken(), all);
    ASSERT_EQ(shares.holders(), holders);
  }
}

}  // namespace
}  // namespace sluice::backend
