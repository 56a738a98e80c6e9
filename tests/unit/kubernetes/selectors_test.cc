// SPDX-License-Identifier: GPL-3.0-or-later
// Field selectors and label selectors, as the API server parses them.
#include "selectors.h"

#include <gtest/gtest.h>

#include <string>
#include <string_view>

namespace sluice::kubernetes {
namespace {

TEST(LabelSelectorTest, AcceptsWhatTheApiServerAccepts) {
  for (const std::string_view selector : {"",
                                          " ",
                                          "a",
                                          "!a",
                                          "! a",
                                          "a,b",
                                          "a=b",
                                          "a==b",
                                          "a!=b",
                                          "a=",
                                          "a=,b",
                                          "a in (b)",
                                          "a in(b,c)",
                                          "a in ()",
                                          "a in (,)",
                                          "a in (b,)",
                                          "a in (,b)",
                                          "a in (b,,c)",
                                          "a notin (b)",
                                          "in",
                                          "in in (in)",
                                          "a=in",
                                          "notin=notin",
                                          "a>1",
                                          "a < 007",
                                          "k8s.io/app=x",
                                          "a.b-c/D_e.f",
                                          "\ta\n=\rb ",
                                          "x in (foo,,baz),y,z notin ()"}) {
    EXPECT_TRUE(is_label_selector(selector)) << selector;
  }
  EXPECT_TRUE(is_label_selector(std::string(63, 'a')));
  EXPECT_TRUE(is_label_selector(std::string(253, 'a') + "/b"));
}

TEST(LabelSelectorTest, RefusesWhatTheApiServerRefuses) {
  for (const std::string_view selector :
       {",",         "a,",         ",a",        "a,,b",
        "!",         "!!a",        "!a=b",      "!a in (b)",
        "a b",       "a in",       "a in b",    "a in (",
        "a in (b",   "a in (b c)", "a in (b))", "a=b=c",
        "a===b",     "a=!b",       "a=(",       "=a",
        "(a)",       "a>",         "a>x",       "a<-5",
        "a>+7",      "a>1.5",      "a>=1",      "a<9223372036854775808",
        "-a",        "a-",         "a_",        ".a",
        "/a",        "a/",         "a/b/c",     "A.b/c",
        "a..b/c",    "-a/b",       "a-/b",      "a.-b/c",
        "a=-b",      "a=b-",       "a in (-b)", "a in (b!)",
        "a\xc3\xa9", "a=\xff"}) {
    EXPECT_FALSE(is_label_selector(selector)) << selector;
  }
  EXPECT_FALSE(is_label_selector(std::string(64, 'a')));
  EXPECT_FALSE(is_label_selector("a=" + std::string(64, 'a')));
  EXPECT_FALSE(is_label_selector(std::string(254, 'a') + "/b"));
}

TEST(LabelSelectorTest, EndsAtANulLikeTheApiServersScanner) {
  EXPECT_TRUE(is_label_selector(std::string_view("\0,,,", 4)));
  EXPECT_TRUE(is_label_selector(std::string_view("a\0,b", 4)));
  EXPECT_TRUE(is_label_selector(std::string_view("a=\0b", 4)));
  EXPECT_TRUE(is_label_selector(std::string_view("a\0\0,,", 5)));
  EXPECT_FALSE(is_label_selector(std::string_view("a,\0b,", 5)));
}

TEST(FieldSelectorTest, FindsTheFirstNameOfTheSortedTerms) {
  EXPECT_EQ(parse_field_selector("metadata.name=b,metadata.name=a").name, "a");
  EXPECT_EQ(parse_field_selector("x=y").name, std::nullopt);
  EXPECT_EQ(parse_field_selector(" metadata.name=a").name, std::nullopt);
  EXPECT_EQ(parse_field_selector("metadata.name=a\\,b,x=y").name, "a\\,b");
}

TEST(FieldSelectorTest, KnowsInvalidOnes) {
  for (const std::string_view selector :
       {"a", "a=b,c", "a=b\\c", "a=b\\", "a=b=c", "a=b!=c", "\\"}) {
    EXPECT_FALSE(parse_field_selector(selector).valid) << selector;
  }
  for (const std::string_view selector :
       {"", ",", "a=b", "a==b", "a!=b", "=", "a=", "!=", "a=b\\\\", "a=!", "a!b=c"}) {
    EXPECT_TRUE(parse_field_selector(selector).valid) << selector;
  }
}

TEST(FieldSelectorTest, UnescapesValues) {
  const auto unescape = [](std::string_view value) {
    std::string out(3 * value.size(), '\0');
    return std::string(unescape_field_value(value, out.data()));
  };
  EXPECT_EQ(unescape("plain"), "plain");
  EXPECT_EQ(unescape("a\\,b\\=c\\\\d"), "a,b=c\\d");
  EXPECT_EQ(unescape("\\\\\\,"), "\\,");
  EXPECT_EQ(unescape("\xff\\,\xc3\xa9"), "\xef\xbf\xbd,\xc3\xa9");
}

}  // namespace
}  // namespace sluice::kubernetes
