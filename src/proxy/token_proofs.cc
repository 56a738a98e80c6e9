// SPDX-License-Identifier: GPL-3.0-or-later
// Proven tokens by keyed hash.
#include "token_proofs.h"

#include <bit>
#include <cstring>

namespace sluice::proxy {
namespace {

struct Sip {
  std::uint64_t v0, v1, v2, v3;

  void round() {
    v0 += v1;
    v1 = std::rotl(v1, 13) ^ v0;
    v0 = std::rotl(v0, 32);
    v2 += v3;
    v3 = std::rotl(v3, 16) ^ v2;
    v0 += v3;
    v3 = std::rotl(v3, 21) ^ v0;
    v2 += v1;
    v1 = std::rotl(v1, 17) ^ v2;
    v2 = std::rotl(v2, 32);
  }

  void word(std::uint64_t m) {
    v3 ^= m;
    round();
    round();
    v0 ^= m;
  }

  std::uint64_t finish() {
    for (int i = 0; i < 4; ++i) round();
    return v0 ^ v1 ^ v2 ^ v3;
  }
};

}  // namespace

TokenProofs::TokenProofs(std::size_t max, std::array<std::uint64_t, 2> key)
    : max_(max), key_(key) {}

TokenHash TokenProofs::hash(std::string_view token) const {
  Sip sip{key_[0] ^ 0x736f6d6570736575U, key_[1] ^ 0x646f72616e646f6dU ^ 0xeeU,
          key_[0] ^ 0x6c7967656e657261U, key_[1] ^ 0x7465646279746573U};
  std::size_t i = 0;
  for (; i + 8 <= token.size(); i += 8) {
    std::uint64_t m;
    std::memcpy(&m, token.data() + i, 8);
    sip.word(m);
  }
  std::uint64_t last = static_cast<std::uint64_t>(token.size()) << 56;
  for (std::size_t j = 0; i + j < token.size(); ++j) {
    last |= static_cast<std::uint64_t>(static_cast<std::uint8_t>(token[i + j])) << (8 * j);
  }
  sip.word(last);
  sip.v2 ^= 0xee;
  const std::uint64_t low = sip.finish();
  sip.v1 ^= 0xdd;
  return {sip.finish(), low};
}

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
  if (index_.size() >= max_) {
    const Proofs& most = by_client_.find(by_number_.rbegin()->second)->second;
    erase(index_.find(most.back().hash));
  }
  Proofs& proofs = resize(client, 1);
  index_.emplace(hash, proofs.insert(proofs.begin(), {hash, client}));
  return true;
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
