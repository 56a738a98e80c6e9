// SPDX-License-Identifier: GPL-3.0-or-later
// A system that only takes notes.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "environment.h"

namespace sluice::server {

class NotedEnvironment final : public Environment {
 public:
  std::uint64_t random() override { return ++last_random_; }
  void notify_service_manager(std::string_view state) override { notified.emplace_back(state); }
  std::optional<Duration> watchdog_interval() override { return watchdog; }
  void aside(std::move_only_function<void()> work) override {
    if (run_aside) {
      work();
    } else {
      aside_.push_back(std::move(work));
    }
  }
  // What has waited since `run_aside` was false.
  void run_what_waits() {
    for (auto& work : std::exchange(aside_, {})) work();
  }
  void abandon(int exit_code) override { abandoned.push_back(exit_code); }

  std::optional<Duration> watchdog;
  std::vector<std::string> notified;
  std::vector<int> abandoned;
  bool run_aside = true;  // at once

 private:
  std::uint64_t last_random_ = 0;
  std::vector<std::move_only_function<void()>> aside_;
};

}  // namespace sluice::server
