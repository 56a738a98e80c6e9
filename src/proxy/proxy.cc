// SPDX-License-Identifier: GPL-3.0-or-later
// The exchanges of one cluster on one worker.
#include "sluice/proxy/proxy.h"

#include <algorithm>
#include <functional>
#include <utility>
#include <vector>

#include "exchange.h"
#include "room.h"
#include "shared.h"
#include "sluice/base/check.h"

namespace sluice::proxy {
namespace {

constexpr std::size_t spare_max = 1024;
constexpr std::size_t spare_bytes_max = 2 * http::usual_head_bytes;
// Looking for stalled streams: a few times within the timeout, and not so many in one turn that
// others wait.
constexpr int looks_per_timeout = 4;
constexpr std::uint32_t looks_at_once = 1024;
constexpr Duration looks_pause = std::chrono::milliseconds(10);

}  // namespace

class Proxy::State final : public ExchangeOwner, public Tenant {
 public:
  State(const Proxy& proxy, const ProxyParts& parts, const ProxyOptions& options)
      : Tenant(proxy),
        shared_(parts, options),
        stall_timer_(io::Timer::bind<&State::look_for_stalls>(this)),
        reap_(io::TurnEnd::bind<&State::reap>(this)) {
    parts.reactor.timers().set(stall_timer_, shared_.now(),
                               options.client_stall_timeout / looks_per_timeout);
    parts.resources.state().add(*this);
  }
  ~State() override {
    reap();
    CHECK(exchanges_.empty());
    CHECK(finished_.empty());
  }

  // One that is idle, in its slot.
  Exchange& begin(ClientSide& client, ClientStream stream, http::RequestHead&& head, SlotId& id);
  // Null when it has ended.
  Exchange* find(SlotId id);
  void for_each(const std::function<void(Exchange&)>& what);
  bool refers_to(std::size_t backend) const;
  Shared& shared() { return shared_; }

  // Tenant
  std::size_t exchanges() const override { return exchanges_.size(); }
  std::size_t charged_bytes() const override { return shared_.budget.charged_bytes(); }
  void make_room(const Connections& connections) override { room_.make(exchanges_, connections); }

 private:
  void exchange_finished(SlotId id) override;
  void exchange_broken(SlotId id) override;
  void reap();
  void look_for_stalls();

