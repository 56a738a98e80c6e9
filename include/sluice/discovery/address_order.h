// SPDX-License-Identifier: GPL-3.0-or-later
// An order of addresses, IPv4 before IPv6, so that the same set is the same list.
#pragma once

#include <algorithm>

#include "sluice/io/address.h"

namespace sluice::discovery {

struct AddressOrder {
  bool operator()(const io::Address& a, const io::Address& b) const {
    if (a.ip().size() != b.ip().size()) return a.ip().size() < b.ip().size();
    if (!std::ranges::equal(a.ip(), b.ip())) {
      return std::ranges::lexicographical_compare(a.ip(), b.ip());
    }
    return a.port() < b.port();
  }
};

}  // namespace sluice::discovery
