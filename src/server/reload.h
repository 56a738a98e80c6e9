// SPDX-License-Identifier: GPL-3.0-or-later
// From a configuration that was read to what has to be done: which clusters are new, others than
// before, or gone, and all that can be made before anybody is told. Apart from the thread on which
// it runs, it knows none: what it is given is constant, what it returns is its caller's.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cluster.h"
#include "sluice/backend/backend_set.h"
#include "sluice/server/configuration.h"

namespace sluice::server {

struct ReloadPlan {
  // Of a cluster that is served and has changed, or of one that is new.
  struct Change {
    std::shared_ptr<const ClusterSettings> settings;
    std::shared_ptr<Cluster> added;  // null: it is served already
    // For its probes, where they need other ones than they have.
    std::optional<backend::BackendContexts> probe_contexts;
  };
  Configuration configuration;  // without its clusters
  std::vector<Change> changes;
  // Served so far. One may be among those that are added, too: other targets, or none, take another
  // cluster of the same name.
  std::vector<std::string> removed;
};

using ServedSettings = std::vector<std::shared_ptr<const ClusterSettings>>;

// Where something cannot be made after all, the cluster counts as broken.
ReloadPlan plan_reload(Configuration configuration, const ServedSettings& served,
                       std::size_t workers);

}  // namespace sluice::server
