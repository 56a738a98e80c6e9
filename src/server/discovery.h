// SPDX-License-Identifier: GPL-3.0-or-later
// Asks for what clusters' sources want to know (discovery/sources.h), hands them the answers, and
// says which cluster's backends are others now. What becomes of that is reloading.h's.
//
// Thread: the control thread's reactor's.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "door.h"
#include "environment.h"
#include "handover.h"
#include "self_discovery.h"
#include "shared.h"
#include "sluice/discovery/management_server.h"
#include "sluice/discovery/slice_watch.h"
#include "sluice/io/reactor.h"
#include "sluice/net/transport.h"
#include "sluice/server/options.h"

namespace sluice::server {

class Discovery {
 public:
  // All outlive the object.
  struct Parts {
    io::Reactor& reactor;
    Environment& environment;
    Shared& shared;
    // Of its probes; null: it has none yet.
    std::function<const backend::BackendContexts*(std::size_t cluster)> contexts;
    std::function<void(std::size_t cluster)> changed;
  };
  Discovery(Parts parts, const ServerOptions& options);
  ~Discovery();

  // Whom to ask from now on; empty: the system's.
  void use_servers(std::vector<io::Address> servers) { servers_ = std::move(servers); }
  // What a process before had as backends.
  void expect(const std::vector<ClusterProofs>& known);
  // A cluster is new under its number, or its settings are.
  void update(std::size_t number, const std::shared_ptr<Cluster>& cluster);
  // To be called a few times a second.
  void tick();
  // Answers that come later are nobody's.
  void stop();
  bool stopped() const;

 private:
  // Of a cluster whose EndpointSlices are followed.
  struct Watched {
    std::shared_ptr<Cluster> cluster;
    Digest management{};  // what it is made of
    std::uint64_t serial = 0;
    std::unique_ptr<discovery::ManagementServer> server;
    std::unique_ptr<discovery::SliceWatch> watch;
  };
  void update_slices(std::size_t number, const std::shared_ptr<Cluster>& cluster);
  void update_self(std::size_t number, const std::shared_ptr<Cluster>& cluster);
  void end_self(std::size_t number);
  void tick_selves();
  bool is_served(std::size_t number, const Cluster& cluster) const;
  void watch(std::size_t number, const std::shared_ptr<Cluster>& cluster);
  void end_watch(std::size_t number);
  void tick_watches();
  void ask_for_watch(std::size_t number, std::uint64_t serial, const std::string& name);
  void slices_told(std::size_t number, const Result<std::vector<io::Address>>& slices);
  void take_over(std::size_t number, const Cluster& cluster);
  void ask(std::size_t number, const std::shared_ptr<Cluster>& cluster, const std::string& name);
  void answered(std::size_t number, const Cluster& asked, const std::string& name,
                const discovery::NameAnswer& answer);
  void say(const Cluster& cluster, const std::string& name, const std::string& before) const;
  void refuse_ours(Cluster& cluster);
  bool is_ours(const io::Address& address, std::span<const io::Address> interfaces = {}) const;
  const std::vector<io::Address>& interfaces();

  const Parts parts_;
  const std::vector<io::Address> listen_;
  std::vector<io::Address> servers_;
  std::shared_ptr<Door<Discovery>> door_;
  net::Transport transport_;
  std::map<std::size_t, Watched> watched_;  // by the number of the cluster
  std::uint64_t last_serial_ = 0;
  std::vector<Watched> ending_;
  std::map<std::size_t, std::unique_ptr<SelfDiscovery>> selves_;  // by the number of the cluster
  std::vector<std::unique_ptr<SelfDiscovery>> ending_selves_;
  std::vector<io::Address> interfaces_;  // of the machine, when somebody asked last
  Instant next_interfaces_{};
};

}  // namespace sluice::server
