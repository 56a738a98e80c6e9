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

TEST(LoadEstimateTest, LetsALearningEstimateTakeItsPlace) {
  class Learning final : public LoadEstimate {
   public:
    std::uint32_t units(const CostQuestion& question) const override {
      return question.resource == "pods" ? pods_ : 1;
    }
    void learn(const CostQuestion& question, std::uint64_t bytes) override {
      if (question.resource == "pods") pods_ = static_cast<std::uint32_t>(1 + bytes / 100'000);
    }

   private:
    std::uint32_t pods_ = 1;
  };
  Learning learning;
  LoadEstimate& estimate = learning;
  const CostQuestion pods{.request = RequestClass::list, .resource = "pods"};
  estimate.learn(pods, 1'000'000);
  EXPECT_EQ(estimate.units(pods), 11u);
}

}  // namespace
}  // namespace sluice::balance
