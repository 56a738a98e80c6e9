// SPDX-License-Identifier: GPL-3.0-or-later
// The token of a client's connection, so that it is hashed once.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>

namespace sluice::proxy {

class TokenProofs;

// SipHash-2-4 with 128 bits of output, keyed for the life of the process.
struct TokenHash {
  std::uint64_t high = 0;
  std::uint64_t low = 0;
  friend bool operator==(const TokenHash&, const TokenHash&) = default;
};

// What is known of a token has changed, in one worker's eyes; the others are told.
struct TokenChange {
  TokenHash token;
  std::uint64_t network = 0;  // of its client, see ClientKeys
  bool proven = false;        // else it is not any more
};

// The token that a connection sent last, and its hash: clients send the same one with every
// request, and to compare a kilobyte costs a tenth of hashing it. The only place that keeps a
// token; it is overwritten by the next one, and wiped with the connection.
class LastToken {
 public:
  LastToken() = default;
  ~LastToken() { wipe(); }
  LastToken(const LastToken&) = delete;
  LastToken& operator=(const LastToken&) = delete;

  TokenHash hash(std::string_view token, const TokenProofs& proofs);

  // A token was proven on this connection: another one is most likely its renewal.
  void note_proof() { proven_ = true; }
  bool has_proven() const { return proven_; }

 private:
  // Longer ones are hashed each time.
  static constexpr std::size_t bytes_max = 4096;

  void wipe();
  void remember(std::string_view token);

  std::unique_ptr<char[]> bytes_;
  std::size_t capacity_ = 0;
  std::size_t size_ = 0;
  TokenHash hash_;
  bool proven_ = false;
};

}  // namespace sluice::proxy
