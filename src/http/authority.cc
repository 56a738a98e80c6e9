// SPDX-License-Identifier: GPL-3.0-or-later
// Authorities.
#include "sluice/http/authority.h"

#include <algorithm>

#include "sluice/base/ascii.h"

namespace sluice::http {

bool is_authority(std::string_view text) {
  return !text.empty() && std::ranges::all_of(text, [](char c) {
    return ascii::is_alphanumeric(c) ||
           std::string_view("-._~:[]%").find(c) != std::string_view::npos;
  });
}

std::string_view host_of(std::string_view authority) {
  const std::size_t colon = authority.rfind(':');
  const std::size_t bracket = authority.rfind(']');
  if (colon == std::string_view::npos) return authority;
  // The colons of an IPv6 address are no port's.
  if (bracket != std::string_view::npos && colon < bracket) return authority;
  return authority.substr(0, colon);
}

bool same_authority(std::string_view a, std::string_view b, std::string_view usual_port) {
  const auto without_port = [usual_port](std::string_view authority) {
    const std::size_t colon = authority.rfind(':');
    if (colon == std::string_view::npos) return authority;
    const std::string_view port = authority.substr(colon + 1);
    return port.empty() || port == usual_port ? authority.substr(0, colon) : authority;
  };
  return ascii::equal_ignoring_case(without_port(a), without_port(b));
}

}  // namespace sluice::http
