// SPDX-License-Identifier: GPL-3.0-or-later
// JSON lines, and what of a path may be seen in them.
#include "sluice/observability/access_log.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <vector>

#include "line_writer.h"
#include "sluice/base/ascii.h"
#include "sluice/base/check.h"
#include "sluice/observability/escape.h"

namespace sluice::observability {

namespace {

constexpr std::size_t path_bytes_max = 2048;
constexpr std::size_t text_bytes_max = 512;
constexpr std::string_view redacted = "[redacted]";

// Query parameters of the Kubernetes API whose values are never a credential; all others are shown
// by name only. Missing on purpose: `command` of exec and `path` of proxies carry what users type.
constexpr auto shown_parameters = std::to_array<std::string_view>({
    "allowWatchBookmarks",
    "container",
    "dryRun",
    "fieldManager",
    "fieldSelector",
    "fieldValidation",
    "follow",
    "force",
    "gracePeriodSeconds",
    "ignoreStoreReadErrorWithClusterBreakingPotential",
    "insecureSkipTLSVerifyBackend",
    "labelSelector",
    "limit",
    "limitBytes",
    "orphanDependents",
    "ports",
    "pretty",
    "previous",
    "propagationPolicy",
    "resourceVersion",
    "resourceVersionMatch",
    "sendInitialEvents",
    "shardSelector",
    "sinceSeconds",
    "sinceTime",
    "stderr",
    "stdin",
    "stdout",
    "stream",
    "tailLines",
    "timeout",
    "timeoutSeconds",
    "timestamps",
    "tty",
    "verbose",
    "watch",
});
static_assert(std::is_sorted(shown_parameters.begin(), shown_parameters.end()));

bool shown(std::string_view parameter) {
  return std::binary_search(shown_parameters.begin(), shown_parameters.end(), parameter);
}

bool base64url_or_dot(char c) {
  return ascii::is_alphanumeric(c) || c == '-' || c == '_' || c == '.';
}

// Everything that begins like a JSON Web Token ("eyJ" is the base64 of `{"`) and is long enough to
// be one, wherever it stands.
void append_without_tokens(std::string& out, std::string_view text) {
  constexpr std::size_t token_bytes_min = 20;
  while (!text.empty()) {
    const std::size_t begin = text.find("eyJ");
    if (begin == std::string_view::npos) break;
    std::size_t end = begin;
    while (end < text.size() && base64url_or_dot(text[end])) ++end;
    out += text.substr(0, begin);
    if (end - begin >= token_bytes_min) {
      out += redacted;
    } else {
      out += text.substr(begin, end - begin);
    }
    text.remove_prefix(end);
  }
  out += text;
}

template <class Integer>
void append_integer(std::string& out, Integer value) {
  std::array<char, 24> digits;
  const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), value).ptr;
  out.append(digits.data(), end);
}

void append_padded(std::string& out, std::uint64_t value, std::size_t width) {
  std::array<char, 24> digits;
  const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), value).ptr;
  const auto size = static_cast<std::size_t>(end - digits.data());
  if (size < width) out.append(width - size, '0');
  out.append(digits.data(), size);
}

// RFC 3339 with milliseconds, UTC.
void append_time(std::string& out, std::chrono::system_clock::time_point time) {
  const auto day = std::chrono::floor<std::chrono::days>(time);
  const std::chrono::year_month_day date(day);
  const std::chrono::hh_mm_ss clock(std::chrono::floor<std::chrono::milliseconds>(time - day));
  append_padded(out, static_cast<std::uint64_t>(std::max(0, int{date.year()})), 4);
  out += '-';
  append_padded(out, unsigned{date.month()}, 2);
  out += '-';
  append_padded(out, unsigned{date.day()}, 2);
  out += 'T';
  append_padded(out, static_cast<std::uint64_t>(clock.hours().count()), 2);
  out += ':';
  append_padded(out, static_cast<std::uint64_t>(clock.minutes().count()), 2);
  out += ':';
  append_padded(out, static_cast<std::uint64_t>(clock.seconds().count()), 2);
  out += '.';
  append_padded(out, static_cast<std::uint64_t>(clock.subseconds().count()), 3);
  out += 'Z';
}

// Three decimals, without a detour through floating point.
void append_milliseconds(std::string& out, Duration duration) {
  const auto us = static_cast<std::uint64_t>(std::max<Duration::rep>(
      0, std::chrono::duration_cast<std::chrono::microseconds>(duration).count()));
  append_integer(out, us / 1000);
  out += '.';
  append_padded(out, us % 1000, 3);
}

class JsonObject {
 public:
  explicit JsonObject(std::string& out) : out_(out) { out_ += '{'; }
  void end() { out_ += "}\n"; }

  std::string& key(std::string_view name) {
    if (!first_) out_ += ',';
    first_ = false;
    out_ += '"';
    out_ += name;
    out_ += "\":";
    return out_;
  }
  void text(std::string_view name, std::string_view value, std::size_t max = text_bytes_max) {
    append_json_string(key(name), value, max);
  }
  // Left out when there is nothing to say.
  void text_if_any(std::string_view name, std::string_view value) {
    if (!value.empty()) text(name, value);
  }

