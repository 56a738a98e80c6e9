// SPDX-License-Identifier: GPL-3.0-or-later
// How often one backend is connected to by all workers together. After a loss many connections are
// wanted at once, here and on other gateways: they come one after the other, more slowly while
// handshakes take longer than they use to, and hardly at all while none succeeds.
//
// Any thread, without a lock: to connect is rare. Time is an argument. Shared by the pools to the
// backend.
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>

#include "sluice/base/random.h"
#include "sluice/base/time.h"

namespace sluice::backend {

class ConnectPace {
 public:
  // So many come at once before the pace counts.
  static constexpr int burst = 8;
  // While none succeeds at most one within so much time, which doubles from the least.
  static constexpr Duration failing_interval_max = std::chrono::seconds(1);
  static constexpr Duration failing_interval_min = std::chrono::milliseconds(25);

  // Takes a turn; or says when to ask again. `per_second` 0: as often as it likes, but for
  // failures.
  std::optional<Instant> take(Instant now, std::uint32_t per_second, Random& random);
  // What came of it, of whichever turn: it was ready after so much time, or not at all.
  void succeeded(Duration took);
  void failed();
  // How many have failed since one succeeded or somebody was answered there.
  std::uint32_t failures() const { return failures_.load(std::memory_order_relaxed); }
  // Somebody else has been answered there.
  void forget_failures() {
    if (failures_.exchange(0, std::memory_order_relaxed) == 0) return;
    next_.store(0, std::memory_order_relaxed);  // that was of another pace
  }

  // How many times as long as usual handshakes take now; 1 to 8.
  double stretch() const;

 private:
  std::atomic<Instant::rep> next_{0};        // when the next one is due, if all keep the pace
  std::atomic<std::uint32_t> failures_{0};   // in a row
  std::atomic<std::uint32_t> usual_us_{0};   // over many; 0: none yet
  std::atomic<std::uint32_t> lately_us_{0};  // over a few
};

}  // namespace sluice::backend
