// SPDX-License-Identifier: GPL-3.0-or-later
// One name over time.
#include "sluice/discovery/name_state.h"

#include <algorithm>
#include <iterator>

#include "sluice/discovery/address_order.h"

namespace sluice::discovery {
namespace {

std::vector<io::Address> sorted(std::vector<io::Address> addresses) {
  std::ranges::sort(addresses, AddressOrder());
  const auto repeated = std::ranges::unique(addresses);
  addresses.erase(repeated.begin(), repeated.end());
  if (addresses.size() > NameState::addresses_max) addresses.resize(NameState::addresses_max);
  return addresses;
}

}  // namespace

void NameState::take(const NameAnswer& answer, Instant now) {
  asking_ = false;
  settled_ = true;
  std::vector<io::Address> ipv4 = answer.ipv4 ? sorted(answer.ipv4->addresses) : ipv4_;
  std::vector<io::Address> ipv6 = answer.ipv6 ? sorted(answer.ipv6->addresses) : ipv6_;
  const bool learnt = (answer.ipv4 && !ipv4.empty()) || (answer.ipv6 && !ipv6.empty());
  error_ = answer.error;
  // That there are none of one kind counts beside some of the other.
  if (!learnt) {
    ++failures_;
    if (error_.empty()) error_ = "it has no addresses";
    next_ = now + wait_after_failure();
    return;
  }
  ipv4_ = std::move(ipv4);
  ipv6_ = std::move(ipv6);
  addresses_ = ipv4_;
  std::ranges::copy(ipv6_, std::back_inserter(addresses_));
  if (!error_.empty()) ++failures_;
  retry_ = {};
  // A kind without addresses says nothing about how long the others are good for.
  Duration ttl = again_max;
  for (const auto* records : {&answer.ipv4, &answer.ipv6}) {
    if (*records && !(*records)->addresses.empty()) ttl = std::min(ttl, (*records)->ttl);
  }
  next_ = now + std::clamp(ttl, again_min, again_max);
}

Duration NameState::wait_after_failure() {
  const Duration first = addresses_.empty() ? retry_first : again_min;
  retry_ = std::clamp(retry_ * 2, first, retry_max);
  return retry_;
}

}  // namespace sluice::discovery
