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
    return {200, "text/plain; version=0.0.4; charset=utf-8", shared_.registry.render()};
  }
  if (path == "/livez") return livez();
  if (path == "/readyz") return readyz();
  if (path == "/backends") {
    return {200, "application/json",
            backends_page(shared_.cluster, shared_.board, shared_.registry, shared_.proxy_metrics)};
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
  if (!shared_.cluster.any_usable()) return text(503, "no backend is ready\n");
  return text(200, "ok\n");
}

std::string backends_page(const backend::Cluster& cluster, const balance::LoadBoard& board,
                          const metrics::Registry& registry, const proxy::ProxyMetrics& metrics) {
  const std::size_t classes = enumerator_names<kubernetes::RequestClass>().size();
  constexpr std::size_t name_bytes_max = 1024;  // more than a host name and a port have
  std::string page = "{\"backends\":[";
  for (std::size_t i = 0; i < cluster.backends.size(); ++i) {
    const backend::BackendStatus& status = *cluster.backends[i];
    std::uint64_t requests = 0;
    for (std::size_t c = 0; c < classes; ++c) requests += registry.total(metrics.requests.at(c, i));
    const balance::Load load = board.total(i);
    page += i == 0 ? R"({"name":)" : R"(,{"name":)";
    observability::append_json_string(page, status.endpoint.name, name_bytes_max);
    fmt::format_to(
        std::back_inserter(page),
        R"(,"health":"{}","trustsIdentity":{},"work":{},"watches":{},"tunnels":{},"requests":{}}})",
        to_string(status.health.load(std::memory_order_relaxed)),
        status.trusts_identity.load(std::memory_order_relaxed), load.work, load.watches,
        load.tunnels, requests);
  }
  page += "]}\n";
  return page;
}

}  // namespace sluice::server
