// SPDX-License-Identifier: GPL-3.0-or-later
// One worker's pools to all backends of a cluster.
#include "sluice/backend/backend_set.h"

#include <algorithm>
#include <bit>

#include "sluice/base/check.h"
#include "sluice/base/random.h"

namespace sluice::backend {

std::string_view to_string(Health health) {
  switch (health) {
    case Health::unknown: return "unknown";
    case Health::ready: return "ready";
    case Health::slow: return "slow";
    case Health::not_ready: return "not_ready";
  }
  return "unknown";
}

Cluster::Cluster(const std::vector<Endpoint>& endpoints) {
  CHECK(!endpoints.empty() && endpoints.size() <= 64);
  for (const Endpoint& endpoint : endpoints) {
    backends.push_back(std::make_unique<BackendStatus>(endpoint));
  }
}

bool Cluster::any_usable() const {
  return std::ranges::any_of(backends, [](const auto& backend) {
    const Health health = backend->health.load(std::memory_order_relaxed);
    return health == Health::ready || health == Health::slow;
  });
}

bool Cluster::any_answers() const {
  return std::ranges::any_of(backends, [](const auto& backend) {
    return backend->answers.load(std::memory_order_relaxed);
  });
}

Result<BackendContexts> BackendTls::make_contexts() const {
  BackendContexts contexts;
  auto created = tls::ClientContext::create(plain);
  if (!created) return std::unexpected(created.error());
  contexts.plain = std::move(*created);
  if (!identity) return contexts;
  created = tls::ClientContext::create(*identity);
  if (!created) return std::unexpected(created.error());
  contexts.identity = std::move(*created);
  return contexts;
}

BackendSet::BackendSet(net::Transport& transport, Cluster& cluster, const BackendContexts& contexts,
                       const BackendSetOptions& options, std::uint64_t seed, OnEvent on_event)
    : cluster_(cluster), backends_(cluster.backends.size()) {
  Random random(seed);
  for (std::size_t i = 0; i < backends_.size(); ++i) {
    Backend& backend = backends_[i];
    for (std::size_t k = 0; k < pool_kinds; ++k) {
      const auto kind = static_cast<PoolKind>(k);
      const auto& context = vouches(kind) ? contexts.identity : contexts.plain;
      if (context == nullptr) continue;
      PoolOptions pool = options.pool;
      if (is_suspect(kind)) {
        pool.streams_per_connection_max = options.suspect_streams_per_connection;
        pool.connect_spacing = options.suspect_connect_spacing;
      }
      backend.pools[k] = std::make_unique<ConnectionPool>(
          transport, cluster.backends[i]->endpoint, kind, pool, context, random.next(),
          [on_event, i, kind](PoolEvent event, const std::string& text) {
            on_event(i, kind, event, text);
          });
    }
  }
}

std::uint64_t BackendSet::usable(PoolKind kind, std::uint64_t leaving) const {
  std::uint64_t good = 0;
  std::uint64_t alive = 0;
  std::uint64_t reachable = 0;
  std::uint64_t any = 0;
  for (std::size_t i = 0; i < backends_.size(); ++i) {
    const std::uint64_t bit = std::uint64_t{1} << i;
    const BackendStatus& status = *cluster_.backends[i];
    const ConnectionPool* pool = backends_[i].pools[static_cast<std::size_t>(kind)].get();
    if (pool == nullptr) continue;
    if (vouches(kind) && !status.trusts_identity.load(std::memory_order_relaxed)) continue;
    any |= bit;
    if (pool->unreachable()) continue;
    reachable |= bit;
    if ((leaving & bit) != 0) continue;
    const Health health = status.health.load(std::memory_order_relaxed);
    if (health == Health::not_ready) continue;
    alive |= bit;
    if (health != Health::slow) good |= bit;
  }
  if (alive != 0) return 2 * std::popcount(good) >= std::popcount(alive) ? good : alive;
  return reachable != 0 ? reachable : any;
}

std::uint64_t BackendSet::full(PoolKind kind, Stay stay) const {
  std::uint64_t full = 0;
  for (std::size_t i = 0; i < backends_.size(); ++i) {
    const ConnectionPool* pool = backends_[i].pools[static_cast<std::size_t>(kind)].get();
    if (pool != nullptr && pool->full(stay)) full |= std::uint64_t{1} << i;
  }
  return full;
}

void BackendSet::warm_up(PoolKind kind) {
  bool& warm = warm_[static_cast<std::size_t>(kind)];
  if (warm) return;
  warm = true;
  for (Backend& backend : backends_) {
    if (auto& pool = backend.pools[static_cast<std::size_t>(kind)]) pool->warm_up();
  }
}

void BackendSet::check(std::size_t backend) {
  for (auto& pool : backends_[backend].pools) {
    if (pool) pool->check([this] { return cluster_.any_answers(); });
  }
}

void BackendSet::terminate() {
  for (Backend& backend : backends_) {
    for (auto& pool : backend.pools) {
      if (pool) pool->terminate();
    }
  }
}

bool BackendSet::terminated() const {
  return std::ranges::all_of(backends_, [](const Backend& backend) {
    return std::ranges::all_of(backend.pools,
                               [](const auto& pool) { return !pool || pool->terminated(); });
  });
}

}  // namespace sluice::backend
