// SPDX-License-Identifier: GPL-3.0-or-later
// What a change of the configuration cannot change before the next start or take-over.
#include "sluice/config/changes.h"

#include <fmt/format.h>

#include <array>

#include "flag.h"
#include "sluice/base/check.h"
#include "sluice/base/quote.h"

namespace sluice::config {

namespace {

// Sockets and memory that the workers were made with.
constexpr std::array fixed{
    "listen",
    "admin-listen",
    "workers",
    "client-connections-max",
    "receive-buffer-bytes",
    "receive-buffers",
    "send-buffer-bytes",
    "body-bytes-per-worker",
    "replay-body-bytes-per-worker",
    "overload-wait",
    "overload-patience",
    "worker-stall-timeout",
    "access-log",
};

}  // namespace

std::vector<std::string> fixed_changes(const Config& started, const Config& now) {
  std::vector<std::string> sentences;
  for (const char* name : fixed) {
    const Flag* flag = find_flag(name);
    CHECK(flag != nullptr);
    const std::string before = print_flag(started, *flag);
    const std::string after = print_flag(now, *flag);
    if (before == after) continue;
    sentences.push_back(
        fmt::format("--{}={} cannot be taken over while the process runs, and {} stays: it counts "
                    "from the next start or take-over on.",
                    name, printable(after), printable(before)));
  }
  return sentences;
}

}  // namespace sluice::config
