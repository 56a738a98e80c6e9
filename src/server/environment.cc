// SPDX-License-Identifier: GPL-3.0-or-later
// The running system.
#include "environment.h"

#include <sys/random.h>

#include <cstdlib>

#include "helper_thread.h"
#include "interface_addresses.h"
#include "sluice/base/check.h"
#include "sluice/observability/log.h"

namespace sluice::server {
namespace {

class System final : public Environment {
 public:
  std::uint64_t random() override {
    std::uint64_t number = 0;
    if (getrandom(&number, sizeof number, 0) != sizeof number) CHECK(false && "getrandom failed");
    return number;
  }
  bool notify_service_manager(std::string_view state) override {
    return server::notify_service_manager(state);
  }
  std::unique_ptr<NotifyBarrier> notify_barrier() override { return server::notify_barrier(); }
  std::optional<Duration> watchdog_interval() override { return server::watchdog_interval(); }
  void aside(std::move_only_function<void()> work) override { helper_.run(std::move(work)); }
  void resolve(discovery::Question question, discovery::Resolver::Answered answered) override {
    resolver_.ask(std::move(question), std::move(answered));
  }
  std::vector<io::Address> interface_addresses() override { return server::interface_addresses(); }
  Result<std::unique_ptr<Successor>> start_successor(const SuccessorPlan& plan) override {
    return server::start_successor(plan);
  }
  void abandon(int exit_code) override {
    log::stop();
    std::quick_exit(exit_code);
  }
  void abort(std::string_view why) override {
    log::error("the process ends itself", {{"why", why}});
    log::stop();
    std::abort();
  }

 private:
  HelperThread helper_;
  discovery::Resolver resolver_;
};

}  // namespace

std::unique_ptr<Environment> system_environment() { return std::make_unique<System>(); }

}  // namespace sluice::server
