// SPDX-License-Identifier: GPL-3.0-or-later
// A worker's life.
#include "worker.h"

#include <pthread.h>
#include <sched.h>

#include <algorithm>

#include "sluice/base/check.h"
#include "sluice/io/socket.h"
#include "sluice/observability/log.h"

namespace sluice::server {
namespace {

constexpr Duration heartbeat_interval = std::chrono::milliseconds(500);
// Between GOAWAY with the highest id and the one that names the last stream: a round trip and more
// (RFC 9113 section 6.8).
constexpr Duration goaway_gap = std::chrono::seconds(1);

std::vector<metrics::Dimension> backend_and_pool(const backend::Cluster& cluster) {
  metrics::Dimension backends{"backend", {}};
  for (const auto& backend : cluster.backends) backends.values.push_back(backend->endpoint.name);
  metrics::Dimension pools{"pool", {}};
  for (std::size_t k = 0; k < backend::pool_kinds; ++k) {
    pools.values.emplace_back(to_string(static_cast<backend::PoolKind>(k)));
  }
  return {backends, pools};
}

}  // namespace

WorkerMetrics::WorkerMetrics(metrics::Registry& r, const backend::Cluster& cluster)
    : turns(r.counter("sluice_worker_turns_total", "Turns of the workers' loops.")),
      completions(r.counter("sluice_ring_completions_total", "Completions from io_uring.")),
      receive_starved(r.counter("sluice_ring_receive_starved_total",
                                "Receives that found no provided buffer.")),
      completion_overflow(
          r.counter("sluice_ring_completion_overflow_total", "Overflows of the completion queue.")),
      submission_queue_full(r.counter("sluice_ring_submission_queue_full_total",
                                      "Times that the submission queue was full.")),
      sends(r.counter("sluice_sends_total", "Send operations.")),
      records(r.counter("sluice_tls_records_total", "TLS records sent.")),
      bytes_sent(r.counter("sluice_bytes_sent_total", "Encrypted bytes sent.")),
      bytes_received(r.counter("sluice_bytes_received_total", "Encrypted bytes received.")),
      handshakes_failed(r.counter("sluice_tls_handshakes_failed_total",
                                  "TLS handshakes that failed, both sides.")),
      accept_paused(r.counter("sluice_accept_paused_total",
                              "Times that accepting paused: connection limit or handshake queue.")),
      accept_errors(
          r.counter("sluice_accept_errors_total", "Failed accepts (out of descriptors).")),
      backend_connects(r.counters("sluice_backend_connects_total",
                                  "Connections opened to backends.", backend_and_pool(cluster))),
      backend_connect_failures(r.counters("sluice_backend_connect_failures_total",
                                          "Connections to backends that could not be opened.",
                                          backend_and_pool(cluster))),
      backend_connections_lost(r.counters("sluice_backend_connections_lost_total",
                                          "Backend connections that ended with requests on them.",
                                          backend_and_pool(cluster))),
      backend_goaways(r.counters("sluice_backend_goaways_total", "GOAWAY frames from backends.",
                                 backend_and_pool(cluster))),
      backend_streams_refused(r.counters("sluice_backend_streams_refused_total",
                                         "Streams that a backend refused without executing them.",
                                         backend_and_pool(cluster))),
      backend_ping_timeouts(r.counters("sluice_backend_ping_timeouts_total",
                                       "Backend connections ended because a PING got no answer.",
                                       backend_and_pool(cluster))),
      backend_retired(r.counters("sluice_backend_connections_retired_total",
                                 "Draining backend connections whose watches were moved.",
                                 backend_and_pool(cluster))) {
  for (const auto& backend : cluster.backends) {
    for (std::size_t k = 0; k < backend::pool_kinds; ++k) {
      backend_connections.push_back(
          r.gauge("sluice_backend_connections", "Connections to backends, draining ones included.",
                  {{"backend", backend->endpoint.name},
                   {"pool", std::string(to_string(static_cast<backend::PoolKind>(k)))}}));
    }
  }
}

Worker::Worker(std::size_t number, const WorkerOptions& options, const WorkerParts& parts,
               std::uint64_t seed)
    : number_(number), options_(options), parts_(parts), seed_(seed) {}

Worker::~Worker() { join(); }

void Worker::start(std::function<void(Result<void>)> started) {
  // Cells are created here, so that the registry sees them in the order of workers.
  cells_ = std::make_unique<metrics::Cells>(parts_.registry);
  thread_ = std::thread([this, started = std::move(started)] { run(started); });
}

void Worker::join() {
  if (thread_.joinable()) thread_.join();
}

Instant Worker::last_turn() const {
  const std::lock_guard lock(shared_mutex_);
  return shared_reactor_ == nullptr ? Instant{} : shared_reactor_->last_turn();
}

void Worker::share_reactor(io::Reactor* reactor) {
  const std::lock_guard lock(shared_mutex_);
  shared_reactor_ = reactor;
}

void Worker::post(std::move_only_function<void()> message) {
  const std::lock_guard lock(shared_mutex_);
  if (shared_reactor_ != nullptr) shared_reactor_->mailbox().post(std::move(message));
}

void Worker::run(const std::function<void(Result<void>)>& started) {
  const std::string name = "worker-" + std::to_string(number_);
  pthread_setname_np(pthread_self(), name.c_str());
  if (options_.cpu >= 0) {
    cpu_set_t cpus;
    CPU_ZERO(&cpus);
    CPU_SET(static_cast<std::size_t>(options_.cpu), &cpus);
    // A container may forbid it; an unpinned worker works as well, only less evenly.
    (void)pthread_setaffinity_np(pthread_self(), sizeof cpus, &cpus);
  }
  auto prepared = prepare();
  if (prepared) {
    share_reactor(reactor_.get());
    started({});
    reactor_->run_until([this] { return state_ == State::stopping && all_gone(); });
    publish();
  } else {
    started(std::move(prepared));
    begin_stop();
    if (reactor_) reactor_->run_until([this] { return all_gone(); });
  }
  heartbeat_.reset();
  drain_step_.reset();
  drain_end_.reset();
  listeners_.clear();
  proxy_.reset();
  backends_.reset();
  transport_.reset();
  share_reactor(nullptr);
  server_context_.reset();
  reactor_.reset();
  stopped_.store(true, std::memory_order_release);
}

Result<void> Worker::prepare() {
  auto reactor = io::Reactor::create(options_.ring);
  if (!reactor) return std::unexpected(reactor.error());
  reactor_ = std::move(*reactor);
  transport_ = std::make_unique<net::Transport>(*reactor_, options_.transport);
  auto context = tls::ServerContext::create(options_.tls);
  if (!context) return std::unexpected(context.error());
  server_context_ = std::move(*context);
  std::vector<backend::BackendContexts> contexts;
  for (std::size_t i = 0; i < options_.backend_plain.size(); ++i) {
    auto plain = tls::ClientContext::create(options_.backend_plain[i]);
    if (!plain) return std::unexpected(plain.error());
    backend::BackendContexts pair{std::move(*plain), nullptr};
    if (!options_.backend_identity.empty()) {
      auto identity = tls::ClientContext::create(options_.backend_identity[i]);
      if (!identity) return std::unexpected(identity.error());
      pair.identity = std::move(*identity);
    }
    contexts.push_back(std::move(pair));
  }
  options_.client.session.memory = &codec_memory_;
  options_.backends.pool.session.memory = &codec_memory_;
  Random random(seed_);
  backends_ = std::make_unique<backend::BackendSet>(
      *transport_, parts_.cluster, std::move(contexts), options_.backends, random.next(),
      [this](std::size_t backend, backend::PoolKind kind, backend::PoolEvent event,
             const std::string& text) {
        if (event == backend::PoolEvent::connect_failed ||
            event == backend::PoolEvent::connection_lost) {
          log::info("a backend connection failed", {{"backend", backends_->endpoint(backend).name},
                                                    {"pool", to_string(kind)},
                                                    {"why", text}});
          parts_.events.probe_soon(backend);
        }
      });
  proxy_ = std::make_unique<proxy::Proxy>(
      proxy::ProxyParts{*reactor_, *backends_, parts_.board, number_, parts_.identity_fields,
                        *cells_, parts_.proxy_metrics, parts_.access_log, *this, random.next(),
                        parts_.token_key},
      options_.proxy);
  heartbeat_ = std::make_unique<io::Timer>(io::Timer::bind<&Worker::heartbeat>(this));
  drain_step_ = std::make_unique<io::Timer>(io::Timer::bind<&Worker::second_goaway>(this));
  drain_end_ = std::make_unique<io::Timer>(io::Timer::bind<&Worker::drain_over>(this));
  for (const io::Address& address : options_.listen) {
    auto descriptor = io::listen_on(address, {});
    if (!descriptor) return std::unexpected(descriptor.error());
    listeners_.push_back(
        std::make_unique<net::Listener>(*transport_, *descriptor, parts_.admission,
                                        [this](int accepted) { this->accepted(accepted); }));
    listeners_.back()->start();
  }
  heartbeat();
  return {};
}

void Worker::accepted(int descriptor) {
  auto client = std::make_unique<ClientConnection>(
      *transport_, *proxy_, options_.client, *cells_, parts_.client_metrics,
      [this](ClientConnection& closed) {
        parts_.admission.connections.fetch_sub(1, std::memory_order_relaxed);
        clients_.erase(&closed);
      });
  ClientConnection& added = *client;
  clients_.emplace(&added, std::move(client));
  added.accept(descriptor, [this](std::string_view) { return server_context_.get(); });
  if (state_ != State::serving) added.leave_notice();
}

void Worker::drain(Duration window) {
  post([this, window] { begin_drain(window); });
}

void Worker::stop() {
  post([this] { begin_stop(); });
}

void Worker::begin_drain(Duration window) {
  if (state_ != State::serving) return;
  state_ = State::draining;
  for (const auto& listener : listeners_) listener->stop();
  for (const auto& [client, owned] : clients_) client->leave_notice();
  io::Reactor& reactor = *reactor_;
  const Duration gap = std::min(goaway_gap, window / 4);
  reactor.timers().set(*drain_step_, reactor.now(), gap);
  reactor.timers().set(*drain_end_, reactor.now(), window);
  // The last fifth is for streams that take their time to end.
  proxy_->end_long_running(reactor.now() + window * 4 / 5);
}

void Worker::second_goaway() {
  std::vector<ClientConnection*> clients;
  for (const auto& [client, owned] : clients_) clients.push_back(client);
  for (ClientConnection* client : clients) client->leave();
}

void Worker::drain_over() { begin_stop(); }

void Worker::begin_stop() {
  if (state_ == State::stopping) return;
  state_ = State::stopping;
  for (const auto& listener : listeners_) listener->stop();
  // Who is left is stalled or slow: GOAWAY and FIN, never RST_STREAM.
  for (const auto& [client, owned] : clients_) client->close_now();
  if (backends_) backends_->terminate();
}

bool Worker::all_gone() const {
  return clients_.empty() && (!backends_ || backends_->terminated()) &&
         std::ranges::all_of(listeners_, [](const auto& l) { return l->stopped(); });
}

void Worker::heartbeat() {
  publish();
  io::Reactor& reactor = *reactor_;
  if (state_ == State::draining && clients_.empty() &&
      std::ranges::all_of(listeners_, [](const auto& l) { return l->stopped(); })) {
    begin_stop();
  }
  reactor.timers().set(*heartbeat_, reactor.now(), heartbeat_interval);
}

void Worker::publish() {
  const WorkerMetrics& m = parts_.worker_metrics;
  proxy_->publish();
  metrics::Cells& cells = *cells_;
  const io::RingCounters& ring = reactor_->ring().counters();
  cells.publish(m.turns, ring.turns);
  cells.publish(m.completions, ring.completions);
  cells.publish(m.receive_starved, ring.receive_starved);
  cells.publish(m.completion_overflow, ring.completion_overflow);
  cells.publish(m.submission_queue_full, ring.submission_queue_full);
  const net::TransportCounters& transport = transport_->counters();
  cells.publish(m.sends, transport.sends);
  cells.publish(m.records, transport.records);
  cells.publish(m.bytes_sent, transport.bytes_sent);
  cells.publish(m.bytes_received, transport.bytes_received);
  cells.publish(m.handshakes_failed, transport.handshakes_failed);
  std::uint64_t paused = 0;
  std::uint64_t errors = 0;
  for (const auto& listener : listeners_) {
    paused += listener->counters().paused;
    errors += listener->counters().accept_errors;
  }
  cells.publish(m.accept_paused, paused);
  cells.publish(m.accept_errors, errors);
  for (std::size_t b = 0; b < backends_->size(); ++b) {
    for (std::size_t k = 0; k < backend::pool_kinds; ++k) {
      const backend::SessionPool* pool = backends_->pool(b, static_cast<backend::PoolKind>(k));
      if (pool == nullptr) continue;
      const backend::PoolCounters& counters = pool->counters();
      cells.publish(m.backend_connects.at(b, k), counters.connects);
      cells.publish(m.backend_connect_failures.at(b, k), counters.connect_failures);
      cells.publish(m.backend_connections_lost.at(b, k), counters.connections_lost);
      cells.publish(m.backend_goaways.at(b, k), counters.goaways);
      cells.publish(m.backend_streams_refused.at(b, k), counters.refused_streams);
      cells.publish(m.backend_ping_timeouts.at(b, k), counters.ping_timeouts);
      cells.publish(m.backend_retired.at(b, k), counters.retired);
      cells.set(m.backend_connections[b * backend::pool_kinds + k],
                static_cast<std::int64_t>(pool->connections()));
    }
  }
}

void Worker::on_identity_refused(std::size_t backend) {
  // At once for all workers; the control thread's next identity probe decides whether it lasts.
  parts_.cluster.backends[backend]->trusts_identity.store(false, std::memory_order_relaxed);
  parts_.events.identity_refused(backend);
}

void Worker::on_drain_answer(std::size_t backend) {
  // The answer can be forged behind a proxy subresource, so it only asks for a look.
  parts_.events.probe_soon(backend);
}

}  // namespace sluice::server
