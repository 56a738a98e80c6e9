// SPDX-License-Identifier: GPL-3.0-or-later
// The control thread's side of the clusters' backends: who asks them how they are, and which
// workers wait for that or are told of it; and how much of the work each should get, by what all
// workers have seen of it.
//
// Thread: the control thread's reactor's.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "environment.h"
#include "shared.h"
#include "sluice/backend/health_probe.h"
#include "sluice/balance/shares.h"
#include "sluice/io/reactor.h"
#include "sluice/net/transport.h"
#include "worker_port.h"

namespace sluice::server {

// Claims that a probe makes; it keeps what it names fields by, and nothing else of the settings.
backend::ClaimIdentity claim_by(const ClusterSettings& settings);

class Probes {
 public:
  // All outlive the object.
  struct Parts {
    io::Reactor& reactor;
    Environment& environment;
    const Shared& shared;
    const std::vector<WorkerPort*>& workers;  // by number, once there are some
  };
  Probes(const Parts& parts, const net::TransportOptions& transport);

  // Those of a cluster that is served, by its number. Keys may be unusable.
  Result<void> add(std::size_t number);
  void add(std::size_t number, backend::BackendContexts contexts);
  // The first question to each backend comes at any moment within so much time.
  void start(std::size_t number, Duration within);
  // Its version has changed; without contexts those that it has are still good.
  void update(std::size_t number, std::optional<backend::BackendContexts> contexts);
  // It is served no more.
  void end(std::size_t number);
  // Nothing is left of the one that was ended; its number may be another's.
  bool free(std::size_t number);

  bool first_round_done(std::size_t number) const;
  // What they ask with; null: the number is nobody's.
  const backend::BackendContexts* contexts(std::size_t number) const;

  // What workers say. What is about a cluster that has gone meanwhile is nobody's.
  void cluster_used(std::size_t worker, std::size_t number, bool used);
  void probe_now(BackendId backend);
  void connections_silent(BackendId backend);
  void check_identity_now(BackendId backend);

  // To be called a few times a second.
  void tick();

  void terminate();
  bool terminated() const;

 private:
  struct Probed {
    std::shared_ptr<Cluster> cluster;
    std::unique_ptr<backend::HealthProbe> probe;  // null: the number is free
    std::unique_ptr<balance::Shares> shares;      // of those that the cluster uses
    backend::BackendContexts contexts;
    std::size_t workers = 0;           // that use it
    std::vector<std::size_t> waiting;  // of them, those who are to be told when it is known
    Instant known_at_latest{};
    bool ending = false;
  };

  Probed* find(std::size_t number);
  void allow_for(Duration timeout);
  void backend_changed(BackendId backend, const std::string& why);
  void backend_unanswered(BackendId backend);
  void tell_if_known(std::size_t number);
  void update_shares(Probed& probed);

  const Parts parts_;
  net::Transport transport_;
  std::vector<Probed> probed_;  // by cluster
};

}  // namespace sluice::server
