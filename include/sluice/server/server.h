// SPDX-License-Identifier: GPL-3.0-or-later
// The process: workers, and a control thread with probes, the admin listener and signals. The way
// from start to stop is src/server/stop_sequence.h.
//
// Thread: created and run on the main thread, which is the control thread.
#pragma once

#include <memory>

#include "sluice/base/error.h"
#include "sluice/server/configuration.h"
#include "sluice/server/options.h"
#include "sluice/server/process_start.h"

namespace sluice::server {

class Server {
 public:
  // Probes the kernel, blocks the signals that it will serve. Uses what `start` has inherited, and
  // starts the process that takes over as it says. The error is one sentence; a predecessor has
  // heard it. `read` is asked when the configuration is read again, on a thread of its own.
  static Result<std::unique_ptr<Server>> create(ServerOptions options, ReadConfiguration read,
                                                ProcessStart start);
  ~Server();

  // Serves until a signal; the exit code of the process.
  int run();

 private:
  class Process;
  explicit Server(std::unique_ptr<Process> process);
  std::unique_ptr<Process> process_;
};

}  // namespace sluice::server
