// SPDX-License-Identifier: GPL-3.0-or-later
// The pages.
#include "admin_pages.h"

#include <fmt/format.h>

#include <iterator>
#include <utility>

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
  if (path == "/backends") {
    return {200, "application/json", backends_page(shared_.clusters)};
  }
  return text(404, "try /metrics, /livez, /readyz, /backends or /debug\n");
}

AdminReply AdminPages::livez() const {
  return process_.workers_turn() ? text(200, "ok\n") : text(500, "a worker is stuck\n");
}

AdminReply AdminPages::readyz() const {
  const StopSequence::State state = process_.stop_state();
  if (state == StopSequence::State::starting) return text(503, "starting\n");
  if (state != StopSequence::State::serving) return text(503, "stopping\n");
  if (shared_.only_one() && !shared_.clusters[0]->status.any_usable()) {
    return text(503, "no backend is ready\n");
  }
  return text(200, "ok\n");
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

void append_backend(std::string& page, const Cluster& cluster, std::size_t backend) {
  constexpr std::size_t name_bytes_max = 1024;  // more than a host name and a port have
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

}  // namespace

std::string backends_page(const Shared::Clusters& clusters) {
  std::string page = "{\"backends\":[";
  bool first = true;
  for (const auto& cluster : clusters) {
    for (std::size_t i = 0; i < cluster->status.backends.size(); ++i) {
      if (!std::exchange(first, false)) page += ',';
      append_backend(page, *cluster, i);
    }
  }
  page += "]}\n";
  return page;
}

}  // namespace sluice::server
