// SPDX-License-Identifier: GPL-3.0-or-later
// The form is that of the table in which they are looked up; here is what is said about others.
#include "sluice/config/server_names.h"

#include <algorithm>
#include <utility>

#include "sluice/base/ascii.h"
#include "sluice/tls/server_names.h"

namespace sluice::config {

namespace {

std::unexpected<Error> wrong(std::string_view remedy) {
  return fail(ErrorKind::invalid_argument, std::string(remedy));
}

// No name of a host ends with a label of digits (RFC 1123 section 2.1): it is an IPv4 address.
bool ends_like_an_address(std::string_view name) {
  return std::ranges::all_of(name.substr(name.rfind('.') + 1), ascii::is_digit);
}

}  // namespace

Result<std::string> parse_server_name(std::string_view text) {
  if (auto name = tls::normal_server_name(text)) return std::move(*name);
  if (text.ends_with('.')) text.remove_suffix(1);
  if (text.contains('*')) return wrong("a * stands before the first dot, and for all up to it");
  if (text.contains(':') || (!text.empty() && ends_like_an_address(text))) {
    return wrong("clients that dial an address send no name: default=true says who takes those");
  }
  return wrong("write a host name like api.example.org, or *.example.org");
}

}  // namespace sluice::config
