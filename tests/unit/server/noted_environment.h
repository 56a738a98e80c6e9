// SPDX-License-Identifier: GPL-3.0-or-later
// A system that only takes notes.
#pragma once

#include <functional>
#include <memory>
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
  bool notify_service_manager(std::string_view state) override {
    if (takes_no_messages) return false;
    notified.emplace_back(state);
    return true;
  }
  // Passed when `barrier_passed` is set; none without a value.
  std::unique_ptr<NotifyBarrier> notify_barrier() override {
    class Barrier final : public NotifyBarrier {
     public:
      explicit Barrier(const bool& passed) : passed_(passed) {}
      bool passed() override { return passed_; }

     private:
      const bool& passed_;
    };
    if (!barrier_passed) return nullptr;
    notified.emplace_back("BARRIER=1");
    return std::make_unique<Barrier>(*barrier_passed);
  }
  Result<std::unique_ptr<Successor>> start_successor(const SuccessorPlan& plan) override {
    plans.push_back(plan);
    if (successors.empty()) return fail(ErrorKind::system, "no such file");
    auto next = std::move(successors.front());
    successors.erase(successors.begin());
    return next;
  }
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
  // Kept in `questions`, for whoever plays the servers.
  void resolve(discovery::Question question, discovery::Resolver::Answered answered) override {
    questions.push_back({std::move(question), std::move(answered)});
  }
  std::vector<io::Address> interface_addresses() override { return interfaces; }
  void abandon(int exit_code) override { abandoned.push_back(exit_code); }
  void abort(std::string_view why) override { aborted.emplace_back(why); }

  std::optional<Duration> watchdog;
  std::vector<std::string> notified;
  bool takes_no_messages = false;
  std::optional<bool> barrier_passed;
  std::vector<SuccessorPlan> plans;
  std::vector<std::unique_ptr<Successor>> successors;  // that are started, in this order
  struct Asked {
    discovery::Question question;
    discovery::Resolver::Answered answered;
  };
  std::vector<Asked> questions;
  std::vector<io::Address> interfaces;  // what addresses the machine has
  std::vector<int> abandoned;
  std::vector<std::string> aborted;
  bool run_aside = true;  // at once

 private:
  std::uint64_t last_random_ = 0;
  std::vector<std::move_only_function<void()>> aside_;
};

}  // namespace sluice::server
