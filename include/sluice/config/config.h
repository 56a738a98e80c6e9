// SPDX-License-Identifier: GPL-3.0-or-later
// Everything that can be set, as plain values. One field here and one row in
// src/config/flag_table.cc make an option; whoever composes the process hands each layer its own
// part. A default that a layer below has is that layer's; the server's own, a neighbour's, are held
// equal to these by tests/unit/compose_test.cc. "per worker" limits are not divided further.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "sluice/backend/backend_set.h"
#include "sluice/backend/health_probe.h"
#include "sluice/balance/picker.h"
#include "sluice/balance/shares.h"
#include "sluice/base/bytes.h"
#include "sluice/base/time.h"
#include "sluice/http2/session.h"
#include "sluice/io/ring.h"
#include "sluice/kubernetes/identity_fields.h"
#include "sluice/net/transport.h"
#include "sluice/observability/log.h"
#include "sluice/proxy/proxy.h"
#include "sluice/proxy/resources.h"
#include "sluice/tls/context.h"

namespace sluice::config {

// What all clusters share.
struct ProcessConfig {
  // Clients.
  std::vector<std::string> listen = {"0.0.0.0:6443"};  // parsed by validate()
  std::vector<std::string> proxy_protocol_from;        // networks of balancers; likewise
  std::vector<std::string> exempt_clients;             // networks that nothing is counted for
  std::uint32_t client_connections_max = 0;            // 0: as many as the descriptor limit allows
  std::uint32_t connections_per_address = 10'000;      // 0: any number
  std::uint32_t connections_per_identity = 10'000;     // at one address; 0: any number
  Duration client_stall_timeout =
      proxy::ProxyOptions{}.client_stall_timeout;              // bytes to send, none taken
  Duration client_idle_timeout = std::chrono::minutes(15);     // connection without streams
  Duration client_silence_timeout = std::chrono::seconds(90);  // not even TCP heard; 0: no end
  Duration tls_handshake_timeout = net::TransportOptions{}.handshake_timeout;
  Duration request_head_timeout = std::chrono::seconds(10);
  std::uint32_t request_head_fields_max = http2::SessionOptions{}.header_fields_max;
  std::uint64_t request_head_bytes_max = http2::SessionOptions{}.header_list_bytes_max;
  std::uint32_t response_head_fields_max = http2::SessionOptions{}.sent_fields_max;
  std::uint64_t response_head_bytes_max = http2::SessionOptions{}.sent_list_bytes_max;
  std::uint32_t http2_max_streams_per_connection = http2::SessionOptions{}.max_concurrent_streams;
  std::uint64_t http2_stream_window_bytes = http2::SessionOptions{}.stream_window_bytes;
  std::uint64_t http2_stream_window_bytes_max = proxy::ProxyOptions{}.stream_window_bytes_max;
  std::uint64_t http2_connection_window_bytes = http2::SessionOptions{}.connection_window_bytes;

  // Backends.
  Duration backend_connect_timeout = net::TransportOptions{}.connect_timeout;
  std::vector<std::string> dns_servers;  // parsed by validate(); empty: the system's

  // Balancing, deadlines, replay.
  std::uint64_t replay_body_bytes_per_worker =
      proxy::ResourcesOptions{}.replay_body_bytes_per_worker;

  // Process.
  std::string clusters;       // a folder; empty: one cluster, of the process's own flags
  std::uint32_t workers = 0;  // 0: one for each CPU that we may use
  std::uint64_t receive_buffer_bytes = io::RingOptions{}.receive_buffer_bytes;
  std::uint32_t receive_buffers = io::RingOptions{}.receive_buffers;  // per worker
  std::uint64_t send_buffer_bytes = net::TransportOptions{}.send_buffer_bytes;
  std::uint64_t body_bytes_per_worker =
      proxy::ResourcesOptions{}.body_bytes_per_worker;               // bodies held at any moment
  Duration overload_wait = proxy::ResourcesOptions{}.overload_wait;  // 0: never overloaded
  Duration overload_patience = proxy::ResourcesOptions{}.overload_patience;
  Duration shutdown_delay_duration = std::chrono::seconds(5);
  Duration drain_timeout = std::chrono::seconds(60);
  std::string drain_timeout_tunnels;  // a duration; empty: as the drain's
  Duration take_over_timeout = std::chrono::seconds(30);
  Duration worker_stall_timeout = std::chrono::seconds(10);  // 0: no reason to end
  std::string admin_listen = "127.0.0.1:9180";               // empty: none
  log::Level log_level = log::Options{}.level;
  std::string access_log;   // "-": standard output; empty: none
  bool watch_files = true;  // and take changes over without being told

  friend bool operator==(const ProcessConfig&, const ProcessConfig&) = default;
};

// Which clients a cluster takes beside those that call it by one of its names.
enum class DefaultFor : std::uint8_t {
  nobody,
  unnamed,  // those that send no name, as who dials an address
  unknown,  // those, and those with a name that is no cluster's
};

// How a cluster's connections are carried.
enum class Mode : std::uint8_t {
  automatic,  // by what there is: on L4 where there is nothing but targets to pass them on to
  l7,         // each request on its own
  l4,         // untouched, to one of `pass_through`
};

// What a cluster has: whom it is for and where it is, and how it is tuned.
struct ClusterConfig {
  // Clients.
  std::vector<std::string> server_names;  // parsed by validate()
  DefaultFor default_for = DefaultFor::nobody;
  std::string tls_cert_file;
  std::string tls_private_key_file;
  std::string client_ca_file;  // empty: no client certificates, no identity of ours
  bool client_cert_strict = false;
  bool anonymous_auth = true;                 // requests without a credential reach API servers
  std::vector<std::string> allowed_networks;  // of clients, parsed by validate(); empty: all
  tls::Version tls_min_version = tls::ServerOptions{}.version_min;  // of clients

