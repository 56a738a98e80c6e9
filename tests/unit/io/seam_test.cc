// SPDX-License-Identifier: GPL-3.0-or-later
// A program of its own that brings its own ring and sockets, by nothing but defining the functions
// of io/ring.h and io/socket.h. It is linked like any other; if the kernel's ring were linked, too,
// the linker would refuse the doubled symbols. Time is moved by the ring, so no test here waits.
#include <gtest/gtest.h>

#include <cerrno>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "sluice/io/reactor.h"
#include "sluice/io/socket.h"

namespace sluice::io {
namespace {

struct FakeWorld {
  Instant now{std::chrono::seconds(1000)};
  std::map<int, bool> wake_signalled;
  int next_descriptor = 100;
  std::vector<std::optional<Instant>> waits;
};

FakeWorld* world = nullptr;

}  // namespace

struct Ring::State {
  struct Entry {
    Operation* operation;
    int descriptor;
    bool cancelled;
  };
  std::vector<Entry> entries;
  RingCounters counters;

  // The first thing that can complete does.
  bool complete_one() {
    for (std::size_t i = 0; i < entries.size(); ++i) {
      Operation& operation = *entries[i].operation;
      if (entries[i].cancelled) {
        entries.erase(entries.begin() + static_cast<std::ptrdiff_t>(i));
        operation.slot_ = Operation::none;
        operation.callback_({.result = -ECANCELED, .last = true, .bytes = {}});
        return true;
      }
      if (world->wake_signalled[entries[i].descriptor]) {
        operation.callback_({.result = 1, .last = false, .bytes = {}});
        return true;
      }
    }
    return false;
  }
};

Result<std::unique_ptr<Ring>> Ring::create(const RingOptions&) {
  return std::unique_ptr<Ring>(new Ring(std::make_unique<State>()));
}
Ring::Ring(std::unique_ptr<State> state) : state_(std::move(state)) {}
Ring::~Ring() { CHECK(state_->entries.empty()); }
void Ring::accept(Operation&, int) { CHECK(false); }
void Ring::receive(Operation&, int) { CHECK(false); }
void Ring::receive_once(Operation&, int) { CHECK(false); }
void Ring::send(Operation&, int, Bytes) { CHECK(false); }
void Ring::connect(Operation&, int, const Address&) { CHECK(false); }
void Ring::poll_readable(Operation& operation, int descriptor) {
  operation.slot_ = static_cast<std::uint32_t>(state_->entries.size());
  state_->entries.push_back({&operation, descriptor, false});
}
void Ring::cancel(Operation& operation) {
  for (auto& entry : state_->entries) {
    if (entry.operation == &operation) entry.cancelled = true;
  }
}
void Ring::submit() {}

void Ring::turn(std::optional<Instant> deadline) {
  ++state_->counters.turns;
  world->waits.push_back(deadline);
  if (state_->complete_one()) return;
  CHECK(deadline.has_value());  // it would sleep for ever
  world->now = std::max(world->now, *deadline);
}
Instant Ring::now() const { return world->now; }
Duration Ring::thread_time() const { return {}; }
Duration Ring::starved() const { return {}; }
WallTime Ring::wall_now() const { return WallTime(std::chrono::seconds(1)); }
std::size_t Ring::in_flight() const { return state_->entries.size(); }
const RingCounters& Ring::counters() const { return state_->counters; }

Result<int> listen_on(const Address&, const ListenOptions&) { return fail_errno("fake", ENOSYS); }
Result<int> open_stream(int) { return fail_errno("fake", ENOSYS); }
void configure_stream(int) {}
int socket_error(int) { return 0; }
Result<Address> local_address(int) { return fail_errno("fake", ENOSYS); }
Result<Address> peer_address(int) { return fail_errno("fake", ENOSYS); }
void shutdown_send(int) {}
void reset_on_close(int) {}
void close_socket(int descriptor) { world->wake_signalled.erase(descriptor); }
int accept_now(int) { return -1; }
Result<int> open_wake_descriptor() {
  world->wake_signalled[world->next_descriptor] = false;
  return world->next_descriptor++;
}
void signal_wake(int descriptor) { world->wake_signalled[descriptor] = true; }
void drain_wake(int descriptor) { world->wake_signalled[descriptor] = false; }

namespace {

class SeamTest : public testing::Test {
 protected:
  SeamTest() {
    world = &world_;
    reactor_ = std::move(*Reactor::create({}));
  }
  ~SeamTest() override {
    reactor_.reset();
    EXPECT_TRUE(world_.wake_signalled.empty());  // every descriptor was closed
    world = nullptr;
  }

  FakeWorld world_;
  std::unique_ptr<Reactor> reactor_;
};

TEST_F(SeamTest, DrivesTimersByTheTimeOfTheReplacedRing) {
  struct Owner {
    Reactor& reactor;
    Timer timer{Timer::bind<&Owner::fire>(this)};
    std::vector<Instant> fired;
    void fire() {
      fired.push_back(reactor.now());
      reactor.timers().set(timer, reactor.now(), std::chrono::hours(24));
    }
  };
  Owner owner{.reactor = *reactor_, .fired = {}};
  const Instant begin = reactor_->now();
  reactor_->timers().set(owner.timer, begin, std::chrono::hours(24));
  reactor_->run_until([&] { return owner.fired.size() == 7; });
  for (std::size_t i = 0; i < owner.fired.size(); ++i) {
    const Instant earliest = begin + std::chrono::hours(24) * static_cast<int>(i + 1);
    EXPECT_GE(owner.fired[i], earliest);
    EXPECT_LE(owner.fired[i], earliest + TimerWheel::tick * static_cast<int>(i + 1));
  }
  // A day costs a handful of turns.
  EXPECT_LT(world_.waits.size(), 7U * 5U);
}

TEST_F(SeamTest, WakesThroughTheReplacedDescriptor) {
  int ran = 0;
  // Posted while the reactor sleeps, as far as the mailbox can tell.
  ASSERT_TRUE(reactor_->mailbox().prepare_to_wait());
  reactor_->mailbox().post([&] { ++ran; });
  EXPECT_EQ(reactor_->mailbox().wakes(), 1U);
  reactor_->turn();
  EXPECT_EQ(ran, 1);
}

TEST_F(SeamTest, SleepsWithoutADeadlineOnlyWhenNothingIsThereToDo) {
  struct Owner {
    int fired = 0;
    Timer timer{Timer::bind<&Owner::fire>(this)};
    void fire() { ++fired; }
  };
  Owner owner;
  reactor_->timers().set(owner.timer, reactor_->now(), std::chrono::seconds(5));
  world_.waits.clear();
  reactor_->turn(false);
  ASSERT_EQ(world_.waits.size(), 1U);
  EXPECT_LE(*world_.waits[0], world_.now);  // asked only to look
  reactor_->mailbox().post([] {});
  reactor_->turn();
  EXPECT_LE(*world_.waits[1], world_.now);  // a message waits
  reactor_->turn();
  EXPECT_GT(*world_.waits[2], Instant(std::chrono::seconds(1000)));
  reactor_->run_until([&] { return owner.fired == 1; });
  EXPECT_EQ(owner.fired, 1);
}

}  // namespace
}  // namespace sluice::io
