// SPDX-License-Identifier: GPL-3.0-or-later
// All that are passed on.
#include "pass_through.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "sluice/base/check.h"
#include "sluice/observability/log.h"

namespace sluice::server {

PassThrough::PassThrough(const PassThroughParts& parts, std::uint64_t seed)
    : parts_(parts), random_(seed) {
  CHECK(!parts.targets.empty());
  for (const auto& target : parts.targets) {
    probes_.push_back(std::make_unique<TargetProbe>(parts.transport, *target));
  }
}

PassThrough::~PassThrough() { CHECK(terminated()); }

PassedConnection& PassThrough::open(PassedClient& client, PassedFacts facts) {
  PassOwner& owner = *this;
  auto connection = std::make_unique<PassedConnection>(owner, parts_, client, std::move(facts));
  PassedConnection& opened = *connection;
  connections_.emplace(&opened, std::move(connection));
  opened.begin();
  return opened;
}

std::optional<std::size_t> PassThrough::choose(const std::vector<bool>& tried) {
  std::vector<TargetLoad> loads;
  for (std::size_t i = 0; i < parts_.targets.size(); ++i) {
    const PassTarget& target = *parts_.targets[i];
    loads.push_back({target.connections.load(std::memory_order_relaxed),
                     target.refuses.load(std::memory_order_relaxed), tried[i]});
  }
  return choose_target(loads, random_);
}

void PassThrough::unreachable(const PassedFacts& client, std::string_view why) {
  const auto times = told_unreachable_.due(parts_.transport.reactor().now());
  if (!times) return;
  log::warning(
      "a connection cannot be passed on, no target can be reached",
      {{"cluster", parts_.cluster}, {"client", client.client}, {"why", why}, {"times", *times}});
}

void PassThrough::over(PassedConnection& connection) {
  const std::size_t erased = connections_.erase(&connection);
  CHECK_EQ(erased, std::size_t{1});
}

// What is told of its end may end others of them.
std::vector<PassedConnection*> PassThrough::all() const {
  std::vector<PassedConnection*> all;
  for (const auto& [connection, owned] : connections_) all.push_back(connection);
  return all;
}

void PassThrough::end() {
  for (PassedConnection* connection : all()) {
    if (connections_.contains(connection)) connection->end();
  }
}

void PassThrough::terminate() {
  for (const auto& probe : probes_) probe->stop();
  for (PassedConnection* connection : all()) {
    if (connections_.contains(connection)) connection->terminate();
  }
}

bool PassThrough::terminated() const {
  return connections_.empty() &&
         std::ranges::all_of(probes_, [](const auto& probe) { return probe->stopped(); });
}

void PassThrough::describe(Outline& outline) const {
  for (const auto& target : parts_.targets) {
    outline.add(1, fmt::format("target {} connections={}{}", target->name,
                               target->connections.load(std::memory_order_relaxed),
                               target->refuses.load(std::memory_order_relaxed) ? " refuses" : ""));
  }
}

}  // namespace sluice::server
