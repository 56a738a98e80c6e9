// SPDX-License-Identifier: GPL-3.0-or-later
// Who is asked first, and that nobody is asked who works.
#include "sluice/balance/holders.h"

#include <gtest/gtest.h>

#include <bit>
#include <deque>
#include <map>
#include <memory>
#include <vector>

#include "sluice/base/random.h"

namespace sluice::balance {
namespace {

int width(std::size_t held) { return static_cast<int>(std::bit_width(held)); }

class HoldersTest : public testing::Test {
 protected:
  Holding& add(std::uint64_t client) {
    held_.push_back(std::make_unique<Holding>());
    holders.add(*held_.back(), client);
    return *held_.back();
  }

  Holders holders;

 private:
  std::deque<std::unique_ptr<Holding>> held_;
};

TEST_F(HoldersTest, NobodyIsAskedWhenNothingRests) {
  EXPECT_EQ(holders.first(), nullptr);
  Holding& only = add(1);
  EXPECT_EQ(holders.first(), &only);
  only.work();
  EXPECT_EQ(holders.first(), nullptr);
  EXPECT_EQ(holders.held(), 1U);
}

TEST_F(HoldersTest, OfOneClientWhatHasRestedLongestGoesFirst) {
  Holding& a = add(1);
  Holding& b = add(1);
  Holding& c = add(1);
  EXPECT_EQ(holders.first(), &a);
  a.work();
  b.rest();
  EXPECT_EQ(holders.first(), &c);
  a.rest();
  c.let_go();
  EXPECT_EQ(holders.first(), &b);
}

TEST_F(HoldersTest, WhoHoldsMostIsAskedUntilItHoldsAboutAsMuchAsOthers) {
  for (int i = 0; i < 100; ++i) add(1);
  Holding& other = add(2);
  for (int i = 0; i < 3; ++i) add(3);
  int asked = 0;
  while (holders.first() != &other) {
    Holding* first = holders.first();
    EXPECT_TRUE(first->client() == 1 || first->client() == 3);
    first->let_go();
    ++asked;
  }
  EXPECT_GE(asked, 100);
  EXPECT_LE(holders.held(), 3U);
}

TEST_F(HoldersTest, WhatWorksCountsButIsNotAskedFor) {
  std::vector<Holding*> many;
  for (int i = 0; i < 10; ++i) many.push_back(&add(1));
  Holding& other = add(2);
  for (Holding* each : many) each->work();
  EXPECT_EQ(holders.first(), &other);
  many[7]->rest();
  EXPECT_EQ(holders.first(), many[7]);
}

TEST_F(HoldersTest, ThoseWithAboutAsMuchTakeTurns) {
  for (int i = 0; i < 4; ++i) {
    for (std::uint64_t client = 1; client <= 3; ++client) add(client);
  }
  std::vector<std::uint64_t> asked;
  for (int i = 0; i < 3; ++i) {
    Holding* first = holders.first();
    asked.push_back(first->client());
    first->let_go();
  }
  EXPECT_EQ(asked, (std::vector<std::uint64_t>{1, 2, 3}));
}

TEST_F(HoldersTest, WhatIsDestroyedIsNotHeldAnyMore) {
  {
    Holding gone;
    holders.add(gone, 5);
    EXPECT_EQ(holders.clients(), 1U);
  }
  EXPECT_EQ(holders.held(), 0U);
  EXPECT_EQ(holders.clients(), 0U);
}

TEST_F(HoldersTest, AfterAnySequenceTheFirstIsOfTheLargestClass) {
  Random random(3);
  std::vector<std::unique_ptr<Holding>> all;
  std::map<std::uint64_t, std::size_t> held;
  for (int step = 0; step < 20'000; ++step) {
    if (all.empty() || random.below(5) < 2) {
      const std::uint64_t client = random.below(random.below(2) == 0 ? 3 : 50);
      all.push_back(std::make_unique<Holding>());
      holders.add(*all.back(), client);
      ++held[client];
    } else {
      auto& chosen = all[random.below(static_cast<std::uint32_t>(all.size()))];
      switch (random.below(3)) {
        case 0: chosen->work(); break;
        case 1: chosen->rest(); break;
        default:
          --held[chosen->client()];
          std::swap(chosen, all.back());
          all.pop_back();
      }
    }
    if (step % 50 != 0) continue;
    int widest = 0;
    for (const auto& each : all) {
      if (each->rests()) widest = std::max(widest, width(held[each->client()]));
    }
    const Holding* first = holders.first();
    EXPECT_EQ(first == nullptr ? 0 : width(held[first->client()]), widest);
    EXPECT_EQ(holders.held(), all.size());
  }
}

}  // namespace
}  // namespace sluice::balance
