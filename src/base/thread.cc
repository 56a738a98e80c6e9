// SPDX-License-Identifier: GPL-3.0-or-later
// A thread inherits what its maker blocks.
#include "sluice/base/thread.h"

#include <signal.h>

#include <utility>

namespace sluice {
namespace {

class AllSignalsBlocked {
 public:
  AllSignalsBlocked() {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  ~AllSignalsBlocked() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  AllSignalsBlocked(const AllSignalsBlocked&) = delete;
  AllSignalsBlocked& operator=(const AllSignalsBlocked&) = delete;

 private:
  sigset_t before_{};
};

}  // namespace

std::thread start_thread(std::move_only_function<void()> work) {
  const AllSignalsBlocked blocked;
  return std::thread(std::move(work));
}

}  // namespace sluice
