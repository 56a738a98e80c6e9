// SPDX-License-Identifier: GPL-3.0-or-later
// One worker's exchanges.
#include "sluice/proxy/proxy.h"

#include <algorithm>
#include <functional>
#include <utility>
#include <vector>

#include "exchange.h"
#include "room.h"
#include "shared.h"
#include "sluice/base/check.h"
#include "sluice/observability/log.h"

namespace sluice::proxy {
namespace {

constexpr std::size_t spare_max = 1024;
constexpr std::size_t spare_bytes_max = 2 * http::usual_head_bytes;
// Looking for stalled streams: a few times within the timeout, and not so many in one turn that
// others wait.
constexpr int looks_per_timeout = 4;
constexpr std::uint32_t looks_at_once = 1024;
constexpr Duration looks_pause = std::chrono::milliseconds(10);

std::vector<std::string> names_of(const backend::Cluster& cluster) {
  std::vector<std::string> names;
  for (const auto& backend : cluster.backends) names.push_back(backend->endpoint.name);
  return names;
}

}  // namespace

std::string_view to_string(WatchEnd end) {
  switch (end) {
    case WatchEnd::backend_ended: return "backend_ended";
    case WatchEnd::backend_lost: return "backend_lost";
    case WatchEnd::retired: return "retired";
    case WatchEnd::drain: return "drain";
  }
  return "unknown";
}

std::string_view to_string(Mistake mistake) {
  switch (mistake) {
    case Mistake::exchange: return "exchange";
    case Mistake::connection: return "connection";
  }
  return "unknown";
}

std::string_view to_string(ReplayCause cause) {
  switch (cause) {
    case ReplayCause::not_executed: return "not_executed";
    case ReplayCause::lost_before_answer: return "lost_before_answer";
    case ReplayCause::drain_answer: return "drain_answer";
    case ReplayCause::identity_refused: return "identity_refused";
  }
  return "unknown";
}

std::string_view to_string(TunnelWay way) {
  switch (way) {
    case TunnelWay::to_backend: return "to_backend";
    case TunnelWay::to_client: return "to_client";
  }
  return "unknown";
}

ProxyMetrics::ProxyMetrics(metrics::Registry& registry, const backend::Cluster& cluster)
    : requests(registry.counters("sluice_requests_total",
                                 "Requests sent to a backend, by class and backend.",
                                 {metrics::dimension_of<kubernetes::RequestClass>("class"),
                                  {"backend", names_of(cluster)}})),
      responses(registry.counters("sluice_responses_total", "Answers sent to clients, by status.",
                                  {{"code", {"1xx", "2xx", "3xx", "4xx", "5xx"}}})),
      local_replies(registry.counters_by<ReplyReason>(
          "sluice_local_replies_total", "Answers that the proxy made itself, by reason.",
          "reason")),
      replays(registry.counters_by<ReplayCause>(
          "sluice_replays_total", "Requests sent again to another backend, by cause.", "cause")),
      watches_ended(registry.counters_by<WatchEnd>(
          "sluice_watches_ended_total",
          "Watches that were ended towards the client with a clean end of stream, by cause.",
          "cause")),
      watches_cut(registry.counter(
          "sluice_watches_cut_total",
          "Watches reset because a drain was over before their existing objects were sent.")),
      stalled_ended(registry.counters(
          "sluice_stalled_streams_ended_total",
          "Streams reset because their client took nothing of what waited for it.",
          {{"class", {"ordinary", "long_running"}}})),
      made_room(registry.counter("sluice_requests_ended_for_room_total",
                                 "Requests ended because their client held most of what others "
                                 "waited for: the worker's bytes, "
                                 "or places at a backend.")),
      stalled(registry.gauge("sluice_stalled_streams",
                             "Watches and other long-running requests whose clients take nothing "
                             "of what waits for them.")),
      identity_fields_dropped(registry.counter(
          "sluice_identity_fields_dropped_total",
          "Request fields dropped because a client claimed an identity with them.")),
      replay_budget_exhausted(registry.counter("sluice_replay_budget_exhausted_total",
                                               "Replays that the budget did not allow.")),
      wrong_transitions(registry.counters_by<Mistake>(
          "sluice_wrong_transitions_total",
          "Requests and connections ended by a mistake of the proxy itself.", "of")),
      drain_answers(registry.counter("sluice_drain_answers_total",
                                     "Answers by which a backend said that it shuts down.")),
      identity_refusals(registry.counter(
          "sluice_identity_refused_total",
          "Answers of 401 to requests for which the proxy vouched: wrong front-proxy trust.")),
      shedding(registry.gauge("sluice_overloaded_workers",
                              "Workers that refuse part of their requests because they are short "
                              "of their own CPU time.")),
      exchanges(registry.gauge("sluice_exchanges", "Requests in progress, watches included.")),
      tunnels(registry.gauge("sluice_tunnels", "Open tunnels: exec, attach, port-forward.")),
      tunnel_bytes(registry.counters_by<TunnelWay>(
          "sluice_tunnel_bytes_total", "Bytes that went through tunnels.", "direction")),
      body_bytes(registry.gauge("sluice_body_bytes", "Memory that holds bodies, in bytes.")),
      window_bytes(registry.gauge(
          "sluice_stream_window_lent_bytes",
          "Bytes by which streams' windows have grown: senders may be that much further ahead.")),
      connection_bytes(registry.gauge(
          "sluice_connection_held_bytes",
          "Bytes that peers make connections hold outside of requests: heads that are not "
          "complete, frames and records that nobody takes.")),
      request_body_bytes(
          registry.counter("sluice_request_body_bytes_total", "Bytes of request bodies.")),
      response_body_bytes(
          registry.counter("sluice_response_body_bytes_total", "Bytes of response bodies.")),
      head_seconds(registry.histogram("sluice_response_head_seconds",
                                      "Time from a request's head to the head of its answer.",
                                      metrics::HistogramLayout::seconds())) {}

class Proxy::State final : public ExchangeOwner {
 public:
  State(const ProxyParts& parts, const ProxyOptions& options)
      : shared_(parts, options),
        stall_timer_(io::Timer::bind<&State::look_for_stalls>(this)),
        reap_(io::TurnEnd::bind<&State::reap>(this)) {
    parts.reactor.timers().set(stall_timer_, shared_.now(),
                               options.client_stall_timeout / looks_per_timeout);
  }
  ~State() override {
    reap();
    CHECK(exchanges_.empty());
    CHECK(finished_.empty());
  }

