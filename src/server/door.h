// SPDX-License-Identifier: GPL-3.0-or-later
// What lets other threads speak to an object of the control thread for as long as it is there. They
// hold the door, which outlives it.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <utility>

#include "sluice/io/reactor.h"

namespace sluice::server {

template <class Inside>
class Door : public std::enable_shared_from_this<Door<Inside>> {
 public:
  // The reactor's thread. Both are there until close().
  Door(io::Reactor& reactor, Inside& inside) : reactor_(reactor), inside_(&inside) {}

  // The reactor's thread: nobody is let in any more.
  void close() {
    const std::lock_guard lock(mutex_);
    inside_ = nullptr;
  }

  // Any thread. Runs on the reactor's thread, or never.
  void post(std::move_only_function<void(Inside&)> message) {
    const std::lock_guard lock(mutex_);
    if (inside_ == nullptr) return;
    reactor_.mailbox().post(
        [door = this->shared_from_this(), message = std::move(message)]() mutable {
          if (door->inside_ != nullptr) message(*door->inside_);
        });
  }

 private:
  std::mutex mutex_;
  io::Reactor& reactor_;  // used while there is somebody inside
  Inside* inside_;        // written by the reactor's thread
};

}  // namespace sluice::server
