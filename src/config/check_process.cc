// SPDX-License-Identifier: GPL-3.0-or-later
// Checks of what a process has once: workers, buffers, descriptors, its end, its log.
#include <algorithm>
#include <bit>

#include "checks.h"
#include "sluice/base/quote.h"
#include "sluice/config/flags.h"

namespace sluice::config {

namespace {

// Descriptors kept for backends, files, the admin address and the rings themselves.
constexpr std::uint64_t reserved_descriptors_min = 64;

void check_workers(const Environment& environment, Reporter& report, ProcessConfig& config) {
  if (config.workers == 0) config.workers = std::max(1u, environment.cpus);
  if (config.workers <= environment.cpus) return;
  report.warning("workers",
                 "--workers={}: more threads than the {} CPUs that we may use take turns instead "
                 "of working side by side.",
                 config.workers, environment.cpus);
}

void check_buffers(Reporter& report, const ProcessConfig& config) {
  if (!std::has_single_bit(config.receive_buffer_bytes)) {
    report.mistake("receive-buffer-bytes",
                   "--receive-buffer-bytes={} is no power of two: write 16KiB, for example.",
                   format_size(config.receive_buffer_bytes));
  }
  if (!std::has_single_bit(config.receive_buffers)) {
    report.mistake("receive-buffers",
                   "--receive-buffers={} is no power of two: write 256, for example.",
                   config.receive_buffers);
  }
}

void check_windows(Reporter& report, const ProcessConfig& config) {
  if (config.http2_stream_window_bytes > config.http2_stream_window_bytes_max) {
    report.mistake({"http2-stream-window-bytes", "http2-stream-window-bytes-max"},
                   "--http2-stream-window-bytes={} is larger than "
                   "--http2-stream-window-bytes-max={}: a window never shrinks; raise the second, "
                   "too.",
                   format_size(config.http2_stream_window_bytes),
                   format_size(config.http2_stream_window_bytes_max));
  }
  if (config.http2_stream_window_bytes_max > config.http2_connection_window_bytes) {
    report.mistake({"http2-stream-window-bytes-max", "http2-connection-window-bytes"},
                   "--http2-stream-window-bytes-max={} is larger than "
                   "--http2-connection-window-bytes={}: one stream could stop all others; make "
                   "the connection's the larger one.",
                   format_size(config.http2_stream_window_bytes_max),
                   format_size(config.http2_connection_window_bytes));
  }
}

void check_descriptors(const Environment& environment, Reporter& report, ProcessConfig& config) {
  const std::uint64_t limit = environment.descriptors_max;
  const std::uint64_t reserved =
      std::max<std::uint64_t>(limit / 10, std::min(reserved_descriptors_min, limit / 2));
  const std::uint64_t available = std::clamp<std::uint64_t>(limit - reserved, 1, 16'000'000);
  if (config.client_connections_max == 0) {
    config.client_connections_max = static_cast<std::uint32_t>(available);
  } else if (config.client_connections_max > available) {
    report.mistake(
        "client-connections-max",
        "--client-connections-max={} does not fit into the descriptor limit of {}, of which {} "
        "are kept for backends: raise the limit (LimitNOFILE=, ulimit -n) or write at most {}.",
        config.client_connections_max, limit, reserved, available);
  }
  if (config.client_connections_max < 1000) {
    report.warning("client-connections-max",
                   "At most {} clients can be connected: raise the descriptor limit (LimitNOFILE=, "
                   "ulimit -n) or --client-connections-max.",
                   config.client_connections_max);
  }
}

}  // namespace

void check_resources(const Environment& environment, Reporter& report, Validation& process) {
  check_workers(environment, report, process.config);
  check_windows(report, process.config);
  check_buffers(report, process.config);
  check_descriptors(environment, report, process.config);
}

void check_drain(Reporter& report, Validation& process) {
  const ProcessConfig& config = process.config;
  process.drain_timeout_tunnels = config.drain_timeout;
  if (config.drain_timeout_tunnels.empty()) return;
  const auto duration = parse_duration(config.drain_timeout_tunnels);
  if (duration && *duration <= std::chrono::hours(24)) {
    process.drain_timeout_tunnels = *duration;
    return;
  }
  report.mistake("drain-timeout-tunnels", "--drain-timeout-tunnels={}: {}",
                 quote(config.drain_timeout_tunnels),
                 duration ? "it must be from 0s to 24h." : duration.error().context + ".");
}

void check_access_log(const Environment& environment, Reporter& report,
                      const ProcessConfig& config) {
  if (config.access_log.empty() || config.access_log == "-" || !environment.may_append) return;
  const auto writable = environment.may_append(config.access_log);
  if (writable) return;
  report.mistake("access-log",
                 "--access-log={} cannot be written ({}): write a file in a folder of this user's, "
                 "or - for standard output.",
                 quote(config.access_log), writable.error().context);
}

}  // namespace sluice::config
