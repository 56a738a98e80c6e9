// SPDX-License-Identifier: GPL-3.0-or-later
// The way from start to stop as decisions: what happened and when goes in, what has to be done
// comes out. Pure: no clock, no system call.
//
//   serving ──another process has taken over──▶ draining: at once, and nobody is told
//
//   starting ──served──▶ serving ──signal──▶ delaying ──delay over──▶ draining ──┐
//      │                                        └──second signal──▶ ending ◀─────┤ second signal
//      └──signal──▶ cancelled                                         │          │
//             └───────────────── all workers gone ──▶ stopped ◀───────┴──────────┘
//
// How long a drain lasts is the workers' affair: each stops when its window is over.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "sluice/base/time.h"

namespace sluice::server {

class StopSequence {
 public:
  enum class State : std::uint8_t {
    starting,   // no worker serves yet
    cancelled,  // told to stop before any worker served: none starts
    serving,
    delaying,  // not ready any more, and serves on, so that others notice in time
    draining,  // takes no new clients; those that are there are told to go
    ending,    // a second signal, or a start that failed: nobody is waited for
    stopped,
  };

  enum class Action : std::uint8_t {
    announce,  // tell the service manager and the log that we stop
    drain,     // workers drain
    stop,      // workers stop at once
    abandon,   // end the process: what did not stop by now never will
  };
  using Actions = std::vector<Action>;

  // `delay`: from the first signal to the drain.
  explicit StopSequence(Duration delay) : delay_(delay) {}

  void set_delay(Duration delay) { delay_ = delay; }

  // What happened.
  void workers_serve();
  Actions start_failed();
  Actions signal(Instant now);
  Actions time_passed(Instant now);
  // Another process serves in our place.
  Actions replaced();
  void workers_gone() { state_ = State::stopped; }

  State state() const { return state_; }
  // Whether it goes on to serve, or to serve on.
  bool may_start() const { return state_ == State::starting; }

 private:
  Duration delay_;
  State state_ = State::starting;
  std::optional<Instant> drain_at_;
  std::optional<Instant> abandon_at_;
};

}  // namespace sluice::server
