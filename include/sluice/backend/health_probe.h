// SPDX-License-Identifier: GPL-3.0-or-later
// Asks each backend whether it is ready, about once a second on a connection of its own, and
// whether it takes our front-proxy identity for exactly what we say. Runs on the control thread;
// the verdicts lie in BackendStatus, which workers read.
//
// Readiness (k8s.io/apiserver pkg/server/genericapiserver.go: /readyz turns 500 as soon as a
// shutdown begins): 200 is ready. A 5xx or a refused connection takes a backend out at once, a
// connection that fails otherwise the second time; two good answers bring it back, more of them
// when it has come back in vain before. 401, 403 and 404 say that the server lives and the probe is
// misconfigured: it stays in use, with a warning.
//
// An answer that is late says that the server is slow, not that it is dead: the probe stays open
// until it is answered or fails, and only long silence counts as death. Meanwhile those who know
// the backend's connections are told to see whether they live.
//
// Version: asked for when a backend becomes ready, and now and then (version_probe.h).
//
// Of a cluster that nobody uses each backend is asked now and then only, and no connection is kept.
//
// Identity: a SelfSubjectReview through a connection with the front-proxy certificate must name
// exactly the user that we claim, and one without X-Remote-User must not be allowed.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "sluice/backend/backend_set.h"
#include "sluice/base/random.h"
#include "sluice/http/fields.h"
#include "sluice/io/timer_wheel.h"

namespace sluice::backend {

struct ProbeOptions {
  std::string readiness_path = "/readyz";
  Duration interval = std::chrono::seconds(1);
  Duration timeout = std::chrono::seconds(1);  // from here on an answer is late
  Duration identity_interval = std::chrono::seconds(60);
  Duration quiet_interval = std::chrono::seconds(30);  // while nobody uses the cluster
  Duration quiet_identity_interval = std::chrono::hours(1);
  Duration version_interval = std::chrono::seconds(60);  // zero: nobody asks for versions
  std::uint32_t failures = 2;
  std::uint32_t successes = 2;

  friend bool operator==(const ProbeOptions&, const ProbeOptions&) = default;
};

// Adds the fields that claim `user` in `groups` to a probe (the header names are options).
using ClaimIdentity = std::function<void(std::string_view user, http::Fields& fields)>;

class HealthProbe {
 public:
  // Called when a backend's health or trust has changed; `text` says why.
  using OnChange = std::function<void(std::size_t backend, const std::string& text)>;
  // Called when a probe got no answer, or none yet in its time.
  using OnUnanswered = std::function<void(std::size_t backend)>;

  // `claim` is null without a front-proxy pair.
  HealthProbe(net::Transport& transport, Cluster cluster, BackendContexts contexts,
              const ProbeOptions& options, ClaimIdentity claim, std::uint64_t seed,
              OnChange on_change, OnUnanswered on_unanswered);
  ~HealthProbe();  // CHECKs terminated()

  // What has become of all that. What is known of a backend that stays is still known; one that is
  // new is asked at once, one that leaves no more. Other contexts are tried first, at each backend:
  // until it has passed there, what serves goes on to serve (BackendStatus::adopted).
  void update(Cluster cluster, BackendContexts contexts, const ProbeOptions& options,
              ClaimIdentity claim);

  // The first question to each backend comes at once, or at any moment within so much time.
  void start(Duration within = Duration::zero());
  // Whether nobody uses the cluster. From when somebody does, each backend is asked at once.
  void set_quiet(bool quiet);
  // A worker saw something: probe this backend now.
  void probe_now(std::size_t backend);
  // The backend's open connections give no sign of life. If its probe waits, too, it is out of use.
  void connections_silent(std::size_t backend);
  // A request showed that this backend refuses our identity: check the trust now.
  void check_identity_now(std::size_t backend);
  // Whether each backend has been asked at least once, and has answered or had its time.
  bool first_round_done() const;

  void terminate();
  bool terminated() const;

  struct Counters {
    std::uint64_t probes = 0;
    std::uint64_t failures = 0;
  };
  const Counters& counters(std::size_t backend) const;

 private:
  class Target;
  void update_targets();
  Target* find(std::size_t backend) const;  // null: it is not asked
  const BackendContexts& contexts_for(const BackendStatus& status) const;

  net::Transport& transport_;
  Cluster cluster_;
  BackendContexts contexts_;
  std::vector<BackendContexts> earlier_;  // that some backend serves by still
  ProbeOptions options_;
  ClaimIdentity claim_;
  Random random_;
  OnChange on_change_;
  OnUnanswered on_unanswered_;
  bool started_ = false;
  bool stopping_ = false;
  bool quiet_ = false;
  std::vector<std::unique_ptr<Target>> targets_;  // by slot; null: not asked
  std::vector<std::unique_ptr<Target>> ending_;
};

}  // namespace sluice::backend