  // Backends.
  std::vector<std::string> backends;
  std::string backend_file;               // more of them, one a line; empty: none
  std::vector<std::string> pass_through;  // in their place: where connections go untouched
  Mode mode = Mode::automatic;
  bool hibernated = false;  // there are no API servers for now; `backends` count again later
  std::string discovery_kubeconfig;  // of a management cluster, where more of them run
  std::string discovery_namespace;
  std::string discovery_service;
  std::string discovery_port_name;  // empty: the Service's only one
  std::string backend_discovery;    // "self": `backends` say where the others are; empty: nobody
  std::vector<std::string> backend_networks;  // where they may be, parsed by validate()
  std::string backend_ca_file;
  std::string backend_server_name;  // empty: the name or the address of each backend
  std::string backend_readiness_path = backend::ProbeOptions{}.readiness_path;
  Duration backend_idle_timeout = backend::PoolOptions{}.idle_timeout;
  Duration backend_ping_interval = backend::PoolOptions{}.ping_interval;
  Duration backend_ping_timeout = backend::PoolOptions{}.ping_timeout;
  Duration backend_check_timeout = backend::PoolOptions{}.check_timeout;
  Duration backend_backoff_max =
      backend::PoolOptions{}.reconnect_delay_max;  // between attempts to connect
  std::uint32_t backend_connects_per_second =
      backend::PoolOptions{}.connects_per_second;  // of all workers to one backend; 0: no limit
  Duration backend_connection_age_max =
      backend::PoolOptions{}.connection_age_max;  // then replaced, make before break
  std::uint32_t backend_streams_per_connection =
      backend::PoolOptions{}.streams_per_connection_max;  // or fewer, if the backend says so
  std::uint32_t backend_connections_max = static_cast<std::uint32_t>(
      backend::PoolOptions{}.connections_max);  // per worker, backend and kind of pool
  std::uint32_t backend_draining_connections_max = static_cast<std::uint32_t>(
      backend::PoolOptions{}.draining_max);  // per worker, backend and kind of pool
  Duration probe_interval = backend::ProbeOptions{}.interval;
  Duration probe_timeout = backend::ProbeOptions{}.timeout;
  std::uint32_t probe_failures =
      backend::ProbeOptions{}.failures;  // unclear answers in a row that take a backend out
  std::uint32_t probe_successes =
      backend::ProbeOptions{}.successes;  // good answers in a row that bring it back

  // Identity.
  std::string proxy_client_cert_file;  // empty: plain balancer
  std::string proxy_client_key_file;
  std::vector<std::string> requestheader_username_headers =
      kubernetes::RequestHeaderOptions{}.username_headers;
  std::vector<std::string> requestheader_group_headers =
      kubernetes::RequestHeaderOptions{}.group_headers;
  std::vector<std::string> requestheader_extra_headers_prefix =
      kubernetes::RequestHeaderOptions{}.extra_headers_prefixes;
  std::vector<std::string> requestheader_uid_headers =
      kubernetes::RequestHeaderOptions{}.uid_headers;
  std::uint32_t proven_tokens_max =
      static_cast<std::uint32_t>(proxy::ProxyOptions{}.proven_tokens_max);  // per worker
  std::uint32_t suspect_streams_per_connection =
      backend::BackendSetOptions{}
          .suspect_streams_per_connection;  // requests without a proven credential
  Duration suspect_connect_interval =
      backend::BackendSetOptions{}.suspect_connect_spacing;  // per worker and backend

  // Balancing, deadlines, replay.
  balance::Policy balance = balance::PickerOptions{}.policy;
  Duration backend_slow_start = balance::SlowStartOptions{}.time;  // zero: none
  bool backend_review = balance::SharesOptions{}.review;
  Duration request_timeout =
      proxy::ProxyOptions{}.request_timeout;                       // not for long-running requests
  Duration write_affinity = proxy::ProxyOptions{}.write_affinity;  // zero: none
  std::uint64_t replay_body_bytes = proxy::ProxyOptions{}.replay_body_bytes;  // per stream
  std::uint32_t replay_budget_percent =
      proxy::ProxyOptions{}.replay_budget_percent;  // replays per 100 requests
  std::uint32_t replay_tries =
      proxy::ProxyOptions{}.tries_max - 1;  // replays of one request, after its first try

  // Watches that go on from where they were; zero: never.
  Duration watch_history_age = proxy::WatchHistoryOptions{}.hold_age;
  Duration watch_history_wait = proxy::WatchHistoryOptions{}.hold;
  Duration watch_steering_age = proxy::WatchHistoryOptions{}.steer_age;

  // Clients' shares.
  std::uint32_t anonymous_requests_per_address =
      proxy::ProxyOptions{}.anonymous_requests_per_address;  // without an answer yet, in one worker
  std::uint32_t unproven_requests_per_address =
      proxy::ProxyOptions{}.unproven_requests_per_address;                      // the same
  std::uint32_t tunnels_per_client = proxy::ProxyOptions{}.tunnels_per_client;  // the same; 0: any
  std::uint64_t body_bytes_per_client = 0;  // of them, in one worker; 0: a quarter

  friend bool operator==(const ClusterConfig&, const ClusterConfig&) = default;
};

// All that counts for a cluster; and all that one source can say.
struct Config : ProcessConfig, ClusterConfig {};

}  // namespace sluice::config
