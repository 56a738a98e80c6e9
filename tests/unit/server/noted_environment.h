// SPDX-License-Identifier: GPL-3.0-or-later
// A system that only takes notes.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "environment.h"

namespace sluice::server {

class NotedEnvironment final : public Environment {
 public:
  std::uint64_t random() override { return ++last_random_; }
  void notify_service_manager(std::string_view state) override { notified.emplace_back(state); }
  std::optional<Duration> watchdog_interval() override { return watchdog; }
  void abandon(int exit_code) override { abandoned.push_back(exit_code); }

  std::optional<Duration> watchdog;
  std::vector<std::string> notified;
  std::vector<int> abandoned;

 private:
  std::uint64_t last_random_ = 0;
};

}  // namespace sluice::server
