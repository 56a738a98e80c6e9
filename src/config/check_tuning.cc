// SPDX-License-Identifier: GPL-3.0-or-later
// Checks of tuning: values against each other, whoever has set them.
#include <algorithm>
#include <string_view>

#include "checks.h"
#include "sluice/base/ascii.h"
#include "sluice/base/quote.h"
#include "sluice/config/flags.h"

namespace sluice::config {

namespace {

void check_sizes(Reporter& report, const Config& config) {
  if (config.replay_body_bytes > config.replay_body_bytes_per_worker) {
    report.mistake({"replay-body-bytes", "replay-body-bytes-per-worker"},
                   "--replay-body-bytes={} is larger than --replay-body-bytes-per-worker={}: make "
                   "the worker's the larger one.",
                   format_size(config.replay_body_bytes),
                   format_size(config.replay_body_bytes_per_worker));
  }
  if (config.backend_streams_per_connection < config.suspect_streams_per_connection) {
    report.mistake({"suspect-streams-per-connection", "backend-streams-per-connection"},
                   "--suspect-streams-per-connection={} is more than "
                   "--backend-streams-per-connection={}: suspects should share fewer streams, not "
                   "more.",
                   config.suspect_streams_per_connection, config.backend_streams_per_connection);
  }
}

void check_backend_timeouts(Reporter& report, const Config& config) {
  if (config.backend_ping_timeout > config.backend_ping_interval) {
    report.mistake({"backend-ping-timeout", "backend-ping-interval"},
                   "--backend-ping-timeout={} is longer than --backend-ping-interval={}: the next "
                   "PING would go out before the last has failed; make it the shorter one.",
                   format_duration(config.backend_ping_timeout),
                   format_duration(config.backend_ping_interval));
  }
  if (config.probe_timeout > config.probe_interval * 10) {
    report.mistake({"probe-timeout", "probe-interval"},
                   "--probe-timeout={} is longer than ten times --probe-interval={}: a lost "
                   "backend would be found late; make it shorter.",
                   format_duration(config.probe_timeout), format_duration(config.probe_interval));
  }
  if (config.backend_idle_timeout >= std::chrono::seconds(90)) {
    report.warning("backend-idle-timeout",
                   "--backend-idle-timeout={}: API servers end connections that were idle for "
                   "90s; below that, none is lost under a request.",
                   format_duration(config.backend_idle_timeout));
  }
  if (config.backend_idle_timeout > config.backend_connection_age_max) {
    report.mistake({"backend-idle-timeout", "backend-connection-age-max"},
                   "--backend-idle-timeout={} is longer than --backend-connection-age-max={}: "
                   "make it the shorter one.",
                   format_duration(config.backend_idle_timeout),
                   format_duration(config.backend_connection_age_max));
  }
}

void check_silence_timeout(Reporter& report, const Config& config) {
  const Duration timeout = config.client_silence_timeout;
  if (timeout == Duration::zero() || timeout >= std::chrono::seconds(15)) return;
  report.warning("client-silence-timeout",
                 "--client-silence-timeout={}: a network that stands still for so short a time "
                 "costs clients their watches; 90s is usual.",
                 format_duration(timeout));
}

void check_request_timeout(Reporter& report, const Config& config) {
  if (config.request_timeout <= std::chrono::seconds(60)) {
    report.warning("request-timeout",
                   "--request-timeout={} is not longer than the API servers' own deadline (60s by "
                   "default): clients get our answer instead of theirs.",
                   format_duration(config.request_timeout));
  }
  if (config.backend_connect_timeout >= config.request_timeout) {
    report.mistake({"backend-connect-timeout", "request-timeout"},
                   "--backend-connect-timeout={} is not shorter than --request-timeout={}: no "
                   "request could try a second backend; make it shorter.",
                   format_duration(config.backend_connect_timeout),
                   format_duration(config.request_timeout));
  }
}

void check_readiness_path(Reporter& report, const std::string& path) {
  const bool good =
      path.starts_with('/') && path.size() <= 1024 &&
      std::ranges::all_of(path, [](char c) { return c > ' ' && c < 0x7f && c != '#'; });
  if (good) return;
  report.mistake("backend-readiness-path",
                 "--backend-readiness-path={} is no path: write one that begins with a slash, like "
                 "/readyz.",
                 quote(path));
}

// Fields that mean something else already.
bool is_reserved(std::string_view name) {
  constexpr std::string_view reserved[] = {
      "authorization", "host",   "content-length",    "content-type",
      "connection",    "te",     "transfer-encoding", "upgrade",
      "accept",        "cookie", "user-agent",        "x-forwarded-for"};
  return std::ranges::find(reserved, name) != std::end(reserved) ||
         name.starts_with("impersonate-");
}

class IdentityHeaders {
 public:
  explicit IdentityHeaders(Reporter& report) : report_(report) {}

  void check(std::string_view flag, const std::vector<std::string>& names, bool may_be_empty) {
    if (names.empty() && !may_be_empty) {
      report_.mistake(flag, "--{} is empty: write the name that the API servers expect.", flag);
    }
    for (std::size_t i = 0; i < names.size(); ++i) check({flag, i}, names[i]);
  }

 private:
  void check(const About& about, const std::string& name) {
    const std::string small = ascii::lowered(name);
    if (!ascii::is_token(name)) {
      return report_.mistake(about, "--{}={} is no field name: write letters, digits and dashes.",
                             about.flag, quote(name));
    }
    if (is_reserved(small)) {
      report_.mistake(about,
                      "--{}={} is a field with another meaning: write a name of its own, like "
                      "X-Remote-User.",
                      about.flag, quote(name));
    }
    for (const auto& [other, flag] : seen_) {
      if (other != small) continue;
      report_.mistake(about, "--{}={} is in --{}, too: each name can have one meaning only.",
                      about.flag, quote(name), flag);
    }
    seen_.emplace_back(small, about.flag);
  }

  Reporter& report_;
  std::vector<std::pair<std::string, std::string_view>> seen_;
};

}  // namespace

void check_tuning(Reporter& report, const Config& config) {
  check_sizes(report, config);
  check_backend_timeouts(report, config);
  check_request_timeout(report, config);
  check_silence_timeout(report, config);
  check_readiness_path(report, config.backend_readiness_path);
  IdentityHeaders headers(report);
  headers.check("requestheader-username-headers", config.requestheader_username_headers, false);
  headers.check("requestheader-group-headers", config.requestheader_group_headers, false);
  headers.check("requestheader-extra-headers-prefix", config.requestheader_extra_headers_prefix,
                false);
  headers.check("requestheader-uid-headers", config.requestheader_uid_headers, true);
}

}  // namespace sluice::config
