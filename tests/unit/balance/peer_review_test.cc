// SPDX-License-Identifier: GPL-3.0-or-later
// Histories of a few backends, and which of them get less for it.
#include "sluice/balance/peer_review.h"

#include <gtest/gtest.h>

#include <vector>

#include "sluice/base/random.h"

namespace sluice::balance {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr Duration step = milliseconds(250);
constexpr double least = PeerReview::least_share;

// How a backend answers.
struct Habit {
  double per_second = 100;
  Duration latency = milliseconds(2);
  double fails = 0;
  double overloads = 0;
  AnswerKind kind = AnswerKind::read;
};

class PeerReviewTest : public testing::Test {
 protected:
  void run(const std::vector<Habit>& habits, Duration time, bool by_share = true) {
    const BackendMask among = mask_of_first(habits.size());
    for (Duration passed{}; passed < time; passed += step) {
      for (std::size_t i = 0; i < habits.size(); ++i) {
        const Habit& habit = habits[i];
        const double asked = habit.per_second * to_seconds(step) *
                             (by_share ? review_.share(i) : 1.0) * (0.8 + 0.4 * random_.unit());
        due_[i] += asked;
        Answers more;
        Answers::Kind& kind = more.kinds[static_cast<std::size_t>(habit.kind)];
        for (; due_[i] >= 1; --due_[i]) {
          ++kind.answers;
          if (random_.unit() < habit.overloads) {
            ++more.overloads;
          } else if (random_.unit() < habit.fails) {
            ++kind.failures;
          } else {
            // Half to twice as long.
            const double factor = 0.5 + 1.5 * random_.unit();
            kind.slowness +=
                slowness_of(std::chrono::duration_cast<Duration>(habit.latency * factor));
          }
        }
        review_.add(i, more);
      }
      review_.review(step, among);
    }
  }
  double share(std::size_t backend) const { return review_.share(backend); }
  Lowered why(std::size_t backend) const { return review_.why(backend); }
  std::size_t lowered(std::size_t backends) const {
    std::size_t count = 0;
    for (std::size_t i = 0; i < backends; ++i) count += share(i) < 1 ? 1U : 0U;
    return count;
  }

