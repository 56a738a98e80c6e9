// SPDX-License-Identifier: GPL-3.0-or-later
// The process: what is made in which order, and unmade in the other.
#include "sluice/server/server.h"

#include <algorithm>
#include <csignal>
#include <latch>
#include <mutex>
#include <optional>
#include <string>
#include <utility>

#include "control.h"
#include "environment.h"
#include "file_watch.h"
#include "handover.h"
#include "known_tokens.h"
#include "listening_sockets.h"
#include "shared.h"
#include "signals.h"
#include "sluice/io/kernel_features.h"
#include "sluice/observability/log.h"
#include "take_over.h"
#include "worker_thread.h"

namespace sluice::server {
namespace {

// The control thread has few connections, and little to say on them.
io::RingOptions control_ring(io::RingOptions ring) {
  ring.submission_entries = 64;
  ring.completion_entries = 512;
  ring.receive_buffers = 16;
  return ring;
}

// How the start of several threads went.
class Start {
 public:
  explicit Start(std::size_t threads) : answers_(static_cast<std::ptrdiff_t>(threads)) {}
  // From each thread, once.
  void answer(Result<void> started) {
    if (!started) {
      const std::lock_guard lock(mutex_);
      result_ = std::move(started);
    }
    answers_.count_down();
  }
  Result<void> wait() {
    answers_.wait();
    const std::lock_guard lock(mutex_);
    return result_;
  }

 private:
  std::latch answers_;
  std::mutex mutex_;
  Result<void> result_;
};

// That of the admin pages, if it is among them.
AdminSocket take_admin(const std::vector<io::Address>& listen, Inherited& inherited) {
  AdminSocket admin;
  admin.in_use = inherited.predecessor != nullptr;
  for (const io::Address& address : listen) {
    const auto found = std::ranges::find_if(inherited.sockets, [&](const InheritedSocket& socket) {
      return socket.address == address;
    });
    if (found == inherited.sockets.end()) continue;
    admin.descriptor = std::move(found->descriptor);
    inherited.sockets.erase(found);
  }
  return admin;
}

// Without it every client is a stranger for a while, and nothing worse.
std::optional<Handover> take_state(const OwnedDescriptor& file) {
  if (file.get() < 0) return std::nullopt;
  auto handover = read_handover_file(file.get());
  if (handover) return std::move(*handover);
  log::warning("what the process before knew of tokens and API servers cannot be used",
               {{"why", handover.error().context}});
  return std::nullopt;
}

// Those that are known.
std::vector<BackendStart> starts_of_backends(const backend::Cluster& backends) {
  std::vector<BackendStart> starts;
  for (const auto& status : backends.backends) {
    if (status == nullptr) continue;
    const Instant started = status->started.load(std::memory_order_relaxed);
    if (started != Instant::min()) starts.push_back({status->endpoint.name, started});
  }
  return starts;
}

// Until the API servers themselves say so, if they do.
void take_starts(const Shared& shared, const std::vector<ClusterProofs>& known) {
  for (const Cluster* cluster : shared.clusters()) {
    const auto its = std::ranges::find(known, cluster->name(), &ClusterProofs::cluster);
    if (its == known.end()) continue;
    for (const auto& status : cluster->backends().backends) {
      if (status == nullptr) continue;
      const auto start =
          std::ranges::find(its->backends, status->endpoint.name, &BackendStart::name);
      if (start == its->backends.end()) continue;
      status->started.store(start->started, std::memory_order_relaxed);
    }
  }
}

}  // namespace

class Server::Process final : private TakeOverHost {
 public:
  Process(ServerOptions options, ReadConfiguration read, ProcessStart start)
      : options_(std::move(options)), read_(std::move(read)), start_(std::move(start)) {}

  Result<void> prepare() {
    known_ = take_state(std::exchange(start_.inherited.state, {}));
    if (auto kept = keeps_clusters(); !kept) return kept;
    auto features = io::probe_kernel_features();
    if (!features) return std::unexpected(features.error());
    for (const std::string& warning : features->warnings) log::warning(warning);
    options_.thread.ring.one_shot_receive = !features->multishot_receive_sees_end_of_stream;
    Signals::block();

    auto reactor = io::Reactor::create(control_ring(options_.thread.ring));
    if (!reactor) return std::unexpected(reactor.error());
    reactor_ = std::move(*reactor);
    auto shared = Shared::create(options_);
    if (!shared) return std::unexpected(shared.error());
    shared_ = std::move(*shared);
    if (known_) take_starts(*shared_, known_->clusters);
    auto control = Control::create(*reactor_, *environment_, *shared_, options_,
                                   take_admin(options_.admin_listen, start_.inherited));
    if (!control) return std::unexpected(control.error());
    control_ = std::move(*control);
    if (known_) control_->expect(known_->clusters);
    control_->read_by(std::move(read_));
    forget_clusters();
    take_over_.emplace(*reactor_, *environment_, static_cast<TakeOverHost&>(*this),
                       control_->take_over_options(), std::move(start_.inherited.predecessor));
    auto signals = Signals::create(reactor_->ring(), [this](int n) { signal(n); });
    if (!signals) return std::unexpected(signals.error());
    signals_ = std::move(*signals);
    watch_files();
    return {};
  }

