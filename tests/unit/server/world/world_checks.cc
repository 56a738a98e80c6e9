// SPDX-License-Identifier: GPL-3.0-or-later
// What must be true of every world when it is over.
#include <fmt/format.h>

#include <optional>

#include "world.h"

namespace sluice::server {

std::string World::faults() {
  for (const Ask& ask : asks_) check(ask);
  check_nothing_is_left();
  return faults_.empty() ? "" : fmt::format("seed {}:\n{}", seed_, faults_);
}

void World::wrong(const Ask& ask, std::string_view what) {
  fault(fmt::format("{}: {}", what, ask.describe()));
}

void World::check(const Ask& ask) {
  using Outcome = Ask::Outcome;
  if (ask.outcomes != 1) wrong(ask, "not one outcome");
  if (ask.heads > 1) wrong(ask, "two answers");
  if (ask.another_answer) wrong(ask, "another's answer");
  if (ask.wrong_bytes) wrong(ask, "wrong bytes");
  // The proxy's own stop ends tunnels in order.
  const bool may_be_short =
      ask.kind == Ask::Kind::watch || (ask.kind == Ask::Kind::tunnel && plan_.stops_early);
  if (ask.outcome == Outcome::answered) {
    if (ask.heads == 0) wrong(ask, "an end without an answer");
    if (ask.from_backend && !may_be_short && ask.received != ask.answer_bytes) {
      wrong(ask, "an answer that is not whole");
    }
    if (!ask.from_backend && ask.status < 400 && ask.expired == 0) wrong(ask, "nobody's answer");
  }
  if (ask.kind == Ask::Kind::write && ask.executed > 0) {
    if (ask.outcome == Outcome::refused) wrong(ask, "refused, and done");
    if (ask.heads > 0 && ask.retry_after) wrong(ask, "to be done again, and done");
  }
  if (ask.kind == Ask::Kind::write && ask.from_backend && ask.executed == 0) wrong(ask, "not done");
  if (ask.kind == Ask::Kind::tunnel) check_tunnel(ask);
  if (!plan_.clients_fail && !plan_.stops_early && ask.outcome != Outcome::cancelled) {
    check_undisturbed(ask);
  }
}

// What of its body was not kept is gone when its server refuses it.
bool World::too_large_to_move(const Ask& ask) const {
  return ask.kind == Ask::Kind::write && ask.request_bytes > plan_.replay_body_bytes &&
         ask.refusals == 1 && ask.executed == 0;
}

// Of clients whom nobody disturbs; what happens to backends may reach them. A roll does not: there
// is always another server.
void World::check_undisturbed(const Ask& ask) {
  const bool tunnel = ask.kind == Ask::Kind::tunnel;
  if (tunnel && ask.backend_cuts && ask.status == 101) return;
  // One whose backend is gone may be reset.
  if (ask.outcome == Ask::Outcome::lost && !(tunnel && tunnels_may_break())) {
    wrong(ask, "a connection that nobody broke was lost");
  }
  if (plan_.backends_fail || (tunnel && plan_.rolls)) return;
  if (ask.refusals > 1) wrong(ask, "moved to a server that ends, too");
  if (ask.outcome != Ask::Outcome::answered)
    return wrong(ask, "not served, and nothing had failed");
  // Servers that come back have no history: a watch goes on elsewhere, or its client is told.
  if (ask.expired > 0 || too_large_to_move(ask)) return;
  const bool right = tunnel ? ask.status == 101 || ask.status == 403 : ask.status == 200;
  if (!right || !ask.from_backend) wrong(ask, "not served, and nothing had failed");
  if (ask.executed != 1) wrong(ask, "not done once");
}

void World::check_nothing_is_left() {
  Shared& shared = server_->shared();
  for (std::size_t i = 0; i < workers; ++i) {
    if (server_->control().workers_gone()) server_->worker(i).publish();
  }
  Cluster& cluster = shared.cluster(0);
  for (std::size_t i = 0; i < backends; ++i) {
    const balance::Load load = cluster.board->total(i);
    if (load.work != 0 || load.watches != 0) fault("a backend still has load");
  }
  const metrics::Registry& registry = shared.registry;
  const metrics::Registry& its = cluster.metrics().registry;
  const proxy::ProxyMetrics& requests = cluster.metrics().proxy;
  const auto none = [&](std::string_view what, auto value) {
    if (value != 0) fault(fmt::format("{} {} are left", value, what));
  };
  none("connections", shared.admission.connections.load());
  none("exchanges", its.total(requests.exchanges));
  none("body bytes", registry.total(shared.resources_metrics.body_bytes));
  none("lent window bytes", registry.total(shared.resources_metrics.window_bytes));
  none("stalled streams", its.total(requests.stalled));
  none("tunnels", its.total(requests.tunnels));
  for (const auto protocol : {std::optional<Protocol>{}, std::optional{Protocol::h2},
                              std::optional{Protocol::http1}, std::optional{Protocol::tunnel}}) {
    none("client connections", registry.total(shared.client_metrics.connections(protocol)));
  }
  for (const auto mistake : {proxy::Mistake::exchange, proxy::Mistake::connection}) {
    none("wrong transitions",
         registry.total(shared.resources_metrics.wrong_transitions.at(mistake)));
  }
}

}  // namespace sluice::server
