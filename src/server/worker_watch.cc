// SPDX-License-Identifier: GPL-3.0-or-later
// Which workers stand still.
#include "worker_watch.h"

#include <algorithm>

#include "sluice/base/check.h"

namespace sluice::server {

WorkerWatch::WorkerWatch(std::size_t workers, Duration stall_timeout)
    : stall_timeout_(stall_timeout), workers_(workers) {}

WorkerWatch::State WorkerWatch::state_after(Duration away) const {
  if (stall_timeout_ == Duration::zero()) return away < late_at_least ? State::turns : State::late;
  if (away >= 3 * stall_timeout_) return State::hopeless;
  if (away >= stall_timeout_) return State::stalled;
  return away < stall_timeout_ / 2 ? State::turns : State::late;
}

std::vector<std::size_t> WorkerWatch::look(Instant now,
                                           std::span<const std::optional<io::TurnState>> turns) {
  CHECK_EQ(turns.size(), workers_.size());
  const Duration passed =
      last_look_ ? std::min<Duration>(now - *last_look_, 2 * look_interval) : Duration::zero();
  last_look_ = now;
  std::vector<std::size_t> changed;
  for (std::size_t i = 0; i < workers_.size(); ++i) {
    Watched& worker = workers_[i];
    if (!turns[i] || turns[i]->began != worker.began) {
      worker.away = Duration::zero();
      if (turns[i]) worker.began = turns[i]->began;
    } else {
      worker.away += passed;
    }
    const State state = state_after(worker.away);
    if (state == worker.state) continue;
    worker.state = state;
    changed.push_back(i);
  }
  return changed;
}

WorkerWatch::State WorkerWatch::worst() const {
  State worst = State::turns;
  for (const Watched& worker : workers_) worst = std::max(worst, worker.state);
  return worst;
}

}  // namespace sluice::server