  // Why it could not be created.
  void refuse(std::string_view why) {
    if (take_over_) return take_over_->refuse(why);
    if (!start_.inherited.predecessor) return;
    start_.inherited.predecessor->refuse(why);
  }

  int run() {
    control_->start();
    reactor_->run_until([&] { return control_->may_open(); });
    const Result<void> started = control_->may_start() ? serve() : Result<void>{};
    reactor_->run_until([&] { return control_->workers_gone(); });
    for (const auto& worker : workers_) worker->join();
    stop();
    log::info("stopped");
    return started ? 0 : 1;
  }

  // Ends what the control thread itself has begun, however far it came.
  void stop() {
    if (take_over_) take_over_->stop();
    if (control_) control_->stop();
    if (signals_) signals_->stop();
    if (file_watch_) file_watch_->stop();
    if (!reactor_) return;
    reactor_->run_until([&] {
      return (!control_ || control_->stopped()) && (!signals_ || signals_->stopped()) &&
             (!file_watch_ || file_watch_->stopped());
    });
  }

 private:
  void signal(int number) {
    if (number == SIGUSR2) return take_over_->wanted();
    if (number != SIGHUP) {
      take_over_->stop();
    } else if (take_over_->reload_wanted()) {
      return;
    }
    control_->signal(number);
  }

  // A mistake in a cluster's file costs it alone, but nobody who is served.
  Result<void> keeps_clusters() const {
    if (!known_) return {};
    if (options_.clusters.empty() && options_.broken.empty() && !known_->clusters.empty()) {
      return fail(ErrorKind::invalid_argument,
                  "there is no cluster's file any more, and the process before serves some");
    }
    for (const ClusterProofs& served : known_->clusters) {
      if (std::ranges::count(options_.broken, served.cluster, &BrokenCluster::name) == 0) continue;
      return fail(ErrorKind::invalid_argument,
                  "the cluster " + served.cluster +
                      " is served by the process before, and now has a mistake in its file");
    }
    return {};
  }

  Result<void> serve() {
    auto sockets = ListeningSockets::create(options_.thread.listen, cluster_listens(),
                                            options_.cpus.size(), inherited(), taking_over());
    auto started = sockets ? start_workers() : Result<void>(std::unexpected(sockets.error()));
    if (started) await_predecessor();
    if (!started) take_over_->refuse(started.error().context);
    control_->workers_started(ports_, started);
    if (!started || !control_->serves()) return started;
    std::vector<std::vector<int>> backlogs;
    for (std::size_t i = 0; i < workers_.size(); ++i) {
      std::vector<WorkerSocket> its = sockets->take(i);
      backlogs.push_back(own_backlogs(its));
      open(*workers_[i], std::move(its));
    }
    control_->set_backlogs(std::move(backlogs));
    listening_ = sockets->all();
    take_over_->accepting();
    return {};
  }

  std::vector<ClusterListen> cluster_listens() const {
    std::vector<ClusterListen> all;
    const auto& entries = shared_->table->entries;
    for (std::size_t number = 0; number < entries.size(); ++number) {
      all.push_back({number, std::string(entries[number].cluster->name()),
                     entries[number].version->options().listen});
    }
    return all;
  }

  std::vector<InheritedSocket> inherited() {
    std::vector<InheritedSocket> sockets = std::exchange(start_.inherited.sockets, {});
    if (taking_over() || options_.broken.empty()) return sockets;
    // A service manager's may be for a cluster whose file has a mistake, which costs it alone.
    for (InheritedSocket& socket : sockets) socket.of_cluster = true;
    return sockets;
  }

  Result<void> start_workers() {
    key_ = known_ ? known_->key : proxy::HashKey{environment_->random(), environment_->random()};
    const auto start = std::make_shared<Start>(options_.cpus.size());
    for (std::size_t i = 0; i < options_.cpus.size(); ++i) {
      workers_.push_back(std::make_unique<WorkerThread>(i, options_.cpus[i], options_.thread,
                                                        WorkerParts{*shared_, *control_, key_},
                                                        environment_->random()));
      ports_.push_back(workers_.back().get());
      workers_.back()->start([start](Result<void> result) { start->answer(std::move(result)); });
    }
    // A worker prepares in milliseconds and always answers.
    auto started = start->wait();
    gathering_.emplace(*reactor_, ports_);
    if (started && known_) tell_workers(std::move(known_->clusters));
    known_.reset();
    return started;
  }

  // What the process before knew of tokens: of the only cluster now, of others when they are used.
  void tell_workers(std::vector<ClusterProofs> proofs) {
    inherited_tokens_.emplace(*reactor_, std::move(proofs));
    control_->set_inherited_tokens(*inherited_tokens_);
    if (!shared_->alone) return;
    for (WorkerPort* worker : ports_) {
      inherited_tokens_->tell(*worker, 0, shared_->cluster(0).name());
    }
  }

