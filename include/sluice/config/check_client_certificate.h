// SPDX-License-Identifier: GPL-3.0-or-later
// Who a client certificate would be, asked without a connection: --check-client-cert-file.
#pragma once

#include <string>

#include "sluice/config/config.h"
#include "sluice/config/validate.h"

namespace sluice::config {

struct ClientCertificateReport {
  bool identity = false;
  std::string text;  // lines for a person
};

// `path` holds the certificate and what else of the chain the client shows, in PEM. Of the
// configuration only --client-ca-file counts. tls::initialize() must have succeeded.
ClientCertificateReport check_client_certificate(const Config& config, const std::string& path,
                                                 const Environment& environment);

}  // namespace sluice::config
