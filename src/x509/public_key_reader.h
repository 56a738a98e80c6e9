// SPDX-License-Identifier: GPL-3.0-or-later
// Reads a SubjectPublicKeyInfo (RFC 5280 section 4.1.2.7).
#pragma once

#include "sluice/x509/der_reader.h"
#include "sluice/x509/public_key.h"

namespace sluice::x509 {

// False when it is malformed, of a kind that is known. Keys of other kinds are none of ours:
// nothing that they sign is believed.
bool read_public_key(const Element& info, PublicKey& key);

}  // namespace sluice::x509