  PeerReview review_;
  Random random_{7};
  std::array<double, 16> due_{};
};

TEST_F(PeerReviewTest, WhoeverAnswersLateGetsLittleWithinSeconds) {
  const Habit good;
  const Habit late{.latency = milliseconds(500)};
  run({good, good, good}, seconds(60));
  EXPECT_EQ(lowered(3), 0U);
  run({good, late, good}, seconds(6));
  EXPECT_LT(share(1), 0.5);
  run({good, late, good}, seconds(20));
  EXPECT_DOUBLE_EQ(share(1), least);
  EXPECT_EQ(why(1), Lowered::slow);
  EXPECT_EQ(lowered(3), 1U);
}

// It gives few answers from then on, because what has not been answered counts as its work.
TEST_F(PeerReviewTest, WhoeverBecomesLateAfterThousandsOfGoodAnswersIsSeenSoon) {
  const Habit good{.per_second = 5000};
  run({good, good, good}, seconds(30));
  run({good, {.per_second = 10, .latency = milliseconds(500)}, good}, seconds(8), false);
  EXPECT_LT(share(1), 0.5);
}

TEST_F(PeerReviewTest, WhatIsGoodAgainGetsAFullShareBackByTheLittleThatItHas) {
  const Habit good;
  run({good, {.latency = milliseconds(500)}, good}, seconds(60));
  EXPECT_DOUBLE_EQ(share(1), least);
  run({good, good, good}, seconds(30));
  EXPECT_DOUBLE_EQ(share(1), 1.0);
  EXPECT_EQ(why(1), Lowered::no);
}

TEST_F(PeerReviewTest, AFartherBackendIsNotASlowOne) {
  run({{.latency = milliseconds(1)}, {.latency = milliseconds(20)}, {.latency = milliseconds(1)}},
      seconds(60));
  EXPECT_EQ(lowered(3), 0U);
  // Two thirds of a second, where others take half of one, is no fault either.
  run({{.latency = milliseconds(300)},
       {.latency = milliseconds(600)},
       {.latency = milliseconds(300)}},
      seconds(60));
  EXPECT_EQ(lowered(3), 0U);
}

TEST_F(PeerReviewTest, AFewThatTakeVeryLongSayLittle) {
  // One write in fifty waits ten seconds for a webhook, wherever it goes: for a backend that has
  // had most of them it is chance.
  Answers more;
  more.kinds[1] = {.answers = 100, .failures = 0, .slowness = 5 * slowness_of(seconds(10))};
  review_.add(0, more);
  more.kinds[1].slowness = 0;
  review_.add(1, more);
  review_.add(2, more);
  review_.review(step, mask_of_first(3));
  EXPECT_EQ(lowered(3), 0U);
}

TEST_F(PeerReviewTest, AFewAnswersSayNothing) {
  Answers more;
  more.kinds[0] = {.answers = 3, .failures = 3, .slowness = 3 * slowness_of(seconds(10))};
  review_.add(0, more);
  more.kinds[0] = {.answers = 100, .failures = 0, .slowness = 0};
  review_.add(1, more);
  review_.add(2, more);
  review_.review(step, mask_of_first(3));
  EXPECT_EQ(lowered(3), 0U);
}

TEST_F(PeerReviewTest, KindsAreComparedAmongThemselves) {
  // One is asked for lists alone, which take their time.
  run({{.per_second = 100, .latency = milliseconds(2)},
       {.per_second = 100, .latency = seconds(1), .kind = AnswerKind::list},
       {.per_second = 100, .latency = milliseconds(2)}},
      seconds(30));
  EXPECT_EQ(lowered(3), 0U);
}

// Many reads that are answered well make no good writer.
TEST_F(PeerReviewTest, WhoIsBadAtOneKindIsBad) {
  const auto writes = [&](Duration time) {
    for (Duration passed{}; passed < time; passed += step) {
      for (std::size_t i = 0; i < 3; ++i) {
        Answers more;
        more.kinds[0].answers = 100;
        more.kinds[1].answers = i == 1 ? 2 : 10;
        more.kinds[1].slowness = i == 1 ? 2 * slowness_of(milliseconds(900)) : 0;
        review_.add(i, more);
      }
      review_.review(step, mask_of_first(3));
    }
  };
  writes(seconds(20));
  for (int second = 0; second < 20; ++second) {
    writes(seconds(1));
    EXPECT_DOUBLE_EQ(share(1), least);
  }
}

TEST_F(PeerReviewTest, WhoeverFailsGetsLess) {
  const Habit good;
  run({good, good, {.fails = 0.5}}, seconds(20));
  EXPECT_DOUBLE_EQ(share(2), least);
  EXPECT_EQ(why(2), Lowered::failing);
  run({good, good, good}, seconds(40));
  EXPECT_EQ(lowered(3), 0U);
}

TEST_F(PeerReviewTest, WhatFailsEverywhereIsNobodysFault) {
  const Habit failing{.fails = 0.4};
  run({failing, failing, failing}, seconds(60));
  EXPECT_EQ(lowered(3), 0U);
}

TEST_F(PeerReviewTest, NeverMoreThanHalfGetLessWhateverIsWrong) {
  const Habit good;
  const Habit late{.latency = milliseconds(800)};
  const Habit failing{.fails = 0.6};
  const Habit overloaded{.overloads = 0.6};
  for (const std::vector<Habit>& habits :
       std::vector<std::vector<Habit>>{{good, late},
                                       {late, late},
                                       {good, late, late},
                                       {late, failing, good},
                                       {late, failing, overloaded},
                                       {good, late, failing, overloaded},
                                       {good, late, late, late, failing},
                                       {late, late, late, late, good, good, good},
                                       {good}}) {
    review_ = {};
    run(habits, seconds(30));
    EXPECT_LE(lowered(habits.size()), habits.size() / 2) << habits.size();
  }
}

TEST_F(PeerReviewTest, OfTwoTheWorseGetsLess) {
  run({{.latency = milliseconds(500)}, {}}, seconds(30));
  EXPECT_DOUBLE_EQ(share(0), least);
  EXPECT_DOUBLE_EQ(share(1), 1.0);
}

TEST_F(PeerReviewTest, RefusalsLowerAShareForAsLongAsTheyCome) {
  const Habit good;
  run({good, {.overloads = 0.3}, good}, seconds(2));
  EXPECT_LT(share(1), 0.9);
  EXPECT_EQ(why(1), Lowered::overloaded);
  run({good, {.overloads = 0.3}, good}, seconds(20));
  EXPECT_LT(share(1), 0.5);
  EXPECT_GE(share(1), least);
  run({good, good, good}, seconds(10));
  EXPECT_DOUBLE_EQ(share(1), 1.0);
}

TEST_F(PeerReviewTest, WhereAllRefuseNothingChanges) {
  const Habit overloaded{.overloads = 0.5};
  run({overloaded, overloaded, overloaded}, seconds(30));
  EXPECT_EQ(lowered(3), 0U);
}

// Of a hundred runs with equal backends of whatever latency none may misjudge.
TEST_F(PeerReviewTest, EqualBackendsAreNotTakenForUnequalOnes) {
  for (int i = 0; i < 100; ++i) {
    review_ = {};
    const Duration latency = std::chrono::duration_cast<Duration>(seconds(1) * random_.unit());
    const Habit habit{.per_second = 2 + 100 * random_.unit(), .latency = latency, .fails = 0.02};
    run({habit, habit, habit}, seconds(30));
    EXPECT_EQ(lowered(3), 0U) << i;
  }
}

TEST_F(PeerReviewTest, WhoIsAskedTooLittleToBeJudgedIsSlowlyForgiven) {
  run({{}, {.latency = milliseconds(500)}, {}}, seconds(30));
  EXPECT_DOUBLE_EQ(share(1), least);
  run({{}, {.per_second = 0}, {}}, seconds(20));
  EXPECT_GT(share(1), least);
  EXPECT_LT(share(1), 1.0);
  run({{}, {.per_second = 0}, {}}, seconds(60));
  EXPECT_DOUBLE_EQ(share(1), 1.0);
}

TEST_F(PeerReviewTest, ASlotsNextBackendIsNotJudgedByTheLast) {
  run({{}, {.latency = milliseconds(500)}, {}}, seconds(30));
  review_.forget(1);
  EXPECT_DOUBLE_EQ(share(1), 1.0);
  run({{}, {}, {}}, step);
  EXPECT_DOUBLE_EQ(share(1), 1.0);
}

}  // namespace
}  // namespace sluice::balance
