// SPDX-License-Identifier: GPL-3.0-or-later
// How text that peers chose is written into JSON (RFC 8259 section 7): valid UTF-8, whatever it
// was, and nothing that its reader could take for more than text.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace sluice::json {

// Who sees the text as it is written.
enum class Reader : std::uint8_t {
  page,      // perhaps a browser: `<`, `>` and `&` are escaped, as API servers do
  terminal,  // a person who looks at lines: what deceives (base/utf8.h) is escaped
};

// Appends it with its quotes. Each byte that is no UTF-8 becomes U+FFFD.
void append_string(std::string& out, std::string_view text, Reader reader);

}  // namespace sluice::json
