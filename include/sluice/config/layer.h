// SPDX-License-Identifier: GPL-3.0-or-later
// What one source says (a command line, a file), and how such layers lie over each other.
#pragma once

#include <cstddef>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "sluice/config/config.h"

namespace sluice::config {

// Where a value stands.
struct Place {
  std::string file;      // empty: on the command line
  std::size_t line = 0;  // from 1

  friend bool operator==(const Place&, const Place&) = default;
};

// By flag. A list has a place for each of its elements, an empty one has one.
using Places = std::map<std::string_view, std::vector<Place>>;

struct Layer {
  Config config;
  Places places;  // of what is said; everything else in `config` is a default
};

}  // namespace sluice::config
