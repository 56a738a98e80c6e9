// SPDX-License-Identifier: GPL-3.0-or-later
// One worker's exchanges.
#include "sluice/proxy/proxy.h"

#include <algorithm>
#include <utility>

#include "sluice/base/check.h"
#include "sluice/proxy/exchange.h"

namespace sluice::proxy {
namespace {

constexpr std::size_t spare_max = 1024;
// Looking for stalled streams: a few times within the timeout, and not so many in one turn that
// others wait.
constexpr int looks_per_timeout = 4;
constexpr std::uint32_t looks_at_once = 1024;
constexpr Duration looks_pause = std::chrono::milliseconds(10);
// Replays that are possible at once after a quiet time, whatever the share.
constexpr double replay_tokens_max = 1000;

std::vector<std::string> names_of(const backend::Cluster& cluster) {
  std::vector<std::string> names;
  for (const auto& backend : cluster.backends) names.push_back(backend->endpoint.name);
  return names;
}

std::vector<std::string> reply_reason_names() {
  std::vector<std::string> names;
  for (std::size_t i = 0; i < reply_reasons; ++i) {
    names.emplace_back(to_string(static_cast<ReplyReason>(i)));
  }
  return names;
}

}  // namespace

ProxyMetrics::ProxyMetrics(metrics::Registry& registry, const backend::Cluster& cluster)
    : requests(registry.counters(
          "sluice_requests_total", "Requests sent to a backend, by class and backend.",
          {{"class",
            {"short_read", "short_write", "list", "watch", "watch_list", "long_running_other"}},
           {"backend", names_of(cluster)}})),
      responses(registry.counters("sluice_responses_total", "Answers sent to clients, by status.",
                                  {{"code", {"1xx", "2xx", "3xx", "4xx", "5xx"}}})),
      local_replies(registry.counters("sluice_local_replies_total",
                                      "Answers that the proxy made itself, by reason.",
                                      {{"reason", reply_reason_names()}})),
      replays(registry.counters(
          "sluice_replays_total", "Requests sent again to another backend, by cause.",
          {{"cause", {"not_executed", "lost_before_answer", "drain_answer", "identity_refused"}}})),
      watches_ended(registry.counters(
          "sluice_watches_ended_total",
          "Watches that were ended towards the client with a clean end of stream, by cause.",
          {{"cause", {"backend_ended", "backend_lost", "retired", "drain"}}})),
      stalled_ended(registry.counters(
          "sluice_stalled_streams_ended_total",
          "Streams reset because their client took nothing of what waited for it.",
          {{"class", {"ordinary", "long_running"}}})),
      stalled(registry.gauge("sluice_stalled_streams",
                             "Watches and other long-running requests whose clients take nothing "
                             "of what waits for them.")),
      identity_fields_dropped(registry.counter(
          "sluice_identity_fields_dropped_total",
          "Request fields dropped because a client claimed an identity with them.")),
      replay_budget_exhausted(registry.counter("sluice_replay_budget_exhausted_total",
                                               "Replays that the budget did not allow.")),
      drain_answers(registry.counter("sluice_drain_answers_total",
                                     "Answers by which a backend said that it shuts down.")),
      identity_refusals(registry.counter(
          "sluice_identity_refused_total",
          "Answers of 401 to requests for which the proxy vouched: wrong front-proxy trust.")),
      exchanges(registry.gauge("sluice_exchanges", "Requests in progress, watches included.")),
      body_bytes(registry.gauge("sluice_body_bytes", "Memory that holds bodies, in bytes.")),
      window_bytes(registry.gauge(
          "sluice_stream_window_lent_bytes",
          "Bytes by which streams' windows have grown: senders may be that much further ahead.")),
      request_body_bytes(
          registry.counter("sluice_request_body_bytes_total", "Bytes of request bodies.")),
      response_body_bytes(
          registry.counter("sluice_response_body_bytes_total", "Bytes of response bodies.")),
      head_seconds(registry.histogram("sluice_response_head_seconds",
                                      "Time from a request's head to the head of its answer.",
                                      metrics::HistogramLayout::seconds())) {}

Proxy::Proxy(const ProxyParts& parts, const ProxyOptions& options)
    : parts_(parts),
      options_(options),
      random_(parts.seed),
      picker_(options.picker),
      load_(parts.board, parts.worker),
      proofs_(options.proven_tokens_max, parts.token_key),
      blocks_(4096),
      stall_timer_(io::Timer::bind<&Proxy::look_for_stalls>(this)),
      reap_(io::TurnEnd::bind<&Proxy::reap>(this)) {
  parts_.reactor.timers().set(stall_timer_, now(),
                              options_.client_stall_timeout / looks_per_timeout);
}

Proxy::~Proxy() {
  reap();
  CHECK(exchanges_.empty());
  spare_.clear();
}

SlotId Proxy::add(std::unique_ptr<Exchange> exchange) {
  Exchange& added = *exchange;
  added.id_ = exchanges_.insert(std::move(exchange));
  return added.id_;
}

SlotId Proxy::start(ClientSide& client, http2::StreamId stream, http::RequestHead&& head,
                    bool end_of_stream) {
  std::unique_ptr<Exchange> exchange;
  if (spare_.empty()) {
    exchange = std::make_unique<Exchange>(*this);
  } else {
    exchange = std::move(spare_.back());
    spare_.pop_back();
  }
  Exchange& started = *exchange;
  const SlotId id = add(std::move(exchange));
  // A suspect's replay costs the backends nothing, it was refused: as many as there are requests.
  replay_tokens_[0] =
      std::min(replay_tokens_max, replay_tokens_[0] + options_.replay_budget_percent / 100.0);
  replay_tokens_[1] = std::min(replay_tokens_max, replay_tokens_[1] + 1.0);
  started.start(client, stream, std::move(head), end_of_stream);
  return id;
}

SlotId Proxy::refuse(ClientSide& client, http2::StreamId stream, int code, ReplyReason reason,
                     std::string_view message) {
  auto exchange = std::make_unique<Exchange>(*this);
  Exchange& refused = *exchange;
  const SlotId id = add(std::move(exchange));
  refused.refuse(client, stream, code, reason, message);
  return id;
}

Exchange* Proxy::find(SlotId id) {
  auto* found = exchanges_.find(id);
  return found == nullptr || (*found)->state() == Exchange::State::finished ? nullptr
                                                                            : found->get();
}

void Proxy::finished(Exchange& exchange) {
  finished_.push_back(exchange.id_);
  parts_.reactor.at_turn_end(reap_, io::Reactor::Phase::reap);
}

void Proxy::reap() {
  for (const SlotId id : finished_) {
    std::unique_ptr<Exchange> exchange = exchanges_.take(id);
    exchange->reuse();
    if (spare_.size() < spare_max) spare_.push_back(std::move(exchange));
  }
  finished_.clear();
}

void Proxy::publish() {
  const ProxyMetrics& m = parts_.metrics;
  parts_.cells.set(m.exchanges, static_cast<std::int64_t>(exchanges_.size()));
  parts_.cells.set(m.body_bytes,
                   static_cast<std::int64_t>(blocks_.leased() * BlockPool::block_bytes));
  parts_.cells.set(m.window_bytes, static_cast<std::int64_t>(lent_bytes_));
}

void Proxy::look_for_stalls() {
  const std::uint32_t end = std::min(exchanges_.slots(), next_checked_ + looks_at_once);
  exchanges_.for_each_in(next_checked_, end, [this](SlotId, const auto& exchange) {
    if (exchange->check_progress() == Exchange::Progress::stalled) ++stalled_;
  });
  next_checked_ = end;
  Duration pause = looks_pause;
  if (end == exchanges_.slots()) {
    parts_.cells.set(parts_.metrics.stalled, std::exchange(stalled_, 0));
    next_checked_ = 0;
    pause = std::max(pause, Duration(options_.client_stall_timeout / looks_per_timeout));
  }
  parts_.reactor.timers().set(stall_timer_, now(), pause);
}

bool Proxy::lend(WindowGrowth& growth) {
  const std::uint32_t window =
      std::min(options_.stream_window_bytes_max, growth.window() + growth.window());
  if (window <= growth.window()) return false;
  const std::size_t more = window - growth.window();
  // Half of the budget stays for what is really held, so that growth alone never stops admission.
  if (committed_bytes() + more > options_.body_bytes_per_worker / 2) return false;
  growth.grow_to(window);
  lent_bytes_ += more;
  return true;
}

bool Proxy::take_replay_token(bool suspect) {
  double& tokens = replay_tokens_[suspect ? 1 : 0];
  if (tokens < 1) {
    parts_.cells.add(parts_.metrics.replay_budget_exhausted);
    return false;
  }
  tokens -= 1;
  return true;
}

void Proxy::end_long_running(Instant until) {
  std::vector<SlotId> ids;
  exchanges_.for_each([&](SlotId id, const auto&) { ids.push_back(id); });
  for (const SlotId id : ids) {
    if (Exchange* exchange = find(id)) exchange->end_before(until);
  }
}

}  // namespace sluice::proxy
