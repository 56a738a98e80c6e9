// SPDX-License-Identifier: GPL-3.0-or-later
// Signals as events of the control thread. Blocked in the whole process before any thread starts.
#pragma once

#include <functional>
#include <memory>

#include "sluice/io/operation.h"
#include "sluice/io/ring.h"

namespace sluice::server {

class Signals {
 public:
  // Blocks SIGTERM, SIGINT, SIGHUP, SIGUSR2 in this thread and those it starts, and ignores
  // SIGPIPE.
  static void block();

  // `on_signal` gets the number; on the ring's thread.
  static Result<std::unique_ptr<Signals>> create(io::Ring& ring,
                                                 std::function<void(int)> on_signal);
  ~Signals();

  void stop();
  bool stopped() const { return !poll_.in_flight(); }

 private:
  Signals(io::Ring& ring, int descriptor, std::function<void(int)> on_signal);
  void readable(const io::Completion& completion);

  io::Ring& ring_;
  int descriptor_;
  bool stopping_ = false;
  std::function<void(int)> on_signal_;
  io::Operation poll_;
};

}  // namespace sluice::server
