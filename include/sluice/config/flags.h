// SPDX-License-Identifier: GPL-3.0-or-later
// The command line. One table (src/config/flag_table.cc) gives each flag's name, type, bounds,
// unit, help and field; its default is what Config{} says. `--flag=value` and `--flag value`; a
// switch may stand alone; every mistake is found in one go.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "sluice/base/error.h"
#include "sluice/base/time.h"
#include "sluice/config/layer.h"

namespace sluice::config {

struct CommandLine : Layer {
  enum class Action : std::uint8_t { run, check, help, version };
  Action action = Action::run;
  std::string client_certificate;     // with `check`: only who it would be is asked
  std::string config_file;            // not read yet; empty: none
  std::vector<std::string> mistakes;  // one sentence each: flag, value, remedy
};

// `arguments` without the program's name.
CommandLine parse(std::span<const char* const> arguments);
CommandLine parse(std::span<const std::string_view> arguments);

// What --help prints: grouped, with types and defaults, at most 100 columns.
std::string help_text();

// Whose value a flag sets.
enum class Scope : std::uint8_t {
  process,  // one value for all clusters
  cluster,  // each cluster has its own, and never another's
  both,  // tuning: what is set for the process counts for clusters that have no value of their own
  each,  // the process and each cluster may have its own, and nobody takes another's
};
std::string_view to_string(Scope scope);

// A row of the table, for whoever walks all flags: bounds are empty where the type has none.
struct FlagRow {
  enum class Kind : std::uint8_t { toggle, text, list, choice, duration, count, size };
  std::string_view name;
  Scope scope;
  Kind kind;
  std::string initial;  // as Config{} says
  std::string low, high;
};
std::vector<FlagRow> flag_rows();

// Every flag with its value, one `--name=value` a line: for logs and --check. Holds no secret.
std::vector<std::string> describe(const Config& config);

// "10s", "1m30s", "500ms", "1.5h", "0": as kube-apiserver takes them.
Result<Duration> parse_duration(std::string_view text);
std::string format_duration(Duration duration);

// "65536", "64KiB", "1.5MiB", "1GiB"; KiB is 1024. "64K" and "64kB" are errors that say so.
Result<std::uint64_t> parse_size(std::string_view text);
std::string format_size(std::uint64_t bytes);

}  // namespace sluice::config
