// SPDX-License-Identifier: GPL-3.0-or-later
// Decimal integers as query parameters and label selectors carry them: an optional sign, then
// digits, all of them, within 64 bits (Go's strconv.ParseInt with base 10).
#pragma once

#include <charconv>
#include <cstdint>
#include <optional>
#include <string_view>

namespace sluice::kubernetes {

inline std::optional<std::int64_t> parse_int64(std::string_view text) {
  if (text.starts_with('+')) {
    text.remove_prefix(1);
    if (text.starts_with('-')) return std::nullopt;
  }
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, 10);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

}  // namespace sluice::kubernetes
