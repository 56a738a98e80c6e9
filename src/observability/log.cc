// SPDX-License-Identifier: GPL-3.0-or-later
// Formats lines, limits call sites, hands lines to the writer. The limiter is a table of atomics
// addressed by the call site's hash: a collision lets two sites share a limit, nothing worse.
#include "sluice/observability/log.h"

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <functional>
#include <iterator>
#include <memory>
#include <mutex>

#include "line_writer.h"
#include "sluice/base/check.h"
#include "sluice/base/enumerators.h"
#include "sluice/observability/escape.h"

namespace sluice::log {

namespace {

constexpr std::size_t value_bytes_max = 256;
constexpr std::size_t line_bytes_max = 1024;

// One second's count for each call site: the second in the upper half, lines in the lower; and what
// was suppressed since the last line that passed.
struct Limit {
  std::atomic<std::uint64_t> window{0};
  std::atomic<std::uint64_t> suppressed{0};
};

struct Log {
  std::atomic<Level> level{Level::info};
  std::atomic<bool> journal{false};
  std::atomic<std::uint32_t> lines_per_second{20};
  std::array<Limit, 256> limits;
  std::atomic<std::uint64_t> direct{0};  // lines written without the writer
  std::atomic<std::uint64_t> suppressed{0};
  std::atomic<std::uint64_t> dropped_before{0};  // by writers that are gone
  std::atomic<std::uint64_t> written_before{0};
  std::atomic<std::uint64_t> lost_before{0};  // and what was written directly
  // Serialises producers, who only copy a line under it; the writer thread never takes it.
  std::mutex producers;
  std::unique_ptr<observability::LineWriter> writer;
  int descriptor = 2;
};

Log& the_log() {
  static Log* const log = new Log;  // never destroyed: threads may log while the process ends
  return *log;
}

Limit& limit_of(const Place& place) {
  const auto file = reinterpret_cast<std::uintptr_t>(place.file_name());
  const std::uint64_t hash = (file ^ (std::uint64_t{place.line()} << 32)) * 0x9e3779b97f4a7c15u;
  return the_log().limits[static_cast<std::size_t>(hash >> 56)];
}

bool admitted(Limit& limit, std::uint32_t per_second) {
  const auto now = std::chrono::steady_clock::now().time_since_epoch();
  const auto second =
      static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::seconds>(now).count());
  std::uint64_t seen = limit.window.load(std::memory_order_relaxed);
  for (;;) {
    std::uint64_t next;
    if ((seen >> 32) != (second & 0xffffffffu)) {
      next = (second << 32) | 1;
    } else if ((seen & 0xffffffffu) < per_second) {
      next = seen + 1;
    } else {
      return false;
    }
    if (limit.window.compare_exchange_weak(seen, next, std::memory_order_relaxed)) return true;
  }
}

void append_time(std::string& line) {
  const auto now = std::chrono::system_clock::now();
  const auto seconds = std::chrono::time_point_cast<std::chrono::seconds>(now);
  const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(now - seconds).count();
  const std::time_t clock = std::chrono::system_clock::to_time_t(seconds);
  std::tm utc{};
  ::gmtime_r(&clock, &utc);
  fmt::format_to(std::back_inserter(line), "time={:%Y-%m-%dT%H:%M:%S}.{:03d}Z ", utc, ms);
}

// sd-daemon(3): syslog priorities.
int priority(Level level) {
  switch (level) {
    case Level::error: return 3;
    case Level::warning: return 4;
    case Level::info: return 6;
    case Level::debug: return 7;
  }
  return 6;
}

std::string format(Level level, std::string_view message, Fields fields, std::uint64_t suppressed) {
  std::string line;
  line.reserve(256);
  if (the_log().journal.load(std::memory_order_relaxed)) {
    fmt::format_to(std::back_inserter(line), "<{}>", priority(level));
  } else {
    append_time(line);
  }
  line += "level=";
  line += to_string(level);
  line += " msg=";
  observability::append_log_value(line, message, value_bytes_max * 2);
  std::size_t left_out = 0;
  for (const Field& field : fields) {
    const std::size_t before = line.size();
    line += ' ';
    line += field.key();
    line += '=';
    field.append_value(line);
    // A field that does not fit is left out as a whole: half a quoted value cannot be parsed.
    if (line.size() > line_bytes_max) {
      line.resize(before);
      ++left_out;
    }
  }
  if (left_out != 0) fmt::format_to(std::back_inserter(line), " fields_left_out={}", left_out);
  if (suppressed != 0) fmt::format_to(std::back_inserter(line), " suppressed={}", suppressed);
  line += '\n';
  return line;
}

bool write_directly(int descriptor, std::string_view line) {
  while (!line.empty()) {
    const ssize_t done = ::write(descriptor, line.data(), line.size());
    if (done < 0 && errno == EINTR) continue;
    if (done <= 0) return false;
    line.remove_prefix(static_cast<std::size_t>(done));
  }
  return true;
}

}  // namespace

