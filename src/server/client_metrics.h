// SPDX-License-Identifier: GPL-3.0-or-later
// What is counted of client connections.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "sluice/observability/metrics.h"

namespace sluice::server {

// What a client speaks: an HTTP; in a tunnel, whatever it and the backend have agreed on; and what
// is passed on, whatever its TLS carries.
enum class Protocol : std::uint8_t { h2, http1, tunnel, pass_through };
std::string_view to_string(Protocol protocol);

// How a connection ended other than by us.
enum class EndReason : std::uint8_t {
  closed,
  reset,
  tls,
  timeout,
  limit,
  protocol,
  proxy_header,  // a balancer's was wrong, late, or cut off
  health_check,  // of a balancer, which named nobody: no failure
  vanished,      // not even an acknowledgement has come any more
  other,
};
std::string_view to_string(EndReason reason);

// What a client's certificate led to.
enum class CertificateResult : std::uint8_t { none, identity, no_identity, refused };
std::string_view to_string(CertificateResult result);

// What a client has had its share of, so that a connection of it was refused or ended.
enum class Share : std::uint8_t {
  address,     // connections from where it is
  identity,    // and of those, of one identity
  room,        // there is little for all: what rests makes room
  handshakes,  // that wait for their turns
};
std::string_view to_string(Share share);

struct ClientMetrics {
  explicit ClientMetrics(metrics::Registry& registry);
  // Of those without a protocol yet, too: nothing.
  metrics::GaugeId connections(std::optional<Protocol> protocol) const {
    return protocol ? connections_.at(static_cast<std::size_t>(*protocol)) : opening_;
  }
  metrics::CounterId accepted;
  metrics::CounterId adopted;           // of them, in the place of a worker that was stuck
  metrics::CounterTable handshakes;     // Protocol
  metrics::CounterTable requests;       // Protocol
  metrics::CounterTable ended;          // EndReason
  metrics::CounterTable abuse;          // http2::AbuseKind
  metrics::CounterTable certificates;   // CertificateResult
  metrics::CounterTable http1_refused;  // http1::Refusal
  metrics::CounterTable shares;         // Share
  metrics::CounterId not_allowed;       // by their networks

 private:
  std::vector<metrics::GaugeId> connections_;  // Protocol
  metrics::GaugeId opening_;
};

}  // namespace sluice::server
