// SPDX-License-Identifier: GPL-3.0-or-later
// The table of server names.
#include "sluice/tls/server_names.h"

#include <algorithm>
#include <array>
#include <functional>

#include "sluice/base/ascii.h"
#include "sluice/base/check.h"

namespace sluice::tls {
namespace {

constexpr std::size_t name_bytes_max = 253;  // RFC 1035 section 2.3.4, without the root's
constexpr std::size_t label_bytes_max = 63;
constexpr std::string_view any_label = "*.";

bool is_label(std::string_view label) {
  return !label.empty() && label.size() <= label_bytes_max &&
         std::ranges::all_of(
             label, [](char c) { return ascii::is_alphanumeric(c) || c == '-' || c == '_'; });
}

bool is_host_name(std::string_view name) {
  if (name.empty() || name.size() > name_bytes_max) return false;
  bool last_is_number = false;
  for (std::size_t begin = 0; begin <= name.size();) {
    const std::size_t end = std::min(name.find('.', begin), name.size());
    const std::string_view label = name.substr(begin, end - begin);
    if (!is_label(label)) return false;
    last_is_number = std::ranges::all_of(label, ascii::is_digit);
    begin = end + 1;
  }
  // As in an IPv4 address; no top-level domain is a number (RFC 3696 section 2).
  return !last_is_number;
}

}  // namespace

std::optional<std::string> normal_server_name(std::string_view text) {
  if (text.ends_with('.')) text.remove_suffix(1);
  const bool wildcard = text.starts_with(any_label);
  if (text.size() > name_bytes_max) return std::nullopt;
  if (!is_host_name(wildcard ? text.substr(any_label.size()) : text)) return std::nullopt;
  return ascii::lowered(text);
}

std::optional<ServerNames::Owner> ServerNames::claim(std::string_view name, Owner owner) {
  DCHECK(normal_server_name(name) == name);
  const auto [place, added] = owners_.try_emplace(std::string(name), owner);
  if (added || place->second == owner) return std::nullopt;
  const Owner before = place->second;
  place->second = nobody;
  return before;
}

std::optional<ServerNames::Owner> ServerNames::find(std::string_view name) const {
  if (name.ends_with('.')) name.remove_suffix(1);
  if (owners_.empty() || name.empty() || name.size() > name_bytes_max || name[0] == '*') {
    return std::nullopt;
  }
  std::array<char, name_bytes_max> lower;
  std::ranges::transform(name, lower.begin(), ascii::to_lower);
  const std::string_view exact(lower.data(), name.size());
  if (const auto found = owners_.find(exact); found != owners_.end()) return found->second;
  const std::size_t dot = exact.find('.');
  if (dot == 0 || dot == std::string_view::npos) return std::nullopt;
  // In the place of the label: `*` before the dot.
  lower[dot - 1] = '*';
  const auto found = owners_.find(exact.substr(dot - 1));
  if (found == owners_.end()) return std::nullopt;
  return found->second;
}

}  // namespace sluice::tls
