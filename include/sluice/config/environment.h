// SPDX-License-Identifier: GPL-3.0-or-later
// What has to be known of the world; tests bring their own.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "sluice/base/error.h"
#include "sluice/base/time.h"

namespace sluice::config {

struct Environment {
  WallTime now{};
  std::uint32_t cpus = 1;                // that we may use
  std::uint64_t descriptors_max = 1024;  // RLIMIT_NOFILE, the soft limit
  std::function<Result<std::string>(const std::string& path)> read_file;
  // The names of a folder's files, in any order.
  std::function<Result<std::vector<std::string>>(const std::string& path)> list_folder;
  // Where a symbolic link leads, as it is written there; an error for anything else.
  std::function<Result<std::string>(const std::string& path)> read_link;
  // What is another text when what is at this place, through links, was written or replaced; empty:
  // there is nothing.
  std::function<std::string(const std::string& path)> stamp;
  // Whether lines can be appended to this file (it need not exist).
  std::function<Result<void>(const std::string& path)> may_append;
  // Whether a file may be read by everybody.
  std::function<bool(const std::string& path)> others_may_read;
};
Environment system_environment();

}  // namespace sluice::config
