// SPDX-License-Identifier: GPL-3.0-or-later
// What workers know of tokens, on its way from one process to the next: asked of all workers and
// put together, or told to a worker when it begins to use a cluster.
//
// Thread: the control thread's.
#pragma once

#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cluster.h"
#include "handover.h"
#include "sluice/io/reactor.h"
#include "worker_port.h"

namespace sluice::server {

class TokenGathering {
 public:
  // The reactor and the workers outlive the calls of its mailbox.
  TokenGathering(io::Reactor& reactor, std::vector<WorkerPort*> workers);

  using Done = std::move_only_function<void(std::vector<ClusterProofs>)>;
  // Answers once, with those clusters of which something is known: when all workers have answered,
  // or within a second without those that have not. One at a time.
  void ask(Done done);

 private:
  void told(std::uint64_t question, std::vector<ClusterProofs> proofs);
  void finish();

  io::Reactor& reactor_;
  std::vector<WorkerPort*> workers_;
  Done done_;
  std::uint64_t question_ = 0;
  std::size_t waiting_ = 0;                                          // for so many answers
  std::map<std::string, std::vector<proxy::TokenChange>> gathered_;  // by the cluster's name
  io::Timer deadline_;
};

// One token of each hash, in the order of their last places.
std::vector<proxy::TokenChange> without_repetitions(std::vector<proxy::TokenChange> tokens);

// Of a predecessor. What it knew grows old: after a while nobody is told of it any more.
class InheritedTokens {
 public:
  static constexpr Duration told_at_most = std::chrono::minutes(5);

  InheritedTokens(io::Reactor& reactor, std::vector<ClusterProofs> proofs);
  // Tells a worker what was known of tokens of this cluster, some at a time, between which the
  // worker turns. The worker outlives the calls of the reactor's mailbox.
  void tell(WorkerPort& worker, std::size_t number, std::string_view cluster);

 private:
  using Tokens = std::shared_ptr<const std::vector<proxy::TokenChange>>;
  // To a worker, as long as the number is this cluster's there.
  struct Telling {
    std::size_t number;
    std::string cluster;
    Tokens tokens;
  };
  static void tell_rest(io::Reactor& reactor, WorkerPort& worker, const Telling& telling,
                        std::size_t from);

  io::Reactor& reactor_;
  std::vector<std::pair<std::string, Tokens>> clusters_;
  Instant until_;
};

}  // namespace sluice::server
