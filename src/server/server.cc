// SPDX-License-Identifier: GPL-3.0-or-later
// The process: what is made in which order, and unmade in the other.
#include "sluice/server/server.h"

#include <latch>
#include <mutex>

#include "control.h"
#include "environment.h"
#include "file_watch.h"
#include "shared.h"
#include "signals.h"
#include "sluice/io/kernel_features.h"
#include "sluice/observability/log.h"
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

}  // namespace

class Server::Process {
 public:
  Process(ServerOptions options, ReadConfiguration read)
      : options_(std::move(options)), read_(std::move(read)) {}

  Result<void> prepare() {
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
    auto control = Control::create(*reactor_, *environment_, *shared_, options_);
    if (!control) return std::unexpected(control.error());
    control_ = std::move(*control);
    control_->read_by(std::move(read_));
    forget_clusters();
    auto signals = Signals::create(reactor_->ring(), [this](int n) { control_->signal(n); });
    if (!signals) return std::unexpected(signals.error());
    signals_ = std::move(*signals);
    watch_files();
    return {};
  }

  int run() {
    control_->start();
    reactor_->run_until([&] { return control_->may_open(); });
    const Result<void> started = control_->may_start() ? start_workers() : Result<void>{};
    reactor_->run_until([&] { return control_->workers_gone(); });
    for (const auto& worker : workers_) worker->join();
    stop();
    log::info("stopped");
    return started ? 0 : 1;
  }

  // Ends what the control thread itself has begun, however far it came.
  void stop() {
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
  Result<void> start_workers() {
    const proxy::HashKey key{environment_->random(), environment_->random()};
    const auto start = std::make_shared<Start>(options_.cpus.size());
    std::vector<WorkerPort*> ports;
    for (std::size_t i = 0; i < options_.cpus.size(); ++i) {
      workers_.push_back(std::make_unique<WorkerThread>(i, options_.cpus[i], options_.thread,
                                                        WorkerParts{*shared_, *control_, key},
                                                        environment_->random()));
      ports.push_back(workers_.back().get());
      workers_.back()->start([start](Result<void> result) { start->answer(std::move(result)); });
    }
    // A worker prepares in milliseconds and always answers.
    auto started = start->wait();
    control_->workers_started(std::move(ports), started);
    return started;
  }

  // Without it changes are seen once a minute.
  void watch_files() {
    auto watch = FileWatch::create(reactor_->ring(), [this] { control_->files_changed(); });
    if (!watch) return log::warning(watch.error().context);
    file_watch_ = std::move(*watch);
    control_->watch_by(file_watch_->folders());
  }

  // They are Shared's now, and may change.
  void forget_clusters() { options_.clusters.clear(); }

  ServerOptions options_;
  ReadConfiguration read_;
  std::unique_ptr<Environment> environment_ = system_environment();
  std::unique_ptr<io::Reactor> reactor_;
  std::unique_ptr<Shared> shared_;
  std::unique_ptr<Control> control_;
  std::unique_ptr<Signals> signals_;
  std::unique_ptr<FileWatch> file_watch_;
  std::vector<std::unique_ptr<WorkerThread>> workers_;
};

Server::Server(std::unique_ptr<Process> process) : process_(std::move(process)) {}
Server::~Server() = default;

Result<std::unique_ptr<Server>> Server::create(ServerOptions options, ReadConfiguration read) {
  auto process = std::make_unique<Process>(std::move(options), std::move(read));
  if (auto prepared = process->prepare(); !prepared) {
    process->stop();
    return std::unexpected(prepared.error());
  }
  return std::unique_ptr<Server>(new Server(std::move(process)));
}

int Server::run() { return process_->run(); }

}  // namespace sluice::server
