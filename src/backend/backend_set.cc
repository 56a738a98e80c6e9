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
  CHECK_LE(endpoints.size(), std::size_t{64});
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

namespace {

Result<void> make(tls::ClientOptions options, const char* protocol,
                  std::shared_ptr<const tls::ClientContext>& context) {
  options.alpn = {protocol};
  auto created = tls::ClientContext::create(options);
  if (!created) return std::unexpected(created.error());
  context = std::move(*created);
  return {};
}

}  // namespace

// It asks on connections with the front-proxy certificate, if there is one.
Result<BackendContexts> BackendTls::make_probe_contexts() const {
  BackendContexts contexts;
  const auto made =
      identity ? make(*identity, "h2", contexts.identity) : make(plain, "h2", contexts.plain);
  if (!made) return std::unexpected(made.error());
  return contexts;
}

Result<BackendContexts> BackendTls::make_contexts() const {
  BackendContexts contexts;
  Result<void> made = make(plain, "h2", contexts.plain);
  if (made) made = make(plain, "http/1.1", contexts.upgrades.plain);
  if (made && identity) made = make(*identity, "h2", contexts.identity);
  if (made && identity) made = make(*identity, "http/1.1", contexts.upgrades.identity);
  if (!made) return std::unexpected(made.error());
  return contexts;
}

namespace {

UpgradeOptions upgrade_options(const BackendSetOptions& options, PoolKind kind) {
  UpgradeOptions upgrades = options.upgrades;
  if (!is_suspect(kind)) return upgrades;
  upgrades.connecting_max = 1;
  upgrades.connections_max = options.suspect_upgrades_max;
  upgrades.connect_spacing = options.suspect_connect_spacing;
  return upgrades;
}

}  // namespace

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
      if (contexts.upgrades.of(kind) == nullptr) continue;
      backend.upgrades[k] = std::make_unique<UpgradePool>(
          transport, cluster.backends[i]->endpoint, upgrade_options(options, kind),
          contexts.upgrades.of(kind),
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

void BackendSet::open(BackendStream& stream, std::size_t backend, PoolKind kind,
                      const OpenRequest& request) {
  if (!request.switches) return pool(backend, kind)->open(stream, request);
  backends_[backend].upgrades[static_cast<std::size_t>(kind)]->open(stream, request);
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
    for (auto& pool : backend.upgrades) {
      if (pool) pool->terminate();
    }
  }
}

bool BackendSet::terminated() const {
  return std::ranges::all_of(backends_, [](const Backend& backend) {
    const auto over = [](const auto& pool) { return !pool || pool->terminated(); };
    return std::ranges::all_of(backend.pools, over) && std::ranges::all_of(backend.upgrades, over);
  });
}

}  // namespace sluice::backend
