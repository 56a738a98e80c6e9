// SPDX-License-Identifier: GPL-3.0-or-later
// Which backend is picked, for each policy and kind of request.
#include "sluice/balance/picker.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <numeric>
#include <vector>

#include "sluice/balance/load_board.h"

namespace sluice::balance {
namespace {

constexpr std::array all_policies = {Policy::power_of_two, Policy::least, Policy::random,
                                     Policy::round_robin};

Load load(std::uint32_t work, std::uint32_t watches = 0, double recent = 0.0) {
  return {.work = work, .watches = watches, .recent = {recent, recent, recent, recent}};
}

std::vector<int> histogram(Picker& picker, std::span<const Load> loads, BackendMask usable,
                           RequestClass request, int draws, BackendMask tried = 0) {
  Random random(42);
  std::vector<int> picks(loads.size());
  for (int i = 0; i < draws; ++i) {
    const auto pick = picker.pick(loads, usable, request, random, tried);
    if (pick) ++picks.at(*pick);
  }
  return picks;
}

double max_over_mean(const std::vector<int>& picks) {
  const double mean =
      std::accumulate(picks.begin(), picks.end(), 0.0) / static_cast<double>(picks.size());
  return *std::max_element(picks.begin(), picks.end()) / mean;
}

TEST(PickerTest, PicksNothingWhenNoBackendIsUsable) {
  const std::array loads = {load(0), load(0)};
  Random random(1);
  for (const Policy policy : all_policies) {
    Picker picker({.policy = policy});
    EXPECT_EQ(picker.pick(loads, 0, RequestClass::read, random), std::nullopt);
    EXPECT_EQ(picker.pick({}, ~BackendMask{0}, RequestClass::read, random), std::nullopt);
    EXPECT_EQ(picker.pick(loads, mask_of(5), RequestClass::read, random), std::nullopt);
  }
}

TEST(PickerTest, NeverPicksAnUnusableBackend) {
  const std::array loads = {load(0), load(9), load(0), load(9)};
  for (const Policy policy : all_policies) {
    Picker picker({.policy = policy});
    const auto picks = histogram(picker, loads, mask_of(1) | mask_of(3), RequestClass::read, 1000);
    EXPECT_EQ(picks[0] + picks[2], 0) << to_string(policy);
    EXPECT_GT(picks[1], 300) << to_string(policy);
    EXPECT_GT(picks[3], 300) << to_string(policy);
  }
}

TEST(PickerTest, AvoidsTriedBackendsWhileOthersAreLeft) {
  const std::array loads = {load(0), load(50), load(0)};
  for (const Policy policy : all_policies) {
    Picker picker({.policy = policy});
    const auto picks = histogram(picker, loads, mask_of_first(3), RequestClass::read, 200,
                                 mask_of(0) | mask_of(2));
    EXPECT_EQ(picks, (std::vector<int>{0, 200, 0})) << to_string(policy);
  }
}

TEST(PickerTest, TakesATriedBackendWhenNoOtherIsLeft) {
  const std::array loads = {load(0), load(0)};
  Random random(1);
  for (const Policy policy : all_policies) {
    Picker picker({.policy = policy});
    EXPECT_EQ(picker.pick(loads, mask_of(1), RequestClass::read, random, mask_of(1)), 1u);
  }
}

TEST(PickerTest, TakesTheLessLoadedOfTwo) {
  const std::array loads = {load(3), load(2)};
  Picker picker;
  // Two distinct draws of two backends are both of them: never the worse one.
  EXPECT_EQ(histogram(picker, loads, mask_of_first(2), RequestClass::read, 1000),
            (std::vector<int>{0, 1000}));
}

TEST(PickerTest, NeverTakesTheWorstOfThree) {
  const std::array loads = {load(1), load(2), load(3)};
  Picker picker;
  const auto picks = histogram(picker, loads, mask_of_first(3), RequestClass::read, 30000);
  EXPECT_EQ(picks[2], 0);
  // {0,1} and {0,2} give 0, {1,2} gives 1.
  EXPECT_NEAR(picks[0], 20000, 600);
  EXPECT_NEAR(picks[1], 10000, 600);
}

TEST(PickerTest, DrawsAllPairsEquallyOften) {
  // One of five is loaded: it is never taken, and the others share evenly.
  const std::array loads = {load(0), load(0), load(7), load(0), load(0)};
  Picker picker;
  const auto picks = histogram(picker, loads, mask_of_first(5), RequestClass::read, 40000);
  EXPECT_EQ(picks[2], 0);
  for (const int i : {0, 1, 3, 4}) EXPECT_NEAR(picks[static_cast<std::size_t>(i)], 10000, 500);
}

TEST(PickerTest, IgnoresWatchesForShortRequests) {
  const std::array loads = {load(1, 0), load(0, 5000)};
  Picker picker;
  for (const RequestClass request : {RequestClass::read, RequestClass::write, RequestClass::list}) {
    EXPECT_EQ(histogram(picker, loads, mask_of_first(2), request, 100), (std::vector<int>{0, 100}));
  }
}

TEST(PickerTest, ComparesWatchCountsForWatches) {
  const std::array loads = {load(0, 10), load(20, 9)};
  Picker picker;
  for (const RequestClass request :
       {RequestClass::watch, RequestClass::watch_list, RequestClass::long_running}) {
    EXPECT_EQ(histogram(picker, loads, mask_of_first(2), request, 100), (std::vector<int>{0, 100}));
  }
}

TEST(PickerTest, ComparesTunnelsForTunnelsAndForNothingElse) {
  std::array loads = {load(20, 0), load(0, 5000)};
  loads[0].tunnels = 2;
  loads[1].tunnels = 3;
  Picker picker;
  EXPECT_EQ(histogram(picker, loads, mask_of_first(2), RequestClass::tunnel, 100),
            (std::vector<int>{100, 0}));
  EXPECT_EQ(histogram(picker, loads, mask_of_first(2), RequestClass::read, 100),
            (std::vector<int>{0, 100}));
  loads[0].work = 64;
  EXPECT_EQ(histogram(picker, loads, mask_of_first(2), RequestClass::tunnel, 100),
            (std::vector<int>{0, 100}));
}

TEST(PickerTest, KeepsWatchesAwayFromAHotBackend) {
  Picker picker({.hot_work = 64});
  const std::array one_hot = {load(64, 0), load(63, 900)};
  EXPECT_EQ(histogram(picker, one_hot, mask_of_first(2), RequestClass::watch, 100),
            (std::vector<int>{0, 100}));
  const std::array both_hot = {load(64, 0), load(500, 900)};
  EXPECT_EQ(histogram(picker, both_hot, mask_of_first(2), RequestClass::watch, 100),
            (std::vector<int>{100, 0}));
}

TEST(PickerTest, ComparesWorkWhenWatchCountsAreEqual) {
  const std::array loads = {load(6, 10), load(4, 10)};
  Picker picker;
  EXPECT_EQ(histogram(picker, loads, mask_of_first(2), RequestClass::watch, 100),
            (std::vector<int>{0, 100}));
}

TEST(PickerTest, BreaksTiesByWhatWasAssignedLately) {
  const std::array loads = {load(1, 1, 2.5), load(1, 1, 2.25)};
  for (const Policy policy : {Policy::power_of_two, Policy::least}) {
    Picker picker({.policy = policy});
    EXPECT_EQ(histogram(picker, loads, mask_of_first(2), RequestClass::read, 100),
              (std::vector<int>{0, 100}));
  }
}

TEST(PickerTest, BreaksTiesWithinTheKindOfRequest) {
  std::array<Load, 2> loads{};
  loads[0].recent[static_cast<std::size_t>(AssignmentKind::list)] = 1.0;
  loads[1].recent[static_cast<std::size_t>(AssignmentKind::brief)] = 1.0;
  Picker picker;
  EXPECT_EQ(histogram(picker, loads, mask_of_first(2), RequestClass::read, 100),
            (std::vector<int>{100, 0}));
  EXPECT_EQ(histogram(picker, loads, mask_of_first(2), RequestClass::list, 100),
            (std::vector<int>{0, 100}));
}

TEST(PickerTest, BreaksFullTiesAtRandom) {
  const std::array loads = {load(0), load(0), load(0)};
  for (const Policy policy : all_policies) {
    Picker picker({.policy = policy});
    const auto picks = histogram(picker, loads, mask_of_first(3), RequestClass::read, 30000);
    for (const int count : picks) EXPECT_NEAR(count, 10000, 500) << to_string(policy);
  }
}

TEST(PickerTest, LeastTakesTheBestOfAll) {
  Picker picker({.policy = Policy::least});
  const std::array loads = {load(4), load(2), load(3), load(2, 0, 1.0), load(9)};
  EXPECT_EQ(histogram(picker, loads, mask_of_first(5), RequestClass::read, 100),
            (std::vector<int>{0, 100, 0, 0, 0}));
}

TEST(PickerTest, RandomIgnoresLoads) {
  Picker picker({.policy = Policy::random});
  const std::array loads = {load(0), load(100)};
  const auto picks = histogram(picker, loads, mask_of_first(2), RequestClass::read, 20000);
  EXPECT_NEAR(picks[1], 10000, 500);
}

TEST(PickerTest, RoundRobinTakesTurnsAndSkipsTheUnusable) {
  Picker picker({.policy = Policy::round_robin});
  const std::array loads = {load(9), load(0), load(0), load(0)};
  Random random(7);
  const BackendMask usable = mask_of(0) | mask_of(2) | mask_of(3);
  const std::size_t first = picker.pick(loads, usable, RequestClass::read, random).value();
  const std::array<std::size_t, 3> order = {0, 2, 3};
  auto at = static_cast<std::size_t>(std::find(order.begin(), order.end(), first) - order.begin());
  for (int i = 0; i < 9; ++i) {
    at = (at + 1) % order.size();
    EXPECT_EQ(picker.pick(loads, usable, RequestClass::read, random), order[at]);
  }
}

TEST(PickerTest, RoundRobinBeginsAnywhere) {
  const std::array loads = {load(0), load(0), load(0)};
  std::array<int, 3> first{};
  for (std::uint64_t seed = 0; seed < 300; ++seed) {
    Random random(seed);
    Picker picker({.policy = Policy::round_robin});
    ++first.at(picker.pick(loads, mask_of_first(3), RequestClass::read, random).value());
  }
  for (const int count : first) EXPECT_GT(count, 60);
}

TEST(PickerTest, ServesTheLargestNumberOfBackends) {
  std::vector<Load> loads(backends_max, load(5));
  loads[63] = load(1);
  Random random(3);
  Picker least({.policy = Policy::least});
  EXPECT_EQ(least.pick(loads, ~BackendMask{0}, RequestClass::read, random), 63u);
  Picker turns({.policy = Policy::round_robin});
  std::vector<bool> seen(backends_max);
  for (std::size_t i = 0; i < backends_max; ++i) {
    seen[turns.pick(loads, ~BackendMask{0}, RequestClass::read, random).value()] = true;
  }
  EXPECT_EQ(std::count(seen.begin(), seen.end(), true), 64);
}

TEST(PickerTest, NamesItsPolicies) {
  for (const Policy policy : all_policies) EXPECT_EQ(policy_from(to_string(policy)), policy);
  EXPECT_EQ(policy_from("power_of_two"), std::nullopt);
  EXPECT_EQ(policy_from(""), std::nullopt);
}

// Three thousand requests of one client, one at a time: nothing is ever in flight, so that only the
// ties decide.
TEST(PickerBalanceTest, ShortRequestsComeOutEvenOneAtATime) {
  LoadBoard board(1, 3);
  WorkerLoad worker(board, 0);
  Picker picker;
  Random random(5);
  std::vector<int> picks(3);
  for (int i = 0; i < 3000; ++i) {
    const Instant now{std::chrono::milliseconds(2 * i)};
    const auto pick =
        picker.pick(worker.view(now), mask_of_first(3), RequestClass::read, random).value();
    ++picks[pick];
    const LoadLease lease = worker.assign(pick, RequestClass::read, 1);
  }
  EXPECT_LT(max_over_mean(picks), 1.02);
}

// A mix of requests: each kind comes out even on its own, so that counts do, too.
TEST(PickerBalanceTest, MixedRequestsComeOutEvenByCountAndByKind) {
  LoadBoard board(1, 3);
  WorkerLoad worker(board, 0);
  Picker picker;
  const FixedLoadEstimate estimate;
  Random random(6);
  std::vector<int> picks(3);
  std::vector<int> lists(3);
  std::vector<LoadLease> in_flight;
  for (int i = 0; i < 3000; ++i) {
    const Instant now{std::chrono::milliseconds(i)};
    const RequestClass request = i % 10 == 0 ? RequestClass::list : RequestClass::read;
    const auto pick = picker.pick(worker.view(now), mask_of_first(3), request, random).value();
    ++picks[pick];
    if (request == RequestClass::list) ++lists[pick];
    in_flight.push_back(worker.assign(pick, request, estimate.units({.request = request})));
    // Sixteen at a time, ending in any order.
    if (in_flight.size() == 16) {
      std::swap(in_flight[random.below(16)], in_flight.back());
      in_flight.pop_back();
    }
  }
  EXPECT_LT(max_over_mean(picks), 1.03);
  EXPECT_LT(max_over_mean(lists), 1.10);
}

std::vector<int> weighted(Policy policy, std::span<const Load> loads, RequestClass request,
                          int draws) {
  Picker picker({.policy = policy});
  Random random(5);
  BackendMask lowered = 0;
  for (std::size_t i = 0; i < loads.size(); ++i) {
    if (loads[i].weight < 1) lowered |= mask_of(i);
  }
  std::vector<int> picks(loads.size());
  for (int i = 0; i < draws; ++i) {
    ++picks.at(*picker.pick(loads, mask_of_first(loads.size()), request, random, 0, lowered));
  }
  return picks;
}

TEST(PickerTest, ALoweredBackendTakesPartInSoManyChoicesHoweverIdleItIs) {
  std::array loads = {load(20, 100), load(20, 100), load(0, 0)};
  loads[2].weight = 0.125F;
  for (const Policy policy : {Policy::power_of_two, Policy::least}) {
    for (const RequestClass request :
         {RequestClass::read, RequestClass::list, RequestClass::watch}) {
      const auto picks = weighted(policy, loads, request, 24000);
      EXPECT_GT(picks[2], 1600) << to_string(policy);
      EXPECT_LT(picks[2], 24000 / 8 + 250) << to_string(policy);
    }
  }
}

TEST(PickerTest, ALoweredBackendIsComparedAsIfItHadMore) {
  std::array loads = {load(10, 10, 10.0), load(10, 10, 10.0)};
  loads[1].weight = 0.5F;
  for (const RequestClass request : {RequestClass::read, RequestClass::watch}) {
    EXPECT_EQ(weighted(Policy::power_of_two, loads, request, 1000)[1], 0);
  }
  loads[1] = load(10, 4, 4.0);
  loads[1].work = 5;
  loads[1].weight = 0.5F;
  for (const RequestClass request : {RequestClass::read, RequestClass::watch}) {
    EXPECT_NEAR(weighted(Policy::power_of_two, loads, request, 1000)[1], 500, 60);
  }
}

TEST(PickerTest, WhereAllAreLoweredSomebodyIsTakenAllTheSame) {
  std::array loads = {load(0), load(0)};
  loads[0].weight = loads[1].weight = 0.01F;
  const auto picks = weighted(Policy::power_of_two, loads, RequestClass::read, 1000);
  EXPECT_NEAR(picks[0], 500, 60);
}

TEST(PickerTest, PoliciesThatDoNotLookAtLoadTakeNoNoticeOfShares) {
  std::array loads = {load(0), load(0)};
  loads[0].weight = 0.125F;
  for (const Policy policy : {Policy::random, Policy::round_robin}) {
    EXPECT_NEAR(weighted(policy, loads, RequestClass::read, 1000)[0], 500, 80);
  }
}

TEST(PickerTest, WorkThatDiffersByAFifthIsATie) {
  Picker picker;
  const std::array near = {load(8, 0, 1.0), load(10)};
  EXPECT_EQ(histogram(picker, near, mask_of_first(2), RequestClass::read, 100),
            (std::vector<int>{0, 100}));
  const std::array apart = {load(7, 0, 1.0), load(10)};
  EXPECT_EQ(histogram(picker, apart, mask_of_first(2), RequestClass::read, 100),
            (std::vector<int>{100, 0}));
  const std::array few = {load(0, 0, 1.0), load(1)};
  EXPECT_EQ(histogram(picker, few, mask_of_first(2), RequestClass::read, 100),
            (std::vector<int>{100, 0}));
}

// Backends that are equal but not alike at every moment: following each difference in flight would
// give the momentarily faster one a larger share.
TEST(PickerBalanceTest, SharesStayEvenThoughServiceTimesVary) {
  LoadBoard board(1, 3);
  WorkerLoad worker(board, 0);
  Picker picker;
  Random random(7);
  struct Running {
    LoadLease lease;
    double ends;
  };
  std::vector<Running> running;
  std::vector<int> picks(3);
  double clock = 0;
  for (int i = 0; i < 3000; ++i) {
    while (running.size() >= 16) {
      const auto next = std::ranges::min_element(running, {}, &Running::ends);
      clock = next->ends;
      running.erase(next);
    }
    const Instant now{std::chrono::microseconds(static_cast<long>(clock * 1000))};
    const auto pick =
        picker.pick(worker.view(now), mask_of_first(3), RequestClass::read, random).value();
    ++picks[pick];
    // Between 1 and 3 ms, the first backend a quarter slower.
    const double service = (1 + 2 * random.unit()) * (pick == 0 ? 1.25 : 1.0);
    running.push_back({worker.assign(pick, RequestClass::read, 1), clock + service});
  }
  EXPECT_LT(max_over_mean(picks), 1.03);
}

// One backend that answers ten times slower keeps no more in flight than the others.
TEST(PickerBalanceTest, ASlowBackendGetsFewerRequestsInsteadOfAQueue) {
  const auto in_flight_ratio = [](Policy policy) {
    LoadBoard board(1, 3);
    WorkerLoad worker(board, 0);
    Picker picker({.policy = policy});
    Random random(8);
    struct Running {
      LoadLease lease;
      int ends;
    };
    std::vector<Running> running;
    std::array<double, 3> sum{};
    for (int tick = 0; tick < 20000; ++tick) {
      std::erase_if(running, [&](const Running& one) { return one.ends <= tick; });
      while (running.size() < 16) {
        const auto pick = picker
                              .pick(worker.view(Instant{std::chrono::milliseconds(tick)}),
                                    mask_of_first(3), RequestClass::read, random)
                              .value();
        const int service = pick == 0 ? 20 : 2;
        running.push_back({worker.assign(pick, RequestClass::read, 1), tick + service});
      }
      for (std::size_t i = 0; i < 3; ++i) sum[i] += board.total(i).work;
    }
    const double mean = (sum[0] + sum[1] + sum[2]) / 3;
    return *std::max_element(sum.begin(), sum.end()) / mean;
  };
  EXPECT_LT(in_flight_ratio(Policy::power_of_two), 1.5);
  EXPECT_LT(in_flight_ratio(Policy::least), 1.5);
  EXPECT_GT(in_flight_ratio(Policy::random), 1.8);
}

// A backend that returns without watches draws the new watches, but not the short requests.
TEST(PickerBalanceTest, AReturningBackendDrawsWatchesButNotEveryGet) {
  LoadBoard board(1, 3);
  WorkerLoad worker(board, 0);
  Picker picker;
  Random random(9);
  std::vector<LoadLease> watches;
  for (int i = 0; i < 200; ++i) {
    watches.push_back(worker.assign(static_cast<std::size_t>(i % 2), RequestClass::watch, 1));
    watches.back().settle();
  }
  std::vector<int> gets(3);
  std::vector<int> new_watches(3);
  for (int i = 0; i < 90; ++i) {
    const Instant now{std::chrono::milliseconds(i)};
    const auto get = picker.pick(worker.view(now), mask_of_first(3), RequestClass::read, random);
    ++gets[get.value()];
    {
      const LoadLease lease = worker.assign(*get, RequestClass::read, 1);
    }
    const auto watch = picker.pick(worker.view(now), mask_of_first(3), RequestClass::watch, random);
    ++new_watches[watch.value()];
    watches.push_back(worker.assign(*watch, RequestClass::watch, 1));
    watches.back().settle();
  }
  EXPECT_LT(max_over_mean(gets), 1.2);
  EXPECT_GT(new_watches[2], 50);
}

}  // namespace
}  // namespace sluice::balance
