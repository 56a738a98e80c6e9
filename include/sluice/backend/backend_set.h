// SPDX-License-Identifier: GPL-3.0-or-later
// All backends of one cluster: the state that every thread sees, and one worker's pools to each.
#pragma once

#include <array>
#include <atomic>
#include <functional>
#include <memory>
#include <vector>

#include "sluice/backend/endpoint.h"
#include "sluice/backend/session_pool.h"

namespace sluice::backend {

enum class Health : std::uint8_t {
  unknown,  // not probed yet
  ready,
  not_ready,  // readiness 500, refused, or two time-outs: no new streams
};
std::string_view to_string(Health health);

// What the control thread finds out about a backend, and workers obey. Any thread may read.
struct BackendStatus {
  explicit BackendStatus(Endpoint e) : endpoint(std::move(e)) {}
  const Endpoint endpoint;
  std::atomic<Health> health{Health::unknown};
  // Whether this backend takes our X-Remote-* fields for what they say; false stops the identity
  // pools to it (wrong front-proxy trust at the backend).
  std::atomic<bool> trusts_identity{true};
};

struct Cluster {
  explicit Cluster(const std::vector<Endpoint>& endpoints);
  std::vector<std::unique_ptr<BackendStatus>> backends;
  bool any_ready() const;
};

struct BackendSetOptions {
  PoolOptions pool;
  std::uint32_t suspect_streams_per_connection = 4;
  Duration suspect_connect_spacing = std::chrono::milliseconds(20);
};

// TLS settings towards one backend; `identity` is null without a front-proxy certificate.
struct BackendContexts {
  std::unique_ptr<tls::ClientContext> plain;
  std::unique_ptr<tls::ClientContext> identity;
};

// One worker's. Thread: the transport's.
class BackendSet {
 public:
  // Something that the control thread should look at: a probe is due.
  using OnEvent = std::function<void(std::size_t backend, PoolKind, PoolEvent, const std::string&)>;

  BackendSet(net::Transport& transport, Cluster& cluster, std::vector<BackendContexts> contexts,
             const BackendSetOptions& options, std::uint64_t seed, OnEvent on_event);

  std::size_t size() const { return backends_.size(); }
  const Endpoint& endpoint(std::size_t backend) const {
    return cluster_.backends[backend]->endpoint;
  }
  // Null for the identity kinds without a front-proxy certificate.
  SessionPool* pool(std::size_t backend, PoolKind kind) {
    return backends_[backend].pools[static_cast<std::size_t>(kind)].get();
  }
  Cluster& cluster() { return cluster_; }

  // Bit i: backend i may get new streams of this kind. When no backend looks good, all that can be
  // reached count as usable: the last known good are better than none.
  std::uint64_t usable(PoolKind kind, std::uint64_t draining) const;

  // Opens a connection to every backend when a kind is used for the first time, so that the choice
  // never trades against reuse.
  void warm_up(PoolKind kind);

  void terminate();
  bool terminated() const;

 private:
  struct Backend {
    BackendContexts contexts;
    std::array<std::unique_ptr<SessionPool>, pool_kinds> pools;
  };
  Cluster& cluster_;
  std::vector<Backend> backends_;
  std::array<bool, pool_kinds> warm_{};
};

}  // namespace sluice::backend
