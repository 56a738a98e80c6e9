// SPDX-License-Identifier: GPL-3.0-or-later
// How late an answer is.
#include "sluice/balance/answers.h"

#include <gtest/gtest.h>

namespace sluice::balance {
namespace {

using std::chrono::hours;
using std::chrono::microseconds;
using std::chrono::milliseconds;

TEST(SlownessTest, WhatIsUsualIsAllAlike) {
  EXPECT_EQ(slowness_of(Duration::zero()), 0U);
  EXPECT_EQ(slowness_of(milliseconds(2)), 0U);
  EXPECT_EQ(slowness_of(usual_answer - Duration(1)), 0U);
  EXPECT_EQ(slowness_of(usual_answer), 0U);
}

TEST(SlownessTest, CountsTheSameForEachDoubling) {
  for (std::uint32_t doublings = 0; doublings < 20; ++doublings) {
    EXPECT_EQ(slowness_of(usual_answer * (1 << doublings)), doublings * slowness_steps);
    EXPECT_EQ(slowness_of(usual_answer * (1 << doublings) * 3 / 2), doublings * slowness_steps + 4);
  }
}

TEST(SlownessTest, NeverFallsWithTime) {
  std::uint32_t before = 0;
  for (Duration took = milliseconds(10); took < hours(2); took += took / 50) {
    const std::uint32_t slowness = slowness_of(took);
    EXPECT_GE(slowness, before);
    EXPECT_LE(slowness, before + 1);
    before = slowness;
  }
  EXPECT_GT(before, 17 * slowness_steps);
}

TEST(AnswerKindTest, OnlyWhatIsSoonAnsweredIsCompared) {
  EXPECT_EQ(answer_kind(RequestClass::read), AnswerKind::read);
  EXPECT_EQ(answer_kind(RequestClass::write), AnswerKind::write);
  EXPECT_EQ(answer_kind(RequestClass::list), AnswerKind::list);
  for (const RequestClass other : {RequestClass::watch, RequestClass::watch_list,
                                   RequestClass::long_running, RequestClass::tunnel}) {
    EXPECT_EQ(answer_kind(other), std::nullopt);
  }
}

}  // namespace
}  // namespace sluice::balance
