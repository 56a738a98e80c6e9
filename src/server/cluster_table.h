// SPDX-License-Identifier: GPL-3.0-or-later
// Which clusters are served, by number, and whose a client is: made by the control thread after
// each change, and handed to every worker as one. A number is a cluster's until no thread has
// anything of it any more, and may then be another's.
//
// Constant, so any thread may hold one.
#pragma once

#include <memory>
#include <vector>

#include "cluster.h"
#include "cluster_names.h"

namespace sluice::server {

struct ClusterTable {
  struct Entry {
    std::shared_ptr<Cluster> cluster;  // null: the number is free
    std::shared_ptr<const ClusterVersion> version;
    bool leaving = false;  // it is served no more: its clients are told to go
  };
  std::vector<Entry> entries;  // by number
  ClusterNames names;          // of those that are served

  // Null: the number is free.
  const Entry* find(std::size_t number) const {
    return number < entries.size() && entries[number].cluster != nullptr ? &entries[number]
                                                                         : nullptr;
  }
};

}  // namespace sluice::server
