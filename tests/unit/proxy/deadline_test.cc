// SPDX-License-Identifier: GPL-3.0-or-later
// One deadline at a time, which says what should have come by then.
#include "deadline.h"

#include <gtest/gtest.h>

#include <vector>

namespace sluice::proxy {
namespace {

using namespace std::chrono_literals;
using kubernetes::RequestClass;
using What = Deadline::What;

class DeadlineTest : public testing::Test {
 protected:
  void note() { passed.push_back(deadline.passed()); }
  void turn_to(Instant now) { timers.run(now); }

  static constexpr Instant start{1s};
  io::TimerWheel timers{start};
  std::vector<What> passed;
  Deadline deadline{timers, io::Timer::bind<&DeadlineTest::note>(this)};
};

TEST_F(DeadlineTest, SaysWhatShouldHaveCome) {
  deadline.set(What::answer, start + 10s);
  EXPECT_TRUE(deadline.waits_for(What::answer));
  EXPECT_FALSE(deadline.waits_for(What::upload_end));
  turn_to(start + 11s);
  EXPECT_EQ(passed, std::vector{What::answer});
  EXPECT_FALSE(deadline.waits());
  EXPECT_FALSE(deadline.waits_for(What::answer));
}

TEST_F(DeadlineTest, TheNextReplacesTheOneBefore) {
  deadline.set(What::first_burst, start + 1s);
  deadline.set(What::watch_end, start + 5s);
  EXPECT_EQ(deadline.when(), start + 5s);
  turn_to(start + 2s);
  EXPECT_TRUE(passed.empty());
  turn_to(start + 6s);
  EXPECT_EQ(passed, std::vector{What::watch_end});
}

TEST_F(DeadlineTest, OneThatIsCancelledDoesNotPass) {
  deadline.set(What::upload_end, start + 1s);
  deadline.cancel();
  turn_to(start + 2s);
  EXPECT_TRUE(passed.empty());
}

TEST_F(DeadlineTest, AnAnswerIsDueByTheLastByteOfItsRequest) {
  EXPECT_EQ(answer_due(RequestClass::short_read, start + 3s, 75s), start + 78s);
  EXPECT_EQ(answer_due(RequestClass::short_write, start, 75s), start + 75s);
  EXPECT_EQ(answer_due(RequestClass::list, start, 75s), start + 75s);
}

TEST_F(DeadlineTest, WhatRunsLongIsNeverDueAndNothingIsWithoutATimeout) {
  for (const RequestClass request :
       {RequestClass::watch, RequestClass::watch_list, RequestClass::long_running_other}) {
    EXPECT_EQ(answer_due(request, start, 75s), std::nullopt);
  }
  EXPECT_EQ(answer_due(RequestClass::short_read, start, 0s), std::nullopt);
}

}  // namespace
}  // namespace sluice::proxy
