// SPDX-License-Identifier: GPL-3.0-or-later
// Who holds how many places.
#include "place_shares.h"

#include <algorithm>

#include "sluice/base/check.h"

namespace sluice::backend {

void PlaceShares::give_back(std::uint64_t client) {
  const auto found = held_.find(client);
  CHECK(found != held_.end());
  CHECK_GT(taken_, std::size_t{0});
  --taken_;
  if (--found->second == 0) held_.erase(found);
}

std::size_t PlaceShares::held(std::uint64_t client) const {
  const auto found = held_.find(client);
  return found == held_.end() ? 0 : found->second;
}

std::size_t PlaceShares::share(std::size_t free) const {
  return std::max<std::size_t>(1, (taken_ + free) / (holders() + 1));
}

bool PlaceShares::may_take(std::uint64_t client, std::size_t free) const {
  return free > (taken_ + free) / 10 || held(client) < share(free);
}

std::optional<std::uint64_t> PlaceShares::largest(std::size_t free) const {
  const auto most =
      std::ranges::max_element(held_, {}, [](const auto& held) { return held.second; });
  if (most == held_.end() || most->second <= share(free)) return std::nullopt;
  return most->first;
}

}  // namespace sluice::backend
