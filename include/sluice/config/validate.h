// SPDX-License-Identifier: GPL-3.0-or-later
// All cross-checks, files included: every mistake in one go, each a sentence that names flag, value
// and remedy. What was read is handed on, so that the process serves exactly what was checked.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "sluice/base/error.h"
#include "sluice/base/time.h"
#include "sluice/config/config.h"
#include "sluice/io/address.h"
#include "sluice/io/network.h"
#include "sluice/tls/secret.h"

namespace sluice::config {

// What the checks need to know of the world; tests bring their own.
struct Environment {
  WallTime now{};
  std::uint32_t cpus = 1;                // that we may use
  std::uint64_t descriptors_max = 1024;  // RLIMIT_NOFILE, the soft limit
  std::function<Result<std::string>(const std::string& path)> read_file;
  // Whether lines can be appended to this file (it need not exist).
  std::function<Result<void>(const std::string& path)> may_append;
  // Whether a file may be read by everybody.
  std::function<bool(const std::string& path)> others_may_read;
};
Environment system_environment();

// Whoever has made TLS contexts of them ends them, for the sake of the keys.
struct Files {
  std::string tls_cert_pem;
  tls::Secret tls_private_key_pem;
  std::string client_ca_pem;  // empty: not given
  std::string backend_ca_pem;
  std::string proxy_client_cert_pem;  // empty: not given
  tls::Secret proxy_client_key_pem;
};

struct Validation {
  std::vector<std::string> mistakes;  // any: do not start, exit code 2
  std::vector<std::string> warnings;  // it starts, and logs them
  std::vector<std::string> notes;     // what the configuration means: "runs as a plain balancer"

  // The rest is complete only without mistakes.
  WallTime checked_at{};
  Config config;  // with 0 = "find out" replaced: workers, client_connections_max
  Files files;
  std::vector<io::Address> listen;
  std::vector<io::Network> proxy_protocol_from;
  std::vector<io::Network> exempt_clients;
  std::vector<io::Address> backends;
  std::vector<std::string> backend_server_names;  // one per backend
  std::vector<io::Address> admin_listen;          // none or one
  Duration drain_timeout_tunnels{};
  bool vouches_for_identity = false;  // client CA and front-proxy pair are both there

  bool valid() const { return mistakes.empty(); }
  // Everything above in lines, the last one "configuration is valid" or the number of mistakes.
  std::string report() const;
};

// tls::initialize() must have succeeded.
Validation validate(const Config& config, const Environment& environment);

}  // namespace sluice::config
