// SPDX-License-Identifier: GPL-3.0-or-later
// Who has which share, as backends come, go and answer; and what a picker makes of it.
#include "sluice/balance/shares.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <vector>

#include "sluice/balance/load_board.h"

namespace sluice::balance {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using Use = Shares::Use;

constexpr Duration step = milliseconds(250);

class SharesTest : public testing::Test {
 protected:
  void update(Duration passed = step) {
    now_ += passed;
    shares_.update(options_, now_, backends_);
  }
  void run(Duration time) {
    for (Duration passed{}; passed < time; passed += step) update();
  }
  float weight(std::size_t backend) const { return shares_.share(backend).weight; }
  Lowered why(std::size_t backend) const { return shares_.share(backend).why; }

  SharesOptions options_;
  Shares shares_;
  Instant now_{seconds(1)};
  std::array<int, 4> names_{};
  std::vector<Shares::Backend> backends_{{.who = &names_[0], .use = Use::in_use, .answers = {}},
                                         {.who = &names_[1], .use = Use::in_use, .answers = {}},
                                         {.who = &names_[2], .use = Use::in_use, .answers = {}}};
};

TEST_F(SharesTest, ThoseOfTheBeginningHaveFullSharesAtOnce) {
  update();
  for (const std::size_t i : {0U, 1U, 2U}) EXPECT_EQ(shares_.share(i), Share{});
}

TEST_F(SharesTest, WhoComesBackStartsSlowlyAndFromTheFirstMomentOn) {
  update();
  backends_[1].use = Use::out;
  update();
  // Before anybody can pick it again.
  EXPECT_FLOAT_EQ(weight(1), 0.125);
  run(seconds(30));
  EXPECT_FLOAT_EQ(weight(1), 0.125);
  backends_[1].use = Use::in_use;
  update(Duration::zero());
  EXPECT_FLOAT_EQ(weight(1), 0.125);
  EXPECT_EQ(why(1), Lowered::starting);
  run(seconds(10));
  EXPECT_NEAR(weight(1), 0.5, 0.05);
  run(seconds(6));
  EXPECT_EQ(shares_.share(1), Share{});
}

TEST_F(SharesTest, WhoJoinsStartsSlowlyToo) {
  update();
  backends_.push_back({.who = &names_[3], .use = Use::out, .answers = {}});
  update();
  backends_[3].use = Use::in_use;
  update();
  EXPECT_LT(weight(3), 0.2F);
  EXPECT_FLOAT_EQ(weight(0), 1);
}

TEST_F(SharesTest, ASlotsNextBackendStartsAnew) {
  update();
  backends_[2] = {.who = &names_[3], .use = Use::out, .answers = {}};
  update();
  backends_[2].use = Use::in_use;
  update();
  EXPECT_EQ(why(2), Lowered::starting);
  backends_[2] = {};
  update();
  EXPECT_EQ(shares_.share(2), Share{});
}

TEST_F(SharesTest, AfterAnOutageOfAllTheFirstHasAllAndNobodyWaits) {
  update();
  for (auto& backend : backends_) backend.use = Use::out;
  update();
  for (const std::size_t i : {0U, 1U, 2U}) EXPECT_EQ(shares_.share(i), Share{});
  for (auto& backend : backends_) backend.use = Use::in_use;
  update();
  for (const std::size_t i : {0U, 1U, 2U}) EXPECT_FLOAT_EQ(weight(i), 1);
}

TEST_F(SharesTest, WithoutSlowStartAFullShareComesAtOnce) {
  options_.slow_start.time = Duration::zero();
  update();
  backends_[1].use = Use::out;
  update();
  EXPECT_FLOAT_EQ(weight(1), 1);
  backends_[1].use = Use::in_use;
  update(Duration::zero());
  EXPECT_FLOAT_EQ(weight(1), 1);
}

TEST_F(SharesTest, WhoDoesWorseGetsLessUnlessThatIsTurnedOff) {
  const auto answer = [&](Duration time) {
    for (Duration passed{}; passed < time; passed += step) {
      for (std::size_t i = 0; i < 3; ++i) {
        Answers::Kind& kind = backends_[i].answers.kinds[0];
        kind.answers += 25;
        if (i == 2) kind.slowness += 25 * slowness_of(milliseconds(500));
      }
      update();
    }
  };
  // The sums go round.
  for (auto& backend : backends_) backend.answers.kinds[0].answers = 0xffff'fff0U;
  update();
  answer(seconds(10));
  EXPECT_FLOAT_EQ(weight(2), 0.125);
  EXPECT_EQ(why(2), Lowered::slow);
  EXPECT_FLOAT_EQ(weight(0), 1);
  options_.review = false;
  answer(seconds(90));
  EXPECT_EQ(shares_.share(2), Share{});
}

TEST_F(SharesTest, WhatWasSeenBeforeItWasAwayIsForgotten) {
  update();
  for (auto& backend : backends_) backend.answers.kinds[0].answers += 1000;
  backends_[0].answers.kinds[0].failures += 1000;
  update();
  EXPECT_EQ(why(0), Lowered::failing);
  backends_[0].use = Use::out;
  update();
  backends_[0].use = Use::in_use;
  run(seconds(16));
  EXPECT_EQ(shares_.share(0), Share{});
}

// --- with a picker -----------------------------------------------------------------------------

// Three backends that take some milliseconds for each request, and clients that ask so often.
class SharesWithPickerTest : public SharesTest {
 protected:
  struct Running {
    LoadLease lease;
    Instant ends;
  };

