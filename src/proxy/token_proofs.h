// SPDX-License-Identifier: GPL-3.0-or-later
// Remembers which bearer tokens have earned an answer from behind authentication here, as keyed
// hashes. A token that is not known travels on suspect connections. No token is kept.
//
// The table is bounded. When it is full, a new one takes the place of the one least recently used
// of the client that has most: who makes tokens by the thousand evicts its own.
#pragma once

#include <cstdint>
#include <list>
#include <set>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "sluice/proxy/client_keys.h"
#include "sluice/proxy/last_token.h"

namespace sluice::proxy {

class TokenProofs {
 public:
  TokenProofs(std::size_t max, HashKey key);

  // The room that there is from now on.
  void resize(std::size_t max);

  TokenHash hash(std::string_view token) const;
  // Counts as a use of it.
  bool proven(const TokenHash& hash);
  // An answer to `client` (see ClientKeys) from behind authentication. True: it was not known.
  bool prove(const TokenHash& hash, std::uint64_t client);
  // An answer of 401. The second in a row takes the proof away: a server whose authenticator hangs
  // refuses good tokens, too, and must not make everybody a suspect at once. True: this was it.
  bool refuse(const TokenHash& hash);
  void forget(const TokenHash& hash);
  // All, those of a client last used last: in this order prove() makes the same table of them.
  std::vector<TokenChange> all() const;
  // Whether an answer can change anything that is known of a proven token.
  bool any_doubted() const { return doubted_ > 0; }
  std::size_t size() const { return index_.size(); }

 private:
  struct Proof {
    TokenHash hash;
    std::uint64_t client = 0;
    bool doubted = false;
  };
  using Proofs = std::list<Proof>;  // most recently used first
  struct Hasher {
    std::size_t operator()(const TokenHash& h) const { return h.low; }
  };
  using Index = std::unordered_map<TokenHash, Proofs::iterator, Hasher>;

  void erase(Index::iterator found);
  void evict_one();
  // Changes how many a client has by one; keeps the order by number.
  Proofs& resize(std::uint64_t client, int by);

  std::size_t max_;
  HashKey key_;
  std::unordered_map<std::uint64_t, Proofs> by_client_;        // none is empty
  std::set<std::pair<std::size_t, std::uint64_t>> by_number_;  // how many, whose
  Index index_;
  std::size_t doubted_ = 0;
};

}  // namespace sluice::proxy
