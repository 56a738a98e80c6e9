// SPDX-License-Identifier: GPL-3.0-or-later
// Puts layers over each other.
#include "sluice/config/load.h"

#include <fmt/format.h>

#include <iterator>
#include <utility>

#include "flag.h"
#include "sluice/base/quote.h"
#include "sluice/config/configuration_file.h"

namespace sluice::config {

namespace {

bool every(const Flag&) { return true; }

void append(std::vector<std::string>& all, std::vector<std::string> more) {
  std::ranges::move(more, std::back_inserter(all));
}

// What --config names.
ConfigurationFile read_process_file(const std::string& path, const Environment& environment) {
  const auto text = environment.read_file(path);
  if (text) return read_configuration(*text, path, FileOf::process);
  return {{},
          {fmt::format("--config={} cannot be read ({}): write a file that this user may read.",
                       quote(path), text.error().context)}};
}

}  // namespace

Loaded load(const CommandLine& line, const Environment& environment) {
  Layer process;
  std::vector<std::string> mistakes = line.mistakes;
  if (!line.config_file.empty()) {
    ConfigurationFile file = read_process_file(line.config_file, environment);
    process = std::move(file.layer);
    append(mistakes, std::move(file.mistakes));
  }
  overlay(process, line, every);
  Loaded loaded = load(process);
  loaded.mistakes = std::move(mistakes);
  return loaded;
}

Loaded load(const Layer& flags) { return {flags, {{"", "", flags}}, {}}; }

}  // namespace sluice::config
