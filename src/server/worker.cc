// SPDX-License-Identifier: GPL-3.0-or-later
// A worker's life.
#include "worker.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <utility>

#include "sluice/base/check.h"
#include "sluice/observability/log.h"

namespace sluice::server {
namespace {

constexpr Duration heartbeat_interval = std::chrono::milliseconds(500);
// Between the two GOAWAYs of a drain: a round trip and more (RFC 9113 section 6.8).
constexpr Duration goaway_gap = std::chrono::seconds(1);
// How long after the drain window connections may take to end in order.
constexpr Duration end_in_order = std::chrono::seconds(2);
// While nothing else is left.
constexpr Duration look_for_tunnels_interval = std::chrono::milliseconds(100);
// While there is little room for newcomers.
constexpr Duration make_room_interval = std::chrono::milliseconds(50);
// Connections that hold less are not worth ending.
constexpr std::size_t holding_bytes_min = 4096;

}  // namespace

Result<std::unique_ptr<Worker>> Worker::create(io::Reactor& reactor, std::size_t number,
                                               WorkerOptions options, const WorkerParts& parts,
                                               std::uint64_t seed) {
  auto server = tls::ServerContext::create(options.tls);
  if (!server) return std::unexpected(server.error());
  auto backends = options.backend_tls.make_contexts();
  if (!backends) return std::unexpected(backends.error());
  options.tls = {};
  options.backend_tls = {};
  return std::unique_ptr<Worker>(
      new Worker(reactor, number, std::move(options), parts, std::move(*server), *backends, seed));
}

Worker::Worker(io::Reactor& reactor, std::size_t number, WorkerOptions options,
               const WorkerParts& parts, std::shared_ptr<const tls::ServerContext> server_context,
               const backend::BackendContexts& backend_contexts, std::uint64_t seed)
    : reactor_(reactor),
      number_(number),
      options_(with_memory(std::move(options))),
      parts_(parts),
      random_(seed),
      cells_(parts.shared.registry),
      server_context_(std::move(server_context)),
      transport_(reactor, options_.transport),
      backends_(transport_, parts.shared.cluster, backend_contexts, options_.backend_set,
                random_.next(), std::bind_front(&Worker::pool_event, this)),
      proxy_({reactor, backends_, parts.shared.board, number, parts.shared.identity_fields, cells_,
              parts.shared.proxy_metrics, parts.shared.access_log.get(), *this, random_.next(),
              parts.token_key},
             options_.proxy),
      shares_(parts.shared.charges, parts.shared.admission, options_.client, cells_,
              parts.shared.client_metrics),
      heartbeat_(io::Timer::bind<&Worker::heartbeat>(this)),
      drain_end_(io::Timer::bind<&Worker::drain_over>(this)),
      tunnels_end_(io::Timer::bind<&Worker::tunnels_over>(this)),
      make_room_(io::Timer::bind<&Worker::make_room>(this)) {
  heartbeat();
}

Worker::~Worker() { CHECK(stopped()); }

// Header tables of all connections come from one pool.
WorkerOptions Worker::with_memory(WorkerOptions options) {
  options.client.session.memory = &codec_memory_;
  options.backend_set.pool.session.memory = &codec_memory_;
  return options;
}

void Worker::listen(int descriptor) {
  listeners_.push_back(
      std::make_unique<net::Listener>(transport_, descriptor, parts_.shared.admission,
                                      [this](int accepted) { this->accepted(accepted); }));
  listeners_.back()->start();
}

void Worker::accepted(int descriptor) {
  auto client = std::make_unique<ClientConnection>(
      transport_, proxy_, shares_, options_.client, cells_, parts_.shared.client_metrics,
      [this](ClientConnection& closed) {
        parts_.shared.admission.connections.fetch_sub(1, std::memory_order_relaxed);
        CHECK(clients_.contains(&closed));
        clients_.erase(&closed);
      });
  ClientConnection& added = *client;
  clients_.emplace(&added, std::move(client));
  added.accept(descriptor, [this](std::string_view) { return server_context_; });
  // A listener empties its backlog when it stops.
  if (state_ == State::draining) added.leave(drain_gap_);
  if (state_ == State::stopping) added.close_now();
  make_room();
}

void Worker::make_room() {
  if (state_ != State::serving) return;
  shares_.make_room(reactor_.now());
  if (parts_.shared.admission.shortage() == 0 || make_room_.armed()) return;
  reactor_.timers().set(make_room_, reactor_.now(), make_room_interval);
}

void Worker::pool_event(std::size_t backend, backend::PoolKind kind, backend::PoolEvent event,
                        const std::string& text) {
  CHECK_LT(backend, backends_.size());
  if (event == backend::PoolEvent::silent) parts_.events.backend_silent(backend);
  if (event != backend::PoolEvent::connect_failed && event != backend::PoolEvent::connection_lost) {
    return;
  }
  log::info("a backend connection failed", {{"backend", backends_.endpoint(backend).name},
                                            {"pool", backend::to_string(kind)},
                                            {"why", text}});
  parts_.events.probe_soon(backend);
}

void Worker::drain(Duration window, Duration tunnel_window) {
  if (state_ != State::serving) return;
  state_ = State::draining;
  for (const auto& listener : listeners_) listener->stop();
  drain_gap_ = std::min(goaway_gap, window / 4);
  for (const auto& [client, owned] : clients_) client->leave(drain_gap_);
  reactor_.timers().set(drain_end_, reactor_.now(), window);
  reactor_.timers().set(tunnels_end_, reactor_.now(), tunnel_window);
  // The last fifth is for streams that take their time to end.
  proxy_.end_watches(reactor_.now() + window * 4 / 5);
}

void Worker::drain_over() {
  CHECK(state_ != State::serving);
  if (state_ == State::stopping) {
    for (const auto& [client, owned] : clients_) client->terminate();
    return backends_.terminate();
  }
  if (!drain_over_) proxy_.cut_first_bursts();
  drain_over_ = true;
  if (std::ranges::none_of(clients_, [](const auto& c) { return c.first->tunnels(); })) {
    return stop();
  }
  // Those of tunnels that were told to end have a moment to do so.
  if (tunnels_over_ && tunnels_ended_at_ + end_in_order <= reactor_.now()) return stop();
  end_all_but_tunnels();
  reactor_.timers().set(drain_end_, reactor_.now(), look_for_tunnels_interval);
}

void Worker::end_all_but_tunnels() {
  for (const auto& [client, owned] : clients_) {
    if (!client->tunnels()) client->close_now();
  }
}

// Whatever is on its way into them.
void Worker::tunnels_over() {
  tunnels_over_ = true;
  tunnels_ended_at_ = reactor_.now();
  proxy_.end_tunnels();
}

void Worker::stop() {
  if (state_ == State::stopping) return;
  state_ = State::stopping;
  tunnels_end_.cancel();
  proxy_.end_tunnels();
  for (const auto& listener : listeners_) listener->stop();
  // Who is left is stalled or slow: GOAWAY and FIN, never RST_STREAM.
  for (const auto& [client, owned] : clients_) client->close_now();
  backends_.terminate();
  reactor_.timers().set(drain_end_, reactor_.now(), end_in_order);
}

bool Worker::listeners_stopped() const {
  return std::ranges::all_of(listeners_, [](const auto& l) { return l->stopped(); });
}

bool Worker::all_gone() const {
  return clients_.empty() && backends_.terminated() && listeners_stopped();
}

void Worker::heartbeat() {
  publish();
  make_room();
  if (state_ == State::draining && clients_.empty() && listeners_stopped()) stop();
  reactor_.timers().set(heartbeat_, reactor_.now(), heartbeat_interval);
}

void Worker::publish() {
  proxy_.publish();
  const WorkerMetrics& metrics = parts_.shared.worker_metrics;
  metrics.publish(cells_, reactor_.ring().counters());
  metrics.publish(cells_, transport_.counters());
  cells_.publish(parts_.shared.proxy_metrics.wrong_transitions.at(proxy::Mistake::connection),
                 transport_.counters().wrong_transitions);
  metrics.publish(cells_, listeners_);
  metrics.publish(cells_, backends_);
}

std::string_view Worker::to_string(State state) {
  switch (state) {
    case State::serving: return "serving";
    case State::draining: return "draining";
    case State::stopping: return "stopping";
  }
  return "unknown";
}

std::string Worker::describe(std::size_t bytes_max) {
  Outline outline(bytes_max);
  outline.add(0, fmt::format("worker {} {} clients={} exchanges={}", number_, to_string(state_),
                             clients_.size(), proxy_.exchanges()));
  describe_backends(outline);
  for (const auto& [client, owned] : clients_) {
    if (outline.full()) break;
    client->describe(outline);
  }
  return outline.text();
}

void Worker::describe_backends(Outline& outline) {
  for (std::size_t b = 0; b < backends_.size(); ++b) {
    for (std::size_t k = 0; k < backend::pool_kinds && !outline.full(); ++k) {
      const auto kind = static_cast<backend::PoolKind>(k);
      if (const auto* upgrades = backends_.upgrades(b, kind);
          upgrades != nullptr && upgrades->connections() > 0) {
        outline.add(1, fmt::format("backend {} pool={} upgrades={}", backends_.endpoint(b).name,
                                   backend::to_string(kind), upgrades->connections()));
      }
      const backend::ConnectionPool* pool = backends_.pool(b, kind);
      if (pool == nullptr || pool->connections() == 0) continue;
      outline.add(
          1, fmt::format("backend {} pool={} connections={} ready={} streams={}",
                         backends_.endpoint(b).name, backend::to_string(kind), pool->connections(),
                         pool->ready_connections(), pool->open_streams()));
    }
  }
}

proxy::ConnectionBytes Worker::connection_bytes() const {
  return {transport_.held_bytes(), transport_.own_bytes()};
}

std::vector<proxy::ConnectionHolding*> Worker::holding_connections() {
  std::vector<proxy::ConnectionHolding*> holding;
  for (const auto& [client, owned] : clients_) {
    if (client->held_bytes() + client->resting_bytes() >= holding_bytes_min)
      holding.push_back(client);
  }
  return holding;
}

void Worker::on_identity_refused(std::size_t backend) {
  CHECK_LT(backend, backends_.size());
  // One answer proves nothing: the probe, which asks at once, decides for all workers.
  parts_.events.identity_refused(backend);
}

void Worker::on_drain_answer(std::size_t backend) {
  CHECK_LT(backend, backends_.size());
  // The answer can be forged behind a proxy subresource, so it only asks for a look.
  parts_.events.probe_soon(backend);
}

}  // namespace sluice::server
