// SPDX-License-Identifier: GPL-3.0-or-later
// The TLS contexts of a server named "localhost" and of a client that trusts it.
#pragma once

#include <memory>
#include <utility>

#include "certificates.h"
#include "sluice/tls/context.h"

namespace sluice::net {

struct Contexts {
  std::shared_ptr<const tls::ServerContext> server;
  std::shared_ptr<const tls::ClientContext> client;
};

inline std::shared_ptr<const tls::ClientContext> client_that_trusts(const test::Certificate& ca) {
  return tls::ClientContext::create(
             {.ca_pem = ca.pem(), .certificate_chain_pem = {}, .private_key_pem = {}})
      .value();
}

inline Contexts make_contexts() {
  const test::Certificate ca = test::make_ca("serving-ca");
  const test::Certificate leaf = test::issue_server(ca, {"localhost"});
  return {tls::ServerContext::create({.certificate_chain_pem = leaf.pem(),
                                      .private_key_pem = leaf.key_pem(),
                                      .client_ca_pem = {}})
              .value(),
          client_that_trusts(ca)};
}

}  // namespace sluice::net
