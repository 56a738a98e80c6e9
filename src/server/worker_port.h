// SPDX-License-Identifier: GPL-3.0-or-later
// A worker as others see it, whatever turns it: a thread of its own, or a simulation.
#pragma once

#include <functional>
#include <optional>

#include "sluice/io/reactor.h"

namespace sluice::server {

class Worker;

class WorkerPort {
 public:
  virtual ~WorkerPort() = default;

  // Any thread. `message` runs on the worker's thread, in the order of posting; dropped when the
  // worker has stopped or did not start.
  virtual void post(std::move_only_function<void(Worker&)> message) = 0;
  // Any thread.
  virtual bool stopped() const = 0;
  // Any thread: when the worker last turned, and what it does in it; nothing while it begins or
  // ends.
  virtual std::optional<io::TurnState> turn() const = 0;
};

}  // namespace sluice::server
