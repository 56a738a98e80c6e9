// SPDX-License-Identifier: GPL-3.0-or-later
// Readiness and identity probes.
#include "sluice/backend/health_probe.h"

#include <algorithm>
#include <utility>

#include "age_probe.h"
#include "identity_probe.h"
#include "probe_connection.h"
#include "return_rule.h"
#include "sluice/base/check.h"
#include "tls_trial.h"
#include "version_probe.h"

namespace sluice::backend {
namespace {

// Before trust is known good, ask more often than once a minute.
constexpr Duration identity_retry = std::chrono::seconds(2);

// How old a server is is asked so often when it becomes ready, until there is an answer.
constexpr std::uint32_t age_tries_max = 4;
constexpr Duration age_retry = std::chrono::seconds(5);

// After so many time-outs in silence nobody is believed to live there.
constexpr std::uint32_t silent_timeouts = 5;
// Time-outs are counted here, not by the clock: we may not be running.
constexpr Duration open_probe_max = std::chrono::hours(24);
// A timer that fires so much late says that we were not running.
constexpr Duration turn_late_max = std::chrono::milliseconds(250);

}  // namespace

class HealthProbe::Target {
 public:
  Target(net::Transport& transport, std::shared_ptr<BackendStatus> shared, std::size_t index,
         const BackendContexts& contexts, const ProbeOptions& options, ClaimIdentity& claim,
         std::uint64_t seed, OnChange& on_change, OnUnanswered& on_unanswered)
      : transport_(transport),
        shared_(std::move(shared)),
        status_(*shared_),
        index_(index),
        options_(options),
        claim_(claim),
        on_change_(on_change),
        on_unanswered_(on_unanswered),
        random_(seed),
        // A name that nobody else has: an answer with it can only come from our own claim.
        user_("sluice:probe:" + std::to_string(random_.next())),
        readiness_(transport, status_.endpoint,
                   contexts.identity ? contexts.identity : contexts.plain),
        version_(transport, status_, contexts.identity ? contexts.identity : contexts.plain),
        timer_(io::Timer::bind<&Target::probe_readiness>(this)),
        late_timer_(io::Timer::bind<&Target::still_unanswered>(this)) {
    status_.adopted.store(contexts.generation, std::memory_order_relaxed);
    status_.renewal_pending.store(false, std::memory_order_relaxed);
    if (!contexts.identity) return;
    make_identity(contexts);
    // Trust is earned by the first probe; one that was no backend for a while has it still.
    identity_known_ = health() != Health::unknown;
    if (!identity_known_) status_.trusts_identity.store(false, std::memory_order_relaxed);
  }

  // What counts from now on. Where there is something that serves, it does so until the other has
  // passed here.
  void offer(const BackendContexts& contexts) {
    end_trial();
    const bool other_kind = (contexts.identity == nullptr) != (identity_ == nullptr);
    if (health() == Health::unknown || other_kind) return adopt(contexts);
    next_ = contexts;
    said_why_not_ = false;
    status_.renewal_pending.store(true, std::memory_order_relaxed);
    trial_ = std::make_unique<TlsTrial>(transport_, status_.endpoint, user_, next_);
    next_trial_ = {};
    try_next();
  }

  void start(Duration within) {
    if (within == Duration::zero()) return probe_readiness();
    io::Reactor& reactor = transport_.reactor();
    reactor.timers().set(timer_, reactor.now(), random_.between(Duration::zero(), within));
  }

  void probe_readiness() {
    if (stopping_ || readiness_.busy()) return;
    ++counters_.probes;
    http::RequestHead head = probe_head(status_.endpoint, "GET", options_.readiness_path);
    if (identity_) claim_(user_, head.fields);
    late_ = 0;
    asked_at_ = transport_.reactor().now();
    if (quiet_) readiness_.close_after();
    transport_.reactor().timers().set(late_timer_, transport_.reactor().now(), options_.timeout);
    readiness_.request(std::move(head), {}, open_probe_max,
                       [this](Result<ProbeAnswer> answer) { readiness_answered(answer); });
  }

  void probe_now() {
    if (stopping_ || readiness_.busy()) return;
    timer_.cancel();
    probe_readiness();
  }

