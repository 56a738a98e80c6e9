// SPDX-License-Identifier: GPL-3.0-or-later
// The one deadline of an exchange, and what is due by then: each state waits for one thing at most.
#pragma once

#include <cstdint>
#include <optional>

#include "sluice/base/check.h"
#include "sluice/io/timer_wheel.h"
#include "sluice/kubernetes/long_running.h"

namespace sluice::proxy {

class Deadline {
 public:
  enum class What : std::uint8_t {
    answer,       // its head
    first_event,  // of a watch whose head is held back
    first_burst,  // a watch's: another look at whether it is over
    watch_end,    // of one whose end is planned
    rest,         // of a short answer, whose head waits for it
    upload_end,   // the client's, behind a complete answer
  };

  // `timers` outlives this.
  Deadline(io::TimerWheel& timers, io::Timer::Callback passed) : timers_(timers), timer_(passed) {}

  void set(What what, Instant when) {
    what_ = what;
    timers_.set(timer_, when);
  }
  void cancel() { timer_.cancel(); }

  bool waits() const { return timer_.armed(); }
  bool waits_for(What what) const { return waits() && what_ == what; }
  Instant when() const { return timer_.deadline(); }
  // What should have come, for the callback.
  What passed() const {
    DCHECK(!waits());
    return what_;
  }

 private:
  io::TimerWheel& timers_;
  io::Timer timer_;
  What what_ = What::answer;
};

// How long an answer may take counts from the last byte of the request. Nothing: as long as it
// likes.
constexpr std::optional<Instant> answer_due(kubernetes::RequestClass request_class,
                                            Instant last_byte, Duration timeout) {
  if (!kubernetes::has_deadline(request_class) || timeout <= Duration::zero()) return std::nullopt;
  return last_byte + timeout;
}

}  // namespace sluice::proxy
