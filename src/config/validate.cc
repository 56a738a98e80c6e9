// SPDX-License-Identifier: GPL-3.0-or-later
// Checks of values against each other; files are in check_files.cc.
#include "sluice/config/validate.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <iterator>
#include <string_view>

#include "checks.h"
#include "sluice/base/ascii.h"
#include "sluice/base/quote.h"
#include "sluice/config/flags.h"

namespace sluice::config {

namespace {

// Descriptors kept for backends, files, the admin address and the rings themselves.
constexpr std::uint64_t reserved_descriptors_min = 64;

// Everything before the last colon that is not an IPv6 address and has a letter in it.
bool looks_like_name(std::string_view text) {
  const std::string_view host = text.substr(0, text.rfind(':'));
  if (host.find(':') != std::string_view::npos || host.starts_with('[')) return false;
  return std::ranges::any_of(host, ascii::is_letter);
}

std::string wrong_address(std::string_view flag, const std::string& text, const Error& error) {
  if (looks_like_name(text)) {
    return fmt::format("--{}={}: names are not resolved yet; write an address like 10.0.0.1:6443.",
                       flag, quote(text));
  }
  return fmt::format("--{}: {}.", flag, error.context);
}

bool any_address(const io::Address& address) {
  return address.host() == "0.0.0.0" || address.host() == "::";
}

bool overlap(const io::Address& a, const io::Address& b) {
  if (a.port() != b.port() || a.port() == 0) return false;
  if (a == b) return true;
  return a.family() == b.family() && (any_address(a) || any_address(b));
}

bool loopback(const io::Address& address) {
  return address.host().starts_with("127.") || address.host() == "::1";
}

// As far as can be told without asking which addresses are ours.
bool reaches(const io::Address& target, const io::Address& listener) {
  if (any_address(target)) return false;  // a mistake of its own
  const bool takes_both = listener.host() == "::" && target.port() == listener.port();
  return target == listener || (loopback(target) && (takes_both || overlap(target, listener)));
}

}  // namespace

void check_listeners(const Environment&, Validation& result) {
  const Config& config = result.config;
  const auto mistake = [&](std::string text) { result.mistakes.push_back(std::move(text)); };
  if (config.listen.empty())
    mistake("--listen is empty: write at least one address like 0.0.0.0:6443.");
  for (const std::string& text : config.listen) {
    const auto address = io::Address::parse(text);
    if (!address) {
      mistake(wrong_address("listen", text, address.error()));
      continue;
    }
    for (const io::Address& other : result.listen) {
      if (!overlap(*address, other)) continue;
      mistake(fmt::format("--listen={} overlaps with --listen={}: keep one of them.", quote(text),
                          quote(other.to_string())));
    }
    result.listen.push_back(*address);
    if (address->port() == 0) {
      result.notes.push_back(fmt::format("--listen={}: the system chooses the port.", text));
    }
  }
  if (config.admin_listen.empty()) {
    result.notes.emplace_back("--admin-listen is empty: no metrics, no readiness, no status.");
    return;
  }
  const auto admin = io::Address::parse(config.admin_listen);
  if (!admin) return mistake(wrong_address("admin-listen", config.admin_listen, admin.error()));
  for (const io::Address& address : result.listen) {
    if (!overlap(*admin, address)) continue;
    mistake(fmt::format("--admin-listen={} overlaps with --listen={}: give it a port of its own.",
                        quote(config.admin_listen), quote(address.to_string())));
  }
  result.admin_listen.push_back(*admin);
  if (!loopback(*admin)) {
    result.warnings.push_back(fmt::format(
        "--admin-listen={} can be reached from outside, without TLS: it shows users' request "
        "counts and backend addresses.",
        config.admin_listen));
  }
}

void check_backends(Validation& result) {
  const Config& config = result.config;
  const auto mistake = [&](std::string text) { result.mistakes.push_back(std::move(text)); };
  if (config.backends.empty()) {
    mistake("--backend is missing: write --backend=ADDR:PORT for each API server.");
  }
  if (config.backends.size() > balance::backends_max) {
    mistake(fmt::format("--backend is given {} times: at most {} are possible.",
                        config.backends.size(), balance::backends_max));
  }
  for (const std::string& text : config.backends) {
    const auto address = io::Address::parse(text);
    if (!address) {
      mistake(wrong_address("backend", text, address.error()));
      continue;
    }
    if (address->port() == 0 || any_address(*address)) {
      mistake(fmt::format(
          "--backend={}: nothing can be reached there; write an API server's own address "
          "and port.",
          quote(text)));
    }
    if (std::find(result.backends.begin(), result.backends.end(), *address) !=
        result.backends.end()) {
      mistake(fmt::format("--backend={} is given twice: keep one of them.", quote(text)));
    }
    for (const io::Address& ours : result.listen) {
      if (reaches(*address, ours)) {
        mistake(
            fmt::format("--backend={} is our own --listen address: requests would run in a circle; "
                        "write an API server's address.",
                        quote(text)));
      }
    }
    result.backends.push_back(*address);
    result.backend_server_names.push_back(
        config.backend_server_name.empty() ? address->host() : config.backend_server_name);
  }
  if (result.backends.size() == 1) {
    result.notes.emplace_back(
        "There is one backend only: nothing to balance, and nowhere to go when it is lost.");
  }

  const std::string& name = config.backend_server_name;
  const bool name_good =
      name.size() <= 253 && std::ranges::all_of(name, [](char c) {
        return ascii::is_alphanumeric(c) || c == '-' || c == '.' || c == ':' || c == '_';
      });
  if (!name_good || name.starts_with('.') || name.find("..") != std::string::npos) {
    mistake(fmt::format(
        "--backend-server-name={} is no host name or IP address: write what the API servers' "
        "certificates carry, like kubernetes.default.svc.",
        quote(name)));
  }
  const std::string& path = config.backend_readiness_path;
  const bool path_good =
      path.starts_with('/') && path.size() <= 1024 &&
      std::all_of(path.begin(), path.end(), [](char c) { return c > ' ' && c < 0x7f && c != '#'; });
  if (!path_good) {
    mistake(fmt::format(
        "--backend-readiness-path={} is no path: write one that begins with a slash, like "
        "/readyz.",
        quote(path)));
  }
}

void check_limits(const Environment& environment, Validation& result) {
  Config& config = result.config;
  const auto mistake = [&](std::string text) { result.mistakes.push_back(std::move(text)); };
  if (config.workers == 0) config.workers = std::max(1u, environment.cpus);
  if (config.workers > environment.cpus) {
    result.warnings.push_back(fmt::format(
        "--workers={}: more threads than the {} CPUs that we may use take turns instead of "
        "working side by side.",
        config.workers, environment.cpus));
  }
  const auto at_most = [&](std::string_view flag, std::uint64_t size, std::string_view other,
                           std::uint64_t largest, std::string_view remedy) {
    if (size <= largest) return;
    mistake(fmt::format("{}={} is larger than {}={}: {}", flag, format_size(size), other,
                        format_size(largest), remedy));
  };
  at_most("--http2-stream-window-bytes", config.http2_stream_window_bytes,
          "--http2-stream-window-bytes-max", config.http2_stream_window_bytes_max,
          "a window never shrinks; raise the second, too.");
  at_most("--http2-stream-window-bytes-max", config.http2_stream_window_bytes_max,
          "--http2-connection-window-bytes", config.http2_connection_window_bytes,
          "one stream could stop all others; make the connection's the larger one.");
  at_most("--replay-body-bytes", config.replay_body_bytes, "--replay-body-bytes-per-worker",
          config.replay_body_bytes_per_worker, "make the worker's the larger one.");
  if (!std::has_single_bit(config.receive_buffer_bytes)) {
    mistake(fmt::format("--receive-buffer-bytes={} is no power of two: write 16KiB, for example.",
                        format_size(config.receive_buffer_bytes)));
  }
  if (!std::has_single_bit(config.receive_buffers)) {
    mistake(fmt::format("--receive-buffers={} is no power of two: write 256, for example.",
                        config.receive_buffers));
  }
  if (config.backend_streams_per_connection < config.suspect_streams_per_connection) {
    mistake(fmt::format(
        "--suspect-streams-per-connection={} is more than --backend-streams-per-connection={}: "
        "suspects should share fewer streams, not more.",
        config.suspect_streams_per_connection, config.backend_streams_per_connection));
  }

  const std::uint64_t limit = environment.descriptors_max;
  const std::uint64_t reserved =
      std::max<std::uint64_t>(limit / 10, std::min(reserved_descriptors_min, limit / 2));
  const std::uint64_t available = std::clamp<std::uint64_t>(limit - reserved, 1, 16'000'000);
  if (config.client_connections_max == 0) {
    config.client_connections_max = static_cast<std::uint32_t>(available);
  } else if (config.client_connections_max > available) {
    mistake(fmt::format(
        "--client-connections-max={} does not fit into the descriptor limit of {}, of which {} "
        "are kept for backends: raise the limit (LimitNOFILE=, ulimit -n) or write at most {}.",
        config.client_connections_max, limit, reserved, available));
  }
  if (config.client_connections_max < 1000) {
    result.warnings.push_back(fmt::format(
        "At most {} clients can be connected: raise the descriptor limit (LimitNOFILE=, "
        "ulimit -n) or --client-connections-max.",
        config.client_connections_max));
  }
}

void check_timeouts(Validation& result) {
  const Config& config = result.config;
  const auto mistake = [&](std::string text) { result.mistakes.push_back(std::move(text)); };
  const auto warning = [&](std::string text) { result.warnings.push_back(std::move(text)); };
  if (config.backend_ping_timeout > config.backend_ping_interval) {
    mistake(fmt::format(
        "--backend-ping-timeout={} is longer than --backend-ping-interval={}: the next PING "
        "would go out before the last has failed; make it the shorter one.",
        format_duration(config.backend_ping_timeout),
        format_duration(config.backend_ping_interval)));
  }
  if (config.probe_timeout > config.probe_interval * 10) {
    mistake(fmt::format(
        "--probe-timeout={} is longer than ten times --probe-interval={}: a lost backend would "
        "be found late; make it shorter.",
        format_duration(config.probe_timeout), format_duration(config.probe_interval)));
  }
  if (config.backend_idle_timeout >= std::chrono::seconds(90)) {
    warning(fmt::format(
        "--backend-idle-timeout={}: API servers end connections that were idle for 90s; below "
        "that, none is lost under a request.",
        format_duration(config.backend_idle_timeout)));
  }
  if (config.backend_idle_timeout > config.backend_connection_age_max) {
    mistake(fmt::format(
        "--backend-idle-timeout={} is longer than --backend-connection-age-max={}: make it the "
        "shorter one.",
        format_duration(config.backend_idle_timeout),
        format_duration(config.backend_connection_age_max)));
  }
  if (config.request_timeout <= std::chrono::seconds(60)) {
    warning(
        fmt::format("--request-timeout={} is not longer than the API servers' own deadline (60s by "
                    "default): clients get our answer instead of theirs.",
                    format_duration(config.request_timeout)));
  }
  if (config.backend_connect_timeout >= config.request_timeout) {
    mistake(fmt::format(
        "--backend-connect-timeout={} is not shorter than --request-timeout={}: no request "
        "could try a second backend; make it shorter.",
        format_duration(config.backend_connect_timeout), format_duration(config.request_timeout)));
  }
}

void check_drain(Validation& result) {
  const Config& config = result.config;
  result.drain_timeout_tunnels = config.drain_timeout;
  if (config.drain_timeout_tunnels.empty()) return;
  const auto duration = parse_duration(config.drain_timeout_tunnels);
  if (!duration || *duration > std::chrono::hours(24)) {
    result.mistakes.push_back(
        fmt::format("--drain-timeout-tunnels={}: {}", quote(config.drain_timeout_tunnels),
                    duration ? "it must be from 0s to 24h." : duration.error().context + "."));
    return;
  }
  result.drain_timeout_tunnels = *duration;
}

void check_identity_headers(Validation& result) {
  const Config& config = result.config;
  struct Family {
    std::string_view flag;
    const std::vector<std::string>& names;
    bool may_be_empty;
  };
  const Family families[] = {
      {"requestheader-username-headers", config.requestheader_username_headers, false},
      {"requestheader-group-headers", config.requestheader_group_headers, false},
      {"requestheader-extra-headers-prefix", config.requestheader_extra_headers_prefix, false},
      {"requestheader-uid-headers", config.requestheader_uid_headers, true},
  };
  // Fields that mean something else already.
  const auto reserved = {"authorization", "host",   "content-length",    "content-type",
                         "connection",    "te",     "transfer-encoding", "upgrade",
                         "accept",        "cookie", "user-agent",        "x-forwarded-for"};
  std::vector<std::pair<std::string, std::string_view>> seen;
  for (const Family& family : families) {
    if (family.names.empty() && !family.may_be_empty) {
      result.mistakes.push_back(
          fmt::format("--{} is empty: write the name that the API servers expect.", family.flag));
    }
    for (const std::string& name : family.names) {
      const std::string small = ascii::lowered(name);
      if (!ascii::is_token(name)) {
        result.mistakes.push_back(
            fmt::format("--{}={} is no field name: write letters, digits and dashes.", family.flag,
                        quote(name)));
        continue;
      }
      if (std::find(reserved.begin(), reserved.end(), small) != reserved.end() ||
          small.starts_with("impersonate-")) {
        result.mistakes.push_back(
            fmt::format("--{}={} is a field with another meaning: write a name of its own, "
                        "like X-Remote-User.",
                        family.flag, quote(name)));
      }
      for (const auto& [other, flag] : seen) {
        if (other != small) continue;
        result.mistakes.push_back(
            fmt::format("--{}={} is in --{}, too: each name can have one meaning only.",
                        family.flag, quote(name), flag));
      }
      seen.emplace_back(small, family.flag);
    }
  }
}

std::string Validation::report() const {
  std::string out;
  for (const std::string& note : notes) out += "note: " + note + '\n';
  for (const std::string& warning : warnings) out += "warning: " + warning + '\n';
  for (const std::string& mistake : mistakes) out += "mistake: " + mistake + '\n';
  if (valid()) {
    out += "configuration is valid\n";
  } else {
    fmt::format_to(std::back_inserter(out), "configuration is not valid: {} mistake{}\n",
                   mistakes.size(), mistakes.size() == 1 ? "" : "s");
  }
  return out;
}

Validation validate(const Config& config, const Environment& environment) {
  Validation result;
  result.config = config;
  result.checked_at = environment.now;
  check_listeners(environment, result);
  check_networks(result);
  check_backends(result);
  check_limits(environment, result);
  check_timeouts(result);
  check_drain(result);
  check_identity_headers(result);
  check_files(environment, result);
  return result;
}

}  // namespace sluice::config
