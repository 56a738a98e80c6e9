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

Result<std::unique_ptr<WorkerCluster>> WorkerCluster::create(
    const WorkerClusterParts& parts, std::shared_ptr<const ClusterVersion> version,
    std::uint64_t seed) {
  const ClusterOptions& options = version->options();
  Result<std::shared_ptr<const tls::ServerContext>> server;
  if (!parts.cluster->passes_on()) server = tls::ServerContext::create(options.tls);
  if (!server) return std::unexpected(server.error());
  auto backends = version->make_contexts();
  if (!backends) return std::unexpected(backends.error());
  std::vector<backend::BackendContexts> earlier;
  for (const ClusterVersion::Earlier& each : version->earlier) {
    auto contexts = each.settings->options.backend_tls.make_contexts();
    if (!contexts) continue;
    contexts->generation = each.backend_tls;
    earlier.push_back(std::move(*contexts));
  }
  return std::unique_ptr<WorkerCluster>(new WorkerCluster(
      parts, std::move(version), std::move(*server), *backends, std::move(earlier), seed));
}

WorkerCluster::WorkerCluster(const WorkerClusterParts& parts,
                             std::shared_ptr<const ClusterVersion> version,
                             std::shared_ptr<const tls::ServerContext> server_context,
                             const backend::BackendContexts& backend_contexts,
                             std::vector<backend::BackendContexts> earlier, std::uint64_t seed)
    : parts_(parts),
      version_(std::move(version)),
      metrics_(parts.cluster->metrics()),
      cells_(parts.cluster->metrics().registry),
      contexts_(backend_contexts),
      backends_(parts.transport, version_->backends, contexts_, set_options(parts, *version_), seed,
                std::bind_front(&WorkerCluster::pool_event, this), std::move(earlier)),
      proxy_({parts.transport.reactor(), parts.resources, backends_, *parts.cluster->board,
              parts.worker, version_->settings->identity_fields, cells_, metrics_.proxy,
              parts.cluster->name(), parts.access_log, *this, Random(seed).next(),
              proxy::key_of_cluster(parts.key, parts.cluster->name())},
             version_->options().proxy),
      served_{.tls = std::move(server_context),
              .proxy = proxy_,
              .names = parts.names,
              .number = parts.number,
              .waiting = parts.cluster->known() || parts.names == nullptr ? nullptr : &waiting_} {
  count_backends();
  if (!parts.cluster->passes_on()) return;
  CHECK(metrics_.pass_through.has_value());
  pass_through_.emplace(
      PassThroughParts{parts.transport, parts.cluster->targets, cells_, *metrics_.pass_through,
                       parts.access_log, parts.worker, parts.cluster->name()},
      Random(~seed).next());
  served_.pass_through = &*pass_through_;
  served_.waiting = nullptr;
}

// Header tables of all connections of a worker come from one pool.
backend::BackendSetOptions WorkerCluster::set_options(const WorkerClusterParts& parts,
                                                      const ClusterVersion& version) {
  backend::BackendSetOptions options = version.options().backend_set;
  options.pool.session.memory = &parts.codec_memory;
  return options;
}

void WorkerCluster::count_backends() {
  counted_.resize(version_->series.size());
  for (std::size_t slot = 0; slot < counted_.size(); ++slot) {
    Counted& counted = counted_[slot];
    if (counted.series == version_->series[slot]) continue;
    counted.cells.reset();
    counted = {};
    if (version_->series[slot] == nullptr) continue;
    counted.series = version_->series[slot];
    BackendMetrics& metrics = counted.series->metrics();
    counted.metrics = &metrics;
    counted.cells = std::make_unique<metrics::Cells>(metrics.registry);
  }
}