  void set_quiet(bool quiet) {
    if (std::exchange(quiet_, quiet) == quiet || quiet) return;
    // What would have been asked meanwhile.
    next_identity_probe_ =
        std::min(next_identity_probe_, identity_probed_ + options_.identity_interval);
    // It may have been restarted unnoticed.
    ask_for_age();
    probe_now();
  }

  void connections_silent() {
    if (stopping_) return;
    if (late_ == 0 || !readiness_.busy()) return probe_now();
    answers_ = 0;
    set_health(Health::not_ready, "it answers neither probes nor PING");
  }

  // Not more often than once in a while, whatever asks for it.
  void check_identity_now() {
    const Instant earliest = identity_probed_ + identity_retry;
    if (next_identity_probe_ <= earliest) return;
    next_identity_probe_ = earliest;
    if (transport_.reactor().now() >= earliest) probe_now();
  }

  void terminate() {
    stopping_ = true;
    timer_.cancel();
    late_timer_.cancel();
    readiness_.terminate();
    version_.terminate();
    if (identity_) identity_->terminate();
    end_trial();
  }

  bool terminated() const {
    return readiness_.terminated() && version_.terminated() &&
           (!identity_ || identity_->terminated()) &&
           std::ranges::all_of(left_, [](const auto& left) { return left->terminated(); }) &&
           std::ranges::all_of(left_trials_, [](const auto& left) { return left->terminated(); });
  }
  const std::shared_ptr<BackendStatus>& status() const { return shared_; }
  bool asked() const { return asked_; }
  const Counters& counters() const { return counters_; }

 private:
  void make_identity(const BackendContexts& contexts) {
    identity_ =
        std::make_unique<IdentityProbe>(transport_, status_.endpoint, user_, contexts.identity);
  }

  void adopt(const BackendContexts& contexts) {
    std::erase_if(left_, [](const auto& probe) { return probe->terminated(); });
    readiness_.use(contexts.identity ? contexts.identity : contexts.plain);
    version_.use(contexts.identity ? contexts.identity : contexts.plain);
    if (!contexts.identity) {
      if (identity_) {
        identity_->terminate();
        left_.push_back(std::move(identity_));
      }
    } else if (identity_) {
      identity_->use(contexts.identity);
    } else {
      make_identity(contexts);
      identity_known_ = false;
      status_.trusts_identity.store(false, std::memory_order_relaxed);
    }
    next_identity_probe_ = {};
    status_.adopted.store(contexts.generation, std::memory_order_relaxed);
    status_.renewal_pending.store(false, std::memory_order_relaxed);
  }

  // Asks, unless that was lately.
  void try_next() {
    const Instant now = transport_.reactor().now();
    if (stopping_ || !trial_ || trial_->busy() || now < next_trial_) return;
    next_trial_ = now + identity_retry;
    trial_->ask(claim_, options_, [this](bool passed, const std::string& why) {
      passed ? trial_passed() : trial_failed(why);
    });
  }

  void trial_passed() {
    end_trial();
    adopt(next_);
    on_change_(index_, "it takes the new front-proxy pair and authorities");
    // It was the old pair that was refused.
    if (identity_ && !status_.trusts_identity.load(std::memory_order_relaxed)) set_trust(true, "");
  }

  void trial_failed(const std::string& why) {
    if (std::exchange(said_why_not_, true)) return;
    on_change_(index_, "the new front-proxy pair and authorities are not used there yet: " + why);
  }

  // Its own answer may be what ends it.
  void end_trial() {
    std::erase_if(left_trials_, [](const auto& trial) { return trial->terminated(); });
    if (!trial_) return;
    trial_->terminate();
    left_trials_.push_back(std::move(trial_));
  }

  // Each time that the probe's time has passed once more.
  void still_unanswered() {
    io::Reactor& reactor = transport_.reactor();
    const bool ours = reactor.now() - late_timer_.deadline() > turn_late_max;
    reactor.timers().set(late_timer_, reactor.now(), options_.timeout);
    if (ours) return;
    ++late_;
    asked_ = true;
    count_failure();
    status_.answers.store(false, std::memory_order_relaxed);
    if (failures_ >= options_.failures && health() != Health::not_ready) {
      set_health(Health::slow, options_.readiness_path + " is answered late, or not at all");
    }
    on_unanswered_(index_);
    if (late_ == silent_timeouts) readiness_.give_up();
  }

