// SPDX-License-Identifier: GPL-3.0-or-later
// Remembers which bearer tokens have earned an answer other than 401 here, as keyed hashes in a
// bounded list of the least recently used. A token that is not in it travels on suspect
// connections. The list holds no token.
#pragma once

#include <array>
#include <cstdint>
#include <list>
#include <string_view>
#include <unordered_map>

#include "sluice/proxy/last_token.h"

namespace sluice::proxy {

class TokenProofs {
 public:
  TokenProofs(std::size_t max, std::array<std::uint64_t, 2> key);

  TokenHash hash(std::string_view token) const;
  bool proven(const TokenHash& hash);  // moves it to the front
  void add(const TokenHash& hash);
  void drop(const TokenHash& hash);
  std::size_t size() const { return index_.size(); }

 private:
  struct Hasher {
    std::size_t operator()(const TokenHash& h) const { return h.low; }
  };
  std::size_t max_;
  std::array<std::uint64_t, 2> key_;
  std::list<TokenHash> recent_;  // most recently used first
  std::unordered_map<TokenHash, std::list<TokenHash>::iterator, Hasher> index_;
};

}  // namespace sluice::proxy
