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
  ReloadPlan::Change change;
  const bool hibernates = now.options.backends.empty();
  const bool woken = before == nullptr || before->options.backends.empty();
  if (!hibernates && (woken || before->backends != now.backends)) {
    auto contexts = now.options.backend_tls.make_probe_contexts();
    if (!contexts) return std::unexpected(contexts.error());
    change.probe_contexts = std::move(*contexts);
  }
  if (before == nullptr) change.added = std::make_shared<Cluster>(*settings, workers);
  change.settings = std::move(*settings);
  return change;
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
    auto change =
        change_of(std::move(cluster), before == by_name.end() ? nullptr : before->second, workers);
    if (!change) {
      options.broken.push_back({.name = name, .file = {}, .mistakes = {change.error().context}});
    } else if (*change) {
      plan.changes.push_back(std::move(**change));
    }
  }
  for (const BrokenCluster& broken : options.broken) named.insert(broken.name);
  plan.removed = no_more_among(served, named);
  return plan;
}

}  // namespace sluice::server
