// SPDX-License-Identifier: GPL-3.0-or-later
// When a server's process began to run, as its own page of metrics says
// (k8s.io/component-base/metrics: process_start_time_seconds, by its own clock; the page is
// Prometheus text, megabytes of it), and how long ago that was by that same clock. Pure.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include "sluice/base/time.h"

namespace sluice::backend {

// Looks at the page line by line, and keeps one line's beginning at most.
class ProcessStartReader {
 public:
  static constexpr std::size_t page_bytes_max = std::size_t{64} << 20;
  static constexpr std::size_t line_bytes_max = 256;

  // The next piece; false: the page is too long, no more of it is looked at.
  bool feed(std::string_view piece);
  // Seconds since 1970; nothing when no line says it, or two do.
  std::optional<double> seconds() const { return lines_ == 1 ? seconds_ : std::nullopt; }

 private:
  void look_at(std::string_view line);

  std::string line_;  // the beginning of one whose end has not come
  bool skipping_ = false;
  std::size_t bytes_ = 0;
  std::size_t lines_ = 0;  // that name it
  std::optional<double> seconds_;
};

// A Date field (RFC 9110 section 5.6.7), of the form that is to be sent.
std::optional<WallTime> parse_http_date(std::string_view text);

// How old a process is that began at `start` and said so at `date`. Clocks go to the second there;
// nothing when they say what cannot be.
std::optional<Duration> process_age(double start, WallTime date);

}  // namespace sluice::backend
