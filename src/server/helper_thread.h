// SPDX-License-Identifier: GPL-3.0-or-later
// A thread for what may take long or block: reading files, and making what they are for. One work
// after the other. It is not waited for at the end of the process
// while it is in the middle of one: what a disk does not answer must not keep us.
#pragma once

#include <functional>
#include <memory>

namespace sluice::server {

class HelperThread {
 public:
  HelperThread();
  ~HelperThread();  // work that has not begun never runs
  HelperThread(const HelperThread&) = delete;
  HelperThread& operator=(const HelperThread&) = delete;

  // Any thread. `work` touches nothing that may end before the process does.
  void run(std::move_only_function<void()> work);

 private:
  void start();

  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace sluice::server
