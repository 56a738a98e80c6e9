// SPDX-License-Identifier: GPL-3.0-or-later
// One direction of an exchange: every byte once, credited once, and every lease paid back.
#include "body_flow.h"

#include <gtest/gtest.h>

#include <string>

namespace sluice::proxy {
namespace {

using namespace std::chrono_literals;

class BodyFlowTest : public testing::Test {
 protected:
  static constexpr std::uint32_t window = 1000;
  static constexpr std::uint32_t window_max = 4000;

  void begin() { flow.begin(window, window_max, now); }
  void append(std::size_t bytes) { flow.append(as_bytes(std::string(bytes, 'x'))); }
  BodyFlow::Pulled pull(std::size_t most) {
    std::string room(most, '\0');
    return flow.pull({reinterpret_cast<std::uint8_t*>(room.data()), room.size()});
  }
  std::uint32_t pass(std::size_t bytes) {
    append(bytes);
    pull(bytes);
    return flow.grow_window(now);
  }

  Instant now{1s};
  BlockPool blocks{4};
  Budget budget{{.bytes_max = 100'000, .client_bytes_max = 50'000, .replay_bytes_max = 10'000}};
  BodyFlow flow{blocks, budget};
};

TEST_F(BodyFlowTest, WhatIsSentAgainIsCreditedOnce) {
  begin();
  flow.keep_for_replay(10'000);
  append(3000);
  EXPECT_EQ(pull(2000).credit, 2000U);
  flow.rewind();
  EXPECT_EQ(flow.pending(), 3000U);
  const BodyFlow::Pulled again = pull(2500);
  EXPECT_EQ(again.bytes, 2500U);
  EXPECT_EQ(again.credit, 500U);
  EXPECT_EQ(flow.passed(), 2500U);
  EXPECT_EQ(pull(5000).credit, 500U);
  flow.end();
}

TEST_F(BodyFlowTest, WhatIsDroppedIsDueToItsSender) {
  begin();
  append(3000);
  pull(1000);
  EXPECT_EQ(flow.drop(), 2000U);
  EXPECT_EQ(flow.pending(), 0U);
  EXPECT_EQ(blocks.leased(), 0U);
}

TEST_F(BodyFlowTest, ABodyIsKeptWholeUntilItIsTooLong) {
  begin();
  flow.keep_for_replay(2000);
  append(2000);
  pull(1500);
  EXPECT_TRUE(flow.whole());
  append(1);
  EXPECT_FALSE(flow.whole());
  EXPECT_EQ(pull(5000).bytes, 501U);
  flow.end();
}

TEST_F(BodyFlowTest, AllThatIsKeptHasABoundToo) {
  BodyFlow other(blocks, budget);
  other.begin(window, window_max, now);
  begin();
  flow.keep_for_replay(10'000);
  append(8000);
  pull(8000);
  other.keep_for_replay(10'000);
  other.append(as_bytes(std::string(3000, 'y')));
  std::string room(10, '\0');
  other.pull({reinterpret_cast<std::uint8_t*>(room.data()), room.size()});
  EXPECT_FALSE(other.whole());
  EXPECT_TRUE(flow.whole());
  flow.end();
  EXPECT_FALSE(budget.replays_used_up());
  other.end();
}

TEST_F(BodyFlowTest, AWindowDoublesWhileWholeOnesPassQuicklyUpToItsBound) {
  begin();
  EXPECT_EQ(pass(window), 2 * window);
  EXPECT_EQ(budget.lent_bytes(), window);
  EXPECT_EQ(pass(window), 0U);  // half of it
  EXPECT_EQ(pass(window), 4 * window);
  EXPECT_EQ(pass(4 * window), 0U);
  EXPECT_EQ(budget.lent_bytes(), 3 * window);
  flow.end();
  EXPECT_EQ(budget.lent_bytes(), 0U);
}

TEST_F(BodyFlowTest, AWindowStaysWhileSomethingWaitsOrTimePasses) {
  begin();
  append(window + 1);
  pull(window);
  EXPECT_EQ(flow.grow_window(now), 0U);
  flow.end();
  begin();
  now += 1s;
  EXPECT_EQ(pass(window), 0U);
  flow.end();
}

TEST_F(BodyFlowTest, NoWindowGrowsBeyondHalfOfTheBudget) {
  Budget small({.bytes_max = 3000, .client_bytes_max = 3000});
  BodyFlow lean(blocks, small);
  lean.begin(1600, 100'000, now);
  lean.append(as_bytes(std::string(1600, 'x')));
  std::string room(1600, '\0');
  lean.pull({reinterpret_cast<std::uint8_t*>(room.data()), room.size()});
  EXPECT_EQ(lean.grow_window(now), 0U);
  EXPECT_EQ(small.lent_bytes(), 0U);
  lean.end();
}

TEST_F(BodyFlowTest, PeekingTakesNothing) {
  begin();
  flow.append(as_bytes(std::string_view("the apiserver ")));
  flow.append(as_bytes(std::string_view("is shutting down")));
  EXPECT_EQ(flow.peek(), "the apiserver is shutting down");
  EXPECT_EQ(flow.pending(), 30U);
  flow.end();
}

TEST(BytesLeaseTest, PaysBackOnceHoweverItIsMoved) {
  BytesAccount whole;
  BytesAccount account{.whole = &whole};
  {
    BytesLease lease(account);
    lease.add(10);
    BytesLease moved = std::move(lease);
    BytesLease target(account);
    target.add(5);
    EXPECT_EQ(account.bytes, 15U);
    EXPECT_EQ(whole.bytes, 15U);
    target = std::move(moved);
    EXPECT_EQ(account.bytes, 10U);
    EXPECT_EQ(target.bytes(), 10U);
  }
  EXPECT_EQ(account.bytes, 0U);
  EXPECT_EQ(whole.bytes, 0U);
}

TEST_F(BodyFlowTest, WhatItHoldsAndLendsIsItsClientsUntilItEnds) {
  ClientAccounts accounts;
  AccountRef client = accounts.open(7, 7);
  begin();
  append(10);  // before it is known whose they are
  flow.charge(*client.get());
  EXPECT_EQ(client.get()->bytes, BlockPool::block_bytes);
  append(BlockPool::block_bytes);
  EXPECT_EQ(client.get()->bytes, 2 * BlockPool::block_bytes);
  EXPECT_EQ(budget.body_bytes(), 2 * BlockPool::block_bytes);
  pull(2 * BlockPool::block_bytes);
  EXPECT_EQ(client.get()->bytes, 0U);
  EXPECT_EQ(pass(window), 2 * window);
  EXPECT_EQ(client.get()->bytes, window);
  append(1);
  flow.end();
  EXPECT_EQ(client.get()->bytes, 0U);
  EXPECT_EQ(budget.body_bytes(), 0U);
}

TEST_F(BodyFlowTest, NoWindowGrowsBeyondHalfOfItsClientsShare) {
  Budget small({.bytes_max = 1'000'000, .client_bytes_max = 3000});
  ClientAccounts accounts;
  AccountRef client = accounts.open(7, 7);
  BodyFlow lean(blocks, small);
  lean.begin(1600, 100'000, now);
  lean.charge(*client.get());
  lean.append(as_bytes(std::string(1600, 'x')));
  std::string room(1600, '\0');
  lean.pull({reinterpret_cast<std::uint8_t*>(room.data()), room.size()});
  EXPECT_EQ(lean.grow_window(now), 0U);
  lean.end();
}

TEST(BytesLeaseTest, ChargesItsClientAndPaysBoth) {
  BytesAccount worker;
  ClientAccounts accounts;
  AccountRef first = accounts.open(1, 1);
  AccountRef second = accounts.open(2, 2);
  BytesLease lease(worker);
  lease.add(10);
  lease.charge(*first.get());
  lease.add(5);
  EXPECT_EQ(first.get()->bytes, 15U);
  lease.charge(*second.get());
  EXPECT_EQ(first.get()->bytes, 0U);
  EXPECT_EQ(second.get()->bytes, 15U);
  BytesLease moved = std::move(lease);
  moved.set(3);
  EXPECT_EQ(second.get()->bytes, 3U);
  EXPECT_EQ(worker.bytes, 3U);
  moved.release();
  EXPECT_EQ(second.get()->bytes, 0U);
  EXPECT_EQ(worker.bytes, 0U);
  moved.add(4);  // nobody's again
  EXPECT_EQ(second.get()->bytes, 0U);
}

TEST(ClientAccountsTest, AnAccountLivesAsLongAsSomebodyRefersToIt) {
  ClientAccounts accounts;
  LastAccount last;
  ClientAccount& first = accounts.open(1, 1, false, last);
  EXPECT_EQ(&accounts.open(1, 1, false, last), &first);
  AccountRef exchange(first);
  accounts.open(2, 2, false, last);
  EXPECT_EQ(accounts.size(), 2U);
  AccountRef moved = std::move(exchange);
  EXPECT_EQ(accounts.open(1, 1).get(), &first);
  moved.reset();
  EXPECT_EQ(accounts.size(), 1U);
  last.reset();
  EXPECT_EQ(accounts.size(), 0U);
}

TEST(ClientAccountsTest, AnAccountCountsTheConnectionsWhoseLastRequestWasItsClients) {
  ClientAccounts accounts;
  LastAccount one;
  LastAccount two;
  ClientAccount& first = accounts.open(1, 1, true, one);
  accounts.open(1, 1, true, two);
  accounts.open(1, 1, true, two);
  EXPECT_EQ(first.connections, 2U);
  ClientAccount& second = accounts.open(2, 1, true, two);
  EXPECT_EQ(first.connections, 1U);
  EXPECT_EQ(second.connections, 1U);
  two.reset();
  one.reset();
  EXPECT_EQ(accounts.size(), 0U);
}

}  // namespace
}  // namespace sluice::proxy
