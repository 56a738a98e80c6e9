// SPDX-License-Identifier: GPL-3.0-or-later
// The token of a client's connection.
#include "sluice/proxy/last_token.h"

#include <cstring>

#include "token_proofs.h"

namespace sluice::proxy {

void LastToken::wipe() {
  if (bytes_ != nullptr) explicit_bzero(bytes_.get(), capacity_);
  size_ = 0;
}

void LastToken::remember(std::string_view token) {
  wipe();
  if (token.size() > bytes_max) return;
  if (token.size() > capacity_) {
    bytes_ = std::make_unique_for_overwrite<char[]>(token.size());
    capacity_ = token.size();
  }
  std::memcpy(bytes_.get(), token.data(), token.size());
  size_ = token.size();
}

TokenHash LastToken::hash(std::string_view token, const TokenProofs& proofs) {
  if (!token.empty() && token == std::string_view(bytes_.get(), size_)) return hash_;
  hash_ = proofs.hash(token);
  remember(token);
  return hash_;
}

}  // namespace sluice::proxy
