// SPDX-License-Identifier: GPL-3.0-or-later
// From flags to the layers' options: one function for each struct.
#include "compose.h"

#include <sched.h>

#include <algorithm>
#include <utility>

#include "sluice/tls/context.h"

namespace sluice {
namespace {

using config::CheckedCluster;
using config::Config;
using config::ProcessConfig;
using config::Validation;

constexpr std::uint64_t window_bytes_max = 0x7fffffff;  // RFC 9113 section 6.9.1

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

io::RingOptions ring_options(const ProcessConfig& config) {
  io::RingOptions ring;
  ring.receive_buffers = config.receive_buffers;
  ring.receive_buffer_bytes = static_cast<std::uint32_t>(config.receive_buffer_bytes);
  return ring;
}

net::TransportOptions transport_options(const ProcessConfig& config) {
  net::TransportOptions transport;
  transport.send_buffer_bytes = config.send_buffer_bytes;
  transport.handshake_timeout = config.tls_handshake_timeout;
  transport.connect_timeout = config.backend_connect_timeout;
  transport.send_stall_timeout = config.client_stall_timeout;
  return transport;
}

tls::ServerOptions serving_options(const CheckedCluster& valid) {
  tls::ServerOptions tls;
  tls.version_min = valid.config.tls_min_version;
  tls.certificate_chain_pem = valid.files.tls_cert_pem;
  tls.private_key_pem = valid.files.tls_private_key_pem;
  if (valid.vouches_for_identity) tls.client_ca_pem = valid.files.client_ca_pem;
  tls.client_certificate_strict = valid.config.client_cert_strict;
  tls.alpn = {"h2", "http/1.1"};
  return tls;
}

server::ClientOptions client_options(const Validation& valid) {
  const ProcessConfig& config = valid.config;
  server::ClientOptions client;
  http2::SessionOptions& session = client.session;
  session.server = true;
  session.stream_window_bytes = static_cast<std::uint32_t>(config.http2_stream_window_bytes);
  session.connection_window_bytes =
      static_cast<std::uint32_t>(config.http2_connection_window_bytes);
  session.header_fields_max = config.request_head_fields_max;
  session.header_list_bytes_max = static_cast<std::uint32_t>(config.request_head_bytes_max);
  session.sent_fields_max = config.response_head_fields_max;
  session.sent_list_bytes_max = static_cast<std::uint32_t>(config.response_head_bytes_max);
  session.max_concurrent_streams = config.http2_max_streams_per_connection;
  // A controller that stops may cancel all that it was granted, and start anew: nobody's abuse.
  session.resets_burst =
      std::max(session.resets_burst, 2 * config.http2_max_streams_per_connection);
  client.head_timeout = config.request_head_timeout;
  client.idle_timeout = config.client_idle_timeout;
  client.silence_timeout = config.client_silence_timeout;
  client.proxy_protocol_from = valid.proxy_protocol_from;
  client.exempt = valid.exempt_clients;
  client.connections_per_address = config.connections_per_address;
  client.connections_per_identity = config.connections_per_identity;
  return client;
}

std::vector<backend::Endpoint> backends(const CheckedCluster& valid) {
  std::vector<backend::Endpoint> backends;
  for (std::size_t i = 0; i < valid.backends.size(); ++i) {
    backends.push_back(
        {valid.backends[i], valid.backends[i].to_string(), valid.backend_server_names[i]});
  }
  return backends;
}

discovery::Options discovery_options(const CheckedCluster& valid) {
  return {.names = valid.backend_names,
          .file = valid.backend_file,
          .slices = valid.slices,
          .own_slice = valid.own_slice,
          .server_name = valid.config.backend_server_name};
}

backend::BackendTls backend_tls(const CheckedCluster& valid) {
  backend::BackendTls tls;
  tls.plain.ca_pem = valid.files.backend_ca_pem;
  if (valid.vouches_for_identity) {
    tls.identity = tls.plain;
    tls.identity->certificate_chain_pem = valid.files.proxy_client_cert_pem;
    tls.identity->private_key_pem = valid.files.proxy_client_key_pem;
  }
  return tls;
}

// Every connection to a backend must end before the front-proxy certificate does.
Duration connection_age_max(const CheckedCluster& valid) {
  const Duration normal = valid.config.backend_connection_age_max;
  if (valid.files.proxy_client_cert_pem.empty()) return normal;
  const auto summary = tls::read_certificates(valid.files.proxy_client_cert_pem);
  if (!summary) return normal;
  return std::clamp(Duration(summary->not_after - valid.checked_at) / 2,
                    Duration(std::chrono::seconds(10)), normal);
}

http2::SessionOptions backend_session_options(const Config& config, http2::SessionOptions session) {
  session.stream_window_bytes = static_cast<std::uint32_t>(config.http2_stream_window_bytes);
  session.connection_window_bytes = static_cast<std::uint32_t>(
      std::max(config.http2_connection_window_bytes,
               std::min(config.http2_stream_window_bytes * 256, window_bytes_max)));
  session.header_fields_max = config.response_head_fields_max;
  session.header_list_bytes_max = static_cast<std::uint32_t>(config.response_head_bytes_max);
  session.sent_fields_max = config.request_head_fields_max;
  session.sent_list_bytes_max = static_cast<std::uint32_t>(config.request_head_bytes_max);
  return session;
}

backend::BackendSetOptions backend_set_options(const CheckedCluster& valid) {
  const Config& config = valid.config;
  backend::BackendSetOptions set;
  set.suspect_streams_per_connection = config.suspect_streams_per_connection;
  set.suspect_connect_spacing = config.suspect_connect_interval;
  backend::PoolOptions& pool = set.pool;
  pool.ping_interval = config.backend_ping_interval;
  pool.ping_timeout = config.backend_ping_timeout;
  pool.check_timeout = config.backend_check_timeout;
  pool.idle_timeout = config.backend_idle_timeout;
  pool.connection_age_max = connection_age_max(valid);
  pool.streams_per_connection_max = config.backend_streams_per_connection;
  pool.connections_max = config.backend_connections_max;
  pool.draining_max = config.backend_draining_connections_max;
  pool.reconnect_delay_max = config.backend_backoff_max;
  pool.connects_per_second = config.backend_connects_per_second;
  set.upgrades.wait_timeout = pool.wait_timeout;
  set.upgrades.heads = {.header_fields_max = config.response_head_fields_max,
                        .header_list_bytes_max = config.response_head_bytes_max};
  pool.session = backend_session_options(config, pool.session);
  return set;
}

backend::ProbeOptions probe_options(const Config& config) {
  backend::ProbeOptions probe;
  probe.readiness_path = config.backend_readiness_path;
  probe.interval = config.probe_interval;
  probe.timeout = config.probe_timeout;
  probe.failures = config.probe_failures;
  probe.successes = config.probe_successes;
  return probe;
}

balance::SharesOptions shares_options(const Config& config) {
  return {.slow_start = {.time = config.backend_slow_start}, .review = config.backend_review};
}

proxy::ResourcesOptions resources_options(const ProcessConfig& config) {
  proxy::ResourcesOptions resources;
  resources.replay_body_bytes_per_worker = config.replay_body_bytes_per_worker;
  resources.body_bytes_per_worker = config.body_bytes_per_worker;
  resources.overload_wait = config.overload_wait;
  resources.overload_patience = config.overload_patience;
  return resources;
}

proxy::ProxyOptions proxy_options(const CheckedCluster& valid) {
  const Config& config = valid.config;
  proxy::ProxyOptions proxy;
  proxy.request_timeout = config.request_timeout;
  proxy.client_stall_timeout = config.client_stall_timeout;
  proxy.write_affinity = config.write_affinity;
  proxy.replay_body_bytes = config.replay_body_bytes;
  proxy.anonymous_requests_per_address = config.anonymous_requests_per_address;
  proxy.unproven_requests_per_address = config.unproven_requests_per_address;
  proxy.tunnels_per_client = config.tunnels_per_client;
  proxy.body_bytes_per_client = config.body_bytes_per_client != 0
                                    ? config.body_bytes_per_client
                                    : config.body_bytes_per_worker / 4;
  proxy.stream_window_bytes = static_cast<std::uint32_t>(config.http2_stream_window_bytes);
  proxy.stream_window_bytes_max = static_cast<std::uint32_t>(config.http2_stream_window_bytes_max);
  proxy.replay_budget_percent = config.replay_budget_percent;
  proxy.tries_max = config.replay_tries + 1;
  proxy.proven_tokens_max = config.proven_tokens_max;
  proxy.picker.policy = config.balance;
  proxy.watch_history = {.hold_age = config.watch_history_age,
                         .hold = config.watch_history_wait,
                         .steer_age = config.watch_steering_age};
  proxy.vouches_for_identity = valid.vouches_for_identity;
  proxy.anonymous_requests = config.anonymous_auth;
  return proxy;
}

kubernetes::RequestHeaderOptions request_header_options(const Config& config) {
  kubernetes::RequestHeaderOptions headers;
  headers.username_headers = config.requestheader_username_headers;
  headers.group_headers = config.requestheader_group_headers;
  headers.extra_headers_prefixes = config.requestheader_extra_headers_prefix;
  headers.uid_headers = config.requestheader_uid_headers;
  return headers;
}

std::vector<server::NamedCertificate> certificates(const config::Files& files) {
  std::vector<server::NamedCertificate> certificates;
  for (const auto& [use, pem] : {std::pair{"serving", &files.tls_cert_pem},
                                 {"client-ca", &files.client_ca_pem},
                                 {"backend-ca", &files.backend_ca_pem},
                                 {"front-proxy", &files.proxy_client_cert_pem}}) {
    if (pem->empty()) continue;
    // Validated before; a file with several certificates counts with its first.
    if (const auto summary = tls::read_certificates(*pem)) {
      certificates.push_back({use, summary->not_after});
    }
  }
  return certificates;
}

server::OtherClients other_clients(config::DefaultFor whom) {
  switch (whom) {
    case config::DefaultFor::nobody: return server::OtherClients::none;
    case config::DefaultFor::unnamed: return server::OtherClients::unnamed;
    case config::DefaultFor::unknown: return server::OtherClients::all;
  }
  return server::OtherClients::none;
}

server::ClusterOptions cluster_options(const CheckedCluster& valid) {
  server::ClusterOptions cluster;
  cluster.name = valid.name;
  cluster.server_names = valid.server_names;
  cluster.listen = valid.listen;
  cluster.allowed_networks = valid.allowed_networks;
  cluster.tls = serving_options(valid);
  cluster.pass_through = valid.pass_through;
  cluster.backends = backends(valid);
  if (auto discovery = discovery_options(valid); discovery.any()) {
    cluster.discovery = std::move(discovery);
  }
  cluster.backend_set = backend_set_options(valid);
  cluster.backend_tls = backend_tls(valid);
  cluster.probe = probe_options(valid.config);
  cluster.shares = shares_options(valid.config);
  cluster.request_headers = request_header_options(valid.config);
  cluster.proxy = proxy_options(valid);
  cluster.certificates = certificates(valid.files);
  return cluster;
}

}  // namespace

Composed compose(const Validation& valid, std::string version) {
  const ProcessConfig& config = valid.config;
  Composed composed;
  composed.log.level = config.log_level;
  server::ServerOptions& options = composed.server;
  options.version = std::move(version);
  options.admin_listen = valid.admin_listen;
  options.cpus = worker_cpus(config.workers);
  options.client_connections_max = config.client_connections_max;
  options.thread.ring = ring_options(config);
  options.thread.listen = valid.listen;
  options.thread.worker = {.transport = transport_options(config),
                           .client = client_options(valid),
                           .resources = resources_options(config)};
  for (std::size_t i = 0; i < valid.clusters.size(); ++i) {
    const CheckedCluster& cluster = valid.clusters[i];
    // With a mistake it is not served, or serves on as before; its names are reserved.
    if (!cluster.mistakes.empty()) {
      options.broken.push_back({cluster.name, cluster.file, cluster.mistakes, cluster.waits});
      continue;
    }
    options.clusters.push_back(cluster_options(cluster));
    if (valid.default_cluster == i) {
      options.clusters.back().others = other_clients(cluster.config.default_for);
    }
  }
  options.reserved_names = valid.reserved_names;
  options.stop = {.delay = config.shutdown_delay_duration,
                  .drain_window = config.drain_timeout,
                  .tunnel_window = valid.drain_timeout_tunnels};
  options.worker_stall_timeout = config.worker_stall_timeout;
  options.take_over = {.ready_timeout = config.take_over_timeout};
  options.dns_servers = valid.dns_servers;
  options.access_log = config.access_log;
  options.watch_files = config.watch_files;
  return composed;
}

}  // namespace sluice
