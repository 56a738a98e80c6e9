// SPDX-License-Identifier: GPL-3.0-or-later
// A take-over from both sides: what is said and done in which order, and what follows from each
// failure. The other process, the service manager and time are the test's.
#include "take_over.h"

#include <gmock/gmock.h>
#include <sys/socket.h>

#include <array>
#include <deque>

#include "noted_environment.h"
#include "simulation.h"

namespace sluice::server {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::IsEmpty;

// What a successor does is said by the test, and what is done to it is noted.
struct Other {
  std::deque<std::string> says;
  bool gone = false;
  std::vector<std::string> told;
  bool ended = false;
};

class NotedSuccessor final : public Successor {
 public:
  NotedSuccessor(Other& other, pid_t pid) : other_(other), pid_(pid) {}
  pid_t pid() const override { return pid_; }
  bool say(std::string_view word) override {
    other_.told.emplace_back(word);
    return !other_.gone;
  }
  std::optional<std::string> hear() override {
    if (other_.says.empty()) return std::nullopt;
    std::string word = other_.says.front();
    other_.says.pop_front();
    return word;
  }
  bool gone() const override { return other_.gone && other_.says.empty(); }
  void end() override { other_.ended = true; }

 private:
  Other& other_;
  pid_t pid_;
};

class TakeOverTest : public testing::Test, private TakeOverHost {
 protected:
  void begin(bool with_predecessor = false) {
    std::unique_ptr<TakeOverLink> link;
    if (with_predecessor) {
      std::array<int, 2> pair{};
      ASSERT_EQ(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair.data()), 0);
      link = std::make_unique<TakeOverLink>(pair[0]);
      predecessor_ = std::make_unique<TakeOverLink>(pair[1]);
    }
    options_.ready_timeout = 30s;
    take_over_.emplace(simulation_.reactor(), environment_, static_cast<TakeOverHost&>(*this),
                       options_, std::move(link));
  }
  void successor(Other& other, pid_t pid) {
    environment_.successors.push_back(std::make_unique<NotedSuccessor>(other, pid));
  }
  // To the point at which the new process begins.
  void want() {
    take_over_->wanted();
    if (collecting_) {
      collecting_ = false;
      take_over_->collected("state");
    }
  }
  void pass(Duration time = 100ms) { simulation_.advance(time); }
  // "go" is told.
  void bring_to_handing(Other& other) {
    want();
    other.says.emplace_back("ready");
    pass();
    ASSERT_THAT(other.told, ElementsAre("go"));
  }

  // TakeOverHost
  bool serves() const override { return serves_; }
  bool reloads() const override { return reloads_; }
  void hold_files(bool held) override { holds_files_ = held; }
  void reload() override { happened_.emplace_back("reload"); }
  void collect_state() override { collecting_ = true; }
  SuccessorPlan plan(std::string state) const override {
    return {"/bin/sluice", {"sluice", "--x"}, {7, 8}, std::move(state)};
  }
  void not_main_any_more() override { happened_.emplace_back("not main"); }
  void replaced() override { happened_.emplace_back("replaced"); }
  void predecessor_gone() override { happened_.emplace_back("predecessor gone"); }

  test::Simulation simulation_;
  NotedEnvironment environment_;
  TakeOverOptions options_;
  bool serves_ = true;
  bool reloads_ = false;
  bool holds_files_ = false;
  bool collecting_ = false;
  std::vector<std::string> happened_;
  std::unique_ptr<TakeOverLink> predecessor_;
  std::optional<TakeOver> take_over_;
};

TEST_F(TakeOverTest, TheNewOneIsNamedBeforeItAcceptsAndTheOldOneDrainsWhenItDoes) {
  environment_.barrier_passed = false;
  Other other;
  successor(other, 4711);
  begin();
  want();
  ASSERT_EQ(environment_.plans.size(), 1U);
  EXPECT_EQ(environment_.plans[0].state, "state");
  EXPECT_THAT(environment_.plans[0].sockets, ElementsAre(7, 8));
  pass(20s);
  EXPECT_THAT(environment_.notified, IsEmpty());
  EXPECT_THAT(other.told, IsEmpty());
  other.says.emplace_back("ready");
  pass();
  EXPECT_THAT(environment_.notified, ElementsAre("MAINPID=4711\nSTATUS=serving", "BARRIER=1"));
  EXPECT_THAT(happened_, ElementsAre("not main"));
  EXPECT_THAT(other.told, IsEmpty());
  environment_.barrier_passed = true;
  pass();
  EXPECT_THAT(other.told, ElementsAre("go"));
  EXPECT_THAT(happened_, ElementsAre("not main"));
  other.says.emplace_back("serving");
  pass();
  EXPECT_THAT(happened_, ElementsAre("not main", "replaced"));
  pass(60s);
  EXPECT_FALSE(other.ended);
  EXPECT_EQ(happened_.size(), 2U);
}

