// SPDX-License-Identifier: GPL-3.0-or-later
// Names of clusters: their one form, and what is none.
#include "sluice/config/server_names.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <string_view>

namespace sluice::config {
namespace {

using testing::HasSubstr;

TEST(ServerNamesTest, HaveOneForm) {
  for (const auto& [text, form] : std::initializer_list<std::pair<std::string_view, std::string>>{
           {"api.example.org", "api.example.org"},
           {"API.Example.ORG", "api.example.org"},
           {"api.example.org.", "api.example.org"},
           {"*.Example.org", "*.example.org"},
           {"*.local", "*.local"},
           {"kubernetes", "kubernetes"},
           {"a_b.c-d.1x", "a_b.c-d.1x"},
           {"1.2.3.org", "1.2.3.org"},
       }) {
    const auto name = parse_server_name(text);
    ASSERT_TRUE(name.has_value()) << text << ": " << name.error().context;
    EXPECT_EQ(*name, form);
    EXPECT_EQ(parse_server_name(*name).value(), form);
  }
}

TEST(ServerNamesTest, OfAnAddressIsNone) {
  for (const std::string_view text : {"10.0.0.1", "fd00::1", "[fd00::1]", "10.0.0.1.", "1"}) {
    const auto name = parse_server_name(text);
    ASSERT_FALSE(name.has_value()) << text;
    EXPECT_THAT(name.error().context, HasSubstr("default=true"));
  }
}

TEST(ServerNamesTest, AWildcardIsOneLabelBeforeAName) {
  for (const std::string_view text :
       {"*", "*.", "*.*.org", "a*.org", "*a.org", "api.*.org", "**.org", "*org"}) {
    EXPECT_FALSE(parse_server_name(text).has_value()) << text;
  }
}

TEST(ServerNamesTest, RefusesWhatNoClientCanSend) {
  const std::string label(63, 'a');
  std::string longest = label + "." + label + "." + label + "." + std::string(61, 'a');
  EXPECT_EQ(longest.size(), 253U);
  EXPECT_TRUE(parse_server_name(longest).has_value());
  EXPECT_FALSE(parse_server_name("*." + longest).has_value());
  EXPECT_FALSE(parse_server_name(longest + "a").has_value());
  EXPECT_TRUE(parse_server_name(label + ".org").has_value());
  EXPECT_FALSE(parse_server_name(label + "a.org").has_value());
  for (const std::string_view text : {"", ".", "..", ".org", "a..org", "a org", "a/b", "a\x1b.org",
                                      "b\xc3\xbc"
                                      "cher.example",
                                      "https://a.org", "a.org:6443"}) {
    EXPECT_FALSE(parse_server_name(text).has_value()) << text;
  }
}

}  // namespace
}  // namespace sluice::config
