// SPDX-License-Identifier: GPL-3.0-or-later
// Messages from other threads to the thread that runs a ring. Any thread posts; the owner runs the
// messages once a turn. A post wakes the owner only when it sleeps.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "sluice/io/operation.h"
#include "sluice/io/ring.h"

namespace sluice::io {

class Mailbox {
 public:
  using Message = std::move_only_function<void()>;

  // On the owner's thread; the wake-up descriptor (io/socket.h) is polled through `ring`.
  static Result<std::unique_ptr<Mailbox>> create(Ring& ring);
  ~Mailbox();  // CHECKs that stop() was called and its operation has ended

  // Any thread. Messages of one thread arrive in their order.
  void post(Message message);

  // Owner: runs all messages posted until now; returns how many. What they post themselves runs at
  // the next call.
  std::size_t run();

  // Owner: brackets of the wait. prepare_to_wait() returns false when messages are already there
  // (do not sleep then).
  bool prepare_to_wait();
  void finished_waiting();

  // Owner: cancels the poll operation; turns of the ring complete it. What is posted later still
  // runs with `run`, but wakes nobody.
  void stop();
  bool stopped() const { return !wake_.in_flight(); }

  // How often a post woke the owner; any thread.
  std::uint64_t wakes() const { return wakes_.load(std::memory_order_relaxed); }

 private:
  Mailbox(Ring& ring, int descriptor);
  void woken(const Completion& completion);

  Ring& ring_;
  int descriptor_;
  Operation wake_;
  bool stopping_ = false;
  std::atomic<bool> sleeping_{false};
  std::atomic<bool> waiting_messages_{false};  // lets `run` look without the lock
  std::atomic<std::uint64_t> wakes_{0};
  std::mutex mutex_;
  std::vector<Message> posted_;   // under mutex_
  std::vector<Message> running_;  // the owner's
};

}  // namespace sluice::io
