// SPDX-License-Identifier: GPL-3.0-or-later
#include "sluice/io/reactor.h"

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "ring_fixture.h"

namespace sluice::io {
namespace {

using Phase = Reactor::Phase;
using std::chrono::milliseconds;

class Work {
 public:
  explicit Work(std::function<void()> run)
      : turn_end(TurnEnd::bind<&Work::call>(this)), run_(std::move(run)) {}
  TurnEnd turn_end;

 private:
  void call() { run_(); }
  std::function<void()> run_;
};

class ReactorTest : public testing::Test {
 protected:
  ReactorTest() : reactor_(std::move(*Reactor::create({}))) {}

  std::unique_ptr<Reactor> reactor_;
  std::string log_;
};

TEST_F(ReactorTest, RunsCompletionsMailboxTimersAndPhasesInThisOrder) {
  auto [near, far] = local_pair();
  struct Logger {
    std::string& log;
    Operation operation{Operation::bind<&Logger::received>(this)};
    Timer timer{Timer::bind<&Logger::fired>(this)};
    void received(const Completion& completion) { log += completion.last ? "e" : "c"; }
    void fired() { log += "t"; }
  };
  Logger logger{.log = log_};
  Work reap([&] { log_ += "r"; });
  Work flush([&] { log_ += "f"; });
  Work handshake([&] { log_ += "h"; });
  reactor_->ring().receive(logger.operation, near.get());
  reactor_->turn(false);

  far.write("x");
  reactor_->timers().set(logger.timer, reactor_->now());
  reactor_->mailbox().post([&] { log_ += "m"; });
  reactor_->at_turn_end(reap.turn_end, Phase::reap);
  reactor_->at_turn_end(flush.turn_end, Phase::flush);
  reactor_->at_turn_end(handshake.turn_end, Phase::handshakes);
  reactor_->turn();
  EXPECT_EQ(log_, "cmthfr");

  reactor_->ring().cancel(logger.operation);
  while (logger.operation.in_flight()) reactor_->turn();
  EXPECT_EQ(log_, "cmthfre");
}

TEST_F(ReactorTest, RunsRegisteredWorkOnceInATurn) {
  int ran = 0;
  Work work([&] { ++ran; });
  reactor_->at_turn_end(work.turn_end, Phase::flush);
  reactor_->at_turn_end(work.turn_end, Phase::flush);
  reactor_->turn();
  EXPECT_EQ(ran, 1);
  reactor_->turn(false);
  EXPECT_EQ(ran, 1);
}

TEST_F(ReactorTest, RunsInTheSameTurnWhatAPhaseAddsForOthers) {
  Work reap([&] { log_ += "r"; });
  Work second([&] {
    log_ += "2";
    reactor_->at_turn_end(reap.turn_end, Phase::reap);
  });
  Work first([&] {
    log_ += "1";
    reactor_->at_turn_end(second.turn_end, Phase::flush);
  });
  reactor_->at_turn_end(first.turn_end, Phase::flush);
  reactor_->turn();
  EXPECT_EQ(log_, "12r");
}

TEST_F(ReactorTest, RunsInTheNextTurnWhatAsksForAnotherTurnAndDoesNotSleepBefore) {
  int left = 3;
  Work* self = nullptr;
  Work work([&] {
    log_ += "w";
    if (--left > 0) reactor_->at_turn_end(self->turn_end, Phase::handshakes);
  });
  self = &work;
  reactor_->at_turn_end(work.turn_end, Phase::handshakes);
  reactor_->turn();
  EXPECT_EQ(log_, "w");
  reactor_->turn();  // would sleep for ever otherwise: there is no timer
  reactor_->turn();
  EXPECT_EQ(log_, "www");
}

TEST_F(ReactorTest, RunsInTheNextTurnWhatIsAddedToAPhaseThatIsOver) {
  Work early([&] { log_ += "h"; });
  Work late([&] { reactor_->at_turn_end(early.turn_end, Phase::handshakes); });
  reactor_->at_turn_end(late.turn_end, Phase::reap);
  reactor_->turn();
  EXPECT_EQ(log_, "");
  reactor_->turn();
  EXPECT_EQ(log_, "h");
}

TEST_F(ReactorTest, LetsWorkDestroyItselfAndOthers) {
  auto victim = std::make_unique<Work>([&] { log_ += "never"; });
  std::unique_ptr<Work> self;
  self = std::make_unique<Work>([&] {
    log_ += "once";
    victim.reset();
    // The last statement: the captures go with it.
    self.reset();
  });
  reactor_->at_turn_end(self->turn_end, Phase::reap);
  reactor_->at_turn_end(victim->turn_end, Phase::reap);
  reactor_->turn();
  EXPECT_EQ(log_, "once");
}

TEST_F(ReactorTest, WakesForTheNextTimer) {
  struct Owner {
    int fired = 0;
    Timer timer{Timer::bind<&Owner::fire>(this)};
    void fire() { ++fired; }
  };
  Owner owner;
  const Instant deadline = reactor_->now() + milliseconds(3);
  reactor_->timers().set(owner.timer, deadline);
  reactor_->run_until([&] { return owner.fired == 1; });
  EXPECT_GE(reactor_->now(), deadline);
}

TEST_F(ReactorTest, WakesForMessagesOfOtherThreads) {
  for (int i = 0; i < 200; ++i) {
    bool done = false;
    std::thread other([&] { reactor_->mailbox().post([&] { done = true; }); });
    reactor_->run_until([&] { return done; });
    other.join();
  }
}

TEST_F(ReactorTest, ShowsOthersWhenItLastTurned) {
  const Instant before = reactor_->last_turn();
  std::thread other([&] { reactor_->mailbox().post([] {}); });
  other.join();
  reactor_->turn();
  EXPECT_GT(reactor_->last_turn(), before);
  EXPECT_EQ(reactor_->last_turn(), reactor_->now());
}

TEST(ReactorLifetimeTest, EndsWhatWasCancelledWhenItIsDestroyed) {
  auto [near, far] = local_pair();
  auto reactor = std::move(*Reactor::create({}));
  int ended = 0;
  Operation receive(&ended, [](void* owner, const Completion& completion) {
    if (completion.last) ++*static_cast<int*>(owner);
  });
  reactor->ring().receive(receive, near.get());
  reactor->turn(false);
  reactor->ring().cancel(receive);
  reactor.reset();
  EXPECT_EQ(ended, 1);
  EXPECT_FALSE(receive.in_flight());
}

}  // namespace
}  // namespace sluice::io
