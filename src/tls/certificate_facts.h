// SPDX-License-Identifier: GPL-3.0-or-later
// What we read out of a certificate ourselves (RFC 5280), strictly and without copying: dates,
// names and the extensions that decide what a certificate may be used for. It never replaces the
// check of the signature; it is the second opinion beside the library's parser. Peers' bytes come
// here.
#pragma once

#include <optional>
#include <string_view>

#include "sluice/base/bytes.h"
#include "sluice/base/error.h"
#include "sluice/base/time.h"

namespace sluice::tls {

struct CertificateFacts {
  int version = 1;  // as people count: 1, 2, 3
  Bytes issuer;     // DER of the Name, as it stands in the certificate
  Bytes subject;
  WallTime not_before{};
  WallTime not_after{};

  bool basic_constraints = false;  // the extension is there
  bool ca = false;
  std::optional<std::uint8_t> path_length;

  bool key_usage = false;  // the extension is there
  bool may_sign_certificates = false;

  bool extended_usage = false;  // the extension is there
  bool client_auth = false;     // or any
  bool server_auth = false;     // or any

  Bytes alternative_names;  // DER of the GeneralNames; empty without the extension

  // No extended key usage means any.
  bool usable_for_client() const { return !extended_usage || client_auth; }
  bool usable_for_server() const { return !extended_usage || server_auth; }
};

// Whether the certificate is one of the server `name`, a DNS name or an IP address, by its
// subject alternative names alone (RFC 9525 section 6). A wildcard stands for the leftmost label.
bool names_server(const CertificateFacts& facts, std::string_view name);

// The views point into `der`, which must be exactly one certificate.
Result<CertificateFacts> read_certificate_facts(Bytes der);

}  // namespace sluice::tls
