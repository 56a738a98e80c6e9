// SPDX-License-Identifier: GPL-3.0-or-later
// The string types of names (crypto/x509 parseASN1String).
#include "sluice/x509/name.h"

#include <algorithm>
#include <string_view>

#include "sluice/base/ascii.h"
#include "sluice/base/utf8.h"

namespace sluice::x509 {
namespace {

// PrintableString of X.680 section 41.4, plus `*` and `&`, which real certificates have in it.
bool is_printable(char c) {
  return ascii::is_alphanumeric(c) || std::string_view(" '()+,-./:=?*&").contains(c);
}

// UCS-2, without surrogates and noncharacters; a zero at the end is overlooked.
bool is_bmp_string(Bytes value) {
  if (value.size() % 2 != 0) return false;
  if (value.size() >= 2 && value[value.size() - 1] == 0 && value[value.size() - 2] == 0) {
    value = value.first(value.size() - 2);
  }
  for (std::size_t i = 0; i < value.size(); i += 2) {
    const unsigned point = value[i] * 256U + value[i + 1];
    if (point >= 0xfffe || (point >= 0xfdd0 && point <= 0xfdef) ||
        (point >= 0xd800 && point <= 0xdfff)) {
      return false;
    }
  }
  return true;
}

}  // namespace

bool is_name_string(std::uint8_t string_tag, Bytes value) {
  const std::string_view text = as_text(value);
  switch (string_tag) {
    case tag::utf8_string: return utf8::is_valid(text);
    case tag::printable_string: return std::ranges::all_of(text, is_printable);
    case tag::ia5_string:
      return std::ranges::all_of(value, [](std::uint8_t byte) { return byte < 0x80; });
    case tag::numeric_string:
      return std::ranges::all_of(text, [](char c) { return c == ' ' || ascii::is_digit(c); });
    case tag::t61_string: return true;
    case tag::bmp_string: return is_bmp_string(value);
    default: return false;
  }
}

bool is_name(Bytes name) {
  return walk_name(name, [](const NameAttribute&) {});
}

}  // namespace sluice::x509