TEST_F(TakeOverTest, TheWatchdogIsFedInTheMessageThatNamesTheNewOne) {
  environment_.watchdog = 5s;
  Other other;
  successor(other, 12);
  begin();
  bring_to_handing(other);
  EXPECT_THAT(environment_.notified, ElementsAre("WATCHDOG=1\nMAINPID=12\nSTATUS=serving"));
}

TEST_F(TakeOverTest, OneThatIsNotReadyInTimeIsEndedAndTheNextMaySucceed) {
  Other first;
  Other second;
  successor(first, 1);
  successor(second, 2);
  begin();
  want();
  pass(29s);
  EXPECT_FALSE(first.ended);
  pass(2s);
  EXPECT_TRUE(first.ended);
  EXPECT_THAT(environment_.notified, IsEmpty());
  EXPECT_THAT(happened_, IsEmpty());
  first.says.emplace_back("ready");  // too late
  pass(1s);
  EXPECT_THAT(environment_.notified, IsEmpty());
  bring_to_handing(second);
}

TEST_F(TakeOverTest, OneThatEndsOrRefusesOrCannotBeStartedLeavesTheOldOneServing) {
  Other ends;
  Other refuses;
  successor(ends, 1);
  successor(refuses, 2);
  begin();
  want();
  ends.gone = true;
  pass();
  want();
  refuses.says.emplace_back("refused: no certificate");
  pass();
  EXPECT_TRUE(refuses.ended);
  want();  // there is none to start any more
  pass();
  EXPECT_EQ(environment_.plans.size(), 3U);
  EXPECT_THAT(environment_.notified, IsEmpty());
  EXPECT_THAT(happened_, IsEmpty());
}

TEST_F(TakeOverTest, OneThatEndsBehindGoIsNoReasonToDrain) {
  Other other;
  successor(other, 1);
  begin();
  bring_to_handing(other);
  other.gone = true;
  pass();
  EXPECT_THAT(happened_, ElementsAre("not main"));
}

TEST_F(TakeOverTest, AServiceManagerThatTakesNoMessageIsAskedAgainAndThenItFails) {
  environment_.takes_no_messages = true;
  Other first;
  Other second;
  successor(first, 1);
  successor(second, 2);
  begin();
  want();
  first.says.emplace_back("ready");
  pass(2s);
  environment_.takes_no_messages = false;
  pass();
  EXPECT_THAT(first.told, ElementsAre("go"));
  first.gone = true;
  pass();
  environment_.takes_no_messages = true;
  want();
  second.says.emplace_back("ready");
  pass(6s);
  EXPECT_TRUE(second.ended);
  EXPECT_THAT(second.told, IsEmpty());
}

// It would be the end of the service to go back from here.
TEST_F(TakeOverTest, ABarrierThatIsNeverPassedDelaysAndNoMore) {
  environment_.barrier_passed = false;
  Other other;
  successor(other, 1);
  begin();
  want();
  other.says.emplace_back("ready");
  pass(9s);
  EXPECT_THAT(other.told, IsEmpty());
  pass(2s);
  EXPECT_THAT(other.told, ElementsAre("go"));
}

TEST_F(TakeOverTest, ASecondWishWaitsAndIsTheSuccessorsWhenThereIsOne) {
  Other other;
  successor(other, 1);
  begin();
  want();
  take_over_->wanted();
  other.says.emplace_back("ready");
  pass();
  EXPECT_THAT(other.told, ElementsAre("go", "again"));
  other.says.emplace_back("serving");
  pass();
  take_over_->wanted();
  EXPECT_THAT(other.told, ElementsAre("go", "again", "again"));
  EXPECT_EQ(environment_.plans.size(), 1U);
}

TEST_F(TakeOverTest, ASecondWishIsCarriedOutWhenTheFirstHasFailed) {
  Other first;
  Other second;
  successor(first, 1);
  successor(second, 2);
  begin();
  want();
  take_over_->wanted();
  EXPECT_FALSE(collecting_);
  first.gone = true;
  pass();
  ASSERT_TRUE(collecting_);
  take_over_->collected("later");
  EXPECT_EQ(environment_.plans.back().state, "later");
}

TEST_F(TakeOverTest, WhoDoesNotServeIsNotTakenOverFrom) {
  begin();
  serves_ = false;
  want();
  pass();
  EXPECT_FALSE(collecting_);
  EXPECT_THAT(environment_.plans, IsEmpty());
}

TEST_F(TakeOverTest, WhoIsToldToStopEndsASuccessorThatDoesNotAcceptYet) {
  Other first;
  Other second;
  successor(first, 1);
  successor(second, 2);
  begin();
  want();
  take_over_->stop();
  EXPECT_TRUE(first.ended);
  bring_to_handing(second);
  take_over_->stop();
  EXPECT_FALSE(second.ended);
}

TEST_F(TakeOverTest, WhatIsCollectedAfterAStopStartsNobody) {
  begin();
  take_over_->wanted();
  ASSERT_TRUE(collecting_);
  take_over_->stop();
  take_over_->collected("state");
  EXPECT_THAT(environment_.plans, IsEmpty());
}

