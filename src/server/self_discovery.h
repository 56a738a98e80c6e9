// SPDX-License-Identifier: GPL-3.0-or-later
// Finds the API servers of a cluster by their own slice, default/kubernetes, which is asked of any
// of them that is usable; what may become of what it says is discovery/own_slice.h's. Here are the
// trials of candidates, and what the probes say of those who were found.
//
// Thread: the control thread's reactor's.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "cluster.h"
#include "environment.h"
#include "sluice/backend/candidate_probe.h"
#include "sluice/discovery/slice_watch.h"
#include "sluice/net/transport.h"

namespace sluice::server {

class SelfDiscovery final : private discovery::SliceServers {
 public:
  // All outlive the object.
  struct Parts {
    net::Transport& transport;
    Environment& environment;
    std::shared_ptr<Cluster> cluster;
    // As its probes have them by now; null: there are none yet.
    std::function<const backend::BackendContexts*()> contexts;
    // Whether an address reaches ourselves.
    std::function<bool(const io::Address& address)> is_ours;
    // Its endpoints are others.
    std::function<void()> changed;
  };
  explicit SelfDiscovery(Parts parts);
  ~SelfDiscovery() override;  // CHECKs terminated()

  const std::shared_ptr<Cluster>& cluster() const { return parts_.cluster; }
  // Whom a process before had found: they are tried when nobody that is written can be asked.
  void expect(std::vector<io::Address> former) { former_ = std::move(former); }
  // To be called a few times a second.
  void tick();
  void terminate();
  bool terminated() const;

 private:
  // discovery::SliceServers
  std::optional<Server> server(std::size_t turn) override;
  void identify(http::Fields& fields) const override;

  Instant now() const;
  void told(const Result<std::vector<io::Address>>& named);
  void failed(const std::string& why);
  void nobody_is_usable();
  void judged(const std::vector<discovery::OwnSlice::Refused>& refused);
  discovery::OwnSlice::Known known();
  void look(discovery::OwnSlice& rule);
  bool is_lost(const io::Address& address) const;
  void begin_trials(discovery::OwnSlice& rule);
  void tried(const io::Address& address, const std::string& why_not);
  void follow();

  const Parts parts_;
  discovery::SliceWatch watch_;
  std::map<io::Address, std::unique_ptr<backend::CandidateProbe>, discovery::AddressOrder> trials_;
  std::vector<std::unique_ptr<backend::CandidateProbe>> ended_;
  std::vector<io::Address> former_;
  std::vector<io::Address> found_;  // that the cluster knows of
  Instant next_judgement_{};
  Instant next_look_{};
  bool nobody_usable_ = false;
  bool stopping_ = false;
};

}  // namespace sluice::server