  // Picks of each backend in so much time.
  std::array<int, 3> serve(Duration time, BackendMask usable, double per_second,
                           std::array<Duration, 3> latency,
                           RequestClass request = RequestClass::read) {
    std::array<int, 3> picks{};
    const auto pause = std::chrono::duration_cast<Duration>(seconds(1) / per_second);
    Instant next_update = clock_;
    for (const Instant end = clock_ + time; clock_ < end; clock_ += pause) {
      if (clock_ >= next_update) {
        next_update = clock_ + step;
        refresh(usable);
      }
      for (Running& one : running_) {
        if (one.ends <= clock_) one.lease.complete();
      }
      std::erase_if(running_, [this](const Running& one) { return one.ends <= clock_; });
      const auto view = load_.view(clock_);
      if (usable != usable_) load_.join(usable & ~usable_, usable & usable_);
      usable_ = usable;
      const auto pick = picker_.pick(view, usable, request, random_, 0, load_.lowered());
      ++picks.at(*pick);
      const auto took = latency.at(*pick) * (2 * random_.unit());
      load_.note_answer(*pick, AnswerKind::read,
                        slowness_of(std::chrono::duration_cast<Duration>(took)));
      running_.push_back(
          {load_.assign(*pick, request, 1), clock_ + std::chrono::duration_cast<Duration>(took)});
    }
    return picks;
  }
  void refresh(BackendMask usable) {
    for (std::size_t i = 0; i < 3; ++i) {
      backends_[i].use = (usable & mask_of(i)) != 0 ? Use::in_use : Use::out;
      backends_[i].answers = board_.answers(i);
    }
    shares_.update(options_, clock_, backends_);
    for (std::size_t i = 0; i < 3; ++i) board_.set_share(i, shares_.share(i));
  }
  static double share_of(const std::array<int, 3>& picks, std::size_t backend) {
    return static_cast<double>(picks.at(backend)) / (picks[0] + picks[1] + picks[2]);
  }