  // One that is idle, in its slot.
  Exchange& begin(ClientSide& client, ClientStream stream, http::RequestHead&& head, SlotId& id);
  // Null when it has ended.
  Exchange* find(SlotId id);
  void for_each(const std::function<void(Exchange&)>& what);
  std::size_t exchanges() const { return exchanges_.size(); }
  Shared& shared() { return shared_; }
  void make_room() { room_.make(exchanges_); }
  // Says when the worker begins and ends to refuse requests because it has too much to do.
  void look_at_load();

 private:
  void exchange_finished(SlotId id) override;
  void exchange_broken(SlotId id) override;
  void reap();
  void look_for_stalls();

  Shared shared_;
  Room room_{shared_};
  SlotMap<std::unique_ptr<Exchange>> exchanges_;
  std::vector<SlotId> finished_;
  std::vector<SlotId> broken_;
  std::vector<std::unique_ptr<Exchange>> spare_;  // for reuse: their memory is warm
  std::uint32_t next_checked_ = 0;  // slot at which the look for stalled streams goes on
  std::int64_t stalled_ = 0;        // found in this round
  bool sheds_ = false;              // as it was said
  io::Timer stall_timer_;
  io::TurnEnd reap_;
};

Exchange& Proxy::State::begin(ClientSide& client, ClientStream stream, http::RequestHead&& head,
                              SlotId& id) {
  std::unique_ptr<Exchange> exchange;
  if (spare_.empty()) {
    exchange = std::make_unique<Exchange>(*this, shared_);
  } else {
    exchange = std::move(spare_.back());
    spare_.pop_back();
  }
  CHECK(exchange->state() == Exchange::State::idle ||
        exchange->state() == Exchange::State::finished);
  Exchange& begun = *exchange;
  id = exchanges_.insert(std::move(exchange));
  begun.begin(id, client, stream, std::move(head));
  return begun;
}

Exchange* Proxy::State::find(SlotId id) {
  auto* found = exchanges_.find(id);
  return found == nullptr || (*found)->state() == Exchange::State::finished ? nullptr
                                                                            : found->get();
}

// Exchanges may end while we walk.
void Proxy::State::for_each(const std::function<void(Exchange&)>& what) {
  std::vector<SlotId> ids;
  exchanges_.for_each([&](SlotId id, const auto&) { ids.push_back(id); });
  for (const SlotId id : ids) {
    if (Exchange* exchange = find(id)) what(*exchange);
  }
}

void Proxy::State::exchange_finished(SlotId id) {
  CHECK(exchanges_.find(id) != nullptr);
  finished_.push_back(id);
  shared_.parts.reactor.at_turn_end(reap_, io::Reactor::Phase::reap);
}

void Proxy::State::exchange_broken(SlotId id) {
  broken_.push_back(id);
  shared_.parts.reactor.at_turn_end(reap_, io::Reactor::Phase::reap);
}

void Proxy::State::reap() {
  for (const SlotId id : std::exchange(broken_, {})) {
    if (Exchange* exchange = find(id)) exchange->break_off();
  }
  for (const SlotId id : finished_) {
    std::unique_ptr<Exchange> exchange = exchanges_.take(id);
    // One that carried heads of an unusual size would keep their memory for ever.
    if (spare_.size() < spare_max && exchange->held_bytes() <= spare_bytes_max) {
      spare_.push_back(std::move(exchange));
    }
  }
  finished_.clear();
}

void Proxy::State::look_at_load() {
  Governor& governor = shared_.governor;
  governor.look(shared_.parts.reactor.load());
  const bool sheds = governor.shed() > 0;
  if (sheds == std::exchange(sheds_, sheds)) return;
  if (sheds) {
    log::warning("a worker is short of CPU time: clients that use most of it are refused",
                 {{"worker", shared_.parts.worker}, {"clients", governor.clients()}});
  } else {
    log::info("a worker has CPU time for everybody again", {{"worker", shared_.parts.worker}});
  }
}

void Proxy::State::look_for_stalls() {
  const std::uint32_t end = std::min(exchanges_.slots(), next_checked_ + looks_at_once);
  exchanges_.for_each_in(next_checked_, end, [this](SlotId, const auto& exchange) {
    if (exchange->look_for_stall()) ++stalled_;
  });
  next_checked_ = end;
  Duration pause = looks_pause;
  CHECK_LE(next_checked_, exchanges_.slots());
  CHECK_GE(stalled_, std::int64_t{0});
  if (end == exchanges_.slots()) {
    shared_.parts.cells.set(shared_.parts.metrics.stalled, std::exchange(stalled_, 0));
    next_checked_ = 0;
    pause = std::max(pause, Duration(shared_.options.client_stall_timeout / looks_per_timeout));
  }
  shared_.parts.reactor.timers().set(stall_timer_, shared_.now(), pause);
}

Proxy::Proxy(const ProxyParts& parts, const ProxyOptions& options)
    : state_(std::make_unique<State>(parts, options)) {}

Proxy::~Proxy() = default;

SlotId Proxy::start(ClientSide& client, ClientStream stream, http::RequestHead&& head,
                    bool end_of_stream) {
  Shared& shared = state_->shared();
  shared.replays.earn();
  look_at_room();
  SlotId id;
  state_->begin(client, stream, std::move(head), id).start(end_of_stream);
  return id;
}

void Proxy::learn(const TokenChange& change) {
  TokenProofs& proofs = state_->shared().proofs;
  if (change.proven) {
    proofs.prove(change.token, change.network);
  } else {
    proofs.forget(change.token);
  }
}

void Proxy::look_at_room() {
  Shared& shared = state_->shared();
  const ConnectionBytes connections = shared.parts.events.connection_bytes();
  shared.budget.set_connections(connections.held, connections.own);
  if (shared.budget.wants_room()) [[unlikely]]
    state_->make_room();
}

SlotId Proxy::refuse(ClientSide& client, ClientStream stream, http::RequestHead&& head, int code,
                     ReplyReason reason, std::string_view message) {
  SlotId id;
  state_->begin(client, stream, std::move(head), id).refuse(code, reason, message);
  return id;
}

bool Proxy::client_body(SlotId id, Bytes bytes) {
  Exchange* exchange = state_->find(id);
  if (exchange != nullptr) exchange->on_client_body(bytes);
  return exchange != nullptr;
}

void Proxy::client_end(SlotId id) {
  if (Exchange* exchange = state_->find(id)) exchange->on_client_end();
}

void Proxy::client_tunnel_end(SlotId id, bool in_order) {
  if (Exchange* exchange = state_->find(id)) exchange->on_client_tunnel_end(in_order);
}

std::string Proxy::describe(SlotId id) const {
  const Exchange* exchange = state_->find(id);
  return exchange == nullptr ? std::string() : exchange->describe();
}

void Proxy::client_malformed(SlotId id, std::string_view why) {
  if (Exchange* exchange = state_->find(id)) exchange->on_client_malformed(why);
}

http::BodyResult Proxy::client_body_wanted(SlotId id, MutableBytes room) {
  Exchange* exchange = state_->find(id);
  if (exchange == nullptr) return {0, http::BodyStatus::more};
  return exchange->on_client_body_wanted(room);
}

const http::Fields* Proxy::trailers(SlotId id) {
  Exchange* exchange = state_->find(id);
  return exchange == nullptr ? nullptr : exchange->trailers();
}

void Proxy::client_gone(SlotId id) {
  if (Exchange* exchange = state_->find(id)) exchange->client_gone();
}

void Proxy::plan_end(SlotId id, const EndWindow& window) {
  if (Exchange* exchange = state_->find(id)) exchange->plan_end(window);
}

ClientKeys Proxy::keys(std::string_view address) {
  Shared& shared = state_->shared();
  const std::string connection = "\n" + std::to_string(++shared.connections);
  return {.network = shared.proofs.hash(network_of(address)).low,
          .connection = shared.proofs.hash(connection).low};
}

std::uint64_t Proxy::user_key(std::string_view address, std::string_view user) const {
  return state_->shared().proofs.hash(network_of(address) + '\n' + std::string(user)).low;
}

std::size_t Proxy::exchanges() const { return state_->exchanges(); }

void Proxy::publish() {
  state_->look_at_load();
  const Shared& shared = state_->shared();
  const ProxyMetrics& m = shared.parts.metrics;
  metrics::Cells& cells = shared.parts.cells;
  cells.set(m.shedding, shared.governor.shed() > 0 ? 1 : 0);
  cells.set(m.exchanges, static_cast<std::int64_t>(exchanges()));
  cells.set(m.tunnels, static_cast<std::int64_t>(shared.tunnels));
  cells.set(m.body_bytes, static_cast<std::int64_t>(shared.budget.body_bytes()));
  cells.set(m.connection_bytes,
            static_cast<std::int64_t>(shared.parts.events.connection_bytes().held));
  cells.set(m.window_bytes, static_cast<std::int64_t>(shared.budget.lent_bytes()));
}

void Proxy::end_watches(Instant until) {
  Shared& shared = state_->shared();
  shared.end_window = EndWindow{shared.now(), until};
  state_->for_each([&](Exchange& exchange) { exchange.plan_end(*shared.end_window); });
}

void Proxy::end_tunnels() {
  state_->for_each([](Exchange& exchange) { exchange.end_tunnel(); });
}

void Proxy::cut_first_bursts() {
  state_->for_each([](Exchange& exchange) { exchange.cut_first_burst(); });
}

}  // namespace sluice::proxy
