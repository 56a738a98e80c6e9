// SPDX-License-Identifier: GPL-3.0-or-later
// Each name is asked for once, whoever has it.
#include "name_check.h"

#include <fmt/format.h>

#include <future>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <variant>

#include "sluice/discovery/resolver.h"

namespace sluice {
namespace {

std::set<std::string> names_of(const config::CheckedCluster& cluster) {
  std::set<std::string> names;
  for (const discovery::Target& target : cluster.backend_names) names.insert(target.host);
  if (!cluster.backend_file) return names;
  for (const discovery::Place& place : cluster.backend_file->places) {
    if (const auto* target = std::get_if<discovery::Target>(&place)) names.insert(target->host);
  }
  return names;
}

}  // namespace

void warn_of_unresolved_names(config::Validation& valid) {
  std::map<std::string, std::future<discovery::NameAnswer>> answers;
  discovery::Resolver resolver;
  for (const config::CheckedCluster& cluster : valid.clusters) {
    for (const std::string& name : names_of(cluster)) {
      if (answers.contains(name)) continue;
      std::promise<discovery::NameAnswer> promise;
      answers.emplace(name, promise.get_future());
      resolver.ask({.name = name, .servers = valid.dns_servers},
                   [promise = std::move(promise)](discovery::NameAnswer answer) mutable {
                     promise.set_value(std::move(answer));
                   });
    }
  }
  std::map<std::string, std::string> failures;
  for (auto& [name, answer] : answers) {
    discovery::NameState state;
    const discovery::NameAnswer got = answer.get();
    state.take(got, {});
    if (state.addresses().empty()) failures.emplace(name, state.error());
  }
  for (config::CheckedCluster& cluster : valid.clusters) {
    for (const std::string& name : names_of(cluster)) {
      const auto failed = failures.find(name);
      if (failed == failures.end()) continue;
      config::Findings& findings =
          cluster.file.empty() ? static_cast<config::Findings&>(valid) : cluster;
      findings.warnings.push_back(
          fmt::format("{}{} has no address now ({}): until it has, it stands for no API server.",
                      cluster.file.empty() ? "" : cluster.file + ": ", name, failed->second));
    }
  }
}

}  // namespace sluice
