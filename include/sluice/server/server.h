// SPDX-License-Identifier: GPL-3.0-or-later
// The process: workers, probes, the admin listener, signals, and the way from start to stop.
//
//   starting ──▶ serving ──SIGTERM──▶ delaying ──▶ draining ──▶ stopped
//                         (readiness off, still serving)   second signal: stopped at once
//
// Thread: created and run on the main thread, which is the control thread.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "sluice/backend/health_probe.h"
#include "sluice/base/error.h"
#include "sluice/io/ring.h"
#include "sluice/kubernetes/identity_fields.h"
#include "sluice/net/transport.h"
#include "sluice/proxy/proxy.h"
#include "sluice/tls/context.h"

namespace sluice::server {

struct NamedCertificate {
  std::string use;  // "serving", "front-proxy", "client-ca", "backend-ca"
  WallTime not_after{};
};

struct ServerOptions {
  std::string version;
  std::vector<io::Address> listen;
  std::vector<io::Address> admin_listen;
  std::vector<int> cpus;  // one worker for each entry; -1: not pinned
  std::size_t client_connections_max = 0;

  io::RingOptions ring;
  net::TransportOptions transport;
  tls::ServerOptions tls;

  std::vector<backend::Endpoint> backends;
  std::vector<tls::ClientOptions> backend_plain;     // one per backend
  std::vector<tls::ClientOptions> backend_identity;  // empty without a front-proxy pair
  backend::BackendSetOptions backend_set;
  backend::ProbeOptions probe;

  proxy::ProxyOptions proxy;
  kubernetes::RequestHeaderOptions request_headers;
  http2::SessionOptions client_session;
  Duration client_head_timeout = std::chrono::seconds(10);
  Duration client_idle_timeout = std::chrono::minutes(15);

  Duration shutdown_delay = std::chrono::seconds(5);
  Duration drain_timeout = std::chrono::seconds(60);
  std::string access_log;  // empty: none
  std::vector<NamedCertificate> certificates;
};

class Server {
 public:
  // Probes the kernel, blocks the signals that it will serve. The error is one sentence.
  static Result<std::unique_ptr<Server>> create(ServerOptions options);
  ~Server();

  // Serves until a signal; the exit code of the process.
  int run();

 private:
  class Control;
  explicit Server(std::unique_ptr<Control> control);
  std::unique_ptr<Control> control_;
};

}  // namespace sluice::server
