// SPDX-License-Identifier: GPL-3.0-or-later
// Who is served when, and that nobody is delayed by how much another one queues.
#include "sluice/balance/fair_queue.h"

#include <gmock/gmock.h>

#include <array>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "sluice/base/random.h"

namespace sluice::balance {
namespace {

using testing::ElementsAre;

struct Waiter : FairWaiter {
  explicit Waiter(std::string its_name) : name(std::move(its_name)) {}
  std::string name;
};

class FairQueueTest : public testing::Test {
 protected:
  Waiter& push(FairQueue& queue, const std::string& name, const FairShare& share) {
    waiters_.push_back(std::make_unique<Waiter>(name));
    queue.push(*waiters_.back(), share);
    return *waiters_.back();
  }
  static std::string pop(FairQueue& queue) {
    FairWaiter* waiter = queue.pop();
    return waiter == nullptr ? "nobody" : static_cast<Waiter*>(waiter)->name;
  }
  static std::vector<std::string> pop_all(FairQueue& queue) {
    std::vector<std::string> names;
    while (!queue.empty()) names.push_back(pop(queue));
    return names;
  }
  // Before them the queue of a test.
  std::deque<std::unique_ptr<Waiter>> waiters_;
};

TEST_F(FairQueueTest, OneClientIsServedInOrderOfArrival) {
  FairQueue queue;
  EXPECT_EQ(pop(queue), "nobody");
  for (const char* name : {"a", "b", "c"}) push(queue, name, {.client = 1});
  EXPECT_EQ(queue.size(), 3U);
  EXPECT_THAT(pop_all(queue), ElementsAre("a", "b", "c"));
}

TEST_F(FairQueueTest, AThousandOfOneDelayAnotherByOneTurn) {
  FairQueue queue;
  for (int i = 0; i < 1000; ++i) push(queue, "many", {.client = 1});
  EXPECT_EQ(pop(queue), "many");
  push(queue, "one", {.client = 2});
  push(queue, "other", {.client = 3});
  EXPECT_EQ(pop(queue), "many");
  EXPECT_EQ(pop(queue), "one");
  EXPECT_EQ(pop(queue), "other");
  EXPECT_EQ(pop(queue), "many");
  EXPECT_EQ(queue.clients(), 1U);
  EXPECT_EQ(queue.waiting({.client = 1}), 997U);
  pop_all(queue);
}

TEST_F(FairQueueTest, AThousandOfOnePartDelayAnotherPartOfTheClientByOneTurn) {
  FairQueue queue;
  for (int i = 0; i < 1000; ++i) push(queue, "many", {.client = 1, .part = 1});
  EXPECT_EQ(pop(queue), "many");
  push(queue, "one", {.client = 1, .part = 2});
  push(queue, "other", {.client = 1, .part = 3});
  EXPECT_EQ(pop(queue), "many");
  EXPECT_EQ(pop(queue), "one");
  EXPECT_EQ(pop(queue), "other");
  EXPECT_EQ(pop(queue), "many");
  EXPECT_EQ(pop_all(queue).size(), 997U);
}

// However many parts it makes itself of.
TEST_F(FairQueueTest, AClientHasOneTurnHoweverManyPartsItHas) {
  FairQueue queue;
  for (std::uint64_t part = 0; part < 1000; ++part) {
    push(queue, "many", {.client = 1, .part = part});
  }
  push(queue, "one", {.client = 2});
  push(queue, "one", {.client = 2});
  EXPECT_THAT((std::vector<std::string>{pop(queue), pop(queue), pop(queue), pop(queue)}),
              ElementsAre("many", "one", "many", "one"));
  EXPECT_EQ(pop_all(queue).size(), 998U);
}

TEST_F(FairQueueTest, PlacesAreSharedByClientsAndThenByTheirParts) {
  FairQueue queue{1, 1};
  const FairShare crowded{.client = 1, .part = 7};
  const FairShare beside{.client = 1, .part = 8};
  const FairShare other{.client = 2, .part = 7};
  const FairShare elsewhere{.client = 1, .lane = 1, .part = 7};
  EXPECT_EQ(queue.waiting(crowded), 0U);
  EXPECT_EQ(queue.places_of(crowded, 60), 60U);
  for (int i = 0; i < 50; ++i) push(queue, "crowded", crowded);
  EXPECT_EQ(queue.waiting(crowded), 50U);
  EXPECT_EQ(queue.waiting(beside), 0U);
  EXPECT_EQ(queue.places_of(crowded, 60), 60U);
  Waiter& last = push(queue, "beside", beside);
  EXPECT_EQ(queue.places_of(crowded, 60), 30U);
  push(queue, "other", other);
  push(queue, "elsewhere", elsewhere);
  EXPECT_EQ(queue.waiting(elsewhere), 1U);
  EXPECT_EQ(queue.places_of(crowded, 60), 10U);
  EXPECT_EQ(queue.places_of(beside, 60), 10U);
  EXPECT_EQ(queue.places_of(other, 60), 20U);
  EXPECT_EQ(queue.places_of(crowded, 2), 1U);
  queue.remove(last);
  EXPECT_EQ(queue.waiting(beside), 0U);
  EXPECT_EQ(queue.places_of(crowded, 60), 20U);
  while (!queue.empty()) pop(queue);
}

TEST_F(FairQueueTest, WhatIsDearIsServedAsManyTimesLessOften) {
  FairQueue queue;
  for (int i = 0; i < 40; ++i) {
    push(queue, "dear", {.client = 1, .cost = 4});
    push(queue, "cheap", {.client = 2});
  }
  std::map<std::string, int> served;
  for (int i = 0; i < 50; ++i) ++served[pop(queue)];
  EXPECT_EQ(served["cheap"], 40);
  EXPECT_EQ(served["dear"], 10);
  pop_all(queue);
}

TEST_F(FairQueueTest, LanesShareByWeightWhereverTheClientsAre) {
  FairQueue queue({1, 3});
  for (std::uint64_t i = 0; i < 100; ++i) {
    push(queue, "light", {.client = i});
    push(queue, "heavy", {.client = 7, .lane = 1});
  }
  std::map<std::string, int> served;
  for (int i = 0; i < 80; ++i) ++served[pop(queue)];
  EXPECT_EQ(served["light"], 20);
  EXPECT_EQ(served["heavy"], 60);
  pop_all(queue);
}

TEST_F(FairQueueTest, AnEmptyLaneSavesNothingUp) {
  FairQueue queue({1, 3});
  for (int i = 0; i < 100; ++i) push(queue, "light", {.client = 1});
  for (int i = 0; i < 50; ++i) EXPECT_EQ(pop(queue), "light");
  for (int i = 0; i < 8; ++i) push(queue, "heavy", {.client = 1, .lane = 1});
  std::map<std::string, int> served;
  for (int i = 0; i < 8; ++i) ++served[pop(queue)];
  EXPECT_GE(served["light"], 2);
  pop_all(queue);
}

TEST_F(FairQueueTest, WhatCannotBeServedIsTheNextAgain) {
  FairQueue queue({1, 2});
  push(queue, "a1", {.client = 1});
  push(queue, "a2", {.client = 1});
  push(queue, "b1", {.client = 2});
  push(queue, "h1", {.client = 2, .lane = 1});
  push(queue, "h2", {.client = 2, .lane = 1});
  const std::vector<std::string> expected = {"a1", "h1", "h2", "b1", "a2"};
  for (const std::string& name : expected) {
    for (int i = 0; i < 3; ++i) {
      FairWaiter* waiter = queue.pop();
      ASSERT_EQ(static_cast<Waiter*>(waiter)->name, name);
      queue.give_back(*waiter);
    }
    EXPECT_EQ(pop(queue), name);
  }
  EXPECT_TRUE(queue.empty());
}

TEST_F(FairQueueTest, WhoIsPassedOverStaysTheFirstOfItsOwnAndIsInNobodysWay) {
  FairQueue queue({4, 1});
  for (const char* name : {"a1", "a2"}) push(queue, name, {.client = 1, .lane = 0});
  push(queue, "b1", {.client = 2, .lane = 0});
  push(queue, "c1", {.client = 3, .lane = 1});
  std::vector<std::string> seen;
  for (int i = 0; i < 6; ++i) {
    FairWaiter* waiter = queue.pop();
    seen.push_back(static_cast<Waiter*>(waiter)->name);
    if (seen.back() == "c1") break;
    queue.pass_over(*waiter);
  }
  EXPECT_EQ(seen.back(), "c1");
  EXPECT_THAT(seen, testing::Contains("b1"));
  EXPECT_THAT(seen, testing::Not(testing::Contains("a2")));
  EXPECT_EQ(queue.size(), 3U);
  EXPECT_EQ(queue.clients(), 2U);
  pop_all(queue);
}

TEST_F(FairQueueTest, WhoLeavesIsForgotten) {
  FairQueue queue;
  Waiter& first = push(queue, "a", {.client = 1});
  push(queue, "b", {.client = 1});
  push(queue, "c", {.client = 2});
  queue.remove(first);
  queue.remove(first);
  EXPECT_FALSE(first.in_fair_queue());
  waiters_.pop_back();  // destroyed while it waits
  EXPECT_EQ(queue.size(), 1U);
  EXPECT_EQ(queue.clients(), 1U);
  EXPECT_EQ(pop(queue), "b");
  EXPECT_EQ(queue.clients(), 0U);
}

// Whatever comes and goes, while all of them wait no client gets two turns more than another.
TEST_F(FairQueueTest, ClientsThatAlwaysWaitAreServedEquallyOften) {
  Random random(1);
  FairQueue queue;
  std::array<int, 5> served{};
  for (int round = 0; round < 10'000; ++round) {
    for (std::uint64_t client = 0; client < served.size(); ++client) {
      while (queue.waiting({.client = client}) < 1 + random.below(20)) {
        push(queue, std::to_string(client), {.client = client});
      }
    }
    if (random.below(10) == 0) {
      queue.remove(*waiters_[random.below(static_cast<std::uint32_t>(waiters_.size()))]);
      continue;
    }
    ++served[std::stoul(pop(queue))];
  }
  const auto [least, most] = std::ranges::minmax(served);
  EXPECT_LE(most - least, 60);  // a removed last one costs its client a turn
  pop_all(queue);
}

}  // namespace
}  // namespace sluice::balance
