// SPDX-License-Identifier: GPL-3.0-or-later
// Host names as TLS carries them (RFC 6066 section 3): never an address.
#include "sluice/config/server_names.h"

#include <algorithm>

#include "sluice/base/ascii.h"

namespace sluice::config {

namespace {

// RFC 1035 section 2.3.4.
constexpr std::size_t name_bytes_max = 253;
constexpr std::size_t label_bytes_max = 63;

std::unexpected<Error> wrong(std::string_view remedy) {
  return fail(ErrorKind::invalid_argument, std::string(remedy));
}

bool is_label(std::string_view label) {
  return !label.empty() && label.size() <= label_bytes_max &&
         std::ranges::all_of(
             label, [](char c) { return ascii::is_alphanumeric(c) || c == '-' || c == '_'; });
}

bool all_labels(std::string_view name) {
  while (true) {
    const std::size_t dot = name.find('.');
    if (!is_label(name.substr(0, dot))) return false;
    if (dot == std::string_view::npos) return true;
    name.remove_prefix(dot + 1);
  }
}

// No name of a host ends with a label of digits (RFC 1123 section 2.1): it is an IPv4 address.
bool ends_like_an_address(std::string_view name) {
  return std::ranges::all_of(name.substr(name.rfind('.') + 1), ascii::is_digit);
}

}  // namespace

Result<std::string> parse_server_name(std::string_view text) {
  std::string_view name = text;
  const bool wildcard = name.starts_with("*.");
  if (wildcard) name.remove_prefix(2);
  if (name.ends_with('.')) name.remove_suffix(1);
  if (name.contains('*')) return wrong("a * stands before the first dot, and for all up to it");
  const bool address = name.contains(':') || (!name.empty() && ends_like_an_address(name));
  if (address) {
    return wrong("clients that dial an address send no name: default=true says who takes those");
  }
  const std::size_t size = name.size() + (wildcard ? 2 : 0);
  if (size > name_bytes_max || !all_labels(name)) {
    return wrong("write a host name like api.example.org, or *.example.org");
  }
  return (wildcard ? "*." : "") + ascii::lowered(name);
}

}  // namespace sluice::config
