// SPDX-License-Identifier: GPL-3.0-or-later
// A kubeconfig, as far as it says where an API server is and who we are there
// (k8s.io/client-go tools/clientcmd/api/v1/types.go). What would have to be executed, what would
// trust anybody, and what would make us somebody else is refused. Pure: files that it names are
// read by whoever has them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "sluice/base/error.h"
#include "sluice/discovery/target.h"
#include "sluice/tls/secret.h"

namespace sluice::discovery {

// Its own text, or the path of a file, relative to the kubeconfig; never both.
struct KubeconfigText {
  std::string text;
  std::string path;
  bool given() const { return !text.empty() || !path.empty(); }
};
struct KubeconfigSecret {
  tls::Secret text;
  std::string path;
  bool given() const { return !text.empty() || !path.empty(); }
};

struct Kubeconfig {
  Place server;
  std::string path;          // before those of the API; without a slash at its end
  std::string server_name;   // what the certificate must carry: a host name or an IP address
  KubeconfigText authority;  // PEM; always given
  // A client certificate and its key, or a token, or all of them.
  KubeconfigText certificate;
  KubeconfigSecret key;
  KubeconfigSecret token;
};

// Of its current context. The error is a sentence without its full stop, and holds no secret.
Result<Kubeconfig> parse_kubeconfig(std::string_view text);

// Of libyaml.
std::string yaml_version();

}  // namespace sluice::discovery
