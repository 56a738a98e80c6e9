// SPDX-License-Identifier: GPL-3.0-or-later
// A copy is a copy, wherever both lie and whatever copies; nothing beside it is touched.
#include "sluice/base/copy.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <vector>

#include "sluice/base/random.h"

namespace sluice {
namespace {

using copy_detail::CopyFunction;

void expect_copies(CopyFunction copy, std::size_t size, std::size_t to, std::size_t from) {
  constexpr std::uint8_t untouched = 0xee;
  static Random random(1);
  std::vector<std::uint8_t> source(size + from);
  for (auto& byte : source) byte = static_cast<std::uint8_t>(random.next());
  std::vector<std::uint8_t> target(size + to + 64, untouched);
  copy(target.data() + to, source.data() + from, size);
  const auto begin = target.begin() + static_cast<std::ptrdiff_t>(to);
  const auto end = begin + static_cast<std::ptrdiff_t>(size);
  EXPECT_TRUE(std::equal(begin, end, source.begin() + static_cast<std::ptrdiff_t>(from)))
      << size << " bytes to " << to << " from " << from;
  const auto is_untouched = [](std::uint8_t byte) { return byte == untouched; };
  EXPECT_TRUE(std::all_of(target.begin(), begin, is_untouched)) << size;
  EXPECT_TRUE(std::all_of(end, target.end(), is_untouched)) << size;
}

TEST(CopyTest, CopiesInVectorsToAnyAddress) {
  for (std::size_t to = 0; to < 65; ++to) {
    for (const std::size_t from : {0U, 1U, 5U, 9U, 16U, 63U}) {
      for (const std::size_t size : {1024U, 1025U, 1087U, 1088U, 1089U, 4080U, 16'406U}) {
        expect_copies(copy_detail::copy_in_vectors, size, to, from);
      }
    }
  }
}

TEST(CopyTest, CopiesWhateverTheSize) {
  for (std::size_t size = 0; size < 2200; ++size) {
    expect_copies([](void* to, const void* from, std::size_t n) { copy_bytes(to, from, n); }, size,
                  size % 17, size % 13);
  }
}

}  // namespace
}  // namespace sluice
