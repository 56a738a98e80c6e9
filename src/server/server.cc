// SPDX-License-Identifier: GPL-3.0-or-later
// The control thread: starts workers, probes backends, serves the admin listener, obeys signals.
#include "sluice/server/server.h"

#include <signal.h>
#include <sys/random.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <mutex>

#include "admin.h"
#include "client_connection.h"
#include "signals.h"
#include "sluice/base/check.h"
#include "sluice/io/kernel_features.h"
#include "sluice/observability/log.h"
#include "status_pages.h"
#include "systemd.h"
#include "worker.h"

namespace sluice::server {
namespace {

constexpr Duration tick = std::chrono::milliseconds(250);
// A worker that has not turned for so long is stuck: its heartbeat is twice a second.
constexpr Duration worker_stuck = std::chrono::seconds(5);
// Listeners open when every backend has been asked once, or after this time.
constexpr Duration first_probes_max = std::chrono::seconds(3);
// After a second signal nobody is waited for longer than this.
constexpr Duration stop_at_once_max = std::chrono::milliseconds(800);

std::uint64_t random_seed() {
  std::uint64_t seed = 0;
  if (getrandom(&seed, sizeof seed, 0) != sizeof seed) {
    CHECK(false && "getrandom failed");
  }
  return seed;
}

}  // namespace

class Server::Control final : private WorkerEvents {
 public:
  explicit Control(ServerOptions options)
      : options_(std::move(options)),
        cluster_(options_.backends),
        board_(options_.cpus.size(), options_.backends.size()),
        proxy_metrics_(registry_, cluster_),
        client_metrics_(registry_),
        worker_metrics_(registry_, cluster_),
        admission_(options_.client_connections_max),
        timer_(io::Timer::bind<&Control::ticked>(this)) {}

  ~Control() override {
    workers_.clear();
    probe_.reset();
    admin_.reset();
    signals_.reset();
    transport_.reset();
  }

  Result<void> prepare() {
    auto features = io::probe_kernel_features();
    if (!features) return std::unexpected(features.error());
    for (const std::string& warning : features->warnings) log::warning(warning);
    options_.ring.one_shot_receive = !features->multishot_receive_sees_end_of_stream;
    Signals::block();

    auto names = kubernetes::IdentityFields::make(options_.request_headers);
    if (!names) return std::unexpected(names.error());
    identity_fields_ = std::make_unique<kubernetes::IdentityFields>(std::move(*names));

    io::RingOptions small = options_.ring;
    small.submission_entries = 64;
    small.completion_entries = 512;
    small.receive_buffers = 16;
    auto reactor = io::Reactor::create(small);
    if (!reactor) return std::unexpected(reactor.error());
    reactor_ = std::move(*reactor);
    net::TransportOptions transport = options_.transport;
    transport.connect_timeout = options_.probe.timeout;
    transport_ = std::make_unique<net::Transport>(*reactor_, transport);

    auto signals = Signals::create(reactor_->ring(), [this](int number) { signalled(number); });
    if (!signals) return std::unexpected(signals.error());
    signals_ = std::move(*signals);

    if (!options_.access_log.empty()) {
      auto access_log = observability::AccessLog::open(
          {.path = options_.access_log, .workers = options_.cpus.size()});
      if (!access_log) return std::unexpected(access_log.error());
      access_log_ = std::move(*access_log);
    }
    register_metrics();
    if (auto probes = prepare_probes(); !probes) return probes;
    for (const io::Address& address : options_.admin_listen) {
      auto admin = Admin::create(*reactor_, address,
                                 [this](std::string_view path) { return admin_page(path); });
      if (!admin) return std::unexpected(admin.error());
      admin_ = std::move(*admin);
      log::info("admin listener", {{"address", admin_->address().to_string()}});
    }
    return {};
  }

  // Ends what the control thread itself has begun, however far it came.
  void wind_down() {
    if (reactor_ == nullptr) return;
    if (probe_) probe_->terminate();
    if (admin_) admin_->stop();
    if (signals_) signals_->stop();
    reactor_->run_until([&] {
      return (!probe_ || probe_->terminated()) && (!admin_ || admin_->stopped()) &&
             (!signals_ || signals_->stopped()) && (!transport_ || transport_->connections() == 0);
    });
  }

