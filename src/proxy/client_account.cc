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
  CHECK_EQ(account->tunnels, 0U);
  CHECK_EQ(account->connections, 0U);
  account->owner->accounts_.erase(account->client);
}

ClientAccounts::~ClientAccounts() { CHECK(accounts_.empty()); }

AccountRef ClientAccounts::open(std::uint64_t client, std::uint64_t network, bool proven) {
  ClientAccount& account = accounts_[client];
  account.client = client;
  account.network = network;
  account.proven = proven;
  account.owner = this;
  return AccountRef(account);
}

ClientAccount& ClientAccounts::open(std::uint64_t client, std::uint64_t network, bool proven,
                                    LastAccount& last) {
  if (last.get() == nullptr || last.get()->client != client) {
    last.set(open(client, network, proven));
  }
  return *last.get();
}

}  // namespace sluice::proxy
