// SPDX-License-Identifier: GPL-3.0-or-later
// From the verdict over a certificate to whom its holder is, or why it is nobody.
#include "sluice/proxy/client_identity.h"

#include "sluice/tls/context.h"

namespace sluice::proxy {

ClientIdentity identify_client(const tls::PeerCertificate& peer) {
  using kubernetes::NoIdentity;
  ClientIdentity result;
  if (!peer.presented || peer.chain_der.empty()) {
    result.reason = to_string(result.why_not);
    return result;
  }
  if (peer.verified) {
    const Bytes leaf(peer.chain_der.front());
    auto identity = kubernetes::identity_of_certificate(leaf, tls::sha256(leaf));
    if (identity) {
      result.identity = std::move(*identity);
      return result;
    }
    result.why_not = identity.error();
    result.reason = to_string(result.why_not);
  } else {
    result.why_not = peer.refused ? NoIdentity::not_judged : NoIdentity::not_verified;
    result.reason = peer.error;
  }
  result.refused = !kubernetes::server_passes_over(result.why_not);
  return result;
}

}  // namespace sluice::proxy
