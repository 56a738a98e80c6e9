// SPDX-License-Identifier: GPL-3.0-or-later
// Asks a backend for the version of its API when it becomes ready, and now and then while it is: on
// a connection of its own, so that the answer keeps no other probe waiting. The answer lies in
// BackendStatus.
//
// Thread: the control thread's.
#pragma once

#include <functional>
#include <memory>
#include <optional>

#include "probe_connection.h"
#include "sluice/backend/backend_set.h"

namespace sluice::backend {

class VersionProbe {
 public:
  // `status` outlives the object.
  VersionProbe(net::Transport& transport, BackendStatus& status,
               std::shared_ptr<const tls::ClientContext> context);

  // See ProbeConnection.
  void use(std::shared_ptr<const tls::ClientContext> context) {
    connection_.use(std::move(context));
  }
  void terminate() { connection_.terminate(); }
  bool terminated() const { return connection_.terminated(); }

  // It is ready: asks, if that is due. `claim` adds an identity to the question, if there is one.
  // `every`: how often.
  void look(const std::function<void(http::Fields&)>& claim, Duration every, Duration timeout,
            Instant now);
  // It is back, perhaps as another. Not before: what it was counts for the answers that it owes
  // when it goes.
  void forget();

 private:
  void answered(const Result<ProbeAnswer>& answer);

  BackendStatus& status_;
  ProbeConnection connection_;
  std::optional<Instant> asked_;
  bool answered_ = false;  // to that question
};

}  // namespace sluice::backend
