// SPDX-License-Identifier: GPL-3.0-or-later
// JSON strings for pages and for terminals.
#include "sluice/base/json.h"

#include <gtest/gtest.h>

namespace sluice::json {
namespace {

std::string written(std::string_view text, Reader reader) {
  std::string out = "x";  // appends
  append_string(out, text, reader);
  return out.substr(1);
}

std::string for_page(std::string_view text) { return written(text, Reader::page); }
std::string for_terminal(std::string_view text) { return written(text, Reader::terminal); }

TEST(JsonTest, EscapesForBothWhatMustBeEscaped) {
  for (const Reader reader : {Reader::page, Reader::terminal}) {
    EXPECT_EQ(written("", reader), R"("")");
    EXPECT_EQ(written("plain", reader), R"("plain")");
    EXPECT_EQ(written("a\"b\\c", reader), R"("a\"b\\c")");
    EXPECT_EQ(written(std::string_view("\0\x1f", 2), reader), R"("\u0000\u001f")");
    EXPECT_EQ(written("\u00e9\u20ac\U0001f469", reader), "\"\u00e9\u20ac\U0001f469\"");
  }
}

TEST(JsonTest, EachByteThatIsNoUtf8IsReplaced) {
  for (const Reader reader : {Reader::page, Reader::terminal}) {
    EXPECT_EQ(written("\xff-\xc3", reader), R"("\ufffd-\ufffd")");
    EXPECT_EQ(written("\xed\xa0\x80", reader), R"("\ufffd\ufffd\ufffd")");
  }
}

TEST(JsonTest, APageGetsTheEscapesOfAnApiServer) {
  EXPECT_EQ(for_page("\n\r\t\b"), R"("\n\r\t\u0008")");
  EXPECT_EQ(for_page("<a href='x'>&"), R"("\u003ca href='x'\u003e\u0026")");
  EXPECT_EQ(for_page("\x7f\u0085\u2028\u202e"), "\"\x7f\u0085\u2028\u202e\"");
}

TEST(JsonTest, ATerminalSeesWhatWouldDeceive) {
  EXPECT_EQ(for_terminal("\n\r\t"), R"("\u000a\u000d\u0009")");
  EXPECT_EQ(for_terminal("<&>"), R"("<&>")");
  EXPECT_EQ(for_terminal("\x7f\u0085\u2028\u202e\ufeff"), R"("\u007f\u0085\u2028\u202e\ufeff")");
}

}  // namespace
}  // namespace sluice::json
