// SPDX-License-Identifier: GPL-3.0-or-later
// What is counted of client connections.
#include "client_metrics.h"

#include <string>

#include "sluice/http1/refusal.h"
#include "sluice/http2/session.h"

namespace sluice::server {

namespace {

constexpr const char* connections_name = "sluice_client_connections";
constexpr const char* connections_help = "Open connections of clients, by protocol.";

std::vector<metrics::GaugeId> connections_by_protocol(metrics::Registry& registry) {
  std::vector<metrics::GaugeId> gauges;
  for (const std::string& name : enumerator_names<Protocol>()) {
    gauges.push_back(registry.gauge(connections_name, connections_help, {{"protocol", name}}));
  }
  return gauges;
}

}  // namespace

std::string_view to_string(Protocol protocol) {
  switch (protocol) {
    case Protocol::h2: return "h2";
    case Protocol::http1: return "http1";
    case Protocol::tunnel: return "tunnel";
    case Protocol::pass_through: return "pass_through";
  }
  return "unknown";
}

std::string_view to_string(EndReason reason) {
  switch (reason) {
    case EndReason::closed: return "closed";
    case EndReason::reset: return "reset";
    case EndReason::tls: return "tls";
    case EndReason::timeout: return "timeout";
    case EndReason::limit: return "limit";
    case EndReason::protocol: return "protocol";
    case EndReason::proxy_header: return "proxy_header";
    case EndReason::health_check: return "health_check";
    case EndReason::vanished: return "vanished";
    case EndReason::other: return "other";
  }
  return "unknown";
}

std::string_view to_string(CertificateResult result) {
  switch (result) {
    case CertificateResult::none: return "none";
    case CertificateResult::identity: return "identity";
    case CertificateResult::no_identity: return "no_identity";
    case CertificateResult::refused: return "refused";
  }
  return "unknown";
}

std::string_view to_string(Share share) {
  switch (share) {
    case Share::address: return "address";
    case Share::identity: return "identity";
    case Share::room: return "room";
    case Share::handshakes: return "handshakes";
  }
  return "unknown";
}

ClientMetrics::ClientMetrics(metrics::Registry& registry)
    : accepted(registry.counter("sluice_client_connections_accepted_total",
                                "Connections accepted from clients.")),
      adopted(
          registry.counter("sluice_client_connections_adopted_total",
                           "Of them, connections served in the place of a worker that was stuck.")),
      handshakes(registry.counters_by<Protocol>(
          "sluice_client_handshakes_total",
          "TLS handshakes completed with clients, by the protocol that was agreed on.",
          "protocol")),
      requests(registry.counters_by<Protocol>("sluice_client_requests_total",
                                              "Requests of clients, by protocol.", "protocol")),
      ended(registry.counters_by<EndReason>("sluice_client_connections_ended_total",
                                            "Connections that ended other than by us.", "reason")),
      abuse(registry.counters_by<http2::AbuseKind>(
          "sluice_client_limit_exceeded_total",
          "Connections ended because a client exceeded a limit.", "limit")),
      certificates(registry.counters_by<CertificateResult>(
          "sluice_client_certificates_total", "Handshakes by what the client's certificate led to.",
          "result")),
      http1_refused(registry.counters_by<http1::Refusal>(
          "sluice_client_http1_refused_total",
          "HTTP/1.1 requests refused because they break a rule, by rule.", "reason")),
      shares(registry.counters_by<Share>(
          "sluice_client_share_exceeded_total",
          "Connections refused or ended because their client has its share, by share.", "share")),
      not_allowed(registry.counter(
          "sluice_clients_not_allowed_total",
          "Connections refused because their cluster does not serve clients from there.")),
      connections_(connections_by_protocol(registry)),
      opening_(registry.gauge(connections_name, connections_help, {{"protocol", "none"}})) {}

}  // namespace sluice::server
