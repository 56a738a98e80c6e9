// SPDX-License-Identifier: GPL-3.0-or-later
// One worker's pools to all backends of a cluster.
#include "sluice/backend/backend_set.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "sluice/balance/picker.h"
#include "sluice/base/check.h"

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
  CHECK_LE(endpoints.size(), balance::backends_max);
  for (const Endpoint& endpoint : endpoints) {
    backends.push_back(std::make_shared<BackendStatus>(endpoint));
  }
}

Cluster Cluster::changed_to(const std::vector<Endpoint>& endpoints) const {
  Cluster changed = *this;
  const auto slot_of = [&](const Endpoint& endpoint) {
    return std::ranges::find_if(changed.backends, [&](const auto& backend) {
      return backend != nullptr && backend->endpoint == endpoint;
    });
  };
  for (const auto& backend : changed.backends) {
    if (backend == nullptr) continue;
    backend->leaving.store(std::ranges::find(endpoints, backend->endpoint) == endpoints.end(),
                           std::memory_order_relaxed);
  }
  for (const Endpoint& endpoint : endpoints) {
    if (slot_of(endpoint) != changed.backends.end()) continue;
    const auto free = std::ranges::find(changed.backends, nullptr);
    // The first of a cluster that had none are asked by whoever waits for them.
    auto added = std::make_shared<BackendStatus>(endpoint, true);
    if (free != changed.backends.end()) {
      *free = std::move(added);
    } else if (changed.backends.size() < balance::backends_max) {
      changed.backends.push_back(std::move(added));
    }
  }
  return changed;
}

Cluster Cluster::without(std::size_t slot) const {
  CHECK_LT(slot, backends.size());
  Cluster changed = *this;
  changed.backends[slot] = nullptr;
  return changed;
}

std::size_t Cluster::serving() const {
  std::size_t count = 0;
  for (std::size_t slot = 0; slot < backends.size(); ++slot) {
    if (serves(slot)) ++count;
  }
  return count;
}

bool Cluster::any_usable() const {
  for (std::size_t slot = 0; slot < backends.size(); ++slot) {
    if (!serves(slot)) continue;
    const Health health = backends[slot]->health.load(std::memory_order_relaxed);
    if (health == Health::ready || health == Health::slow) return true;
  }
  return false;
}

