// SPDX-License-Identifier: GPL-3.0-or-later
// JSON strings: what must not stand in them becomes an escape, the rest is copied in one piece.
#include "sluice/base/json.h"

#include <cstddef>

#include "sluice/base/ascii.h"
#include "sluice/base/utf8.h"

namespace sluice::json {
namespace {

bool stands_as_it_is(const utf8::Character& character, Reader reader) {
  const std::uint32_t point = character.point;
  if (!character.valid || point < 0x20 || point == '"' || point == '\\') return false;
  if (reader == Reader::page) return point != '<' && point != '>' && point != '&';
  return !utf8::deceives(point);
}

// What is escaped lies below U+10000.
void append_escape(std::string& out, std::uint32_t point, Reader reader) {
  if (point == '"' || point == '\\') {
    out += '\\';
    out += static_cast<char>(point);
  } else if (reader == Reader::page && point == '\n') {
    out += "\\n";
  } else if (reader == Reader::page && point == '\r') {
    out += "\\r";
  } else if (reader == Reader::page && point == '\t') {
    out += "\\t";
  } else {
    out += "\\u";
    ascii::append_hex(out, static_cast<std::uint8_t>(point >> 8));
    ascii::append_hex(out, static_cast<std::uint8_t>(point));
  }
}

}  // namespace

void append_string(std::string& out, std::string_view text, Reader reader) {
  out += '"';
  std::size_t plain = 0;  // begin of what can be copied as it is
  for (std::size_t at = 0; at < text.size();) {
    const utf8::Character character = utf8::decode(text.substr(at));
    if (!stands_as_it_is(character, reader)) {
      out.append(text, plain, at - plain);
      append_escape(out, character.valid ? character.point : 0xfffd, reader);
      plain = at + character.bytes;
    }
    at += character.bytes;
  }
  out.append(text, plain);
  out += '"';
}

}  // namespace sluice::json
