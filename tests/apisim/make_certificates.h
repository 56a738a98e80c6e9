// SPDX-License-Identifier: GPL-3.0-or-later
// Writes the certificates, tokens and the kubeconfig of a small cluster with a gateway before it.
#pragma once

#include <string>

#include "sluice/base/error.h"

namespace sluice::apisim {

// Into `directory`, which exists:
//   ca.crt                           signs the API servers' certificate
//   apiserver.crt .key
//   client-ca.crt                    signs users
//   admin.crt .key                   CN=admin, O=system:masters
//   alice.crt .key                   CN=alice, O=developers, O=operators
//   expired.crt .key  foreign.crt .key   no identity: out of date; of another CA
//   front-proxy-ca.crt
//   front-proxy-client.crt .key      CN=front-proxy-client
//   gateway-ca.crt  gateway.crt .key the proxy's own
//   tokens.csv                       as --token-auth-file takes it
//   kubeconfig                       when `server` is not empty: contexts certificate and token
Result<void> make_certificates(const std::string& directory, const std::string& server);

}  // namespace sluice::apisim
