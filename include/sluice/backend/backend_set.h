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
#include "sluice/base/random.h"

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
  explicit BackendStatus(Endpoint e, bool is_new = false)
      : endpoint(std::move(e)), newcomer(is_new) {}
  const Endpoint endpoint;
  // Added while others serve: nothing is sent to it before it has said how it is.
  const bool newcomer;
  // Which TLS it is known to take: BackendContexts::generation.
  std::atomic<std::uint64_t> adopted{0};
  // There is newer TLS, which has not passed here yet.
  std::atomic<bool> renewal_pending{false};
  // It is no backend any more: what it carries goes on, and nothing is added.
  std::atomic<bool> leaving{false};
  std::atomic<Health> health{Health::unknown};
  // Whether the last probe got an answer, and in time.
  std::atomic<bool> answers{false};
  // When the last probe was asked that found it ready, since the clock's beginning.
  std::atomic<Instant::rep> ready_as_of{0};
  // What all pools to it keep together.
  const std::shared_ptr<ConnectPace> pace = std::make_shared<ConnectPace>();
  // Whether this backend takes our X-Remote-* fields for what they say; false stops the identity
  // pools to it (wrong front-proxy trust at the backend).
  std::atomic<bool> trusts_identity{true};
  // When its process began to run, as far as that is known; min(): long ago.
  std::atomic<Instant> started{Instant::min()};
  // Of its API: ApiVersion::number().
  std::atomic<std::uint32_t> version{0};
};

// The backends of a cluster in their slots, as of one moment: a value, whose copies share what is
// known of each. A backend is called by its slot everywhere, and keeps it until nothing refers to
// it any more; from then on the slot is free, which is null, and may be another's.
struct Cluster {
  Cluster() = default;  // it hibernates
  explicit Cluster(const std::vector<Endpoint>& endpoints);
  std::vector<std::shared_ptr<BackendStatus>> backends;

  // What it is with these endpoints instead: who stays keeps its slot, who goes is `leaving` from
  // now on in all copies, who comes gets a slot that is free, or none for now.
  Cluster changed_to(const std::vector<Endpoint>& endpoints) const;
  // Nothing refers to the backend in it any more.
  Cluster without(std::size_t slot) const;

  bool serves(std::size_t slot) const {  // and does not leave
    return slot < backends.size() && backends[slot] != nullptr &&
           !backends[slot]->leaving.load(std::memory_order_relaxed);
  }
  std::size_t serving() const;  // how many
  bool any_usable() const;      // ready, or at least alive
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
    std::shared_ptr<const tls::ClientContext> plain = nullptr;
    std::shared_ptr<const tls::ClientContext> identity = nullptr;

    const std::shared_ptr<const tls::ClientContext>& of(PoolKind kind) const {
      return vouches(kind) ? identity : plain;
    }
  };
  std::shared_ptr<const tls::ClientContext> plain;
  std::shared_ptr<const tls::ClientContext> identity;
  Pair upgrades = {};
  std::uint64_t generation = 0;  // of what they are made of
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

  // `earlier`: for backends that are not known to take `contexts` yet.
  BackendSet(net::Transport& transport, Cluster cluster, BackendContexts contexts,
             const BackendSetOptions& options, std::uint64_t seed, OnEvent on_event,
             std::vector<BackendContexts> earlier = {});

  // What has become of all that. Streams go on where they are. Where TLS has changed, connections
  // under the new one come before those under the old one drain; at each backend, when it is known
  // to take it.
  void update(Cluster cluster, BackendContexts contexts, const BackendSetOptions& options);

  std::size_t size() const { return backends_.size(); }  // slots, free ones included
  bool hibernates() const { return cluster_.serving() == 0; }
  // Of a slot that is not free.
  const Endpoint& endpoint(std::size_t backend) const {
    return cluster_.backends[backend]->endpoint;
  }
  // Null for the identity kinds without a front-proxy certificate, and in a slot that is free.
  ConnectionPool* pool(std::size_t backend, PoolKind kind) {
    return backends_[backend].pools[static_cast<std::size_t>(kind)].get();
  }
  // The same.
  const UpgradePool* upgrades(std::size_t backend, PoolKind kind) const {
    return backends_[backend].upgrades[static_cast<std::size_t>(kind)].get();
  }
  const Cluster& cluster() const { return cluster_; }

  // Uses newer TLS where it is known by now to be taken, and connects again where probes are
  // answered again. To be called now and then.
  void look_after();
  // Lets go of what is unused of a backend that leaves; whether nothing is left of it here. To be
  // called now and then.
  bool leave(std::size_t backend);

  // Bit i: backend i may get new streams of this kind. Slow ones are left out unless less than half
  // of those that live would remain. When no backend looks good, all that can be reached count as
  // usable: the last known good are better than none; when none can be, those where that may have
  // been chance. Those in `leaving` count as not ready.
  std::uint64_t usable(PoolKind kind, std::uint64_t leaving = 0) const;

  // Bit i: backend i began to run less than so long ago.
  std::uint64_t younger_than(Duration age, Instant now) const;
  // Where a watch may still find the history that this backend does not have: those of `among` that
  // are not younger than `age`, else the oldest that is older than this one; or none.
  std::uint64_t with_more_history(std::size_t backend, std::uint64_t among, Duration age,
                                  Instant now) const;

  // While versions differ, of these the ones with the lowest that is known; of which none is known
  // is the last to be used. 0: they do not differ, or nothing is known.
  std::uint64_t of_lowest_version(std::uint64_t among) const;
  // Of these the ones that are known to have another version than this backend is known to have.
  std::uint64_t of_other_version(std::size_t backend, std::uint64_t among) const;

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
    BackendContexts contexts;
    bool answered = false;  // its probes were when we last looked
  };
  void adopt(std::size_t backend);
  void retry(std::size_t backend);
  void update(std::size_t backend);
  const BackendContexts& contexts_for(std::size_t backend) const;
  Instant started(std::size_t backend) const {
    return cluster_.backends[backend]->started.load(std::memory_order_relaxed);
  }
  void make_pools(std::size_t backend, PoolKind kind);
  void end_pools(std::size_t backend, PoolKind kind);
  PoolOptions pool_options(PoolKind kind) const;
  UpgradeOptions upgrade_options(PoolKind kind) const;
  void reap();
  static bool is_down(const BackendStatus& status, const ConnectionPool& pool);
  // By slot, of those in the mask: `what(slot, version)`.
  template <class F>
  void for_each_version(std::uint64_t among, F&& what) const;

  net::Transport& transport_;
  Cluster cluster_;
  BackendContexts contexts_;
  std::vector<BackendContexts> earlier_;  // while pools are made
  BackendSetOptions options_;
  Random random_;
  OnEvent on_event_;
  std::vector<Backend> backends_;  // by slot
  std::array<bool, pool_kinds> warm_{};
  // Of which nothing is wanted any more.
  std::vector<std::unique_ptr<ConnectionPool>> ending_;
  std::vector<std::unique_ptr<UpgradePool>> ending_upgrades_;
};

}  // namespace sluice::backend
