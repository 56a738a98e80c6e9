// SPDX-License-Identifier: GPL-3.0-or-later
// Whether a key signed a certificate: the algorithms and the strictness of crypto/x509 of Go, with
// the library's primitives.
#pragma once

#include "sluice/x509/certificate_facts.h"

namespace sluice::tls {

// Whether a key that is a point of a curve is one; true for all others. crypto/x509 reads no
// certificate of which this is false.
bool is_on_curve(const x509::PublicKey& key);

// Whether `signer` made the signature of `certificate`. Says nothing about whether it may sign.
bool is_signed_by(const x509::CertificateFacts& certificate, const x509::PublicKey& signer);

}  // namespace sluice::tls