  Instant clock_{seconds(10)};
  LoadBoard board_{1, 3};
  WorkerLoad load_{board_, 0};
  Picker picker_;
  Random random_{3};
  BackendMask usable_ = mask_of_first(3);
  std::vector<Running> running_;
  const std::array<Duration, 3> equal_{milliseconds(5), milliseconds(5), milliseconds(5)};
};

TEST_F(SharesWithPickerTest, WhoReturnsNeverGetsMoreThanItsShareFromTheFirstSecondOn) {
  for (const double per_second : {20.0, 300.0, 4000.0}) {
    serve(seconds(20), mask_of_first(3), per_second, equal_);
    serve(seconds(20), 0b011, per_second, equal_);
    const double first = share_of(serve(seconds(2), 0b111, per_second, equal_), 2);
    if (per_second > 100) {
      EXPECT_GT(first, 0.02) << per_second;
    }
    EXPECT_LT(first, 0.2) << per_second;
    double before = first;
    for (int second = 2; second < 24; second += 2) {
      const double share = share_of(serve(seconds(2), 0b111, per_second, equal_), 2);
      EXPECT_LT(share, per_second < 100 ? 0.5 : 0.36) << per_second << " " << second;
      before = share;
    }
    if (per_second > 100) {
      EXPECT_NEAR(before, 1.0 / 3, 0.02) << per_second;
    }
  }
}

// Each of many gateways has little to do and sees nothing of what the others do.
TEST(SharesOfManyGatewaysTest, WhoReturnsIsFloodedByNone) {
  constexpr int gateways = 100;
  Random random(11);
  int lists = 0;
  int of_the_returned = 0;
  for (int gateway = 0; gateway < gateways; ++gateway) {
    LoadBoard board(1, 3);
    WorkerLoad load(board, 0);
    Picker picker;
    Instant now{seconds(1)};
    const auto serve = [&](BackendMask usable, int requests) {
      std::vector<LoadLease> running;
      int picks = 0;
      for (int i = 0; i < requests; ++i, now += milliseconds(100)) {
        const auto view = load.view(now);
        const auto pick = picker.pick(view, usable, RequestClass::list, random, 0, load.lowered());
        running.push_back(load.assign(*pick, RequestClass::list, 5));
        if (*pick == 2) ++picks;
      }
      return picks;
    };
    board.set_share(2, {.weight = 0.125F, .why = Lowered::starting});
    serve(0b011, 20);
    load.view(now);
    load.join(0b100, 0b011);
    of_the_returned += serve(0b111, 5);
    lists += 5;
  }
  EXPECT_LT(of_the_returned, lists / 8);
  EXPECT_GT(of_the_returned, 0);
}

TEST_F(SharesWithPickerTest, NewWatchesComeToWhoReturnsByItsShare) {
  std::vector<LoadLease> watches;
  for (int i = 0; i < 300; ++i) {
    watches.push_back(load_.assign(static_cast<std::size_t>(i % 2), RequestClass::watch, 1));
    watches.back().settle();
  }
  refresh(0b011);
  refresh(0b111);
  std::array<int, 3> picks{};
  const auto view = load_.view(clock_);
  for (int i = 0; i < 3000; ++i) {
    ++picks.at(*picker_.pick(view, 0b111, RequestClass::watch, random_, 0, load_.lowered()));
  }
  EXPECT_GT(share_of(picks, 2), 0.02);
  EXPECT_LT(share_of(picks, 2), 0.1);
}

TEST_F(SharesWithPickerTest, ASlowBackendGetsLessThanAThirdOfItsFairShare) {
  serve(seconds(20), 0b111, 300, equal_);
  const std::array<Duration, 3> slow{milliseconds(5), milliseconds(505), milliseconds(5)};
  serve(seconds(20), 0b111, 300, slow);
  const double share = share_of(serve(seconds(60), 0b111, 300, slow), 1);
  EXPECT_LT(share, 1.0 / 9);
  EXPECT_GT(share, 0.005);
  // And comes back.
  serve(seconds(40), 0b111, 300, equal_);
  EXPECT_NEAR(share_of(serve(seconds(20), 0b111, 300, equal_), 1), 1.0 / 3, 0.02);
}

}  // namespace
}  // namespace sluice::balance
