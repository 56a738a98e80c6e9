// SPDX-License-Identifier: GPL-3.0-or-later
// Somebody whom workers tell everything, and who does nothing about it: for tests of what a worker
// does itself. A test overrides what it wants to hear.
#pragma once

#include <memory>

#include "worker_cluster.h"

namespace sluice::server {

class DeafEvents : public WorkerEvents {
 public:
  void cluster_used(std::size_t, std::size_t, bool) override {}
  void probe_soon(BackendId) override {}
  void backend_silent(BackendId) override {}
  void identity_refused(BackendId) override {}
  void token_changed(std::size_t, std::size_t, const proxy::TokenChange&) override {}
  void client_wrote(std::size_t, std::size_t, const proxy::OwnWrite&) override {}
  void cluster_outdated(std::size_t, std::size_t, std::shared_ptr<const ClusterSettings>) override {
  }
  void cluster_renewed(std::size_t) override {}
  void cluster_left(std::size_t, std::size_t, std::shared_ptr<const Cluster>) override {}
  void backend_left(std::size_t, BackendId, std::uint64_t) override {}
};

}  // namespace sluice::server
