// SPDX-License-Identifier: GPL-3.0-or-later
// Many deadlines, on a clock moved by hand.
#include "sluice/io/timer_wheel.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <vector>

#include "sluice/base/random.h"

namespace sluice::io {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::nanoseconds;

constexpr Duration tick = TimerWheel::tick;

// Not a multiple of anything.
constexpr Instant start = Instant(nanoseconds(1'234'567'891'011));

class Probe {
 public:
  Probe() : timer(Timer::bind<&Probe::fire>(this)) {}
  Timer timer;
  int fired = 0;
  std::function<void()> then;

 private:
  void fire() {
    ++fired;
    EXPECT_FALSE(timer.armed());
    if (then) then();
  }
};

TEST(TimerWheelTest, FiresAtItsInstantAndNeverBefore) {
  for (const Duration timeout :
       {Duration(0), Duration(1), tick - nanoseconds(1), tick, tick + nanoseconds(1),
        Duration(milliseconds(10)), Duration(milliseconds(1024)), Duration(hours(30))}) {
    TimerWheel wheel(start);
    Probe probe;
    wheel.set(probe.timer, start, timeout);
    EXPECT_EQ(wheel.run(start + timeout - nanoseconds(1)), 0U) << timeout.count();
    EXPECT_TRUE(probe.timer.armed());
    EXPECT_EQ(wheel.run(start + timeout), 1U) << timeout.count();
    EXPECT_EQ(probe.fired, 1);
    EXPECT_EQ(wheel.run(start + timeout + hours(1)), 0U);
  }
}

// One timer for each slot of each level, from several places of the wheel's hands.
TEST(TimerWheelTest, WalksEverySlotOfEveryLevel) {
  for (const std::int64_t offset : {0LL, 1LL, 255LL, 256LL, 300LL, 65535LL, 65536LL, 70000LL}) {
    TimerWheel wheel(start);
    Instant now = start + tick * offset;
    EXPECT_EQ(wheel.run(now), 0U);
    std::vector<std::unique_ptr<Probe>> probes;
    for (int level = 0; level < 4; ++level) {
      for (std::int64_t slot = 1; slot < 256; ++slot) {
        probes.push_back(std::make_unique<Probe>());
        wheel.set(probes.back()->timer, now, tick * (slot << (8 * level)));
      }
    }
    std::ranges::sort(probes, {}, [](const auto& probe) { return probe->timer.deadline(); });
    ASSERT_EQ(wheel.armed(), probes.size());
    for (const auto& probe : probes) {
      const Instant deadline = probe->timer.deadline();
      wheel.run(deadline - nanoseconds(1));
      ASSERT_EQ(probe->fired, 0) << (deadline - now) / tick;
      wheel.run(deadline);
      ASSERT_EQ(probe->fired, 1) << (deadline - now) / tick;
    }
    EXPECT_EQ(wheel.armed(), 0U);
  }
}

// Driven by nothing but next_deadline, as a reactor that has nothing else to do drives it.
TEST(TimerWheelTest, IsLateByAtMostOneTickWhenRunAtNextDeadline) {
  Random random(7);
  TimerWheel wheel(start);
  Instant now = start;
  std::vector<std::unique_ptr<Probe>> probes;
  for (int i = 0; i < 2000; ++i) {
    probes.push_back(std::make_unique<Probe>());
    Probe* probe = probes.back().get();
    const std::uint32_t magnitude = random.below(45);
    const Duration timeout(static_cast<Duration::rep>(random.next() >> (63 - magnitude)));
    wheel.set(probe->timer, now, timeout);
    const Instant deadline = probe->timer.deadline();
    probe->then = [&now, deadline] {
      EXPECT_GE(now, deadline);
      EXPECT_LE(now, deadline + tick);
    };
  }
  int runs = 0;
  while (const auto next = wheel.next_deadline()) {
    ASSERT_GE(*next, now);
    now = *next;
    wheel.run(now);
    ASSERT_LT(++runs, 20000);  // each wake-up fires something or moves something down a level
  }
  for (const auto& probe : probes) EXPECT_EQ(probe->fired, 1);
}

TEST(TimerWheelTest, AgreesWithASortedListUnderRandomUse) {
  Random random(99);
  TimerWheel wheel(start);
  Instant now = start;
  constexpr std::size_t count = 300;
  std::vector<std::unique_ptr<Probe>> probes;
  std::vector<std::optional<Instant>> expected(count);
  for (std::size_t i = 0; i < count; ++i) probes.push_back(std::make_unique<Probe>());
  for (int step = 0; step < 20000; ++step) {
    const std::size_t i = random.below(count);
    const auto spread = std::uint64_t{1} << random.below(42);
    switch (random.below(8)) {
      case 0:
      case 1:
      case 2:
      case 3: {
        const Instant deadline = now + Duration(static_cast<Duration::rep>(random.next() % spread));
        wheel.set(probes[i]->timer, deadline);
        expected[i] = deadline;
        break;
      }
      case 4:
        probes[i]->timer.cancel();
        expected[i].reset();
        break;
      default: {
        now += Duration(static_cast<Duration::rep>(random.next() % (spread >> 4 | 1)));
        std::size_t due = 0;
        for (auto& deadline : expected) {
          if (deadline && *deadline <= now) {
            deadline.reset();
            ++due;
          }
        }
        ASSERT_EQ(wheel.run(now), due);
      }
    }
    ASSERT_EQ(probes[i]->timer.armed(), expected[i].has_value());
    const auto earliest = std::ranges::min_element(
        expected, {}, [](const auto& deadline) { return deadline.value_or(Instant::max()); });
    const auto next = wheel.next_deadline();
    ASSERT_EQ(next.has_value(), earliest->has_value());
    if (next) {
      ASSERT_LT(*next, **earliest + tick);
    }
  }
}

TEST(TimerWheelTest, MovesADeadlineLaterWithoutFiringAtTheOldOne) {
  TimerWheel wheel(start);
  Probe probe;
  wheel.set(probe.timer, start + milliseconds(100));
  wheel.set(probe.timer, start + milliseconds(900));
  wheel.set(probe.timer, start + hours(2));
  EXPECT_EQ(wheel.armed(), 1U);
  EXPECT_EQ(wheel.run(start + milliseconds(899)), 0U);
  EXPECT_EQ(wheel.run(start + hours(2) - nanoseconds(1)), 0U);
  EXPECT_EQ(wheel.run(start + hours(2)), 1U);
}

TEST(TimerWheelTest, MovesADeadlineEarlier) {
  TimerWheel wheel(start);
  Probe probe;
  wheel.set(probe.timer, start + hours(2));
  wheel.set(probe.timer, start + milliseconds(3));
  ASSERT_TRUE(wheel.next_deadline());
  EXPECT_LE(*wheel.next_deadline(), start + milliseconds(3) + tick);
  EXPECT_EQ(wheel.run(start + milliseconds(3)), 1U);
}

TEST(TimerWheelTest, MovesADeadlineEarlierWithinTheCurrentTick) {
  TimerWheel wheel(start);
  Probe probe;
  wheel.set(probe.timer, start + milliseconds(4));
  EXPECT_EQ(wheel.run(start + milliseconds(1)), 0U);
  wheel.set(probe.timer, start + milliseconds(2));
  EXPECT_EQ(wheel.run(start + milliseconds(2)), 1U);
}

TEST(TimerWheelTest, FiresAtOnceWhatIsSetInThePast) {
  TimerWheel wheel(start);
  wheel.run(start + hours(1));
  Probe probe;
  wheel.set(probe.timer, start);
  EXPECT_EQ(wheel.run(start + hours(1)), 1U);
}

TEST(TimerWheelTest, CancelsAnyTimerInACallback) {
  TimerWheel wheel(start);
  Probe first;
  Probe same_tick;
  Probe later;
  wheel.set(first.timer, start + milliseconds(1));
  wheel.set(same_tick.timer, start + milliseconds(2));
  wheel.set(later.timer, start + hours(1));
  first.then = [&] {
    first.timer.cancel();  // no longer armed: no effect
    same_tick.timer.cancel();
    later.timer.cancel();
  };
  EXPECT_EQ(wheel.run(start + milliseconds(3)), 1U);
  EXPECT_EQ(same_tick.fired, 0);
  EXPECT_EQ(wheel.armed(), 0U);
  EXPECT_FALSE(wheel.next_deadline());
}

TEST(TimerWheelTest, LetsACallbackMoveATimerThatIsDueInTheSameRun) {
  TimerWheel wheel(start);
  Probe first;
  Probe moved;
  wheel.set(first.timer, start + milliseconds(1));
  wheel.set(moved.timer, start + milliseconds(2));
  first.then = [&] { wheel.set(moved.timer, start + milliseconds(500)); };
  EXPECT_EQ(wheel.run(start + milliseconds(3)), 1U);
  EXPECT_EQ(wheel.run(start + milliseconds(499)), 0U);
  EXPECT_EQ(wheel.run(start + milliseconds(500)), 1U);
  EXPECT_EQ(moved.fired, 1);
}

TEST(TimerWheelTest, RunsATimerThatItsCallbackSetsAgainInTheNextRunOnly) {
  TimerWheel wheel(start);
  Probe probe;
  wheel.set(probe.timer, start);
  probe.then = [&] { wheel.set(probe.timer, start); };
  EXPECT_EQ(wheel.run(start), 1U);
  EXPECT_EQ(wheel.run(start), 1U);
  probe.then = nullptr;
  EXPECT_EQ(wheel.run(start), 1U);
  EXPECT_EQ(wheel.run(start), 0U);
}

TEST(TimerWheelTest, LeavesWhatIsAboveTheLimitToTheNextRun) {
  TimerWheel wheel(start);
  std::vector<std::unique_ptr<Probe>> probes;
  for (int i = 0; i < 10; ++i) {
    probes.push_back(std::make_unique<Probe>());
    wheel.set(probes.back()->timer, start + tick * i);
  }
  const Instant now = start + hours(1);
  EXPECT_EQ(wheel.run(now, 4), 4U);
  ASSERT_TRUE(wheel.next_deadline());
  EXPECT_LE(*wheel.next_deadline(), now);
  EXPECT_EQ(wheel.run(now, 4), 4U);
  EXPECT_EQ(wheel.run(now, 4), 2U);
  EXPECT_EQ(wheel.run(now, 4), 0U);
  EXPECT_FALSE(wheel.next_deadline());
}

TEST(TimerWheelTest, FiresBeyondTheRangeOfItsLevels) {
  TimerWheel wheel(start);
  constexpr std::int64_t range = std::int64_t{1} << 32;
  Probe near;
  Probe far;
  Probe never;
  wheel.run(start + tick * (range - 3));
  wheel.set(near.timer,
            start + tick * (range + 2));  // five ticks ahead, across the end of the range
  wheel.set(far.timer, start + tick * (3 * range + 5));
  wheel.set(never.timer, Instant::max());
  EXPECT_EQ(wheel.run(start + tick * (range + 1)), 0U);
  EXPECT_EQ(wheel.run(start + tick * (range + 2)), 1U);
  EXPECT_EQ(near.fired, 1);
  EXPECT_EQ(wheel.run(start + tick * (3 * range + 4)), 0U);
  EXPECT_EQ(wheel.run(start + tick * (3 * range + 5)), 1U);
  EXPECT_EQ(far.fired, 1);
  EXPECT_EQ(wheel.armed(), 1U);
}

TEST(TimerWheelTest, HasNoNextDeadlineWhenAllAreCancelled) {
  TimerWheel wheel(start);
  {
    Probe destroyed;
    Probe cancelled;
    wheel.set(destroyed.timer, start + milliseconds(50));
    wheel.set(cancelled.timer, start + hours(50));
    cancelled.timer.cancel();
    EXPECT_EQ(wheel.armed(), 1U);
  }
  EXPECT_EQ(wheel.armed(), 0U);
  EXPECT_FALSE(wheel.next_deadline());
  EXPECT_EQ(wheel.run(start + hours(100)), 0U);
}

TEST(TimerWheelTest, SpendsNoWakeUpOnACancelledTimer) {
  TimerWheel wheel(start);
  Probe cancelled;
  Probe armed;
  wheel.set(cancelled.timer, start + milliseconds(100));
  wheel.set(armed.timer, start + milliseconds(400));
  EXPECT_LT(*wheel.next_deadline(), start + milliseconds(100) + tick);
  cancelled.timer.cancel();
  EXPECT_GE(*wheel.next_deadline(), start + milliseconds(400));
}

TEST(TimerWheelTest, DisarmsItsTimersWhenItIsDestroyed) {
  Probe probe;
  Probe far;
  {
    TimerWheel wheel(start);
    wheel.set(probe.timer, start + milliseconds(50));
    wheel.set(far.timer, Instant::max());
  }
  EXPECT_FALSE(probe.timer.armed());
  EXPECT_FALSE(far.timer.armed());
}

}  // namespace
}  // namespace sluice::io
