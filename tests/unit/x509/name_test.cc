// SPDX-License-Identifier: GPL-3.0-or-later
// Names attribute by attribute. What strings they may hold is in kubernetes/identity_test.cc, too.
#include "sluice/x509/name.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "certificate_builder.h"

namespace sluice::x509 {
namespace {

using namespace test;

std::vector<std::string> values_of(const std::string& der) {
  std::vector<std::string> values;
  const bool good = walk_name(as_bytes(der), [&](const NameAttribute& attribute) {
    values.emplace_back(as_text(attribute.value));
  });
  if (!good) return {"malformed"};
  return values;
}

using Values = std::vector<std::string>;

TEST(NameTest, FlattensSetsInTheOrderOfTheirEncoding) {
  EXPECT_EQ(values_of(sequence("")), Values());
  EXPECT_EQ(values_of(sequence(der(0x31, ""))), Values());
  EXPECT_EQ(values_of(sequence(der(0x31, attribute({unit, "b"}) + attribute({common_name, "a"})) +
                               name({{unit, "c"}}))),
            (Values{"b", "a", "c"}));
}

TEST(NameTest, TellsTypesAndStringTypes) {
  const std::string der = sequence(name({{organization, "x", ia5}}));
  std::size_t seen = 0;
  EXPECT_TRUE(walk_name(as_bytes(der), [&](const NameAttribute& attribute) {
    EXPECT_EQ(as_text(attribute.type), organization);
    EXPECT_EQ(attribute.string_tag, tag::ia5_string);
    ++seen;
  }));
  EXPECT_EQ(seen, 1U);
}

TEST(NameTest, IsExactlyOneSequenceOfSetsOfPairs) {
  const std::string good = name({{common_name, "a"}});
  EXPECT_TRUE(is_name(as_bytes(sequence(good))));
  for (const std::string& bad :
       {""s, good, der(0x31, good), sequence(good) + '\0', sequence(good + "\x05\x00"s),
        sequence(attribute({common_name, "a"})), sequence(der(0x31, "\x05\x00"s)),
        sequence(der(0x31, sequence(der(0x06, common_name)))),
        sequence(der(0x31, sequence(der(0x06, "\x55\x80\x03"s) + der(utf8_string, "a")))),
        sequence(der(0x31, sequence(der(0x06, common_name) + der(utf8_string, "a") +
                                    der(utf8_string, "b")))),
        sequence(name({{common_name, "a", universal}}))}) {
    EXPECT_FALSE(is_name(as_bytes(bad)));
  }
}

TEST(NameTest, StringsHoldWhatTheirTypesAllow) {
  const auto is = [](std::uint8_t string_tag, const std::string& text) {
    return is_name_string(string_tag, as_bytes(text));
  };
  EXPECT_TRUE(is(tag::utf8_string, "Zo\xc3\xab"));
  EXPECT_FALSE(is(tag::utf8_string, "\xc3"));
  EXPECT_TRUE(is(tag::printable_string, "A z0 '()+,-./:=?*&"));
  for (const char* text : {"a_b", "a@b", "a;b", "\xc3\xab"}) {
    EXPECT_FALSE(is(tag::printable_string, text)) << text;
  }
  EXPECT_FALSE(is(tag::printable_string, "\0"s));
  EXPECT_TRUE(is(tag::ia5_string, "\0\x7f"s));
  EXPECT_FALSE(is(tag::ia5_string, "\x80"));
  EXPECT_TRUE(is(tag::numeric_string, "0 9"));
  EXPECT_FALSE(is(tag::numeric_string, "1a"));
  EXPECT_TRUE(is(tag::t61_string, "\xff\x00"s));
  EXPECT_TRUE(is(tag::bmp_string, "\0a\0\0"s));
  for (const std::string& text : {"abc"s, "\xd8\x00"s, "\xdf\xff"s, "\xff\xfe"s, "\xfd\xd0"s}) {
    EXPECT_FALSE(is(tag::bmp_string, text));
  }
  EXPECT_FALSE(is(tag::octet_string, "a"));
}

}  // namespace
}  // namespace sluice::x509
