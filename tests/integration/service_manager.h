// SPDX-License-Identifier: GPL-3.0-or-later
// A service manager, as far as sd_notify(3) and its watchdog go: it listens to the main process
// alone, which the kernel tells it (SCM_CREDENTIALS), and ends a main process that does not feed
// the watchdog in time. The first that says something is the main process.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "harness.h"

namespace sluice::test {

class ServiceManager {
 public:
  explicit ServiceManager(Duration watchdog);
  ~ServiceManager();
  ServiceManager(const ServiceManager&) = delete;
  ServiceManager& operator=(const ServiceManager&) = delete;

  // For the process's environment.
  std::map<std::string, std::string> environment() const;
  pid_t main_process() const { return main_; }
  int barriers() const { return barriers_; }
  // It has ended a process that did not feed it.
  bool has_barked() const { return barked_; }
  // From the main process; from others, which nobody has listened to.
  std::vector<std::string> taken() const;
  std::vector<std::string> dropped() const;

 private:
  void run();
  void receive();
  void take(const std::string& message);
  void watch();
  void abort_main() const;

  const Duration watchdog_;
  TemporaryDirectory directory_;
  std::string path_;
  int descriptor_;
  std::atomic<pid_t> main_{0};
  std::atomic<int> barriers_{0};
  std::atomic<bool> barked_{false};
  std::atomic<bool> over_{false};
  Clock::time_point fed_ = Clock::now();
  mutable std::mutex mutex_;
  std::vector<std::string> taken_;
  std::vector<std::string> dropped_;
  std::thread thread_;
};

}  // namespace sluice::test
