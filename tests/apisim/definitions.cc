// SPDX-License-Identifier: GPL-3.0-or-later
// Groups of custom resources.
#include "definitions.h"

namespace sluice::apisim {

void Definitions::define(std::string_view group, std::size_t server, Clock::time_point now) {
  const std::lock_guard lock(mutex_);
  groups_.insert_or_assign(std::string(group), Definition{server, now});
}

bool Definitions::served(std::string_view group, std::size_t server, Duration lag,
                         Clock::time_point now) const {
  const std::lock_guard lock(mutex_);
  const auto found = groups_.find(group);
  if (found == groups_.end()) return false;
  return found->second.server == server || now - found->second.at >= lag;
}

}  // namespace sluice::apisim
