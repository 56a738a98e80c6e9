// SPDX-License-Identifier: GPL-3.0-or-later
// A row of the one table of flags: what it is called, how its value is written, which field it
// sets.
#pragma once

#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "sluice/base/error.h"
#include "sluice/config/config.h"
#include "sluice/config/flags.h"

namespace sluice::config {

// What a flag sets; the type of the field decides how its value is written.
using Field =
    std::variant<bool Config::*, std::string Config::*, std::vector<std::string> Config::*,
                 Duration Config::*, std::uint32_t Config::*, std::uint64_t Config::*,
                 balance::Policy Config::*, log::Level Config::*, DefaultFor Config::*,
                 tls::Version Config::*, Mode Config::*>;

// Smallest and largest value; nanoseconds for durations.
struct Bounds {
  std::uint64_t low = 0;
  std::uint64_t high = std::numeric_limits<std::uint64_t>::max();
};

constexpr std::uint64_t nanoseconds(Duration duration) {
  return static_cast<std::uint64_t>(duration.count());
}

struct Flag {
  std::string_view name;
  std::string_view value;  // how --help names it; empty: a switch
  Scope scope;
  Field field;
  std::string_view help;
  Bounds bounds{};

  bool is_path() const { return value == "FILE" || value == "DIR"; }
  bool is_list() const { return std::holds_alternative<std::vector<std::string> Config::*>(field); }
};

struct Group {
  std::string_view title;
  std::vector<Flag> flags;
};

// In the order of --help.
const std::vector<Group>& flag_table();

// Null: there is none of that name.
const Flag* find_flag(std::string_view name);
// What somebody may have meant; empty when nothing is near.
std::string nearest_flag(std::string_view name);

// Puts a written value into the flag's field; the error is the remedy. A list takes the place of
// the default when it is the first of its layer, and is added to what was said otherwise.
Result<void> set_flag(Layer& layer, const Flag& flag, std::string_view text, const Place& place);
// What `over` says takes the place of what `under` says; of its flags that `counts` takes.
void overlay(Layer& under, const Layer& over, bool (*counts)(const Flag& flag));
// As set_flag takes it.
std::string print_flag(const Config& config, const Flag& flag);

// Of a number, as the flag's values are written; empty for a flag without bounds.
std::string print_bound(const Flag& flag, std::uint64_t bound);

}  // namespace sluice::config
