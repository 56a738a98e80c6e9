// SPDX-License-Identifier: GPL-3.0-or-later
// What is configured of one cluster, and what becomes of it when that changes.
//
// ClusterSettings are made once, on any thread, and never changed. A ClusterVersion adds the slots
// of its backends, and is what threads take over as one: the control thread makes it, hands it to
// the workers, and whoever holds one keeps it. What belongs to the cluster whatever is configured
// is in cluster.h.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "backend_metrics.h"
#include "sluice/backend/backend_set.h"
#include "sluice/base/error.h"
#include "sluice/kubernetes/identity_fields.h"
#include "sluice/server/options.h"
#include "sluice/tls/context.h"

namespace sluice::server {

using Digest = std::array<std::uint8_t, 32>;

struct ClusterSettings {
  // Header names may be unusable.
  static Result<std::shared_ptr<const ClusterSettings>> create(ClusterOptions options);
  // The same without what contexts are made of: private keys should not lie around.
  std::shared_ptr<const ClusterSettings> without_keys() const;
  bool has_keys() const { return !options.tls.private_key_pem.empty(); }

  // Whether nothing has to be done to serve by these instead of `other`.
  bool same_as(const ClusterSettings& other) const;

  ClusterOptions options;
  kubernetes::IdentityFields identity_fields;
  // Of what contexts are made of, so that they are made anew only when that has changed.
  Digest serving{};     // what clients are shown, and asked for
  Digest client_ca{};   // what their certificates are judged by
  Digest backends{};    // what backends are shown, and judged by
  Digest management{};  // where the EndpointSlices are, and who we are there
};

struct ClusterVersion {
  std::uint64_t generation = 1;  // of the settings: how often they have changed
  std::uint64_t revision = 1;    // of all of this
  std::shared_ptr<const ClusterSettings> settings;
  // Of what backends are shown, and judged by; and earlier ones that some backend serves by still,
  // because it has not been seen to take the last.
  std::uint64_t backend_tls = 1;
  struct Earlier {
    std::uint64_t backend_tls = 0;
    std::shared_ptr<const ClusterSettings> settings;
  };
  std::vector<Earlier> earlier;
  backend::Cluster backends;
  std::vector<std::shared_ptr<BackendSeries>> series;  // by slot; null: the slot is free

  const ClusterOptions& options() const { return settings->options; }
  bool has_backends() const { return options().has_backends(); }
  // For the calling thread.
  Result<backend::BackendContexts> make_contexts() const;
  // There are no API servers for now, and that is no failure.
  bool hibernates() const { return !has_backends() && options().pass_through.empty(); }
  // Whether it serves who calls from there.
  bool admits(const io::Address& client) const {
    const auto& allowed = options().allowed_networks;
    return allowed.empty() || io::any_contains(allowed, client);
  }
};

// For one worker, whose thread alone uses the contexts; null: those that it has are still good.
struct ClusterRenewal {
  std::shared_ptr<const ClusterVersion> version;
  std::shared_ptr<const tls::ServerContext> serving;
  std::optional<backend::BackendContexts> backends;
  bool judge_clients_anew = false;
};

// What somebody needs who has served by `before`. On any thread.
Result<ClusterRenewal> make_renewal(const ClusterSettings& before,
                                    std::shared_ptr<const ClusterVersion> version);

}  // namespace sluice::server
