// SPDX-License-Identifier: GPL-3.0-or-later
// Durations and sizes, as people write them.
#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <vector>

#include "sluice/base/bytes.h"
#include "sluice/base/random.h"
#include "sluice/config/flags.h"

namespace sluice::config {
namespace {

using namespace std::chrono_literals;
using namespace sluice::literals;

TEST(DurationTest, ReadsWhatKubeApiserverReads) {
  const std::vector<std::pair<std::string_view, Duration>> table = {
      {"0", 0s},
      {"0s", 0s},
      {"10s", 10s},
      {"1m30s", 90s},
      {"500ms", 500ms},
      {"1.5h", 90min},
      {"1h0m0s", 1h},
      {"100us", 100us},
      {"100\u00b5s", 100us},
      {"7ns", 7ns},
      {"0.5s", 500ms},
      {".5s", 500ms},
      {"2.s", 2s},
      {"1h1m1s1ms", 1h + 1min + 1s + 1ms},
      {"90m", 90min},
      {"876000h", 876000h},
      {"30s1m", 90s},
  };
  for (const auto& [text, expected] : table) {
    const auto parsed = parse_duration(text);
    ASSERT_TRUE(parsed.has_value()) << text << ": " << parsed.error().context;
    EXPECT_EQ(*parsed, expected) << text;
  }
}

TEST(DurationTest, RefusesEverythingElse) {
  for (const std::string_view text :
       {"",       "10",  "s",    "10 s",     " 10s",    "10s ",
        "-1s",    "+1s", "1d",   "1e3s",     "1s2",     "10S",
        "1..5s",  ".s",  "1,5s", "infinity", "876001h", "99999999999999999999s",
        "1h-30m", "ms",  "0x10s"}) {
    EXPECT_FALSE(parse_duration(text).has_value()) << text;
  }
}

TEST(DurationTest, SaysWhatIsMissing) {
  EXPECT_EQ(parse_duration("10").error().context,
            "the unit is missing: write a duration like 90s, 1m30s or 500ms");
  EXPECT_EQ(parse_duration("1d").error().context,
            "units are h, m, s, ms, us and ns: write a duration like 90s, 1m30s or 500ms");
}

TEST(DurationTest, WritesWhatItReads) {
  const std::vector<std::pair<Duration, std::string_view>> table = {
      {0s, "0s"},          {10s, "10s"},   {90s, "1m30s"},   {500ms, "500ms"}, {1h, "1h"},
      {25h + 1s, "25h1s"}, {15min, "15m"}, {100us, "100us"}, {7ns, "7ns"},     {1500ms, "1.5s"},
  };
  for (const auto& [duration, text] : table) EXPECT_EQ(format_duration(duration), text);
  Random random(1);
  for (int i = 0; i < 1000; ++i) {
    const Duration duration = std::chrono::milliseconds(random.below(100'000'000));
    EXPECT_EQ(parse_duration(format_duration(duration)), duration) << format_duration(duration);
  }
}

TEST(SizeTest, ReadsBytesAndBinaryUnits) {
  const std::vector<std::pair<std::string_view, std::uint64_t>> table = {
      {"0", 0},           {"1", 1},          {"65536", 65536},
      {"12B", 12},        {"64KiB", 64_KiB}, {"1.5MiB", 1536_KiB},
      {"1GiB", 1024_MiB}, {"0.25KiB", 256},  {"9007199254740992", std::uint64_t{1} << 53},
  };
  for (const auto& [text, expected] : table) {
    const auto parsed = parse_size(text);
    ASSERT_TRUE(parsed.has_value()) << text << ": " << parsed.error().context;
    EXPECT_EQ(*parsed, expected) << text;
  }
}

TEST(SizeTest, RefusesEverythingElse) {
  for (const std::string_view text :
       {"", "KiB", "64K", "64kB", "64kib", "-1", "1.5", "64 KiB", "1e6", "0x10",
        "9007199254740993000", "99999999GiB", "1KiB1", " 1"}) {
    EXPECT_FALSE(parse_size(text).has_value()) << text;
  }
}

TEST(SizeTest, WritesWhatItReads) {
  EXPECT_EQ(format_size(0), "0");
  EXPECT_EQ(format_size(1000), "1000");
  EXPECT_EQ(format_size(64_KiB), "64KiB");
  EXPECT_EQ(format_size(1536_KiB), "1536KiB");
  EXPECT_EQ(format_size(2048_MiB), "2GiB");
  Random random(2);
  for (int i = 0; i < 1000; ++i) {
    const std::uint64_t size = random.next() >> (11 + random.below(50));
    EXPECT_EQ(parse_size(format_size(size)), size);
  }
}

}  // namespace
}  // namespace sluice::config
