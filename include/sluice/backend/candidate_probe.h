// SPDX-License-Identifier: GPL-3.0-or-later
// Whether an address that somebody names is an API server of the cluster, and ready: a handshake
// that verifies, a readiness that is not bad, and our front-proxy identity taken for exactly what
// we say. Stricter than the probes of backends, which operators name: what cannot be checked has
// not passed. Another gateway does not pass, because it takes no claim of ours.
//
// Thread: the transport's.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "sluice/backend/endpoint.h"
#include "sluice/backend/health_probe.h"
#include "sluice/net/transport.h"
#include "sluice/tls/context.h"

namespace sluice::backend {

class CandidateProbe {
 public:
  // `why_not`: empty, it has passed.
  using Done = std::function<void(const std::string& why_not)>;

  // `identity` has the front-proxy pair. `user`: nobody's name but ours.
  CandidateProbe(net::Transport& transport, Endpoint endpoint, std::string user,
                 std::shared_ptr<const tls::ClientContext> identity);
  ~CandidateProbe();  // CHECKs terminated()

  const Endpoint& endpoint() const { return endpoint_; }
  // Once. Never calls `done` from inside; not at all when it is terminated first.
  void ask(ClaimIdentity claim, const ProbeOptions& options, Done done);
  void terminate();
  bool terminated() const;

 private:
  class Asking;
  const Endpoint endpoint_;
  std::unique_ptr<Asking> asking_;
};

}  // namespace sluice::backend
