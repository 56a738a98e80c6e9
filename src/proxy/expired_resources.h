// SPDX-License-Identifier: GPL-3.0-or-later
// Resources of which a watch that goes on gets 410 wherever it is sent: those without a watch
// cache, and those of some aggregated APIs. For a while nothing is held back for them, as far as
// they are known to be gone: up to the newest version for which an old backend has said so, or one
// client with an old version would end the holding for everybody. Pure.
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
  static constexpr std::size_t version_bytes_max = 64;
  static constexpr Duration kept = std::chrono::minutes(5);

  // An old backend has answered 410, too. `version`: the resourceVersion that was asked for. One
  // that is no number (they are opaque by contract) stands for itself alone. Whether nothing was
  // known of that resource.
  bool learn(std::string_view api_group, std::string_view resource, std::string_view version,
             Instant now);
  bool contains(std::string_view api_group, std::string_view resource, std::string_view version,
                Instant now) const;

 private:
  struct Entry {
    std::string name;
    std::string version;
    Instant until;
  };
  std::vector<Entry> entries_;  // in the order in which they were learned
};

}  // namespace sluice::proxy
