// SPDX-License-Identifier: GPL-3.0-or-later
// The control thread's work.
#include "control.h"

#include <signal.h>

#include <algorithm>
#include <utility>

#include "sluice/base/check.h"
#include "sluice/observability/log.h"

namespace sluice::server {
namespace {

constexpr Duration tick_interval = std::chrono::milliseconds(250);
// A worker that has not turned for so long is stuck: its heartbeat is twice a second.
constexpr Duration worker_stuck = std::chrono::seconds(5);
// Listeners open when every backend has been asked once, or after this time.
constexpr Duration first_probes_max = std::chrono::seconds(3);

net::TransportOptions probe_transport(const ServerOptions& options) {
  net::TransportOptions transport = options.thread.worker.transport;
  transport.connect_timeout = options.probe.timeout;
  return transport;
}

}  // namespace

Result<std::unique_ptr<Control>> Control::create(io::Reactor& reactor, Environment& environment,
                                                 Shared& shared, const ServerOptions& options) {
  std::unique_ptr<Control> control(new Control(reactor, environment, shared, options));
  if (auto prepared = control->prepare(); !prepared) {
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

Result<void> Control::prepare() {
  if (auto probe = prepare_probe(); !probe) return probe;
  return prepare_admin();
}

Result<void> Control::prepare_probe() {
  const auto contexts = options_.thread.worker.backend_tls.make_contexts();
  if (!contexts) return std::unexpected(contexts.error());
  probe_ = std::make_unique<backend::HealthProbe>(
      transport_, shared_.cluster, *contexts, options_.probe,
      std::bind_front(&Control::claim_identity, this), environment_.random(),
      std::bind_front(&Control::backend_changed, this),
      std::bind_front(&Control::backend_unanswered, this));
  return {};
}

Result<void> Control::prepare_admin() {
  for (const io::Address& address : options_.admin_listen) {
    auto admin =
        Admin::create(reactor_, address, [this](std::string_view path, Admin::Answer answer) {
          pages_.get(path, std::move(answer));
        });
    if (!admin) return std::unexpected(admin.error());
    admin_ = std::move(*admin);
    log::info("admin listener", {{"address", admin_->address().to_string()}});
  }
  return {};
}

// --- from start to stop

void Control::start() {
  CHECK(probe_ != nullptr);
  CHECK(workers_.empty());
  probe_->start();
  open_at_latest_ = reactor_.now() + first_probes_max;
  reactor_.timers().set(timer_, reactor_.now(), tick_interval);
}

bool Control::may_open() const {
  return probe_->first_round_done() || reactor_.now() >= open_at_latest_ || !stop_.may_start();
}

void Control::workers_started(std::vector<WorkerPort*> workers, Result<void> result) {
  CHECK(workers_.empty());
  CHECK(std::ranges::none_of(workers, [](const WorkerPort* worker) { return worker == nullptr; }));
  workers_ = std::move(workers);
  stuck_.assign(workers_.size(), false);
  debug_.set_workers(workers_);
  if (!result) {
    log::error("a worker could not start", {{"why", result.error().context}});
    return carry_out(stop_.start_failed());
  }
  stop_.workers_serve();
  log::info("serving",
            {{"workers", workers_.size()}, {"backends", shared_.cluster.backends.size()}});
  environment_.notify_service_manager("READY=1\nSTATUS=serving");
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
    case StopSequence::Action::announce:
      environment_.notify_service_manager("STOPPING=1\nSTATUS=draining");
      break;
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

void Control::tell_workers(const std::function<void(Worker&)>& what) {
  for (WorkerPort* worker : workers_) worker->post(what);
}

void Control::stop() {
  stop_.workers_gone();
  timer_.cancel();
  debug_.stop();
  if (probe_) probe_->terminate();
  if (admin_) admin_->stop();
}

bool Control::stopped() const {
  return (!probe_ || probe_->terminated()) && (!admin_ || admin_->stopped()) &&
         transport_.connections() == 0;
}

// Four times a second: the steps of a stop, the watchdog.
void Control::tick() {
  reactor_.timers().set(timer_, reactor_.now(), tick_interval);
  carry_out(stop_.time_passed(reactor_.now()));
  watch_workers();
  feed_watchdog();
}

void Control::feed_watchdog() {
  if (!watchdog_interval_ || reactor_.now() < next_watchdog_ || !workers_turn()) return;
  next_watchdog_ = reactor_.now() + *watchdog_interval_;
  environment_.notify_service_manager("WATCHDOG=1");
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

void Control::claim_identity(std::string_view user, http::Fields& fields) const {
  kubernetes::Identity claim;
  claim.user = user;
  // The role that may read readiness (k8s.io/apiserver pkg/authentication/user).
  claim.groups = {"system:monitoring"};
  shared_.identity_fields.append(claim, fields);
}

void Control::backend_changed(std::size_t backend, const std::string& why) {
  CHECK_LT(backend, shared_.cluster.backends.size());
  const backend::BackendStatus& status = *shared_.cluster.backends[backend];
  const backend::Health health = status.health.load(std::memory_order_relaxed);
  const bool trusts = status.trusts_identity.load(std::memory_order_relaxed);
  const auto log_change = health != backend::Health::not_ready && trusts ? log::info : log::warning;
  log_change("backend",
             {{"backend", status.endpoint.name},
              {"health", to_string(health)},
              {"trusts_identity", trusts},
              {"why", why}},
             log::Place::current());
}

void Control::backend_unanswered(std::size_t backend) {
  if (!shared_.cluster.any_answers()) return;
  tell_workers([backend](Worker& worker) { worker.check_backend(backend); });
}

void Control::post(std::move_only_function<void()> message) {
  reactor_.mailbox().post([this, message = std::move(message)]() mutable {
    if (stop_.state() != StopSequence::State::stopped) message();
  });
}

void Control::probe_soon(std::size_t backend) {
  post([this, backend] { probe_->probe_now(backend); });
}

void Control::backend_silent(std::size_t backend) {
  post([this, backend] { probe_->connections_silent(backend); });
}

void Control::identity_refused(std::size_t backend) {
  post([this, backend] { probe_->check_identity_now(backend); });
}

// So that a client's next connection, which may be another worker's, is known there.
void Control::token_changed(std::size_t worker, const proxy::TokenChange& change) {
  if (options_.cpus.size() < 2) return;
  post([this, worker, change] {
    tell_workers([worker, change](Worker& other) {
      if (other.number() != worker) other.learn(change);
    });
  });
}

}  // namespace sluice::server
