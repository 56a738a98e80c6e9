// SPDX-License-Identifier: GPL-3.0-or-later
// One thread of another process that stands still, as one that loops or waits for ever does, while
// all others run (ptrace(2)). A signal that ends its process ends it, too.
#pragma once

#include <sys/ptrace.h>
#include <sys/types.h>
#include <sys/wait.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>

namespace sluice::test {

// By its name; 0: there is none.
inline pid_t thread_of(pid_t process, std::string_view name) {
  const std::filesystem::path tasks = "/proc/" + std::to_string(process) + "/task";
  for (const auto& task : std::filesystem::directory_iterator(tasks)) {
    std::string its;
    std::getline(std::ifstream(task.path() / "comm"), its);
    if (its == name) return std::atoi(task.path().filename().c_str());
  }
  return 0;
}

// Made and destroyed by the same thread, as ptrace demands it.
class FrozenThread {
 public:
  explicit FrozenThread(pid_t thread) : thread_(thread) {
    frozen_ = ::ptrace(PTRACE_SEIZE, thread, nullptr, nullptr) == 0 &&
              ::ptrace(PTRACE_INTERRUPT, thread, nullptr, nullptr) == 0 &&
              ::waitpid(thread, nullptr, __WALL) == thread;
  }
  // It goes on, if it is there still.
  ~FrozenThread() {
    if (frozen_) ::ptrace(PTRACE_DETACH, thread_, nullptr, nullptr);
  }
  FrozenThread(const FrozenThread&) = delete;
  FrozenThread& operator=(const FrozenThread&) = delete;

  bool frozen() const { return frozen_; }
  // Its process is over, and only waits until we have taken note of its thread's end.
  bool take_note_of_end() {
    int status = 0;
    if (!frozen_ || ::waitpid(thread_, &status, __WALL | WNOHANG) != thread_) return false;
    if (!WIFEXITED(status) && !WIFSIGNALED(status)) return false;
    frozen_ = false;
    return true;
  }

 private:
  pid_t thread_;
  bool frozen_ = false;
};

}  // namespace sluice::test
