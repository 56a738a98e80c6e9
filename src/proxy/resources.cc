// SPDX-License-Identifier: GPL-3.0-or-later
// What the clusters of one worker share.
#include "sluice/proxy/resources.h"

#include <string>
#include <unordered_map>
#include <utility>

#include "keyed_hash.h"
#include "resources_state.h"
#include "sluice/base/check.h"
#include "sluice/observability/log.h"

namespace sluice::proxy {
namespace {

// To make room walks over everything, which may cost a tenth of the time.
constexpr Duration pause_for_each = std::chrono::nanoseconds(500);

}  // namespace

std::string_view to_string(Mistake mistake) {
  switch (mistake) {
    case Mistake::exchange: return "exchange";
    case Mistake::connection: return "connection";
  }
  return "unknown";
}

ResourcesMetrics::ResourcesMetrics(metrics::Registry& registry)
    : wrong_transitions(registry.counters_by<Mistake>(
          "sluice_wrong_transitions_total",
          "Requests and connections ended by a mistake of the proxy itself.", "of")),
      shedding(registry.gauge("sluice_overloaded_workers",
                              "Workers that refuse part of their requests because they are short "
                              "of their own CPU time.")),
      body_bytes(registry.gauge("sluice_body_bytes", "Memory that holds bodies, in bytes.")),
      window_bytes(registry.gauge(
          "sluice_stream_window_lent_bytes",
          "Bytes by which streams' windows have grown: senders may be that much further ahead.")),
      connection_bytes(registry.gauge(
          "sluice_connection_held_bytes",
          "Bytes that peers make connections hold outside of requests: heads that are not "
          "complete, frames and records that nobody takes.")) {}

void Resources::State::look_at_room() {
  const ConnectionBytes connections = parts.events.connection_bytes();
  budget.set_connections(connections.held, connections.own);
  if (budget.wants_room()) [[unlikely]]
    make_room();
}

void Resources::State::make_room() {
  const Instant now = parts.reactor.now();
  if (now < next_room_) return;
  Tenant::Connections connections = parts.events.holding_connections();
  std::size_t seen = connections.size();
  for (Tenant* tenant = tenants_.empty() ? nullptr : &tenants_.front(); tenant != nullptr;
       tenant = tenants_.next(*tenant)) {
    seen += tenant->exchanges();
  }
  next_room_ = now + pause_for_each * seen;
  Tenant* chosen = largest(connections);
  if (chosen == nullptr) return;
  // Whose a connection is that has not named its cluster is nobody's knowledge: it may be anyone's.
  std::erase_if(connections, [&](const ConnectionHolding* connection) {
    return connection->proxy() != nullptr && connection->proxy() != &chosen->proxy();
  });
  chosen->make_room(connections);
}

Tenant* Resources::State::largest(const Tenant::Connections& connections) {
  if (tenants_.empty()) return nullptr;
  Tenant* chosen = &tenants_.front();
  if (tenants_.next(*chosen) == nullptr) return chosen;
  std::unordered_map<const Proxy*, std::size_t> held;
  for (const ConnectionHolding* connection : connections) {
    held[connection->proxy()] += connection->held_bytes() + connection->resting_bytes();
  }
  std::size_t most = 0;
  for (Tenant* tenant = chosen; tenant != nullptr; tenant = tenants_.next(*tenant)) {
    const auto found = held.find(&tenant->proxy());
    const std::size_t bytes = tenant->charged_bytes() + (found == held.end() ? 0 : found->second);
    if (bytes <= most) continue;
    most = bytes;
    chosen = tenant;
  }
  return chosen;
}

void Resources::State::look_at_load() {
  governor.look(parts.reactor.load());
  const bool sheds = governor.shed() > 0;
  if (sheds == std::exchange(sheds_, sheds)) return;
  if (sheds) {
    log::warning("a worker is short of CPU time: clients that use most of it are refused",
                 {{"worker", parts.worker}, {"clients", governor.clients()}});
  } else {
    log::info("a worker has CPU time for everybody again", {{"worker", parts.worker}});
  }
}

Resources::Resources(const ResourcesParts& parts, const ResourcesOptions& options)
    : state_(std::make_unique<State>(parts, options)) {}

Resources::~Resources() { CHECK(state_->unused()); }

ClientKeys Resources::keys(std::string_view address) {
  const HashKey& key = state_->parts.key;
  const std::string connection = "\n" + std::to_string(++state_->connections_named);
  return {.network = keyed_hash(key, network_of(address)).low,
          .connection = keyed_hash(key, connection).low};
}

void Resources::look_at_room() { state_->look_at_room(); }

void Resources::publish() {
  state_->look_at_load();
  const ResourcesMetrics& m = state_->parts.metrics;
  metrics::Cells& cells = state_->parts.cells;
  cells.set(m.shedding, state_->governor.shed() > 0 ? 1 : 0);
  cells.set(m.body_bytes, static_cast<std::int64_t>(state_->budget.body_bytes()));
  cells.set(m.connection_bytes,
            static_cast<std::int64_t>(state_->parts.events.connection_bytes().held));
  cells.set(m.window_bytes, static_cast<std::int64_t>(state_->budget.lent_bytes()));
}

}  // namespace sluice::proxy
