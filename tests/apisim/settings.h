// SPDX-License-Identifier: GPL-3.0-or-later
// How a simulated server behaves; every setting can be changed while it runs.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "sluice/base/error.h"
#include "sluice/base/time.h"

namespace sluice::apisim {

struct Settings {
  Duration latency_min{};  // before an answer begins; uniform between the two
  Duration latency_max{};
  double fail_500 = 0;               // probabilities for each request, probes excepted
  double fail_refused = 0;           // RST_STREAM(REFUSED_STREAM)
  double fail_reset_stream = 0;      // RST_STREAM(INTERNAL_ERROR) instead of an answer
  double fail_reset_connection = 0;  // TCP reset
  double fail_truncated = 0;         // part of the body, then RST_STREAM(INTERNAL_ERROR)
  double fail_stale = 0;             // 504 to a list at a revision, as of a cache that lags
  double fail_initializing = 0;      // 429 to lists and watches, as of a cache that is not filled
  double goaway_chance = 0;
  std::uint32_t max_in_flight = 0;  // above it 429; 0: no limit
  std::uint32_t max_streams = 100;  // SETTINGS_MAX_CONCURRENT_STREAMS of new connections
  // Version 1.MINOR; from 38 on there is the group resource.k8s.io.
  std::uint32_t minor = 37;
  Duration lag{};  // until it knows of custom resources that were defined through another server
  Duration bookmark_interval = std::chrono::seconds(60);
  Duration idle_timeout = std::chrono::seconds(90);
};

// Names are those of the flags without the dashes: "latency", "fail-500", ...
Result<void> apply_setting(Settings& settings, std::string_view name, std::string_view value);
const std::vector<std::string>& setting_names();
std::string settings_json(const Settings& settings);

// "20ms", "1.5s", "2m"; "0".
Result<Duration> parse_duration(std::string_view text);
// "512", "1k", "100k", "10m" (powers of 1024), at most 1 GiB.
Result<std::size_t> parse_size(std::string_view text);

}  // namespace sluice::apisim