bool Cluster::any_answers() const {
  for (std::size_t slot = 0; slot < backends.size(); ++slot) {
    if (serves(slot) && backends[slot]->answers.load(std::memory_order_relaxed)) return true;
  }
  return false;
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

PoolOptions BackendSet::pool_options(PoolKind kind) const {
  PoolOptions pool = options_.pool;
  if (is_suspect(kind)) {
    pool.streams_per_connection_max = options_.suspect_streams_per_connection;
    pool.connect_spacing = options_.suspect_connect_spacing;
  }
  return pool;
}

UpgradeOptions BackendSet::upgrade_options(PoolKind kind) const {
  UpgradeOptions upgrades = options_.upgrades;
  if (!is_suspect(kind)) return upgrades;
  upgrades.connecting_max = 1;
  upgrades.connections_max = options_.suspect_upgrades_max;
  upgrades.connect_spacing = options_.suspect_connect_spacing;
  return upgrades;
}

BackendSet::BackendSet(net::Transport& transport, Cluster cluster, BackendContexts contexts,
                       const BackendSetOptions& options, std::uint64_t seed, OnEvent on_event,
                       std::vector<BackendContexts> earlier)
    : transport_(transport),
      cluster_(std::move(cluster)),
      contexts_(std::move(contexts)),
      earlier_(std::move(earlier)),
      options_(options),
      random_(seed),
      on_event_(std::move(on_event)) {
  update(std::move(cluster_), std::move(contexts_), options);
  earlier_.clear();
}

// What serves goes on to serve until the newest has passed there.
const BackendContexts& BackendSet::contexts_for(std::size_t backend) const {
  const std::uint64_t adopted = cluster_.backends[backend]->adopted.load(std::memory_order_relaxed);
  const Backend& known = backends_[backend];
  if (adopted >= contexts_.generation) return contexts_;
  const bool serves =
      std::ranges::any_of(known.pools, [](const auto& pool) { return pool != nullptr; });
  if (serves) return known.contexts;
  const auto found = std::ranges::find(earlier_, adopted, &BackendContexts::generation);
  return found == earlier_.end() ? contexts_ : *found;
}

void BackendSet::look_after() {
  for (std::size_t i = 0; i < backends_.size(); ++i) {
    if (cluster_.backends[i] == nullptr) continue;
    adopt(i);
    retry(i);
  }
}

void BackendSet::adopt(std::size_t backend) {
  if (backends_[backend].contexts.generation == contexts_.generation) return;
  if (cluster_.backends[backend]->adopted.load(std::memory_order_relaxed) >= contexts_.generation) {
    update(backend);
  }
}

// Who waits to connect again has waited long by the time that the probe is answered.
void BackendSet::retry(std::size_t backend) {
  const bool answers = cluster_.backends[backend]->answers.load(std::memory_order_relaxed);
  if (std::exchange(backends_[backend].answered, answers) || !answers) return;
  for (const auto& pool : backends_[backend].pools) {
    if (pool != nullptr) pool->retry();
  }
}

void BackendSet::update(Cluster cluster, BackendContexts contexts,
                        const BackendSetOptions& options) {
  CHECK_GE(cluster.backends.size(), backends_.size());  // slots are never taken away
  cluster_ = std::move(cluster);
  contexts_ = std::move(contexts);
  options_ = options;
  backends_.resize(cluster_.backends.size());
  for (std::size_t i = 0; i < backends_.size(); ++i) update(i);
  reap();
}

void BackendSet::update(std::size_t backend) {
  Backend& updated = backends_[backend];
  if (cluster_.backends[backend] == nullptr) {
    // Only then its slot is free.
    for (const auto& pool : updated.pools) CHECK(pool == nullptr);
    updated.contexts = {};
    return;
  }
  updated.contexts = BackendContexts(contexts_for(backend));
  for (std::size_t k = 0; k < pool_kinds; ++k) {
    const auto kind = static_cast<PoolKind>(k);
    const auto& context = vouches(kind) ? updated.contexts.identity : updated.contexts.plain;
    if (context == nullptr) {
      end_pools(backend, kind);
    } else if (const auto& pool = updated.pools[k]) {
      pool->update(pool_options(kind), context);
      if (const auto& upgrades = updated.upgrades[k]) {
        upgrades->update(upgrade_options(kind), updated.contexts.upgrades.of(kind));
      }
    } else if (cluster_.serves(backend)) {
      make_pools(backend, kind);
    }
  }
}

void BackendSet::make_pools(std::size_t backend, PoolKind kind) {
  const auto k = static_cast<std::size_t>(kind);
  const auto tell = [this, backend, kind](PoolEvent event, const std::string& text) {
    on_event_(backend, kind, event, text);
  };
  Backend& made = backends_[backend];
  made.pools[k] =
      std::make_unique<ConnectionPool>(transport_, endpoint(backend), kind, pool_options(kind),
                                       vouches(kind) ? made.contexts.identity : made.contexts.plain,
                                       random_.next(), tell, cluster_.backends[backend]->pace);
  if (const auto& context = made.contexts.upgrades.of(kind)) {
    made.upgrades[k] = std::make_unique<UpgradePool>(transport_, endpoint(backend),
                                                     upgrade_options(kind), context, tell);
  }
  if (warm_[k]) made.pools[k]->warm_up();
}

// What was under way there is lost.
void BackendSet::end_pools(std::size_t backend, PoolKind kind) {
  const auto k = static_cast<std::size_t>(kind);
  if (auto& pool = backends_[backend].pools[k]) {
    pool->terminate();
    ending_.push_back(std::move(pool));
  }
  if (auto& upgrades = backends_[backend].upgrades[k]) {
    upgrades->terminate();
    ending_upgrades_.push_back(std::move(upgrades));
  }
}

void BackendSet::reap() {
  std::erase_if(ending_, [](const auto& pool) { return pool->terminated(); });
  std::erase_if(ending_upgrades_, [](const auto& pool) { return pool->terminated(); });
}

bool BackendSet::leave(std::size_t backend) {
  reap();
  bool unused = true;
  for (std::size_t k = 0; k < pool_kinds; ++k) {
    const auto& pool = backends_[backend].pools[k];
    if (pool != nullptr && !pool->leave()) unused = false;
    const auto& upgrades = backends_[backend].upgrades[k];
    if (upgrades != nullptr && !upgrades->unused()) unused = false;
  }
  if (!unused) return false;
  for (std::size_t k = 0; k < pool_kinds; ++k) end_pools(backend, static_cast<PoolKind>(k));
  return true;
}

// Neither probes are answered nor can anybody connect: a pool that has not tried yet, or hardly,
// since all share one pace, need not learn it for itself.
bool BackendSet::is_down(const BackendStatus& status, const ConnectionPool& pool) {
  return !status.answers.load(std::memory_order_relaxed) && status.pace->failures() > 1 &&
         pool.ready_connections() == 0;
}

std::uint64_t BackendSet::usable(PoolKind kind, std::uint64_t leaving) const {
  std::uint64_t good = 0;
  std::uint64_t alive = 0;
  std::uint64_t reachable = 0;
  std::uint64_t any = 0;
  for (std::size_t i = 0; i < backends_.size(); ++i) {
    const std::uint64_t bit = std::uint64_t{1} << i;
    const ConnectionPool* pool = backends_[i].pools[static_cast<std::size_t>(kind)].get();
    if (pool == nullptr || !cluster_.serves(i)) continue;
    const BackendStatus& status = *cluster_.backends[i];
    if (vouches(kind) && !status.trusts_identity.load(std::memory_order_relaxed)) continue;
    const Health health = status.health.load(std::memory_order_relaxed);
    if (health == Health::not_ready && is_down(status, *pool)) continue;
    if (!pool->hopeless()) any |= bit;
    if (pool->unreachable()) continue;
    reachable |= bit;
    if ((leaving & bit) != 0) continue;
    if (health == Health::not_ready) continue;
    if (health == Health::unknown && status.newcomer) continue;
    alive |= bit;
    if (health != Health::slow) good |= bit;
  }
  if (alive != 0) return 2 * std::popcount(good) >= std::popcount(alive) ? good : alive;
  return reachable != 0 ? reachable : any;
}

std::uint64_t BackendSet::younger_than(Duration age, Instant now) const {
  if (age == Duration::zero()) return 0;
  std::uint64_t young = 0;
  for (std::size_t i = 0; i < backends_.size(); ++i) {
    if (cluster_.backends[i] != nullptr && started(i) > now - age) young |= std::uint64_t{1} << i;
  }
  return young;
}

std::uint64_t BackendSet::with_more_history(std::size_t backend, std::uint64_t among, Duration age,
                                            Instant now) const {
  among &= ~(std::uint64_t{1} << backend);
  if (const std::uint64_t old = among & ~younger_than(age, now)) return old;
  Instant oldest = started(backend);
  std::uint64_t found = 0;
  for (std::size_t i = 0; i < backends_.size(); ++i) {
    const std::uint64_t bit = std::uint64_t{1} << i;
    if ((among & bit) == 0 || started(i) >= oldest) continue;
    oldest = started(i);
    found = bit;
  }
  return found;
}

template <class F>
void BackendSet::for_each_version(std::uint64_t among, F&& what) const {
  for (std::size_t slot = 0; slot < backends_.size(); ++slot) {
    if ((among >> slot & 1) == 0 || cluster_.backends[slot] == nullptr) continue;
    what(slot, cluster_.backends[slot]->version.load(std::memory_order_relaxed));
  }
}

std::uint64_t BackendSet::of_lowest_version(std::uint64_t among) const {
  std::uint32_t lowest = 0;
  std::uint64_t have_it = 0;
  std::uint64_t all = 0;
  for_each_version(among, [&](std::size_t slot, std::uint32_t version) {
    const std::uint64_t bit = std::uint64_t{1} << slot;
    all |= bit;
    if (version == 0) return;
    if (lowest == 0 || version < lowest) {
      lowest = version;
      have_it = 0;
    }
    if (version == lowest) have_it |= bit;
  });
  return have_it == all ? 0 : have_it;
}

std::uint64_t BackendSet::of_other_version(std::size_t backend, std::uint64_t among) const {
  std::uint32_t its = 0;
  for_each_version(std::uint64_t{1} << backend,
                   [&](std::size_t, std::uint32_t version) { its = version; });
  std::uint64_t others = 0;
  if (its == 0) return others;
  for_each_version(among, [&](std::size_t slot, std::uint32_t version) {
    if (version != 0 && version != its) others |= std::uint64_t{1} << slot;
  });
  return others;
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
  for (std::size_t i = 0; i < backends_.size(); ++i) {
    const auto& pool = backends_[i].pools[static_cast<std::size_t>(kind)];
    if (pool != nullptr && cluster_.serves(i)) pool->warm_up();
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
  for (const auto& pool : ending_) pool->terminate();
  for (const auto& pool : ending_upgrades_) pool->terminate();
}

bool BackendSet::terminated() const {
  const auto over = [](const auto& pool) { return !pool || pool->terminated(); };
  if (!std::ranges::all_of(ending_, over) || !std::ranges::all_of(ending_upgrades_, over)) {
    return false;
  }
  return std::ranges::all_of(backends_, [&](const Backend& backend) {
    return std::ranges::all_of(backend.pools, over) && std::ranges::all_of(backend.upgrades, over);
  });
}

}  // namespace sluice::backend
