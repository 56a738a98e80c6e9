// SPDX-License-Identifier: GPL-3.0-or-later
// One decoder of UTF-8, three ways to write what it finds.
#include "sluice/observability/escape.h"

#include <fmt/format.h>

#include <cstdint>
#include <iterator>

namespace sluice::observability {

namespace {

struct Unit {
  std::uint32_t point = 0;
  std::size_t bytes = 1;
  bool valid = true;
};

bool continuation(unsigned char c) { return (c & 0xc0) == 0x80; }

// The first code point of a non-empty text (RFC 3629: no overlong forms, no surrogates).
Unit decode(std::string_view text) {
  const auto at = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char lead = at(0);
  if (lead < 0x80) return {lead, 1, true};
  std::size_t bytes = 0;
  std::uint32_t point = 0;
  std::uint32_t least = 0;
  if ((lead & 0xe0) == 0xc0) {
    bytes = 2, point = lead & 0x1fu, least = 0x80;
  } else if ((lead & 0xf0) == 0xe0) {
    bytes = 3, point = lead & 0x0fu, least = 0x800;
  } else if ((lead & 0xf8) == 0xf0) {
    bytes = 4, point = lead & 0x07u, least = 0x10000;
  } else {
    return {lead, 1, false};
  }
  if (text.size() < bytes) return {lead, 1, false};
  for (std::size_t i = 1; i < bytes; ++i) {
    if (!continuation(at(i))) return {lead, 1, false};
    point = (point << 6) | (at(i) & 0x3fu);
  }
  const bool surrogate = point >= 0xd800 && point <= 0xdfff;
  if (point < least || point > 0x10ffff || surrogate) return {lead, 1, false};
  return {point, bytes, true};
}

// Controls (C0, DEL, C1), line and paragraph separators, and what turns the direction of text.
bool deceives(std::uint32_t point) {
  return point < 0x20 || (point >= 0x7f && point <= 0x9f) || (point >= 0x2028 && point <= 0x202e) ||
         (point >= 0x2066 && point <= 0x2069) || point == 0xfeff;
}

bool plain_word_character(char c) {
  if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9')) return true;
  return std::string_view("_-./:@%+,*~[]()").find(c) != std::string_view::npos;
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
    if (!continuation(static_cast<unsigned char>(text[end]))) break;
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
    const Unit unit = decode(kept.substr(i));
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
    } else if (deceives(unit.point)) {
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
  out += '"';
  std::size_t plain = 0;  // begin of what can be copied as it is
  const auto flush = [&](std::size_t end) { out.append(kept, plain, end - plain); };
  for (std::size_t i = 0; i < kept.size();) {
    const auto byte = static_cast<unsigned char>(kept[i]);
    if (byte >= 0x20 && byte < 0x7f && byte != '"' && byte != '\\') {
      ++i;
      continue;
    }
    const Unit unit = decode(kept.substr(i));
    if (unit.valid && unit.point >= 0x80 && !deceives(unit.point)) {
      i += unit.bytes;
      continue;
    }
    flush(i);
    if (!unit.valid) {
      out += "\\ufffd";
    } else if (unit.point == '"' || unit.point == '\\') {
      out += '\\';
      out += kept[i];
    } else {
      fmt::format_to(std::back_inserter(out), "\\u{:04x}", unit.point);
    }
    i += unit.bytes;
    plain = i;
  }
  flush(kept.size());
  if (kept.size() != text.size()) out += ellipsis;
  out += '"';
}

void append_label_value(std::string& out, std::string_view text) {
  for (std::size_t i = 0; i < text.size();) {
    const Unit unit = decode(text.substr(i));
    if (!unit.valid) {
      out += "\ufffd";
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
