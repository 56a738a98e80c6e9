// SPDX-License-Identifier: GPL-3.0-or-later
// What each client may hold of the connections, so that nobody pays for a stranger's: limits by
// address and by identity, over all workers, and who of this worker's leaves when there is little
// room for newcomers.
//
// Then connections on which nothing is asked for leave, of whoever holds most, the longest idle
// first: of strangers, as long as these hold more than an eighth, else of those whose identity is
// proven. So strangers displace each other, not them, and a newcomer, who is a stranger until its
// handshake is done, has room to become more.
//
// Thread: the worker's. Outlives its connections.
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "client_metrics.h"
#include "sluice/balance/charge_table.h"
#include "sluice/balance/holders.h"
#include "sluice/net/listener.h"
#include "sluice/observability/log_pace.h"
#include "sluice/proxy/client_side.h"
#include "sluice/server/options.h"

namespace sluice::server {

// A connection among those that are asked to go.
class SharedPlace : public balance::Holding {
 public:
  virtual ~SharedPlace() = default;
  // Since when nothing is asked for on it.
  virtual Instant resting_since() const = 0;
  // Ends in order, but within so much time; made_room() when it has.
  virtual void make_room(Duration within) = 0;
};

class ClientShares {
 public:
  ClientShares(balance::ChargeTable& charges, net::AdmissionBudget& admission,
               const ClientOptions& options, metrics::Cells& cells, const ClientMetrics& metrics);

  // One more connection of this client; nothing when it has its share already, which is counted
  // and logged.
  std::optional<balance::ChargeLease> of_address(const proxy::ClientFacts& client, Instant now);
  std::optional<balance::ChargeLease> of_identity(const proxy::ClientFacts& client, Instant now);

  // One of its handshakes found no place in the queue.
  void no_handshake(const proxy::ClientFacts& client, Instant now) {
    exceeded(Share::handshakes, &client, now);
  }

  // A stranger's, which rests; and when it is one no more.
  void add(SharedPlace& place, std::uint64_t network) { strangers_.add(place, network); }
  void prove(SharedPlace& place);

  // Asks some to go if newcomers would find no room.
  void make_room(Instant now);
  void made_room() { admission_.leaving.fetch_sub(1, std::memory_order_relaxed); }

 private:
  static constexpr std::size_t shares = 4;

  struct Next {
    SharedPlace* place = nullptr;
    bool proven = false;
  };
  Next next();
  void exceeded(Share share, const proxy::ClientFacts* client, Instant now);

  balance::ChargeTable& charges_;
  net::AdmissionBudget& admission_;
  const ClientOptions& options_;
  metrics::Cells& cells_;
  const ClientMetrics& metrics_;
  balance::Holders strangers_;
  balance::Holders proven_;
  std::array<log::Pace, shares> told_;
};

}  // namespace sluice::server
