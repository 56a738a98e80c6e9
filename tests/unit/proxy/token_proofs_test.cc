// SPDX-License-Identifier: GPL-3.0-or-later
// Proven tokens: known, bounded, forgotten.
#include "token_proofs.h"

#include <gtest/gtest.h>

#include <string>

namespace sluice::proxy {
namespace {

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
  proofs.add(a);
  proofs.add(b);
  EXPECT_TRUE(proofs.proven(a));
  proofs.add(c);
  EXPECT_TRUE(proofs.proven(a));
  EXPECT_FALSE(proofs.proven(b));
  EXPECT_EQ(proofs.size(), 2U);
}

TEST(TokenProofsTest, A401TakesTheProofAway) {
  TokenProofs proofs(2, {1, 2});
  const auto a = proofs.hash("a");
  proofs.add(a);
  proofs.drop(a);
  EXPECT_FALSE(proofs.proven(a));
  proofs.drop(a);
}

}  // namespace
}  // namespace sluice::proxy
