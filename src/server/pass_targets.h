// SPDX-License-Identifier: GPL-3.0-or-later
// Where the connections of a cluster go that are passed on untouched: its targets, how many
// connections each has, and whether it refuses them. What all threads know of them.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "sluice/base/random.h"
#include "sluice/io/address.h"

namespace sluice::server {

// Thread: any.
struct PassTarget {
  explicit PassTarget(const io::Address& its_address)
      : address(its_address), name(its_address.to_string()) {}

  const io::Address address;
  const std::string name;
  // Of all workers, those that are being opened included.
  std::atomic<std::uint32_t> connections{0};
  // It could not be connected to when that was last tried. Whoever finds it so first tries again,
  // now and then, until it can.
  std::atomic<bool> refuses{false};
};

using PassTargets = std::vector<std::unique_ptr<PassTarget>>;
PassTargets make_targets(const std::vector<io::Address>& addresses);

// Not known to refuse, one of them at least.
bool any_may_be_reached(const PassTargets& targets);

struct TargetLoad {
  std::uint32_t connections = 0;
  bool refuses = false;
  bool tried = false;
};
// The one with the fewest connections, by chance where that is several: of those that do not
// refuse, else of those that do; never one that was tried already. Nothing: all were. Pure.
std::optional<std::size_t> choose_target(std::span<const TargetLoad> targets, Random& random);

}  // namespace sluice::server
