// SPDX-License-Identifier: GPL-3.0-or-later
// The control thread's work.
#include "control.h"

#include <signal.h>

#include <algorithm>
#include <utility>

#include "known_tokens.h"
#include "sluice/base/check.h"
#include "sluice/observability/log.h"

namespace sluice::server {
namespace {

constexpr Duration tick_interval = std::chrono::milliseconds(250);
// A worker that has not turned for so long is stuck: its heartbeat is twice a second.
constexpr Duration worker_stuck = std::chrono::seconds(5);
// Listeners open when every backend has been asked once, or after this time.
constexpr Duration first_probes_max = std::chrono::seconds(3);

// The longest that a probe of any cluster may take to connect.
net::TransportOptions probe_transport(const ServerOptions& options) {
  net::TransportOptions transport = options.thread.worker.transport;
  Duration timeout{};
  for (const ClusterOptions& cluster : options.clusters) {
    timeout = std::max(timeout, cluster.probe.timeout);
  }
  transport.connect_timeout = timeout;
  return transport;
}

void claim_identity(const kubernetes::IdentityFields& names, std::string_view user,
                    http::Fields& fields) {
  kubernetes::Identity claim;
  claim.user = user;
  // The role that may read readiness (k8s.io/apiserver pkg/authentication/user).
  claim.groups = {"system:monitoring"};
  names.append(claim, fields);
}

}  // namespace

Result<std::unique_ptr<Control>> Control::create(io::Reactor& reactor, Environment& environment,
                                                 Shared& shared, const ServerOptions& options,
                                                 AdminSocket admin) {
  std::unique_ptr<Control> control(new Control(reactor, environment, shared, options));
  if (auto prepared = control->prepare(std::move(admin)); !prepared) {
    control->stop();
    reactor.run_until([&] { return control->stopped(); });
    return std::unexpected(prepared.error());
  }
  return control;
}

Control::Control(io::Reactor& reactor, Environment& environment, Shared& shared,
                 const ServerOptions& options)
    : reactor_(reactor),
      environment_(environment),
      shared_(shared),
      options_(options),
      stop_(options.stop.delay),
      pages_(shared, *this),
      debug_(reactor),
      transport_(reactor, probe_transport(options)),
      watchdog_interval_(environment.watchdog_interval()),
      timer_(io::Timer::bind<&Control::tick>(this)) {}

Control::~Control() = default;

Result<void> Control::prepare(AdminSocket admin) {
  for (std::size_t i = 0; i < shared_.clusters.size(); ++i) {
    if (auto probe = prepare_probe(i); !probe) return probe;
  }
  return prepare_admin(std::move(admin));
}

Result<void> Control::prepare_probe(std::size_t number) {
  Cluster& cluster = *shared_.clusters[number];
  Result<backend::BackendContexts> contexts;
  if (!cluster.hibernates()) contexts = cluster.options().backend_tls.make_probe_contexts();
  if (!contexts) return std::unexpected(contexts.error());
  Probed& probed = probed_.emplace_back();
  probed.probe = std::make_unique<backend::HealthProbe>(
      transport_, cluster.status, *contexts, cluster.options().probe,
      [&names = cluster.identity_fields](std::string_view user, http::Fields& fields) {
        claim_identity(names, user, fields);
      },
      environment_.random(),
      [this, number](std::size_t backend, const std::string& why) {
        backend_changed({number, backend}, why);
      },
      [this, number](std::size_t backend) { backend_unanswered({number, backend}); });
  // The only one is used from the start.
  probed.probe->set_quiet(!shared_.only_one());
  return {};
}

Result<void> Control::prepare_admin(AdminSocket given) {
  const auto pages = [this](std::string_view path, Admin::Answer answer) {
    pages_.get(path, std::move(answer));
  };
  if (given.descriptor.get() >= 0) {
    admin_ = Admin::adopt(reactor_, given.descriptor.release(), pages);
    admin_in_use_ = given.in_use;
    if (!admin_in_use_) admin_->start();
  } else if (!options_.admin_listen.empty()) {
    auto admin = Admin::create(reactor_, options_.admin_listen.front(), pages);
    if (!admin) return std::unexpected(admin.error());
    admin_ = std::move(*admin);
  }
  if (!admin_) return {};
  log::info("admin listener", {{"address", admin_->address().to_string()}});
  return {};
}

void Control::notify(std::string_view state) {
  if (main_) environment_.notify_service_manager(state);
}

// --- from start to stop

void Control::start() {
  CHECK_EQ(probed_.size(), shared_.clusters.size());
  CHECK(workers_.empty());
  for (std::size_t i = 0; i < probed_.size(); ++i) {
    // Hundreds of clusters are not asked all at once, but as soon as they are used.
    const Duration within = shared_.clusters[i]->options().probe.quiet_interval;
    probed_[i].probe->start(shared_.only_one() ? Duration::zero() : within);
  }
  open_at_latest_ = reactor_.now() + first_probes_max;
  reactor_.timers().set(timer_, reactor_.now(), tick_interval);
}

bool Control::may_open() const {
  // Where there are several, clients wait for their own alone.
  return !shared_.only_one() || probed_[0].probe->first_round_done() ||
         reactor_.now() >= open_at_latest_ || !stop_.may_start();
}

void Control::workers_started(std::vector<WorkerPort*> workers, Result<void> result) {
  CHECK(workers_.empty());
  CHECK(std::ranges::none_of(workers, [](const WorkerPort* worker) { return worker == nullptr; }));
  workers_ = std::move(workers);
  stuck_.assign(workers_.size(), false);
  debug_.set_workers(workers_);
  // Told to stop while it waited for its predecessor.
  if (!stop_.may_start()) return tell_workers([](Worker& worker) { worker.stop(); });
  if (!result) {
    log::error("a worker could not start", {{"why", result.error().context}});
    return carry_out(stop_.start_failed());
  }
  stop_.workers_serve();
  next_watchdog_ = {};  // whoever was fed for us is not any more
  log::info("serving", {{"workers", workers_.size()}, {"backends", shared_.backends()}});
  notify("READY=1\nSTATUS=serving");
  if (admin_ && std::exchange(admin_in_use_, false)) admin_->start();
}

bool Control::workers_gone() const {
  return std::ranges::all_of(workers_, [](const WorkerPort* worker) { return worker->stopped(); });
}

void Control::signal(int number) {
  if (number == SIGHUP) {
    log::info("SIGHUP: nothing to reload");
    return;
  }
  for (const StopSequence::Action action : stop_.signal(reactor_.now())) {
    if (action == StopSequence::Action::announce) {
      log::info("stopping", {{"signal", number}, {"shutdown_delay", options_.stop.delay}});
    }
    if (action == StopSequence::Action::stop) log::info("second signal: stopping at once");
    carry_out(action);
  }
}

void Control::carry_out(const StopSequence::Actions& actions) {
  for (const StopSequence::Action action : actions) carry_out(action);
}

void Control::carry_out(StopSequence::Action action) {
  switch (action) {
    case StopSequence::Action::announce: notify("STOPPING=1\nSTATUS=draining"); break;
    case StopSequence::Action::drain:
      log::info("draining", {{"drain_timeout", options_.stop.drain_window},
                             {"tunnels", options_.stop.tunnel_window}});
      tell_workers([stop = options_.stop](Worker& worker) {
        worker.drain(stop.drain_window, stop.tunnel_window);
      });
      break;
    case StopSequence::Action::stop: tell_workers([](Worker& worker) { worker.stop(); }); break;
    case StopSequence::Action::abandon: environment_.abandon(1); break;
  }
}

void Control::not_main_any_more() { main_ = false; }

void Control::replaced() {
  replaced_ = true;
  if (admin_) admin_->leave();
  tell_workers([](Worker& worker) { worker.leave_backlogs(); });
  carry_out(stop_.replaced());
}

void Control::tell_workers(const std::function<void(Worker&)>& what) {
  for (WorkerPort* worker : workers_) worker->post(what);
}

void Control::stop() {
  stop_.workers_gone();
  timer_.cancel();
  debug_.stop();
  for (const Probed& probed : probed_) probed.probe->terminate();
  if (admin_) admin_->stop();
}

bool Control::stopped() const {
  const bool probes_gone =
      std::ranges::all_of(probed_, [](const Probed& probed) { return probed.probe->terminated(); });
  return probes_gone && (!admin_ || admin_->stopped()) && transport_.connections() == 0;
}

// Four times a second: the steps of a stop, the watchdog.
void Control::tick() {
  reactor_.timers().set(timer_, reactor_.now(), tick_interval);
  carry_out(stop_.time_passed(reactor_.now()));
  for (std::size_t i = 0; i < probed_.size(); ++i) {
    if (!probed_[i].waiting.empty()) tell_if_known(i);
  }
  watch_workers();
  feed_watchdog();
}

void Control::feed_watchdog() {
  if (!main_ || !watchdog_interval_ || reactor_.now() < next_watchdog_ || !workers_turn()) return;
  next_watchdog_ = reactor_.now() + *watchdog_interval_;
  notify("WATCHDOG=1");
}

bool Control::turns(const WorkerPort& worker) const {
  const std::optional<io::TurnState> turn = worker.turn();
  return !turn || reactor_.now() - turn->began < worker_stuck;
}

bool Control::workers_turn() const {
  return std::ranges::all_of(workers_, [&](const WorkerPort* worker) { return turns(*worker); });
}

// Says where a worker is stuck, while there is somebody left to say it: without the watchdog's food
// the process has not long to live.
void Control::watch_workers() {
  CHECK_EQ(stuck_.size(), workers_.size());
  for (std::size_t i = 0; i < workers_.size(); ++i) {
    const bool stuck = !turns(*workers_[i]);
    if (stuck == stuck_[i]) continue;
    stuck_[i] = stuck;
    if (!stuck) {
      log::warning("a worker turns again", {{"worker", i}});
    } else if (const std::optional<io::TurnState> turn = workers_[i]->turn()) {
      log::error("a worker is stuck", {{"worker", i},
                                       {"away", reactor_.now() - turn->began},
                                       {"step", to_string(turn->step)},
                                       {"descriptor", turn->descriptor}});
    }
  }
}

// --- backends

void Control::backend_changed(BackendId backend, const std::string& why) {
  const Cluster& cluster = *shared_.clusters.at(backend.cluster);
  const backend::BackendStatus& status = *cluster.status.backends.at(backend.backend);
  const backend::Health health = status.health.load(std::memory_order_relaxed);
  const bool trusts = status.trusts_identity.load(std::memory_order_relaxed);
  const auto log_change = health != backend::Health::not_ready && trusts ? log::info : log::warning;
  log_change("backend",
             {{"backend", cluster.backend_name(backend.backend)},
              {"health", to_string(health)},
              {"trusts_identity", trusts},
              {"why", why}},
             log::Place::current());
  tell_if_known(backend.cluster);
}

void Control::backend_unanswered(BackendId backend) {
  tell_if_known(backend.cluster);
  if (!shared_.clusters.at(backend.cluster)->status.any_answers()) return;
  tell_workers([backend](Worker& worker) { worker.check_backend(backend); });
}

void Control::post(std::move_only_function<void()> message) {
  reactor_.mailbox().post([this, message = std::move(message)]() mutable {
    if (stop_.state() != StopSequence::State::stopped) message();
  });
}

void Control::cluster_used(std::size_t worker, std::size_t cluster, bool used) {
  post([this, worker, cluster, used] {
    Probed& probed = probed_.at(cluster);
    used ? ++probed.workers : --probed.workers;
    if (shared_.only_one()) return;
    probed.probe->set_quiet(probed.workers == 0);
    if (!used) return;
    if (probed.waiting.empty()) probed.known_at_latest = reactor_.now() + first_probes_max;
    probed.waiting.push_back(worker);
    if (inherited_tokens_ != nullptr) {
      inherited_tokens_->tell(*workers_.at(worker), cluster, shared_.clusters[cluster]->name());
    }
    tell_if_known(cluster);
  });
}

// Clients wait for it; a backend that does not answer in time is not waited for.
void Control::tell_if_known(std::size_t cluster) {
  Probed& probed = probed_.at(cluster);
  if (probed.probe->first_round_done()) shared_.clusters[cluster]->set_known();
  if (!shared_.clusters[cluster]->known() && reactor_.now() < probed.known_at_latest) return;
  for (const std::size_t worker : std::exchange(probed.waiting, {})) {
    workers_.at(worker)->post([cluster](Worker& told) { told.cluster_known(cluster); });
  }
}

void Control::probe_soon(BackendId backend) {
  post([this, backend] { probed_.at(backend.cluster).probe->probe_now(backend.backend); });
}

void Control::backend_silent(BackendId backend) {
  post([this, backend] { probed_.at(backend.cluster).probe->connections_silent(backend.backend); });
}

void Control::identity_refused(BackendId backend) {
  post([this, backend] { probed_.at(backend.cluster).probe->check_identity_now(backend.backend); });
}

// So that a client's next connection, which may be another worker's, is known there.
void Control::token_changed(std::size_t worker, std::size_t cluster,
                            const proxy::TokenChange& change) {
  if (options_.cpus.size() < 2) return;
  post([this, worker, cluster, change] {
    tell_workers([worker, cluster, change](Worker& other) {
      if (other.number() != worker) other.learn(cluster, change);
    });
  });
}

}  // namespace sluice::server
