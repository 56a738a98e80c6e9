// SPDX-License-Identifier: GPL-3.0-or-later
// Which of a thread's connections cause clearly more work than others by what they send, while work
// waits for the thread: their input takes turns then. Where all cause as much as each other nobody
// is put off, however busy the thread is, and where nothing waits nothing is weighed.
//
// Pure; one thread.
#pragma once

#include <cstddef>
#include <cstdint>

#include "sluice/base/time.h"

namespace sluice::net {

class WorkMeter {
 public:
  // What one connection has caused. A member of its owner.
  struct Work {
    std::uint64_t window = 0;
    Duration now{};     // in this window
    Duration before{};  // in the one before
  };

  // Before it is asked, as often as one likes: how many windows of time are over, and how long work
  // has waited in the last one, as io::TurnLoad has both.
  void look(std::uint64_t windows, Duration wait);
  bool weighs() const { return weighs_; }
  void add(Work& work, Duration time);
  // Clearly more than the others, in the last window.
  bool much(const Work& work) const;

 private:
  void begin_window(Work& work) const;

  bool weighs_ = false;
  std::uint64_t window_ = 0;
  std::uint64_t calm_since_ = 0;
  Duration all_{};
  std::size_t connections_ = 0;  // that caused any in this window
  Duration much_ = Duration::max();
};

}  // namespace sluice::net
