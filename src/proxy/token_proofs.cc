// SPDX-License-Identifier: GPL-3.0-or-later
// Proven tokens by keyed hash.
#include "token_proofs.h"

#include <utility>

#include "keyed_hash.h"

namespace sluice::proxy {

TokenProofs::TokenProofs(std::size_t max, HashKey key) : max_(max), key_(key) {}

TokenHash TokenProofs::hash(std::string_view token) const { return keyed_hash(key_, token); }

bool TokenProofs::proven(const TokenHash& hash) {
  const auto found = index_.find(hash);
  if (found == index_.end()) return false;
  Proofs& proofs = by_client_.find(found->second->client)->second;
  proofs.splice(proofs.begin(), proofs, found->second);
  return true;
}

bool TokenProofs::prove(const TokenHash& hash, std::uint64_t client) {
  if (const auto found = index_.find(hash); found != index_.end()) {
    if (doubted_ > 0 && std::exchange(found->second->doubted, false)) --doubted_;
    return false;
  }
  if (index_.size() >= max_) evict_one();
  Proofs& proofs = resize(client, 1);
  index_.emplace(hash, proofs.insert(proofs.begin(), {hash, client}));
  return true;
}

void TokenProofs::evict_one() {
  const Proofs& most = by_client_.find(by_number_.rbegin()->second)->second;
  erase(index_.find(most.back().hash));
}

void TokenProofs::resize(std::size_t max) {
  max_ = max;
  while (index_.size() > max_) evict_one();
}

bool TokenProofs::refuse(const TokenHash& hash) {
  const auto found = index_.find(hash);
  if (found == index_.end()) return false;
  if (found->second->doubted) {
    erase(found);
    return true;
  }
  found->second->doubted = true;
  ++doubted_;
  return false;
}

void TokenProofs::forget(const TokenHash& hash) {
  if (const auto found = index_.find(hash); found != index_.end()) erase(found);
}

std::vector<TokenChange> TokenProofs::all() const {
  std::vector<TokenChange> all;
  all.reserve(index_.size());
  for (const auto& [client, proofs] : by_client_) {
    for (auto proof = proofs.rbegin(); proof != proofs.rend(); ++proof) {
      all.push_back({proof->hash, client, true});
    }
  }
  return all;
}

void TokenProofs::erase(Index::iterator found) {
  const Proofs::iterator proof = found->second;
  const std::uint64_t client = proof->client;
  if (proof->doubted) --doubted_;
  index_.erase(found);
  Proofs& proofs = resize(client, -1);
  proofs.erase(proof);
  if (proofs.empty()) by_client_.erase(client);
}

TokenProofs::Proofs& TokenProofs::resize(std::uint64_t client, int by) {
  Proofs& proofs = by_client_[client];
  const std::size_t before = proofs.size();
  const std::size_t after = by > 0 ? before + 1 : before - 1;
  by_number_.erase({before, client});
  if (after > 0) by_number_.emplace(after, client);
  return proofs;
}

}  // namespace sluice::proxy