  int run() {
    io::TimerWheel& timers = reactor_->timers();
    probe_->start();
    const Instant probes_end = reactor_->now() + first_probes_max;
    timers.set(timer_, reactor_->now(), tick);
    reactor_->run_until(
        [&] { return probe_->first_round_done() || reactor_->now() >= probes_end || stopping_; });
    if (!stopping_) start_workers();
    if (failed_) return stop_everything(1);
    if (!stopping_) {
      log::info("serving", {{"workers", workers_.size()}, {"backends", cluster_.backends.size()}});
      notify_service_manager("READY=1\nSTATUS=serving");
      state_ = State::serving;
    }
    reactor_->run_until([&] { return workers_stopped(); });
    return stop_everything(failed_ ? 1 : 0);
  }

 private:
  enum class State : std::uint8_t { starting, serving, delaying, draining, stopping };

  void register_metrics() {
    for (const NamedCertificate& certificate : options_.certificates) {
      const auto not_after = static_cast<double>(certificate.not_after.time_since_epoch().count());
      registry_.gauge_function("sluice_certificate_not_after_seconds",
                               "When the certificate ends, in seconds since 1970.",
                               [not_after] { return not_after; }, {{"use", certificate.use}});
    }
    registry_.gauge_function("sluice_build_info", "Always 1; the version is a label.",
                             [] { return 1.0; }, {{"version", options_.version}});
    for (std::size_t i = 0; i < cluster_.backends.size(); ++i) {
      const backend::BackendStatus& status = *cluster_.backends[i];
      const metrics::Labels labels{{"backend", status.endpoint.name}};
      registry_.gauge_function(
          "sluice_backend_ready", "1 while the backend gets new requests.",
          [&status] {
            return status.health.load(std::memory_order_relaxed) == backend::Health::ready ? 1.0
                                                                                           : 0.0;
          },
          labels);
      registry_.gauge_function(
          "sluice_backend_trusts_identity",
          "1 while the backend takes the identities that the proxy vouches for.",
          [&status] { return status.trusts_identity.load(std::memory_order_relaxed) ? 1.0 : 0.0; },
          labels);
      registry_.gauge_function(
          "sluice_backend_work", "Work in flight, in seats.",
          [this, i] { return static_cast<double>(board_.total(i).work); }, labels);
      registry_.gauge_function(
          "sluice_backend_watches", "Open watches.",
          [this, i] { return static_cast<double>(board_.total(i).watches); }, labels);
    }
    if (access_log_) {
      registry_.counter_function("sluice_access_log_dropped_total",
                                 "Access log records dropped because the log could not keep up.",
                                 [this] { return static_cast<double>(access_log_->dropped()); });
    }
    registry_.counter_function("sluice_log_dropped_total", "Log lines dropped.",
                               [] { return static_cast<double>(log::counters().dropped); });
  }

  Result<void> prepare_probes() {
    for (std::size_t i = 0; i < options_.backends.size(); ++i) {
      auto plain = tls::ClientContext::create(options_.backend_plain[i]);
      if (!plain) return std::unexpected(plain.error());
      backend::BackendContexts contexts{std::move(*plain), nullptr};
      if (!options_.backend_identity.empty()) {
        auto identity = tls::ClientContext::create(options_.backend_identity[i]);
        if (!identity) return std::unexpected(identity.error());
        contexts.identity = std::move(*identity);
      }
      probe_contexts_.push_back(std::move(contexts));
    }
    probe_ = std::make_unique<backend::HealthProbe>(
        *transport_, cluster_, probe_contexts_, options_.probe,
        [this](std::string_view user, http::Fields& fields) {
          kubernetes::Identity claim;
          claim.user = user;
          // The role that may read readiness (k8s.io/apiserver pkg/authentication/user).
          claim.groups = {"system:monitoring"};
          identity_fields_->append(claim, fields);
        },
        random_seed(),
        [this](std::size_t backend, const std::string& text) { backend_changed(backend, text); });
    return {};
  }

