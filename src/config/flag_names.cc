// SPDX-License-Identifier: GPL-3.0-or-later
// From names to rows of the table, also from names that are not quite right.
#include <algorithm>
#include <utility>

#include "flag.h"

namespace sluice::config {

namespace {

// Steps from one word to another: letters added, left out, exchanged.
std::size_t distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = std::exchange(row[0], i);
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t exchanged = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, exchanged});
    }
  }
  return row[b.size()];
}

}  // namespace

const Flag* find_flag(std::string_view name) {
  for (const Group& group : flag_table()) {
    for (const Flag& flag : group.flags) {
      if (flag.name == name) return &flag;
    }
  }
  return nullptr;
}

std::string nearest_flag(std::string_view name) {
  if (name.size() > 64) return "";
  std::string_view best;
  std::size_t best_distance = 4;
  for (const Group& group : flag_table()) {
    for (const Flag& flag : group.flags) {
      const std::size_t steps = distance(name, flag.name);
      if (steps < best_distance) {
        best = flag.name;
        best_distance = steps;
      }
    }
  }
  return std::string(best);
}

}  // namespace sluice::config
