// SPDX-License-Identifier: GPL-3.0-or-later
// From flags to the layers' options.
#include "compose.h"

#include <sched.h>

#include <algorithm>

#include "sluice/tls/context.h"

namespace sluice {
namespace {

// One entry per worker: the CPUs that we may use, in order; more workers than CPUs are not pinned.
std::vector<int> worker_cpus(std::uint32_t workers) {
  std::vector<int> allowed;
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) == 0) {
    for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
      if (CPU_ISSET(static_cast<std::size_t>(cpu), &set)) allowed.push_back(cpu);
    }
  }
  const bool pinned = workers <= allowed.size();
  std::vector<int> cpus(workers, -1);
  if (pinned) std::copy_n(allowed.begin(), workers, cpus.begin());
  return cpus;
}

void add_certificate(server::ServerOptions& options, std::string use, const std::string& pem) {
  if (pem.empty()) return;
  // Validated before; a file with several certificates counts with its first.
  if (const auto summary = tls::read_certificates(pem)) {
    options.certificates.push_back({std::move(use), summary->not_after});
  }
}

// Every connection to a backend must end before the front-proxy certificate does.
Duration connection_age_max(const config::Validation& valid, Duration normal) {
  if (valid.files.proxy_client_cert_pem.empty()) return normal;
  const auto summary = tls::read_certificates(valid.files.proxy_client_cert_pem);
  if (!summary) return normal;
  const auto left = summary->not_after -
                    std::chrono::floor<std::chrono::seconds>(std::chrono::system_clock::now());
  return std::clamp(Duration(left) / 2, Duration(std::chrono::seconds(10)), normal);
}

}  // namespace

server::ServerOptions compose(const config::Validation& valid, std::string version) {
  const config::Config& config = valid.config;
  server::ServerOptions options;
  options.version = std::move(version);
  options.listen = valid.listen;
  options.admin_listen = valid.admin_listen;
  options.cpus = worker_cpus(config.workers);
  options.client_connections_max = config.client_connections_max;

  options.ring.receive_buffers = config.receive_buffers;
  options.ring.receive_buffer_bytes = static_cast<std::uint32_t>(config.receive_buffer_bytes);
  options.transport.send_buffer_bytes = config.send_buffer_bytes;
  options.transport.handshake_timeout = config.tls_handshake_timeout;
  options.transport.connect_timeout = config.backend_connect_timeout;
  options.transport.send_stall_timeout = config.client_stall_timeout;

  options.tls.certificate_chain_pem = valid.files.tls_cert_pem;
  options.tls.private_key_pem = valid.files.tls_private_key_pem;
  if (valid.vouches_for_identity) options.tls.client_ca_pem = valid.files.client_ca_pem;
  options.tls.client_certificate_strict = config.client_cert_strict;
  // HTTP/1.1 is agreed to only so that it can be refused with a sentence.
  options.tls.alpn = {"h2", "http/1.1"};

  http2::SessionOptions session;
  session.stream_window_bytes = static_cast<std::uint32_t>(config.http2_stream_window_bytes);
  session.connection_window_bytes =
      static_cast<std::uint32_t>(config.http2_connection_window_bytes);
  session.header_fields_max = config.request_head_fields_max;
  session.header_list_bytes_max = static_cast<std::uint32_t>(config.request_head_bytes_max);
  options.client_session = session;
  options.client_session.server = true;
  options.client_session.max_concurrent_streams = config.http2_max_streams_per_connection;
  options.client_head_timeout = config.request_head_timeout;
  options.client_idle_timeout = config.client_idle_timeout;

  for (std::size_t i = 0; i < valid.backends.size(); ++i) {
    options.backends.push_back({valid.backends[i], valid.backends[i].to_string()});
    tls::ClientOptions tls;
    tls.ca_pem = valid.files.backend_ca_pem;
    tls.server_name = valid.backend_server_names[i];
    options.backend_plain.push_back(tls);
    if (!valid.vouches_for_identity) continue;
    tls.certificate_chain_pem = valid.files.proxy_client_cert_pem;
    tls.private_key_pem = valid.files.proxy_client_key_pem;
    options.backend_identity.push_back(tls);
  }
  backend::PoolOptions& pool = options.backend_set.pool;
  pool.ping_interval = config.backend_ping_interval;
  pool.ping_timeout = config.backend_ping_timeout;
  pool.idle_timeout = config.backend_idle_timeout;
  pool.connection_age_max = connection_age_max(valid, pool.connection_age_max);
  pool.streams_per_connection_max = config.backend_streams_per_connection;
  pool.connections_max = config.backend_connections_max;
  pool.draining_max = config.backend_draining_connections_max;
  pool.reconnect_delay_max = config.backend_backoff_max;
  pool.session = session;
  pool.session.server = false;
  // A backend is no stranger, but what it may make us hold is bounded all the same.
  pool.session.connection_window_bytes =
      std::max(session.connection_window_bytes, session.stream_window_bytes * 256);
  options.backend_set.suspect_streams_per_connection = config.suspect_streams_per_connection;
  options.backend_set.suspect_connect_spacing = config.suspect_connect_interval;

  options.probe.readiness_path = config.backend_readiness_path;
  options.probe.interval = config.probe_interval;
  options.probe.timeout = config.probe_timeout;
  options.probe.failures = config.probe_failures;
  options.probe.successes = config.probe_successes;

  options.proxy.request_timeout = config.request_timeout;
  options.proxy.client_stall_timeout = config.client_stall_timeout;
  options.proxy.replay_body_bytes = config.replay_body_bytes;
  options.proxy.replay_body_bytes_per_worker = config.replay_body_bytes_per_worker;
  options.proxy.body_bytes_per_worker = config.body_bytes_per_worker;
  options.proxy.stream_window_bytes = session.stream_window_bytes;
  options.proxy.stream_window_bytes_max =
      static_cast<std::uint32_t>(config.http2_stream_window_bytes_max);
  options.proxy.replay_budget_percent = config.replay_budget_percent;
  options.proxy.tries_max = config.replay_tries + 1;
  options.proxy.proven_tokens_max = config.proven_tokens_max;
  options.proxy.picker.policy = config.balance;
  options.proxy.vouches_for_identity = valid.vouches_for_identity;
  options.request_headers.username_headers = config.requestheader_username_headers;
  options.request_headers.group_headers = config.requestheader_group_headers;
  options.request_headers.extra_headers_prefixes = config.requestheader_extra_headers_prefix;
  options.request_headers.uid_headers = config.requestheader_uid_headers;

  options.shutdown_delay = config.shutdown_delay_duration;
  options.drain_timeout = config.drain_timeout;
  options.access_log = config.access_log;
  add_certificate(options, "serving", valid.files.tls_cert_pem);
  add_certificate(options, "client-ca", valid.files.client_ca_pem);
  add_certificate(options, "backend-ca", valid.files.backend_ca_pem);
  add_certificate(options, "front-proxy", valid.files.proxy_client_cert_pem);
  return options;
}

}  // namespace sluice
