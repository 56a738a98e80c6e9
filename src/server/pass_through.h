// SPDX-License-Identifier: GPL-3.0-or-later
// What a worker has of a cluster whose connections are passed on untouched: those connections at
// their targets, the choice among these, and what is tried again.
//
// Owned by WorkerCluster; what it is given outlives it. Thread: the worker's.
#pragma once

#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "outline.h"
#include "passed_connection.h"
#include "sluice/base/random.h"
#include "sluice/observability/log_pace.h"
#include "target_probe.h"

namespace sluice::server {

class PassThrough final : private PassOwner {
 public:
  PassThrough(const PassThroughParts& parts, std::uint64_t seed);
  ~PassThrough() override;  // CHECKs terminated()

  // One more, for this client. It is this object's, and goes when PassedConnection::client_gone()
  // was called and its target has nothing more to be told.
  PassedConnection& open(PassedClient& client, PassedFacts facts);
  std::size_t connections() const { return connections_.size(); }

  // For our own stop: all end in order.
  void end();
  void terminate();
  bool terminated() const;
  void describe(Outline& outline) const;

 private:
  // PassOwner
  std::optional<std::size_t> choose(const std::vector<bool>& tried) override;
  void connected(std::size_t target) override { probes_[target]->succeeded(); }
  void connect_failed(std::size_t target) override { probes_[target]->failed(); }
  void unreachable(const PassedFacts& client, std::string_view why) override;
  void over(PassedConnection& connection) override;

  std::vector<PassedConnection*> all() const;

  const PassThroughParts parts_;
  Random random_;
  log::Pace told_unreachable_;
  std::vector<std::unique_ptr<TargetProbe>> probes_;  // by target
  std::unordered_map<PassedConnection*, std::unique_ptr<PassedConnection>> connections_;
};

}  // namespace sluice::server
