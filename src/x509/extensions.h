// SPDX-License-Identifier: GPL-3.0-or-later
// Extensions of certificates (RFC 5280 section 4.2).
#pragma once

#include "sluice/base/bytes.h"
#include "sluice/x509/certificate_facts.h"

namespace sluice::x509 {

// What is behind the explicit tag. False when they, or one that is known, are malformed.
bool read_extensions(Bytes list, CertificateFacts& facts);

}  // namespace sluice::x509
