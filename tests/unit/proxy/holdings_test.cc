// SPDX-License-Identifier: GPL-3.0-or-later
// Who is found to hold most.
#include "holdings.h"

#include <gtest/gtest.h>

namespace sluice::proxy {
namespace {

using Kind = Holdings::Kind;
using Owner = Holdings::Owner;

class HoldingsTest : public testing::Test {
 protected:
  void hold(std::uint64_t client, std::uint64_t network, std::size_t bytes) {
    holdings.add({client, network, true}, bytes);
  }
  void strangers_hold(std::uint64_t connection, std::uint64_t network, std::size_t bytes) {
    holdings.add({connection, network, false}, bytes);
  }

  Holdings holdings;
};

TEST_F(HoldingsTest, WhereNobodyHoldsAnythingNobodyHoldsMost) {
  EXPECT_FALSE(holdings.largest());
  hold(1, 1, 0);
  EXPECT_FALSE(holdings.largest());
}

TEST_F(HoldingsTest, OneThatHoldsClearlyMoreThanTheOthersIsFound) {
  hold(1, 10, 500);
  hold(2, 20, 100);
  hold(1, 10, 500);
  hold(3, 20, 100);
  const auto most = holdings.largest();
  ASSERT_TRUE(most);
  EXPECT_EQ(most->kind, Kind::client);
  EXPECT_EQ(most->bytes, 1000U);
  EXPECT_TRUE(most->includes({1, 10, true}));
  EXPECT_FALSE(most->includes({2, 20, true}));
}

TEST_F(HoldingsTest, WhereAllHoldAboutTheSameNobodyHoldsMost) {
  for (std::uint64_t client = 1; client < 20; ++client) hold(client, client, 1000 + client);
  EXPECT_FALSE(holdings.largest());
}

// Who asks for room holds nothing yet.
TEST_F(HoldingsTest, AFewWhoHoldEverythingMakeRoomForOneMore) {
  for (std::uint64_t client = 1; client <= 4; ++client) hold(client, client, 1000 + client);
  const auto most = holdings.largest();
  ASSERT_TRUE(most);
  EXPECT_EQ(most->kind, Kind::client);
  EXPECT_TRUE(most->includes({4, 4, true}));
  EXPECT_FALSE(most->includes({3, 3, true}));
}

// Resting connections keep accounts, too, and hold nothing.
TEST_F(HoldingsTest, WhoHoldsNothingDoesNotMakeOthersHoldMost) {
  for (std::uint64_t client = 1; client < 20; ++client) hold(client, client, 1000 + client);
  for (std::uint64_t client = 100; client < 1000; ++client) hold(client, client, 0);
  EXPECT_FALSE(holdings.largest());
}

// Tokens by the thousand from one address, each with a little.
TEST_F(HoldingsTest, ANetworkWhoseClientsTogetherHoldMostIsFound) {
  for (std::uint64_t client = 1; client < 1000; ++client) hold(client, 10, 1000);
  for (std::uint64_t client = 2000; client < 2010; ++client) hold(client, client, 1000);
  const auto most = holdings.largest();
  ASSERT_TRUE(most);
  EXPECT_EQ(most->kind, Kind::network);
  EXPECT_EQ(most->bytes, 999'000U);
  EXPECT_TRUE(most->includes({5, 10, true}));
  EXPECT_FALSE(most->includes({2000, 2000, true}));
}

// Behind one address all are equal.
TEST_F(HoldingsTest, OneNetworkAloneIsNotTooMuch) {
  for (std::uint64_t client = 1; client < 100; ++client) hold(client, 10, 1000);
  EXPECT_FALSE(holdings.largest());
}

// However many connections they spread it over, and wherever they come from.
TEST_F(HoldingsTest, StrangersMakeRoomBeforeAnybodyWhoIsProven) {
  for (std::uint64_t client = 1; client < 100; ++client) hold(client, 10, 1000);
  for (std::uint64_t other = 1000; other < 1100; ++other) strangers_hold(other, 10, 1000);
  const auto most = holdings.largest();
  ASSERT_TRUE(most);
  EXPECT_EQ(most->kind, Kind::strangers);
  EXPECT_EQ(most->bytes, 100'000U);
  EXPECT_TRUE(most->includes({1000, 10, false}));
  EXPECT_FALSE(most->includes({1, 10, true}));
}

TEST_F(HoldingsTest, StrangersWhoTogetherHoldMoreThanAProvenClientGoBeforeIt) {
  hold(1, 10, 1000);
  hold(2, 10, 10);
  for (std::uint64_t other = 1000; other < 1011; ++other) strangers_hold(other, 20, 100);
  EXPECT_EQ(holdings.largest()->kind, Kind::strangers);
  hold(1, 10, 101);
  EXPECT_TRUE(holdings.largest()->includes({1, 10, true}));
}

TEST_F(HoldingsTest, AStrangerWhoHoldsMostGoesBeforeTheOthersOfThem) {
  strangers_hold(1, 20, 1000);
  for (std::uint64_t other = 1000; other < 1020; ++other) strangers_hold(other, 20, 100);
  EXPECT_TRUE(holdings.largest()->includes({1, 20, false}));
  EXPECT_FALSE(holdings.largest()->includes({1000, 20, false}));
}

// They are no reason for whoever has something under way to have less.
TEST_F(HoldingsTest, StrangersWhoRestAreNoHoldersOfAnEqualShare) {
  for (std::uint64_t client = 1; client < 20; ++client) hold(client, client, 1000 + client);
  for (int i = 0; i < 10; ++i) holdings.add_strangers(100);
  EXPECT_FALSE(holdings.largest());
  for (int i = 0; i < 90; ++i) holdings.add_strangers(100);
  const auto most = holdings.largest();
  ASSERT_TRUE(most);
  EXPECT_EQ(most->kind, Kind::strangers);
  EXPECT_EQ(most->bytes, 10'000U);
}

TEST_F(HoldingsTest, StrangersWhoHoldLittleAreLeftAlone) {
  for (std::uint64_t client = 1; client < 100; ++client) hold(client, 10, 1000);
  for (std::uint64_t other = 1000; other < 1010; ++other) strangers_hold(other, 20, 1000);
  EXPECT_FALSE(holdings.largest() && holdings.largest()->kind == Kind::strangers);
}

}  // namespace
}  // namespace sluice::proxy
