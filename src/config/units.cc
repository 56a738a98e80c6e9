// SPDX-License-Identifier: GPL-3.0-or-later
// Durations and sizes as text.
#include <fmt/format.h>

#include <array>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string_view>
#include <utility>

#include "sluice/base/ascii.h"
#include "sluice/config/flags.h"

namespace sluice::config {

namespace {

constexpr std::string_view duration_form = "write a duration like 90s, 1m30s or 500ms";
constexpr std::string_view size_form = "write a size like 65536, 64KiB or 1.5MiB";

constexpr auto duration_units = std::to_array<std::pair<std::string_view, double>>({
    {"ns", 1},
    {"us", 1e3},
    {"\u00b5s", 1e3},
    {"\u03bcs", 1e3},
    {"ms", 1e6},
    {"s", 1e9},
    {"m", 60e9},
    {"h", 3600e9},
});

// Takes "12" or "1.5" from the front; nothing when there is no number. Sixteen digits are exact.
std::optional<double> take_number(std::string_view& text) {
  double value = 0;
  std::size_t digits = 0;
  std::size_t i = 0;
  for (; i < text.size() && ascii::is_digit(text[i]); ++i, ++digits)
    value = value * 10 + (text[i] - '0');
  if (i < text.size() && text[i] == '.') {
    double place = 0.1;
    for (++i; i < text.size() && ascii::is_digit(text[i]); ++i, ++digits, place /= 10) {
      value += place * (text[i] - '0');
    }
  }
  if (digits == 0 || digits > 16) return std::nullopt;
  text.remove_prefix(i);
  return value;
}

std::string_view take_unit(std::string_view& text) {
  std::size_t end = 0;
  while (end < text.size() && !ascii::is_digit(text[end]) && text[end] != '.') ++end;
  const std::string_view unit = text.substr(0, end);
  text.remove_prefix(end);
  return unit;
}

std::unexpected<Error> wrong(std::string_view form) {
  return fail(ErrorKind::invalid_argument, std::string(form));
}

}  // namespace

Result<Duration> parse_duration(std::string_view text) {
  if (text == "0") return Duration::zero();
  if (text.empty()) return wrong(duration_form);
  double sum = 0;
  while (!text.empty()) {
    const auto number = take_number(text);
    if (!number) return wrong(duration_form);
    const std::string_view unit = take_unit(text);
    if (unit.empty()) return wrong("the unit is missing: " + std::string(duration_form));
    double scale = 0;
    for (const auto& [name, nanoseconds] : duration_units) {
      if (unit == name) scale = nanoseconds;
    }
    if (scale == 0) return wrong("units are h, m, s, ms, us and ns: " + std::string(duration_form));
    sum += *number * scale;
  }
  constexpr double max = 100.0 * 365 * 24 * 3600e9;
  if (sum > max) return wrong("it is longer than a hundred years");
  return Duration(static_cast<Duration::rep>(std::llround(sum)));
}

std::string format_duration(Duration duration) {
  using std::chrono::duration_cast;
  const auto total = duration.count();
  if (total == 0) return "0s";
  if (total % 1'000'000'000 != 0) {
    if (total % 1'000'000 == 0 && total < 1'000'000'000)
      return fmt::format("{}ms", total / 1'000'000);
    if (total % 1000 == 0 && total < 1'000'000) return fmt::format("{}us", total / 1000);
    if (total < 1000) return fmt::format("{}ns", total);
    // "1.5s" and the like; more digits than a person writes are dropped.
    return fmt::format("{:.9g}s", to_seconds(duration));
  }
  auto seconds = total / 1'000'000'000;
  std::string text;
  if (seconds >= 3600) text += fmt::format("{}h", std::exchange(seconds, seconds % 3600) / 3600);
  if (seconds >= 60) text += fmt::format("{}m", std::exchange(seconds, seconds % 60) / 60);
  if (seconds > 0) text += fmt::format("{}s", seconds);
  return text;
}

Result<std::uint64_t> parse_size(std::string_view text) {
  const auto number = take_number(text);
  if (!number) return wrong(size_form);
  double scale = 0;
  if (text.empty() || text == "B") scale = 1;
  if (text == "KiB") scale = 1024;
  if (text == "MiB") scale = 1024.0 * 1024;
  if (text == "GiB") scale = 1024.0 * 1024 * 1024;
  if (scale == 0) return wrong("units are KiB, MiB and GiB: " + std::string(size_form));
  const double bytes = *number * scale;
  if (bytes > 0x1p53) return wrong("it is larger than 8 PiB");
  if (bytes != std::floor(bytes)) return wrong("it is no whole number of bytes");
  return static_cast<std::uint64_t>(bytes);
}

std::string format_size(std::uint64_t bytes) {
  constexpr auto units = std::to_array<std::pair<std::string_view, std::uint64_t>>(
      {{"GiB", 1u << 30}, {"MiB", 1u << 20}, {"KiB", 1u << 10}});
  for (const auto& [name, scale] : units) {
    if (bytes >= scale && bytes % scale == 0) return fmt::format("{}{}", bytes / scale, name);
  }
  return fmt::format("{}", bytes);
}

}  // namespace sluice::config
