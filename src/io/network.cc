// SPDX-License-Identifier: GPL-3.0-or-later
// Networks as text, and what is in them.
#include "sluice/io/network.h"

#include <arpa/inet.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdint>

#include "sluice/base/quote.h"

namespace sluice::io {
namespace {

constexpr std::size_t bits_of_byte = 8;

std::unexpected<Error> bad_network(std::string_view text, std::string_view reason) {
  return fail(ErrorKind::invalid_argument,
              fmt::format("{} is no network of the form 192.0.2.0/24 or 2001:db8::/32: {}",
                          quote(text), reason));
}

// The bits of byte `index` that belong to the prefix.
std::uint8_t mask_of(std::size_t index, std::size_t prefix_bits) {
  const std::size_t before = index * bits_of_byte;
  const std::size_t bits = std::min(bits_of_byte, prefix_bits - std::min(before, prefix_bits));
  return static_cast<std::uint8_t>(0xff00U >> bits);
}

}  // namespace

Result<Network> Network::parse(std::string_view text) {
  const std::size_t slash = text.find('/');
  const std::string host(text.substr(0, slash));
  std::array<std::uint8_t, sizeof(in6_addr)> ip{};
  const bool v6 = host.contains(':');
  if (host.contains('\0') || ::inet_pton(v6 ? AF_INET6 : AF_INET, host.c_str(), ip.data()) != 1) {
    return bad_network(text, "it does not begin with an IP address");
  }
  const Bytes bytes(ip.data(), v6 ? sizeof(in6_addr) : sizeof(in_addr));
  const Address address = Address::from_ip(bytes, 0);
  if (address.ip().size() != bytes.size()) {
    return bad_network(text, "addresses of IPv4 are written as such");
  }

  std::size_t prefix_bits = bytes.size() * bits_of_byte;
  if (slash != std::string_view::npos) {
    const std::string_view digits = text.substr(slash + 1);
    const std::size_t prefix_bits_max = prefix_bits;
    const auto [end, error] =
        std::from_chars(digits.data(), digits.data() + digits.size(), prefix_bits);
    if (digits.empty() || digits.size() > 3 || (digits.size() > 1 && digits.front() == '0') ||
        error != std::errc() || end != digits.data() + digits.size() ||
        prefix_bits > prefix_bits_max) {
      return bad_network(
          text, fmt::format("behind the slash stands a number from 0 to {}", prefix_bits_max));
    }
  }

  std::array<std::uint8_t, sizeof(in6_addr)> first{};
  for (std::size_t i = 0; i < bytes.size(); ++i) first.at(i) = bytes[i] & mask_of(i, prefix_bits);
  const Network network(Address::from_ip(Bytes(first).first(bytes.size()), 0), prefix_bits);
  if (network.first_ != address) {
    return bad_network(text, "it has bits behind its prefix; perhaps " + network.to_string() +
                                 " is meant, or the address alone");
  }
  return network;
}

bool Network::contains(const Address& address) const {
  const Bytes first = first_.ip();
  const Bytes ip = address.ip();
  if (first.size() != ip.size()) return false;
  for (std::size_t i = 0; i < ip.size() && i * bits_of_byte < prefix_bits_; ++i) {
    if (((first[i] ^ ip[i]) & mask_of(i, prefix_bits_)) != 0) return false;
  }
  return true;
}

std::string Network::to_string() const { return fmt::format("{}/{}", first_.host(), prefix_bits_); }

bool any_contains(std::span<const Network> networks, const Address& address) {
  return std::ranges::any_of(networks, [&](const Network& n) { return n.contains(address); });
}

}  // namespace sluice::io
