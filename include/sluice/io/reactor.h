// SPDX-License-Identifier: GPL-3.0-or-later
// A thread's turn: wait -> completions -> mailbox -> expired timers -> end-of-turn work. Workers
// and the control thread each own one. End-of-turn work (flushing dirty connections, reaping ended
// ones) is registered once per turn by whoever has some.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string_view>

#include "sluice/base/callback.h"
#include "sluice/base/list.h"
#include "sluice/io/mailbox.h"
#include "sluice/io/ring.h"
#include "sluice/io/timer_wheel.h"
#include "sluice/io/turn_load.h"

namespace sluice::io {

// Work to be done at the end of the current turn, at most once. A member of its owner.
class TurnEnd : public ListNode<> {
 public:
  using Callback = sluice::Callback<>;

  template <auto Method, class Owner>
  static Callback bind(Owner* owner) {
    return Callback::bind<Method>(owner);
  }
  explicit(false) TurnEnd(Callback callback) : callback_(callback) {}
  TurnEnd(void* owner, Callback::Function function) : callback_(owner, function) {}

 private:
  friend class Reactor;
  Callback callback_;
  std::uint64_t ran_in_turn_ = 0;
};

// Where a thread is in its turn, for whoever looks from outside at one that does not come back.
enum class TurnStep : std::uint8_t {
  completions,  // what they call, or waiting for them
  messages,
  timers,
  resume,
  flush,
  handshakes,
  reap,
};
std::string_view to_string(TurnStep step);

struct TurnState {
  Instant began{};  // monotonic: when the last turn woke up
  TurnStep step = TurnStep::completions;
  int descriptor = -1;  // of the connection that is being worked on; -1: none that is known
};

class Reactor {
 public:
  static Result<std::unique_ptr<Reactor>> create(const RingOptions& options);
  // Stops the mailbox and turns until what was cancelled has ended; CHECKs that nothing stays in
  // flight.
  ~Reactor();

  Ring& ring() { return *ring_; }
  TimerWheel& timers() { return *timers_; }
  Mailbox& mailbox() { return *mailbox_; }
  Instant now() const { return ring_->now(); }
  const TurnLoad& load() const { return *load_; }

  // Phases of end-of-turn work, run in this order. Work registered while a turn's phases run still
  // runs in that turn, unless it ran in it before or its phase is over: then it runs in the next
  // turn, which does not sleep. The ring gets what the flush has begun before handshakes.
  // Registering what is registered already has no effect.
  enum class Phase : std::uint8_t { resume, flush, handshakes, reap };
  void at_turn_end(TurnEnd& work, Phase phase);

  // Runs one turn; sleeps until something happens or the next timer. With `wait` false it only
  // looks.
  void turn(bool wait = true);

  // Runs turns until `done()`.
  void run_until(const std::function<bool()>& done);

  // Leaves word of the connection that is about to be worked on; a plain store.
  void working_on(int descriptor) { leave_word(step_, descriptor); }
  // Any thread; for the watchdog and whoever wants to know what it barks at.
  TurnState turn_state() const;

 private:
  Reactor() = default;
  bool work_waits() const;
  void run_phase(Phase phase, TurnStep step);
  void begin(TurnStep step) {
    step_ = step;
    leave_word(step, -1);
  }
  void leave_word(TurnStep step, int descriptor) {
    word_.store(std::uint64_t{static_cast<std::uint8_t>(step)} << 32 |
                    static_cast<std::uint32_t>(descriptor),
                std::memory_order_relaxed);
  }

  static constexpr std::size_t phases = 4;
  static constexpr std::size_t timers_per_turn = 4096;

  std::unique_ptr<Ring> ring_;
  std::unique_ptr<TimerWheel> timers_;
  std::optional<TurnLoad> load_;
  std::unique_ptr<Mailbox> mailbox_;
  std::array<List<TurnEnd>, phases> turn_end_;
  std::array<List<TurnEnd>, phases> next_turn_;  // ran in this turn and asked for another
  std::uint64_t turn_number_ = 0;
  bool in_turn_ = false;
  TurnStep step_ = TurnStep::completions;
  // Written by the owner only: when the last turn began, and a TurnStep above a descriptor.
  std::atomic<Duration::rep> last_turn_{0};
  std::atomic<std::uint64_t> word_{0xffffffff};
};

}  // namespace sluice::io
