// SPDX-License-Identifier: GPL-3.0-or-later
// Who holds most.
#include "sluice/proxy/client_account.h"

#include <gtest/gtest.h>

#include <vector>

#include "budget.h"

namespace sluice::proxy {
namespace {

class ClientAccountTest : public testing::Test {
 protected:
  void hold(std::uint64_t client, std::uint64_t network, std::size_t bytes) {
    accounts_.push_back(all_.open(client, network));
    leases_.push_back(budget_.bodies());
    leases_.back().charge(*accounts_.back().get());
    leases_.back().set(bytes);
  }
  void TearDown() override {
    leases_.clear();
    accounts_.clear();
    EXPECT_EQ(all_.size(), 0U);
    EXPECT_EQ(budget_.body_bytes(), 0U);
  }

  Budget budget_{BudgetOptions{}};
  ClientAccounts all_;
  std::vector<AccountRef> accounts_;
  std::vector<BytesLease> leases_;
};

TEST_F(ClientAccountTest, WhereNobodyHoldsAnythingNobodyHoldsMost) {
  EXPECT_FALSE(all_.largest());
  hold(1, 1, 0);
  EXPECT_FALSE(all_.largest());
}

TEST_F(ClientAccountTest, OneThatHoldsClearlyMoreThanTheOthersIsFound) {
  hold(1, 10, 1000);
  hold(2, 20, 100);
  hold(3, 20, 100);
  const auto largest = all_.largest();
  ASSERT_TRUE(largest);
  EXPECT_FALSE(largest->whole_network);
  EXPECT_EQ(largest->client, 1U);
  EXPECT_EQ(largest->bytes, 1000U);
  EXPECT_TRUE(largest->includes(*accounts_[0].get()));
  EXPECT_FALSE(largest->includes(*accounts_[1].get()));
}

TEST_F(ClientAccountTest, WhereAllHoldAboutTheSameNobodyHoldsMost) {
  for (std::uint64_t client = 1; client < 20; ++client) hold(client, client, 1000 + client);
  EXPECT_FALSE(all_.largest());
}

// Resting connections keep accounts, too, and hold nothing.
TEST_F(ClientAccountTest, WhoHoldsNothingDoesNotMakeOthersHoldMost) {
  for (std::uint64_t client = 1; client < 20; ++client) hold(client, client, 1000 + client);
  for (std::uint64_t client = 100; client < 1000; ++client) hold(client, client, 0);
  EXPECT_FALSE(all_.largest());
}

// Tokens by the thousand from one address, each with a little.
TEST_F(ClientAccountTest, ANetworkWhoseClientsTogetherHoldMostIsFound) {
  for (std::uint64_t client = 1; client < 1000; ++client) hold(client, 10, 1000);
  for (std::uint64_t client = 2000; client < 2010; ++client) hold(client, client, 1000);
  const auto largest = all_.largest();
  ASSERT_TRUE(largest);
  EXPECT_TRUE(largest->whole_network);
  EXPECT_EQ(largest->network, 10U);
  EXPECT_EQ(largest->bytes, 999'000U);
  EXPECT_TRUE(largest->includes(*accounts_[5].get()));
  EXPECT_FALSE(largest->includes(*accounts_.back().get()));
}

// Behind one address all are equal.
TEST_F(ClientAccountTest, OneNetworkAloneIsNotTooMuch) {
  for (std::uint64_t client = 1; client < 100; ++client) hold(client, 10, 1000);
  EXPECT_FALSE(all_.largest());
}

TEST_F(ClientAccountTest, ALeaseOfOneIsGivenBackOnce) {
  const AccountRef account = all_.open(1, 1);
  const auto take = [&] { return CountLease(all_.open(1, 1), &ClientAccount::anonymous); };
  {
    CountLease lease = take();
    EXPECT_EQ(account.get()->anonymous, 1U);
    CountLease other = std::move(lease);
    EXPECT_FALSE(lease.held());
    other = take();
    EXPECT_EQ(account.get()->anonymous, 1U);
    other.release();
    other.release();
    EXPECT_EQ(account.get()->anonymous, 0U);
    other = take();
  }
  EXPECT_EQ(account.get()->anonymous, 0U);
}

}  // namespace
}  // namespace sluice::proxy
