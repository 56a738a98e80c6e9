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
  std::unique_ptr<Worker> worker(new Worker(reactor, number, std::move(options), parts, seed));
  if (parts.shared.alone) {
    if (auto made = worker->make_cluster(0); !made) {
      worker->stop();
      return std::unexpected(made.error());
    }
  }
  return worker;
}

Worker::Worker(io::Reactor& reactor, std::size_t number, WorkerOptions options,
               const WorkerParts& parts, std::uint64_t seed)
    : reactor_(reactor),
      number_(number),
      options_(with_memory(std::move(options))),
      parts_(parts),
      table_(parts.shared.table),
      random_(seed),
      cells_(parts.shared.registry),
      transport_(reactor, options_.transport),
      resources_({reactor, number, cells_, parts.shared.resources_metrics, *this, parts.key},
                 options_.resources),
      clusters_(table_->entries.size()),
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
  return options;
}

Result<WorkerCluster*> Worker::make_cluster(std::size_t number) {
  CHECK(clusters_[number] == nullptr);
  const ClusterTable::Entry* entry = table_->find(number);
  CHECK(entry != nullptr);
  auto made = WorkerCluster::create(
      {transport_, resources_, codec_memory_, parts_.shared.access_log.get(), parts_.events,
       number_, entry->cluster, number, parts_.shared.alone ? nullptr : &table_->names, parts_.key},
      entry->version, random_.next());
  if (!made) return std::unexpected(made.error());
  clusters_[number] = std::move(*made);
  parts_.events.cluster_used(number_, number, true);
  if (watches_end_) clusters_[number]->proxy().end_watches(*watches_end_);
  return clusters_[number].get();
}

void Worker::update(const WorkerOptions& options) {
  options_.client = options.client;
  options_ = with_memory(std::move(options_));
  transport_.update(options.transport);
}

void Worker::for_each_cluster(const std::function<void(WorkerCluster&)>& what) {
  for (const auto& cluster : clusters_) {
    if (cluster != nullptr) what(*cluster);
  }
}

void Worker::cluster_known(std::size_t cluster) {
  CHECK_LT(cluster, clusters_.size());
  if (clusters_[cluster] != nullptr) clusters_[cluster]->known();
}

void Worker::learn(std::size_t cluster, const proxy::TokenChange& change) {
  CHECK_LT(cluster, clusters_.size());
  if (clusters_[cluster] != nullptr) clusters_[cluster]->proxy().learn(change);
}

void Worker::learn(std::size_t cluster, const proxy::OwnWrite& write) {
  CHECK_LT(cluster, clusters_.size());
  if (clusters_[cluster] != nullptr) clusters_[cluster]->proxy().learn(write);
}

std::vector<ClusterProofs> Worker::proven_tokens() const {
  std::vector<ClusterProofs> proofs;
  for (std::size_t i = 0; i < clusters_.size(); ++i) {
    // Of two with one name it is the one that goes whose word counts no more.
    if (clusters_[i] == nullptr || !serves(i)) continue;
    proofs.push_back(
        {std::string(table_->find(i)->cluster->name()), clusters_[i]->proxy().proven_tokens()});
  }
  return proofs;
}

bool Worker::is_number_of(std::size_t number, std::string_view name) const {
  return serves(number) && table_->find(number)->cluster->name() == name;
}

void Worker::check_backend(BackendId backend) {
  CHECK_LT(backend.cluster, clusters_.size());
  const auto& cluster = clusters_[backend.cluster];
  // It may not have heard of this one yet.
  if (cluster == nullptr || backend.backend >= cluster->backends().size()) return;
  cluster->backends().check(backend.backend);
}

void Worker::listen(WorkerSocket socket) {
  Entrance* entrance = nullptr;
  if (socket.cluster) {
    entrance = entrances_.emplace_back(std::make_unique<Entrance>(*socket.cluster)).get();
  }
  listeners_.push_back(std::make_unique<net::Listener>(
      transport_, socket.descriptor.release(), parts_.shared.admission,
      [this, entrance](int accepted) {
        this->accepted(accepted,
                       entrance == nullptr ? std::nullopt : std::optional(entrance->cluster));
      },
      socket.shared || socket.in_use));
  net::Listener* listener = listeners_.back().get();
  if (entrance != nullptr) entrance->listener = listener;
  if (socket.in_use && !socket.shared) in_use_.push_back(listener);
  listener->start();
}

void Worker::leave_backlogs() {
  for (const auto& listener : listeners_) listener->leave();
}

void Worker::own_sockets() {
  for (net::Listener* listener : std::exchange(in_use_, {})) listener->own();
}

bool Worker::serves(std::size_t cluster) const {
  const ClusterTable::Entry* entry = table_->find(cluster);
  return entry != nullptr && !entry->leaving;
}

bool Worker::admits(std::size_t cluster, const ClientOrigin& origin) {
  const ClusterTable::Entry& asked = *table_->find(cluster);
  if (asked.version->admits(origin.address)) return true;
  cells_.add(parts_.shared.client_metrics.not_allowed);
  if (const auto times = told_not_allowed_.due(reactor_.now())) {
    log::info("a client is refused, its network is not allowed",
              {{"client", origin.address.to_string()},
               {"cluster", asked.cluster->name()},
               {"times", *times}});
  }
  return false;
}

