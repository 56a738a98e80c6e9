// SPDX-License-Identifier: GPL-3.0-or-later
// The public key of a certificate, and what is held against keys of its kind and size.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "sluice/base/bytes.h"

namespace sluice::x509 {

enum class KeyKind : std::uint8_t { other, rsa, p224, p256, p384, p521, ed25519 };

struct PublicKey {
  KeyKind kind = KeyKind::other;
  std::size_t bits = 0;  // of an RSA modulus
  Bytes info;            // DER of the SubjectPublicKeyInfo
  Bytes modulus;         // RSA: without leading zeros
  Bytes exponent;        // RSA: likewise
  Bytes point;           // elliptic curves: uncompressed; Ed25519: the 32 bytes
};

// crypto/rsa and crypto/tls of Go.
constexpr std::size_t rsa_bits_min = 1024;
constexpr std::size_t rsa_bits_max = 8192;

// Whether its exponent is one that anybody has: of 31 bits (crypto/internal/fips140/rsa
// checkPublicKey). What a longer one has signed may take as long to check as its owner likes.
bool has_usual_exponent(const PublicKey& rsa);

// Why nothing that this key signs is believed by anybody, or empty: what crypto/rsa of Go 1.24 and
// later refuses to verify with.
std::string_view weakness(const PublicKey& key);
// Why nothing that it signs is believed here, though an API server might; or empty.
std::string_view limitation(const PublicKey& key);

}  // namespace sluice::x509
