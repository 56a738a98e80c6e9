// SPDX-License-Identifier: GPL-3.0-or-later
// What names hold is counted exactly, what they caused decays, and memory stays what it is.
#include "sluice/balance/charge_table.h"

#include <gtest/gtest.h>

#include <deque>
#include <map>
#include <thread>
#include <vector>

#include "sluice/base/random.h"

namespace sluice::balance {
namespace {

using namespace std::chrono_literals;

constexpr Instant start{std::chrono::hours(100)};
// All names in one set.
constexpr ChargeTableOptions small{.sets = 1};

ChargeLease take(ChargeTable& table, std::uint64_t name, Instant now = start) {
  auto lease = table.acquire(name, 0, now);
  EXPECT_TRUE(lease);
  return std::move(*lease);
}

TEST(ChargeTableTest, CountsWhatEachNameHolds) {
  ChargeTable table;
  ChargeLease one = take(table, 1);
  EXPECT_EQ(one.held(), 1U);
  {
    const ChargeLease another = take(table, 1);
    const ChargeLease others = take(table, 2);
    EXPECT_EQ(one.held(), 2U);
    EXPECT_EQ(others.held(), 1U);
    EXPECT_EQ(table.held(), 3U);
  }
  EXPECT_EQ(one.held(), 1U);
  one.release(start);
  EXPECT_FALSE(one);
  EXPECT_EQ(table.held(), 0U);
}

TEST(ChargeTableTest, ALeaseThatIsMovedPaysBackOnce) {
  ChargeTable table;
  ChargeLease one = take(table, 1);
  ChargeLease moved = std::move(one);
  EXPECT_FALSE(one);  // NOLINT(bugprone-use-after-move): that is the claim
  EXPECT_EQ(moved.held(), 1U);
  ChargeLease other = take(table, 2);
  other.prove(start);
  moved = std::move(other);
  EXPECT_EQ(table.held(), 1U);
  EXPECT_TRUE(moved.known(start));
}

TEST(ChargeTableTest, NobodyHoldsMoreThanTheLimit) {
  ChargeTable table;
  std::vector<ChargeLease> leases;
  for (int i = 0; i < 3; ++i) leases.push_back(std::move(*table.acquire(7, 3, start)));
  EXPECT_FALSE(table.acquire(7, 3, start));
  EXPECT_TRUE(table.acquire(8, 3, start));
  leases.pop_back();
  EXPECT_TRUE(table.acquire(7, 3, start));
}

TEST(ChargeTableTest, TheNameZeroIsOneLikeOthers) {
  ChargeTable table(small);
  const ChargeLease zero = take(table, 0);
  EXPECT_EQ(zero.held(), 1U);
  EXPECT_TRUE(zero.has_place());
}

TEST(ChargeTableTest, WhatWasCausedHalvesInEachHalfLife) {
  ChargeTable table;
  ChargeLease lease = take(table, 1);
  for (int i = 0; i < 8; ++i) lease.charge(Charge::handshake, start);
  EXPECT_FLOAT_EQ(lease.charged(Charge::handshake, start), 8);
  EXPECT_EQ(lease.charged(Charge::failed_handshake, start), 0);
  EXPECT_NEAR(lease.charged(Charge::handshake, start + 10s), 4, 0.05);
  EXPECT_NEAR(lease.charged(Charge::handshake, start + 20s), 2, 0.05);
  lease.charge(Charge::handshake, start + 20s);
  EXPECT_NEAR(lease.charged(Charge::handshake, start + 20s), 3, 0.05);
  EXPECT_NEAR(lease.charged(Charge::handshake, start + 24h), 0, 1e-6);
}

TEST(ChargeTableTest, AClockThatIsBehindNeitherDecaysNorRefreshes) {
  ChargeTable table;
  ChargeLease lease = take(table, 1);
  lease.charge(Charge::handshake, start);
  lease.charge(Charge::handshake, start - 1h);
  EXPECT_FLOAT_EQ(lease.charged(Charge::handshake, start - 1h), 2);
  EXPECT_NEAR(lease.charged(Charge::handshake, start + 10s), 1, 0.02);
}

TEST(ChargeTableTest, APlaceIsTakenOverWhenNothingIsHeldAndAllIsForgotten) {
  ChargeTable table(small);
  for (std::uint64_t name = 1; name <= ChargeTable::ways; ++name) {
    take(table, name).charge(Charge::handshake, start);
  }
  EXPECT_FALSE(take(table, 100).has_place());
  EXPECT_FALSE(take(table, 100, start + 40s).has_place());
  const ChargeLease later = take(table, 100, start + 60s);
  EXPECT_TRUE(later.has_place());
  EXPECT_EQ(later.held(), 1U);
  EXPECT_EQ(later.charged(Charge::handshake, start + 60s), 0);
}

TEST(ChargeTableTest, APlaceInUseIsNotTakenOverHoweverOldItIs) {
  ChargeTable table(small);
  std::vector<ChargeLease> held;
  for (std::uint64_t name = 1; name <= ChargeTable::ways; ++name) held.push_back(take(table, name));
  const ChargeLease later = take(table, 100, start + 1000h);
  EXPECT_FALSE(later.has_place());
  EXPECT_TRUE(take(table, 3, start + 1000h).has_place());
  held.clear();
  EXPECT_TRUE(take(table, 100, start + 1000h).has_place());
}

TEST(ChargeTableTest, WithoutAPlaceNobodyIsRefusedForWhatOthersHold) {
  ChargeTable table(small);
  std::vector<ChargeLease> held;
  for (std::uint64_t name = 1; name <= ChargeTable::ways; ++name) held.push_back(take(table, name));
  for (std::uint64_t name = 100; name < 200; ++name) {
    auto lease = table.acquire(name, 1, start);
    ASSERT_TRUE(lease);
    EXPECT_FALSE(lease->has_place());
    lease->prove(start);
    EXPECT_FALSE(lease->known(start));
    held.push_back(std::move(*lease));
  }
  EXPECT_EQ(table.held_without_place(), 100U);
  EXPECT_EQ(held.back().held(), 100U);
  EXPECT_FALSE(table.acquire(1, 1, start));
  held.clear();
  EXPECT_EQ(table.held_without_place(), 0U);
  EXPECT_EQ(table.held(), 0U);
}

TEST(ChargeTableTest, ANameIsKnownByItsProofsWhileItHoldsThemAndForAWhileAfter) {
  ChargeTable table;
  EXPECT_FALSE(take(table, 1).known(start));
  ChargeLease proven = take(table, 1);
  proven.prove(start);
  EXPECT_TRUE(take(table, 1).known(start));
  EXPECT_TRUE(take(table, 1).known(start + 24h));
  EXPECT_FALSE(take(table, 2).known(start));
  proven.release(start + 24h);
  EXPECT_TRUE(take(table, 1).known(start + 24h + 15min));
  EXPECT_FALSE(take(table, 1).known(start + 25h));
}

TEST(ChargeTableTest, WhoSharesAProvenAddressMayNotFloodInItsName) {
  ChargeTable table;
  ChargeLease proven = take(table, 1);
  proven.prove(start);
  ChargeLease stranger = take(table, 1);
  for (int i = 0; i < 100; ++i) {
    stranger.charge(Charge::handshake, start);
    stranger.charge(Charge::failed_handshake, start);
  }
  EXPECT_FALSE(take(table, 1).known(start));
  EXPECT_TRUE(take(table, 1).known(start + 2min));
}

// Against a model that forgets nothing.
TEST(ChargeTableTest, AnySequenceOfTakingAndGivingBackAddsUp) {
  ChargeTable table({.sets = 4});
  Random random(1);
  std::map<std::uint64_t, std::deque<ChargeLease>> model;
  Instant now = start;
  std::size_t held = 0;
  for (int step = 0; step < 20'000; ++step) {
    now += std::chrono::milliseconds(random.below(2000));
    const std::uint64_t name = 1 + random.below(200);
    std::deque<ChargeLease>& leases = model[name];
    if (random.below(2) == 0) {
      ChargeLease lease = take(table, name, now);
      if (lease.has_place() && !leases.empty() && leases.back().has_place()) {
        EXPECT_EQ(lease.held(), leases.back().held());
      }
      lease.charge(Charge::handshake, now);
      leases.push_back(std::move(lease));
      ++held;
    } else if (!leases.empty()) {
      leases.pop_front();
      --held;
    }
    if (step % 1000 == 0) {
      EXPECT_EQ(table.held(), held);
    }
  }
  model.clear();
  EXPECT_EQ(table.held(), 0U);
}

TEST(ChargeTableTest, TwoThreadsTakeAndGiveBackWithoutLosingCount) {
  // So few places that names are taken over all the time.
  ChargeTable table({.sets = 2, .half_life = {1s, 1s, 1s, 1s}});
  constexpr std::uint32_t limit = 3;
  const auto work = [&table](std::uint64_t seed) {
    Random random(seed);
    std::deque<ChargeLease> leases;
    Instant now = start;
    for (int step = 0; step < 50'000; ++step) {
      now += 1s;
      auto lease = table.acquire(1 + random.below(40), limit, now);
      if (lease) {
        // What other threads only look at is in it for moments.
        if (lease->has_place()) {
          EXPECT_LE(lease->held(), limit + 1);
        }
        lease->charge(Charge::handshake, now);
        if (random.below(4) == 0) lease->prove(now);
        (void)lease->known(now);
        leases.push_back(std::move(*lease));
      }
      while (leases.size() > random.below(20)) {
        leases.front().release(now);
        leases.pop_front();
      }
    }
  };
  std::thread other(work, 1);
  work(2);
  other.join();
  EXPECT_EQ(table.held(), 0U);
  EXPECT_EQ(table.held_without_place(), 0U);
}

// Both find no place of the name, and only one may make one.
TEST(ChargeTableTest, TwoThreadsThatComeWithANewNameShareItsPlace) {
  ChargeTable table({.sets = 1, .half_life = {1s, 1s, 1s, 1s}});
  std::atomic<int> arrived{0};
  constexpr int rounds = 2000;
  std::array<std::vector<std::uint32_t>, 2> seen;  // 0: without a place
  const auto work = [&](std::size_t self) {
    for (int round = 1; round <= rounds; ++round) {
      const auto meet = [&](int times) {
        arrived.fetch_add(1);
        while (arrived.load() < 2 * times) std::this_thread::yield();
      };
      meet(3 * round - 2);
      const ChargeLease lease =
          std::move(*table.acquire(static_cast<std::uint64_t>(round), 0, start));
      meet(3 * round - 1);
      seen[self].push_back(lease.has_place() ? lease.held() : 0);
      meet(3 * round);
    }
  };
  std::thread other(work, 1);
  work(0);
  other.join();
  int together = 0;
  for (std::size_t round = 0; round < rounds; ++round) {
    // Who finds the other in the middle of it for too long goes without.
    if (seen[0][round] == 0 || seen[1][round] == 0) continue;
    EXPECT_EQ(seen[0][round], 2U);
    EXPECT_EQ(seen[1][round], 2U);
    ++together;
  }
  EXPECT_GT(together, rounds / 2);
}

}  // namespace
}  // namespace sluice::balance
