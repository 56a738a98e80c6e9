// SPDX-License-Identifier: GPL-3.0-or-later
// Files to a configuration, again.
#include "reader.h"

#include <iterator>
#include <utility>
#include <vector>

#include "compose.h"
#include "sluice/config/changes.h"
#include "sluice/config/environment.h"
#include "sluice/config/load.h"
#include "sluice/config/validate.h"

namespace sluice {
namespace {

std::vector<config::HeldCluster> held_clusters(const std::vector<server::HeldNames>& held) {
  std::vector<config::HeldCluster> clusters;
  for (const server::HeldNames& each : held) {
    clusters.push_back(
        {each.cluster, each.server_names, each.others != server::OtherClients::none});
  }
  return clusters;
}

void append(std::vector<std::string>& all, std::vector<std::string> more) {
  std::ranges::move(more, std::back_inserter(all));
}

server::Configuration read(const config::CommandLine& line, const config::Config& started,
                           const std::vector<server::HeldNames>& held) {
  const config::Environment environment = config::system_environment();
  const config::Loaded loaded = config::load(line, environment);
  config::Validation valid = config::validate(loaded, environment, held_clusters(held));
  server::Configuration configuration;
  const config::Config& now = loaded.process.config;
  configuration.mistakes = valid.mistakes;
  if (now.clusters.empty() != started.clusters.empty()) {
    configuration.mistakes.push_back(
        "--clusters cannot be added or left out while the process runs: restart it.");
  }
  configuration.warnings = std::move(valid.warnings);
  append(configuration.warnings, valid.conflicts);
  append(configuration.warnings, config::fixed_changes(started, now));
  configuration.notes = std::move(valid.notes);
  for (config::CheckedCluster& cluster : valid.clusters) {
    append(configuration.warnings, std::move(cluster.warnings));
    append(configuration.notes, std::move(cluster.notes));
  }
  if (!configuration.mistakes.empty()) return configuration;
  Composed composed = compose(valid, {});
  configuration.log_level = composed.log.level;
  configuration.options = std::move(composed.server);
  return configuration;
}

}  // namespace

server::ReadConfiguration make_reader(config::CommandLine line, config::Config started) {
  return [line = std::move(line), started = std::move(started)](
             const std::vector<server::HeldNames>& held) { return read(line, started, held); };
}

}  // namespace sluice
