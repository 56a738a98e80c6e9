// SPDX-License-Identifier: GPL-3.0-or-later
// What the server takes from the system around it apart from rings and sockets (io/): randomness,
// the service manager, the end of the process. A simulation brings its own. Time is the ring's, and
// signals are events that whoever runs the control thread hands to it (signals.h).
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "sluice/base/time.h"
#include "sluice/discovery/resolver.h"
#include "sluice/io/address.h"
#include "successor.h"
#include "systemd.h"

namespace sluice::server {

class Environment {
 public:
  virtual ~Environment() = default;

  // Nobody outside can guess it: seeds, and keys of hashes.
  virtual std::uint64_t random() = 0;
  // As those of systemd.h.
  virtual bool notify_service_manager(std::string_view state) = 0;
  virtual std::unique_ptr<NotifyBarrier> notify_barrier() = 0;
  virtual std::optional<Duration> watchdog_interval() = 0;
  // Runs it on another thread, one after the other: what takes long, or may block. `work` touches
  // nothing that may end before the process does.
  virtual void aside(std::move_only_function<void()> work) = 0;
  // As those of discovery::Resolver.
  virtual void resolve(discovery::Question question, discovery::Resolver::Answered answered) = 0;
  // As those of interface_addresses.h.
  virtual std::vector<io::Address> interface_addresses() = 0;
  // As that of successor.h.
  virtual Result<std::unique_ptr<Successor>> start_successor(const SuccessorPlan& plan) = 0;
  // Ends the process without waiting for any thread, after what was logged has been written.
  virtual void abandon(int exit_code) = 0;
  // The same by SIGABRT, with what the system keeps then; `why` is logged.
  virtual void abort(std::string_view why) = 0;
};

std::unique_ptr<Environment> system_environment();

}  // namespace sluice::server