  // Whose sockets we have accepts on them, until it knows that we could.
  void await_predecessor() {
    take_over_->ready();
    reactor_->run_until([&] { return take_over_->may_accept() || !control_->may_start(); });
  }

  void open(WorkerThread& thread, std::vector<WorkerSocket> sockets) {
    for (WorkerSocket& socket : sockets) socket.in_use = socket.in_use && taking_over();
    thread.post([sockets = std::move(sockets)](Worker& worker) mutable {
      for (WorkerSocket& socket : sockets) worker.listen(std::move(socket));
    });
  }

  static std::vector<int> own_backlogs(const std::vector<WorkerSocket>& sockets) {
    std::vector<int> own;
    for (const WorkerSocket& socket : sockets) {
      if (!socket.shared && !socket.cluster) own.push_back(socket.descriptor.get());
    }
    return own;
  }

  bool taking_over() const { return take_over_->has_predecessor(); }

  // Without it changes are seen once a minute.
  void watch_files() {
    auto watch = FileWatch::create(reactor_->ring(), [this] { control_->files_changed(); });
    if (!watch) return log::warning(watch.error().context);
    file_watch_ = std::move(*watch);
    control_->watch_by(file_watch_->folders());
  }

  // They are Shared's now, and may change.
  void forget_clusters() { options_.clusters.clear(); }

  // --- TakeOverHost

  bool serves() const override { return control_->serves(); }

  bool reloads() const override { return control_->reloads(); }
  void hold_files(bool held) override { control_->hold_files(held); }
  void reload() override { control_->reload(); }

  void collect_state() override {
    gathering_->ask([this](std::vector<ClusterProofs> proofs) {
      take_over_->collected(write_handover({key_, with_all_clusters(std::move(proofs))}));
    });
  }

  // Those of which nothing is known, too: all that are served are to be served on.
  std::vector<ClusterProofs> with_all_clusters(std::vector<ClusterProofs> proofs) const {
    for (const Cluster* cluster : shared_->clusters()) {
      auto known = std::ranges::find(proofs, cluster->name(), &ClusterProofs::cluster);
      if (known == proofs.end()) {
        known = proofs.insert(known, {std::string(cluster->name()), {}});
      }
      known->backends = starts_of_backends(cluster->backends());
    }
    return proofs;
  }

  SuccessorPlan plan(std::string state) const override {
    SuccessorPlan plan{start_.path, start_.arguments, {}, std::move(state)};
    for (const ListeningSockets::Open& socket : listening_) {
      if (!socket.of_cluster) {
        plan.sockets.push_back(socket.descriptor);
      } else if (is_listened_on(socket.address)) {
        plan.cluster_sockets.push_back(socket.descriptor);
      }
    }
    if (const int admin = control_->admin_listener(); admin >= 0) plan.sockets.push_back(admin);
    return plan;
  }

  // Workers have closed the sockets of clusters that have gone; one that has come back since has
  // none until the next start.
  bool is_listened_on(const io::Address& address) const {
    return std::ranges::any_of(shared_->clusters(), [&](const Cluster* cluster) {
      return std::ranges::count(cluster->version()->options().listen, address) > 0;
    });
  }

  void not_main_any_more() override { control_->not_main_any_more(); }
  void replaced() override {
    control_->replaced();
    if (file_watch_) file_watch_->stop();
  }
  void predecessor_gone() override {
    for (WorkerPort* worker : ports_) {
      worker->post([](Worker& told) { told.own_sockets(); });
    }
  }

  ServerOptions options_;
  ReadConfiguration read_;
  ProcessStart start_;
  std::unique_ptr<Environment> environment_ = system_environment();
  std::optional<Handover> known_;  // of the process before, until workers are told
  std::unique_ptr<io::Reactor> reactor_;
  std::unique_ptr<Shared> shared_;
  std::optional<InheritedTokens> inherited_tokens_;
  std::unique_ptr<Control> control_;
  proxy::HashKey key_{};
  std::vector<ListeningSockets::Open> listening_;  // sockets that workers accept on
  std::optional<TakeOver> take_over_;
  std::unique_ptr<Signals> signals_;
  std::unique_ptr<FileWatch> file_watch_;
  std::optional<TokenGathering> gathering_;
  std::vector<WorkerPort*> ports_;
  std::vector<std::unique_ptr<WorkerThread>> workers_;
};

Server::Server(std::unique_ptr<Process> process) : process_(std::move(process)) {}
Server::~Server() = default;

Result<std::unique_ptr<Server>> Server::create(ServerOptions options, ReadConfiguration read,
                                               ProcessStart start) {
  auto process = std::make_unique<Process>(std::move(options), std::move(read), std::move(start));
  if (auto prepared = process->prepare(); !prepared) {
    process->refuse(prepared.error().context);
    process->stop();
    return std::unexpected(prepared.error());
  }
  return std::unique_ptr<Server>(new Server(std::move(process)));
}

int Server::run() { return process_->run(); }

}  // namespace sluice::server
