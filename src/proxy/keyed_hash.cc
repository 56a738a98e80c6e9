// SPDX-License-Identifier: GPL-3.0-or-later
// The keyed hash.
#include "keyed_hash.h"

#include <bit>
#include <cstdint>
#include <cstring>

namespace sluice::proxy {
namespace {

struct Sip {
  std::uint64_t v0, v1, v2, v3;

  void round() {
    v0 += v1;
    v1 = std::rotl(v1, 13) ^ v0;
    v0 = std::rotl(v0, 32);
    v2 += v3;
    v3 = std::rotl(v3, 16) ^ v2;
    v0 += v3;
    v3 = std::rotl(v3, 21) ^ v0;
    v2 += v1;
    v1 = std::rotl(v1, 17) ^ v2;
    v2 = std::rotl(v2, 32);
  }

  void word(std::uint64_t m) {
    v3 ^= m;
    round();
    round();
    v0 ^= m;
  }

  std::uint64_t finish() {
    for (int i = 0; i < 4; ++i) round();
    return v0 ^ v1 ^ v2 ^ v3;
  }
};

}  // namespace

TokenHash keyed_hash(const HashKey& key, std::string_view text) {
  Sip sip{key[0] ^ 0x736f6d6570736575U, key[1] ^ 0x646f72616e646f6dU ^ 0xeeU,
          key[0] ^ 0x6c7967656e657261U, key[1] ^ 0x7465646279746573U};
  std::size_t i = 0;
  for (; i + 8 <= text.size(); i += 8) {
    std::uint64_t m;
    std::memcpy(&m, text.data() + i, 8);
    sip.word(m);
  }
  std::uint64_t last = static_cast<std::uint64_t>(text.size()) << 56;
  for (std::size_t j = 0; i + j < text.size(); ++j) {
    last |= static_cast<std::uint64_t>(static_cast<std::uint8_t>(text[i + j])) << (8 * j);
  }
  sip.word(last);
  sip.v2 ^= 0xee;
  const std::uint64_t low = sip.finish();
  sip.v1 ^= 0xdd;
  return {sip.finish(), low};
}

}  // namespace sluice::proxy
