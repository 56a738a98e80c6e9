// SPDX-License-Identifier: GPL-3.0-or-later
// A user's value inside of a sentence: in quotation marks, bounded, without anything that would
// disturb a terminal.
#pragma once

#include <string>
#include <string_view>

#include "sluice/base/ascii.h"

namespace sluice {

// Whole and without quotation marks, for what comes from where the user is at home: names of files.
inline std::string printable(std::string_view text) {
  std::string out(text);
  for (char& c : out) {
    if (ascii::is_control(c)) c = '?';
  }
  return out;
}

inline std::string quote(std::string_view text) {
  constexpr std::size_t shown_max = 100;
  std::string out = "\"";
  for (const char c : text.substr(0, shown_max)) {
    out += ascii::is_control(c) ? '?' : c;
  }
  out += text.size() > shown_max ? "...\"" : "\"";
  return out;
}

}  // namespace sluice
