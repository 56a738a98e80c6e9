// SPDX-License-Identifier: GPL-3.0-or-later
// A change of the configuration while the process runs, from the signal to the last worker that has
// taken it over. The control thread decides, a helper thread reads files and makes contexts, and
// neither waits for the other:
//
//   begin ──▶ helper: read, plan ──▶ publish: a table to each worker, probes ──▶ finished
//                                       │  workers: "I serve by something older"
//                                       └─ helper: contexts ──▶ that worker, one renewal at a time
//
// What leaves (a cluster, a backend of one) keeps its number until each worker has said that it has
// nothing of it any more.
//
// Thread: the control thread's reactor's.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "change_watch.h"
#include "discovery.h"
#include "door.h"
#include "environment.h"
#include "file_watch.h"
#include "probes.h"
#include "reload.h"
#include "shared.h"
#include "sluice/io/reactor.h"
#include "sluice/server/configuration.h"
#include "worker_port.h"

namespace sluice::server {

class Reloading {
 public:
  // All outlive the object.
  struct Parts {
    io::Reactor& reactor;
    Environment& environment;
    Shared& shared;
    Probes& probes;
    Discovery& discovery;
    const std::vector<WorkerPort*>& workers;
    std::size_t worker_count;
    std::function<void(std::string_view state)> notify;  // the service manager
  };
  Reloading(Parts parts, const ServerOptions& options);
  ~Reloading();

  void read_by(ReadConfiguration read) { read_ = std::move(read); }
  // Whom to tell which folders to watch; null, and without it: nobody.
  void watch_by(std::shared_ptr<FileWatch::Folders> watch) { watch_ = std::move(watch); }

  // Reads all again, now, or when the reading that is under way is over.
  void begin();
  // Something in the folders that are watched.
  void files_changed() { changes_.changed(parts_.reactor.now()); }
  // Workers serve: no private key is kept for longer than it takes to make contexts of it, where
  // all contexts are made at once; and files are watched, if they are to be.
  void workers_serve(bool watch_files);
  // Files are not read again, nor watched. What is under way goes on.
  void read_no_more();
  // Nothing is taken over any more.
  void stop();

  // Whether a change is under way: files are read, or a worker has not taken it over yet.
  bool busy() const;
  // While held, files are not read because they have changed.
  void hold(bool held) { held_ = held; }

  const StopOptions& stop_options() const { return stop_; }
  const TakeOverOptions& take_over_options() const { return take_over_options_; }

  // What workers say, see WorkerEvents.
  void outdated(std::size_t worker, std::size_t cluster,
                std::shared_ptr<const ClusterSettings> before);
  void renewed();
  void cluster_left(std::size_t worker, std::size_t cluster, const Cluster& which);
  void backend_left(std::size_t worker, BackendId backend, std::uint64_t revision);

  // A cluster's sources name other endpoints. Nothing is read, and its settings stay. When many
  // say so, it is followed at the next tick.
  void endpoints_changed(std::size_t cluster);

  // To be called a few times a second.
  void tick();

 private:
  struct Wanted {
    std::size_t worker;
    std::size_t cluster;
    std::shared_ptr<const ClusterSettings> before;
  };
  struct LeavingBackend {
    std::uint64_t since = 0;  // revision
    std::set<std::size_t> left;
  };

  bool under_way() const;
  void announce();
  void read(bool only_if_changed);
  std::vector<HeldNames> held() const;
  ServedSettings served() const;
  void take_over(ReloadPlan plan, bool new_folders);
  void say(const Configuration& configuration) const;
  void take_over_process(const Configuration& configuration);
  void change(ClusterTable& table, ReloadPlan::Change change);
  void add(ClusterTable& table, ReloadPlan::Change change);
  void remove(ClusterTable& table, const std::string& name);
  void follow_endpoints();
  void part_with_former();
  void note_leaving(std::size_t number, const ClusterVersion& version);
  std::size_t number_of(std::string_view name) const;
  static std::size_t free_number(ClusterTable& table);
  void publish(std::shared_ptr<ClusterTable> table);
  void republish(std::size_t number);
  void free_numbers();
  void make_next();
  void deliver(std::size_t worker, std::size_t cluster, Result<ClusterRenewal> renewal);
  void finish();

  const Parts parts_;
  ReadConfiguration read_;
  std::shared_ptr<FileWatch::Folders> watch_;
  ChangeWatch changes_;
  StopOptions stop_;
  TakeOverOptions take_over_options_;
  WorkerOptions worker_;
  std::shared_ptr<Door<Reloading>> door_;
  bool held_ = false;
  bool reading_ = false;
  bool again_ = false;      // something may have changed since reading began
  bool announced_ = false;  // to the service manager, which waits for the end
  bool unheard_ = false;    // a table was published that workers may have been made before
  std::string outcome_ = "serving";
  std::size_t unanswered_ = 0;  // workers that have not taken the last tables yet
  std::deque<Wanted> wanted_;
  bool renewing_ = false;
  std::set<std::size_t> changed_endpoints_;      // of these clusters, and not followed yet
  std::size_t endpoint_tables_ = 0;              // since the last tick
  std::map<std::size_t, Instant> former_since_;  // clusters that keep former backends
  // That are in the next table; and what their probes are shown.
  std::vector<std::pair<std::size_t, backend::BackendContexts>> added_;
  std::map<std::size_t, std::set<std::size_t>> leaving_clusters_;  // and who has left them
  std::map<std::pair<std::size_t, std::size_t>, LeavingBackend> leaving_backends_;
};

}  // namespace sluice::server