  void backend_changed(std::size_t backend, const std::string& text) {
    const backend::BackendStatus& status = *cluster_.backends[backend];
    const backend::Health health = status.health.load(std::memory_order_relaxed);
    const bool trusts = status.trusts_identity.load(std::memory_order_relaxed);
    const auto log_change =
        health != backend::Health::not_ready && trusts ? log::info : log::warning;
    log_change("backend",
               {{"backend", status.endpoint.name},
                {"health", to_string(health)},
                {"trusts_identity", trusts},
                {"why", text}},
               log::Place::current());
  }

  void start_workers() {
    WorkerOptions worker;
    worker.ring = options_.ring;
    worker.transport = options_.transport;
    worker.backends = options_.backend_set;
    worker.proxy = options_.proxy;
    worker.client.session = options_.client_session;
    worker.client.head_timeout = options_.client_head_timeout;
    worker.client.idle_timeout = options_.client_idle_timeout;
    worker.listen = options_.listen;
    worker.tls = options_.tls;
    worker.backend_plain = options_.backend_plain;
    worker.backend_identity = options_.backend_identity;
    const std::array<std::uint64_t, 2> token_key{random_seed(), random_seed()};
    std::atomic<std::size_t> answered{0};
    std::mutex mutex;
    std::string error;
    for (std::size_t i = 0; i < options_.cpus.size(); ++i) {
      worker.cpu = options_.cpus[i];
      workers_.push_back(
          std::make_unique<Worker>(i, worker,
                                   WorkerParts{cluster_, board_, *identity_fields_, registry_,
                                               proxy_metrics_, client_metrics_, worker_metrics_,
                                               access_log_.get(), admission_, *this, token_key},
                                   random_seed()));
      workers_.back()->start([&](Result<void> started) {
        if (!started) {
          const std::lock_guard lock(mutex);
          error = started.error().context;
        }
        answered.fetch_add(1, std::memory_order_release);
        answered.notify_one();
      });
    }
    // A worker prepares in milliseconds and always answers.
    for (std::size_t seen = 0;
         (seen = answered.load(std::memory_order_acquire)) < workers_.size();) {
      answered.wait(seen);
    }
    if (!error.empty()) {
      log::error("a worker could not start", {{"why", error}});
      failed_ = true;
      for (const auto& w : workers_) w->stop();
    }
  }

  bool workers_stopped() const {
    return std::ranges::all_of(workers_, [](const auto& worker) { return worker->stopped(); });
  }

  int stop_everything(int code) {
    state_ = State::stopping;
    timer_.cancel();
    if (failed_) reactor_->run_until([&] { return workers_stopped(); });
    for (const auto& worker : workers_) worker->join();
    wind_down();
    log::info("stopped");
    return code;
  }

  void signalled(int number) {
    if (number == SIGHUP) {
      log::info("SIGHUP: nothing to reload");
      return;
    }
    if (stopping_) return stop_now();
    stopping_ = true;
    notify_service_manager("STOPPING=1\nSTATUS=draining");
    log::info("stopping", {{"signal", number}, {"shutdown_delay", options_.shutdown_delay}});
    if (state_ == State::starting) return;
    state_ = State::delaying;  // readiness is off; requests are still served
    next_step_ = reactor_->now() + options_.shutdown_delay;
    step();
  }

  void step() {
    if (reactor_->now() < next_step_) return;
    if (state_ == State::delaying) {
      state_ = State::draining;
      log::info("draining", {{"drain_timeout", options_.drain_timeout}});
      for (const auto& worker : workers_) worker->drain(options_.drain_timeout);
    }
  }

  void stop_now() {
    if (stop_now_deadline_) return;
    log::info("second signal: stopping at once");
    stop_now_deadline_ = reactor_->now() + stop_at_once_max;
    for (const auto& worker : workers_) worker->stop();
  }

