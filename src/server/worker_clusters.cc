// SPDX-License-Identifier: GPL-3.0-or-later
// What becomes of a worker's clusters: they are made for their first clients, take changes over,
// drain when they are served no more, and go when nobody uses them.
#include <algorithm>
#include <memory>
#include <utility>

#include "sluice/base/check.h"
#include "sluice/observability/log.h"
#include "worker.h"

namespace sluice::server {

void Worker::update(std::shared_ptr<const ClusterTable> table, Duration window,
                    Duration tunnel_window) {
  // Names are looked up in it until they are all replaced.
  const std::shared_ptr<const ClusterTable> before = std::exchange(table_, std::move(table));
  clusters_.resize(std::max(clusters_.size(), table_->entries.size()));
  for (std::size_t number = 0; number < clusters_.size(); ++number) {
    const ClusterTable::Entry* entry = table_->find(number);
    WorkerCluster* cluster = clusters_[number].get();
    if (cluster != nullptr && !parts_.shared.alone) cluster->served().names = &table_->names;
    if (entry == nullptr) continue;
    if (!entry->leaving) {
      compare(number);
    } else if (close_entrance(number); cluster == nullptr) {
      say_left(number);
    } else if (!cluster->drains()) {
      cluster->drain(window, tunnel_window);
      const Duration gap = goaway_gap_within(window);
      for_each_client_of(*cluster, [gap](ClientConnection& client) { client.leave(gap); });
    }
  }
}

// Nobody comes in any more by the listeners that were its alone, unless it has an heir; nor has its
// number when that is another's.
void Worker::close_entrance(std::size_t number) {
  const std::optional<std::size_t> heir = heir_of(number);
  for (const auto& entrance : entrances_) {
    if (entrance->cluster != number || entrance->listener->stopped()) continue;
    if (heir) {
      entrance->cluster = *heir;
    } else {
      entrance->listener->stop();
    }
  }
  for (const auto& [client, owned] : clients_) {
    if (client->came_in_by(number)) client->terminate();
  }
}

// Who is served by the same name.
std::optional<std::size_t> Worker::heir_of(std::size_t number) const {
  const std::string_view name = table_->entries[number].cluster->name();
  for (std::size_t other = 0; other < table_->entries.size(); ++other) {
    if (serves(other) && table_->entries[other].cluster->name() == name) return other;
  }
  return std::nullopt;
}

bool Worker::entered(std::size_t number) const {
  return std::ranges::any_of(entrances_,
                             [&](const auto& entrance) {
                               return entrance->cluster == number && !entrance->listener->stopped();
                             }) ||
         std::ranges::any_of(clients_, [&](const auto& c) { return c.first->came_in_by(number); });
}

void Worker::compare(std::size_t number) {
  const ClusterTable::Entry& entry = *table_->find(number);
  WorkerCluster* cluster = clusters_[number].get();
  if (cluster == nullptr) return let_go_of_backends(number);
  if (entry.version->revision == cluster->version().revision) return;
  if (entry.version->settings != cluster->version().settings) {
    return parts_.events.cluster_outdated(number_, number, cluster->version().settings);
  }
  // Only slots have come free, or are taken.
  cluster->renew({.version = entry.version, .serving = {}, .backends = {}});
}

void Worker::renew(std::size_t cluster, ClusterRenewal renewal) {
  WorkerCluster* served = clusters_[cluster].get();
  // It may have gone meanwhile; what is made next is made of the newest.
  if (served != nullptr && !served->drains()) {
    // It was asked for more than once, and slots have changed since.
    if (renewal.version->revision > served->version().revision) served->renew(std::move(renewal));
    compare(cluster);
  }
  parts_.events.cluster_renewed(number_);
}

// Of a cluster that is not used here.
void Worker::let_go_of_backends(std::size_t number) {
  const ClusterTable::Entry* entry = table_->find(number);
  if (entry == nullptr) return;
  const ClusterVersion& version = *entry->version;
  for (std::size_t slot = 0; slot < version.backends.backends.size(); ++slot) {
    if (version.backends.backends[slot] == nullptr || version.backends.serves(slot)) continue;
    parts_.events.backend_left(number_, {number, slot}, version.revision);
  }
}

void Worker::for_each_client_of(const WorkerCluster& cluster,
                                const std::function<void(ClientConnection&)>& what) {
  for (const auto& [client, owned] : clients_) {
    if (client->is_of(cluster.number())) what(*client);
  }
}

// As in a drain of the process, for the clients of each cluster that is served no more.
void Worker::go_on_draining_clusters() {
  for (std::size_t number = 0; number < clusters_.size(); ++number) {
    WorkerCluster* cluster = clusters_[number].get();
    if (cluster == nullptr) {
      if (to_be_left_.contains(number)) say_left(number);
      continue;
    }
    cluster->look_after_backends();
    if (!cluster->drains()) continue;
    cluster->go_on_draining();
    if (cluster->drain_over()) {
      for_each_client_of(*cluster, [&](ClientConnection& client) {
        if (!client.tunnels() || cluster->tunnels_over()) client.close_now();
      });
    }
    if (cluster->in_use() || entered(number)) continue;
    cluster->terminate();
    if (!cluster->terminated()) continue;
    let_go_of(number);
    say_left(number);
  }
}

// When nothing is left that knows its number.
void Worker::say_left(std::size_t number) {
  to_be_left_.insert(number);
  if (entered(number)) return;
  to_be_left_.erase(number);
  parts_.events.cluster_left(number_, number, table_->entries[number].cluster);
}

void Worker::let_go_of(std::size_t number) {
  clusters_[number].reset();
  parts_.events.cluster_used(number_, number, false);
  let_go_of_backends(number);
}

// With them go their contexts, pools and proofs; what they have counted stays.
void Worker::let_go_of_unused_clusters() {
  if (state_ == State::stopping || parts_.shared.alone) return;
  for (std::size_t number = 0; number < clusters_.size(); ++number) {
    auto& cluster = clusters_[number];
    if (cluster == nullptr || cluster->drains() || !cluster->unused()) continue;
    cluster->terminate();
    if (cluster->terminated()) let_go_of(number);
  }
}

}  // namespace sluice::server
