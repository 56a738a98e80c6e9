// SPDX-License-Identifier: GPL-3.0-or-later
// The pages.
#include "admin_pages.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <iterator>
#include <ranges>
#include <utility>
#include <vector>

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
    return {200, "application/json", backends_page(shared_.clusters)};
  }
  if (path == "/clusters") {
    return {200, "application/json", clusters_page(shared_.clusters)};
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
  if (shared_.clusters_have_names()) {
    return process_.workers_turn() ? text(200, "ok\n") : text(503, "a worker is stuck\n");
  }
  return readyz_of({});
}

AdminReply AdminPages::readyz_of(std::string_view name) const {
  for (const auto& cluster : shared_.clusters) {
    if (cluster->name() != name) continue;
    if (cluster->usable()) return text(200, "ok\n");
    if (cluster->hibernates()) return text(503, "it hibernates\n");
    if (cluster->passes_on()) return text(503, "no target can be reached\n");
    return text(503, "no backend is ready\n");
  }
  return text(404, "no such cluster\n");
}

namespace {

// Requests that were sent to it, of all classes.
std::uint64_t requests_of(const Cluster& cluster, std::size_t backend) {
  const ClusterMetrics* used = cluster.metrics_if_used();
  if (used == nullptr) return 0;
  std::uint64_t requests = 0;
  for (std::size_t c = 0; c < enumerator_names<kubernetes::RequestClass>().size(); ++c) {
    requests += used->registry.total(used->proxy.requests.at(c, backend));
  }
  return requests;
}

constexpr std::size_t name_bytes_max = 1024;  // more than a host name and a port have

void append_backend(std::string& page, const Cluster& cluster, std::size_t backend) {
  const backend::BackendStatus& status = *cluster.status.backends[backend];
  const balance::Load load = cluster.board.total(backend);
  page += R"({"name":)";
  observability::append_json_string(page, status.endpoint.name, name_bytes_max);
  if (!cluster.name().empty()) {
    page += R"(,"cluster":)";
    observability::append_json_string(page, cluster.name(), name_bytes_max);
  }
  fmt::format_to(
      std::back_inserter(page),
      R"(,"health":"{}","trustsIdentity":{},"work":{},"watches":{},"tunnels":{},"requests":{}}})",
      to_string(status.health.load(std::memory_order_relaxed)),
      status.trusts_identity.load(std::memory_order_relaxed), load.work, load.watches, load.tunnels,
      requests_of(cluster, backend));
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

void append_cluster(std::string& page, const Cluster& cluster) {
  const ClusterOptions& options = cluster.options();
  page += R"({"name":)";
  observability::append_json_string(page, cluster.name(), name_bytes_max);
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
  append_array(page, std::views::iota(std::size_t{0}, cluster.status.backends.size()),
               [&](std::size_t backend) { append_backend(page, cluster, backend); });
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

std::string backends_page(const Shared::Clusters& clusters) {
  std::vector<std::pair<const Cluster*, std::size_t>> backends;
  for (const auto& cluster : clusters) {
    for (std::size_t i = 0; i < cluster->status.backends.size(); ++i) {
      backends.emplace_back(cluster.get(), i);
    }
  }
  std::string page = "{\"backends\":";
  append_array(page, backends,
               [&](const auto& backend) { append_backend(page, *backend.first, backend.second); });
  return page + "}\n";
}

std::string clusters_page(const Shared::Clusters& clusters) {
  std::string page = "{\"clusters\":";
  append_array(page, clusters, [&](const auto& cluster) { append_cluster(page, *cluster); });
  return page + "}\n";
}

}  // namespace sluice::server
