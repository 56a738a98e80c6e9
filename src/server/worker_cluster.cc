// SPDX-License-Identifier: GPL-3.0-or-later
// One worker's part of a cluster.
#include "worker_cluster.h"

#include <fmt/format.h>

#include <functional>
#include <utility>

#include "sluice/base/check.h"
#include "sluice/base/random.h"
#include "sluice/observability/log.h"

namespace sluice::server {
namespace {

// As long as a client may take to come back and find its token proven.
constexpr Duration unused_max = std::chrono::minutes(5);

}  // namespace

Result<std::unique_ptr<WorkerCluster>> WorkerCluster::create(const WorkerClusterParts& parts,
                                                             std::uint64_t seed) {
  const ClusterOptions& options = parts.cluster.options();
  Result<std::shared_ptr<const tls::ServerContext>> server;
  if (!parts.cluster.passes_on()) server = tls::ServerContext::create(options.tls);
  if (!server) return std::unexpected(server.error());
  Result<backend::BackendContexts> backends;
  if (parts.cluster.has_backends()) backends = options.backend_tls.make_contexts();
  if (!backends) return std::unexpected(backends.error());
  return std::unique_ptr<WorkerCluster>(
      new WorkerCluster(parts, std::move(*server), *backends, seed));
}

WorkerCluster::WorkerCluster(const WorkerClusterParts& parts,
                             std::shared_ptr<const tls::ServerContext> server_context,
                             const backend::BackendContexts& backend_contexts, std::uint64_t seed)
    : parts_(parts),
      metrics_(parts.cluster.metrics()),
      cells_(parts.cluster.metrics().registry),
      backends_(parts.transport, parts.cluster.status, backend_contexts, set_options(parts), seed,
                std::bind_front(&WorkerCluster::pool_event, this)),
      proxy_({parts.transport.reactor(), parts.resources, backends_, parts.cluster.board,
              parts.worker, parts.cluster.identity_fields, cells_, metrics_.proxy,
              parts.cluster.name(), parts.access_log, *this, Random(seed).next(),
              proxy::key_of_cluster(parts.key, parts.cluster.name())},
             parts.cluster.options().proxy),
      served_{std::move(server_context),
              proxy_,
              parts.names,
              parts.number,
              0,
              parts.cluster.known() || parts.names == nullptr ? nullptr : &waiting_} {
  if (!parts.cluster.passes_on()) return;
  CHECK(metrics_.pass_through.has_value());
  pass_through_.emplace(
      PassThroughParts{parts.transport, parts.cluster.targets, cells_, *metrics_.pass_through,
                       parts.access_log, parts.worker, parts.cluster.name()},
      Random(~seed).next());
  served_.pass_through = &*pass_through_;
  served_.waiting = nullptr;
}

// Header tables of all connections of a worker come from one pool.
backend::BackendSetOptions WorkerCluster::set_options(const WorkerClusterParts& parts) {
  backend::BackendSetOptions options = parts.cluster.options().backend_set;
  options.pool.session.memory = &parts.codec_memory;
  return options;
}

void WorkerCluster::pool_event(std::size_t backend, backend::PoolKind kind,
                               backend::PoolEvent event, const std::string& text) {
  CHECK_LT(backend, backends_.size());
  if (event == backend::PoolEvent::silent) parts_.events.backend_silent(id(backend));
  if (event != backend::PoolEvent::connect_failed && event != backend::PoolEvent::connection_lost) {
    return;
  }
  log::info("a backend connection failed", {{"backend", parts_.cluster.backend_name(backend)},
                                            {"pool", backend::to_string(kind)},
                                            {"why", text}});
  parts_.events.probe_soon(id(backend));
}

void WorkerCluster::on_identity_refused(std::size_t backend) {
  CHECK_LT(backend, backends_.size());
  // One answer proves nothing: the probe, which asks at once, decides for all workers.
  parts_.events.identity_refused(id(backend));
}

void WorkerCluster::on_drain_answer(std::size_t backend) {
  CHECK_LT(backend, backends_.size());
  // The answer can be forged behind a proxy subresource, so it only asks for a look.
  parts_.events.probe_soon(id(backend));
}

void WorkerCluster::known() {
  served_.waiting = nullptr;
  while (WaitingClient* client = waiting_.pop_front()) client->cluster_known();
}

void WorkerCluster::end_tunnels() {
  proxy_.end_tunnels();
  if (pass_through_) pass_through_->end();
}

void WorkerCluster::terminate() {
  backends_.terminate();
  if (pass_through_) pass_through_->terminate();
}

bool WorkerCluster::terminated() const {
  return backends_.terminated() && (!pass_through_ || pass_through_->terminated());
}

bool WorkerCluster::unused() {
  const Instant now = parts_.transport.reactor().now();
  const bool passes = pass_through_ && pass_through_->connections() > 0;
  if (served_.clients > 0 || passes || proxy_.exchanges() > 0 || !backends_.terminated()) {
    unused_since_.reset();
    return false;
  }
  if (!unused_since_) unused_since_ = now;
  return now - *unused_since_ >= unused_max;
}

void WorkerCluster::publish() {
  proxy_.publish();
  metrics_.backends.publish(cells_, backends_);
}

void WorkerCluster::describe(Outline& outline) {
  if (!parts_.cluster.name().empty()) {
    outline.add(1, fmt::format("cluster {} clients={} exchanges={}", parts_.cluster.name(),
                               served_.clients, proxy_.exchanges()));
  }
  if (pass_through_) pass_through_->describe(outline);
  for (std::size_t b = 0; b < backends_.size(); ++b) {
    const std::string name = parts_.cluster.backend_name(b);
    for (std::size_t k = 0; k < backend::pool_kinds && !outline.full(); ++k) {
      const auto kind = static_cast<backend::PoolKind>(k);
      if (const auto* upgrades = backends_.upgrades(b, kind);
          upgrades != nullptr && upgrades->connections() > 0) {
        outline.add(1, fmt::format("backend {} pool={} upgrades={}", name, backend::to_string(kind),
                                   upgrades->connections()));
      }
      const backend::ConnectionPool* pool = backends_.pool(b, kind);
      if (pool == nullptr || pool->connections() == 0) continue;
      outline.add(1, fmt::format("backend {} pool={} connections={} ready={} streams={}", name,
                                 backend::to_string(kind), pool->connections(),
                                 pool->ready_connections(), pool->open_streams()));
    }
  }
}

}  // namespace sluice::server
