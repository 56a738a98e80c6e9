// SPDX-License-Identifier: GPL-3.0-or-later
// The facts of an X.509 certificate (RFC 5280) that the proxy decides by itself: validity,
// authority, usage, subject. Read by a strict DER walker in which every length is checked; nothing
// goes through C strings. It says nothing about signatures or trust, which the TLS library
// verifies.
#pragma once

#include <cstdint>

#include "sluice/base/bytes.h"
#include "sluice/base/error.h"

namespace sluice::kubernetes {

enum class ExtendedKeyUsage : std::uint8_t {
  absent,       // no such extension: any usage
  client_auth,  // it names client authentication or any usage
  other,        // it names only other usages
};

struct CertificateFacts {
  int version = 1;
  std::int64_t not_before = 0;  // seconds since 1970, inclusive
  std::int64_t not_after = 0;   // seconds since 1970, inclusive
  bool is_authority = false;    // BasicConstraints with CA:TRUE
  bool has_unknown_critical_extension = false;
  ExtendedKeyUsage extended_key_usage = ExtendedKeyUsage::absent;
  Bytes subject;  // the contents of the subject Name, a view into the certificate
};

// Fails for everything that is not one whole certificate with well-formed names: what the API
// server's parser refuses in the parts above is refused here, too. The strings of both names are
// checked against their types; strings of unknown types are refused.
Result<CertificateFacts> read_certificate(Bytes der);

}  // namespace sluice::kubernetes
