// SPDX-License-Identifier: GPL-3.0-or-later
// How long a backend's process has been running: asked of its /metrics, which its group
// system:monitoring may read by the API server's own roles.
#pragma once

#include <functional>
#include <optional>

#include "probe_connection.h"
#include "process_start.h"

namespace sluice::backend {

class AgeProbe {
 public:
  // Nothing: it says nothing that we can use, or not to us. An error: it may another time.
  using Done = std::function<void(const Result<std::optional<Duration>>&)>;

  // `connection` is not busy, and outlives the answer; `head`: of a GET of its /metrics. Exactly
  // once, never from inside, unless the connection is terminated.
  void ask(ProbeConnection& connection, http::RequestHead head, Done done);

 private:
  Result<std::optional<Duration>> read(const Result<ProbeAnswer>& answer) const;

  ProcessStartReader reader_;
};

}  // namespace sluice::backend
