// SPDX-License-Identifier: GPL-3.0-or-later
// Files to a configuration, once and again.
#include "reader.h"

#include <algorithm>
#include <iterator>
#include <thread>
#include <utility>

#include "compose.h"
#include "sluice/config/changes.h"
#include "sluice/config/environment.h"
#include "sluice/config/load.h"

namespace sluice {
namespace {

using namespace std::chrono_literals;

// For so long a certificate and a key may be between two pairs.
constexpr auto unfit_max = 60s;
// At the start nobody serves meanwhile.
constexpr auto unfit_max_at_start = 10s;
constexpr auto start_look_interval = 200ms;
// Generations that go while they are read.
constexpr int readings_max = 3;

std::vector<config::HeldCluster> held_clusters(const std::vector<server::HeldNames>& held) {
  std::vector<config::HeldCluster> clusters;
  for (const server::HeldNames& each : held) {
    clusters.push_back(
        {each.cluster, each.server_names, each.others != server::OtherClients::none, each.listen});
  }
  return clusters;
}

void append(std::vector<std::string>& all, std::vector<std::string> more) {
  std::ranges::move(more, std::back_inserter(all));
}

}  // namespace

config::Validation Reader::read_files(const std::vector<config::HeldCluster>& held) {
  config::Validation valid;
  for (int i = 0; i < readings_max; ++i) {
    files_ = std::make_unique<config::ReadFiles>(config::system_environment());
    const config::Environment environment = files_->environment();
    const config::Loaded loaded = config::load(line_, environment);
    valid = config::validate(loaded, environment, held);
    now_ = loaded.process.config;
    if (!files_->torn()) break;
  }
  note_unfit(valid);
  return valid;
}

void Reader::note_unfit(config::Validation& valid) {
  std::map<std::string, Clock::time_point> before = std::exchange(unfit_since_, {});
  only_unfit_ = waits_ = false;
  for (config::CheckedCluster& cluster : valid.clusters) {
    // What is wrong with the only cluster is wrong with the process.
    const bool alone = cluster.file.empty();
    const std::size_t mistakes = alone ? valid.mistakes.size() : cluster.mistakes.size();
    if (cluster.unfit_pairs == 0 || mistakes != cluster.unfit_pairs) continue;
    const auto known = before.find(cluster.name);
    const auto since = known == before.end() ? Clock::now() : known->second;
    unfit_since_.emplace(cluster.name, since);
    cluster.waits = now_.watch_files && Clock::now() - since < unfit_max;
    waits_ = waits_ || cluster.waits;
    only_unfit_ = alone && cluster.waits;
  }
}

// From then on it is a mistake like any other.
bool Reader::waited_too_long() const {
  return waits_ && std::ranges::any_of(unfit_since_, [](const auto& unfit) {
           return Clock::now() - unfit.second >= unfit_max;
         });
}

config::Validation Reader::start(bool taking_over) {
  const auto until = Clock::now() + unfit_max_at_start;
  config::Validation valid = read_files({});
  const auto waits = [&] { return only_unfit_ || (taking_over && waits_); };
  while (line_.action == config::CommandLine::Action::run && waits() && Clock::now() < until) {
    std::this_thread::sleep_for(start_look_interval);
    valid = read_files({});
  }
  started_ = now_;
  return valid;
}

server::Configuration Reader::read(const server::ReadRequest& request) {
  server::Configuration configuration;
  if (request.only_if_changed && files_->unchanged() && !waited_too_long()) {
    configuration.unchanged = true;
    configuration.waits = waits_;
    configuration.folders = files_->folders();
    return configuration;
  }
  config::Validation valid = read_files(held_clusters(request.held));
  configuration.folders = files_->folders();
  configuration.waits = waits_;
  // Nothing but the only pair is wrong, and that may pass.
  configuration.unchanged = only_unfit_;
  if (configuration.unchanged) {
    configuration.warnings = std::move(valid.mistakes);
    return configuration;
  }
  configuration.mistakes = valid.mistakes;
  if (now_.clusters.empty() != started_.clusters.empty()) {
    configuration.mistakes.push_back(
        "--clusters cannot be added or left out while the process runs: restart it.");
  }
  // A mount that is gone, or files that are just replaced: it is not that nobody is to be served.
  if (!now_.clusters.empty() && valid.mistakes.empty() && valid.clusters.empty() &&
      !request.held.empty()) {
    configuration.mistakes.push_back(
        "--clusters has no file any more: what is served stays. Take files away one after the "
        "other, "
        "or stop the process.");
  }
  configuration.warnings = std::move(valid.warnings);
  append(configuration.warnings, valid.conflicts);
  append(configuration.warnings, config::fixed_changes(started_, now_));
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

}  // namespace sluice
