// SPDX-License-Identifier: GPL-3.0-or-later
// The checksum against published values.
#include "sluice/base/crc32c.h"

#include <gtest/gtest.h>

#include <array>
#include <cstdint>
#include <numeric>
#include <string_view>

namespace sluice {
namespace {

std::uint32_t crc(Bytes bytes) {
  Crc32c crc;
  crc.add(bytes);
  return crc.value();
}

// RFC 3720 appendix B.4 prints the bytes as they are sent, the lowest first.
TEST(Crc32cTest, GivesTheValuesOfRfc3720) {
  std::array<std::uint8_t, 32> bytes{};
  EXPECT_EQ(crc(bytes), 0x8a9136aaU);
  bytes.fill(0xff);
  EXPECT_EQ(crc(bytes), 0x62a8ab43U);
  std::iota(bytes.begin(), bytes.end(), std::uint8_t{0});
  EXPECT_EQ(crc(bytes), 0x46dd794eU);
  std::iota(bytes.rbegin(), bytes.rend(), std::uint8_t{0});
  EXPECT_EQ(crc(bytes), 0x113fdb5cU);
}

TEST(Crc32cTest, PiecesGiveWhatTheWholeGives) {
  constexpr std::string_view text = "123456789";
  for (std::size_t cut = 0; cut <= text.size(); ++cut) {
    Crc32c crc;
    crc.add(as_bytes(text.substr(0, cut)));
    crc.add(as_bytes(text.substr(cut)));
    EXPECT_EQ(crc.value(), 0xe3069283U) << cut;
  }
}

}  // namespace
}  // namespace sluice
