// SPDX-License-Identifier: GPL-3.0-or-later
// One line among many, and a date.
#include "process_start.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

namespace sluice::backend {
namespace {

constexpr std::string_view metric = "process_start_time_seconds ";

// All of `text` is a number of digits.
std::optional<int> parse_digits(std::string_view text) {
  int value = 0;
  for (const char c : text) {
    if (c < '0' || c > '9') return std::nullopt;
    value = value * 10 + (c - '0');
  }
  return value;
}

}  // namespace

bool ProcessStartReader::feed(std::string_view piece) {
  bytes_ += piece.size();
  if (bytes_ > page_bytes_max) return false;
  while (!piece.empty()) {
    const std::size_t end = piece.find('\n');
    const std::string_view part = piece.substr(0, end);
    const bool whole = end != std::string_view::npos;
    if (whole && line_.empty() && !skipping_) {
      look_at(part);
    } else {
      skipping_ = skipping_ || line_.size() + part.size() > line_bytes_max;
      if (!skipping_) line_ += part;
      if (whole && !skipping_) look_at(line_);
      if (whole || skipping_) line_.clear();
      if (whole) skipping_ = false;
    }
    if (!whole) return true;
    piece.remove_prefix(end + 1);
  }
  return true;
}

void ProcessStartReader::look_at(std::string_view line) {
  if (!line.starts_with(metric)) return;
  ++lines_;
  // The value, and perhaps a time stamp.
  const std::string_view value = line.substr(metric.size());
  const std::string_view number = value.substr(0, value.find(' '));
  double seconds = 0;
  const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), seconds);
  if (error == std::errc() && end == number.data() + number.size()) seconds_ = seconds;
}

std::optional<WallTime> parse_http_date(std::string_view text) {
  // "Sun, 06 Nov 1994 08:49:37 GMT"
  constexpr std::string_view form = "DDD, dd nnn yyyy hh:mm:ss GMT";
  constexpr std::array months = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                 "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  if (text.size() != form.size()) return std::nullopt;
  for (std::size_t i = 3; i < form.size(); ++i) {
    const bool fixed = std::string_view(", :GMT").contains(form[i]);
    if (fixed && text[i] != form[i]) return std::nullopt;
  }
  const auto month = std::ranges::find(months, text.substr(8, 3));
  const auto day = parse_digits(text.substr(5, 2));
  const auto year = parse_digits(text.substr(12, 4));
  const auto hour = parse_digits(text.substr(17, 2));
  const auto minute = parse_digits(text.substr(20, 2));
  const auto second = parse_digits(text.substr(23, 2));
  if (month == months.end() || !day || !year || !hour || !minute || !second) return std::nullopt;
  const std::chrono::year_month_day date(
      std::chrono::year(*year),
      std::chrono::month(static_cast<unsigned>(month - months.begin()) + 1),
      std::chrono::day(static_cast<unsigned>(*day)));
  if (!date.ok() || *hour > 23 || *minute > 59 || *second > 60) return std::nullopt;
  return std::chrono::sys_days(date) + std::chrono::hours(*hour) + std::chrono::minutes(*minute) +
         std::chrono::seconds(*second);
}

std::optional<Duration> process_age(double start, WallTime date) {
  constexpr double oldest = 100.0 * 365 * 24 * 3600;
  constexpr double slack = 5;  // rounding, and a clock that was set
  const double age = static_cast<double>(date.time_since_epoch().count()) - start;
  // Not a number is none of both.
  if (!(age >= -slack && age <= oldest)) return std::nullopt;
  return std::chrono::duration_cast<Duration>(std::chrono::duration<double>(std::max(age, 0.0)));
}

}  // namespace sluice::backend
