// SPDX-License-Identifier: GPL-3.0-or-later
// Where clients go that have lately written.
#include "write_affinity.h"

#include <gtest/gtest.h>

namespace sluice::proxy {
namespace {

using namespace std::chrono_literals;
using balance::mask_of;

constexpr Instant start{100s};
constexpr Duration lasting = 5s;

TEST(WriteAffinityTest, WhoHasWrittenGoesThereUntilTheTimeIsOver) {
  WriteAffinity affinity;
  EXPECT_TRUE(affinity.empty());
  affinity.wrote({7, 2}, lasting, start);
  EXPECT_FALSE(affinity.empty());
  EXPECT_EQ(affinity.backend_of(7, lasting, start + lasting - 1ms), mask_of(2));
  EXPECT_EQ(affinity.backend_of(8, lasting, start), 0U);
  EXPECT_EQ(affinity.backend_of(7, lasting, start + lasting), 0U);
  EXPECT_TRUE(affinity.empty());
}

TEST(WriteAffinityTest, EachWriteBeginsTheTimeAnewWhereItWent) {
  WriteAffinity affinity;
  affinity.wrote({7, 2}, lasting, start);
  affinity.wrote({7, 0}, lasting, start + 3s);
  EXPECT_EQ(affinity.backend_of(7, lasting, start + 7s), mask_of(0));
  EXPECT_EQ(affinity.backend_of(7, lasting, start + 8s), 0U);
}

TEST(WriteAffinityTest, OthersAreToldOfTheFirstWriteOfAnotherBackendAndNowAndThen) {
  WriteAffinity affinity;
  EXPECT_TRUE(affinity.wrote({7, 2}, lasting, start));
  EXPECT_FALSE(affinity.wrote({7, 2}, lasting, start + 1ms));
  EXPECT_TRUE(affinity.wrote({7, 1}, lasting, start + 2ms));
  EXPECT_FALSE(affinity.wrote({7, 1}, lasting, start + 501ms));
  EXPECT_TRUE(affinity.wrote({7, 1}, lasting, start + 502ms));
  EXPECT_TRUE(affinity.wrote({8, 1}, lasting, start + 502ms));
}

TEST(WriteAffinityTest, WhatAnotherWorkerSaysCountsAndIsNotToldBack) {
  WriteAffinity affinity;
  affinity.learn({7, 2}, start);
  EXPECT_EQ(affinity.backend_of(7, lasting, start + 1s), mask_of(2));
  EXPECT_FALSE(affinity.wrote({7, 2}, lasting, start + 1ms));
}

TEST(WriteAffinityTest, TheClientThatWroteLongestAgoMakesRoom) {
  WriteAffinity affinity;
  for (std::uint64_t client = 1; client <= WriteAffinity::clients_max; ++client) {
    affinity.wrote({client, 1}, lasting, start);
  }
  affinity.wrote({1, 1}, lasting, start);
  affinity.wrote({WriteAffinity::clients_max + 1, 1}, lasting, start);
  EXPECT_EQ(affinity.backend_of(1, lasting, start), mask_of(1));
  EXPECT_EQ(affinity.backend_of(2, lasting, start), 0U);
  EXPECT_EQ(affinity.backend_of(3, lasting, start), mask_of(1));
  EXPECT_EQ(affinity.backend_of(WriteAffinity::clients_max + 1, lasting, start), mask_of(1));
}

TEST(WriteAffinityTest, AShorterTimeCountsForWhatWasWrittenBefore) {
  WriteAffinity affinity;
  affinity.wrote({7, 2}, lasting, start);
  EXPECT_EQ(affinity.backend_of(7, 1s, start + 1s), 0U);
}

TEST(WriteAffinityTest, AClientIsItsIdentityAtItsAddress) {
  const ClientKeys keys{.network = 0x100, .user = 0x200, .connection = 0x300};
  RequestPlan certificate;
  certificate.standing = backend::Standing::proven;
  certificate.client = keys.user;
  EXPECT_EQ(WriteAffinity::client_of(certificate, keys), keys.user);
  RequestPlan token;
  token.bearer = true;
  token.token = {.high = 1, .low = 2};
  token.client = keys.network;
  const std::uint64_t unproven = WriteAffinity::client_of(token, keys);
  token.standing = backend::Standing::proven;
  token.client = keys.network ^ token.token.low;
  EXPECT_EQ(WriteAffinity::client_of(token, keys), token.client);
  EXPECT_EQ(unproven, token.client) << "what it writes proves it";
  RequestPlan nobody;
  nobody.client = keys.network;
  EXPECT_EQ(WriteAffinity::client_of(nobody, keys), 0U);
}

}  // namespace
}  // namespace sluice::proxy
