// SPDX-License-Identifier: GPL-3.0-or-later
// What all threads have of one cluster.
#include "cluster.h"

#include <algorithm>
#include <utility>

#include "sluice/base/check.h"

namespace sluice::server {

Cluster::Cluster(std::shared_ptr<const ClusterSettings> settings, std::size_t workers)
    : board(std::make_shared<balance::LoadBoard>(workers, settings->options.backends.size())),
      targets(make_targets(settings->options.pass_through)),
      name_(settings->options.name) {
  ClusterVersion first;
  first.backends = backend::Cluster(settings->options.backends);
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
  next.backends = next.backends.changed_to(settings->options.backends);
  next.settings = std::move(settings);
  return take_over(std::move(next));
}

// Whoever found no slot before may have this one.
std::shared_ptr<const ClusterVersion> Cluster::free_slot(std::size_t slot) {
  ClusterVersion next = *version_;
  next.backends = next.backends.without(slot);
  next.series.at(slot) = nullptr;
  if (next.backends.serving() < next.options().backends.size()) {
    next.backends = next.backends.changed_to(next.options().backends);
  }
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
