// SPDX-License-Identifier: GPL-3.0-or-later
// What is counted for one client.
#include "sluice/proxy/client_account.h"

#include <gtest/gtest.h>

#include "budget.h"

namespace sluice::proxy {
namespace {

class ClientAccountTest : public testing::Test {
 protected:
  ClientAccounts all_;
};

TEST_F(ClientAccountTest, BytesAreTheirClientsUntilTheLeaseEnds) {
  Budget budget{BudgetOptions{}};
  AccountRef account = all_.open(1, 7, true);
  EXPECT_EQ(account.get()->network, 7U);
  EXPECT_TRUE(account.get()->proven);
  {
    BytesLease lease = budget.bodies();
    lease.set(500);
    EXPECT_EQ(account.get()->bytes, 0U);
    lease.charge(*account.get());
    EXPECT_EQ(account.get()->bytes, 500U);
  }
  EXPECT_EQ(account.get()->bytes, 0U);
  EXPECT_EQ(budget.body_bytes(), 0U);
  account.reset();
  EXPECT_EQ(all_.size(), 0U);
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
