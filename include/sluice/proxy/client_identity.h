// SPDX-License-Identifier: GPL-3.0-or-later
// From the verdict over a client's certificate to who the client is: the one place that decides
// between an identity, "a token decides", and "nothing else decides, either".
#pragma once

#include <optional>
#include <string>

#include "sluice/kubernetes/identity.h"
#include "sluice/tls/engine.h"

namespace sluice::proxy {

struct ClientIdentity {
  std::optional<kubernetes::Identity> identity;
  kubernetes::NoIdentity why_not = kubernetes::NoIdentity::no_certificate;
  std::string reason;  // a sentence, when there is no identity
  // Without an identity: an API server would see a user that we do not carry, so that a token must
  // not make the client somebody else.
  bool refused = false;
};

// What an API server would conclude from the certificate (k8s.io/apiserver
// pkg/authentication/request/x509), and nothing if there is any doubt.
ClientIdentity identify_client(const tls::PeerCertificate& peer);

}  // namespace sluice::proxy
