// SPDX-License-Identifier: GPL-3.0-or-later
// What the exchanges of one cluster on one worker share.
#pragma once

#include <optional>

#include "backend_choice.h"
#include "budget.h"
#include "expired_resources.h"
#include "replay_budget.h"
#include "resources_state.h"
#include "sluice/base/random.h"
#include "sluice/proxy/proxy.h"
#include "sluice/proxy/watch_end.h"
#include "token_proofs.h"
#include "write_affinity.h"

namespace sluice::proxy {

struct Shared {
  Shared(const ProxyParts& p, const ProxyOptions& o)
      : parts(p),
        options(o),
        identity_fields(&p.identity_fields),
        random(p.seed),
        choice(p.backends, p.board, p.worker, o.picker, random),
        proofs(o.proven_tokens_max, p.key),
        resources(p.resources.state()),
        blocks(resources.blocks),
        budget({.client_bytes_max = o.body_bytes_per_client}, &resources.budget),
        governor(resources.governor),
        replays(o.replay_budget_percent) {}

  Instant now() const { return parts.reactor.now(); }
  void count(metrics::CounterId counter, std::uint64_t n = 1) const { parts.cells.add(counter, n); }

  const ProxyParts parts;
  // Takes over what can change while requests are under way.
  void update(const ProxyOptions& now, const kubernetes::IdentityFields& fields) {
    options = now;
    identity_fields = &fields;
    choice.update(now.picker);
    proofs.resize(now.proven_tokens_max);
    budget.set_client_bytes_max(now.body_bytes_per_client);
    replays.set_percent(now.replay_budget_percent);
  }

  ProxyOptions options;
  const kubernetes::IdentityFields* identity_fields;
  Random random;
  BackendChoice choice;
  TokenProofs proofs;
  WriteAffinity affinity;
  ExpiredResources expired_resources;
  Resources::State& resources;  // of the worker: these are, too
  BlockPool& blocks;
  Budget budget;
  ClientAccounts accounts;
  Governor& governor;
  ReplayBudget replays;
  std::uint64_t tunnels = 0;            // open ones
  std::optional<EndWindow> end_window;  // while we drain
};

}  // namespace sluice::proxy
