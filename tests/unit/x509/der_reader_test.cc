// SPDX-License-Identifier: GPL-3.0-or-later
// One encoding of each value, and a failure that lasts.
#include "sluice/x509/der_reader.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "certificate_builder.h"

namespace sluice::x509 {
namespace {

using namespace test;

TEST(DerReaderTest, ReadsOneElementAfterTheOther) {
  const std::string first = der(0x04, "ab");
  const std::string bytes = first + der(0x30, std::string(200, 'x')) + der(0x05, "");
  DerReader reader(as_bytes(bytes));
  EXPECT_TRUE(reader.next_is(tag::octet_string));
  const Element element = reader.any();
  EXPECT_EQ(element.tag, tag::octet_string);
  EXPECT_EQ(as_text(element.content), "ab");
  EXPECT_EQ(as_text(element.whole), first);
  EXPECT_EQ(reader.optional(tag::octet_string).size(), 0U);  // absent
  EXPECT_EQ(reader.expect(tag::sequence).content.size(), 200U);
  EXPECT_FALSE(reader.done());
  reader.any();
  EXPECT_TRUE(reader.done());
}

TEST(DerReaderTest, AFailureLasts) {
  const std::string bytes = der(0x04, "a") + der(0x30, "");
  DerReader reader(as_bytes(bytes));
  EXPECT_EQ(reader.expect(tag::sequence).whole.size(), 0U);
  EXPECT_TRUE(reader.failed());
  EXPECT_TRUE(reader.at_end());
  EXPECT_FALSE(reader.done());
  EXPECT_FALSE(reader.next_is(tag::octet_string));
  EXPECT_EQ(reader.any().whole.size(), 0U);
}

TEST(DerReaderTest, TakesOnlyDefiniteShortestLengths) {
  const auto reads = [](const std::string& bytes) {
    DerReader reader(as_bytes(bytes));
    reader.any();
    return reader.done();
  };
  for (const std::size_t size : {0U, 1U, 127U, 128U, 255U, 256U, 65535U, 65536U, 1U << 24}) {
    EXPECT_TRUE(reads(der(0x04, std::string(size, 'x')))) << size;
  }
  EXPECT_FALSE(reads("\x04\x80\x00\x00"s));  // indefinite
  EXPECT_FALSE(reads("\x04\x81\x01x"s));     // fits one byte
  EXPECT_FALSE(reads("\x04\x82\x00\x80"s + std::string(128, 'x')));
  EXPECT_FALSE(reads("\x04\x85\x00\x00\x00\x00\x01x"s));  // five bytes of length
  EXPECT_FALSE(reads("\x04\x84\xff\xff\xff\xff"s));       // longer than what is there
  EXPECT_FALSE(reads("\x04\x02x"s));
  EXPECT_FALSE(reads("\x04"s));
  EXPECT_FALSE(reads(""));
  EXPECT_FALSE(reads("\x1f\x01x"s));  // a tag of several bytes
}

bool boolean(const std::string& content, bool& value) {
  const std::string bytes = der(0x01, content);
  DerReader reader(as_bytes(bytes));
  value = reader.boolean();
  return reader.done();
}

TEST(DerReaderTest, BooleansAreOfOneFormEach) {
  bool value = true;
  EXPECT_TRUE(boolean("\x00"s, value));
  EXPECT_FALSE(value);
  EXPECT_TRUE(boolean("\xff", value));
  EXPECT_TRUE(value);
  for (const std::string& other : {"\x01"s, "\x80"s, "\xfe"s, ""s, "\x00\x00"s}) {
    EXPECT_FALSE(boolean(other, value));
    EXPECT_FALSE(value);
  }
}

TEST(DerReaderTest, IntegersAreShortestAndNotNegative) {
  const auto integer = [](const std::string& content) {
    const std::string bytes = der(0x02, content);
    DerReader reader(as_bytes(bytes));
    const std::string digits(as_text(reader.unsigned_integer()));
    return reader.done() ? digits : "malformed";
  };
  EXPECT_EQ(integer("\x00"s), "\x00"s);
  EXPECT_EQ(integer("\x7f"s), "\x7f"s);
  EXPECT_EQ(integer("\x00\x80"s), "\x80"s);  // the zero keeps it positive
  for (const std::string& bad : {""s, "\x80"s, "\xff\x7f"s, "\x00\x7f"s, "\x00\x00"s}) {
    EXPECT_EQ(integer(bad), "malformed");
  }
}

TEST(DerReaderTest, BitStringsHaveNoBitsThatDoNotCount) {
  const auto bits = [](const std::string& content) -> int {
    const std::string bytes = der(0x03, content);
    DerReader reader(as_bytes(bytes));
    unsigned unused = 0;
    const std::size_t size = reader.bits(unused).size();
    return reader.done() ? static_cast<int>(size * 8 - unused) : -1;
  };
  EXPECT_EQ(bits("\x00"s), 0);
  EXPECT_EQ(bits("\x00k"s), 8);
  EXPECT_EQ(bits("\x07\x80"s), 1);
  for (const std::string& bad : {""s, "\x01"s, "\x08\x00"s, "\x07\x81"s}) EXPECT_EQ(bits(bad), -1);
}

TEST(DerReaderTest, ObjectIdentifiersHaveShortestComponentsOf31Bits) {
  const auto reads = [](const std::string& content) {
    const std::string bytes = der(0x06, content);
    DerReader reader(as_bytes(bytes));
    const Bytes id = reader.object_identifier();
    return reader.done() && as_text(id) == content;
  };
  EXPECT_TRUE(reads("\x55\x04\x03"s));
  EXPECT_TRUE(reads("\x2a\x87\xff\xff\xff\x7f"s));   // 2^31 - 1
  EXPECT_FALSE(reads("\x2a\x88\x80\x80\x80\x00"s));  // 2^31
  EXPECT_FALSE(reads("\x2a\x80\x03"s));
  EXPECT_FALSE(reads("\x2a\x83"s));
  EXPECT_FALSE(reads(""));
}

}  // namespace
}  // namespace sluice::x509
