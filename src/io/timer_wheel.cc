// SPDX-License-Identifier: GPL-3.0-or-later
// The hierarchical wheel. Tick t stands for the deadlines in (origin + (t-1) ticks, origin + t
// ticks]. A timer lies at the level of the highest byte in which its tick differs from the current
// one, in the slot of that byte's value; so everything at a level comes before everything at the
// levels above, and nothing ever wraps around. Ticks that differ above the fourth byte (198 days)
// wait in `far_`.
#include "sluice/io/timer_wheel.h"

#include <algorithm>
#include <bit>

#include "sluice/base/check.h"

namespace sluice::io {
namespace {

constexpr int bits_per_level = 8;

std::size_t digit(std::int64_t tick_number, int level) {
  return static_cast<std::size_t>(tick_number >> (bits_per_level * level)) & 0xff;
}

// The first tick of the block that has `value` as its digit at `level`, next to `tick_number`.
std::int64_t block_start(std::int64_t tick_number, int level, std::size_t value) {
  const int shift = bits_per_level * level;
  const std::int64_t above = tick_number >> (shift + bits_per_level) << (shift + bits_per_level);
  return above | (static_cast<std::int64_t>(value) << shift);
}

}  // namespace

void Timer::cancel() {
  if (wheel_ == nullptr) return;
  unlink();
  --wheel_->armed_;
  wheel_ = nullptr;
}

TimerWheel::TimerWheel(Instant now) : origin_(now) {}

TimerWheel::~TimerWheel() {
  const auto disarm = [](Slot& slot) {
    while (Timer* timer = slot.pop_front()) timer->wheel_ = nullptr;
  };
  for (auto& level : wheel_) std::ranges::for_each(level, disarm);
  disarm(far_);
  disarm(due_);
}

std::int64_t TimerWheel::tick_of(Instant instant) const {
  if (instant <= origin_) return 0;
  const Duration since = instant - origin_;
  return since / tick + (since % tick > Duration::zero() ? 1 : 0);
}

void TimerWheel::set(Timer& timer, Instant deadline) {
  CHECK(timer.wheel_ == nullptr || timer.wheel_ == this);
  timer.deadline_ = deadline;
  const std::int64_t tick_number = std::max(tick_of(deadline), current_tick_);
  if (timer.wheel_ != nullptr) {
    // Later: it is put where it belongs when its old place comes up.
    if (tick_number >= timer.queued_tick_) {
      if (tick_number == current_tick_) current_earliest_ = std::min(current_earliest_, deadline);
      return;
    }
    timer.unlink();
  } else {
    timer.wheel_ = this;
    ++armed_;
  }
  place(timer, tick_number);
}

void TimerWheel::place(Timer& timer, std::int64_t tick_number) {
  DCHECK(tick_number >= current_tick_);
  timer.queued_tick_ = tick_number;
  const auto difference = static_cast<std::uint64_t>(tick_number ^ current_tick_);
  const int level =
      difference == 0 ? 0 : (static_cast<int>(std::bit_width(difference)) - 1) / bits_per_level;
  if (level >= levels) return far_.push_back(timer);
  const std::size_t slot = digit(tick_number, level);
  const auto l = static_cast<std::size_t>(level);
  wheel_[l][slot].push_back(timer);
  occupied_[l][slot / 64] |= std::uint64_t{1} << (slot % 64);
  if (difference == 0) current_earliest_ = std::min(current_earliest_, timer.deadline_);
}

std::optional<std::size_t> TimerWheel::first_occupied(int level, std::size_t from) const {
  const auto l = static_cast<std::size_t>(level);
  for (std::size_t word = from / 64; word < slots / 64; ++word) {
    std::uint64_t bits = occupied_[l][word];
    if (word == from / 64) bits &= ~std::uint64_t{0} << (from % 64);
    while (bits != 0) {
      const std::size_t slot = word * 64 + static_cast<std::size_t>(std::countr_zero(bits));
      if (!wheel_[l][slot].empty()) return slot;
      // Cancelled timers leave their mark behind.
      occupied_[l][word] &= ~(std::uint64_t{1} << (slot % 64));
      bits &= bits - 1;
    }
  }
  return std::nullopt;
}

// The next tick after the current one at which a slot has to be looked at, and that slot's level.
std::optional<TimerWheel::Stop> TimerWheel::next_stop() const {
  for (int level = 0; level < levels; ++level) {
    if (const auto slot = first_occupied(level, digit(current_tick_, level) + 1)) {
      return Stop{block_start(current_tick_, level, *slot), level};
    }
  }
  if (far_.empty()) return std::nullopt;
  constexpr int shift = bits_per_level * levels;
  return Stop{((current_tick_ >> shift) + 1) << shift, levels};
}

void TimerWheel::move_all(Slot& slot) {
  Slot moved;
  moved.splice_back(slot);
  while (Timer* timer = moved.pop_front()) {
    place(*timer, std::max(tick_of(timer->deadline_), current_tick_));
  }
}

// Sorts the timers of the current tick: due, or later.
void TimerWheel::collect(Instant now) {
  if (now < current_earliest_) return;
  const std::size_t index = digit(current_tick_, 0);
  Slot& slot = wheel_[0][index];
  Slot moved;
  moved.splice_back(slot);
  occupied_[0][index / 64] &= ~(std::uint64_t{1} << (index % 64));
  current_earliest_ = Instant::max();
  while (Timer* timer = moved.pop_front()) {
    if (timer->deadline_ <= now) {
      due_.push_back(*timer);
    } else {
      place(*timer, std::max(tick_of(timer->deadline_), current_tick_));
    }
  }
}

void TimerWheel::advance(Instant now) {
  const std::int64_t target = std::max(tick_of(now), current_tick_);
  for (;;) {
    collect(now);
    const auto stop = current_tick_ < target ? next_stop() : std::nullopt;
    if (!stop || stop->tick_number > target) break;
    current_tick_ = stop->tick_number;
    current_earliest_ = Instant::min();
    if (stop->level == levels) {
      move_all(far_);
    } else if (stop->level > 0) {
      move_all(wheel_[static_cast<std::size_t>(stop->level)][digit(current_tick_, stop->level)]);
    }
  }
  if (current_tick_ < target) {
    // Nothing lies between: the slot of the target is empty.
    current_tick_ = target;
    current_earliest_ = Instant::max();
  }
}

std::size_t TimerWheel::run(Instant now, std::size_t limit) {
  advance(now);
  std::size_t ran = 0;
  while (ran < limit) {
    Timer* timer = due_.pop_front();
    if (timer == nullptr) break;
    if (timer->deadline_ > now) {
      // An earlier callback moved it.
      place(*timer, std::max(tick_of(timer->deadline_), current_tick_));
      continue;
    }
    timer->wheel_ = nullptr;
    --armed_;
    ++ran;
    timer->callback_();
  }
  return ran;
}

std::optional<Instant> TimerWheel::next_deadline() const {
  if (armed_ == 0) return std::nullopt;
  if (!due_.empty()) return origin_;  // at once
  if (!wheel_[0][digit(current_tick_, 0)].empty()) return instant_of(current_tick_);
  const auto stop = next_stop();
  DCHECK(stop);
  return stop ? std::optional(instant_of(stop->tick_number)) : std::nullopt;
}

}  // namespace sluice::io