  Shared shared_;
  Room room_{shared_};
  SlotMap<std::unique_ptr<Exchange>> exchanges_;
  std::vector<SlotId> finished_;
  std::vector<SlotId> broken_;
  std::vector<std::unique_ptr<Exchange>> spare_;  // for reuse: their memory is warm
  std::uint32_t next_checked_ = 0;  // slot at which the look for stalled streams goes on
  std::int64_t stalled_ = 0;        // found in this round
  io::Timer stall_timer_;
  io::TurnEnd reap_;
};

Exchange& Proxy::State::begin(ClientSide& client, ClientStream stream, http::RequestHead&& head,
                              SlotId& id) {
  std::unique_ptr<Exchange> exchange;
  if (spare_.empty()) {
    exchange = std::make_unique<Exchange>(*this, shared_);
  } else {
    exchange = std::move(spare_.back());
    spare_.pop_back();
  }
  CHECK(exchange->state() == Exchange::State::idle ||
        exchange->state() == Exchange::State::finished);
  Exchange& begun = *exchange;
  id = exchanges_.insert(std::move(exchange));
  begun.begin(id, client, stream, std::move(head));
  return begun;
}

Exchange* Proxy::State::find(SlotId id) {
  auto* found = exchanges_.find(id);
  return found == nullptr || (*found)->state() == Exchange::State::finished ? nullptr
                                                                            : found->get();
}

// Exchanges may end while we walk.
void Proxy::State::for_each(const std::function<void(Exchange&)>& what) {
  std::vector<SlotId> ids;
  exchanges_.for_each([&](SlotId id, const auto&) { ids.push_back(id); });
  for (const SlotId id : ids) {
    if (Exchange* exchange = find(id)) what(*exchange);
  }
}

bool Proxy::State::refers_to(std::size_t backend) const {
  bool any = false;
  exchanges_.for_each([&](SlotId, const auto& exchange) { any |= exchange->refers_to(backend); });
  return any;
}

void Proxy::State::exchange_finished(SlotId id) {
  CHECK(exchanges_.find(id) != nullptr);
  finished_.push_back(id);
  shared_.parts.reactor.at_turn_end(reap_, io::Reactor::Phase::reap);
}

void Proxy::State::exchange_broken(SlotId id) {
  broken_.push_back(id);
  shared_.parts.reactor.at_turn_end(reap_, io::Reactor::Phase::reap);
}

void Proxy::State::reap() {
  for (const SlotId id : std::exchange(broken_, {})) {
    if (Exchange* exchange = find(id)) exchange->break_off();
  }
  for (const SlotId id : finished_) {
    std::unique_ptr<Exchange> exchange = exchanges_.take(id);
    // One that carried heads of an unusual size would keep their memory for ever.
    if (spare_.size() < spare_max && exchange->held_bytes() <= spare_bytes_max) {
      spare_.push_back(std::move(exchange));
    }
  }
  finished_.clear();
}

void Proxy::State::look_for_stalls() {
  const std::uint32_t end = std::min(exchanges_.slots(), next_checked_ + looks_at_once);
  exchanges_.for_each_in(next_checked_, end, [this](SlotId, const auto& exchange) {
    if (exchange->look_for_stall()) ++stalled_;
  });
  next_checked_ = end;
  Duration pause = looks_pause;
  CHECK_LE(next_checked_, exchanges_.slots());
  CHECK_GE(stalled_, std::int64_t{0});
  if (end == exchanges_.slots()) {
    shared_.parts.cells.set(shared_.parts.metrics.stalled, std::exchange(stalled_, 0));
    next_checked_ = 0;
    pause = std::max(pause, Duration(shared_.options.client_stall_timeout / looks_per_timeout));
  }
  shared_.parts.reactor.timers().set(stall_timer_, shared_.now(), pause);
}

Proxy::Proxy(const ProxyParts& parts, const ProxyOptions& options)
    : state_(std::make_unique<State>(*this, parts, options)) {}

Proxy::~Proxy() = default;

SlotId Proxy::start(ClientSide& client, ClientStream stream, http::RequestHead&& head,
                    bool end_of_stream, bool misdirected) {
  Shared& shared = state_->shared();
  shared.replays.earn();
  shared.resources.look_at_room();
  SlotId id;
  state_->begin(client, stream, std::move(head), id).start(end_of_stream, misdirected);
  return id;
}

void Proxy::update(const ProxyOptions& options, const kubernetes::IdentityFields& fields) {
  state_->shared().update(options, fields);
}

bool Proxy::refers_to(std::size_t backend) const { return state_->refers_to(backend); }

void Proxy::learn(const TokenChange& change) {
  TokenProofs& proofs = state_->shared().proofs;
  if (change.proven) {
    proofs.prove(change.token, change.network);
  } else {
    proofs.forget(change.token);
  }
}

void Proxy::learn(const OwnWrite& write) {
  Shared& shared = state_->shared();
  shared.affinity.learn(write, shared.now());
}

std::vector<TokenChange> Proxy::proven_tokens() const { return state_->shared().proofs.all(); }

SlotId Proxy::refuse(ClientSide& client, ClientStream stream, http::RequestHead&& head, int code,
                     ReplyReason reason, std::string_view message) {
  SlotId id;
  state_->begin(client, stream, std::move(head), id).refuse(code, reason, message);
  return id;
}

bool Proxy::client_body(SlotId id, Bytes bytes) {
  Exchange* exchange = state_->find(id);
  if (exchange != nullptr) exchange->on_client_body(bytes);
  return exchange != nullptr;
}

void Proxy::client_end(SlotId id) {
  if (Exchange* exchange = state_->find(id)) exchange->on_client_end();
}

void Proxy::client_tunnel_end(SlotId id, bool in_order) {
  if (Exchange* exchange = state_->find(id)) exchange->on_client_tunnel_end(in_order);
}

std::string Proxy::describe(SlotId id) const {
  const Exchange* exchange = state_->find(id);
  return exchange == nullptr ? std::string() : exchange->describe();
}

void Proxy::client_malformed(SlotId id, std::string_view why) {
  if (Exchange* exchange = state_->find(id)) exchange->on_client_malformed(why);
}

http::BodyResult Proxy::client_body_wanted(SlotId id, MutableBytes room) {
  Exchange* exchange = state_->find(id);
  if (exchange == nullptr) return {0, http::BodyStatus::more};
  return exchange->on_client_body_wanted(room);
}

const http::Fields* Proxy::trailers(SlotId id) {
  Exchange* exchange = state_->find(id);
  return exchange == nullptr ? nullptr : exchange->trailers();
}

void Proxy::client_gone(SlotId id) {
  if (Exchange* exchange = state_->find(id)) exchange->client_gone();
}

void Proxy::plan_end(SlotId id, const EndWindow& window) {
  if (Exchange* exchange = state_->find(id)) exchange->plan_end(window);
}

std::uint64_t Proxy::network_key(std::string_view address) const {
  return state_->shared().proofs.hash(network_of(address)).low;
}

std::uint64_t Proxy::user_key(std::string_view address, std::string_view user) const {
  return state_->shared().proofs.hash(network_of(address) + '\n' + std::string(user)).low;
}

std::size_t Proxy::exchanges() const { return state_->exchanges(); }

void Proxy::publish() {
  const Shared& shared = state_->shared();
  const ProxyMetrics& m = shared.parts.metrics;
  metrics::Cells& cells = shared.parts.cells;
  cells.set(m.exchanges, static_cast<std::int64_t>(exchanges()));
  cells.set(m.tunnels, static_cast<std::int64_t>(shared.tunnels));
}

void Proxy::end_watches(Instant until) {
  Shared& shared = state_->shared();
  shared.end_window = EndWindow{shared.now(), until};
  state_->for_each([&](Exchange& exchange) { exchange.plan_end(*shared.end_window); });
}

void Proxy::end_tunnels() {
  state_->for_each([](Exchange& exchange) { exchange.end_tunnel(); });
}

void Proxy::cut_first_bursts() {
  state_->for_each([](Exchange& exchange) { exchange.cut_first_burst(); });
}

}  // namespace sluice::proxy
