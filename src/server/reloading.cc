// SPDX-License-Identifier: GPL-3.0-or-later
// The steps of a reload.
#include "reloading.h"

#include <fmt/format.h>

#include <algorithm>
#include <mutex>
#include <utility>

#include "sluice/base/check.h"
#include "sluice/observability/log.h"
#include "worker.h"

namespace sluice::server {
namespace {

// More than these at once are asked as soon as they are used.
constexpr std::size_t asked_at_once = 10;
// For so long former backends stay beside others that all have yet to show that they are there.
constexpr Duration former_max = std::chrono::seconds(10);
// Tables that are made at once because endpoints have changed, between two ticks. A table costs
// every worker a part of its time, and who changes endpoints may be one of a thousand tenants.
constexpr std::size_t endpoint_tables_max = 4;

std::string monotonic_microseconds(Instant now) {
  return std::to_string(
      std::chrono::duration_cast<std::chrono::microseconds>(now.time_since_epoch()).count());
}

}  // namespace

Reloading::Reloading(Parts parts, const ServerOptions& options)
    : parts_(std::move(parts)),
      stop_(options.stop),
      take_over_options_(options.take_over),
      worker_(options.thread.worker),
      door_(std::make_shared<Door<Reloading>>(parts_.reactor, *this)) {}

Reloading::~Reloading() { stop(); }

void Reloading::stop() { door_->close(); }

void Reloading::read_no_more() {
  read_ = nullptr;
  watch_ = nullptr;
  again_ = false;
  changes_.turn(false);
}

bool Reloading::under_way() const {
  return reading_ || unanswered_ > 0 || renewing_ || !wanted_.empty();
}

bool Reloading::busy() const { return again_ || under_way(); }

// --- reading

void Reloading::begin() {
  if (!read_) return log::info("there is nothing to reload");
  announce();
  again_ = reading_;
  if (!reading_) read(false);
}

void Reloading::announce() {
  if (std::exchange(announced_, true)) return;
  parts_.notify("RELOADING=1\nMONOTONIC_USEC=" + monotonic_microseconds(parts_.reactor.now()) +
                "\nSTATUS=reloading");
}

void Reloading::read(bool only_if_changed) {
  CHECK(!reading_);
  reading_ = true;
  parts_.environment.aside([door = door_, read = read_, watch = changes_.on() ? watch_ : nullptr,
                            request = ReadRequest{held(), only_if_changed}, served = served(),
                            workers = parts_.worker_count]() {
    Configuration configuration = read(request);
    const bool new_folders = watch != nullptr && watch->watch(configuration.folders);
    auto plan =
        std::make_unique<ReloadPlan>(plan_reload(std::move(configuration), served, workers));
    door->post([plan = std::move(plan), new_folders](Reloading& reloading) mutable {
      reloading.take_over(std::move(*plan), new_folders);
    });
  });
}

std::vector<HeldNames> Reloading::held() const {
  std::vector<HeldNames> held;
  for (const Cluster* cluster : parts_.shared.clusters()) {
    const ClusterOptions& options = cluster->version()->options();
    held.push_back({options.name, options.server_names, options.others, options.listen});
  }
  return held;
}

ServedSettings Reloading::served() const {
  ServedSettings served;
  for (const Cluster* cluster : parts_.shared.clusters()) {
    served.push_back(cluster->version()->settings);
  }
  return served;
}

// --- taking over

void Reloading::take_over(ReloadPlan plan, bool new_folders) {
  reading_ = false;
  const Configuration& configuration = plan.configuration;
  changes_.looked(parts_.reactor.now(), configuration.waits);
  // What was changed there before it was watched was told to nobody.
  if (new_folders) changes_.changed(parts_.reactor.now());
  if (configuration.unchanged) {
    for (const std::string& warning : configuration.warnings) log::warning(warning);
    return finish();
  }
  announce();
  say(configuration);
  parts_.shared.mistakes = configuration.mistakes;
  if (!configuration.mistakes.empty()) {
    log::error("the configuration has mistakes, and nothing is taken over",
               {{"mistakes", configuration.mistakes.size()}});
    outcome_ = "serving; the last reload failed: " + configuration.mistakes.front();
    return finish();
  }
  parts_.shared.broken = configuration.options.broken;
  parts_.shared.reserved_names = configuration.options.reserved_names;
  take_over_process(configuration);
  auto table = std::make_shared<ClusterTable>(*parts_.shared.table);
  const std::size_t changes = plan.changes.size();
  for (const std::string& name : plan.removed) remove(*table, name);
  std::vector<ReloadPlan::Change> added;
  for (ReloadPlan::Change& each : plan.changes) {
    if (each.added == nullptr) {
      change(*table, std::move(each));
    } else {
      added.push_back(std::move(each));
    }
  }
  for (ReloadPlan::Change& each : added) add(*table, std::move(each));
  const std::vector<BrokenCluster>& broken = parts_.shared.broken;
  log::info("reloaded", {{"added", added.size()},
                         {"changed", changes - added.size()},
                         {"removed", plan.removed.size()},
                         {"broken", broken.size()}});
  outcome_ =
      broken.empty() ? "serving" : fmt::format("serving; {} clusters have mistakes", broken.size());
  publish(std::move(table));
}

void Reloading::say(const Configuration& configuration) const {
  for (const std::string& mistake : configuration.mistakes) log::error(mistake);
  for (const BrokenCluster& broken : configuration.options.broken) {
    const auto say = broken.waits ? log::info : log::error;
    for (const std::string& mistake : broken.mistakes) {
      say(mistake, {{"cluster", broken.name}}, log::Place::current());
    }
  }
  for (const std::string& warning : configuration.warnings) log::warning(warning);
  for (const std::string& note : configuration.notes) log::debug(note);
}

void Reloading::take_over_process(const Configuration& configuration) {
  log::set_level(configuration.log_level);
  stop_ = configuration.options.stop;
  take_over_options_ = configuration.options.take_over;
  changes_.turn(configuration.options.watch_files && read_);
  parts_.discovery.use_servers(configuration.options.dns_servers);
  const WorkerOptions& options = configuration.options.thread.worker;
  if (options == worker_) return;
  worker_ = options;
  for (WorkerPort* worker : parts_.workers) {
    worker->post([options](Worker& told) { told.update(options); });
  }
}

std::size_t Reloading::number_of(std::string_view name) const {
  const auto& entries = parts_.shared.table->entries;
  const auto found = std::ranges::find_if(entries, [&](const ClusterTable::Entry& entry) {
    return entry.cluster != nullptr && !entry.leaving && entry.cluster->name() == name;
  });
  CHECK(found != entries.end());
  return static_cast<std::size_t>(found - entries.begin());
}

void Reloading::change(ClusterTable& table, ReloadPlan::Change change) {
  const std::size_t number = number_of(change.settings->options.name);
  ClusterTable::Entry& entry = table.entries[number];
  entry.version = entry.cluster->renew(std::move(change.settings));
  note_leaving(number, *entry.version);
  parts_.probes.update(number, std::move(change.probe_contexts));
  parts_.discovery.update(number, entry.cluster);
  log::info("a cluster has changed", {{"cluster", entry.cluster->name()},
                                      {"generation", entry.version->generation},
                                      {"backends", entry.version->backends.serving()}});
}

void Reloading::endpoints_changed(std::size_t number) {
  changed_endpoints_.insert(number);
  if (endpoint_tables_ < endpoint_tables_max) follow_endpoints();
}

void Reloading::follow_endpoints() {
  if (changed_endpoints_.empty()) return;
  ++endpoint_tables_;
  auto table = std::make_shared<ClusterTable>(*parts_.shared.table);
  for (const std::size_t number : std::exchange(changed_endpoints_, {})) {
    const ClusterTable::Entry* served = parts_.shared.table->find(number);
    if (served == nullptr || served->leaving) continue;
    note_leaving(number, *served->cluster->follow_sources());
    parts_.probes.update(number, {});
    table->entries[number].version = served->cluster->version();
  }
  publish(std::move(table));
}

void Reloading::note_leaving(std::size_t number, const ClusterVersion& version) {
  const auto& slots = version.backends.backends;
  for (std::size_t slot = 0; slot < slots.size(); ++slot) {
    const std::pair key(number, slot);
    if (slots[slot] == nullptr || version.backends.serves(slot)) {
      leaving_backends_.erase(key);
    } else {
      leaving_backends_.try_emplace(key, LeavingBackend{version.revision, {}});
    }
  }
}

std::size_t Reloading::free_number(ClusterTable& table) {
  const auto free = std::ranges::find_if(
      table.entries, [](const ClusterTable::Entry& entry) { return entry.cluster == nullptr; });
  if (free != table.entries.end()) return static_cast<std::size_t>(free - table.entries.begin());
  table.entries.emplace_back();
  return table.entries.size() - 1;
}

void Reloading::add(ClusterTable& table, ReloadPlan::Change change) {
  ClusterTable::Entry& entry = table.entries[free_number(table)];
  entry.cluster = std::move(change.added);
  entry.version = entry.cluster->version();
  entry.leaving = false;
  const auto number = static_cast<std::size_t>(&entry - table.entries.data());
  parts_.discovery.update(number, entry.cluster);
  added_.emplace_back(number, change.probe_contexts.value_or(backend::BackendContexts{}));
  log::info("a cluster has come",
            {{"cluster", entry.cluster->name()}, {"backends", entry.version->backends.serving()}});
}

void Reloading::remove(ClusterTable& table, const std::string& name) {
  const std::size_t number = number_of(name);
  table.entries[number].leaving = true;
  leaving_clusters_.try_emplace(number);
  log::info("a cluster is served no more: its clients are told to go",
            {{"cluster", name}, {"drain_timeout", stop_.drain_window}});
}

// --- telling the workers

void Reloading::publish(std::shared_ptr<ClusterTable> table) {
  table->names = {};
  for (std::size_t number = 0; number < table->entries.size(); ++number) {
    const ClusterTable::Entry& entry = table->entries[number];
    if (entry.cluster == nullptr || entry.leaving) continue;
    table->names.add(number, entry.version->options());
  }
  for (const std::string& name : parts_.shared.reserved_names) table->names.reserve(name);
  parts_.shared.table = table;
  const auto added = std::exchange(added_, {});
  for (const auto& [number, contexts] : added) {
    parts_.probes.add(number, contexts);
    const Duration quiet = table->entries[number].version->options().probe.quiet_interval;
    parts_.probes.start(number, added.size() <= asked_at_once ? Duration::zero() : quiet);
  }
  unheard_ = parts_.workers.empty();
  unanswered_ += parts_.workers.size();
  for (WorkerPort* worker : parts_.workers) {
    worker->post([table = std::shared_ptr<const ClusterTable>(table), stop = stop_,
                  door = door_](Worker& told) {
      told.update(table, stop.drain_window, stop.tunnel_window);
      // Behind whatever it has asked for because of it.
      door->post([](Reloading& reloading) {
        --reloading.unanswered_;
        reloading.finish();
      });
    });
  }
}

void Reloading::republish(std::size_t number) {
  auto table = std::make_shared<ClusterTable>(*parts_.shared.table);
  table->entries[number].version = table->entries[number].cluster->version();
  publish(std::move(table));
}

void Reloading::outdated(std::size_t worker, std::size_t cluster,
                         std::shared_ptr<const ClusterSettings> before) {
  wanted_.push_back({worker, cluster, std::move(before)});
  make_next();
}

// One at a time, whoever it is for: each costs its worker a part of a millisecond, in a turn of its
// own.
void Reloading::make_next() {
  while (!renewing_ && !wanted_.empty()) {
    const Wanted wanted = std::move(wanted_.front());
    wanted_.pop_front();
    const ClusterTable::Entry* entry = parts_.shared.table->find(wanted.cluster);
    if (entry == nullptr || entry->leaving) continue;
    renewing_ = true;
    parts_.environment.aside([door = door_, wanted, version = entry->cluster->version()]() mutable {
      auto renewal = make_renewal(*wanted.before, version);
      door->post([wanted, renewal = std::move(renewal)](Reloading& reloading) mutable {
        reloading.deliver(wanted.worker, wanted.cluster, std::move(renewal));
      });
    });
  }
  finish();
}

void Reloading::deliver(std::size_t worker, std::size_t cluster, Result<ClusterRenewal> renewal) {
  if (renewal) {
    parts_.workers.at(worker)->post([cluster, renewal = std::move(*renewal)](Worker& told) mutable {
      told.renew(cluster, std::move(renewal));
    });
    return;
  }
  // It may have gone meanwhile.
  const ClusterTable::Entry* entry = parts_.shared.table->find(cluster);
  log::error("a change of a cluster cannot be served",
             {{"cluster", entry == nullptr ? "" : entry->cluster->name()},
              {"why", renewal.error().context}});
  renewed();
}

void Reloading::renewed() {
  renewing_ = false;
  make_next();
}

void Reloading::finish() {
  if (under_way()) return;
  if (again_) return begin();
  if (parts_.shared.alone && parts_.shared.cluster(0).version()->settings->has_keys()) {
    (void)parts_.shared.cluster(0).forget_keys();
    return republish(0);
  }
  if (std::exchange(announced_, false)) {
    ++(parts_.shared.mistakes.empty() ? parts_.shared.reloads : parts_.shared.refused_reloads);
    parts_.notify("READY=1\nSTATUS=" + outcome_);
  }
}

void Reloading::workers_serve(bool watch_files) {
  changes_.turn(watch_files && read_);
  files_changed();
  // Names may have been answered while it waited for its predecessor.
  if (unheard_) publish(std::make_shared<ClusterTable>(*parts_.shared.table));
  finish();
}

// --- what leaves

void Reloading::cluster_left(std::size_t worker, std::size_t cluster, const Cluster& which) {
  const auto leaving = leaving_clusters_.find(cluster);
  // Said for the second time, and the number is another's by now.
  if (leaving == leaving_clusters_.end()) return;
  if (parts_.shared.table->entries[cluster].cluster.get() != &which) return;
  leaving->second.insert(worker);
  if (leaving->second.size() == parts_.worker_count) parts_.probes.end(cluster);
}

void Reloading::backend_left(std::size_t worker, BackendId backend, std::uint64_t revision) {
  const auto leaving = leaving_backends_.find({backend.cluster, backend.backend});
  // Said before it began to leave, perhaps for the second time.
  if (leaving == leaving_backends_.end() || revision < leaving->second.since) return;
  leaving->second.left.insert(worker);
  if (leaving->second.left.size() < parts_.worker_count) return;
  leaving_backends_.erase(leaving);
  Cluster& cluster = parts_.shared.cluster(backend.cluster);
  (void)cluster.free_slot(backend.backend);
  note_leaving(backend.cluster, *cluster.version());
  parts_.probes.update(backend.cluster, {});
  republish(backend.cluster);
}

void Reloading::tick() {
  endpoint_tables_ = 0;
  follow_endpoints();
  if (!held_ && !reading_ && read_ && changes_.due(parts_.reactor.now())) read(true);
  part_with_former();
  free_numbers();
}

void Reloading::part_with_former() {
  for (std::size_t number = 0; number < parts_.shared.table->entries.size(); ++number) {
    const ClusterTable::Entry* entry = parts_.shared.table->find(number);
    if (entry == nullptr || entry->leaving || !entry->cluster->keeps_former()) {
      former_since_.erase(number);
      continue;
    }
    const Instant now = parts_.reactor.now();
    const Instant since = former_since_.try_emplace(number, now).first->second;
    if (!entry->cluster->has_successor() && now - since < former_max) continue;
    former_since_.erase(number);
    entry->cluster->part_with_former();
    endpoints_changed(number);
  }
}

// A number is free when the probes of its cluster are gone, too.
void Reloading::free_numbers() {
  std::shared_ptr<ClusterTable> table;
  for (auto leaving = leaving_clusters_.begin(); leaving != leaving_clusters_.end();) {
    const auto& [number, left] = *leaving;
    if (left.size() < parts_.worker_count || !parts_.probes.free(number)) {
      ++leaving;
      continue;
    }
    if (table == nullptr) table = std::make_shared<ClusterTable>(*parts_.shared.table);
    log::info("nothing is left of a cluster",
              {{"cluster", table->entries[number].cluster->name()}});
    table->entries[number] = {};
    std::erase_if(leaving_backends_, [&](const auto& each) { return each.first.first == number; });
    leaving = leaving_clusters_.erase(leaving);
  }
  if (table != nullptr) publish(std::move(table));
}

}  // namespace sluice::server
