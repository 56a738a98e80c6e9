// SPDX-License-Identifier: GPL-3.0-or-later
// What is counted of a cluster's requests.
#include <string>
#include <vector>

#include "sluice/proxy/proxy.h"

namespace sluice::proxy {

std::string_view to_string(WatchEnd end) {
  switch (end) {
    case WatchEnd::backend_ended: return "backend_ended";
    case WatchEnd::backend_lost: return "backend_lost";
    case WatchEnd::retired: return "retired";
    case WatchEnd::drain: return "drain";
  }
  return "unknown";
}

std::string_view to_string(ReplayCause cause) {
  switch (cause) {
    case ReplayCause::not_executed: return "not_executed";
    case ReplayCause::lost_before_answer: return "lost_before_answer";
    case ReplayCause::drain_answer: return "drain_answer";
    case ReplayCause::identity_refused: return "identity_refused";
    case ReplayCause::no_history: return "no_history";
    case ReplayCause::stale_cache: return "stale_cache";
    case ReplayCause::initializing: return "initializing";
    case ReplayCause::unknown_path: return "unknown_path";
  }
  return "unknown";
}

std::string_view to_string(Preference preference) {
  switch (preference) {
    case Preference::client_wrote: return "client_wrote";
    case Preference::resource_wrote: return "resource_wrote";
    case Preference::lowest_version: return "lowest_version";
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

ProxyMetrics::ProxyMetrics(metrics::Registry& registry)
    : responses(registry.counters("sluice_responses_total", "Answers sent to clients, by status.",
                                  {{"code", {"1xx", "2xx", "3xx", "4xx", "5xx"}}})),
      local_replies(registry.counters_by<ReplyReason>(
          "sluice_local_replies_total", "Answers that the proxy made itself, by reason.",
          "reason")),
      replays(registry.counters_by<ReplayCause>(
          "sluice_replays_total", "Requests sent again to another backend, by cause.", "cause")),
      replays_in_vain(registry.counters_by<ReplayCause>(
          "sluice_replays_in_vain_total",
          "Requests sent again because of what an answer said of its server, and told the same by "
          "the next, by cause.",
          "cause")),
      preferred(registry.counters_by<Preference>(
          "sluice_preferred_requests_total",
          "Requests that went to a backend because others may not show what the client knows, "
          "or show it otherwise, by reason.",
          "reason")),
      watches_ended(registry.counters_by<WatchEnd>(
          "sluice_watches_ended_total",
          "Watches that were ended towards the client with a clean end of stream, by cause.",
          "cause")),
      watches_held(registry.counter(
          "sluice_watches_held_total",
          "Watches whose head waited for the first event, because their backend may have no "
          "history for them.")),
      watches_expired(registry.counter(
          "sluice_watches_expired_total",
          "Of them, those that got 410 and had no backend with more history, or not there "
          "either: their clients list again.")),
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
      drain_answers(registry.counter("sluice_drain_answers_total",
                                     "Answers by which a backend said that it shuts down.")),
      identity_refusals(registry.counter(
          "sluice_identity_refused_total",
          "Answers of 401 to requests for which the proxy vouched: wrong front-proxy trust.")),
      exchanges(registry.gauge("sluice_exchanges", "Requests in progress, watches included.")),
      tunnels(registry.gauge("sluice_tunnels", "Open tunnels: exec, attach, port-forward.")),
      tunnel_bytes(registry.counters_by<TunnelWay>(
          "sluice_tunnel_bytes_total", "Bytes that went through tunnels.", "direction")),
      request_body_bytes(
          registry.counter("sluice_request_body_bytes_total", "Bytes of request bodies.")),
      response_body_bytes(
          registry.counter("sluice_response_body_bytes_total", "Bytes of response bodies.")),
      head_seconds(registry.histogram("sluice_response_head_seconds",
                                      "Time from a request's head to the head of its answer.",
                                      metrics::HistogramLayout::seconds())) {}

}  // namespace sluice::proxy
