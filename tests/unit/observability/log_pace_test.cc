// SPDX-License-Identifier: GPL-3.0-or-later
// How often a peer can make us write.
#include "sluice/observability/log_pace.h"

#include <gtest/gtest.h>

namespace sluice::log {
namespace {

using namespace std::chrono_literals;

TEST(LogPaceTest, TheFirstIsWrittenAtOnceAndTheNextStandsForAllInBetween) {
  Pace pace(1s);
  const Instant begin{};
  EXPECT_EQ(pace.due(begin), 1U);
  for (int i = 1; i < 10; ++i) EXPECT_EQ(pace.due(begin + i * 100ms), std::nullopt);
  EXPECT_EQ(pace.due(begin + 1s), 10U);
  EXPECT_EQ(pace.due(begin + 1999ms), std::nullopt);
  EXPECT_EQ(pace.due(begin + 1h), 2U);
}

}  // namespace
}  // namespace sluice::log