 private:
  std::string& out_;
  bool first_ = true;
};

}  // namespace

std::string_view to_string(EndedBy ended_by) {
  switch (ended_by) {
    case EndedBy::completed: return "completed";
    case EndedBy::client_reset: return "client_reset";
    case EndedBy::client_stalled: return "client_stalled";
    case EndedBy::backend_lost: return "backend_lost";
    case EndedBy::backend_reset: return "backend_reset";
    case EndedBy::drain: return "drain";
    case EndedBy::local_reply: return "local_reply";
  }
  return "unknown";
}

std::string redact_path(std::string_view path) {
  std::string out;
  out.reserve(std::min(path.size(), path_bytes_max) + redacted.size());
  const std::size_t mark = path.find('?');
  append_without_tokens(out, path.substr(0, mark));
  if (mark == std::string_view::npos) return out;
  out += '?';
  std::string_view query = path.substr(mark + 1);
  // Readers disagree on whether a semicolon or a second question mark separates: for secrets they
  // do.
  while (true) {
    const std::size_t end = query.find_first_of("&;?");
    const std::string_view pair = query.substr(0, end);
    const std::size_t equals = pair.find('=');
    const std::string_view name = pair.substr(0, equals);
    if (equals == std::string_view::npos) {
      // A name alone may be a token, too.
      append_without_tokens(out, shown(name) || name.size() < 32 ? name : redacted);
    } else {
      append_without_tokens(out, name);
      out += '=';
      if (shown(name)) {
        append_without_tokens(out, pair.substr(equals + 1));
      } else if (equals + 1 < pair.size()) {
        out += redacted;
      }
    }
    if (end == std::string_view::npos) break;
    out += query[end];
    query.remove_prefix(end + 1);
  }
  return out;
}

void append_json(std::string& line, const AccessRecord& record) {
  JsonObject json(line);
  json.key("time") += '"';
  append_time(line, record.time);
  line += '"';
  json.text_if_any("cluster", record.cluster);
  json.text("client", record.client);
  json.text_if_any("protocol", record.protocol);
  json.text_if_any("server_name", record.server_name);
  json.text_if_any("user", record.user);
  const bool harmless = record.path.find('?') == std::string_view::npos &&
                        record.path.find("eyJ") == std::string_view::npos;
  if (!record.method.empty() || !record.path.empty()) {
    json.text("method", record.method);
    json.text("path", harmless ? std::string(record.path) : redact_path(record.path),
              path_bytes_max);
  }
  json.text_if_any("verb", record.verb);
  json.text_if_any("api_group", record.api_group);
  json.text_if_any("resource", record.resource);
  json.text_if_any("subresource", record.subresource);
  json.text_if_any("namespace", record.namespace_name);
  json.text_if_any("name", record.name);
  json.text_if_any("user_agent", record.user_agent);
  json.text_if_any("audit_id", record.audit_id);
  append_integer(json.key("status"), record.status);
  json.text_if_any("backend", record.backend);
  append_integer(json.key("tries"), record.tries);
  append_integer(json.key("bytes_in"), record.bytes_in);
  append_integer(json.key("bytes_out"), record.bytes_out);
  append_milliseconds(json.key("duration_ms"), record.duration);
  json.text("ended_by", to_string(record.ended_by));
  json.text_if_any("reason", record.reason);
  json.key("watch") += record.watch ? "true" : "false";
  json.end();
}

struct AccessLog::State {
  struct alignas(64) Scratch {
    std::string line;
  };
  std::vector<Scratch> scratch;
  std::unique_ptr<LineWriter> writer;
};

AccessLog::AccessLog(std::unique_ptr<State> state) : state_(std::move(state)) {}
AccessLog::~AccessLog() = default;

Result<std::unique_ptr<AccessLog>> AccessLog::open(const AccessLogOptions& options) {
  CHECK_GE(options.workers, 1u);
  const bool standard_output = options.path == "-";
  const int descriptor = standard_output ? STDOUT_FILENO
                                         : ::open(options.path.c_str(),
                                                  O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0640);
  if (descriptor < 0) return fail_errno("open the access log " + options.path, errno);
  auto state = std::make_unique<State>();
  state->scratch.resize(options.workers);
  state->writer = std::make_unique<LineWriter>(LineWriterOptions{
      .descriptor = descriptor,
      .close_descriptor = !standard_output,
      .rings = options.workers,
      .ring_bytes = options.queue_bytes_per_worker,
  });
  return std::unique_ptr<AccessLog>(new AccessLog(std::move(state)));
}

void AccessLog::write(std::size_t worker, const AccessRecord& record) {
  CHECK_LT(worker, state_->scratch.size());
  std::string& line = state_->scratch[worker].line;
  line.clear();
  append_json(line, record);
  state_->writer->push(worker, line);
}

std::uint64_t AccessLog::written() const { return state_->writer->pushed(); }
std::uint64_t AccessLog::dropped() const { return state_->writer->dropped(); }
std::uint64_t AccessLog::lost() const { return state_->writer->lost(); }

}  // namespace sluice::observability
