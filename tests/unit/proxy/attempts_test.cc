// SPDX-License-Identifier: GPL-3.0-or-later
// What may be sent once more, and how often.
#include "attempts.h"

#include <gtest/gtest.h>

#include "replay_budget.h"

namespace sluice::proxy {
namespace {

using kubernetes::RequestClass;

bool may(Retry known, RequestClass request, bool whole = true) {
  Attempts attempts;
  attempts.begin(0);
  return attempts.may_go_on(known, request, whole, 3);
}

TEST(AttemptsTest, WhatWasNotExecutedGoesOnWhateverItIs) {
  for (const RequestClass request :
       {RequestClass::short_read, RequestClass::short_write, RequestClass::list,
        RequestClass::watch, RequestClass::watch_list, RequestClass::long_running_other}) {
    EXPECT_TRUE(may(Retry::not_executed, request));
    EXPECT_FALSE(may(Retry::never, request));
  }
}

TEST(AttemptsTest, WhatWasLostGoesOnWhenItsRepetitionDoesNoHarm) {
  EXPECT_TRUE(may(Retry::idempotent, RequestClass::short_read));
  EXPECT_TRUE(may(Retry::idempotent, RequestClass::watch));
  EXPECT_FALSE(may(Retry::idempotent, RequestClass::short_write));
  EXPECT_FALSE(may(Retry::idempotent, RequestClass::list));
  EXPECT_FALSE(may(Retry::idempotent, RequestClass::watch_list));
  EXPECT_FALSE(may(Retry::idempotent, RequestClass::long_running_other));
}

TEST(AttemptsTest, HalfABodyGoesNowhere) {
  EXPECT_FALSE(may(Retry::not_executed, RequestClass::short_write, false));
}

TEST(AttemptsTest, TriesHaveAnEnd) {
  Attempts attempts;
  EXPECT_FALSE(attempts.any());
  for (std::size_t backend = 0; backend < 3; ++backend) {
    EXPECT_TRUE(attempts.may_go_on(Retry::not_executed, RequestClass::list, true, 3));
    EXPECT_EQ(attempts.tried() & balance::mask_of(backend), 0U);
    attempts.begin(backend);
    EXPECT_NE(attempts.tried() & balance::mask_of(backend), 0U);
    EXPECT_EQ(attempts.backend(), backend);
  }
  EXPECT_FALSE(attempts.may_go_on(Retry::not_executed, RequestClass::list, true, 3));
}

TEST(AttemptsTest, ARefusalIsNoTryUntilThereAreTooMany) {
  Attempts attempts;
  for (std::uint32_t i = 0; i < Attempts::refusals_max; ++i) {
    attempts.begin(0);
    attempts.refused();
    EXPECT_EQ(attempts.count(), 0U);
    EXPECT_EQ(attempts.tried(), 0U);
    // The access log names the last backend all the same.
    EXPECT_TRUE(attempts.any());
    EXPECT_EQ(attempts.backend(), 0U);
  }
  attempts.begin(0);
  attempts.refused();
  EXPECT_EQ(attempts.count(), 1U);
  EXPECT_EQ(attempts.tried(), balance::mask_of(0));
}

TEST(AttemptsTest, IsMovedOnce) {
  Attempts attempts;
  EXPECT_FALSE(attempts.moved());
  attempts.move();
  attempts.begin(1);
  EXPECT_TRUE(attempts.moved());
  attempts = {};
  EXPECT_FALSE(attempts.moved());
}

using Share = ReplayBudget::Share;

TEST(ReplayBudgetTest, SuspectsDoNotUseUpWhatHonestRequestsHave) {
  ReplayBudget budget(20);
  while (budget.take(Share::suspect)) {
  }
  EXPECT_TRUE(budget.take(Share::honest));
  while (budget.take(Share::honest)) {
  }
  for (int i = 0; i < 5; ++i) {
    EXPECT_FALSE(budget.take(Share::honest)) << i;
    budget.earn();
  }
  EXPECT_TRUE(budget.take(Share::honest));
  EXPECT_FALSE(budget.take(Share::honest));
  for (int i = 0; i < 5; ++i) EXPECT_TRUE(budget.take(Share::suspect));
  EXPECT_FALSE(budget.take(Share::suspect));
}

TEST(ReplayBudgetTest, WhatWasAnsweredDoesNotUseUpWhatIsForBackendsThatFail) {
  ReplayBudget budget(20);
  while (budget.take(Share::answered)) {
  }
  EXPECT_TRUE(budget.take(Share::honest));
  EXPECT_TRUE(budget.take(Share::suspect));
  for (int i = 0; i < 5; ++i) {
    EXPECT_FALSE(budget.take(Share::answered)) << i;
    budget.earn();
  }
  EXPECT_TRUE(budget.take(Share::answered));
}

TEST(ReplayBudgetTest, AQuietTimeSavesAThousandAtMost) {
  ReplayBudget budget(100);
  for (int i = 0; i < 5000; ++i) budget.earn();
  int taken = 0;
  while (budget.take(Share::honest)) ++taken;
  EXPECT_EQ(taken, 1000);
}

}  // namespace
}  // namespace sluice::proxy