  void readiness_answered(const Result<ProbeAnswer>& answer) {
    late_timer_.cancel();
    status_.answers.store(answer.has_value() && late_ == 0, std::memory_order_relaxed);
    if (!answer) {
      const bool clear = answer.error().kind == ErrorKind::refused;
      bad(clear, answer.error().context);
      if (!stopping_) on_unanswered_(index_);
    } else if (answer->status == 200) {
      status_.ready_as_of.store(asked_at_.time_since_epoch().count(), std::memory_order_relaxed);
      good();
    } else if (answer->status >= 500) {
      bad(true, options_.readiness_path + " answers " + std::to_string(answer->status));
    } else {
      if (!warned_) {
        warned_ = true;
        on_change_(index_, options_.readiness_path + " answers " + std::to_string(answer->status) +
                               ": the server lives, but the probe may not ask it; it stays in use");
      }
      good();
    }
    try_next();
    look_at_version();
    io::Reactor& reactor = transport_.reactor();
    const Duration interval = quiet_ && !in_doubt() ? options_.quiet_interval : options_.interval;
    const Duration jitter = random_.between(Duration::zero(), interval / 10 + Duration(1));
    if (!stopping_) reactor.timers().set(timer_, reactor.now(), interval + jitter);
  }

  void look_at_version() {
    if (stopping_ || options_.version_interval == Duration::zero()) return;
    if (health() != Health::ready) return;
    const Duration every = quiet_ ? options_.quiet_identity_interval : options_.version_interval;
    const auto claim = [this](http::Fields& fields) {
      if (identity_) claim_(user_, fields);
    };
    version_.look(claim, every, options_.timeout * 2, transport_.reactor().now());
  }

  // The next answers may change what is known.
  bool in_doubt() const {
    if (trial_) return true;
    if (health() == Health::not_ready) return successes_ > 0;
    return health() == Health::unknown || failures_ > 0;
  }

  Health health() const { return status_.health.load(std::memory_order_relaxed); }

  void set_health(Health now, const std::string& why) {
    const Health before = health();
    if (before == now) return;
    const bool comes = before == Health::unknown || before == Health::not_ready;
    if (comes && now != Health::not_ready) comes_to_life(before);
    if (now == Health::not_ready) return_rule_.went(transport_.reactor().now());
    if (before == Health::not_ready) return_rule_.came_back(transport_.reactor().now());
    status_.health.store(now, std::memory_order_relaxed);
    on_change_(index_, why);
  }

  // What was here when we came counts as old; what went and came back, or joins others that serve,
  // as new, until it says otherwise itself.
  void comes_to_life(Health before) {
    version_.forget();
    if (before == Health::not_ready || status_.newcomer) {
      status_.started.store(transport_.reactor().now(), std::memory_order_relaxed);
    }
    ask_for_age();
  }

  void ask_for_age() {
    age_tries_left_ = age_tries_max;
    next_age_probe_ = {};
  }

  // Beside the probes, when one is due.
  void probe_age() {
    const Instant now = transport_.reactor().now();
    if (stopping_ || age_tries_left_ == 0 || now < next_age_probe_) return;
    if (!identity_ || identity_->busy()) return;
    if (!status_.trusts_identity.load(std::memory_order_relaxed)) return;
    --age_tries_left_;
    next_age_probe_ = now + age_retry;
    http::RequestHead head = probe_head(status_.endpoint, "GET", "/metrics", "text/plain");
    claim_(user_, head.fields);
    age_probe_.ask(identity_->connection(), std::move(head),
                   [this](const Result<std::optional<Duration>>& age) { age_known(age); });
  }

  void age_known(const Result<std::optional<Duration>>& age) {
    if (!age) return;  // asked again
    age_tries_left_ = 0;
    if (!*age) {
      if (std::exchange(age_warned_, true)) return;
      return on_change_(index_,
                        "its /metrics does not say, or not to us, when it was started: it counts "
                        "as new when it comes back");
    }
    status_.started.store(transport_.reactor().now() - **age, std::memory_order_relaxed);
  }

  void count_failure() {
    successes_ = 0;
    ++failures_;
    ++counters_.failures;
  }

