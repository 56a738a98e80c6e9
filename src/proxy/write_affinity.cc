// SPDX-License-Identifier: GPL-3.0-or-later
// Clients that have lately written.
#include "write_affinity.h"

#include "sluice/base/check.h"

namespace sluice::proxy {

std::uint64_t WriteAffinity::client_of(const RequestPlan& plan, const ClientKeys& keys) {
  if (plan.bearer) return keys.network ^ plan.token.low;
  return plan.standing == backend::Standing::proven ? plan.client : 0;
}

void WriteAffinity::forget_first() {
  CHECK(!pins_.empty());
  index_.erase(pins_.front().write.client);
  pins_.pop_front();
}

WriteAffinity::Pin& WriteAffinity::note(const OwnWrite& write, Instant now) {
  const auto [found, is_new] = index_.try_emplace(write.client, pins_.end());
  if (is_new) {
    found->second = pins_.insert(pins_.end(), Pin{write, now, {}});
    if (pins_.size() > clients_max) forget_first();
  } else {
    pins_.splice(pins_.end(), pins_, found->second);
  }
  Pin& pin = pins_.back();
  if (pin.write.backend != write.backend) pin.told = {};
  pin.write = write;
  pin.written = now;
  return pin;
}

bool WriteAffinity::wrote(const OwnWrite& write, Duration lasting, Instant now) {
  CHECK_NE(write.client, std::uint64_t{0});
  Pin& pin = note(write, now);
  constexpr int tellings = 10;  // while it lasts
  if (pin.told != Instant{} && now - pin.told < lasting / tellings) return false;
  pin.told = now;
  return true;
}

void WriteAffinity::learn(const OwnWrite& write, Instant now) { note(write, now).told = now; }

balance::BackendMask WriteAffinity::backend_of(std::uint64_t client, Duration lasting,
                                               Instant now) {
  while (!pins_.empty() && now - pins_.front().written >= lasting) forget_first();
  const auto found = index_.find(client);
  return found == index_.end() ? 0 : balance::mask_of(found->second->write.backend);
}

}  // namespace sluice::proxy
