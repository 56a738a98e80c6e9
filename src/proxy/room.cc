// SPDX-License-Identifier: GPL-3.0-or-later
// Who goes so that others have room.
#include "room.h"

#include <algorithm>
#include <functional>
#include <string_view>

#include "sluice/observability/log.h"

namespace sluice::proxy {
namespace {

Holdings::Owner owner_of(const ClientAccount& account) {
  return {account.client, account.network, account.proven};
}

std::string_view to_string(Holdings::Kind kind) {
  switch (kind) {
    case Holdings::Kind::client: return "one client";
    case Holdings::Kind::strangers: return "strangers";
    case Holdings::Kind::network: return "an address";
  }
  return "unknown";
}

}  // namespace

void Room::make(Exchanges& exchanges, const Connections& connections) {
  const auto holder = largest(connections);
  if (!holder) return;
  std::vector<Held> all = held_by(*holder, exchanges, connections);
  if (all.empty()) return;
  std::ranges::sort(all, std::greater{}, &Held::bytes);
  tell(*holder, *all.front().client);
  // Answers come in bursts: half may be far from enough.
  const std::size_t goes = std::max(holder->bytes / 2, shared_.budget.missing_room());
  std::size_t ended = 0;
  for (const Held& held : all) {
    if (ended >= goes) return;
    ended += held.bytes;
    end(held, exchanges);
  }
}

std::optional<Holdings::Holder> Room::largest(const Connections& connections) const {
  Holdings holdings;
  shared_.accounts.for_each(
      [&](const ClientAccount& account) { holdings.add(owner_of(account), account.bytes); });
  for (const ConnectionHolding* connection : connections) {
    holdings.add(owner_of(connection->facts()), connection->held_bytes());
    holdings.add_strangers(connection->resting_bytes());
  }
  return holdings.largest();
}

std::vector<Room::Held> Room::held_by(const Holdings::Holder& holder, Exchanges& exchanges,
                                      const Connections& connections) {
  std::vector<Held> all;
  exchanges.for_each([&](SlotId id, const auto& exchange) {
    const ClientAccount* account = exchange->account();
    if (account == nullptr || !holder.includes(owner_of(*account)) || !exchange->may_make_room()) {
      return;
    }
    all.push_back({exchange->charged_bytes(), id, nullptr, exchange->client()});
  });
  for (ConnectionHolding* connection : connections) {
    const ClientFacts& facts = connection->facts();
    if (!holder.includes(owner_of(facts)) || is_component(facts)) continue;
    const std::size_t bytes = connection->held_bytes() + connection->resting_bytes();
    all.push_back({bytes, {}, connection, &facts});
  }
  return all;
}

// What ends may end others of them.
void Room::end(const Held& held, Exchanges& exchanges) {
  if (held.connection != nullptr) {
    shared_.count(shared_.parts.metrics.made_room);
    return held.connection->end_for_room();
  }
  const auto* found = exchanges.find(held.exchange);
  if (found != nullptr && (*found)->state() != Exchange::State::finished) (*found)->make_room();
}

void Room::tell(const Holdings::Holder& holder, const ClientFacts& most) {
  if (!told_.due(shared_.now())) return;
  log::warning("the worker's bytes are used up: who holds most loses requests",
               {{"client", most.peer},
                {"user", most.identity ? std::string_view(most.identity->user) : ""},
                {"of", to_string(holder.kind)},
                {"bytes", holder.bytes}});
}

}  // namespace sluice::proxy