  // Four times a second: the steps of a stop, the watchdog.
  void ticked() {
    reactor_->timers().set(timer_, reactor_->now(), tick);
    if (state_ == State::delaying) step();
    if (stop_now_deadline_ && reactor_->now() >= *stop_now_deadline_) {
      log::stop();
      std::quick_exit(1);
    }
    if (watchdog_ && reactor_->now() >= next_watchdog_ && workers_turn()) {
      next_watchdog_ = reactor_->now() + *watchdog_;
      notify_service_manager("WATCHDOG=1");
    }
  }

  bool workers_turn() const {
    return std::ranges::all_of(workers_, [&](const auto& worker) {
      return worker->stopped() || reactor_->now() - worker->last_turn() < worker_stuck;
    });
  }

  AdminReply admin_page(std::string_view path) {
    if (path == "/metrics") {
      return {200, "text/plain; version=0.0.4; charset=utf-8", registry_.render()};
    }
    if (path == "/livez") {
      return workers_turn() ? AdminReply{200, "text/plain; charset=utf-8", "ok\n"}
                            : AdminReply{500, "text/plain; charset=utf-8", "a worker is stuck\n"};
    }
    if (path == "/readyz") return readiness();
    if (path == "/backends") {
      return {200, "application/json", backends_page(cluster_, board_, registry_, proxy_metrics_)};
    }
    return {404, "text/plain; charset=utf-8", "try /metrics, /livez, /readyz or /backends\n"};
  }

  AdminReply readiness() const {
    const char* text = "text/plain; charset=utf-8";
    if (state_ == State::starting) return {503, text, "starting\n"};
    if (state_ != State::serving) return {503, text, "stopping\n"};
    if (!cluster_.any_ready()) return {503, text, "no backend is ready\n"};
    return {200, text, "ok\n"};
  }

  // WorkerEvents, from workers' threads.
  void probe_soon(std::size_t backend) override {
    reactor_->mailbox().post([this, backend] {
      if (state_ != State::stopping) probe_->probe_now(backend);
    });
  }
  void identity_refused(std::size_t backend) override {
    reactor_->mailbox().post([this, backend] {
      if (state_ == State::stopping) return;
      log::error(
          "a backend refuses the identity that the proxy vouches for: its front-proxy pool "
          "is out of use",
          {{"backend", cluster_.backends[backend]->endpoint.name}});
      probe_->check_identity_now(backend);
    });
  }

  ServerOptions options_;
  backend::Cluster cluster_;
  balance::LoadBoard board_;
  metrics::Registry registry_;
  proxy::ProxyMetrics proxy_metrics_;
  ClientMetrics client_metrics_;
  WorkerMetrics worker_metrics_;
  net::AdmissionBudget admission_;
  std::unique_ptr<kubernetes::IdentityFields> identity_fields_;
  std::unique_ptr<observability::AccessLog> access_log_;
  std::unique_ptr<io::Reactor> reactor_;
  std::unique_ptr<net::Transport> transport_;
  std::unique_ptr<Signals> signals_;
  std::vector<backend::BackendContexts> probe_contexts_;
  std::unique_ptr<backend::HealthProbe> probe_;
  std::unique_ptr<Admin> admin_;
  std::vector<std::unique_ptr<Worker>> workers_;
  State state_ = State::starting;
  bool stopping_ = false;
  bool failed_ = false;
  Instant next_step_{};
  std::optional<Instant> stop_now_deadline_;
  std::optional<Duration> watchdog_ = watchdog_interval();
  Instant next_watchdog_{};
  io::Timer timer_;
};

Server::Server(std::unique_ptr<Control> control) : control_(std::move(control)) {}
Server::~Server() = default;

Result<std::unique_ptr<Server>> Server::create(ServerOptions options) {
  auto control = std::make_unique<Control>(std::move(options));
  if (auto prepared = control->prepare(); !prepared) {
    control->wind_down();
    return std::unexpected(prepared.error());
  }
  return std::unique_ptr<Server>(new Server(std::move(control)));
}

int Server::run() { return control_->run(); }

}  // namespace sluice::server
