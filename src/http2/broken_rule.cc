// SPDX-License-Identifier: GPL-3.0-or-later
// Which rule a field breaks.
#include "http2/broken_rule.h"

#include <algorithm>
#include <array>

#include "sluice/base/ascii.h"

namespace sluice::http2 {

namespace {

constexpr std::size_t name_bytes_shown = 64;

bool is_printable(char c) { return c > 0x20 && c < 0x7f && c != '"' && c != '\\'; }

std::string quoted(std::string_view name) {
  std::string text = "the field \"";
  for (const char c : name.substr(0, name_bytes_shown)) text += is_printable(c) ? c : '?';
  return text + '"';
}

}  // namespace

std::string broken_rule(std::string_view name) {
  constexpr std::array<std::string_view, 5> of_http1 = {
      "connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"};
  if (name.empty()) return "a field has no name (RFC 9110 section 5.1)";
  if (std::ranges::find(of_http1, name) != of_http1.end()) {
    return quoted(name) + " belongs to HTTP/1.1 and is not sent in HTTP/2 (RFC 9113 section 8.2.2)";
  }
  if (name == "te") return quoted(name) + " may only be \"trailers\" (RFC 9113 section 8.2.2)";
  if (name == "content-length") {
    return quoted(name) + " is not one decimal number (RFC 9110 section 8.6)";
  }
  if (name == "host") return quoted(name) + " is not one authority (RFC 9110 section 7.2)";
  if (name.starts_with(':')) {
    return quoted(name) +
           " is unknown, not valid, given twice, or out of its place (RFC 9113 section 8.3)";
  }
  if (std::ranges::any_of(name, ascii::is_upper)) {
    return quoted(name) + " is not in lower case (RFC 9113 section 8.2.1)";
  }
  if (!ascii::is_token(name)) {
    return quoted(name) + " has a byte in its name that no name may hold (RFC 9110 section 5.1)";
  }
  return quoted(name) + " has a byte in its value that no value may hold (RFC 9110 section 5.5)";
}

}  // namespace sluice::http2