// --- beside a change of the configuration

TEST_F(TakeOverTest, OneThatIsWantedDuringAReloadWaitsForItsEnd) {
  begin();
  reloads_ = true;
  take_over_->wanted();
  pass(1min);
  EXPECT_FALSE(collecting_);
  EXPECT_FALSE(holds_files_);
  reloads_ = false;
  pass();
  EXPECT_TRUE(collecting_);
  EXPECT_TRUE(holds_files_);
}

TEST_F(TakeOverTest, AReloadThatIsWantedBeforeItSucceedsIsTheSuccessors) {
  Other other;
  successor(other, 1);
  begin();
  EXPECT_FALSE(take_over_->reload_wanted());
  want();
  EXPECT_TRUE(take_over_->reload_wanted());
  other.says.emplace_back("ready");
  pass();
  EXPECT_THAT(other.told, ElementsAre("go", "reload"));
  EXPECT_TRUE(take_over_->reload_wanted());
  other.says.emplace_back("serving");
  pass();
  EXPECT_TRUE(take_over_->reload_wanted());
  EXPECT_THAT(other.told, ElementsAre("go", "reload", "reload", "reload"));
  EXPECT_THAT(happened_, ElementsAre("not main", "replaced"));
  EXPECT_TRUE(holds_files_);
}

TEST_F(TakeOverTest, AReloadThatIsWantedBeforeItFailsIsDoneThenAndTheNextWaitsForIt) {
  Other other;
  successor(other, 1);
  begin();
  want();
  EXPECT_TRUE(take_over_->reload_wanted());
  take_over_->wanted();
  pass(1s);
  EXPECT_THAT(happened_, IsEmpty());
  reloads_ = true;  // as what it is told to do begins at once
  other.gone = true;
  pass();
  EXPECT_THAT(happened_, ElementsAre("reload"));
  EXPECT_FALSE(holds_files_);
  EXPECT_FALSE(collecting_);
  EXPECT_FALSE(take_over_->reload_wanted());
  reloads_ = false;
  pass();
  EXPECT_TRUE(collecting_);
}

TEST_F(TakeOverTest, AReloadThatItsPredecessorPassesOnIsDone) {
  begin(true);
  predecessor_->say("go");
  predecessor_->say("reload");
  pass();
  EXPECT_THAT(happened_, ElementsAre("reload"));
  predecessor_.reset();
  pass(1s);
}

// --- the new process's side

TEST_F(TakeOverTest, WithoutAPredecessorItMayAcceptAtOnce) {
  begin();
  EXPECT_FALSE(take_over_->has_predecessor());
  EXPECT_TRUE(take_over_->may_accept());
  take_over_->ready();
  take_over_->accepting();
  take_over_->refuse("nothing");
}

TEST_F(TakeOverTest, TheNewOneAcceptsWhenItIsToldToAndSaysSo) {
  begin(true);
  pass();
  EXPECT_FALSE(take_over_->may_accept());
  take_over_->ready();
  EXPECT_EQ(predecessor_->hear(), "ready");
  pass(5s);
  EXPECT_FALSE(take_over_->may_accept());
  predecessor_->say("something that a later version says");
  predecessor_->say("go");
  pass();
  EXPECT_TRUE(take_over_->may_accept());
  take_over_->accepting();
  EXPECT_EQ(predecessor_->hear(), "serving");
  EXPECT_TRUE(take_over_->has_predecessor());
  predecessor_.reset();
  pass(1s);
  EXPECT_FALSE(take_over_->has_predecessor());
  EXPECT_THAT(happened_, ElementsAre("predecessor gone"));
}

TEST_F(TakeOverTest, WhosePredecessorDiesServesBecauseNobodyElseDoes) {
  begin(true);
  take_over_->ready();
  predecessor_.reset();
  pass();
  EXPECT_TRUE(take_over_->may_accept());
}

TEST_F(TakeOverTest, WhyItRefusesIsHeard) {
  begin(true);
  take_over_->refuse("the certificate has expired");
  EXPECT_EQ(predecessor_->hear(), "refused: the certificate has expired");
}

TEST_F(TakeOverTest, ThereAreTwoProcessesAtMost) {
  Other other;
  successor(other, 1);
  begin(true);
  predecessor_->say("go");
  pass();
  want();
  predecessor_->say("again");
  pass(10min);
  EXPECT_FALSE(collecting_);
  EXPECT_THAT(environment_.plans, IsEmpty());
  predecessor_.reset();
  pass(1s);
  EXPECT_TRUE(collecting_);
}

TEST_F(TakeOverTest, AWishThatItsPredecessorPassesOnIsCarriedOut) {
  begin(true);
  predecessor_->say("go");
  predecessor_->say("again");
  pass();
  predecessor_.reset();
  pass(1s);
  EXPECT_TRUE(collecting_);
}

}  // namespace
}  // namespace sluice::server
