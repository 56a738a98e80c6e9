// SPDX-License-Identifier: GPL-3.0-or-later
// Proven tokens: known, bounded, forgotten.
#include "token_proofs.h"

#include <gtest/gtest.h>

#include <random>
#include <set>
#include <string>

namespace sluice::proxy {
namespace {

constexpr std::uint64_t client = 1;

TEST(TokenProofsTest, HashesAsTheReferenceVectorsOfSipHash128) {
  // SipHash-2-4 with 128 bits of output, key 00 01 … 0f, empty input (reference vectors).
  TokenProofs proofs(1, {0x0706050403020100U, 0x0f0e0d0c0b0a0908U});
  const TokenHash hash = proofs.hash("");
  EXPECT_EQ(hash.low, 0xe6a825ba047f81a3U);
  EXPECT_EQ(hash.high, 0x930255c71472f66dU);
}

TEST(TokenProofsTest, EveryByteAndTheLengthMatter) {
  TokenProofs proofs(1, {1, 2});
  const std::string token = "0123456789abcdefghij";
  for (std::size_t i = 0; i < token.size(); ++i) {
    std::string other = token;
    other[i] ^= 1;
    EXPECT_NE(proofs.hash(token), proofs.hash(other));
  }
  EXPECT_NE(proofs.hash(token), proofs.hash(token + '\0'));
}

TEST(TokenProofsTest, AnotherKeyGivesAnotherHash) {
  EXPECT_NE(TokenProofs(1, {1, 2}).hash("t"), TokenProofs(1, {1, 3}).hash("t"));
}

// Whatever came before, also a prefix of it or one that is not kept.
TEST(TokenProofsTest, TheHashOfAConnectionsLastTokenIsThatOfTheToken) {
  const TokenProofs proofs(1, {1, 2});
  LastToken last;
  const std::string a(1000, 'a');
  const std::string long_one(100'000, 'x');
  for (const std::string& token :
       {a, a, std::string(999, 'a'), a, std::string(1001, 'a'), std::string("b"), std::string(),
        std::string(), std::string("b"), long_one, long_one, a, std::string(1000, 'b')}) {
    EXPECT_EQ(last.hash(token, proofs), proofs.hash(token)) << token.size();
  }
}

TEST(TokenProofsTest, ForgetsTheLeastRecentlyUsedFirst) {
  TokenProofs proofs(2, {1, 2});
  const auto a = proofs.hash("a"), b = proofs.hash("b"), c = proofs.hash("c");
  proofs.prove(a, client);
  proofs.prove(b, client);
  EXPECT_TRUE(proofs.proven(a));
  proofs.prove(c, client);
  EXPECT_TRUE(proofs.proven(a));
  EXPECT_FALSE(proofs.proven(b));
  EXPECT_EQ(proofs.size(), 2U);
}

TEST(TokenProofsTest, OneRefusalIsADoubtAndTheSecondTakesTheProofAway) {
  TokenProofs proofs(2, {1, 2});
  const auto a = proofs.hash("a");
  proofs.refuse(a);
  EXPECT_FALSE(proofs.proven(a));
  proofs.prove(a, client);
  proofs.refuse(a);
  EXPECT_TRUE(proofs.proven(a));
  EXPECT_TRUE(proofs.any_doubted());
  proofs.refuse(a);
  EXPECT_FALSE(proofs.proven(a));
  EXPECT_FALSE(proofs.any_doubted());
  EXPECT_EQ(proofs.size(), 0U);
}

TEST(TokenProofsTest, AProofInBetweenEndsADoubt) {
  TokenProofs proofs(2, {1, 2});
  const auto a = proofs.hash("a");
  proofs.prove(a, client);
  for (int i = 0; i < 3; ++i) {
    proofs.refuse(a);
    proofs.prove(a, client);
    EXPECT_FALSE(proofs.any_doubted());
  }
  EXPECT_TRUE(proofs.proven(a));
}

// However recently it has used them.
TEST(TokenProofsTest, WhoProvesMostEvictsItsOwn) {
  constexpr std::size_t max = 100;
  TokenProofs proofs(max, {1, 2});
  const auto token = [&](int number) { return proofs.hash(std::to_string(number)); };
  for (int i = 0; i < 10; ++i) proofs.prove(token(i), client);
  for (int i = 10; i < 5000; ++i) {
    proofs.prove(token(i), client + 1);
    ASSERT_LE(proofs.size(), max);
  }
  for (int i = 0; i < 10; ++i) EXPECT_TRUE(proofs.proven(token(i))) << i;
  EXPECT_TRUE(proofs.proven(token(4999)));
  EXPECT_FALSE(proofs.proven(token(10)));
  // The place that it lost may be anybody's, and is counted as theirs.
  for (int i = 5000; i < 5060; ++i) proofs.prove(token(i), client + 2);
  std::size_t left = 0;
  for (int i = 4000; i < 5000; ++i) left += proofs.proven(token(i)) ? 1U : 0U;
  EXPECT_EQ(left, 45U);
}

// A model that searches.
TEST(TokenProofsTest, AnyOrderOfProofsAndRefusalsKeepsItsBooks) {
  TokenProofs proofs(8, {1, 2});
  std::mt19937 random(7);
  std::set<int> doubted;
  for (int step = 0; step < 20'000; ++step) {
    const int number = static_cast<int>(random() % 20);
    const auto hash = proofs.hash(std::to_string(number));
    const bool before = proofs.proven(hash);
    if (random() % 3 == 0) {
      proofs.refuse(hash);
      EXPECT_EQ(proofs.proven(hash), before && !doubted.contains(number));
      if (!doubted.erase(number) && before) doubted.insert(number);
    } else {
      proofs.prove(hash, random() % 3);
      EXPECT_TRUE(proofs.proven(hash));
      doubted.erase(number);
    }
    std::erase_if(doubted,
                  [&](int other) { return !proofs.proven(proofs.hash(std::to_string(other))); });
    EXPECT_EQ(proofs.any_doubted(), !doubted.empty());
    EXPECT_LE(proofs.size(), 8U);
  }
}

// So that a process that takes over evicts whom this one would have.
TEST(TokenProofsTest, WhatAllSaysMakesTheSameTableOfThem) {
  TokenProofs proofs(3, {1, 2});
  const TokenHash first{1, 1};
  const TokenHash second{2, 2};
  const TokenHash third{3, 3};
  proofs.prove(first, client);
  proofs.prove(second, client);
  proofs.prove(third, client + 1);
  proofs.proven(first);  // a use
  TokenProofs copy(3, {1, 2});
  for (const TokenChange& each : proofs.all()) {
    EXPECT_TRUE(each.proven);
    EXPECT_TRUE(copy.prove(each.token, each.network));
  }
  EXPECT_EQ(copy.size(), 3U);
  copy.prove({4, 4}, client + 2);
  EXPECT_FALSE(copy.proven(second));
  EXPECT_TRUE(copy.proven(first));
  EXPECT_TRUE(copy.proven(third));
}

}  // namespace
}  // namespace sluice::proxy
