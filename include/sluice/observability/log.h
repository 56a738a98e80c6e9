// SPDX-License-Identifier: GPL-3.0-or-later
// The process's log: one key=value line per event, to standard error by default.
//
//   log::info("backend is ready", {{"backend", address}, {"after_ms", 12}});
//   time=2026-01-02T03:04:05.678Z level=info msg="backend is ready" backend=127.0.0.1:6443
//   after_ms=12
//
// After start() a line is queued and written by a thread of its own: no caller ever waits for the
// file. A full queue drops lines and counts them. Each call site has a rate limit of its own; what
// it suppressed is told by its next line. Values are quoted and escaped: nothing that a peer sent
// can begin a line. Never pass a secret. Any thread may log; before start() and after stop() lines
// are written directly.
//
// error: something that a person must mend. warning: something that is bad and may pass. info:
// changes of state, few. debug: single connections and requests.
#pragma once

#include <concepts>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <source_location>
#include <string>
#include <string_view>
#include <type_traits>
#include <variant>

#include "sluice/base/time.h"

namespace sluice::log {

enum class Level : std::uint8_t { error, warning, info, debug };
std::string_view to_string(Level level);
std::optional<Level> level_from(std::string_view text);

// A key (a plain word, by its caller) and a value. Only views: valid within the log call.
class Field {
 public:
  template <class T>
    requires std::same_as<T, bool>
  Field(std::string_view key, T value) : key_(key), value_(value) {}
  template <class T>
    requires(std::signed_integral<T>)
  Field(std::string_view key, T value) : key_(key), value_(static_cast<std::int64_t>(value)) {}
  template <class T>
    requires(std::unsigned_integral<T> && !std::same_as<T, bool>)
  Field(std::string_view key, T value) : key_(key), value_(static_cast<std::uint64_t>(value)) {}
  Field(std::string_view key, double value) : key_(key), value_(value) {}
  Field(std::string_view key, Duration value) : key_(key), value_(value) {}
  template <class T>
    requires(std::convertible_to<const T&, std::string_view>)
  Field(std::string_view key, const T& value) : key_(key), value_(std::string_view(value)) {}

  std::string_view key() const { return key_; }
  void append_value(std::string& line) const;

 private:
  std::string_view key_;
  std::variant<bool, std::int64_t, std::uint64_t, double, Duration, std::string_view> value_;
};

using Fields = std::initializer_list<Field>;

struct Options {
  Level level = Level::info;
  int descriptor = 2;  // not owned
  // "<6>" instead of time and level, as the journal understands it; unset: when JOURNAL_STREAM is.
  std::optional<bool> journal = {};
  std::size_t queue_bytes = 256 * 1024;
  std::uint32_t lines_per_second = 20;  // for each call site

  friend bool operator==(const Options&, const Options&) = default;
};

// Start-up and shutdown, from one thread. stop() writes what is queued, for at most a second.
void start(const Options& options);
void stop();

void set_level(Level level);
bool enabled(Level level);

struct Counters {
  std::uint64_t written = 0;
  std::uint64_t dropped = 0;     // the queue was full
  std::uint64_t lost = 0;        // could not be written: no space, a closed pipe
  std::uint64_t suppressed = 0;  // by a rate limit
};
Counters counters();

using Place = std::source_location;
void write(Level level, std::string_view message, Fields fields, const Place& place);

inline void error(std::string_view message, Fields fields = {}, Place place = Place::current()) {
  if (enabled(Level::error)) write(Level::error, message, fields, place);
}
inline void warning(std::string_view message, Fields fields = {}, Place place = Place::current()) {
  if (enabled(Level::warning)) write(Level::warning, message, fields, place);
}
inline void info(std::string_view message, Fields fields = {}, Place place = Place::current()) {
  if (enabled(Level::info)) write(Level::info, message, fields, place);
}
inline void debug(std::string_view message, Fields fields = {}, Place place = Place::current()) {
  if (enabled(Level::debug)) write(Level::debug, message, fields, place);
}

}  // namespace sluice::log
