// SPDX-License-Identifier: GPL-3.0-or-later
// Object identifiers and the string types of distinguished names.
#include "name.h"

#include <algorithm>
#include <string_view>

#include "ascii.h"
#include "utf8.h"

namespace sluice::kubernetes {
namespace {

// PrintableString of X.680 section 41.4, plus `*` and `&`, which real certificates have in it.
bool is_printable(std::uint8_t byte) {
  const char c = static_cast<char>(byte);
  return is_alphanumeric(c) || std::string_view(" '()+,-./:=?*&").find(c) != std::string_view::npos;
}

// UCS-2, without surrogates and noncharacters.
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

bool is_object_identifier(Bytes contents) {
  if (contents.empty()) return false;
  std::uint32_t component = 0;
  bool begins = true;
  for (const std::uint8_t byte : contents) {
    if (begins && byte == 0x80) return false;   // padded, X.690 section 8.19.2
    if (component >= (1U << 24)) return false;  // would exceed 31 bits
    component = (component << 7) | (byte & 0x7fU);
    begins = (byte & 0x80) == 0;
    if (begins) component = 0;
  }
  return begins;
}

bool is_name_string(DerTag string_type, Bytes value) {
  switch (string_type) {
    case DerTag::utf8_string: return is_utf8(as_text(value));
    case DerTag::printable_string: return std::all_of(value.begin(), value.end(), is_printable);
    case DerTag::ia5_string:
      return std::all_of(value.begin(), value.end(), [](std::uint8_t byte) { return byte < 0x80; });
    case DerTag::numeric_string:
      return std::all_of(value.begin(), value.end(), [](std::uint8_t byte) {
        return byte == ' ' || is_digit(static_cast<char>(byte));
      });
    case DerTag::t61_string: return true;
    case DerTag::bmp_string: return is_bmp_string(value);
    default: return false;
  }
}

}  // namespace sluice::kubernetes
