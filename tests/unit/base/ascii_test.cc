// SPDX-License-Identifier: GPL-3.0-or-later
// Letters, digits, blanks and case, for each of the 256 bytes.
#include "sluice/base/ascii.h"

#include <gtest/gtest.h>

namespace sluice::ascii {
namespace {

template <class Predicate>
std::string all_that(Predicate predicate) {
  std::string bytes;
  for (int byte = 0; byte < 256; ++byte) {
    if (predicate(static_cast<char>(byte))) bytes += static_cast<char>(byte);
  }
  return bytes;
}

const std::string digits = "0123456789";
const std::string upper = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
const std::string lower = "abcdefghijklmnopqrstuvwxyz";

TEST(AsciiTest, KnowsEveryByteOfAKind) {
  EXPECT_EQ(all_that(is_digit), digits);
  EXPECT_EQ(all_that(is_upper), upper);
  EXPECT_EQ(all_that(is_lower), lower);
  EXPECT_EQ(all_that(is_letter), upper + lower);
  EXPECT_EQ(all_that(is_alphanumeric), digits + upper + lower);
  EXPECT_EQ(all_that(is_blank), "\t ");
  EXPECT_EQ(all_that(is_control).size(), 33U);
  EXPECT_EQ(all_that(is_control).back(), '\x7f');
}

TEST(AsciiTest, TokensAreOfTheBytesOfRfc9110) {
  EXPECT_EQ(all_that(is_token_byte), "!#$%&'*+-." + digits + upper + "^_`" + lower + "|~");
  EXPECT_TRUE(is_token("X-Remote-User"));
  EXPECT_FALSE(is_token(""));
  EXPECT_FALSE(is_token("x y"));
  EXPECT_FALSE(is_token("x:"));
}

TEST(AsciiTest, LowersLettersAndNothingElse) {
  for (int byte = 0; byte < 256; ++byte) {
    const char c = static_cast<char>(byte);
    const std::size_t place = upper.find(c);
    EXPECT_EQ(to_lower(c), place == std::string::npos ? c : lower[place]) << byte;
  }
  EXPECT_EQ(lowered("X-Remote-\xc3\x84"), "x-remote-\xc3\x84");
}

TEST(AsciiTest, ComparesWithoutCase) {
  EXPECT_TRUE(equal_ignoring_case("Bearer ", "bEARER "));
  EXPECT_TRUE(equal_ignoring_case("", ""));
  EXPECT_FALSE(equal_ignoring_case("bearer", "bearer "));
  EXPECT_FALSE(equal_ignoring_case("@", "`"));        // 0x20 apart, and no letters
  EXPECT_FALSE(equal_ignoring_case("\xc4", "\xe4"));  // of Latin-1
}

TEST(AsciiTest, TrimsBlanksAtBothEnds) {
  EXPECT_EQ(trim(" \ta b\t "), "a b");
  EXPECT_EQ(trim(" \t "), "");
  EXPECT_EQ(trim(""), "");
  EXPECT_EQ(trim("\na\n"), "\na\n");
}

TEST(AsciiTest, ReadsAndWritesHexadecimalDigits) {
  EXPECT_EQ(all_that([](char c) { return hex_value(c) >= 0; }), digits + "ABCDEFabcdef");
  std::string text;
  for (int byte = 0; byte < 256; ++byte) {
    text.clear();
    append_hex(text, static_cast<std::uint8_t>(byte));
    ASSERT_EQ(text.size(), 2U);
    EXPECT_EQ(hex_value(text[0]) * 16 + hex_value(text[1]), byte);
    EXPECT_EQ(lowered(text), text);
  }
}

}  // namespace
}  // namespace sluice::ascii
