// SPDX-License-Identifier: GPL-3.0-or-later
// The order of a turn.
#include "sluice/io/reactor.h"

#include <utility>

#include "sluice/base/check.h"

namespace sluice::io {

std::string_view to_string(TurnStep step) {
  switch (step) {
    case TurnStep::completions: return "completions";
    case TurnStep::messages: return "messages";
    case TurnStep::timers: return "timers";
    case TurnStep::resume: return "resume";
    case TurnStep::flush: return "flush";
    case TurnStep::handshakes: return "handshakes";
    case TurnStep::reap: return "reap";
  }
  return "unknown";
}

Result<std::unique_ptr<Reactor>> Reactor::create(const RingOptions& options) {
  std::unique_ptr<Reactor> reactor(new Reactor());
  auto ring = Ring::create(options);
  if (!ring) return std::unexpected(std::move(ring.error()));
  reactor->ring_ = std::move(*ring);
  auto mailbox = Mailbox::create(*reactor->ring_);
  if (!mailbox) return std::unexpected(std::move(mailbox.error()));
  reactor->mailbox_ = std::move(*mailbox);
  reactor->timers_ = std::make_unique<TimerWheel>(reactor->now());
  reactor->load_.emplace(reactor->now());
  reactor->last_turn_.store(reactor->now().time_since_epoch().count(), std::memory_order_relaxed);
  return reactor;
}

Reactor::~Reactor() {
  CHECK(!in_turn_);
  if (mailbox_ == nullptr) return;  // create failed half-way
  mailbox_->stop();
  // Owners have cancelled their operations before; the bound is for one that forgot to.
  constexpr Duration patience = std::chrono::seconds(2);
  const Instant give_up = now() + patience;
  while (ring_->in_flight() > 0 && now() < give_up) ring_->turn(give_up);
  CHECK_EQ(ring_->in_flight(), std::size_t{0});
  mailbox_.reset();
  timers_.reset();
}

void Reactor::at_turn_end(TurnEnd& work, Phase phase) {
  if (work.linked()) return;
  const auto index = static_cast<std::size_t>(phase);
  const bool ran = in_turn_ && work.ran_in_turn_ == turn_number_;
  (ran ? next_turn_ : turn_end_)[index].push_back(work);
}

bool Reactor::work_waits() const {
  for (const List<TurnEnd>& list : turn_end_) {
    if (!list.empty()) return true;
  }
  return false;
}

TurnState Reactor::turn_state() const {
  const std::uint64_t word = word_.load(std::memory_order_relaxed);
  return {Instant(Duration(last_turn_.load(std::memory_order_relaxed))),
          static_cast<TurnStep>(word >> 32), static_cast<int>(static_cast<std::uint32_t>(word))};
}

void Reactor::run_phase(Phase phase, TurnStep step) {
  begin(step);
  List<TurnEnd>& list = turn_end_[static_cast<std::size_t>(phase)];
  while (TurnEnd* work = list.pop_front()) {
    work->ran_in_turn_ = turn_number_;
    // It may destroy itself or register itself again.
    work->callback_();
  }
}

void Reactor::turn(bool wait) {
  CHECK(!in_turn_);
  in_turn_ = true;
  ++turn_number_;

  begin(TurnStep::completions);
  if (wait && !work_waits() && mailbox_->prepare_to_wait()) {
    ring_->turn(timers_->next_deadline());
    mailbox_->finished_waiting();
  } else {
    ring_->turn(now());
  }
  last_turn_.store(now().time_since_epoch().count(), std::memory_order_relaxed);
  if (load_->turn(now(), ring_->starved())) load_->end_window(ring_->thread_time());
  begin(TurnStep::messages);
  mailbox_->run();
  begin(TurnStep::timers);
  timers_->run(now(), timers_per_turn);
  run_phase(Phase::resume, TurnStep::resume);
  run_phase(Phase::flush, TurnStep::flush);
  // What established connections send does not wait for handshakes, which take long.
  if (!turn_end_[static_cast<std::size_t>(Phase::handshakes)].empty()) ring_->submit();
  run_phase(Phase::handshakes, TurnStep::handshakes);
  run_phase(Phase::reap, TurnStep::reap);
  for (std::size_t i = 0; i < phases; ++i) turn_end_[i].splice_back(next_turn_[i]);

  in_turn_ = false;
}

void Reactor::run_until(const std::function<bool()>& done) {
  while (!done()) turn();
}

}  // namespace sluice::io