  // It lives. Being late was counted when it was.
  void good() {
    ++answers_;
    if (late_ == 0) {
      failures_ = 0;
      ++successes_;
    }
    if (identity_ && !identity_->busy() && transport_.reactor().now() >= next_identity_probe_) {
      probe_identity();
    }
    if (!identity_ || identity_known_) asked_ = true;
    probe_age();
    if (health() == Health::ready) return;
    if (identity_ && !identity_known_) return;  // first the trust, then the traffic
    const std::uint32_t needed = health() == Health::not_ready
                                     ? return_rule_.successes(options_.successes)
                                     : options_.successes;
    if (successes_ >= (health() == Health::unknown ? 1 : needed)) {
      set_health(Health::ready, "ready");
      probe_age();
    } else if (late_ > 0 && health() == Health::not_ready && answers_ >= needed) {
      set_health(Health::slow, options_.readiness_path + " is answered late");
    }
  }

  void bad(bool clear, const std::string& why) {
    asked_ = true;
    answers_ = 0;
    if (late_ == 0) count_failure();  // else it was when it became late
    if (!clear && failures_ < options_.failures) return;
    if (health() == Health::not_ready) return;
    // A restarted server may trust others.
    next_identity_probe_ = {};
    set_health(Health::not_ready, why);
  }

  void probe_identity() {
    identity_probed_ = transport_.reactor().now();
    next_identity_probe_ =
        identity_probed_ + (quiet_ ? options_.quiet_identity_interval : options_.identity_interval);
    identity_->ask(claim_, options_.timeout * 2,
                   [this](IdentityProbe::Verdict verdict, const std::string& why) {
                     if (verdict == IdentityProbe::Verdict::unclear) return identity_unclear(why);
                     set_trust(verdict == IdentityProbe::Verdict::trusted, why);
                   });
  }

  void identity_unclear(const std::string& why) {
    next_identity_probe_ = transport_.reactor().now() + identity_retry;
    if (!identity_known_ && !unclear_reported_) {
      unclear_reported_ = true;
      on_change_(index_, "the identity probe got no answer: " + why);
    }
  }

  void set_trust(bool trusts, const std::string& why) {
    const bool first = !identity_known_;
    identity_known_ = true;
    asked_ = true;
    unclear_reported_ = false;
    if (!trusts) next_identity_probe_ = transport_.reactor().now() + identity_retry;
    if (status_.trusts_identity.exchange(trusts, std::memory_order_relaxed) != trusts || first) {
      if (!why.empty())
        on_change_(index_, why);
      else
        on_change_(index_, "takes the identities that we vouch for");
    }
    if (first) good();
  }

