// SPDX-License-Identifier: GPL-3.0-or-later
// All backends of one cluster: the state that every thread sees, and one worker's pools to each.
#pragma once

#include <array>
#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "sluice/backend/connection_pool.h"
#include "sluice/backend/endpoint.h"
#include "sluice/backend/upgrade_pool.h"

namespace sluice::backend {

enum class Health : std::uint8_t {
  unknown,  // not probed yet
  ready,
  slow,       // lives, but is late to say so: left out while enough others are not
  not_ready,  // readiness 500, refused, or silent for long: no new streams
};
std::string_view to_string(Health health);

// What the control thread finds out about a backend, and workers obey. Any thread may read.
struct BackendStatus {
  explicit BackendStatus(Endpoint e) : endpoint(std::move(e)) {}
  const Endpoint endpoint;
  std::atomic<Health> health{Health::unknown};
  // Whether the last probe got an answer, and in time.
  std::atomic<bool> answers{false};
  // Whether this backend takes our X-Remote-* fields for what they say; false stops the identity
  // pools to it (wrong front-proxy trust at the backend).
  std::atomic<bool> trusts_identity{true};
};

struct Cluster {
  explicit Cluster(const std::vector<Endpoint>& endpoints);  // none: it hibernates
  std::vector<std::unique_ptr<BackendStatus>> backends;
  bool any_usable() const;  // ready, or at least alive
  // False when no probe is answered: then it is rather us, or the network.
  bool any_answers() const;
};

struct BackendSetOptions {
  PoolOptions pool;
  std::uint32_t suspect_streams_per_connection = 4;
  Duration suspect_connect_spacing = std::chrono::milliseconds(20);
  UpgradeOptions upgrades;
  std::size_t suspect_upgrades_max = 64;  // at a time, of one backend

  friend bool operator==(const BackendSetOptions&, const BackendSetOptions&) = default;
};

// TLS towards all backends, of one thread; for HTTP/2, and for requests that switch protocols.
// `identity` is null without a front-proxy certificate.
struct BackendContexts {
  struct Pair {
    std::shared_ptr<const tls::ClientContext> plain;
    std::shared_ptr<const tls::ClientContext> identity;

    const std::shared_ptr<const tls::ClientContext>& of(PoolKind kind) const {
      return vouches(kind) ? identity : plain;
    }
  };
  std::shared_ptr<const tls::ClientContext> plain;
  std::shared_ptr<const tls::ClientContext> identity;
  Pair upgrades = {};
};

// What they are made of.
struct BackendTls {
  tls::ClientOptions plain;
  std::optional<tls::ClientOptions> identity;

  // For the calling thread: all, or those that a HealthProbe needs.
  Result<BackendContexts> make_contexts() const;
  Result<BackendContexts> make_probe_contexts() const;

  friend bool operator==(const BackendTls&, const BackendTls&) = default;
};

// One worker's. Thread: the transport's.
class BackendSet {
 public:
  // Something that the control thread should look at: a probe is due.
  using OnEvent = std::function<void(std::size_t backend, PoolKind, PoolEvent, const std::string&)>;

  BackendSet(net::Transport& transport, Cluster& cluster, const BackendContexts& contexts,
             const BackendSetOptions& options, std::uint64_t seed, OnEvent on_event);

  std::size_t size() const { return backends_.size(); }
  const Endpoint& endpoint(std::size_t backend) const {
    return cluster_.backends[backend]->endpoint;
  }
  // Null for the identity kinds without a front-proxy certificate.
  ConnectionPool* pool(std::size_t backend, PoolKind kind) {
    return backends_[backend].pools[static_cast<std::size_t>(kind)].get();
  }
  // The same.
  const UpgradePool* upgrades(std::size_t backend, PoolKind kind) const {
    return backends_[backend].upgrades[static_cast<std::size_t>(kind)].get();
  }
  Cluster& cluster() { return cluster_; }

  // Bit i: backend i may get new streams of this kind. Slow ones are left out unless less than half
  // of those that live would remain. When no backend looks good, all that can be reached count as
  // usable: the last known good are better than none. Those in `leaving` count as not ready.
  std::uint64_t usable(PoolKind kind, std::uint64_t leaving = 0) const;

  // Bit i: backend i has no place for one more, and can get none.
  std::uint64_t full(PoolKind kind, Stay stay) const;

  // Opens a connection to every backend when a kind is used for the first time, so that the choice
  // never trades against reuse.
  void warm_up(PoolKind kind);
  // Puts the request on a connection to a backend that was usable; see ConnectionPool::open().
  void open(BackendStream& stream, std::size_t backend, PoolKind kind, const OpenRequest& request);

  // A probe of this backend failed: its connections must give a sign of life, or end. Nothing is
  // ended if by then no probe of any backend is answered.
  void check(std::size_t backend);

  // Tunnels that are ending in order may do so, until this is called once more.
  void terminate();
  bool terminated() const;

 private:
  struct Backend {
    std::array<std::unique_ptr<ConnectionPool>, pool_kinds> pools;
    std::array<std::unique_ptr<UpgradePool>, pool_kinds> upgrades;
  };
  Cluster& cluster_;
  std::vector<Backend> backends_;
  std::array<bool, pool_kinds> warm_{};
};

}  // namespace sluice::backend
