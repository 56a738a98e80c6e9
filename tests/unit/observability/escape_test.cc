// SPDX-License-Identifier: GPL-3.0-or-later
// Text from outside cannot leave the place that it is written to.
#include "sluice/observability/escape.h"

#include <gtest/gtest.h>

#include <string>

namespace sluice::observability {
namespace {

std::string log_value(std::string_view text, std::size_t max = 100) {
  std::string out;
  append_log_value(out, text, max);
  return out;
}

std::string json(std::string_view text, std::size_t max = 100) {
  std::string out;
  append_json_string(out, text, max);
  return out;
}

std::string label(std::string_view text) {
  std::string out;
  append_label_value(out, text);
  return out;
}

TEST(EscapeTest, LeavesAPlainWordUnquoted) {
  EXPECT_EQ(log_value("127.0.0.1:6443"), "127.0.0.1:6443");
  EXPECT_EQ(log_value("system:node/a-b_c@d"), "system:node/a-b_c@d");
}

TEST(EscapeTest, QuotesWhatIsNotOneWord) {
  EXPECT_EQ(log_value(""), "\"\"");
  EXPECT_EQ(log_value("two words"), "\"two words\"");
  EXPECT_EQ(log_value("a=b"), "\"a=b\"");
  EXPECT_EQ(log_value("say \"hi\" \\ now"), R"("say \"hi\" \\ now")");
  EXPECT_EQ(log_value("gr\u00fc\u00dfe"), "\"gr\u00fc\u00dfe\"");
}

TEST(EscapeTest, NoByteEndsALogLineOrAQuotedValue) {
  for (int byte = 0; byte < 256; ++byte) {
    const std::string text = std::string("x") + static_cast<char>(byte) + "y";
    const std::string out = log_value(text);
    for (const char c : out) {
      EXPECT_GE(static_cast<unsigned char>(c), 0x20) << byte;
      EXPECT_NE(static_cast<unsigned char>(c), 0x7f) << byte;
    }
    // Unescaped quotes: none, or exactly the two that enclose the value.
    int quotes = 0;
    for (std::size_t i = 0; i < out.size(); ++i) {
      if (out[i] == '\\') {
        ++i;
      } else if (out[i] == '"') {
        ++quotes;
      }
    }
    EXPECT_TRUE(quotes == 0 || (quotes == 2 && out.front() == '"' && out.back() == '"')) << byte;
  }
}

TEST(EscapeTest, ShowsControlsAndInvalidUtf8) {
  EXPECT_EQ(log_value("a\r\nb\tc"), R"("a\r\nb\tc")");
  EXPECT_EQ(log_value(std::string_view("a\0b", 3)), R"("a\u0000b")");
  EXPECT_EQ(log_value("\x1b[31m"), R"("\u001b[31m")");
  EXPECT_EQ(log_value("\xff"), R"("\xff")");
  EXPECT_EQ(log_value("\xc0\xaf"), R"("\xc0\xaf")");          // overlong
  EXPECT_EQ(log_value("\xed\xa0\x80"), R"("\xed\xa0\x80")");  // surrogate
  EXPECT_EQ(log_value("\xe2\x82"), R"("\xe2\x82")");          // cut off
  EXPECT_EQ(log_value("\xc2\x85"), R"("\u0085")");            // next line
  EXPECT_EQ(log_value("\u2028\u202e"), R"("\u2028\u202e")");  // line separator, direction
}

TEST(EscapeTest, CutsLongTextBetweenCharacters) {
  EXPECT_EQ(log_value("abcdef", 3), "\"abc\u2026\"");
  EXPECT_EQ(log_value("ab\u20acde", 4), "\"ab\u2026\"");
  EXPECT_EQ(log_value("ab\u20acde", 5), "\"ab\u20ac\u2026\"");
  EXPECT_EQ(json("ab\u20acde", 4), "\"ab\u2026\"");
  EXPECT_EQ(log_value("abc", 3), "abc");
}

TEST(EscapeTest, WritesJsonStrings) {
  EXPECT_EQ(json("plain"), R"("plain")");
  EXPECT_EQ(json("a\"b\\c\n\x01z"), R"("a\"b\\c\u000a\u0001z")");
  EXPECT_EQ(json("\u00e9\xff\u20ac"), "\"\u00e9\\ufffd\u20ac\"");
  EXPECT_EQ(json("\u2028"), R"("\u2028")");
  EXPECT_EQ(json(""), "\"\"");
}

TEST(EscapeTest, WritesLabelValuesAsPrometheusReadsThem) {
  EXPECT_EQ(label("a\"b\\c\nd"), R"(a\"b\\c\nd)");
  EXPECT_EQ(label("\xff"), "\ufffd");
  std::string help;
  append_help(help, "one \"two\"\nback\\slash");
  EXPECT_EQ(help, R"(one "two"\nback\\slash)");
}

}  // namespace
}  // namespace sluice::observability