  net::Transport& transport_;
  const std::shared_ptr<BackendStatus> shared_;
  BackendStatus& status_;
  std::size_t index_;
  const ProbeOptions& options_;
  ClaimIdentity& claim_;
  OnChange& on_change_;
  OnUnanswered& on_unanswered_;
  Random random_;
  std::string user_;
  ProbeConnection readiness_;
  VersionProbe version_;
  std::unique_ptr<IdentityProbe> identity_;
  std::vector<std::unique_ptr<IdentityProbe>> left_;
  // What is to come, while it has not passed.
  BackendContexts next_;
  std::unique_ptr<TlsTrial> trial_;
  std::vector<std::unique_ptr<TlsTrial>> left_trials_;
  Instant next_trial_{};
  bool said_why_not_ = false;
  io::Timer timer_;
  io::Timer late_timer_;
  Counters counters_;
  ReturnRule return_rule_;
  std::uint32_t failures_ = 0;   // in a row; a probe that stays open counts once each timeout
  std::uint32_t successes_ = 0;  // in a row, and in time
  std::uint32_t answers_ = 0;    // in a row, late ones included
  std::uint32_t late_ = 0;       // time-outs that the present probe has waited
  bool asked_ = false;
  bool identity_known_ = false;
  bool unclear_reported_ = false;
  bool warned_ = false;
  bool age_warned_ = false;
  bool stopping_ = false;
  bool quiet_ = false;
  Instant asked_at_{};
  Instant next_identity_probe_{};
  Instant identity_probed_{};  // when it last began
  AgeProbe age_probe_;
  std::uint32_t age_tries_left_ = 0;
  Instant next_age_probe_{};
};

HealthProbe::HealthProbe(net::Transport& transport, Cluster cluster, BackendContexts contexts,
                         const ProbeOptions& options, ClaimIdentity claim, std::uint64_t seed,
                         OnChange on_change, OnUnanswered on_unanswered)
    : transport_(transport),
      cluster_(std::move(cluster)),
      contexts_(std::move(contexts)),
      options_(options),
      claim_(std::move(claim)),
      random_(seed),
      on_change_(std::move(on_change)),
      on_unanswered_(std::move(on_unanswered)) {
  update_targets();
}

HealthProbe::~HealthProbe() { CHECK(terminated()); }

void HealthProbe::update(Cluster cluster, BackendContexts contexts, const ProbeOptions& options,
                         ClaimIdentity claim) {
  if (stopping_) return;
  cluster_ = std::move(cluster);
  const bool renewed = contexts.identity != contexts_.identity || contexts.plain != contexts_.plain;
  if (contexts_.generation != contexts.generation) earlier_.push_back(std::move(contexts_));
  contexts_ = std::move(contexts);
  options_ = options;
  claim_ = std::move(claim);
  if (renewed) {
    for (const auto& target : targets_) {
      if (target != nullptr) target->offer(contexts_);
    }
  }
  update_targets();
  std::erase_if(earlier_, [this](const BackendContexts& earlier) {
    return std::ranges::none_of(cluster_.backends, [&](const auto& status) {
      return status != nullptr &&
             status->adopted.load(std::memory_order_relaxed) == earlier.generation;
    });
  });
}

// What a backend begins with: where something served before, that, until the newest has passed
// there, also when it was away meanwhile.
const BackendContexts& HealthProbe::contexts_for(const BackendStatus& status) const {
  if (status.health.load(std::memory_order_relaxed) == Health::unknown) return contexts_;
  const auto found = std::ranges::find(earlier_, status.adopted.load(std::memory_order_relaxed),
                                       &BackendContexts::generation);
  return found == earlier_.end() ? contexts_ : *found;
}

void HealthProbe::update_targets() {
  std::erase_if(ending_, [](const auto& target) { return target->terminated(); });
  targets_.resize(std::max(targets_.size(), cluster_.backends.size()));
  for (std::size_t slot = 0; slot < targets_.size(); ++slot) {
    auto& target = targets_[slot];
    const bool asked = cluster_.serves(slot);
    if (target != nullptr && (!asked || target->status() != cluster_.backends[slot])) {
      target->terminate();
      ending_.push_back(std::move(target));
    }
    if (!asked || target != nullptr) continue;
    const BackendContexts& contexts = contexts_for(*cluster_.backends[slot]);
    target = std::make_unique<Target>(transport_, cluster_.backends[slot], slot, contexts, options_,
                                      claim_, random_.next(), on_change_, on_unanswered_);
    if (&contexts != &contexts_) target->offer(contexts_);
    target->set_quiet(quiet_);
    if (started_) target->start(Duration::zero());
  }
}

void HealthProbe::start(Duration within) {
  started_ = true;
  for (const auto& target : targets_) {
    if (target != nullptr) target->start(within);
  }
}

void HealthProbe::set_quiet(bool quiet) {
  quiet_ = quiet;
  for (const auto& target : targets_) {
    if (target != nullptr) target->set_quiet(quiet);
  }
}

void HealthProbe::probe_now(std::size_t backend) {
  if (Target* target = find(backend)) target->probe_now();
}

void HealthProbe::connections_silent(std::size_t backend) {
  if (Target* target = find(backend)) target->connections_silent();
}

void HealthProbe::check_identity_now(std::size_t backend) {
  if (Target* target = find(backend)) target->check_identity_now();
}

HealthProbe::Target* HealthProbe::find(std::size_t backend) const {
  return backend < targets_.size() ? targets_[backend].get() : nullptr;
}

bool HealthProbe::first_round_done() const {
  return std::ranges::all_of(
      targets_, [](const auto& target) { return target == nullptr || target->asked(); });
}

void HealthProbe::terminate() {
  stopping_ = true;
  for (const auto& target : targets_) {
    if (target != nullptr) target->terminate();
  }
}

bool HealthProbe::terminated() const {
  const auto over = [](const auto& target) { return target == nullptr || target->terminated(); };
  return std::ranges::all_of(targets_, over) && std::ranges::all_of(ending_, over);
}

const HealthProbe::Counters& HealthProbe::counters(std::size_t backend) const {
  return targets_[backend]->counters();
}

}  // namespace sluice::backend
