// SPDX-License-Identifier: GPL-3.0-or-later
// Whatever a world does: each request has exactly one outcome, no byte is wrong or missing, no
// write is done twice, and in the end nothing is left.
//
//   SLUICE_WORLD_SEED=n      this seed only, with what happened
//   SLUICE_WORLD_SEEDS=n     so many of them, from SLUICE_WORLD_FIRST (default 1000 from 1)
#include "world.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <array>
#include <cstdint>
#include <cstdlib>
#include <string>

namespace sluice::server {
namespace {

using Outcome = Ask::Outcome;
constexpr std::size_t outcomes = World::outcomes;

std::uint64_t from_environment(const char* name, std::uint64_t otherwise) {
  const char* text = std::getenv(name);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

TEST(WorldTest, EveryRequestHasOneOutcomeAndNothingIsLeft) {
  const std::uint64_t only = from_environment("SLUICE_WORLD_SEED", 0);
  const std::uint64_t first = only != 0 ? only : from_environment("SLUICE_WORLD_FIRST", 1);
  const std::uint64_t count = only != 0 ? 1 : from_environment("SLUICE_WORLD_SEEDS", 1000);
  int wrong = 0;
  std::array<std::size_t, outcomes> seen{};
  std::size_t tunnels = 0;
  std::size_t expired = 0;
  std::size_t seen_expired = 0;
  std::size_t moved = 0;
  World::Share slow;
  for (std::uint64_t seed = first; seed < first + count && wrong < 5; ++seed) {
    SCOPED_TRACE("SLUICE_WORLD_SEED=" + std::to_string(seed));
    World world(seed);
    world.run();
    const std::string faults = world.faults();
    EXPECT_EQ(faults, "");
    wrong += faults.empty() ? 0 : 1;
    tunnels += world.tunnels();
    expired += world.expired();
    seen_expired += world.seen_expired();
    moved += world.moved();
    slow.of_slow += world.slow_share().of_slow;
    slow.of_all += world.slow_share().of_all;
    for (std::size_t i = 0; i < outcomes; ++i) seen[i] += world.count(static_cast<Outcome>(i));
    if (only != 0) std::puts(world.summary().c_str());
  }
  if (count < 100) return;
  std::puts(fmt::format("{} worlds: {} requests moved from servers that ended, {} of {} reads and "
                        "writes were done by a late one of three",
                        count, moved, slow.of_slow, slow.of_all)
                .c_str());
  // Everything that can happen did, and most were served.
  const auto times = [&](Outcome outcome) { return seen[static_cast<std::size_t>(outcome)]; };
  for (const Outcome outcome :
       {Outcome::refused, Outcome::cut, Outcome::cancelled, Outcome::lost}) {
    EXPECT_GT(times(outcome), 0U) << to_string(outcome);
  }
  EXPECT_GT(tunnels, 0U);
  // Some find history elsewhere; not where that server is the oldest, is late to say it, or was
  // gone for so short a time that no probe has seen it.
  EXPECT_GT(seen_expired, 0U);
  EXPECT_GT(expired, seen_expired);
  EXPECT_GT(moved, 0U);
  // One of three: a late one gets less.
  EXPECT_GT(slow.of_slow, 0U);
  EXPECT_LT(4 * slow.of_slow, slow.of_all);
  EXPECT_GT(times(Outcome::answered), 10 * times(Outcome::cut));
}

TEST(WorldTest, TheSameSeedIsTheSameWorld) {
  for (const std::uint64_t seed : {1U, 2U, 3U}) {
    std::string first;
    for (int run = 0; run < 2; ++run) {
      World world(seed);
      world.run();
      if (run == 0) first = world.summary();
      EXPECT_EQ(world.summary(), first);
    }
  }
}

}  // namespace
}  // namespace sluice::server
