// SPDX-License-Identifier: GPL-3.0-or-later
// Signals as events of the ring: the kernel's, because signalfd(2) is.
#include "signals.h"

#include <gmock/gmock.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <thread>
#include <vector>

#include "sluice/io/reactor.h"

namespace sluice::server {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::UnorderedElementsAre;

class SignalsTest : public testing::Test {
 protected:
  void SetUp() override {
    pthread_sigmask(SIG_SETMASK, nullptr, &mask_before_);
    pipe_before_ = std::signal(SIGPIPE, SIG_DFL);
    Signals::block();
    auto reactor = io::Reactor::create(
        {.submission_entries = 16, .completion_entries = 64, .receive_buffers = 4});
    ASSERT_TRUE(reactor) << reactor.error().context;
    reactor_ = std::move(*reactor);
    auto signals =
        Signals::create(reactor_->ring(), [this](int number) { got_.push_back(number); });
    ASSERT_TRUE(signals) << signals.error().context;
    signals_ = std::move(*signals);
  }

  void TearDown() override {
    if (signals_) {
      signals_->stop();
      reactor_->run_until([&] { return signals_->stopped(); });
    }
    signals_.reset();
    reactor_.reset();
    std::signal(SIGPIPE, pipe_before_);
    pthread_sigmask(SIG_SETMASK, &mask_before_, nullptr);
  }

  // To the whole process, as a service manager sends it.
  static void send(int number) { ASSERT_EQ(::kill(::getpid(), number), 0); }
  // A signal is pending when kill() returns: a few turns find it, and none has to wait.
  void turn_until(std::size_t signals) {
    constexpr int turns_max = 1000;
    for (int i = 0; i < turns_max && got_.size() < signals; ++i) reactor_->turn(false);
  }

  sigset_t mask_before_{};
  sighandler_t pipe_before_ = SIG_DFL;
  std::unique_ptr<io::Reactor> reactor_;
  std::unique_ptr<Signals> signals_;
  std::vector<int> got_;
};

TEST_F(SignalsTest, EachServedSignalArrivesByItsNumber) {
  for (const int number : {SIGTERM, SIGINT, SIGHUP, SIGUSR2}) {
    got_.clear();
    send(number);
    EXPECT_THAT(got_, IsEmpty());  // not before the ring turns
    turn_until(1);
    EXPECT_THAT(got_, ElementsAre(number));
  }
}

TEST_F(SignalsTest, SignalsThatComeTogetherAllArrive) {
  send(SIGHUP);
  send(SIGTERM);
  send(SIGINT);
  turn_until(3);
  EXPECT_THAT(got_, UnorderedElementsAre(SIGHUP, SIGTERM, SIGINT));
}

TEST_F(SignalsTest, ThreadsThatStartLaterBlockThemToo) {
  bool blocked = false;
  std::thread([&] {
    sigset_t mask;
    pthread_sigmask(SIG_SETMASK, nullptr, &mask);
    blocked = sigismember(&mask, SIGTERM) == 1 && sigismember(&mask, SIGINT) == 1 &&
              sigismember(&mask, SIGHUP) == 1 && sigismember(&mask, SIGUSR2) == 1;
  }).join();
  EXPECT_TRUE(blocked);
}

TEST_F(SignalsTest, WritingToAPeerThatIsGoneIsAnErrorAndNotTheEnd) {
  std::array<int, 2> ends{};
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()), 0);
  ::close(ends[0]);
  EXPECT_EQ(::write(ends[1], "x", 1), -1);
  EXPECT_EQ(errno, EPIPE);
  ::close(ends[1]);
}

TEST_F(SignalsTest, AfterStopNoneIsReported) {
  reactor_->turn(false);
  send(SIGHUP);  // already there when it stops
  signals_->stop();
  reactor_->run_until([&] { return signals_->stopped(); });
  EXPECT_THAT(got_, IsEmpty());
  // Nobody took it: it would end the test once it is unblocked.
  sigset_t hang_up;
  sigemptyset(&hang_up);
  sigaddset(&hang_up, SIGHUP);
  int number = 0;
  EXPECT_EQ(sigwait(&hang_up, &number), 0);
}

}  // namespace
}  // namespace sluice::server
