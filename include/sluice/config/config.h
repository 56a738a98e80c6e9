// SPDX-License-Identifier: GPL-3.0-or-later
// Everything that can be set, as plain values with their defaults. One field here and one row in
// src/config/flags.cc make an option; whoever composes the process hands each layer its own part.
// "per worker" limits are not divided further.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "sluice/balance/picker.h"
#include "sluice/base/bytes.h"
#include "sluice/base/time.h"
#include "sluice/observability/log.h"

namespace sluice::config {

struct Config {
  // Clients.
  std::vector<std::string> listen = {"0.0.0.0:6443"};  // parsed by validate()
  std::string tls_cert_file;
  std::string tls_private_key_file;
  std::string client_ca_file;  // empty: no client certificates, no identity of ours
  bool client_cert_strict = false;
  std::uint32_t client_connections_max = 0;  // 0: as many as the descriptor limit allows
  Duration client_idle_timeout = std::chrono::minutes(15);   // connection without streams
  Duration client_stall_timeout = std::chrono::seconds(60);  // bytes to send, none taken
  Duration tls_handshake_timeout = std::chrono::seconds(10);
  Duration request_head_timeout = std::chrono::seconds(10);
  std::uint32_t request_head_fields_max = 4096;
  std::uint64_t request_head_bytes_max = 256 * 1024;
  std::uint32_t http2_max_streams_per_connection = 250;
  std::uint64_t http2_stream_window_bytes = 64 * 1024;
  std::uint64_t http2_stream_window_bytes_max = 1024 * 1024;
  std::uint64_t http2_connection_window_bytes = 16 * 1024 * 1024;

  // Backends.
  std::vector<std::string> backends;
  std::string backend_ca_file;
  std::string backend_server_name;  // empty: the address of each backend
  std::string backend_readiness_path = "/readyz";
  Duration backend_connect_timeout = std::chrono::seconds(3);
  Duration backend_idle_timeout = std::chrono::seconds(75);
  Duration backend_ping_interval = std::chrono::seconds(10);
  Duration backend_ping_timeout = std::chrono::seconds(5);
  Duration backend_backoff_max = std::chrono::seconds(3);       // between attempts to connect
  Duration backend_connection_age_max = std::chrono::hours(1);  // then replaced, make before break
  std::uint32_t backend_streams_per_connection = 100;           // or fewer, if the backend says so
  std::uint32_t backend_connections_max = 256;         // per worker, backend and kind of pool
  std::uint32_t backend_draining_connections_max = 8;  // per worker, backend and kind of pool
  Duration probe_interval = std::chrono::seconds(1);
  Duration probe_timeout = std::chrono::seconds(1);
  std::uint32_t probe_failures = 2;   // unclear answers in a row that take a backend out
  std::uint32_t probe_successes = 2;  // good answers in a row that bring it back

  // Identity.
  std::string proxy_client_cert_file;  // empty: plain balancer
  std::string proxy_client_key_file;
  std::vector<std::string> requestheader_username_headers = {"X-Remote-User"};
  std::vector<std::string> requestheader_group_headers = {"X-Remote-Group"};
  std::vector<std::string> requestheader_extra_headers_prefix = {"X-Remote-Extra-"};
  std::vector<std::string> requestheader_uid_headers = {"X-Remote-Uid"};
  std::uint32_t proven_tokens_max = 65536;           // per worker
  std::uint32_t suspect_streams_per_connection = 4;  // requests without a proven credential
  Duration suspect_connect_interval = std::chrono::milliseconds(20);  // per worker and backend

  // Balancing, deadlines, replay.
  balance::Policy balance = balance::Policy::power_of_two;
  Duration request_timeout = std::chrono::seconds(75);  // not for long-running requests
  std::uint64_t replay_body_bytes = 256 * 1024;         // per stream
  std::uint64_t replay_body_bytes_per_worker = 64 * 1024 * 1024;
  std::uint32_t replay_budget_percent = 20;  // replays per 100 requests
  std::uint32_t replay_tries = 2;            // replays of one request, after its first try

  // Process.
  std::uint32_t workers = 0;  // 0: one for each CPU that we may use
  std::uint64_t receive_buffer_bytes = 16 * 1024;
  std::uint32_t receive_buffers = 256;  // per worker
  std::uint64_t send_buffer_bytes = 64 * 1024;
  std::uint64_t body_bytes_per_worker = 256 * 1024 * 1024;  // bodies held at any moment
  Duration shutdown_delay_duration = std::chrono::seconds(5);
  Duration drain_timeout = std::chrono::seconds(60);
  std::string admin_listen = "127.0.0.1:9180";  // empty: none
  log::Level log_level = log::Level::info;
  std::string access_log;  // "-": standard output; empty: none
};

}  // namespace sluice::config
