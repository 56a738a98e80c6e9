// SPDX-License-Identifier: GPL-3.0-or-later
// The pages.
#include "admin_pages.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <string_view>
#include <unordered_set>
#include <utility>
#include <vector>

#include "sluice/backend/api_version.h"
#include "sluice/base/enumerators.h"
#include "sluice/observability/escape.h"

namespace sluice::server {
namespace {

AdminReply text(int status, std::string body) {
  return {status, "text/plain; charset=utf-8", std::move(body)};
}

}  // namespace

void AdminPages::get(std::string_view path, Admin::Answer answer) {
  if (path != "/debug") return answer(page(path));
  process_.ask_workers(
      [answer = std::move(answer)](const std::string& page) mutable { answer(text(200, page)); });
}

AdminReply AdminPages::page(std::string_view path) const {
  if (path == "/metrics") {
    return {200, "text/plain; version=0.0.4; charset=utf-8", shared_.render_metrics()};
  }
  if (path == "/livez") return livez();
  if (path == "/readyz") return readyz();
  constexpr std::string_view of_cluster = "/readyz/";
  if (path.starts_with(of_cluster)) return readyz_of(path.substr(of_cluster.size()));
  if (path == "/backends") {
    return {200, "application/json", backends_page(shared_, process_.now())};
  }
  if (path == "/clusters") {
    return {200, "application/json", clusters_page(shared_, process_.now())};
  }
  return text(404, "try /metrics, /livez, /readyz, /backends, /clusters or /debug\n");
}

AdminReply AdminPages::livez() const {
  return process_.workers_turn() ? text(200, "ok\n") : text(500, "a worker is stuck\n");
}

AdminReply AdminPages::readyz() const {
  const StopSequence::State state = process_.stop_state();
  if (state == StopSequence::State::starting) return text(503, "starting\n");
  if (state != StopSequence::State::serving) return text(503, "stopping\n");
  if (!shared_.alone) {
    return process_.workers_turn() ? text(200, "ok\n") : text(503, "a worker is stuck\n");
  }
  return readyz_of({});
}

AdminReply AdminPages::readyz_of(std::string_view name) const {
  for (const Cluster* cluster : shared_.clusters()) {
    if (cluster->name() != name) continue;
    if (cluster->usable()) return text(200, "ok\n");
    if (cluster->version()->hibernates()) return text(503, "it hibernates\n");
    if (cluster->passes_on()) return text(503, "no target can be reached\n");
    return text(503, "no backend is ready\n");
  }
  return text(404, "no such cluster\n");
}

namespace {

constexpr std::size_t name_bytes_max = 1024;  // more than a host name and a port have

void append_backend(std::string& page, const Cluster& cluster, std::size_t backend, Instant now) {
  const backend::BackendStatus& status = *cluster.backends().backends[backend];
  const BackendMetrics* used = cluster.version()->series[backend]->metrics_if_used();
  const balance::Load load = cluster.board->total(backend);
  page += R"({"name":)";
  observability::append_json_string(page, status.endpoint.name, name_bytes_max);
  if (!cluster.name().empty()) {
    page += R"(,"cluster":)";
    observability::append_json_string(page, cluster.name(), name_bytes_max);
  }
  fmt::format_to(
      std::back_inserter(page),
      R"(,"health":"{}","trustsIdentity":{},"work":{},"watches":{},"tunnels":{},"requests":{})",
      to_string(status.health.load(std::memory_order_relaxed)),
      status.trusts_identity.load(std::memory_order_relaxed), load.work, load.watches, load.tunnels,
      used == nullptr ? 0 : used->requests_sent());
  // Of one that has run for longer than we know there is none.
  if (const Instant started = status.started.load(std::memory_order_relaxed);
      started != Instant::min()) {
    fmt::format_to(std::back_inserter(page), R"(,"ageSeconds":{})",
                   (now - started) / std::chrono::seconds(1));
  }
  if (const std::uint32_t version = status.version.load(std::memory_order_relaxed)) {
    fmt::format_to(std::back_inserter(page), R"(,"version":"{}")",
                   backend::ApiVersion::of(version).to_string());
  }
  if (const balance::Share share = cluster.board->share(backend); share.weight < 1) {
    fmt::format_to(std::back_inserter(page), R"(,"weight":{:.3f},"lowered":"{}")", share.weight,
                   to_string(share.why));
  }
  if (!cluster.backends().serves(backend)) page += R"(,"leaving":true)";
  page += '}';
}

std::vector<std::size_t> backends_of(const Cluster& cluster) {
  std::vector<std::size_t> slots;
  for (std::size_t slot = 0; slot < cluster.backends().backends.size(); ++slot) {
    if (cluster.backends().backends[slot] != nullptr) slots.push_back(slot);
  }
  return slots;
}

// `[…]` of what `append` writes for each.
template <class Items, class Append>
void append_array(std::string& page, const Items& items, Append&& append) {
  page += '[';
  bool first = true;
  for (const auto& item : items) {
    if (!std::exchange(first, false)) page += ',';
    append(item);
  }
  page += ']';
}

constexpr std::size_t error_bytes_max = 4096;

void append_error(std::string& page, const std::vector<std::string>& mistakes) {
  if (mistakes.empty()) return;
  page += R"(,"lastError":)";
  observability::append_json_string(page, mistakes.front(), error_bytes_max);
}

const BrokenCluster* find_broken(const Shared& shared, std::string_view name) {
  const auto found = std::ranges::find(shared.broken, name, &BrokenCluster::name);
  return found == shared.broken.end() ? nullptr : &*found;
}

// One that has never been served.
void append_broken(std::string& page, const BrokenCluster& broken) {
  page += R"({"name":)";
  observability::append_json_string(page, broken.name, name_bytes_max);
  page += R"(,"generation":0)";
  append_error(page, broken.mistakes);
  page += '}';
}

// Who names backends, but for fixed addresses.
void append_sources(std::string& page, const discovery::Sources& sources) {
  const std::vector<discovery::SourceStatus> all = sources.status();
  if (all.empty()) return;
  page += R"(,"discovery":)";
  append_array(page, all, [&](const discovery::SourceStatus& source) {
    fmt::format_to(std::back_inserter(page), R"({{"kind":"{}","name":)", to_string(source.kind));
    observability::append_json_string(page, source.name, name_bytes_max);
    fmt::format_to(std::back_inserter(page), R"(,"endpoints":{})", source.endpoints);
    if (source.last_success != WallTime{}) {
      fmt::format_to(std::back_inserter(page), R"(,"lastSuccess":"{:%FT%TZ}")",
                     source.last_success);
    }
    if (source.kind == discovery::SourceStatus::Kind::self) {
      fmt::format_to(std::back_inserter(page), R"(,"candidates":{},"refused":{})",
                     source.candidates, source.refused);
    }
    if (!source.last_error.empty()) append_error(page, {source.last_error});
    page += '}';
  });
}

void append_cluster(std::string& page, const Shared& shared, const Cluster& cluster, bool leaving,
                    Instant now) {
  const ClusterVersion& version = *cluster.version();
  const ClusterOptions& options = version.options();
  page += R"({"name":)";
  observability::append_json_string(page, cluster.name(), name_bytes_max);
  fmt::format_to(std::back_inserter(page), R"(,"generation":{})", version.generation);
  if (leaving) page += R"(,"leaving":true)";
  const BrokenCluster* broken = leaving ? nullptr : find_broken(shared, cluster.name());
  if (broken != nullptr) append_error(page, broken->mistakes);
  page += R"(,"serverNames":)";
  append_array(page, options.server_names, [&](const std::string& name) {
    observability::append_json_string(page, name, name_bytes_max);
  });
  fmt::format_to(std::back_inserter(page), R"(,"others":"{}","usable":{},"certificates":)",
                 to_string(options.others), cluster.usable());
  append_array(page, options.certificates, [&](const NamedCertificate& certificate) {
    fmt::format_to(std::back_inserter(page), R"({{"use":"{}","notAfter":"{:%FT%TZ}"}})",
                   certificate.use, certificate.not_after);
  });
  page += R"(,"backends":)";
  append_array(page, backends_of(cluster),
               [&](std::size_t backend) { append_backend(page, cluster, backend, now); });
  append_sources(page, cluster.sources());
  if (cluster.passes_on()) {
    page += R"(,"passThrough":)";
    append_array(page, cluster.targets, [&](const auto& target) {
      fmt::format_to(std::back_inserter(page), R"({{"name":"{}","usable":{},"connections":{}}})",
                     target->name, !target->refuses.load(std::memory_order_relaxed),
                     target->connections.load(std::memory_order_relaxed));
    });
  }
  page += '}';
}

}  // namespace

std::string backends_page(const Shared& shared, Instant now) {
  std::vector<std::pair<const Cluster*, std::size_t>> backends;
  for (const Cluster* cluster : shared.clusters()) {
    for (const std::size_t slot : backends_of(*cluster)) backends.emplace_back(cluster, slot);
  }
  std::string page = "{\"backends\":";
  append_array(page, backends, [&](const auto& backend) {
    append_backend(page, *backend.first, backend.second, now);
  });
  return page + "}\n";
}

std::string clusters_page(const Shared& shared, Instant now) {
  std::vector<const ClusterTable::Entry*> clusters;
  std::unordered_set<std::string_view> served;
  for (const ClusterTable::Entry& entry : shared.table->entries) {
    if (entry.cluster == nullptr) continue;
    clusters.push_back(&entry);
    if (!entry.leaving) served.insert(entry.cluster->name());
  }
  std::vector<const BrokenCluster*> broken;
  for (const BrokenCluster& each : shared.broken) {
    if (!served.contains(each.name)) broken.push_back(&each);
  }
  std::string page = "{\"clusters\":";
  append_array(page, clusters, [&](const ClusterTable::Entry* entry) {
    append_cluster(page, shared, *entry->cluster, entry->leaving, now);
  });
  if (!broken.empty()) {
    page += R"(,"broken":)";
    append_array(page, broken, [&](const BrokenCluster* each) { append_broken(page, *each); });
  }
  append_error(page, shared.mistakes);
  return page + "}\n";
}

}  // namespace sluice::server
