// SPDX-License-Identifier: GPL-3.0-or-later
// The order of things within a turn.
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
  EXPECT_EQ(log_, "cmtfhr");

  reactor_->ring().cancel(logger.operation);
  while (logger.operation.in_flight()) reactor_->turn();
  EXPECT_EQ(log_, "cmtfhre");
}

// Established traffic leaves before the first handshake of the turn.
TEST_F(ReactorTest, WhatTheFlushSendsHasLeftWhenHandshakesBegin) {
  auto [near, far] = local_pair();
  struct Sender {
    Operation operation{Operation::bind<&Sender::sent>(this)};
    void sent(const Completion&) {}
  } sender;
  const std::string_view text = "established";
  std::array<char, 64> arrived{};
  ssize_t bytes = 0;
  Work flush([&] { reactor_->ring().send(sender.operation, near.get(), as_bytes(text)); });
  Work handshake([&] { bytes = ::recv(far.get(), arrived.data(), arrived.size(), MSG_DONTWAIT); });
  reactor_->at_turn_end(handshake.turn_end, Phase::handshakes);
  reactor_->at_turn_end(flush.turn_end, Phase::flush);
  reactor_->turn(false);
  EXPECT_EQ(bytes, static_cast<ssize_t>(text.size()));
  while (sender.operation.in_flight()) reactor_->turn();
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
  Work early([&] { log_ += "f"; });
  Work late([&] { reactor_->at_turn_end(early.turn_end, Phase::flush); });
  reactor_->at_turn_end(late.turn_end, Phase::reap);
  reactor_->turn();
  EXPECT_EQ(log_, "");
  reactor_->turn();
  EXPECT_EQ(log_, "f");
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
  const Instant before = reactor_->turn_state().began;
  std::thread other([&] { reactor_->mailbox().post([] {}); });
  other.join();
  reactor_->turn();
  EXPECT_GT(reactor_->turn_state().began, before);
  EXPECT_EQ(reactor_->turn_state().began, reactor_->now());
}

TEST_F(ReactorTest, ShowsOthersWhatItIsAt) {
  struct Owner {
    io::Reactor& reactor;
    std::vector<TurnState> seen = {};
    Timer timer{Timer::bind<&Owner::look>(this)};
    TurnEnd flush{TurnEnd::bind<&Owner::flushed>(this)};
    TurnEnd handshake{TurnEnd::bind<&Owner::look>(this)};
    TurnEnd reap{TurnEnd::bind<&Owner::look>(this)};
    void look() { seen.push_back(reactor.turn_state()); }
    void flushed() {
      reactor.working_on(42);
      look();
    }
  };
  Owner owner{*reactor_};
  reactor_->timers().set(owner.timer, reactor_->now());
  reactor_->mailbox().post([&] { owner.look(); });
  reactor_->at_turn_end(owner.reap, Phase::reap);
  reactor_->at_turn_end(owner.handshake, Phase::handshakes);
  reactor_->at_turn_end(owner.flush, Phase::flush);
  while (owner.seen.size() < 5) reactor_->turn(false);
  const std::vector<std::pair<TurnStep, int>> expected = {{TurnStep::messages, -1},
                                                          {TurnStep::timers, -1},
                                                          {TurnStep::flush, 42},
                                                          {TurnStep::handshakes, -1},
                                                          {TurnStep::reap, -1}};
  std::vector<std::pair<TurnStep, int>> seen;
  for (const TurnState& state : owner.seen) seen.emplace_back(state.step, state.descriptor);
  EXPECT_EQ(seen, expected);
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
