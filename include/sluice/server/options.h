// SPDX-License-Identifier: GPL-3.0-or-later
// What can be set of the server, in the parts that are handed on: to the process, to each worker's
// thread, to the worker in it; and for each cluster, to what every worker makes of it. What belongs
// to a layer below is that layer's struct.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "sluice/backend/backend_set.h"
#include "sluice/backend/health_probe.h"
#include "sluice/balance/shares.h"
#include "sluice/discovery/sources.h"
#include "sluice/http2/session.h"
#include "sluice/io/network.h"
#include "sluice/io/ring.h"
#include "sluice/kubernetes/identity_fields.h"
#include "sluice/net/transport.h"
#include "sluice/proxy/proxy.h"
#include "sluice/proxy/resources.h"
#include "sluice/tls/context.h"

namespace sluice::server {

struct ClientOptions {
  // Decoded at once: some hundred heads of the usual size, with a token in each.
  http2::SessionOptions session = {.decoded_at_once = std::size_t{64} * 1024};
  Duration head_timeout = std::chrono::seconds(10);  // preface and first SETTINGS; each head
  Duration idle_timeout = std::chrono::minutes(15);  // without streams
  // Of a client with something under way that may last: nothing was heard of it, not even an
  // acknowledgement, though it was asked. Zero: it is not looked for.
  Duration silence_timeout = std::chrono::seconds(90);
  // Of balancers, whose connections begin with a PROXY header.
  std::vector<io::Network> proxy_protocol_from;
  // Whose connections and requests are not counted.
  std::vector<io::Network> exempt;
  // In all workers together; 0: any number.
  std::uint32_t connections_per_address = 10'000;   // IPv4 address, or first half of an IPv6 one
  std::uint32_t connections_per_identity = 10'000;  // of a certificate's user, at one such address

  friend bool operator==(const ClientOptions&, const ClientOptions&) = default;
};

struct WorkerOptions {
  net::TransportOptions transport;
  ClientOptions client;
  proxy::ResourcesOptions resources;

  friend bool operator==(const WorkerOptions&, const WorkerOptions&) = default;
};

struct WorkerThreadOptions {
  io::RingOptions ring;
  std::vector<io::Address> listen;
  WorkerOptions worker;

  friend bool operator==(const WorkerThreadOptions&, const WorkerThreadOptions&) = default;
};

struct StopOptions {
  Duration delay = std::chrono::seconds(5);           // not ready any more, and serving
  Duration drain_window = std::chrono::seconds(60);   // at the latest then clients are told to end
  Duration tunnel_window = std::chrono::seconds(60);  // the same of tunnels

  friend bool operator==(const StopOptions&, const StopOptions&) = default;
};

struct TakeOverOptions {
  // What a new process may take until it could serve, and then until it does.
  Duration ready_timeout = std::chrono::seconds(30);

  friend bool operator==(const TakeOverOptions&, const TakeOverOptions&) = default;
};

struct NamedCertificate {
  std::string use;  // "serving", "front-proxy", "client-ca", "backend-ca"
  WallTime not_after{};

  friend bool operator==(const NamedCertificate&, const NamedCertificate&) = default;
};

// Clients that a cluster is given although they do not ask for one of its names.
enum class OtherClients : std::uint8_t {
  none,
  unnamed,  // without a server name: in-cluster clients dial an address and send none
  all,      // and those with a name that is no cluster's
};
std::string_view to_string(OtherClients others);

// A control plane that is served: whose clients find it by which names, what they are shown and
// judged by, and which API servers are behind it.
struct ClusterOptions {
  std::string name;  // in pages, logs and metrics; empty: the only one, which needs none
  // In the normal form of tls::ServerNames. A name that two clusters claim is nobody's.
  std::vector<std::string> server_names;
  OtherClients others = OtherClients::none;  // of one cluster at most
  std::vector<io::Address> listen;  // whoever connects there is its client, whatever it asks for
  std::vector<io::Network> allowed_networks;  // of clients; empty: all
  tls::ServerOptions tls;
  // Connections go on untouched, to one of these; then all but names, networks and these is
  // nobody's.
  std::vector<io::Address> pass_through;
  std::vector<backend::Endpoint> backends;  // by their addresses
  discovery::Options discovery;             // and those that are found by other ways
  backend::BackendSetOptions backend_set;
  backend::BackendTls backend_tls;
  backend::ProbeOptions probe;
  balance::SharesOptions shares;
  kubernetes::RequestHeaderOptions request_headers;
  proxy::ProxyOptions proxy;
  std::vector<NamedCertificate> certificates;  // whose ends are told

  // Whether there are API servers, known yet or not; without, it hibernates.
  bool has_backends() const { return !backends.empty() || discovery.any(); }
  friend bool operator==(const ClusterOptions&, const ClusterOptions&) = default;
};

// One that is not served as its file says, because that has mistakes.
struct BrokenCluster {
  std::string name;
  std::string file;
  std::vector<std::string> mistakes;
  bool waits = false;  // for something that may pass by itself: no mistake yet

  friend bool operator==(const BrokenCluster&, const BrokenCluster&) = default;
};

struct ServerOptions {
  std::string version;
  std::vector<io::Address> admin_listen;  // none or one
  std::vector<int> cpus;                  // one worker for each entry; -1: not pinned
  std::size_t client_connections_max = 0;
  WorkerThreadOptions thread;
  std::vector<ClusterOptions> clusters;
  std::vector<BrokenCluster> broken;  // who serves one of them is not taken over from
  // Of clusters that are not served for now: nobody else may have them meanwhile.
  std::vector<std::string> reserved_names;
  StopOptions stop;
  TakeOverOptions take_over;
  // A worker that has not turned for so long is of no use to its clients: the process is to be
  // restarted. Zero: it is only told.
  Duration worker_stall_timeout = std::chrono::seconds(10);
  std::vector<io::Address> dns_servers;  // empty: the system's
  std::string access_log;                // empty: none
  bool watch_files = true;               // changed files are taken over by themselves

  friend bool operator==(const ServerOptions&, const ServerOptions&) = default;
};

}  // namespace sluice::server
