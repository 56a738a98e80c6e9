// SPDX-License-Identifier: GPL-3.0-or-later
// A network of IPv4 or IPv6 addresses, written as a prefix (RFC 4632 section 3.1, RFC 4291 section
// 2.3): a value.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

#include "sluice/base/error.h"
#include "sluice/io/address.h"

namespace sluice::io {

class Network {
 public:
  // "10.0.0.0/8", "fd00::/64"; an address alone is a network of one. Bits behind the prefix and
  // IPv4 addresses that are mapped into IPv6 are errors: they would not mean what they seem to.
  static Result<Network> parse(std::string_view text);

  // Never across families: no IPv4 address is in "::/0".
  bool contains(const Address& address) const;
  std::size_t prefix_bits() const { return prefix_bits_; }
  std::string to_string() const;  // always with its prefix

  friend bool operator==(const Network&, const Network&) = default;

 private:
  Network(const Address& first, std::size_t prefix_bits)
      : first_(first), prefix_bits_(prefix_bits) {}

  Address first_;  // its port is 0
  std::size_t prefix_bits_;
};

bool any_contains(std::span<const Network> networks, const Address& address);

}  // namespace sluice::io
