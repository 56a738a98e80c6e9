// SPDX-License-Identifier: GPL-3.0-or-later
// UTF-8 as RFC 3629 section 4 has it: no overlong forms, no surrogates, nothing above U+10FFFF.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace sluice::utf8 {

struct Character {
  std::uint32_t point = 0;  // the byte itself when it is not valid
  std::size_t bytes = 1;
  bool valid = true;
};

constexpr bool is_continuation(char c) { return (static_cast<std::uint8_t>(c) & 0xc0) == 0x80; }

// The first character of a text that is not empty. What begins none counts as one byte.
constexpr Character decode(std::string_view text) {
  const auto lead = static_cast<std::uint8_t>(text[0]);
  if (lead < 0x80) return {lead, 1, true};
  const Character invalid{lead, 1, false};
  std::size_t bytes = 0;
  std::uint32_t point = 0;
  std::uint32_t least = 0;
  if ((lead & 0xe0) == 0xc0) {
    bytes = 2, point = lead & 0x1fU, least = 0x80;
  } else if ((lead & 0xf0) == 0xe0) {
    bytes = 3, point = lead & 0x0fU, least = 0x800;
  } else if ((lead & 0xf8) == 0xf0) {
    bytes = 4, point = lead & 0x07U, least = 0x10000;
  }
  if (bytes == 0 || text.size() < bytes) return invalid;
  for (std::size_t i = 1; i < bytes; ++i) {
    if (!is_continuation(text[i])) return invalid;
    point = (point << 6) | (static_cast<std::uint8_t>(text[i]) & 0x3fU);
  }
  const bool surrogate = point >= 0xd800 && point <= 0xdfff;
  if (point < least || point > 0x10ffff || surrogate) return invalid;
  return {point, bytes, true};
}

constexpr bool is_valid(std::string_view text) {
  while (!text.empty()) {
    const Character first = decode(text);
    if (!first.valid) return false;
    text.remove_prefix(first.bytes);
  }
  return true;
}

// Controls (C0, DEL, C1), line and paragraph separators, and what turns the direction of text: what
// makes a line show something else than it holds.
constexpr bool deceives(std::uint32_t point) {
  if (point < 0x7f) return point < 0x20;
  return point <= 0x9f || (point >= 0x2028 && point <= 0x202e) ||
         (point >= 0x2066 && point <= 0x2069) || point == 0xfeff;
}

inline constexpr std::string_view replacement = "\xef\xbf\xbd";  // U+FFFD

}  // namespace sluice::utf8
