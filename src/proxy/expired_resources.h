// SPDX-License-Identifier: GPL-3.0-or-later
// Resources of which a watch that goes on gets 410 wherever it is sent: those without a watch
// cache, and those of some aggregated APIs. For a while nothing is held back for them. Pure.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "sluice/base/time.h"

namespace sluice::proxy {

class ExpiredResources {
 public:
  static constexpr std::size_t entries_max = 64;  // the one that was learned first goes
  static constexpr std::size_t name_bytes_max = 512;
  static constexpr Duration kept = std::chrono::minutes(5);

  // An old backend has answered 410, too.
  void learn(std::string_view api_group, std::string_view resource, Instant now);
  bool contains(std::string_view api_group, std::string_view resource, Instant now) const;

 private:
  struct Entry {
    std::string name;
    Instant until;
  };
  std::vector<Entry> entries_;  // in the order in which they were learned
};

}  // namespace sluice::proxy
