// SPDX-License-Identifier: GPL-3.0-or-later
// The control thread's work: it has backends asked how they are (probes.h) and the configuration
// read again (reloading.h), tells workers and is told by them, follows the stop sequence, feeds the
// service manager's watchdog, and serves the admin pages.
//
// An object on a given reactor. Thread: that reactor's, but for WorkerEvents.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "admin.h"
#include "admin_pages.h"
#include "debug_page.h"
#include "discovery.h"
#include "environment.h"
#include "probes.h"
#include "reloading.h"
#include "shared.h"
#include "sluice/io/reactor.h"
#include "sluice/server/configuration.h"
#include "sluice/server/process_start.h"
#include "stop_sequence.h"
#include "worker.h"
#include "worker_port.h"
#include "worker_watch.h"

namespace sluice::server {

class InheritedTokens;

// A listening socket for the admin pages that the process was started with.
struct AdminSocket {
  OwnedDescriptor descriptor;
  bool in_use = false;  // the process before answers on it, until this one serves
};

class Control final : public WorkerEvents, private ProcessState {
 public:
  // What is given outlives the object. Keys may be unusable, the admin address may be taken.
  static Result<std::unique_ptr<Control>> create(io::Reactor& reactor, Environment& environment,
                                                 Shared& shared, const ServerOptions& options,
                                                 AdminSocket admin = {});
  ~Control() override;  // CHECKs of its parts: stopped()

  // How the configuration is read again; without it SIGHUP does nothing.
  void read_by(ReadConfiguration read) { reloading_.read_by(std::move(read)); }
  // Who watches files, and that it has seen something.
  void watch_by(std::shared_ptr<FileWatch::Folders> watch) {
    reloading_.watch_by(std::move(watch));
  }
  void files_changed() { reloading_.files_changed(); }
  // Whether a change of the configuration is under way.
  bool reloads() const { return reloading_.busy(); }
  // Nobody reads files of his own accord meanwhile.
  void hold_files(bool held) { reloading_.hold(held); }
  const TakeOverOptions& take_over_options() const { return reloading_.take_over_options(); }

  // Begins to probe. Workers should not open before may_open(): when each backend has been asked
  // once, when that has taken too long, or when we are told to stop.
  void start();
  bool may_open() const;
  // False when it was told to stop meanwhile: no worker should start.
  bool may_start() const { return stop_.may_start(); }

  // The workers, and whether all of them could start; if not, those that could are stopped. They
  // outlive the calls of this object's reactor.
  void workers_started(std::vector<WorkerPort*> workers, Result<void> result);
  bool workers_gone() const;
  // What a process before had as backends.
  void expect(const std::vector<ClusterProofs>& known) { discovery_.expect(known); }
  // What each worker is to be told when it begins to use a cluster; outlives the object.
  void set_inherited_tokens(InheritedTokens& tokens) { inherited_tokens_ = &tokens; }

  // SIGTERM, SIGINT, SIGHUP.
  void signal(int number);
  // Reads the configuration again, and takes it over, at the earliest when workers serve.
  void reload();

  // For each worker, the listening sockets on which it alone accepts, whoever's clients come by
  // them. They stay its own, and may be closed by it at any moment.
  void set_backlogs(std::vector<std::vector<int>> backlogs) { backlogs_ = std::move(backlogs); }

  bool serves() const { return stop_.state() == StopSequence::State::serving; }
  // Of the admin pages; -1: none.
  int admin_listener() const { return admin_ ? admin_->listener() : -1; }
  // The service manager watches another process.
  void not_main_any_more();
  // Another process accepts in our place: drains at once, and leaves what waits to be accepted.
  void replaced();

  // Ends what this object has begun; stopped() when all operations have come back.
  void stop();
  bool stopped() const;

  // WorkerEvents: any thread.
  void cluster_used(std::size_t worker, std::size_t cluster, bool used) override;
  void probe_soon(BackendId backend) override;
  void backend_silent(BackendId backend) override;
  void identity_refused(BackendId backend) override;
  void token_changed(std::size_t worker, std::size_t cluster,
                     const proxy::TokenChange& change) override;
  void client_wrote(std::size_t worker, std::size_t cluster, const proxy::OwnWrite& write) override;
  void cluster_outdated(std::size_t worker, std::size_t cluster,
                        std::shared_ptr<const ClusterSettings> before) override;
  void cluster_renewed(std::size_t worker) override;
  void cluster_left(std::size_t worker, std::size_t cluster,
                    std::shared_ptr<const Cluster> which) override;
  void backend_left(std::size_t worker, BackendId backend, std::uint64_t revision) override;

 private:
  Control(io::Reactor& reactor, Environment& environment, Shared& shared,
          const ServerOptions& options);
  Result<void> prepare(AdminSocket admin);
  Result<void> prepare_admin(AdminSocket given);
  void notify(std::string_view state);
  void post(std::move_only_function<void()> message);
  void tell_inherited_tokens(std::size_t worker, std::size_t cluster);

  void tick();
  void carry_out(const StopSequence::Actions& actions);
  void carry_out(StopSequence::Action action);
  void drain();
  void tell_workers(const std::function<void(Worker&)>& what);
  template <class Learned>
  void tell_others(std::size_t worker, std::size_t cluster, const Learned& learned);
  void watch_workers();
  void tell_of(std::size_t worker);
  void serve_backlogs();
  void serve_backlog(int descriptor);
  bool is_away(std::size_t worker) const;
  WorkerPort* next_present();
  void feed_watchdog();

  // ProcessState
  // Who was replaced and is still asked stands for the one that serves.
  StopSequence::State stop_state() const override {
    return replaced_ ? StopSequence::State::serving : stop_.state();
  }
  bool workers_turn() const override { return watch_->worst() == WorkerWatch::State::turns; }
  Instant now() const override { return reactor_.now(); }
  void ask_workers(std::move_only_function<void(const std::string&)> answer) override {
    debug_.ask(std::move(answer));
  }

  io::Reactor& reactor_;
  Environment& environment_;
  Shared& shared_;
  const ServerOptions& options_;
  StopSequence stop_;
  AdminPages pages_;
  DebugPage debug_;
  std::vector<WorkerPort*> workers_;
  Probes probes_;
  Discovery discovery_;
  Reloading reloading_;
  bool reload_wanted_ = false;  // as soon as workers serve
  InheritedTokens* inherited_tokens_ = nullptr;
  std::unique_ptr<Admin> admin_;
  bool admin_in_use_ = false;
  bool main_ = true;  // for the service manager
  bool replaced_ = false;
  std::optional<WorkerWatch> watch_;
  std::vector<std::vector<int>> backlogs_;  // by worker
  std::size_t last_present_ = 0;            // who was given a connection of another one
  Instant open_at_latest_{};
  std::optional<Duration> watchdog_interval_;
  Instant next_watchdog_{};
  io::Timer timer_;
};

}  // namespace sluice::server
