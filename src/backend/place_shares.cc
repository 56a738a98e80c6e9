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

bool PlaceShares::may_take(std::uint64_t client, std::size_t free) const {
  const std::size_t all = taken_ + free;
  if (free > all / 10) return true;
  return held(client) < std::max<std::size_t>(1, all / (holders() + 1));
}

}  // namespace sluice::backend
