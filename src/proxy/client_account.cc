// SPDX-License-Identifier: GPL-3.0-or-later
// Accounts of clients.
#include "sluice/proxy/client_account.h"

#include "sluice/base/check.h"

namespace sluice::proxy {

void AccountRef::reset() {
  ClientAccount* account = std::exchange(account_, nullptr);
  if (account == nullptr) return;
  DCHECK(account->references > 0);
  if (--account->references > 0) return;
  CHECK_EQ(account->bytes, std::size_t{0});
  CHECK_EQ(account->anonymous, 0U);
  CHECK_EQ(account->unproven, 0U);
  account->owner->accounts_.erase(account->client);
}

ClientAccounts::~ClientAccounts() { CHECK(accounts_.empty()); }

AccountRef ClientAccounts::open(std::uint64_t client, std::uint64_t network) {
  ClientAccount& account = accounts_[client];
  account.client = client;
  account.network = network;
  account.owner = this;
  return AccountRef(account);
}

std::optional<ClientAccounts::Holder> ClientAccounts::largest() const {
  Holder client;
  std::unordered_map<std::uint64_t, std::size_t> networks;
  std::size_t all = 0;
  std::size_t clients = 0;
  for (const auto& [name, account] : accounts_) {
    if (account.bytes == 0) continue;  // a connection that rests keeps its client's
    all += account.bytes;
    ++clients;
    networks[account.network] += account.bytes;
    if (account.bytes > client.bytes) client = {name, account.network, false, account.bytes};
  }
  const auto clearly_more = [all](std::size_t bytes, std::size_t holders) {
    return bytes / 9 > all / holders / 8;
  };
  if (all == 0) return std::nullopt;
  if (clearly_more(client.bytes, clients)) return client;
  Holder network{.whole_network = true};
  for (const auto& [name, bytes] : networks) {
    if (bytes > network.bytes) network = {0, name, true, bytes};
  }
  if (clearly_more(network.bytes, networks.size())) return network;
  return std::nullopt;
}

ClientAccount& ClientAccounts::open(std::uint64_t client, std::uint64_t network, AccountRef& last) {
  if (last.get() == nullptr || last.get()->client != client) last = open(client, network);
  return *last.get();
}

}  // namespace sluice::proxy
