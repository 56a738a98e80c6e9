// SPDX-License-Identifier: GPL-3.0-or-later
// The process that is to take over from this one: started, spoken to, and ended if it fails.
//
// It is no child of ours but of whoever adopts orphans, the service manager for one, which can
// watch it then as the service's main process. It gets our standard streams, our folder, our
// umask, and of our descriptors those that are handed over.
//
// Thread: the control thread's. Starting takes milliseconds, in which this thread waits for it.
#pragma once

#include <sys/types.h>

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "sluice/base/error.h"

namespace sluice::server {

class Successor {
 public:
  virtual ~Successor() = default;
  virtual pid_t pid() const = 0;
  // As those of TakeOverLink.
  virtual bool say(std::string_view word) = 0;
  virtual std::optional<std::string> hear() = 0;
  virtual bool gone() const = 0;
  // Ends it at once.
  virtual void end() = 0;
};

struct SuccessorPlan {
  std::string path;
  std::vector<std::string> arguments;     // the program's own name first
  std::vector<int> sockets;               // listening ones of the process, which it inherits
  std::string state;                      // as of write_handover()
  std::vector<int> cluster_sockets = {};  // those of clusters
};

// Its environment: ours, with LISTEN_FDS and its kin for what it is passed, and with the watchdog's
// process changed to its own if that is `watched`. LISTEN_PID and WATCHDOG_PID are left empty, to
// be completed when the process is known. Pure.
std::vector<std::string> successor_environment(std::span<const char* const> ours,
                                               std::size_t sockets, std::size_t cluster_sockets,
                                               bool watched);

// The error is a sentence: the path cannot be executed, no descriptor is left, ...
Result<std::unique_ptr<Successor>> start_successor(const SuccessorPlan& plan);

}  // namespace sluice::server
