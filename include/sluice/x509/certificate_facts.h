// SPDX-License-Identifier: GPL-3.0-or-later
// What we read out of a certificate (RFC 5280), strictly and without copying: everything that
// decides whether it is believed. What crypto/x509 of Go does not read is refused here, too; where
// we are stricter than it, docs/architecture.md says so. Peers' bytes come here. Nothing is said
// about signatures or trust, which are for tls/trust.
#pragma once

#include <cstdint>
#include <optional>

#include "sluice/base/bytes.h"
#include "sluice/base/error.h"
#include "sluice/base/time.h"
#include "sluice/x509/public_key.h"

namespace sluice::x509 {

enum class SignatureKind : std::uint8_t { other, rsa_pkcs1, rsa_pss, ecdsa, ed25519 };
enum class HashKind : std::uint8_t { none, sha256, sha384, sha512 };

struct CertificateFacts {
  Bytes whole;
  int version = 1;  // as people count: 1, 2, 3
  Bytes issuer;     // DER of the Name (name.h), as it stands in the certificate
  Bytes subject;
  WallTime not_before{};
  WallTime not_after{};
  PublicKey key;

  Bytes signed_part;
  SignatureKind signature_kind = SignatureKind::other;  // other: nobody believes it
  HashKind hash = HashKind::none;
  Bytes signature;

  bool basic_constraints = false;  // the extension is there
  bool ca = false;
  std::optional<std::uint64_t> path_length;

  bool key_usage = false;  // the extension is there and allows anything
  bool may_sign_certificates = false;

  bool extended_usage = false;  // the extension is there and names anything
  bool client_auth = false;     // or any
  bool server_auth = false;     // or any

  Bytes subject_key_id;
  Bytes authority_key_id;

  bool has_alternative_names = false;
  Bytes alternative_names;  // DER of the GeneralNames; empty without the extension
  bool has_name_constraints = false;
  Bytes permitted_names;  // contents of the GeneralSubtrees
  Bytes excluded_names;

  bool odd_names = false;  // alternative names or constraints of a form that is not read here
  bool unknown_critical = false;  // a critical extension that is not understood
  bool policy_rules = false;      // policy constraints or mappings, which are not followed here

  // No extended key usage means any.
  bool usable_for_client() const { return !extended_usage || client_auth; }
  bool usable_for_server() const { return !extended_usage || server_auth; }
};

// The views point into `der`, which must be exactly one certificate.
Result<CertificateFacts> read_certificate_facts(Bytes der);

// The key alone, of certificates too that are refused for something else: with it their holder
// proves to have it. Of kind `other` when it cannot be read.
PublicKey read_certificate_key(Bytes der);

}  // namespace sluice::x509
