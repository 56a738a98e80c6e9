// SPDX-License-Identifier: GPL-3.0-or-later
// When a watch may end.
#include "sluice/proxy/watch_end.h"

#include <algorithm>

namespace sluice::proxy {

void WatchEndRule::begin(Start start, bool resumes, Instant head) {
  *this = {};
  start_ = start;
  resumes_ = resumes;
  burst_over_ = start == Start::resumed;
  head_ = last_byte_ = head;
}

std::optional<Instant> WatchEndRule::look_at_burst(const WatchEndOptions& options, bool waiting,
                                                   Instant now) {
  if (burst_over_) return std::nullopt;
  const Instant latest = head_ + options.burst_max;
  // A server that is slow to begin has not paused yet.
  const bool begun = start_ != Start::existing_and_mark || burst_bytes_ > 0;
  const Instant ends =
      std::min(latest, (waiting || !begun ? now : last_byte_) + options.burst_pause);
  if (ends > now && !(source_ended_ && !waiting)) return ends;
  burst_over_ = true;
  return std::nullopt;
}

Instant WatchEndRule::earliest(const WatchEndOptions& options) const {
  if (as_asked_) return head_;
  if (start_ == Start::resumed) return head_ + options.plain_min;
  const auto more = std::chrono::duration<double>(
      static_cast<double>(burst_bytes_) / static_cast<double>(options.burst_bytes_per_second));
  return last_byte_ + options.after_burst_min + std::chrono::duration_cast<Duration>(more);
}

Instant WatchEndRule::soon(const WatchEndOptions& options, Instant now, Random& random) const {
  return std::max(now, earliest(options)) + random.between(Duration::zero(), options.jitter);
}

Instant WatchEndRule::within(const WatchEndOptions& options, const EndWindow& window, Instant now,
                             Random& random) const {
  const Instant middle = window.from + (window.until - window.from) / 2;
  const Instant from = std::max({now, earliest(options), resumes_ ? window.from : middle});
  // One that comes too late for its half has what is left of the window.
  const Instant until = resumes_ && from < middle ? middle : window.until;
  return from < until ? from + random.between(Duration::zero(), until - from) : from;
}

}  // namespace sluice::proxy