std::string_view to_string(Level level) {
  switch (level) {
    case Level::error: return "error";
    case Level::warning: return "warning";
    case Level::info: return "info";
    case Level::debug: return "debug";
  }
  return "unknown";
}

std::optional<Level> level_from(std::string_view text) { return enumerator_named<Level>(text); }

void Field::append_value(std::string& line) const {
  const auto out = std::back_inserter(line);
  if (const auto* flag = std::get_if<bool>(&value_)) {
    line += *flag ? "true" : "false";
  } else if (const auto* number = std::get_if<std::int64_t>(&value_)) {
    fmt::format_to(out, "{}", *number);
  } else if (const auto* count = std::get_if<std::uint64_t>(&value_)) {
    fmt::format_to(out, "{}", *count);
  } else if (const auto* real = std::get_if<double>(&value_)) {
    fmt::format_to(out, "{:.6g}", *real);
  } else if (const auto* duration = std::get_if<Duration>(&value_)) {
    fmt::format_to(out, "{:.6g}s", to_seconds(*duration));
  } else {
    observability::append_log_value(line, std::get<std::string_view>(value_), value_bytes_max);
  }
}

void start(const Options& options) {
  Log& log = the_log();
  std::unique_ptr<observability::LineWriter> writer;
  {
    const std::lock_guard lock(log.producers);
    CHECK(log.writer == nullptr);
    log.level.store(options.level, std::memory_order_relaxed);
    log.journal.store(options.journal.value_or(std::getenv("JOURNAL_STREAM") != nullptr),
                      std::memory_order_relaxed);
    log.lines_per_second.store(options.lines_per_second, std::memory_order_relaxed);
    log.descriptor = options.descriptor;
    log.writer = std::make_unique<observability::LineWriter>(observability::LineWriterOptions{
        .descriptor = options.descriptor, .ring_bytes = options.queue_bytes});
  }
}

void stop() {
  Log& log = the_log();
  std::unique_ptr<observability::LineWriter> writer;
  {
    const std::lock_guard lock(log.producers);
    writer = std::move(log.writer);
    if (writer == nullptr) return;
    log.written_before += writer->pushed();
    log.dropped_before += writer->dropped();
    log.lost_before += writer->lost();
  }
}

void set_level(Level level) { the_log().level.store(level, std::memory_order_relaxed); }

bool enabled(Level level) { return level <= the_log().level.load(std::memory_order_relaxed); }

Counters counters() {
  Log& log = the_log();
  const std::lock_guard lock(log.producers);
  Counters sum{.written = log.direct + log.written_before,
               .dropped = log.dropped_before,
               .lost = log.lost_before,
               .suppressed = log.suppressed};
  if (log.writer != nullptr) {
    sum.written += log.writer->pushed();
    sum.dropped += log.writer->dropped();
    sum.lost += log.writer->lost();
  }
  return sum;
}

void write(Level level, std::string_view message, Fields fields, const Place& place) {
  Log& log = the_log();
  Limit& limit = limit_of(place);
  if (!admitted(limit, log.lines_per_second.load(std::memory_order_relaxed))) {
    limit.suppressed.fetch_add(1, std::memory_order_relaxed);
    log.suppressed.fetch_add(1, std::memory_order_relaxed);
    return;
  }
  const std::string line =
      format(level, message, fields, limit.suppressed.exchange(0, std::memory_order_relaxed));
  const std::lock_guard lock(log.producers);
  if (log.writer != nullptr) {
    log.writer->push(0, line);
  } else if (write_directly(log.descriptor, line)) {
    log.direct.fetch_add(1, std::memory_order_relaxed);
  } else {
    log.lost_before.fetch_add(1, std::memory_order_relaxed);
  }
}

}  // namespace sluice::log
