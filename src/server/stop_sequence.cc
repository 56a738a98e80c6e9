// SPDX-License-Identifier: GPL-3.0-or-later
// From start to stop.
#include "stop_sequence.h"

#include "sluice/base/check.h"

namespace sluice::server {
namespace {

// After a second signal nobody is waited for longer than this.
constexpr Duration stop_at_once_max = std::chrono::milliseconds(800);

}  // namespace

void StopSequence::workers_serve() {
  CHECK(state_ == State::starting);
  state_ = State::serving;
}

StopSequence::Actions StopSequence::start_failed() {
  CHECK(state_ == State::starting);
  state_ = State::ending;
  return {Action::stop};
}

StopSequence::Actions StopSequence::signal(Instant now) {
  switch (state_) {
    case State::starting: state_ = State::cancelled; return {Action::announce};
    case State::serving: {
      state_ = State::delaying;
      drain_at_ = now + delay_;
      Actions actions = time_passed(now);
      actions.insert(actions.begin(), Action::announce);
      return actions;
    }
    case State::cancelled:
    case State::delaying:
    case State::draining:
      state_ = State::ending;
      abandon_at_ = now + stop_at_once_max;
      return {Action::stop};
    case State::ending:
    case State::stopped: break;
  }
  return {};
}

StopSequence::Actions StopSequence::replaced() {
  if (state_ != State::serving && state_ != State::delaying) return {};
  state_ = State::draining;
  return {Action::drain};
}

StopSequence::Actions StopSequence::time_passed(Instant now) {
  if (state_ == State::delaying && now >= drain_at_) {
    state_ = State::draining;
    return {Action::drain};
  }
  if (state_ == State::ending && abandon_at_ && now >= abandon_at_) return {Action::abandon};
  return {};
}

}  // namespace sluice::server
