// SPDX-License-Identifier: GPL-3.0-or-later
// What values of fields may be, for those who read them and those who write them.
#pragma once

#include <algorithm>
#include <cstddef>
#include <string_view>

#include "sluice/base/ascii.h"

namespace sluice::http1 {

// What RFC 9113 section 6.5.2 counts for each field beside its bytes.
inline constexpr std::size_t field_overhead = 32;
// A length that no signed number holds is none that a server behind us takes.
inline constexpr std::size_t length_digits_max = 18;

constexpr bool is_value(std::string_view text) {
  return std::ranges::none_of(text, [](char c) { return ascii::is_control(c) && c != '\t'; });
}

// Of a request: as everybody writes it.
constexpr bool is_length(std::string_view text) {
  return !text.empty() && text.size() <= length_digits_max &&
         std::ranges::all_of(text, ascii::is_digit) && (text.size() == 1 || text[0] != '0');
}

// Whether `is` holds for any member of a comma-separated list.
template <class F>
bool any_member(std::string_view list, F&& is) {
  for (;;) {
    const std::size_t comma = list.find(',');
    if (is(ascii::trim(list.substr(0, comma)))) return true;
    if (comma == std::string_view::npos) return false;
    list.remove_prefix(comma + 1);
  }
}

// Whether a word stands between commas and blanks.
constexpr bool has_word(std::string_view text, std::string_view word) {
  for (;;) {
    const std::size_t end = text.find_first_of(", \t");
    if (ascii::equal_ignoring_case(text.substr(0, end), word)) return true;
    if (end == std::string_view::npos) return false;
    text.remove_prefix(end + 1);
  }
}

// One protocol, as Upgrade names it: a name, and perhaps a version (RFC 9110 section 7.8).
constexpr bool is_protocol(std::string_view text) {
  const std::size_t slash = text.find('/');
  if (slash == std::string_view::npos) return ascii::is_token(text);
  return ascii::is_token(text.substr(0, slash)) && ascii::is_token(text.substr(slash + 1));
}

// HTTP/2 is agreed on by ALPN, and never by an upgrade.
constexpr bool is_h2c(std::string_view protocol) {
  return ascii::equal_ignoring_case(protocol.substr(0, 3), "h2c");
}

// Nobody may end a line or a field from within.
constexpr bool is_line(std::string_view text) {
  return text.find_first_of(std::string_view("\r\n\0", 3)) == std::string_view::npos;
}

}  // namespace sluice::http1