void WorkerCluster::renew(ClusterRenewal renewal) {
  CHECK(renewal.version != nullptr);
  // Fields of the old version are used by nobody but the next request.
  const std::shared_ptr<const ClusterVersion> before = std::exchange(version_, renewal.version);
  if (renewal.serving != nullptr) served_.tls = std::move(renewal.serving);
  if (renewal.judge_clients_anew) ++served_.trust;
  if (renewal.backends) contexts_ = *renewal.backends;
  backends_.update(version_->backends, contexts_, set_options(parts_, *version_));
  count_backends();
  proxy_.update(version_->options().proxy, version_->settings->identity_fields);
}

void WorkerCluster::look_after_backends() {
  backends_.look_after();
  const auto& slots = version_->backends.backends;
  for (std::size_t slot = 0; slot < slots.size(); ++slot) {
    if (slots[slot] == nullptr || version_->backends.serves(slot)) continue;
    if (!backends_.leave(slot) || proxy_.refers_to(slot)) continue;
    parts_.events.backend_left(parts_.worker, id(slot), version_->revision);
  }
}

void WorkerCluster::drain(Duration window, Duration tunnel_window) {
  if (drain_) return;
  drain_ = Drain{.over = now() + window, .tunnels_over = now() + tunnel_window};
  // The last fifth is for streams that take their time to end.
  proxy_.end_watches(now() + window * 4 / 5);
}

bool WorkerCluster::drain_over() const { return drain_ && now() >= drain_->over; }
bool WorkerCluster::tunnels_over() const { return drain_ && now() >= drain_->tunnels_over; }

void WorkerCluster::go_on_draining() {
  CHECK(drain_);
  if (drain_over() && !std::exchange(drain_->cut, true)) proxy_.cut_first_bursts();
  if (tunnels_over() && !std::exchange(drain_->tunnels_told, true)) end_tunnels();
}

void WorkerCluster::pool_event(std::size_t backend, backend::PoolKind kind,
                               backend::PoolEvent event, const std::string& text) {
  CHECK_LT(backend, backends_.size());
  if (event == backend::PoolEvent::silent) parts_.events.backend_silent(id(backend));
  if (event != backend::PoolEvent::connect_failed && event != backend::PoolEvent::connection_lost) {
    return;
  }
  log::info("a backend connection failed",
            {{"backend", parts_.cluster->backend_name(backends_.endpoint(backend))},
             {"pool", backend::to_string(kind)},
             {"why", text}});
  parts_.events.probe_soon(id(backend));
}

void WorkerCluster::on_sent(std::size_t backend, kubernetes::RequestClass request_class) {
  CHECK_LT(backend, counted_.size());
  const Counted& counted = counted_[backend];
  counted.cells->add(counted.metrics->requests.at(request_class));
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

bool WorkerCluster::in_use() const {
  return served_.clients > 0 || proxy_.exchanges() > 0 ||
         (pass_through_ && pass_through_->connections() > 0);
}

bool WorkerCluster::unused() {
  if (in_use() || !backends_.terminated()) {
    unused_since_.reset();
    return false;
  }
  if (!unused_since_) unused_since_ = now();
  return now() - *unused_since_ >= unused_max;
}

void WorkerCluster::publish() {
  proxy_.publish();
  for (std::size_t slot = 0; slot < counted_.size(); ++slot) {
    const Counted& counted = counted_[slot];
    if (counted.cells != nullptr) counted.metrics->publish(*counted.cells, backends_, slot);
  }
}

void WorkerCluster::describe(Outline& outline) {
  if (!parts_.cluster->name().empty()) {
    outline.add(1, fmt::format("cluster {}{} clients={} exchanges={}", parts_.cluster->name(),
                               drains() ? " draining" : "", served_.clients, proxy_.exchanges()));
  }
  if (pass_through_) pass_through_->describe(outline);
  for (std::size_t b = 0; b < backends_.size(); ++b) {
    if (version_->backends.backends[b] == nullptr) continue;
    const std::string name = parts_.cluster->backend_name(backends_.endpoint(b));
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
