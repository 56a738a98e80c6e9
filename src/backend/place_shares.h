// SPDX-License-Identifier: GPL-3.0-or-later
// Who holds how many of something of which there is not enough for everybody. Pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <unordered_map>

namespace sluice::backend {

class PlaceShares {
 public:
  void take(std::uint64_t client) {
    ++held_[client];
    ++taken_;
  }
  void give_back(std::uint64_t client);

  std::size_t taken() const { return taken_; }
  std::size_t holders() const { return held_.size(); }
  std::size_t held(std::uint64_t client) const;

  // Who holds most, if that is more than an equal share for all holders and a newcomer.
  std::optional<std::uint64_t> largest(std::size_t free) const;
  // Whether `client` may have one more of `free`. The last tenth is for those who hold less than
  // they would if all of it were shared equally, one newcomer included.
  bool may_take(std::uint64_t client, std::size_t free) const;

 private:
  std::size_t share(std::size_t free) const;

  std::unordered_map<std::uint64_t, std::size_t> held_;
  std::size_t taken_ = 0;
};

}  // namespace sluice::backend