bool Worker::may_call(const ClientOrigin& origin) {
  if (origin.listener) return serves(*origin.listener) && admits(*origin.listener, origin);
  return !parts_.shared.alone || admits(0, origin);
}

// A cluster that nobody has asked for here costs nothing: its contexts, pools and series are made
// for its first client.
ServedCluster* Worker::find(const ClientOrigin& origin, std::string_view server_name) {
  const std::optional<std::size_t> number =
      origin.listener ? origin.listener : table_->names.of_hello(server_name);
  if (!number || !serves(*number) || !admits(*number, origin)) return nullptr;
  if (clusters_[*number] != nullptr) return &clusters_[*number]->served();
  if (state_ == State::stopping) return nullptr;
  const auto made = make_cluster(*number);
  if (made) return &(*made)->served();
  log::error("a cluster cannot be served",
             {{"cluster", table_->find(*number)->cluster->name()}, {"why", made.error().context}});
  return nullptr;
}

void Worker::adopt(int descriptor) {
  parts_.shared.admission.connections.fetch_add(1, std::memory_order_relaxed);
  cells_.add(parts_.shared.client_metrics.adopted);
  accepted(descriptor, std::nullopt);
}

void Worker::accepted(int descriptor, std::optional<std::size_t> cluster) {
  auto client = std::make_unique<ClientConnection>(
      transport_, resources_, shares_, options_.client, cells_, parts_.shared.client_metrics,
      [this](ClientConnection& closed) {
        parts_.shared.admission.connections.fetch_sub(1, std::memory_order_relaxed);
        CHECK(clients_.contains(&closed));
        clients_.erase(&closed);
      });
  ClientConnection& added = *client;
  clients_.emplace(&added, std::move(client));
  added.accept(descriptor, *this, cluster);
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

void Worker::drain(Duration window, Duration tunnel_window) {
  if (state_ != State::serving) return;
  state_ = State::draining;
  for (const auto& listener : listeners_) listener->stop();
  drain_gap_ = goaway_gap_within(window);
  for (const auto& [client, owned] : clients_) client->leave(drain_gap_);
  reactor_.timers().set(drain_end_, reactor_.now(), window);
  reactor_.timers().set(tunnels_end_, reactor_.now(), tunnel_window);
  // The last fifth is for streams that take their time to end.
  watches_end_ = reactor_.now() + window * 4 / 5;
  for_each_cluster([&](WorkerCluster& cluster) { cluster.proxy().end_watches(*watches_end_); });
}

void Worker::drain_over() {
  CHECK(state_ != State::serving);
  if (state_ == State::stopping) {
    for (const auto& [client, owned] : clients_) client->terminate();
    return for_each_cluster([](WorkerCluster& cluster) { cluster.terminate(); });
  }
  if (!drain_over_) {
    for_each_cluster([](WorkerCluster& cluster) { cluster.proxy().cut_first_bursts(); });
  }
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
  for_each_cluster([](WorkerCluster& cluster) { cluster.end_tunnels(); });
}

void Worker::stop() {
  if (state_ == State::stopping) return;
  state_ = State::stopping;
  tunnels_end_.cancel();
  for_each_cluster([](WorkerCluster& cluster) { cluster.end_tunnels(); });
  for (const auto& listener : listeners_) listener->stop();
  // Who is left is stalled or slow: GOAWAY and FIN, never RST_STREAM.
  for (const auto& [client, owned] : clients_) client->close_now();
  for_each_cluster([](WorkerCluster& cluster) { cluster.terminate(); });
  reactor_.timers().set(drain_end_, reactor_.now(), end_in_order);
}

bool Worker::listeners_stopped() const {
  return std::ranges::all_of(listeners_, [](const auto& l) { return l->stopped(); });
}

bool Worker::all_gone() const {
  const bool clusters_gone = std::ranges::all_of(
      clusters_, [](const auto& cluster) { return cluster == nullptr || cluster->terminated(); });
  return clients_.empty() && clusters_gone && listeners_stopped();
}

void Worker::heartbeat() {
  publish();
  make_room();
  let_go_of_unused_clusters();
  if (state_ != State::stopping) go_on_draining_clusters();
  if (state_ == State::draining && clients_.empty() && listeners_stopped()) stop();
  reactor_.timers().set(heartbeat_, reactor_.now(), heartbeat_interval);
}

void Worker::publish() {
  resources_.publish();
  for_each_cluster([](WorkerCluster& cluster) { cluster.publish(); });
  const WorkerMetrics& metrics = parts_.shared.worker_metrics;
  metrics.publish(cells_, reactor_.ring().counters());
  metrics.publish(cells_, transport_.counters());
  cells_.publish(parts_.shared.resources_metrics.wrong_transitions.at(proxy::Mistake::connection),
                 transport_.counters().wrong_transitions);
  metrics.publish(cells_, listeners_);
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
  std::size_t exchanges = 0;
  for_each_cluster([&](WorkerCluster& cluster) { exchanges += cluster.proxy().exchanges(); });
  outline.add(0, fmt::format("worker {} {} clients={} exchanges={}", number_, to_string(state_),
                             clients_.size(), exchanges));
  for_each_cluster([&](WorkerCluster& cluster) { cluster.describe(outline); });
  for (const auto& [client, owned] : clients_) {
    if (outline.full()) break;
    client->describe(outline);
  }
  return outline.text();
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

}  // namespace sluice::server
