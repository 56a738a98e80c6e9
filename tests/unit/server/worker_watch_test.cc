// SPDX-License-Identifier: GPL-3.0-or-later
// Which workers stand still, as time passes for whoever looks.
#include "worker_watch.h"

#include <gmock/gmock.h>

#include <array>

namespace sluice::server {
namespace {

using namespace std::chrono_literals;
using State = WorkerWatch::State;
using testing::ElementsAre;
using testing::IsEmpty;

class WorkerWatchTest : public testing::Test {
 protected:
  // Looks for so long, with both workers where they are.
  void pass(Duration duration, Duration interval = WorkerWatch::look_interval) {
    for (const Instant until = now_ + duration; now_ < until;) {
      now_ += interval;
      if (first_turns_) turns_[0]->began = now_;
      for (const std::size_t worker : watch_.look(now_, turns_)) changed_.push_back(worker);
    }
  }

  WorkerWatch watch_{2, 10s};
  Instant now_{1000s};
  std::array<std::optional<io::TurnState>, 2> turns_{io::TurnState{now_, {}, -1},
                                                     io::TurnState{now_, {}, -1}};
  bool first_turns_ = true;
  std::vector<std::size_t> changed_;
};

TEST_F(WorkerWatchTest, WhoTurnsIsNeverLate) {
  for (int i = 0; i < 100; ++i) {
    turns_[1]->began = now_;
    pass(500ms);
  }
  EXPECT_EQ(watch_.worst(), State::turns);
  EXPECT_THAT(changed_, IsEmpty());
}

TEST_F(WorkerWatchTest, OneThatStandsStillIsLateThenStalledThenHopeless) {
  pass(5s);
  EXPECT_EQ(watch_.worst(), State::turns);
  pass(250ms);
  EXPECT_EQ(watch_.state(1), State::late);
  EXPECT_EQ(watch_.state(0), State::turns);
  pass(4750ms);
  EXPECT_EQ(watch_.state(1), State::late);
  pass(250ms);
  EXPECT_EQ(watch_.state(1), State::stalled);
  EXPECT_EQ(watch_.away(1), 10s);
  pass(20s);
  EXPECT_EQ(watch_.state(1), State::hopeless);
  EXPECT_THAT(changed_, ElementsAre(1, 1, 1));
}

TEST_F(WorkerWatchTest, OneThatTurnsAgainBeginsAnew) {
  pass(8s);
  turns_[1]->began = now_;
  pass(1s);
  EXPECT_EQ(watch_.worst(), State::turns);
  EXPECT_THAT(changed_, ElementsAre(1, 1));
  pass(3s);
  EXPECT_EQ(watch_.worst(), State::turns);
}

// A machine that was suspended, or a process that was stopped: all stand still at once, and whoever
// looks, too.
TEST_F(WorkerWatchTest, TimeInWhichNobodyLooksIsNobodysFault) {
  first_turns_ = false;
  pass(1s);
  pass(10min, 10min);
  EXPECT_EQ(watch_.worst(), State::turns);
  EXPECT_LE(watch_.away(1), 1500ms);
  // Somebody who looks seldom, on a machine that is too busy.
  pass(40s, 4s);
  EXPECT_LE(watch_.worst(), State::late);
}

TEST_F(WorkerWatchTest, OneThatBeginsOrEndsIsNotJudged) {
  turns_[1].reset();
  pass(1min);
  EXPECT_EQ(watch_.worst(), State::turns);
  turns_[1] = io::TurnState{now_, {}, -1};
  pass(4s);
  EXPECT_EQ(watch_.worst(), State::turns);
}

TEST_F(WorkerWatchTest, WithoutALimitSomebodyIsLateAndNothingMore) {
  WorkerWatch watch(1, Duration::zero());
  const std::array<std::optional<io::TurnState>, 1> turns{io::TurnState{}};
  for (Instant now = now_; now < now_ + 1h; now += 250ms) (void)watch.look(now, turns);
  EXPECT_EQ(watch.worst(), State::late);
}

}  // namespace
}  // namespace sluice::server
