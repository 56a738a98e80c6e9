// SPDX-License-Identifier: GPL-3.0-or-later
// Questions and answers.
#include "discovery.h"

#include <algorithm>
#include <mutex>
#include <utility>

#include "sluice/observability/log.h"

namespace sluice::server {
namespace {

WallTime wall_now() {
  return std::chrono::floor<std::chrono::seconds>(std::chrono::system_clock::now());
}

bool is_any(const io::Address& address) {
  return std::ranges::all_of(address.ip(), [](std::uint8_t byte) { return byte == 0; });
}

bool is_loopback(const io::Address& address) {
  return address.host().starts_with("127.") || address.host() == "::1";
}

// Requests would run in a circle. As far as can be told without asking which addresses are ours.
bool reaches(const io::Address& target, const io::Address& listener) {
  if (target == listener) return true;
  return target.port() == listener.port() && is_any(listener) && is_loopback(target);
}

}  // namespace

struct Discovery::Door : std::enable_shared_from_this<Door> {
  std::mutex mutex;
  Discovery* inside = nullptr;  // written by the control thread

  // Any thread. Runs on the control thread, or never.
  void post(std::move_only_function<void(Discovery&)> message) {
    const std::lock_guard lock(mutex);
    if (inside == nullptr) return;
    inside->parts_.reactor.mailbox().post(
        [door = shared_from_this(), message = std::move(message)]() mutable {
          if (door->inside != nullptr) message(*door->inside);
        });
  }
};

Discovery::Discovery(Parts parts, const ServerOptions& options)
    : parts_(std::move(parts)),
      listen_(options.thread.listen),
      servers_(options.dns_servers),
      door_(std::make_shared<Door>()) {
  door_->inside = this;
}

Discovery::~Discovery() { stop(); }

void Discovery::stop() {
  const std::lock_guard lock(door_->mutex);
  door_->inside = nullptr;
}

bool Discovery::is_ours(const io::Address& address) const {
  const auto reached = [&](const io::Address& listener) { return reaches(address, listener); };
  if (std::ranges::any_of(listen_, reached)) return true;
  return std::ranges::any_of(parts_.shared.clusters(), [&](const Cluster* cluster) {
    return std::ranges::any_of(cluster->version()->options().listen, reached);
  });
}

void Discovery::tick() {
  const Instant now = parts_.reactor.now();
  const auto& entries = parts_.shared.table->entries;
  for (std::size_t number = 0; number < entries.size(); ++number) {
    const ClusterTable::Entry& entry = entries[number];
    if (entry.cluster == nullptr || entry.leaving) continue;
    for (const std::string& name : entry.cluster->sources().due(now)) {
      ask(number, entry.cluster, name);
    }
  }
}

void Discovery::ask(std::size_t number, const std::shared_ptr<Cluster>& cluster,
                    const std::string& name) {
  cluster->sources().refuse([this](const io::Address& address) { return is_ours(address); });
  parts_.environment.resolve(
      {.name = name, .servers = servers_},
      [door = door_, number, cluster, name](discovery::NameAnswer answer) {
        door->post([number, cluster, name, answer = std::move(answer)](Discovery& discovery) {
          discovery.answered(number, *cluster, name, answer);
        });
      });
}

void Discovery::answered(std::size_t number, const Cluster& asked, const std::string& name,
                         const discovery::NameAnswer& answer) {
  const ClusterTable::Entry* entry = parts_.shared.table->find(number);
  // It may have gone meanwhile, and its number be another's.
  if (entry == nullptr || entry->leaving || entry->cluster.get() != &asked) return;
  discovery::Sources& sources = entry->cluster->sources();
  const std::string before = sources.error_of(name);
  const bool changed = sources.answered(name, answer, parts_.reactor.now(), wall_now());
  say(*entry->cluster, name, before);
  if (!changed) return;
  if (sources.left_out() > 0) {
    log::error("a cluster has more API servers than it may: some are left out",
               {{"cluster", entry->cluster->name()},
                {"left_out", sources.left_out()},
                {"most", discovery::Sources::endpoints_max}});
  }
  parts_.changed(number);
}

void Discovery::say(const Cluster& cluster, const std::string& name,
                    const std::string& before) const {
  const std::string error = cluster.sources().error_of(name);
  if (error == before) return;
  if (error.empty()) {
    log::info("a name of backends is resolved again",
              {{"name", name}, {"cluster", cluster.name()}});
    return;
  }
  log::warning("a name of backends is not resolved: what was known stays",
               {{"name", name}, {"cluster", cluster.name()}, {"why", error}});
}

}  // namespace sluice::server
