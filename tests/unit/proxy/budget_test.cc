// SPDX-License-Identifier: GPL-3.0-or-later
// What counts as used up.
#include "budget.h"

#include <gtest/gtest.h>

namespace sluice::proxy {
namespace {

TEST(BudgetTest, ConnectionsThemselvesAreCountedUpToHalfOfIt) {
  Budget budget({.bytes_max = 1000, .client_bytes_max = 1000});
  const ClientAccount nobody;
  BytesLease bodies = budget.bodies();
  bodies.set(600);
  EXPECT_FALSE(budget.used_up_for(nobody));
  budget.set_connections(0, 400);
  EXPECT_FALSE(budget.used_up_for(nobody));
  EXPECT_TRUE(budget.wants_room());
  budget.set_connections(0, 401);
  EXPECT_TRUE(budget.used_up_for(nobody));
  bodies.set(500);
  budget.set_connections(0, 1'000'000);
  EXPECT_FALSE(budget.used_up_for(nobody));
  budget.set_connections(1, 1'000'000);
  EXPECT_TRUE(budget.used_up_for(nobody));
  budget.set_connections(0, 0);
  EXPECT_FALSE(budget.wants_room());
}

}  // namespace
}  // namespace sluice::proxy
