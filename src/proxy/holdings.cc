// SPDX-License-Identifier: GPL-3.0-or-later
// Who holds most.
#include "holdings.h"

#include "sluice/proxy/client_side.h"

namespace sluice::proxy {
namespace {

constexpr std::size_t part_of_strangers = 8;

}  // namespace

bool Holdings::Holder::includes(const Owner& owner) const {
  switch (kind) {
    case Kind::client: return owner.client == name;
    case Kind::strangers: return !owner.proven;
    case Kind::network: return owner.network == name;
  }
  return false;
}

void Holdings::add(const Owner& owner, std::size_t bytes) {
  if (bytes == 0) return;  // a connection that rests keeps its client's account
  Held& held = clients_[owner.client];
  held.network = owner.network;
  held.proven = owner.proven;
  held.bytes += bytes;
  all_ += bytes;
  if (!owner.proven) strangers_ += bytes;
}

void Holdings::add_strangers(std::size_t bytes) {
  all_ += bytes;
  strangers_ += bytes;
}

std::optional<Holdings::Holder> Holdings::largest() const {
  if (all_ == 0) return std::nullopt;
  const auto clearly_more = [this](std::size_t bytes, std::size_t holders) {
    return bytes / 9 > all_ / holders / 8;
  };
  Holder client{.kind = Kind::client};
  bool proven = false;
  Holder network{.kind = Kind::network};
  std::unordered_map<std::uint64_t, std::size_t> networks;
  for (const auto& [name, held] : clients_) {
    if (held.bytes > client.bytes) {
      client = {Kind::client, name, held.bytes};
      proven = held.proven;
    }
    const std::size_t of_network = networks[held.network] += held.bytes;
    if (of_network > network.bytes) network = {Kind::network, held.network, of_network};
  }
  const bool strangers = strangers_ > all_ / part_of_strangers;
  const bool before_them = !proven || !strangers || client.bytes >= strangers_;
  // One more than hold something: who asks for room.
  if (before_them && clearly_more(client.bytes, clients_.size() + 1)) return client;
  if (strangers) return Holder{Kind::strangers, 0, strangers_};
  if (clearly_more(network.bytes, networks.size())) return network;
  return std::nullopt;
}

Holdings::Owner owner_of(const ClientFacts& client) {
  const bool by_certificate = client.identity && !client.anonymous;
  return {by_certificate ? client.keys.user : client.keys.connection, client.keys.network,
          client.proven};
}

}  // namespace sluice::proxy
