// SPDX-License-Identifier: GPL-3.0-or-later
// UTF-8, by its borders and by everything that another encoder makes.
#include "sluice/base/utf8.h"

#include <gtest/gtest.h>

#include <string>

namespace sluice::utf8 {
namespace {

// RFC 3629 section 3, written down once more.
std::string encoded(std::uint32_t point) {
  const auto continuation = [&](int shift) {
    return static_cast<char>(0x80 | ((point >> shift) & 0x3f));
  };
  if (point < 0x80) return {static_cast<char>(point)};
  if (point < 0x800) return {static_cast<char>(0xc0 | (point >> 6)), continuation(0)};
  if (point < 0x10000) {
    return {static_cast<char>(0xe0 | (point >> 12)), continuation(6), continuation(0)};
  }
  return {static_cast<char>(0xf0 | (point >> 18)), continuation(12), continuation(6),
          continuation(0)};
}

bool is_surrogate(std::uint32_t point) { return point >= 0xd800 && point <= 0xdfff; }

TEST(Utf8Test, ReadsEveryCodePoint) {
  for (std::uint32_t point = 0; point <= 0x10ffff; ++point) {
    const std::string text = encoded(point);
    const Character first = decode(text + "x");
    if (is_surrogate(point)) {
      ASSERT_FALSE(first.valid) << point;
      continue;
    }
    ASSERT_TRUE(first.valid && first.point == point && first.bytes == text.size()) << point;
    ASSERT_FALSE(text.size() > 1 && is_valid(text.substr(0, text.size() - 1))) << point;
  }
}

// Every text of two bytes, and those of three and four that begin where something changes: as many
// are valid as there are code points.
TEST(Utf8Test, TakesNothingBesideTheCodePoints) {
  std::size_t of_two = 0;
  std::size_t of_three = 0;
  for (std::uint32_t bytes = 0; bytes < 0x1000000; ++bytes) {
    const char text[] = {static_cast<char>(bytes >> 16), static_cast<char>(bytes >> 8),
                         static_cast<char>(bytes)};
    const Character first = decode({text, sizeof text});
    if (first.valid && first.bytes == 3) ++of_three;
    if (first.valid && first.bytes == 2 && (bytes & 0xff) == 0) ++of_two;
  }
  EXPECT_EQ(of_two, 0x800U - 0x80);
  EXPECT_EQ(of_three, 0x10000U - 0x800 - 0x800);  // without surrogates
}

TEST(Utf8Test, RefusesOverlongFormsAndWhatLiesAbove) {
  for (const char* text :
       {"\xc0\x80", "\xc1\xbf", "\xe0\x80\x80", "\xe0\x9f\xbf", "\xf0\x80\x80\x80",
        "\xf0\x8f\xbf\xbf", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xf8\x88\x80\x80\x80", "\xff",
        "\xfe", "\x80", "\xbf", "a\x80"}) {
    EXPECT_FALSE(is_valid(text));
  }
  EXPECT_TRUE(is_valid("\xf4\x8f\xbf\xbf"));
  EXPECT_TRUE(is_valid(""));
  EXPECT_TRUE(is_valid(replacement));
}

TEST(Utf8Test, CountsWhatIsNoneAsOneByte) {
  const Character first = decode("\xe2\x82");
  EXPECT_FALSE(first.valid);
  EXPECT_EQ(first.bytes, 1U);
  EXPECT_EQ(first.point, 0xe2U);
}

TEST(Utf8Test, KnowsWhatDeceives) {
  std::size_t count = 0;
  for (std::uint32_t point = 0; point <= 0x10ffff; ++point) count += deceives(point) ? 1U : 0U;
  EXPECT_EQ(count, 32U + 33U + 7U + 4U + 1U);
  for (const std::uint32_t point :
       {0x0U, 0x1fU, 0x7fU, 0x85U, 0x9fU, 0x2028U, 0x202eU, 0x2066U, 0x2069U, 0xfeffU}) {
    EXPECT_TRUE(deceives(point)) << point;
  }
  for (const std::uint32_t point : {0x20U, 0x7eU, 0xa0U, 0x2027U, 0x202fU, 0x2065U, 0x206aU}) {
    EXPECT_FALSE(deceives(point)) << point;
  }
}

}  // namespace
}  // namespace sluice::utf8
