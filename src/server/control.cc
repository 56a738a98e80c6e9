// SPDX-License-Identifier: GPL-3.0-or-later
// The control thread's work.
#include "control.h"

#include <signal.h>

#include <algorithm>
#include <utility>

#include "known_tokens.h"
#include "sluice/base/check.h"
#include "sluice/io/socket.h"
#include "sluice/observability/log.h"

namespace sluice::server {
namespace {

// Closed with its message, when the worker that it is for has ended.
class AcceptedSocket {
 public:
  explicit AcceptedSocket(int descriptor) : descriptor_(descriptor) {}
  AcceptedSocket(AcceptedSocket&& other) noexcept : descriptor_(other.release()) {}
  AcceptedSocket& operator=(AcceptedSocket&&) = delete;
  ~AcceptedSocket() {
    if (descriptor_ >= 0) io::close_socket(descriptor_);
  }
  int get() const { return descriptor_; }
  int release() { return std::exchange(descriptor_, -1); }

 private:
  int descriptor_;
};

constexpr Duration tick_interval = WorkerWatch::look_interval;
// One that has not turned for so long does not take what waits in its backlog.
constexpr Duration away_after = std::chrono::seconds(1);
// What is taken of a backlog at once: the control thread has other work.
constexpr int taken_at_once = 64;
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
      probes_({reactor, environment, shared, workers_}, probe_transport(options)),
      discovery_({reactor, environment, shared,
                  [this](std::size_t cluster) { return probes_.contexts(cluster); },
                  [this](std::size_t cluster) { reloading_.endpoints_changed(cluster); }},
                 options),
      reloading_({reactor, environment, shared, probes_, discovery_, workers_, options.cpus.size(),
                  [this](std::string_view state) { notify(state); }},
                 options),
      watch_(std::in_place, 0, options.worker_stall_timeout),
      watchdog_interval_(environment.watchdog_interval()),
      timer_(io::Timer::bind<&Control::tick>(this)) {}

Control::~Control() = default;

Result<void> Control::prepare(AdminSocket admin) {
  for (std::size_t number = 0; number < shared_.table->entries.size(); ++number) {
    if (auto probe = probes_.add(number); !probe) return probe;
    discovery_.update(number, shared_.table->entries[number].cluster);
  }
  return prepare_admin(std::move(admin));
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
  CHECK(workers_.empty());
  const ClusterTable& table = *shared_.table;
  for (std::size_t number = 0; number < table.entries.size(); ++number) {
    // Hundreds of clusters are not asked all at once, but as soon as they are used.
    const Duration within = table.entries[number].version->options().probe.quiet_interval;
    probes_.start(number, shared_.alone ? Duration::zero() : within);
  }
  discovery_.tick();
  open_at_latest_ = reactor_.now() + first_probes_max;
  reactor_.timers().set(timer_, reactor_.now(), tick_interval);
}

bool Control::may_open() const {
  // Where there are several, clients wait for their own alone.
  return !shared_.alone || probes_.first_round_done(0) || reactor_.now() >= open_at_latest_ ||
         !stop_.may_start();
}

void Control::workers_started(std::vector<WorkerPort*> workers, Result<void> result) {
  CHECK(workers_.empty());
  CHECK(std::ranges::none_of(workers, [](const WorkerPort* worker) { return worker == nullptr; }));
  workers_ = std::move(workers);
  watch_.emplace(workers_.size(), options_.worker_stall_timeout);
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
  reloading_.workers_serve(options_.watch_files);
  if (std::exchange(reload_wanted_, false)) reload();
}

bool Control::workers_gone() const {
  return std::ranges::all_of(workers_, [](const WorkerPort* worker) { return worker->stopped(); });
}

void Control::signal(int number) {
  if (number == SIGHUP) return reload();
  reloading_.read_no_more();
  stop_.set_delay(reloading_.stop_options().delay);
  for (const StopSequence::Action action : stop_.signal(reactor_.now())) {
    if (action == StopSequence::Action::announce) {
      log::info("stopping",
                {{"signal", number}, {"shutdown_delay", reloading_.stop_options().delay}});
    }
    if (action == StopSequence::Action::stop) log::info("second signal: stopping at once");
    carry_out(action);
  }
}

// Who is on the way out changes nothing any more.
void Control::reload() {
  if (stop_.may_start()) {
    reload_wanted_ = true;
  } else if (serves()) {
    reloading_.begin();
  }
}

void Control::carry_out(const StopSequence::Actions& actions) {
  for (const StopSequence::Action action : actions) carry_out(action);
}

void Control::carry_out(StopSequence::Action action) {
  switch (action) {
    case StopSequence::Action::announce: notify("STOPPING=1\nSTATUS=draining"); break;
    case StopSequence::Action::drain: drain(); break;
    case StopSequence::Action::stop: tell_workers([](Worker& worker) { worker.stop(); }); break;
    case StopSequence::Action::abandon: environment_.abandon(1); break;
  }
}

void Control::drain() {
  const StopOptions stop = reloading_.stop_options();
  log::info("draining", {{"drain_timeout", stop.drain_window}, {"tunnels", stop.tunnel_window}});
  tell_workers([stop](Worker& worker) { worker.drain(stop.drain_window, stop.tunnel_window); });
}

void Control::not_main_any_more() { main_ = false; }

void Control::replaced() {
  replaced_ = true;
  reloading_.read_no_more();
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
  reloading_.stop();
  discovery_.stop();
  probes_.terminate();
  if (admin_) admin_->stop();
}

bool Control::stopped() const {
  return probes_.terminated() && discovery_.stopped() && (!admin_ || admin_->stopped());
}

// Four times a second: the steps of a stop, the watchdog.
void Control::tick() {
  reactor_.timers().set(timer_, reactor_.now(), tick_interval);
  carry_out(stop_.time_passed(reactor_.now()));
  discovery_.tick();
  probes_.tick();
  reloading_.tick();
  watch_workers();
  serve_backlogs();
  feed_watchdog();
}

// Whoever only is late may come back before the service manager would miss anything.
void Control::feed_watchdog() {
  if (!main_ || !watchdog_interval_ || reactor_.now() < next_watchdog_) return;
  if (watch_->worst() >= WorkerWatch::State::stalled) return;
  next_watchdog_ = reactor_.now() + *watchdog_interval_;
  notify("WATCHDOG=1");
}

void Control::watch_workers() {
  std::vector<std::optional<io::TurnState>> turns;
  for (const WorkerPort* worker : workers_) turns.push_back(worker->turn());
  for (const std::size_t worker : watch_->look(reactor_.now(), turns)) tell_of(worker);
}

// Says where a worker stands, while there is somebody left to say it. A part of the clients hangs
// with it, and every newcomer that the kernel gives to it: a restart costs less. Who is fed for us
// restarts the process at once when told (WATCHDOG=trigger); where nobody does, it ends by itself.
void Control::tell_of(std::size_t worker) {
  const WorkerWatch::State state = watch_->state(worker);
  const std::optional<io::TurnState> turn = workers_[worker]->turn();
  if (state == WorkerWatch::State::turns) {
    return log::warning("a worker turns again", {{"worker", worker}});
  }
  const io::TurnState where = turn.value_or(io::TurnState{});
  const auto level = state == WorkerWatch::State::late ? log::Level::warning : log::Level::error;
  if (log::enabled(level)) {
    log::write(level, "a worker is stuck",
               {{"worker", worker},
                {"away", watch_->away(worker)},
                {"step", to_string(where.step)},
                {"descriptor", where.descriptor}},
               log::Place::current());
  }
  if (state == WorkerWatch::State::stalled && watchdog_interval_) notify("WATCHDOG=trigger");
  if (state != WorkerWatch::State::hopeless) return;
  environment_.abort("a worker is stuck, and nobody has restarted the process");
}

bool Control::is_away(std::size_t worker) const {
  return workers_[worker]->stopped() || watch_->away(worker) >= away_after;
}

WorkerPort* Control::next_present() {
  for (std::size_t i = 0; i < workers_.size(); ++i) {
    last_present_ = (last_present_ + 1) % workers_.size();
    if (!is_away(last_present_)) return workers_[last_present_];
  }
  return nullptr;
}

// The kernel goes on giving newcomers to whoever listens, one that is stuck included: others serve
// them in its place, within a second or two instead of when it comes back.
void Control::serve_backlogs() {
  if (!serves()) return;
  for (std::size_t worker = 0; worker < backlogs_.size(); ++worker) {
    if (workers_[worker]->stopped() || !is_away(worker)) continue;
    for (const int descriptor : backlogs_[worker]) serve_backlog(descriptor);
  }
}

// The worker may come back meanwhile, and accept or close; a number that has become something
// else's then is no listening socket.
void Control::serve_backlog(int descriptor) {
  for (int taken = 0; taken < taken_at_once && shared_.admission.room() > 0; ++taken) {
    WorkerPort* worker = next_present();
    if (worker == nullptr) return;
    AcceptedSocket accepted(io::accept_now(descriptor));
    if (accepted.get() < 0) return;
    worker->post([accepted = std::move(accepted)](Worker& present) mutable {
      present.adopt(accepted.release());
    });
  }
}

// --- what workers say

void Control::post(std::move_only_function<void()> message) {
  reactor_.mailbox().post([this, message = std::move(message)]() mutable {
    if (stop_.state() != StopSequence::State::stopped) message();
  });
}

void Control::cluster_used(std::size_t worker, std::size_t cluster, bool used) {
  post([this, worker, cluster, used] {
    probes_.cluster_used(worker, cluster, used);
    if (used) tell_inherited_tokens(worker, cluster);
  });
}

// The only one's were told when its workers began.
void Control::tell_inherited_tokens(std::size_t worker, std::size_t cluster) {
  const ClusterTable::Entry* entry = shared_.table->find(cluster);
  if (inherited_tokens_ == nullptr || shared_.alone || entry == nullptr) return;
  inherited_tokens_->tell(*workers_.at(worker), cluster, entry->cluster->name());
}

void Control::probe_soon(BackendId backend) {
  post([this, backend] { probes_.probe_now(backend); });
}

void Control::backend_silent(BackendId backend) {
  post([this, backend] { probes_.connections_silent(backend); });
}

void Control::identity_refused(BackendId backend) {
  post([this, backend] { probes_.check_identity_now(backend); });
}

void Control::cluster_outdated(std::size_t worker, std::size_t cluster,
                               std::shared_ptr<const ClusterSettings> before) {
  post([this, worker, cluster, before = std::move(before)]() mutable {
    reloading_.outdated(worker, cluster, std::move(before));
  });
}

void Control::cluster_renewed(std::size_t) {
  post([this] { reloading_.renewed(); });
}

void Control::cluster_left(std::size_t worker, std::size_t cluster,
                           std::shared_ptr<const Cluster> which) {
  post([this, worker, cluster, which = std::move(which)] {
    reloading_.cluster_left(worker, cluster, *which);
  });
}

void Control::backend_left(std::size_t worker, BackendId backend, std::uint64_t revision) {
  post([this, worker, backend, revision] { reloading_.backend_left(worker, backend, revision); });
}

// So that a client's next connection, which may be another worker's, is known there.
template <class Learned>
void Control::tell_others(std::size_t worker, std::size_t cluster, const Learned& learned) {
  if (options_.cpus.size() < 2) return;
  post([this, worker, cluster, learned] {
    tell_workers([worker, cluster, learned](Worker& other) {
      if (other.number() != worker) other.learn(cluster, learned);
    });
  });
}

void Control::token_changed(std::size_t worker, std::size_t cluster,
                            const proxy::TokenChange& change) {
  tell_others(worker, cluster, change);
}

void Control::client_wrote(std::size_t worker, std::size_t cluster, const proxy::OwnWrite& write) {
  tell_others(worker, cluster, write);
}

}  // namespace sluice::server
