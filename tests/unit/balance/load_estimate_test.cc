// SPDX-License-Identifier: GPL-3.0-or-later
// What requests cost before anything is known about their answers.
#include "sluice/balance/load_estimate.h"

#include <gtest/gtest.h>

namespace sluice::balance {
namespace {

TEST(LoadEstimateTest, CountsOneUnitForWhatIsShort) {
  const FixedLoadEstimate estimate;
  for (const RequestClass request :
       {RequestClass::read, RequestClass::write, RequestClass::watch, RequestClass::long_running}) {
    EXPECT_EQ(estimate.units({.request = request}), 1u) << to_string(request);
  }
}

TEST(LoadEstimateTest, CountsAWatchListLikeAList) {
  const FixedLoadEstimate estimate({.list_units = 7});
  EXPECT_EQ(estimate.units({.request = RequestClass::list}), 7u);
  EXPECT_EQ(estimate.units({.request = RequestClass::watch_list}), 7u);
}

TEST(LoadEstimateTest, CountsWhatStaysOpenAsAWatch) {
  EXPECT_TRUE(counts_as_watch(RequestClass::watch));
  EXPECT_TRUE(counts_as_watch(RequestClass::watch_list));
  EXPECT_TRUE(counts_as_watch(RequestClass::long_running));
  EXPECT_FALSE(counts_as_watch(RequestClass::read));
  EXPECT_FALSE(counts_as_watch(RequestClass::write));
  EXPECT_FALSE(counts_as_watch(RequestClass::list));
}

}  // namespace
}  // namespace sluice::balance
