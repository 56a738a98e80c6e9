// SPDX-License-Identifier: GPL-3.0-or-later
// Limits, and who makes room.
#include "client_shares.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include "sluice/observability/log.h"

namespace sluice::server {
namespace {

// Who has just come may be in the middle of its handshake, or about to ask. With no room left for
// the next one it has only a moment.
constexpr Duration may_rest = std::chrono::seconds(10);
constexpr Duration may_rest_without_room = std::chrono::milliseconds(250);
// For the last bytes of one that is asked to go, and its answer to our end. Until then it takes a
// place.
constexpr Duration proven_end_within = std::chrono::seconds(1);
constexpr Duration strangers_end_within = std::chrono::milliseconds(200);
// In one go; the next comes with the next newcomer, or soon.
constexpr std::size_t asked_at_once = 64;
// When descriptors have run out all the same.
constexpr std::size_t asked_when_starved = 8;
// Strangers may hold so much of all before they are the first to go.
constexpr std::size_t part_of_strangers = 8;

std::string_view what_happened(Share share) {
  switch (share) {
    case Share::address: return "a connection is refused: its address has enough of them";
    case Share::identity: return "a connection is refused: its identity has enough of them";
    case Share::room: return "idle connections are ended to make room";
    case Share::handshakes:
      return "a connection is refused: too many handshakes of its address wait";
  }
  return "unknown";
}

}  // namespace

ClientShares::ClientShares(balance::ChargeTable& charges, net::AdmissionBudget& admission,
                           const ClientOptions& options, metrics::Cells& cells,
                           const ClientMetrics& metrics)
    : charges_(charges),
      admission_(admission),
      options_(options),
      cells_(cells),
      metrics_(metrics) {}

std::optional<balance::ChargeLease> ClientShares::of_address(const proxy::ClientFacts& client,
                                                             Instant now) {
  const std::uint32_t limit = client.exempt ? 0 : options_.connections_per_address;
  auto lease = charges_.acquire(client.keys.network, limit, now);
  if (!lease) exceeded(Share::address, &client, now);
  return lease;
}

std::optional<balance::ChargeLease> ClientShares::of_identity(const proxy::ClientFacts& client,
                                                              Instant now) {
  const std::uint32_t limit = client.exempt ? 0 : options_.connections_per_identity;
  auto lease = charges_.acquire(client.keys.user, limit, now);
  if (!lease) exceeded(Share::identity, &client, now);
  return lease;
}

void ClientShares::prove(SharedPlace& place) {
  if (!place.is_held()) return;
  const bool rests = place.rests();
  const std::uint64_t client = place.client();
  place.let_go();
  proven_.add(place, client);
  if (!rests) place.work();
}

ClientShares::Next ClientShares::next() {
  balance::Holding* stranger = strangers_.first();
  balance::Holding* proven = proven_.first();
  const std::size_t strangers = strangers_.held();
  const bool crowded = strangers * part_of_strangers > strangers + proven_.held();
  if (stranger != nullptr && (crowded || proven == nullptr)) {
    return {static_cast<SharedPlace*>(stranger), false};
  }
  return {static_cast<SharedPlace*>(proven), true};
}

void ClientShares::make_room(Instant now) {
  std::size_t wanted = admission_.shortage();
  const bool starved = admission_.starved.load(std::memory_order_relaxed) &&
                       admission_.starved.exchange(false, std::memory_order_relaxed);
  if (starved) wanted = std::max(wanted, asked_when_starved);
  wanted = std::min(wanted, asked_at_once);
  const bool no_room = starved || admission_.room() == 0;
  for (std::size_t asked = 0; asked < wanted; ++asked) {
    const auto [place, proven] = next();
    if (place == nullptr) return;
    if (now - place->resting_since() < (no_room ? may_rest_without_room : may_rest)) return;
    place->let_go();
    admission_.leaving.fetch_add(1, std::memory_order_relaxed);
    exceeded(Share::room, nullptr, now);
    place->make_room(proven ? proven_end_within : strangers_end_within);
  }
}

void ClientShares::exceeded(Share share, const proxy::ClientFacts* client, Instant now) {
  cells_.add(metrics_.shares.at(share));
  const auto times = told_.at(static_cast<std::size_t>(share)).due(now);
  if (!times) return;
  const std::string_view user =
      client != nullptr && client->identity ? std::string_view(client->identity->user) : "";
  log::info(what_happened(share), {{"share", to_string(share)},
                                   {"client", client != nullptr ? client->peer : ""},
                                   {"user", user},
                                   {"times", *times}});
}

}  // namespace sluice::server
