// SPDX-License-Identifier: GPL-3.0-or-later
// All cross-checks, files included: every mistake in one go, each a sentence that names flag, value
// and remedy, behind the place of the value if that is in a file. What was read is handed on, so
// that the process serves exactly what was checked.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "sluice/base/time.h"
#include "sluice/config/config.h"
#include "sluice/config/environment.h"
#include "sluice/config/load.h"
#include "sluice/discovery/sources.h"
#include "sluice/io/address.h"
#include "sluice/io/network.h"
#include "sluice/tls/secret.h"

namespace sluice::config {

// Whoever has made TLS contexts of them ends them, for the sake of the keys.
struct Files {
  std::string tls_cert_pem;
  tls::Secret tls_private_key_pem;
  std::string client_ca_pem;  // empty: not given
  std::string backend_ca_pem;
  std::string proxy_client_cert_pem;  // empty: not given
  tls::Secret proxy_client_key_pem;
};

struct Findings {
  std::vector<std::string> mistakes;
  std::vector<std::string> warnings;  // it works, and the log has them
  std::vector<std::string> notes;     // what the configuration means: "runs as a plain balancer"
};

// One cluster. With a mistake it is not served; what is below is complete only without.
struct CheckedCluster : Findings {
  std::string name;  // empty: the one cluster of the process's own flags
  std::string file;  // empty likewise
  WallTime checked_at{};
  Config config;  // all that counts for it, what it shares with the others included
  Files files;
  // In the form of parse_server_name(), in order; not those that another cluster claims, too.
  std::vector<std::string> server_names;
  bool names_known = true;          // false: there may be others, and a claim to be the default
  std::vector<io::Address> listen;  // of its own; not those that another cluster claims, too
  std::vector<io::Network> allowed_networks;  // empty: all
  // Where connections go untouched; then there is nothing of what is below. Empty: they do not.
  std::vector<io::Address> pass_through;
  std::vector<io::Address> backends;
  std::vector<std::string> backend_server_names;  // one per backend
  std::vector<discovery::Target> backend_names;   // those that are to be resolved
  std::optional<discovery::PlacesFile> backend_file;
  std::optional<discovery::SliceOptions> slices;
  std::optional<discovery::OwnSliceOptions> own_slice;
  // Of its mistakes: certificates whose keys are another's. Who writes both, one after the other,
  // is between the two.
  std::size_t unfit_pairs = 0;
  bool waits = false;                 // for that to pass: no mistake to act on yet
  bool vouches_for_identity = false;  // client CA and front-proxy pair are both there
};

// The process. With a mistake of its own (the one cluster's are) it does not start: exit code 2.
struct Validation : Findings {
  // The rest is complete only without mistakes.
  ProcessConfig config;  // with 0 = "find out" replaced: workers, client_connections_max
  std::vector<io::Address> listen;
  std::vector<io::Network> proxy_protocol_from;
  std::vector<io::Network> exempt_clients;
  std::vector<io::Address> admin_listen;  // none or one
  std::vector<io::Address> dns_servers;
  Duration drain_timeout_tunnels{};
  std::vector<CheckedCluster> clusters;
  // What clusters are called. Names that several claim are nobody's: it starts all the same.
  std::vector<std::string> conflicts;
  // Not to be answered by any cluster, neither for a wildcard nor as the default: claimed by
  // several, or by a cluster with a mistake.
  std::vector<std::string> reserved_names;
  std::optional<std::size_t> default_cluster;  // see its config.default_for

  // Without a mistake anywhere.
  bool valid() const;
  // Everything above in lines, the last one "configuration is valid" or the number of mistakes.
  std::string report() const;
};

// A cluster that is served while the configuration is read again: what it is called is its own,
// whoever else claims it now, and stays so while its file has mistakes.
struct HeldCluster {
  std::string name;
  std::vector<std::string> server_names;
  bool is_default = false;
  std::vector<io::Address> listen = {};  // where it alone does
};

// tls::initialize() must have succeeded. `held`: none at a start.
Validation validate(const Loaded& loaded, const Environment& environment,
                    const std::vector<HeldCluster>& held = {});
// A process with one cluster, of values that stand nowhere.
Validation validate(const Config& config, const Environment& environment);

}  // namespace sluice::config
