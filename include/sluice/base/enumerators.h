// SPDX-License-Identifier: GPL-3.0-or-later
// The enumerators of an enumeration, by the names that its to_string gives them. They count from 0
// without a gap, the switch in to_string names each of them, or the compiler complains, and what
// comes after the last is "unknown". So to_string is the only list: metrics, logs and flags that
// speak of an enumeration go through it.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "sluice/base/check.h"

namespace sluice {

// In their order. No name may be empty, "unknown", or given twice (CHECKed).
template <class Enum>
std::vector<std::string> enumerator_names() {
  std::vector<std::string> names;
  for (;;) {
    const std::string_view name =
        to_string(static_cast<Enum>(static_cast<std::underlying_type_t<Enum>>(names.size())));
    if (name == "unknown") break;
    CHECK(!name.empty());
    for (const std::string& other : names) CHECK(other != name);
    names.emplace_back(name);
  }
  CHECK(!names.empty());
  return names;
}

// Nothing when no enumerator is called so.
template <class Enum>
std::optional<Enum> enumerator_named(std::string_view name) {
  const std::vector<std::string> names = enumerator_names<Enum>();
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (names[i] == name) return static_cast<Enum>(i);
  }
  return std::nullopt;
}

}  // namespace sluice
