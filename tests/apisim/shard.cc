// SPDX-License-Identifier: GPL-3.0-or-later
// The thread of some simulated servers.
#include "shard.h"

#include <algorithm>
#include <chrono>

#include "sluice/io/kernel_features.h"

namespace sluice::apisim {

namespace {
constexpr Duration event_interval = std::chrono::milliseconds(20);
}  // namespace

Shard::Shard(Shared& shared, const tls::ServerOptions& tls, std::vector<ServerPlan> plans)
    : shared_(shared), tls_options_(tls), plans_(std::move(plans)) {
  std::promise<Result<void>> started;
  started_ = started.get_future();
  thread_ =
      std::thread([this, promise = std::move(started)]() mutable { run(std::move(promise)); });
}

Shard::~Shard() {
  if (thread_.joinable()) thread_.join();
}

Result<void> Shard::started() { return started_.get(); }

Result<void> Shard::start() {
  const auto features = io::probe_kernel_features();
  if (!features) return std::unexpected(features.error());
  io::RingOptions ring;
  ring.one_shot_receive = !features->multishot_receive_sees_end_of_stream;
  auto reactor = io::Reactor::create(ring);
  if (!reactor) return std::unexpected(reactor.error());
  reactor_ = std::move(*reactor);
  net::TransportOptions options;
  transport_ = std::make_unique<net::Transport>(*reactor_, options);
  auto context = tls::ServerContext::create(tls_options_);
  if (!context) return std::unexpected(context.error());
  tls_ = std::move(*context);
  event_timer_ = std::make_unique<io::Timer>(io::Timer::bind<&Shard::produce_events>(this));
  for (const ServerPlan& plan : plans_) {
    servers_.emplace_back(
        plan.index, std::make_unique<ApiServer>(*transport_, shared_, bench_, tls_, plan.index,
                                                plan.descriptor, plan.address, plan.settings));
  }
  return {};
}

void Shard::run(std::promise<Result<void>> started) {
  const Result<void> result = start();
  if (!result) {
    started.set_value(result);
    if (reactor_) {
      reactor_->mailbox().stop();
      reactor_->run_until([this] { return reactor_->mailbox().stopped(); });
    }
    transport_.reset();
    reactor_.reset();
    return;
  }
  {
    const std::lock_guard lock(ended_mutex_);
    ended_ = false;
  }
  started.set_value({});
  reactor_->run_until([this] { return stopping_; });
  join();
}

void Shard::join() {
  event_timer_.reset();
  for (auto& [index, server] : servers_) server->kill();
  reactor_->run_until([this] {
    return transport_->connections() == 0 &&
           std::ranges::all_of(servers_, [](const auto& each) { return each.second->joined(); });
  });
  servers_.clear();
  {
    const std::lock_guard lock(ended_mutex_);
    ended_ = true;
  }
  reactor_->mailbox().run();  // what was posted before; nothing comes after
  reactor_->mailbox().stop();
  reactor_->run_until([this] { return reactor_->mailbox().stopped(); });
  tls_.reset();
  transport_.reset();
  reactor_.reset();
}

bool Shard::post(io::Mailbox::Message message) {
  const std::lock_guard lock(ended_mutex_);
  if (ended_) return false;
  reactor_->mailbox().post(std::move(message));
  return true;
}

std::string Shard::call(std::function<std::string(Shard&)> work) {
  std::promise<std::string> promise;
  std::future<std::string> future = promise.get_future();
  if (!post([this, &promise, &work] { promise.set_value(work(*this)); })) return {};
  return future.get();
}

void Shard::wake_watches() {
  if (wake_posted_.exchange(true)) return;
  post([this] {
    wake_posted_.store(false);
    for (auto& [index, server] : servers_) server->wake_watches();
  });
}

void Shard::set_event_rate(double per_second) {
  post([this, per_second] {
    event_rate_ = per_second;
    events_due_ = 0;
    if (event_rate_ > 0 && event_timer_) {
      reactor_->timers().set(*event_timer_, reactor_->now(), event_interval);
    }
  });
}

void Shard::produce_events() {
  if (event_rate_ <= 0) return;
  events_due_ += event_rate_ * to_seconds(event_interval);
  const auto count = static_cast<std::uint32_t>(events_due_);
  events_due_ -= count;
  if (count > 0) shared_.store.simulate_events(count);
  reactor_->timers().set(*event_timer_, reactor_->now(), event_interval);
}

void Shard::stop() {
  post([this] { stopping_ = true; });
}

ApiServer* Shard::find(std::size_t index) {
  for (auto& [number, server] : servers_) {
    if (number == index) return server.get();
  }
  return nullptr;
}

}  // namespace sluice::apisim
