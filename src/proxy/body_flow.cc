// SPDX-License-Identifier: GPL-3.0-or-later
// One direction of an exchange.
#include "body_flow.h"

#include <algorithm>
#include <utility>

namespace sluice::proxy {

void BodyFlow::begin(std::uint32_t window, std::uint32_t window_max, Instant now) {
  growth_.begin(window, now);
  window_max_ = window_max;
  passed_ = 0;
}

void BodyFlow::charge(ClientAccount& client) {
  held_.charge(client);
  lent_.charge(client);
}

void BodyFlow::end() {
  queue_.clear();
  held_.release();
  kept_.release();
  lent_.release();
}

void BodyFlow::append(Bytes bytes) {
  queue_.append(bytes);
  held_.set(queue_.held_bytes());
  if (!queue_.retained()) return;
  kept_.add(bytes.size());
  if (kept_.bytes() > kept_max_ || budget_.replays_used_up()) release();
}

BodyFlow::Pulled BodyFlow::pull(MutableBytes room) {
  const std::size_t bytes = queue_.pull(room);
  held_.set(queue_.held_bytes());
  // Those that are sent again were credited the first time.
  const std::uint64_t before = std::exchange(passed_, std::max(passed_, queue_.pulled()));
  return {bytes, static_cast<std::size_t>(passed_ - before)};
}

std::uint32_t BodyFlow::grow_window(Instant now) {
  if (pending() > 0 || !growth_.due(passed_, now)) return 0;
  const std::uint32_t window = std::min(window_max_, 2 * growth_.window());
  if (window <= growth_.window()) return 0;
  const std::size_t more = window - growth_.window();
  if (!budget_.may_lend(more, lent_.client())) return 0;
  lent_.add(more);
  growth_.grow_to(window);
  return window;
}

std::size_t BodyFlow::drop() {
  const std::uint64_t due = queue_.appended() - std::min(passed_, queue_.appended());
  queue_.clear();
  held_.set(0);
  kept_.release();
  return static_cast<std::size_t>(due);
}

void BodyFlow::keep_for_replay(std::size_t max) {
  kept_max_ = max;
  queue_.retain();
}

void BodyFlow::release() {
  queue_.release();
  held_.set(queue_.held_bytes());
  kept_.release();
}

void BodyFlow::rewind() {
  if (queue_.retained()) queue_.rewind();
}

}  // namespace sluice::proxy
