// SPDX-License-Identifier: GPL-3.0-or-later
// The difference between what is served and what should be.
#include "reload.h"

#include <algorithm>
#include <unordered_map>
#include <unordered_set>
#include <utility>

namespace sluice::server {
namespace {

using ByName = std::unordered_map<std::string_view, const ClusterSettings*>;

Result<std::optional<ReloadPlan::Change>> change_of(ClusterOptions options,
                                                    const ClusterSettings* before,
                                                    std::size_t workers) {
  auto settings = ClusterSettings::create(std::move(options));
  if (!settings) return std::unexpected(settings.error());
  const ClusterSettings& now = **settings;
  if (before != nullptr && before->same_as(now)) return std::nullopt;
  // The connections of who is passed on belong to its targets.
  if (before != nullptr && before->options.pass_through != now.options.pass_through) {
    if (now.options.name.empty()) {
      return std::unexpected(Error{ErrorKind::invalid_argument, Side::self, Retry::never,
                                   "--pass-through and --mode of a process with one cluster cannot "
                                   "be changed while it runs."});
    }
    before = nullptr;
  }
  ReloadPlan::Change change;
  const bool has_backends = now.options.has_backends();
  const bool woken = before == nullptr || !before->options.has_backends();
  if (has_backends && (woken || before->backends != now.backends)) {
    auto contexts = now.options.backend_tls.make_probe_contexts();
    if (!contexts) return std::unexpected(contexts.error());
    change.probe_contexts = std::move(*contexts);
  }
  if (before == nullptr) change.added = std::make_shared<Cluster>(*settings, workers);
  change.settings = std::move(*settings);
  return change;
}

// Sockets are opened at the start.
void keep_listeners(ClusterOptions& options, const ClusterSettings* before,
                    std::vector<std::string>& warnings) {
  std::vector<io::Address> kept;
  if (before != nullptr) kept = before->options.listen;
  if (options.listen == kept) return;
  warnings.push_back(
      "--listen of cluster " + options.name +
      " counts from the next start or take-over of the process on, not while it runs.");
  options.listen = std::move(kept);
}

std::vector<std::string> no_more_among(const ServedSettings& served,
                                       const std::unordered_set<std::string>& named) {
  std::vector<std::string> removed;
  for (const auto& settings : served) {
    if (!named.contains(settings->options.name)) removed.push_back(settings->options.name);
  }
  return removed;
}

}  // namespace

ReloadPlan plan_reload(Configuration configuration, const ServedSettings& served,
                       std::size_t workers) {
  ReloadPlan plan;
  plan.configuration = std::move(configuration);
  if (plan.configuration.unchanged || !plan.configuration.mistakes.empty()) return plan;
  ServerOptions& options = plan.configuration.options;
  ByName by_name;
  for (const auto& settings : served) by_name.emplace(settings->options.name, settings.get());
  std::unordered_set<std::string> named;
  for (ClusterOptions& cluster : std::exchange(options.clusters, {})) {
    const std::string name = cluster.name;
    named.insert(name);
    const auto before = by_name.find(name);
    keep_listeners(cluster, before == by_name.end() ? nullptr : before->second,
                   plan.configuration.warnings);
    auto change =
        change_of(std::move(cluster), before == by_name.end() ? nullptr : before->second, workers);
    if (!change) {
      options.broken.push_back({.name = name, .file = {}, .mistakes = {change.error().context}});
    } else if (*change) {
      if ((*change)->added != nullptr && before != by_name.end()) plan.removed.push_back(name);
      plan.changes.push_back(std::move(**change));
    }
  }
  for (const BrokenCluster& broken : options.broken) named.insert(broken.name);
  for (std::string& name : no_more_among(served, named)) plan.removed.push_back(std::move(name));
  return plan;
}

}  // namespace sluice::server
