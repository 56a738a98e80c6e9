// SPDX-License-Identifier: GPL-3.0-or-later
// What becomes of the chain that a peer shows in a handshake: the verdict of Trust, kept as the
// facts that others ask for, and said to the library as an error whose alert fits, or none.
#pragma once

#include <span>
#include <string>

#include "library.h"
#include "sluice/tls/engine.h"
#include "sluice/x509/public_key.h"
#include "trust.h"

namespace sluice::tls {

// A client's chain, leaf first. Only `strict` makes an error of what does not verify. Returns 0 or
// an error of the library.
int verify_client(const Trust& trust, bool strict, std::span<const Bytes> chain, WallTime now,
                  PeerCertificate& peer);

// A backend's, which must be that of `server_name`.
int verify_backend(const Trust& trust, const std::string& server_name, std::span<const Bytes> chain,
                   WallTime now, PeerCertificate& peer);

// The key that the peer must prove to have. Nothing for a kind that cannot be used: then nobody
// can, and the handshake ends.
void hand_over(const x509::PublicKey& key, SluicePeerKey& out);

}  // namespace sluice::tls
