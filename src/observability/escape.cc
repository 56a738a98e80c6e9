// SPDX-License-Identifier: GPL-3.0-or-later
// Four forms in which foreign text is written.
#include "sluice/observability/escape.h"

#include <fmt/format.h>

#include <iterator>

#include "sluice/base/ascii.h"
#include "sluice/base/json.h"
#include "sluice/base/utf8.h"

namespace sluice::observability {

namespace {

bool plain_word_character(char c) {
  return ascii::is_alphanumeric(c) ||
         std::string_view("_-./:@%+,*~[]()").find(c) != std::string_view::npos;
}

bool plain_word(std::string_view text) {
  if (text.empty()) return false;
  for (const char c : text) {
    if (!plain_word_character(c)) return false;
  }
  return true;
}

// Not in the middle of a character.
std::string_view cut(std::string_view text, std::size_t bytes_max) {
  if (text.size() <= bytes_max) return text;
  std::size_t end = bytes_max;
  for (int back = 0; back < 3 && end > 0; ++back) {
    if (!utf8::is_continuation(text[end])) break;
    --end;
  }
  return text.substr(0, end);
}

constexpr std::string_view ellipsis = "\u2026";

}  // namespace

void append_log_value(std::string& out, std::string_view text, std::size_t bytes_max) {
  const std::string_view kept = cut(text, bytes_max);
  const bool whole = kept.size() == text.size();
  if (whole && plain_word(kept)) {
    out += kept;
    return;
  }
  out += '"';
  for (std::size_t i = 0; i < kept.size();) {
    const utf8::Character unit = utf8::decode(kept.substr(i));
    if (!unit.valid) {
      fmt::format_to(std::back_inserter(out), "\\x{:02x}", unit.point);
    } else if (unit.point == '"' || unit.point == '\\') {
      out += '\\';
      out += kept[i];
    } else if (unit.point == '\n') {
      out += "\\n";
    } else if (unit.point == '\r') {
      out += "\\r";
    } else if (unit.point == '\t') {
      out += "\\t";
    } else if (utf8::deceives(unit.point)) {
      fmt::format_to(std::back_inserter(out), "\\u{:04x}", unit.point);
    } else {
      out += kept.substr(i, unit.bytes);
    }
    i += unit.bytes;
  }
  if (!whole) out += ellipsis;
  out += '"';
}

void append_json_string(std::string& out, std::string_view text, std::size_t bytes_max) {
  const std::string_view kept = cut(text, bytes_max);
  json::append_string(out, kept, json::Reader::terminal);
  if (kept.size() != text.size()) out.insert(out.size() - 1, ellipsis);
}

void append_label_value(std::string& out, std::string_view text) {
  for (std::size_t i = 0; i < text.size();) {
    const utf8::Character unit = utf8::decode(text.substr(i));
    if (!unit.valid) {
      out += utf8::replacement;
    } else if (unit.point == '\n') {
      out += "\\n";
    } else if (unit.point == '"' || unit.point == '\\') {
      out += '\\';
      out += text[i];
    } else {
      out += text.substr(i, unit.bytes);
    }
    i += unit.bytes;
  }
}

void append_help(std::string& out, std::string_view text) {
  for (const char c : text) {
    if (c == '\n') {
      out += "\\n";
    } else if (c == '\\') {
      out += "\\\\";
    } else {
      out += c;
    }
  }
}

}  // namespace sluice::observability
