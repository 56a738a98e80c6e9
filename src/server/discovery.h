// SPDX-License-Identifier: GPL-3.0-or-later
// Asks for what clusters' sources want to know (discovery/sources.h), hands them the answers, and
// says which cluster's backends are others now. What becomes of that is reloading.h's.
//
// Thread: the control thread's reactor's.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "environment.h"
#include "shared.h"
#include "sluice/io/reactor.h"
#include "sluice/server/options.h"

namespace sluice::server {

class Discovery {
 public:
  // All outlive the object.
  struct Parts {
    io::Reactor& reactor;
    Environment& environment;
    Shared& shared;
    std::function<void(std::size_t cluster)> changed;
  };
  Discovery(Parts parts, const ServerOptions& options);
  ~Discovery();

  // Whom to ask from now on; empty: the system's.
  void use_servers(std::vector<io::Address> servers) { servers_ = std::move(servers); }
  // To be called a few times a second.
  void tick();
  // Answers that come later are nobody's.
  void stop();

 private:
  // What lets other threads speak to this object as long as it is there.
  struct Door;
  void ask(std::size_t number, const std::shared_ptr<Cluster>& cluster, const std::string& name);
  void answered(std::size_t number, const Cluster& asked, const std::string& name,
                const discovery::NameAnswer& answer);
  void say(const Cluster& cluster, const std::string& name, const std::string& before) const;
  bool is_ours(const io::Address& address) const;

  const Parts parts_;
  const std::vector<io::Address> listen_;
  std::vector<io::Address> servers_;
  std::shared_ptr<Door> door_;
};

}  // namespace sluice::server
