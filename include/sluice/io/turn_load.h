// SPDX-License-Identifier: GPL-3.0-or-later
// How long work waits for a thread because the thread itself is busy, as the turns show it. A turn
// serves everybody once, so that no first piece of anything waits longer for its turn than the turn
// before took; receives for which there was no buffer wait for several. What somebody brings beyond
// that is put off to later turns (io/ring.h, net/transport.h), and does not count. Of each window
// of time the shortest wait counts: a burst is over soon, a queue that stands is not.
//
// The share of time in which the thread ran is part of the figure: a thread that slept, or that
// waited for a neighbour on its core, was not busy itself.
//
// Pure; one thread.
#pragma once

#include <algorithm>
#include <cstdint>

#include "sluice/base/time.h"

namespace sluice::io {

class TurnLoad {
 public:
  static constexpr Duration window = std::chrono::milliseconds(100);

  explicit TurnLoad(Instant now) : last_(now), began_(now) {}

  // A turn begins; receives that go on in it have waited for up to `starved`. True: the window is
  // over, end it.
  bool turn(Instant now, Duration starved) {
    shortest_ = std::min(shortest_, std::max(now - last_, starved));
    last_ = now;
    return now - began_ >= window;
  }
  // `thread_time`: the CPU time that the thread has used so far.
  void end_window(Duration thread_time);

  // Windows that are over, and the wait in the last one.
  std::uint64_t windows() const { return windows_; }
  Duration wait() const { return wait_; }

 private:
  Instant last_;
  Instant began_;
  Duration shortest_ = Duration::max();
  Duration thread_time_{};  // when the window began
  std::uint64_t windows_ = 0;
  Duration wait_{};
};

}  // namespace sluice::io
