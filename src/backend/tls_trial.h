// SPDX-License-Identifier: GPL-3.0-or-later
// Whether a backend takes what it is to be shown and judged by from now on: a front-proxy pair, by
// an identity probe with it; authorities, by a handshake that verifies under them.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "identity_probe.h"
#include "probe_connection.h"
#include "sluice/backend/backend_set.h"
#include "sluice/backend/health_probe.h"

namespace sluice::backend {

class TlsTrial {
 public:
  // `why`: it did not pass.
  using Done = std::function<void(bool passed, const std::string& why)>;

  // `endpoint` outlives the object.
  TlsTrial(net::Transport& transport, const Endpoint& endpoint, std::string user,
           const BackendContexts& contexts);

  bool busy() const;
  // Never calls `done` from inside.
  void ask(const ClaimIdentity& claim, const ProbeOptions& options, Done done);
  void terminate();
  bool terminated() const;

 private:
  const Endpoint& endpoint_;
  std::unique_ptr<IdentityProbe> identity_;
  std::unique_ptr<ProbeConnection> plain_;  // where there is no pair
};

}  // namespace sluice::backend
