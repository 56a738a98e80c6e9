// SPDX-License-Identifier: GPL-3.0-or-later
// Trying again.
#include "target_probe.h"

#include <algorithm>
#include <utility>

#include "sluice/base/check.h"
#include "sluice/observability/log.h"

namespace sluice::server {
namespace {

constexpr Duration pause_min = std::chrono::seconds(1);
constexpr Duration pause_max = std::chrono::seconds(10);

}  // namespace

TargetProbe::TargetProbe(net::Transport& transport, PassTarget& target)
    : transport_(transport),
      target_(target),
      timer_(io::Timer::bind<&TargetProbe::connect>(this)) {}

TargetProbe::~TargetProbe() { CHECK(stopped()); }

// Of all workers one tries.
void TargetProbe::failed() {
  if (target_.refuses.exchange(true, std::memory_order_relaxed)) return;
  log::warning("a target of passed connections cannot be reached", {{"target", target_.name}});
  ours_ = true;
  pause_ = pause_min;
  transport_.reactor().timers().set(timer_, transport_.reactor().now(), pause_);
}

void TargetProbe::succeeded() {
  if (!target_.refuses.exchange(false, std::memory_order_relaxed)) return;
  log::info("a target of passed connections is reached again", {{"target", target_.name}});
}

void TargetProbe::connect() {
  // Still trying: a client was quicker, and the next one failed again.
  if (tcp_ != nullptr) return;
  // A client was quicker.
  if (!target_.refuses.load(std::memory_order_relaxed)) {
    ours_ = false;
    return;
  }
  net::TcpHandler& handler = *this;
  tcp_ = std::make_unique<net::TcpConnection>(transport_, handler);
  tcp_->connect(target_.address);
}

void TargetProbe::on_connected() {
  ours_ = false;
  succeeded();
  tcp_->terminate();
}

void TargetProbe::on_closed() {
  tcp_.reset();
  if (!ours_) return;
  pause_ = std::min(2 * pause_, pause_max);
  transport_.reactor().timers().set(timer_, transport_.reactor().now(), pause_);
}

void TargetProbe::stop() {
  timer_.cancel();
  if (tcp_ != nullptr) tcp_->terminate();
  if (std::exchange(ours_, false)) target_.refuses.store(false, std::memory_order_relaxed);
}

}  // namespace sluice::server
