// SPDX-License-Identifier: GPL-3.0-or-later
// Questions and answers.
#include "discovery.h"

#include <algorithm>
#include <utility>

#include "sluice/observability/log.h"

namespace sluice::server {
namespace {

bool is_any(const io::Address& address) {
  return std::ranges::all_of(address.ip(), [](std::uint8_t byte) { return byte == 0; });
}

constexpr Duration interfaces_age_max = std::chrono::seconds(1);

bool is_loopback(const io::Address& address) {
  return address.host().starts_with("127.") || address.host() == "::1";
}

// Requests would run in a circle. `interfaces`: what addresses we have, as far as somebody has
// asked.
bool reaches(const io::Address& target, const io::Address& listener,
             std::span<const io::Address> interfaces) {
  if (target == listener) return true;
  if (target.port() != listener.port() || !is_any(listener)) return false;
  return is_loopback(target) ||
         std::ranges::find(interfaces, target.with_port(0)) != interfaces.end();
}

}  // namespace

Discovery::Discovery(Parts parts, const ServerOptions& options)
    : parts_(std::move(parts)),
      listen_(options.thread.listen),
      servers_(options.dns_servers),
      door_(std::make_shared<Door<Discovery>>(parts_.reactor, *this)),
      transport_(parts_.reactor, {}) {}

Discovery::~Discovery() { stop(); }

void Discovery::stop() {
  door_->close();
  while (!watched_.empty()) end_watch(watched_.begin()->first);
  while (!selves_.empty()) end_self(selves_.begin()->first);
}

bool Discovery::stopped() const {
  return transport_.connections() == 0 &&
         std::ranges::all_of(ending_,
                             [](const Watched& ending) { return ending.watch->terminated(); }) &&
         std::ranges::all_of(ending_selves_, [](const auto& self) { return self->terminated(); });
}

void Discovery::update(std::size_t number, const std::shared_ptr<Cluster>& cluster) {
  update_slices(number, cluster);
  update_self(number, cluster);
}

bool Discovery::is_served(std::size_t number, const Cluster& cluster) const {
  const ClusterTable::Entry* entry = parts_.shared.table->find(number);
  return entry != nullptr && !entry->leaving && entry->cluster.get() == &cluster;
}

// --- EndpointSlices

void Discovery::update_slices(std::size_t number, const std::shared_ptr<Cluster>& cluster) {
  const ClusterSettings& settings = *cluster->version()->settings;
  const auto known = watched_.find(number);
  if (known != watched_.end()) {
    if (settings.options.discovery.slices && known->second.cluster == cluster &&
        known->second.management == settings.management) {
      return;
    }
    end_watch(number);
  }
  if (settings.options.discovery.slices) watch(number, cluster);
}

void Discovery::watch(std::size_t number, const std::shared_ptr<Cluster>& cluster) {
  refuse_ours(*cluster);
  const ClusterSettings& settings = *cluster->version()->settings;
  const discovery::SliceOptions& options = *settings.options.discovery.slices;
  auto tls = tls::ClientContext::create(options.tls);
  if (!tls) {
    log::error("EndpointSlices cannot be followed",
               {{"cluster", cluster->name()}, {"why", tls.error().context}});
    return;
  }
  Watched& watched = watched_[number];
  watched.cluster = cluster;
  watched.management = settings.management;
  watched.serial = ++last_serial_;
  watched.server = std::make_unique<discovery::ManagementServer>(options, std::move(*tls));
  watched.watch = std::make_unique<discovery::SliceWatch>(
      transport_, *watched.server,
      discovery::SliceQuestion{.path = options.path,
                               .name_space = options.name_space,
                               .service = options.service,
                               .port_name = options.port_name},
      parts_.environment.random(), [this, number](const Result<std::vector<io::Address>>& slices) {
        slices_told(number, slices);
      });
}

void Discovery::end_watch(std::size_t number) {
  const auto known = watched_.find(number);
  if (known == watched_.end()) return;
  known->second.watch->terminate();
  ending_.push_back(std::move(known->second));
  watched_.erase(known);
}

void Discovery::tick_watches() {
  std::erase_if(ending_, [](const Watched& ending) { return ending.watch->terminated(); });
  std::vector<std::size_t> gone;
  for (auto& [number, watched] : watched_) {
    if (!is_served(number, *watched.cluster)) {
      gone.push_back(number);
      continue;
    }
    if (const auto name = watched.server->due_name(parts_.reactor.now())) {
      ask_for_watch(number, watched.serial, *name);
    }
    watched.watch->tick();
  }
  for (const std::size_t number : gone) end_watch(number);
}

void Discovery::ask_for_watch(std::size_t number, std::uint64_t serial, const std::string& name) {
  parts_.environment.resolve(
      {.name = name, .servers = servers_},
      [door = door_, number, serial](discovery::NameAnswer answer) {
        door->post([number, serial, answer = std::move(answer)](Discovery& inside) {
          const auto known = inside.watched_.find(number);
          if (known == inside.watched_.end() || known->second.serial != serial) return;
          const auto has = known->second.server->answered(answer, inside.parts_.reactor.now());
          if (!has) inside.slices_told(number, std::unexpected(has.error()));
        });
      });
}

void Discovery::slices_told(std::size_t number, const Result<std::vector<io::Address>>& slices) {
  const auto known = watched_.find(number);
  if (known == watched_.end() || !is_served(number, *known->second.cluster)) return;
  Cluster& cluster = *known->second.cluster;
  discovery::Sources& sources = cluster.sources();
  const std::string before = sources.slices_error();
  const bool changed = sources.take_slices(slices, parts_.reactor.ring().wall_now());
  if (sources.slices_error() != before) {
    if (sources.slices_error().empty()) {
      log::info("EndpointSlices are followed again", {{"cluster", cluster.name()}});
    } else {
      log::warning("EndpointSlices are not known: what was known stays",
                   {{"cluster", cluster.name()}, {"why", sources.slices_error()}});
    }
  }
  if (changed) take_over(number, cluster);
}

// --- the API servers' own slice

void Discovery::update_self(std::size_t number, const std::shared_ptr<Cluster>& cluster) {
  const bool wanted = cluster->version()->options().discovery.own_slice.has_value();
  const auto known = selves_.find(number);
  if (known != selves_.end()) {
    if (wanted && known->second->cluster() == cluster) return;
    end_self(number);
  }
  if (!wanted) return;
  refuse_ours(*cluster);
  selves_[number] = std::make_unique<SelfDiscovery>(SelfDiscovery::Parts{
      .transport = transport_,
      .environment = parts_.environment,
      .cluster = cluster,
      .contexts = [this, number] { return parts_.contexts(number); },
      .is_ours = [this](const io::Address& address) { return is_ours(address, interfaces()); },
      .changed =
          [this, number, &cluster = *cluster] {
            if (is_served(number, cluster)) take_over(number, cluster);
          }});
}

void Discovery::expect(const std::vector<ClusterProofs>& known) {
  for (const auto& [number, self] : selves_) {
    const auto its = std::ranges::find(known, self->cluster()->name(), &ClusterProofs::cluster);
    if (its == known.end()) continue;
    std::vector<io::Address> former;
    for (const BackendStart& backend : its->backends) {
      // Some are called otherwise.
      if (const auto address = io::Address::parse(backend.name)) former.push_back(*address);
    }
    self->expect(std::move(former));
  }
}

void Discovery::end_self(std::size_t number) {
  const auto known = selves_.find(number);
  if (known == selves_.end()) return;
  known->second->terminate();
  ending_selves_.push_back(std::move(known->second));
  selves_.erase(known);
}

void Discovery::tick_selves() {
  std::erase_if(ending_selves_, [](const auto& self) { return self->terminated(); });
  std::vector<std::size_t> gone;
  for (const auto& [number, self] : selves_) {
    if (is_served(number, *self->cluster())) {
      self->tick();
    } else {
      gone.push_back(number);
    }
  }
  for (const std::size_t number : gone) end_self(number);
}

// --- names

bool Discovery::is_ours(const io::Address& address, std::span<const io::Address> interfaces) const {
  const auto reached = [&](const io::Address& listener) {
    return reaches(address, listener, interfaces);
  };
  if (std::ranges::any_of(listen_, reached)) return true;
  return std::ranges::any_of(parts_.shared.clusters(), [&](const Cluster* cluster) {
    return std::ranges::any_of(cluster->version()->options().listen, reached);
  });
}

// One look for all that ask within a second, however many clusters there are.
const std::vector<io::Address>& Discovery::interfaces() {
  if (const Instant now = parts_.reactor.now(); now >= next_interfaces_) {
    next_interfaces_ = now + interfaces_age_max;
    interfaces_ = parts_.environment.interface_addresses();
  }
  return interfaces_;
}

void Discovery::refuse_ours(Cluster& cluster) {
  cluster.sources().refuse([this](const io::Address& address) { return is_ours(address); });
}

void Discovery::tick() {
  tick_watches();
  tick_selves();
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
  refuse_ours(*cluster);
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
  // It may have gone meanwhile, and its number be another's.
  if (!is_served(number, asked)) return;
  const ClusterTable::Entry* entry = parts_.shared.table->find(number);
  discovery::Sources& sources = entry->cluster->sources();
  const std::string before = sources.error_of(name);
  const bool changed =
      sources.answered(name, answer, parts_.reactor.now(), parts_.reactor.ring().wall_now());
  say(*entry->cluster, name, before);
  if (changed) take_over(number, *entry->cluster);
}

void Discovery::take_over(std::size_t number, const Cluster& cluster) {
  if (const std::size_t left_out = cluster.sources().left_out(); left_out > 0) {
    log::error("a cluster has more API servers than it may: some are left out",
               {{"cluster", cluster.name()},
                {"left_out", left_out},
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
