// SPDX-License-Identifier: GPL-3.0-or-later
// CRC-32C over some bytes (RFC 9260 appendix A), a byte at a time: for what is short and rare.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "sluice/base/bytes.h"

namespace sluice {

class Crc32c {
 public:
  constexpr void add(Bytes bytes) {
    for (const std::uint8_t byte : bytes) state_ = table[(state_ ^ byte) & 0xff] ^ (state_ >> 8);
  }
  // Of all that was added.
  constexpr std::uint32_t value() const { return ~state_; }

 private:
  // What each byte does to the remainder; the polynomial with its bits reversed.
  static constexpr std::array<std::uint32_t, 256> table = [] {
    std::array<std::uint32_t, 256> made{};
    for (std::uint32_t byte = 0; byte < made.size(); ++byte) {
      std::uint32_t rest = byte;
      for (int bit = 0; bit < 8; ++bit) {
        rest = (rest >> 1) ^ ((rest & 1) != 0 ? 0x82f63b78U : 0U);
      }
      made[byte] = rest;
    }
    return made;
  }();

  std::uint32_t state_ = ~std::uint32_t{0};
};

}  // namespace sluice
