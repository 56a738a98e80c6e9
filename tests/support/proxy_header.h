// SPDX-License-Identifier: GPL-3.0-or-later
// Headers of the PROXY protocol as balancers send them, and as none should. Independent of the code
// under test.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace sluice::test {

// Lowest byte last.
inline std::string in_network_order(std::uint64_t value, int bytes) {
  std::string out;
  for (int i = bytes - 1; i >= 0; --i) out += static_cast<char>((value >> (8 * i)) & 0xff);
  return out;
}

inline std::uint32_t crc32c_bit_by_bit(std::string_view text) {
  std::uint32_t crc = 0xffffffff;
  for (const char c : text) {
    crc ^= static_cast<std::uint8_t>(c);
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0x82f63b78 : 0);
  }
  return ~crc;
}

inline std::string proxy_value(std::uint8_t type, std::string_view value) {
  return in_network_order(type, 1) + in_network_order(value.size(), 2) + std::string(value);
}

// A header of version 2.
struct ProxyBlock {
  static constexpr std::string_view signature{"\r\n\r\n\0\r\nQUIT\n", 12};

  std::uint8_t version_and_command = 0x21;
  std::uint8_t family_and_protocol = 0x11;
  std::string addresses = {};
  std::string values = {};
  std::optional<std::size_t> length = {};  // what it claims; by default what there is

  std::string text() const {
    return std::string(signature) + in_network_order(version_and_command, 1) +
           in_network_order(family_and_protocol, 1) +
           in_network_order(length.value_or(addresses.size() + values.size()), 2) + addresses +
           values;
  }
  // With the checksum as one more value, before the others.
  std::string text_with_checksum() const {
    ProxyBlock block = *this;
    block.values = proxy_value(3, std::string(4, '\0')) + values;
    std::string out = block.text();
    const std::size_t at = signature.size() + 4 + addresses.size() + 3;
    out.replace(at, 4, in_network_order(crc32c_bit_by_bit(out), 4));
    return out;
  }
};

// 192.0.2.7:56324 to 198.51.100.1:443.
inline ProxyBlock ipv4_block() {
  return {.addresses = in_network_order(0xc0000207c6336401, 8) + in_network_order(56324, 2) +
                       in_network_order(443, 2)};
}

// [2001:db8::7]:56324 to [2001:db8::1]:443.
inline ProxyBlock ipv6_block() {
  const std::string begin = in_network_order(0x20010db800000000, 8);
  return {.family_and_protocol = 0x21,
          .addresses = begin + in_network_order(7, 8) + begin + in_network_order(1, 8) +
                       in_network_order(56324, 2) + in_network_order(443, 2)};
}

// The balancer speaks for itself.
inline ProxyBlock local_block() {
  return {.version_and_command = 0x20, .family_and_protocol = 0x00};
}

inline constexpr std::string_view ipv4_line = "PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\r\n";
inline constexpr std::string_view unknown_line = "PROXY UNKNOWN\r\n";

}  // namespace sluice::test
