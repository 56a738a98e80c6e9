// SPDX-License-Identifier: GPL-3.0-or-later
// What the exchanges of one worker share.
#pragma once

#include <optional>

#include "backend_choice.h"
#include "body_queue.h"
#include "budget.h"
#include "governor.h"
#include "replay_budget.h"
#include "sluice/base/random.h"
#include "sluice/proxy/proxy.h"
#include "sluice/proxy/watch_end.h"
#include "token_proofs.h"

namespace sluice::proxy {

struct Shared {
  Shared(const ProxyParts& p, const ProxyOptions& o)
      : parts(p),
        options(o),
        random(p.seed),
        choice(p.backends, p.board, p.worker, o.picker, random),
        proofs(o.proven_tokens_max, p.token_key),
        blocks(4096),
        budget({.bytes_max = o.body_bytes_per_worker,
                .client_bytes_max = o.body_bytes_per_client,
                .replay_bytes_max = o.replay_body_bytes_per_worker}),
        governor({.wait_max = o.overload_wait, .patience = o.overload_patience}),
        replays(o.replay_budget_percent) {}

  Instant now() const { return parts.reactor.now(); }
  void count(metrics::CounterId counter, std::uint64_t n = 1) const { parts.cells.add(counter, n); }

  const ProxyParts parts;
  const ProxyOptions options;
  Random random;
  BackendChoice choice;
  TokenProofs proofs;
  BlockPool blocks;
  Budget budget;
  ClientAccounts accounts;
  Governor governor;
  ReplayBudget replays;
  std::uint64_t connections = 0;        // of clients, so far
  std::uint64_t tunnels = 0;            // open ones
  std::optional<EndWindow> end_window;  // while we drain
};

}  // namespace sluice::proxy
