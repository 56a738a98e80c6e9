// SPDX-License-Identifier: GPL-3.0-or-later
// Settings by name.
#include "settings.h"

#include <fmt/format.h>

#include <array>
#include <charconv>
#include <optional>

namespace sluice::apisim {

namespace {

std::unexpected<Error> bad(std::string_view what, std::string_view value) {
  return fail(ErrorKind::invalid_argument, fmt::format("\"{}\" is no {}", value, what));
}

template <class T>
std::optional<T> parse_number(std::string_view text, std::string_view& rest) {
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc()) return std::nullopt;
  rest = text.substr(static_cast<std::size_t>(end - text.data()));
  return value;
}

struct Probability {
  std::string_view name;
  double Settings::* member;
};
constexpr std::array probabilities = {
    Probability{"fail-500", &Settings::fail_500},
    Probability{"fail-refused", &Settings::fail_refused},
    Probability{"fail-reset-stream", &Settings::fail_reset_stream},
    Probability{"fail-reset-connection", &Settings::fail_reset_connection},
    Probability{"fail-truncated", &Settings::fail_truncated},
    Probability{"fail-stale", &Settings::fail_stale},
    Probability{"fail-initializing", &Settings::fail_initializing},
    Probability{"goaway-chance", &Settings::goaway_chance},
};

struct Count {
  std::string_view name;
  std::uint32_t Settings::* member;
};
constexpr std::array counts = {
    Count{"max-in-flight", &Settings::max_in_flight},
    Count{"max-streams", &Settings::max_streams},
    Count{"minor", &Settings::minor},
};

struct Time {
  std::string_view name;
  Duration Settings::* member;
};
constexpr std::array times = {
    Time{"bookmark-interval", &Settings::bookmark_interval},
    Time{"idle-timeout", &Settings::idle_timeout},
    Time{"lag", &Settings::lag},
};

}  // namespace

Result<Duration> parse_duration(std::string_view text) {
  std::string_view unit;
  const auto value = parse_number<double>(text, unit);
  double factor = 0;
  if (unit == "us") factor = 1e3;
  if (unit == "ms") factor = 1e6;
  if (unit == "s") factor = 1e9;
  if (unit == "m") factor = 60e9;
  if (unit == "h") factor = 3600e9;
  if (!value || *value < 0 || *value > 1e6 || (factor == 0 && *value != 0)) {
    return bad("duration such as 20ms, 1.5s or 2m", text);
  }
  return Duration(static_cast<Duration::rep>(*value * factor));
}

Result<std::size_t> parse_size(std::string_view text) {
  std::string_view unit;
  const auto value = parse_number<std::size_t>(text, unit);
  std::size_t factor = 0;
  if (unit.empty()) factor = 1;
  if (unit == "k" || unit == "K") factor = 1024;
  if (unit == "m" || unit == "M") factor = 1024 * 1024;
  constexpr std::size_t size_max = std::size_t{1} << 30;
  if (!value || factor == 0 || *value > size_max || *value * factor > size_max) {
    return bad("size such as 512, 100k or 10m", text);
  }
  return *value * factor;
}

Result<void> apply_setting(Settings& settings, std::string_view name, std::string_view value) {
  if (name == "latency") {
    const std::size_t dash = value.find('-');
    const auto low = parse_duration(value.substr(0, dash));
    const auto high = dash == std::string_view::npos ? low : parse_duration(value.substr(dash + 1));
    if (!low) return std::unexpected(low.error());
    if (!high) return std::unexpected(high.error());
    if (*high < *low) return bad("latency: the first must not exceed the second", value);
    settings.latency_min = *low;
    settings.latency_max = *high;
    return {};
  }
  for (const Probability& each : probabilities) {
    if (each.name != name) continue;
    std::string_view rest;
    const auto number = parse_number<double>(value, rest);
    if (!number || !rest.empty() || *number < 0 || *number > 1) {
      return bad("probability between 0 and 1", value);
    }
    settings.*each.member = *number;
    return {};
  }
  for (const Count& each : counts) {
    if (each.name != name) continue;
    std::string_view rest;
    const auto number = parse_number<std::uint32_t>(value, rest);
    if (!number || !rest.empty()) return bad("count", value);
    settings.*each.member = *number;
    return {};
  }
  for (const Time& each : times) {
    if (each.name != name) continue;
    const auto duration = parse_duration(value);
    if (!duration) return std::unexpected(duration.error());
    if (*duration == Duration::zero()) return bad("duration above zero", value);
    settings.*each.member = *duration;
    return {};
  }
  return bad("setting", name);
}

const std::vector<std::string>& setting_names() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> all = {"latency"};
    for (const Probability& each : probabilities) all.emplace_back(each.name);
    for (const Count& each : counts) all.emplace_back(each.name);
    for (const Time& each : times) all.emplace_back(each.name);
    return all;
  }();
  return names;
}

std::string settings_json(const Settings& settings) {
  std::string out = fmt::format("{{\"latency\":\"{}us-{}us\"", settings.latency_min.count() / 1000,
                                settings.latency_max.count() / 1000);
  for (const Probability& each : probabilities) {
    out += fmt::format(",\"{}\":{}", each.name, settings.*each.member);
  }
  for (const Count& each : counts)
    out += fmt::format(",\"{}\":{}", each.name, settings.*each.member);
  for (const Time& each : times) {
    out += fmt::format(",\"{}\":\"{}ms\"", each.name, (settings.*each.member).count() / 1'000'000);
  }
  out.push_back('}');
  return out;
}

}  // namespace sluice::apisim
