// SPDX-License-Identifier: GPL-3.0-or-later
// Where an API server is, as operators write it.
#include "sluice/discovery/target.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

namespace sluice::discovery {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::SizeIs;

Place address(std::string_view text) { return *io::Address::parse(text); }
std::string error_of(std::string_view text) {
  const auto place = parse_place(text);
  return place ? "" : place.error().context;
}

TEST(TargetTest, AnAddressIsAnAddressAndWhatHasLettersIsAName) {
  EXPECT_EQ(parse_place("10.0.0.1:6443").value(), address("10.0.0.1:6443"));
  EXPECT_EQ(parse_place("[fd00::1]:6443").value(), address("[fd00::1]:6443"));
  EXPECT_EQ(parse_place("api.example:6443").value(), Place(Target{"api.example", 6443}));
  EXPECT_EQ(parse_place("api:1").value(), Place(Target{"api", 1}));
}

TEST(TargetTest, TheSameNameIsTheSameHoweverItIsWritten) {
  EXPECT_EQ(parse_place("API.Example.:6443").value(), Place(Target{"api.example", 6443}));
  EXPECT_EQ((Target{"api.example", 6443}.to_string()), "api.example:6443");
}

TEST(TargetTest, WhatIsNoNameIsRefusedWithASentence) {
  const std::vector<std::pair<std::string, std::string>> table = {
      {"api.example", "has no port"},
      {"api.example:", "an impossible port"},
      {"api.example:0", "an impossible port"},
      {"api.example:65536", "an impossible port"},
      {"api.example:+1", "an impossible port"},
      {"api.example:1x", "an impossible port"},
      {"api..example:1", "no host name"},
      {"-api.example:1", "no host name"},
      {"api-.example:1", "no host name"},
      {".api:1", "no host name"},
      {"a b:1", "no host name"},
      {"https://api.example:1", "is no address"},
      {"api.example.1:1", "no host name"},
      {"api/x:1", "no host name"},
      {std::string(64, 'a') + ":1", "no host name"},
      {std::string("a\0b:1", 5), "no host name"},
  };
  for (const auto& [text, sentence] : table) {
    EXPECT_THAT(error_of(text), HasSubstr(sentence)) << text;
  }
  std::string longest;
  for (int i = 0; i < 63; ++i) longest += "abc.";
  EXPECT_EQ(error_of(longest + "a:1"), "");  // 253 bytes
  EXPECT_THAT(error_of(longest + "ab:1"), HasSubstr("no host name"));
}

TEST(TargetTest, AddressesThatAreNobodysOwnAreRefused) {
  for (const char* text : {"0.0.0.0:6443", "0.1.2.3:6443", "224.0.0.1:6443", "255.255.255.255:6443",
                           "[::]:6443", "[ff02::1]:6443", "10.0.0.1:0"}) {
    EXPECT_THAT(error_of(text), HasSubstr("can reach nothing")) << text;
  }
}

TEST(PlacesFileTest, TakesAPlaceOnEachLineWithoutCommentsAndBlanks) {
  const auto places = parse_places(
      "# api servers\r\n\r\n  10.0.0.1:6443\t# the first\r\napi.example:6443#and a "
      "name\n[fd00::1]:1");
  ASSERT_TRUE(places.has_value()) << places.error().context;
  EXPECT_THAT(*places, ElementsAre(address("10.0.0.1:6443"), Place(Target{"api.example", 6443}),
                                   address("[fd00::1]:1")));
}

TEST(PlacesFileTest, OneWrongLineMakesTheWholeFileWrongAndIsNamed) {
  const std::vector<std::pair<std::string, std::string>> table = {
      {"", "names no API server"},
      {"# nobody\n\n", "names no API server"},
      {"10.0.0.1:6443\n10.0.0.2\n", "line 2: "},
      {"10.0.0.1:6443\n\n10.0.0.1:6443\n", "line 3: \"10.0.0.1:6443\" is there twice"},
      {"api.example:1\nAPI.example.:1", "line 2: "},
      {"10.0.0.1:6443 10.0.0.2:6443", "line 1: "},
      {std::string("10.0.0.1:6443\0", 14), "line 1: "},
      {std::string(file_bytes_max + 1, '\n'), "more than 65536 bytes"},
  };
  for (const auto& [text, sentence] : table) {
    const auto places = parse_places(text);
    ASSERT_FALSE(places.has_value()) << text;
    EXPECT_THAT(places.error().context, HasSubstr(sentence));
  }
}

TEST(PlacesFileTest, TakesAsManyAsAClusterMayHaveAndNoMore) {
  std::string text;
  for (std::size_t i = 0; i < places_max; ++i) text += "10.0.0.1:" + std::to_string(i + 1) + "\n";
  EXPECT_THAT(parse_places(text).value(), SizeIs(places_max));
  const auto more = parse_places(text + "10.0.0.2:1\n");
  ASSERT_FALSE(more.has_value());
  EXPECT_THAT(more.error().context, HasSubstr("line 65: at most 64"));
}

}  // namespace
}  // namespace sluice::discovery
