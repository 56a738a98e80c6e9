// SPDX-License-Identifier: GPL-3.0-or-later
// Many deadlines in a hierarchical wheel. Setting, moving and cancelling are O(1); a deadline fires
// at or after its instant, never before, late by at most one tick when the wheel is run at
// next_deadline. Deadlines within one tick share one wake-up.
//
// A Timer is a member of its owner and cancels itself when destroyed. Moving a deadline later is
// one store: the timer is re-queued only when its old place in the wheel comes up.
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "sluice/base/callback.h"
#include "sluice/base/list.h"
#include "sluice/base/time.h"

namespace sluice::io {

class TimerWheel;

class Timer : public ListNode<> {
 public:
  using Callback = sluice::Callback<>;

  template <auto Method, class Owner>
  static Callback bind(Owner* owner) {
    return Callback::bind<Method>(owner);
  }
  explicit(false) Timer(Callback callback) : callback_(callback) {}
  Timer(void* owner, Callback::Function function) : callback_(owner, function) {}
  ~Timer() { cancel(); }

  bool armed() const { return wheel_ != nullptr; }
  Instant deadline() const { return deadline_; }
  void cancel();

 private:
  friend class TimerWheel;
  Callback callback_;
  TimerWheel* wheel_ = nullptr;
  Instant deadline_{};            // what the owner wants
  std::int64_t queued_tick_ = 0;  // where it lies in the wheel
};

class TimerWheel {
 public:
  static constexpr Duration tick = std::chrono::milliseconds(4);

  explicit TimerWheel(Instant now);
  ~TimerWheel();

  // Arms or moves `timer`.
  void set(Timer& timer, Instant deadline);
  void set(Timer& timer, Instant now, Duration timeout) { set(timer, now + timeout); }

  // Runs the callbacks of all timers whose deadline is at or before `now`, at most `limit` of them
  // (the rest at the next call). Returns how many ran. Callbacks may set and cancel any timer.
  std::size_t run(Instant now, std::size_t limit = SIZE_MAX);

  // When `run` should be called next; nothing when no timer is armed. It may be early; called by
  // then, no timer is later than one tick.
  std::optional<Instant> next_deadline() const;

  std::size_t armed() const { return armed_; }

 private:
  friend class Timer;
  static constexpr int levels = 4;
  static constexpr std::size_t slots = 256;
  using Slot = List<Timer>;
  struct Stop {
    std::int64_t tick_number;
    int level;
  };

  std::int64_t tick_of(Instant instant) const;  // rounded up
  Instant instant_of(std::int64_t tick_number) const { return origin_ + tick * tick_number; }
  void place(Timer& timer, std::int64_t tick_number);
  void move_all(Slot& slot);
  void collect(Instant now);
  void advance(Instant now);
  std::optional<std::size_t> first_occupied(int level, std::size_t from) const;
  std::optional<Stop> next_stop() const;

  std::array<std::array<Slot, slots>, levels> wheel_;
  // Slots that may hold timers; a mark outlives timers that were cancelled.
  mutable std::array<std::array<std::uint64_t, slots / 64>, levels> occupied_{};
  Slot far_;  // beyond the highest level
  Slot due_;  // found by `run`, to be run
  Instant origin_;
  std::int64_t current_tick_ = 0;
  // No timer of the current tick is due before.
  Instant current_earliest_ = Instant::max();
  std::size_t armed_ = 0;
};

}  // namespace sluice::io
