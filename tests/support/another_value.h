// SPDX-License-Identifier: GPL-3.0-or-later
// Values for tests that go through all flags.
#pragma once

#include <optional>
#include <string>

#include "sluice/config/flags.h"

namespace sluice::test {

// One that the flag takes and does not have by itself; nothing for texts and lists, which could be
// anything.
inline std::optional<std::string> another_value(const config::FlagRow& row) {
  using Kind = config::FlagRow::Kind;
  switch (row.kind) {
    case Kind::toggle: return row.initial == "true" ? "false" : "true";
    case Kind::choice:
      if (row.name == "default") return "unknown";
      if (row.name == "tls-min-version") return "1.3";
      if (row.name == "mode") return "l4";
      return row.name == "balance" ? "random" : "debug";
    case Kind::duration:
    case Kind::count:
    case Kind::size: return row.initial == row.low ? row.high : row.low;
    case Kind::list:
    case Kind::text: break;
  }
  return std::nullopt;
}

}  // namespace sluice::test
