// SPDX-License-Identifier: GPL-3.0-or-later
// AlgorithmIdentifier (RFC 5280 section 4.1.1.2), and which algorithms of signatures are believed.
#pragma once

#include <optional>

#include "sluice/base/bytes.h"
#include "sluice/x509/certificate_facts.h"

namespace sluice::x509 {

struct Algorithm {
  Bytes id;
  Bytes parameters;  // DER, empty: none
};

inline constexpr std::uint8_t id_ed25519[] = {0x2b, 0x65, 0x70};  // of keys and signatures
inline constexpr std::uint8_t der_null[] = {0x05, 0x00};

// The contents of the sequence.
std::optional<Algorithm> read_algorithm(Bytes content);

// Sets the kinds of signature and hash. SHA-1 and MD5 are believed of no certificate, as in Go 1.18
// and later.
void read_signature_algorithm(const Algorithm& algorithm, CertificateFacts& facts);

}  // namespace sluice::x509
