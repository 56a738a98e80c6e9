// SPDX-License-Identifier: GPL-3.0-or-later
// What all threads have of one cluster.
#include "cluster.h"

#include <algorithm>
#include <utility>

#include "sluice/base/check.h"

namespace sluice::server {
namespace {

// For people who look at pages; nothing is decided by it.
WallTime wall_now() {
  return std::chrono::floor<std::chrono::seconds>(std::chrono::system_clock::now());
}

}  // namespace

Cluster::Cluster(std::shared_ptr<const ClusterSettings> settings, std::size_t workers)
    : board(std::make_shared<balance::LoadBoard>(workers, settings->options.backends.size())),
      targets(make_targets(settings->options.pass_through)),
      name_(settings->options.name) {
  ClusterVersion first;
  sources_.update(settings->options.backends, settings->options.discovery, wall_now());
  first.backends = backend::Cluster(sources_.endpoints());
  first.settings = std::move(settings);
  take_over(std::move(first));
}

std::string Cluster::backend_name(const backend::Endpoint& backend) const {
  return name_.empty() ? backend.name : name_ + "/" + backend.name;
}

ClusterMetrics& Cluster::metrics() {
  if (ClusterMetrics* used = metrics_if_used()) return *used;
  const std::lock_guard lock(making_);
  if (metrics_ == nullptr) {
    metrics_ = std::make_unique<ClusterMetrics>(name_, targets);
    used_.store(metrics_.get(), std::memory_order_release);
  }
  return *metrics_;
}

std::shared_ptr<const ClusterVersion> Cluster::renew(
    std::shared_ptr<const ClusterSettings> settings) {
  ClusterVersion next = *version_;
  ++next.generation;
  if (settings->backends != next.settings->backends) {
    next.earlier.push_back({next.backend_tls++, next.settings});
  }
  sources_.update(settings->options.backends, settings->options.discovery, wall_now());
  next.backends = next.backends.changed_to(endpoints());
  next.settings = std::move(settings);
  return take_over(std::move(next));
}

// Whoever found no slot before may have this one.
std::shared_ptr<const ClusterVersion> Cluster::free_slot(std::size_t slot) {
  ClusterVersion next = *version_;
  next.backends = next.backends.without(slot);
  next.series.at(slot) = nullptr;
  const std::vector<backend::Endpoint> wanted = endpoints();
  if (next.backends.serving() < wanted.size()) next.backends = next.backends.changed_to(wanted);
  return take_over(std::move(next));
}

bool Cluster::has_successor() const {
  const auto& slots = version_->backends;
  for (std::size_t slot = 0; slot < slots.backends.size(); ++slot) {
    if (!slots.serves(slot)) continue;
    const backend::BackendStatus& status = *slots.backends[slot];
    const backend::Health health = status.health.load(std::memory_order_relaxed);
    const bool named =
        std::ranges::find(sources_.endpoints(), status.endpoint) != sources_.endpoints().end();
    if (named && (health == backend::Health::ready || health == backend::Health::slow)) return true;
  }
  return false;
}

// Those that sources name, and before them, as long as it has to be, those that were there.
std::vector<backend::Endpoint> Cluster::endpoints() {
  std::vector<backend::Endpoint> wanted = sources_.endpoints();
  const bool parts = std::exchange(parts_, false);
  keeps_former_ = false;
  if (wanted.empty() || parts || has_successor()) return wanted;
  // Newcomers without a slot could not show that they are there.
  constexpr std::size_t slots_max = balance::backends_max;
  const std::size_t all = wanted.size() + std::max(slots_max - wanted.size(), slots_max / 2);
  const auto& slots = version_->backends;
  for (std::size_t slot = 0; slot < slots.backends.size() && wanted.size() < all; ++slot) {
    if (!slots.serves(slot)) continue;
    const backend::Endpoint& former = slots.backends[slot]->endpoint;
    if (std::ranges::find(wanted, former) != wanted.end()) continue;
    wanted.push_back(former);
    keeps_former_ = true;
  }
  return wanted;
}

std::shared_ptr<const ClusterVersion> Cluster::follow_sources() {
  ClusterVersion next = *version_;
  next.backends = next.backends.changed_to(endpoints());
  return take_over(std::move(next));
}

std::shared_ptr<const ClusterVersion> Cluster::forget_keys() {
  ClusterVersion next = *version_;
  next.settings = next.settings->without_keys();
  next.earlier.clear();  // every worker has its contexts
  return take_over(std::move(next));
}

std::shared_ptr<const ClusterVersion> Cluster::take_over(ClusterVersion version) {
  const auto& slots = version.backends.backends;
  board->grow(slots.size());
  version.series.resize(slots.size());
  for (std::size_t slot = 0; slot < slots.size(); ++slot) {
    if (slots[slot] == nullptr || version.series[slot] != nullptr) continue;
    slots[slot]->adopted.store(version.backend_tls, std::memory_order_relaxed);
    version.series[slot] = std::make_shared<BackendSeries>(name_, slots[slot], board, slot);
  }
  std::erase_if(version.earlier, [&](const ClusterVersion::Earlier& earlier) {
    return std::ranges::none_of(slots, [&](const auto& backend) {
      return backend != nullptr &&
             backend->adopted.load(std::memory_order_relaxed) == earlier.backend_tls;
    });
  });
  if (version_ != nullptr) version.revision = version_->revision + 1;
  version_ = std::make_shared<const ClusterVersion>(std::move(version));
  return version_;
}

}  // namespace sluice::server
