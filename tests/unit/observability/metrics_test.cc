// SPDX-License-Identifier: GPL-3.0-or-later
// Sums over threads, and the text that a scraper reads.
#include "sluice/observability/metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cmath>
#include <limits>
#include <memory>
#include <set>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

namespace sluice::metrics {
namespace {

using testing::HasSubstr;
using testing::Not;

TEST(MetricsTest, AddsUpTheCellsOfAllThreads) {
  Registry registry;
  const CounterId requests = registry.counter("requests_total", "Requests.");
  const GaugeId open = registry.gauge("open", "Open.");
  Cells one(registry);
  Cells two(registry);
  one.add(requests);
  two.add(requests, 41);
  one.add(open, 5);
  two.add(open, -7);
  EXPECT_EQ(registry.total(requests), 42u);
  EXPECT_EQ(registry.total(open), -2);
  two.set(open, 3);
  EXPECT_EQ(registry.total(open), 8);
}

TEST(MetricsTest, KeepsCountersButNotGaugesOfAThreadThatEnded) {
  Registry registry;
  const CounterId requests = registry.counter("requests_total", "Requests.");
  const GaugeId open = registry.gauge("open", "Open.");
  const HistogramId sizes = registry.histogram("sizes", "Sizes.", HistogramLayout::bytes());
  Cells stays(registry);
  stays.add(requests, 1);
  {
    Cells ends(registry);
    ends.add(requests, 10);
    ends.add(open, 4);
    ends.observe(sizes, 100);
  }
  EXPECT_EQ(registry.total(requests), 11u);
  EXPECT_EQ(registry.total(open), 0);
  EXPECT_EQ(registry.total(sizes).count(), 1u);
}

TEST(MetricsTest, WritesTheTextFormat) {
  Registry registry;
  const CounterId requests =
      registry.counter("sluice_requests_total", "Requests received.", {{"code", "200"}});
  registry.counter("sluice_requests_total", "Requests received.", {{"code", "503"}});
  const GaugeId open = registry.gauge("sluice_connections", "Open client connections.");
  registry.gauge_function("sluice_certificate_expiry_seconds", "Seconds left.", [] { return 1.5; },
                          {{"file", "serving"}});
  registry.counter_function("sluice_log_lines_dropped_total", "Lines.", [] { return 7.0; });
  Cells cells(registry);
  cells.add(requests, 3);
  cells.set(open, -1);
  EXPECT_EQ(registry.render(),
            "# HELP sluice_requests_total Requests received.\n"
            "# TYPE sluice_requests_total counter\n"
            "sluice_requests_total{code=\"200\"} 3\n"
            "sluice_requests_total{code=\"503\"} 0\n"
            "# HELP sluice_connections Open client connections.\n"
            "# TYPE sluice_connections gauge\n"
            "sluice_connections -1\n"
            "# HELP sluice_certificate_expiry_seconds Seconds left.\n"
            "# TYPE sluice_certificate_expiry_seconds gauge\n"
            "sluice_certificate_expiry_seconds{file=\"serving\"} 1.5\n"
            "# HELP sluice_log_lines_dropped_total Lines.\n"
            "# TYPE sluice_log_lines_dropped_total counter\n"
            "sluice_log_lines_dropped_total 7\n");
}

TEST(MetricsTest, EscapesLabelValuesAndHelp) {
  Registry registry;
  registry.counter("a_total", "Line\nbreak \\ \"quote\".", {{"path", "a\"b\\c\nd"}});
  EXPECT_THAT(registry.render(), HasSubstr("# HELP a_total Line\\nbreak \\\\ \"quote\".\n"));
  EXPECT_THAT(registry.render(), HasSubstr("a_total{path=\"a\\\"b\\\\c\\nd\"} 0\n"));
}

TEST(MetricsTest, WritesSpecialNumbers) {
  Registry registry;
  double value = 0;
  registry.gauge_function("g", "G.", [&] { return value; });
  value = std::numeric_limits<double>::infinity();
  EXPECT_THAT(registry.render(), HasSubstr("g +Inf\n"));
  value = -value;
  EXPECT_THAT(registry.render(), HasSubstr("g -Inf\n"));
  value = std::nan("");
  EXPECT_THAT(registry.render(), HasSubstr("g NaN\n"));
  value = 1732371600;
  EXPECT_THAT(registry.render(), HasSubstr("g 1732371600\n"));
}

TEST(MetricsTest, WritesAHistogramWithRisingBucketsSumAndCount) {
  Registry registry;
  const HistogramId latency = registry.histogram("latency_seconds", "Latency.",
                                                 HistogramLayout::seconds(), {{"verb", "get"}});
  Cells cells(registry);
  cells.observe(latency, 1000);  // 1 us
  cells.observe(latency, 1024);  // the first bound itself
  cells.observe(latency, 1025);
  cells.observe(latency, 3'000'000'000);    // 3 s
  cells.observe(latency, 400'000'000'000);  // beyond the last bound
  const std::string text = registry.render();
  EXPECT_THAT(text, HasSubstr("# TYPE latency_seconds histogram\n"));
  EXPECT_THAT(text, HasSubstr("latency_seconds_bucket{verb=\"get\",le=\"1.024e-06\"} 2\n"));
  EXPECT_THAT(text, HasSubstr("latency_seconds_bucket{verb=\"get\",le=\"2.048e-06\"} 3\n"));
  EXPECT_THAT(text, HasSubstr("latency_seconds_bucket{verb=\"get\",le=\"2.147483648\"} 3\n"));
  EXPECT_THAT(text, HasSubstr("latency_seconds_bucket{verb=\"get\",le=\"4.294967296\"} 4\n"));
  EXPECT_THAT(text, HasSubstr("latency_seconds_bucket{verb=\"get\",le=\"137.438953472\"} 4\n"));
  EXPECT_THAT(text, HasSubstr("latency_seconds_bucket{verb=\"get\",le=\"+Inf\"} 5\n"));
  EXPECT_THAT(text, HasSubstr("latency_seconds_count{verb=\"get\"} 5\n"));
  std::size_t lines = 0;
  for (std::size_t at = text.find("_bucket"); at != std::string::npos;
       at = text.find("_bucket", at + 1)) {
    ++lines;
  }
  EXPECT_EQ(lines, 29u);
  const Histogram total = registry.total(latency);
  EXPECT_EQ(total.count(), 5u);
  EXPECT_EQ(total.sum(), 403'000'003'049u);
}

TEST(MetricsTest, WritesEveryFamilyOnce) {
  Registry registry;
  registry.counter("a_total", "A.", {{"x", "1"}});
  registry.counter("b_total", "B.");
  registry.counter("a_total", "A.", {{"x", "2"}});
  std::istringstream text(registry.render());
  std::multiset<std::string> types;
  for (std::string line; std::getline(text, line);) {
    if (line.starts_with("# TYPE")) types.insert(line);
  }
  EXPECT_EQ(types,
            (std::multiset<std::string>{"# TYPE a_total counter", "# TYPE b_total counter"}));
}

TEST(MetricsTest, ATableHasACounterForEachCombination) {
  Registry registry;
  const CounterTable table = registry.counters(
      "requests_total", "Requests.", {{"verb", {"get", "list"}}, {"code", {"2xx", "4xx", "5xx"}}});
  Cells cells(registry);
  for (std::size_t verb = 0; verb < 2; ++verb) {
    for (std::size_t code = 0; code < 3; ++code)
      cells.add(table.at(verb, code), verb * 10 + code + 1);
  }
  const std::string text = registry.render();
  EXPECT_THAT(text, HasSubstr("requests_total{verb=\"get\",code=\"2xx\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("requests_total{verb=\"get\",code=\"5xx\"} 3\n"));
  EXPECT_THAT(text, HasSubstr("requests_total{verb=\"list\",code=\"2xx\"} 11\n"));
  EXPECT_THAT(text, HasSubstr("requests_total{verb=\"list\",code=\"5xx\"} 13\n"));
}

enum class Outcome : std::uint8_t { won, lost };

std::string_view to_string(Outcome outcome) {
  switch (outcome) {
    case Outcome::won: return "won";
    case Outcome::lost: return "lost";
  }
  return "unknown";
}

TEST(MetricsTest, ATableByAnEnumerationHasItsNamesForLabels) {
  Registry registry;
  const CounterTable table = registry.counters_by<Outcome>("games_total", "Games.", "outcome");
  Cells cells(registry);
  cells.add(table.at(Outcome::lost), 2);
  const std::string text = registry.render();
  EXPECT_THAT(text, HasSubstr("games_total{outcome=\"won\"} 0\n"));
  EXPECT_THAT(text, HasSubstr("games_total{outcome=\"lost\"} 2\n"));
  EXPECT_THAT(text, Not(HasSubstr("unknown")));
}

TEST(MetricsTest, ASparseTableShowsOnlyWhatHappened) {
  Registry registry;
  const CounterTable table =
      registry.counters("refused_total", "Refused.", {{"reason", {"a", "b"}}}, true);
  Cells cells(registry);
  cells.add(table.at(1));
  EXPECT_THAT(registry.render(), HasSubstr("refused_total{reason=\"b\"} 1\n"));
  EXPECT_THAT(registry.render(), Not(HasSubstr("reason=\"a\"")));
}

TEST(MetricsTest, TakesOverTotalsThatOthersCount) {
  Registry registry;
  const CounterId bytes = registry.counter("bytes_total", "Bytes.");
  Cells cells(registry);
  cells.publish(bytes, 10);
  cells.publish(bytes, 25);
  EXPECT_EQ(registry.total(bytes), 25u);
}

TEST(MetricsDeathTest, RefusesNamesThatNoScraperTakes) {
  Registry registry;
  EXPECT_DEATH(registry.counter("requests-total", ""), "valid_name");
  EXPECT_DEATH(registry.counter("1st", ""), "valid_name");
  EXPECT_DEATH(registry.counter("ok_total", "", {{"le", "1"}}), "le");
  EXPECT_DEATH(registry.counter("ok_total", "", {{"__name__", "1"}}), "__");
}

TEST(MetricsDeathTest, RefusesTheSameSeriesTwice) {
  Registry registry;
  registry.counter("a_total", "A.", {{"x", "1"}});
  EXPECT_DEATH(registry.counter("a_total", "A.", {{"x", "1"}}), "labels");
  EXPECT_DEATH(registry.gauge("a_total", "A."), "type");
}

TEST(MetricsDeathTest, RefusesLateRegistration) {
  Registry registry;
  registry.counter("a_total", "A.");
  const Cells cells(registry);
  EXPECT_DEATH(registry.counter("b_total", "B."), "frozen_");
}

// Two writers and a scraper: sums never shrink and end exact. Run under the thread sanitizer, too.
TEST(MetricsTest, IsScrapedWhileThreadsCount) {
  Registry registry;
  const CounterId requests = registry.counter("requests_total", "Requests.");
  const HistogramId latency = registry.histogram("latency", "Latency.", HistogramLayout::seconds());
  constexpr std::uint64_t each = 100000;
  std::atomic<int> running{2};
  std::vector<std::thread> threads;
  for (int t = 0; t < 2; ++t) {
    threads.emplace_back([&] {
      Cells cells(registry);
      for (std::uint64_t i = 0; i < each; ++i) {
        cells.add(requests);
        cells.observe(latency, i);
      }
      running.fetch_sub(1);
    });
  }
  std::uint64_t last = 0;
  while (running.load() != 0) {
    const std::uint64_t now = registry.total(requests);
    EXPECT_GE(now, last);
    last = now;
    EXPECT_THAT(registry.render(), HasSubstr("requests_total "));
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(registry.total(requests), 2 * each);
  EXPECT_EQ(registry.total(latency).count(), 2 * each);
}

}  // namespace
}  // namespace sluice::metrics
