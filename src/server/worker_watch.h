// SPDX-License-Identifier: GPL-3.0-or-later
// Which workers stand still, as whoever looks at them four times a second can tell. Pure: time and
// turns are parameters.
//
// Time counts for a worker only while the one who looks has turned himself: a machine that was
// suspended, a virtual one that stood still, or a process that was stopped, is no worker's fault.
// So a look adds no more than two intervals, however long ago the last one was.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "sluice/base/time.h"
#include "sluice/io/reactor.h"

namespace sluice::server {

class WorkerWatch {
 public:
  static constexpr Duration look_interval = std::chrono::milliseconds(250);

  // As far as a worker has got, in its own order. A worker turns at least twice a second.
  enum class State : std::uint8_t {
    turns,
    late,      // for half of the time
    stalled,   // for all of it: the process is of no use to its clients
    hopeless,  // for three times as long: whoever should have restarted it did not
  };

  // `stall_timeout`: zero: nobody is ever stalled, and late after `late_at_least`.
  WorkerWatch(std::size_t workers, Duration stall_timeout);

  // What each is doing; nothing while it begins or ends. Returns those whose state has changed.
  std::vector<std::size_t> look(Instant now, std::span<const std::optional<io::TurnState>> turns);

  State state(std::size_t worker) const { return workers_.at(worker).state; }
  Duration away(std::size_t worker) const { return workers_.at(worker).away; }
  // The state of the worst of them.
  State worst() const;

 private:
  static constexpr Duration late_at_least = std::chrono::seconds(5);
  State state_after(Duration away) const;

  struct Watched {
    Instant began{};  // its turn
    Duration away{};
    State state = State::turns;
  };

  Duration stall_timeout_;
  std::optional<Instant> last_look_;
  std::vector<Watched> workers_;
};

}  // namespace sluice::server
