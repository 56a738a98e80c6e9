// SPDX-License-Identifier: GPL-3.0-or-later
// Requests with connections of their own, and those that wait for their turn to connect.
#include "sluice/backend/upgrade_pool.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "sluice/base/check.h"
#include "upgrade_connection.h"
#include "waiting_room.h"

namespace sluice::backend {

class UpgradePool::State final : private Carrier, private UpgradeOwner {
 public:
  State(net::Transport& transport, const Endpoint& endpoint, const UpgradeOptions& options,
        std::shared_ptr<const tls::ClientContext> context, OnEvent on_event)
      : endpoint_(endpoint),
        options_(options),
        on_event_(std::move(on_event)),
        parts_{transport, endpoint_, options_, std::move(context)},
        turn_timer_(io::Timer::bind<&State::serve>(this)),
        waiting_timer_(io::Timer::bind<&State::waited_too_long>(this)) {}
  ~State() override { CHECK(connections_.empty()); }

  void open(BackendStream& stream, const OpenRequest& request);
  void update(const UpgradeOptions& options, std::shared_ptr<const tls::ClientContext> context) {
    options_ = options;
    parts_.context = std::move(context);
    serve();
  }
  bool unused() const { return connections_.empty() && waiting_.empty(); }
  void terminate();
  const UpgradeCounters& counters() const { return counters_; }
  std::size_t connections() const { return connections_.size(); }

 private:
  // Carrier of those that wait.
  void cancel(BackendStream& stream) override { waiting_.remove(stream); }
  void consume(BackendStream&, std::size_t) override {}
  void grow_window(BackendStream&, std::uint32_t) override {}
  void resume_body(BackendStream&) override {}

  // UpgradeOwner
  void connect_over(const Error* error) override;
  void connection_lost(const Error& error) override;
  void connection_closed(UpgradeConnection& connection) override;

  bool may_connect() const {
    return !terminating_ && connecting_ < options_.connecting_max &&
           connections_.size() < options_.connections_max;
  }
  void serve();
  void connect(BackendStream& stream);
  void waited_too_long();
  io::Reactor& reactor() { return parts_.transport.reactor(); }
  Instant now() { return reactor().now(); }

  const Endpoint endpoint_;
  UpgradeOptions options_;
  OnEvent on_event_;
  UpgradeParts parts_;
  UpgradeCounters counters_;
  std::vector<std::unique_ptr<UpgradeConnection>> connections_;
  WaitingRoom waiting_;
  std::size_t connecting_ = 0;
  Instant next_connect_{};
  bool terminating_ = false;
  io::Timer turn_timer_;
  io::Timer waiting_timer_;
};

void UpgradePool::State::open(BackendStream& stream, const OpenRequest& request) {
  stream.wait(*this, {.has_body = request.has_body,
                      .stay = Stay::lasting,
                      .standing = request.standing,
                      .client = request.client,
                      .connection = request.connection,
                      .slot = {},
                      .waiting_since = now()});
  waiting_.add(stream, false);
  if (!waiting_timer_.armed()) reactor().timers().set(waiting_timer_, now(), options_.wait_timeout);
  serve();
}

// As many as may connect now; none of them ends by it.
void UpgradePool::State::serve() {
  while (may_connect() && waiting_.anybody(Stay::lasting, false)) {
    if (next_connect_ > now()) {
      if (!turn_timer_.armed()) reactor().timers().set(turn_timer_, next_connect_);
      return;
    }
    BackendStream* stream = waiting_.next(Stay::lasting, false);
    CHECK(stream != nullptr);
    waiting_.served(*stream);
    connect(*stream);
  }
}

void UpgradePool::State::connect(BackendStream& stream) {
  CHECK(may_connect());
  next_connect_ = now() + options_.connect_spacing;
  ++counters_.connects;
  ++connecting_;
  UpgradeOwner& owner = *this;
  connections_.push_back(std::make_unique<UpgradeConnection>(owner, parts_));
  connections_.back()->open(stream);
}

void UpgradePool::State::connect_over(const Error* error) {
  CHECK_GT(connecting_, std::size_t{0});
  --connecting_;
  if (error != nullptr) {
    ++counters_.connect_failures;
    on_event_(PoolEvent::connect_failed, error->context);
  }
  serve();
}

void UpgradePool::State::connection_lost(const Error& error) {
  ++counters_.connections_lost;
  on_event_(PoolEvent::connection_lost, error.context);
}

void UpgradePool::State::connection_closed(UpgradeConnection& connection) {
  const auto found =
      std::ranges::find_if(connections_, [&](const auto& c) { return c.get() == &connection; });
  CHECK(found != connections_.end());
  std::swap(*found, connections_.back());
  connections_.pop_back();
  serve();
}

void UpgradePool::State::waited_too_long() {
  waiting_.end(now() - options_.wait_timeout, StreamEnd::Cause::no_place,
               "no connection of its own to " + endpoint_.name + " in time");
  if (const auto oldest = waiting_.oldest()) {
    reactor().timers().set(waiting_timer_, *oldest + options_.wait_timeout);
  }
}

void UpgradePool::State::terminate() {
  const bool at_once = std::exchange(terminating_, true);
  turn_timer_.cancel();
  waiting_timer_.cancel();
  waiting_.end(Instant::max(), StreamEnd::Cause::not_connected, "the proxy is stopping");
  for (const auto& connection : connections_) {
    if (at_once || !connection->ending()) connection->terminate();
  }
}

UpgradePool::UpgradePool(net::Transport& transport, const Endpoint& endpoint,
                         const UpgradeOptions& options,
                         std::shared_ptr<const tls::ClientContext> context, OnEvent on_event)
    : state_(std::make_unique<State>(transport, endpoint, options, std::move(context),
                                     std::move(on_event))) {}

UpgradePool::~UpgradePool() = default;

void UpgradePool::open(BackendStream& stream, const OpenRequest& request) {
  state_->open(stream, request);
}

void UpgradePool::update(const UpgradeOptions& options,
                         std::shared_ptr<const tls::ClientContext> context) {
  state_->update(options, std::move(context));
}

bool UpgradePool::unused() const { return state_->unused(); }

void UpgradePool::terminate() { state_->terminate(); }

const UpgradeCounters& UpgradePool::counters() const { return state_->counters(); }

std::size_t UpgradePool::connections() const { return state_->connections(); }

}  // namespace sluice::backend
