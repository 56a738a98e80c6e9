// SPDX-License-Identifier: GPL-3.0-or-later
// The access log: one JSON object per line and exchange, or connection that is passed on. Each
// worker formats into a queue of its own; one thread writes them all. A full queue drops records
// and counts them; a worker never waits. No token is ever written: query values are shown only for
// parameters known to be harmless.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "sluice/base/error.h"
#include "sluice/base/time.h"

namespace sluice::observability {

enum class EndedBy : std::uint8_t {
  completed,
  client_reset,    // the client reset the stream or went away
  client_stalled,  // the client took nothing of what waited for it
  backend_lost,    // the connection to the backend ended under it
  backend_reset,   // the backend reset the stream
  drain,           // we ended it, because we or the backend are stopping
  local_reply,     // answered by us; see `reason`
};
std::string_view to_string(EndedBy ended_by);

// All views are only read during the call.
struct AccessRecord {
  std::chrono::system_clock::time_point time{};  // when the request head was complete
  std::string_view cluster = {};                 // its name, where clusters have names
  std::string_view client = {};                  // address and port
  std::string_view protocol = {};                // which HTTP it speaks, or how it is carried
  std::string_view server_name = {};             // that was asked for; of what is passed on
  std::string_view user = {};                    // as we vouch for it; empty: the backend decides
  std::string_view method = {};
  std::string_view path = {};  // with its query; redacted here
  std::string_view verb = {};
  std::string_view api_group = {};
  std::string_view resource = {};
  std::string_view subresource = {};
  std::string_view namespace_name = {};
  std::string_view name = {};
  std::string_view user_agent = {};
  std::string_view audit_id = {};
  int status = 0;                 // 0: no answer was begun
  std::string_view backend = {};  // the one that answered, or the last tried
  int tries = 0;
  std::uint64_t bytes_in = 0;   // request body
  std::uint64_t bytes_out = 0;  // response body
  Duration duration{};
  EndedBy ended_by = EndedBy::completed;
  std::string_view reason = {};  // of a local reply, reset or loss; may be empty
  bool watch = false;
};

// Appends the record as one line, newline included.
void append_json(std::string& line, const AccessRecord& record);

// The path as it may be written: unknown query parameters and whatever looks like a token lose
// their values.
std::string redact_path(std::string_view path);

struct AccessLogOptions {
  std::string path = {};  // "-": standard output
  std::size_t workers = 1;
  std::size_t queue_bytes_per_worker = 1024 * 1024;
};

class AccessLog {
 public:
  // Opens the file (appending, mode 0640) and starts the writer.
  static Result<std::unique_ptr<AccessLog>> open(const AccessLogOptions& options);
  ~AccessLog();  // writes what is queued, for at most a second

  // Only from the thread of `worker`.
  void write(std::size_t worker, const AccessRecord& record);

  // Any thread.
  std::uint64_t written() const;
  std::uint64_t dropped() const;
  std::uint64_t lost() const;  // that could not be written

 private:
  struct State;
  explicit AccessLog(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace sluice::observability
