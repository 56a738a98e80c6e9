// SPDX-License-Identifier: GPL-3.0-or-later
// Both roles of a take-over.
#include "take_over.h"

#include <fmt/format.h>

#include <utility>

#include "sluice/base/check.h"
#include "sluice/observability/log.h"

namespace sluice::server {
namespace {

// While there is something to wait for.
constexpr Duration look_interval = std::chrono::milliseconds(10);
// Once only the predecessor's end is waited for, which may take hours.
constexpr Duration look_for_end_interval = std::chrono::milliseconds(500);
// Workers that turn answer in milliseconds; one that does not is none to wait for.
constexpr Duration naming_max = std::chrono::seconds(5);
constexpr Duration barrier_max = std::chrono::seconds(10);

}  // namespace

TakeOver::TakeOver(io::Reactor& reactor, Environment& environment, TakeOverHost& host,
                   const TakeOverOptions& options, std::unique_ptr<TakeOverLink> predecessor)
    : reactor_(reactor),
      environment_(environment),
      host_(host),
      options_(options),
      predecessor_(std::move(predecessor)),
      timer_(io::Timer::bind<&TakeOver::look>(this)) {
  if (predecessor_) reactor_.timers().set(timer_, reactor_.now(), look_interval);
}

void TakeOver::set_state(State state, Duration at_most) {
  state_ = state;
  deadline_ = reactor_.now() + at_most;
  reactor_.timers().set(timer_, reactor_.now(), look_interval);
}

void TakeOver::look() {
  if (predecessor_) hear_predecessor();
  switch (state_) {
    case State::idle:
      if (wanted_ && !predecessor_ && !host_.reloads()) begin();
      break;
    case State::collecting: break;
    case State::starting: await_ready(); break;
    case State::naming: name(); break;
    case State::barrier: await_barrier(); break;
    case State::handing: await_serving(); break;
    case State::over: return;
  }
  const bool nothing_to_wait_for = state_ == State::idle && !predecessor_ && !wanted_;
  if (timer_.armed() || nothing_to_wait_for || state_ == State::over) return;
  const bool only_its_end = state_ == State::idle && told_to_go_;
  reactor_.timers().set(timer_, reactor_.now(),
                        only_its_end ? look_for_end_interval : look_interval);
}

// --- from a predecessor

void TakeOver::hear_predecessor() {
  while (const auto word = predecessor_->hear()) {
    if (*word == TakeOverLink::go) told_to_go_ = true;
    if (*word == TakeOverLink::again) wanted();
    if (*word == TakeOverLink::reload) host_.reload();
  }
  if (!predecessor_->gone()) return;
  log::info("the process before is gone");
  predecessor_.reset();
  host_.predecessor_gone();
}

void TakeOver::ready() {
  if (predecessor_) predecessor_->say(TakeOverLink::ready);
}

void TakeOver::accepting() {
  if (predecessor_) predecessor_->say(TakeOverLink::serving);
}

void TakeOver::refuse(std::string_view why) {
  if (predecessor_) predecessor_->refuse(why);
}

// --- to a successor

void TakeOver::wanted() {
  if (state_ == State::over || state_ == State::handing) {
    log::info("a take-over is wanted again: the new process is told", {{"pid", successor_->pid()}});
    successor_->say(TakeOverLink::again);
    return;
  }
  wanted_ = true;
  if (state_ != State::idle || predecessor_) {
    return log::info("a take-over waits until the one before it is over");
  }
  if (!host_.reloads()) return begin();
  log::info("a take-over waits until the configuration has been taken over");
  reactor_.timers().set(timer_, reactor_.now(), look_interval);
}

bool TakeOver::reload_wanted() {
  if (state_ == State::idle) return false;
  if (state_ == State::over || state_ == State::handing) {
    successor_->say(TakeOverLink::reload);
  } else {
    reload_wanted_ = true;
  }
  return true;
}

void TakeOver::begin() {
  CHECK(state_ == State::idle);
  wanted_ = false;
  if (!host_.serves()) return log::warning("no take-over: this process does not serve, or stops");
  host_.hold_files(true);
  set_state(State::collecting, Duration::zero());
  host_.collect_state();
}

void TakeOver::collected(std::string state) {
  if (state_ != State::collecting) return;
  SuccessorPlan plan = host_.plan(std::move(state));
  auto started = environment_.start_successor(plan);
  if (!started) return fail(started.error().context);
  successor_ = std::move(*started);
  log::info("a new process is to take over", {{"path", plan.path}, {"pid", successor_->pid()}});
  set_state(State::starting, options_.ready_timeout);
}

void TakeOver::await_ready() {
  while (const auto word = successor_->hear()) {
    if (*word == TakeOverLink::ready) return set_state(State::naming, naming_max);
    if (word->starts_with(TakeOverLink::refused)) {
      return fail(word->substr(TakeOverLink::refused.size()));
    }
  }
  if (successor_->gone())
    return fail("it ended before it was ready; see what it has logged itself");
  if (late())
    return fail(fmt::format("it was not ready within {}s", to_seconds(options_.ready_timeout)));
}

// Only whom the service manager takes for the main process may name another one. What feeds the
// watchdog comes from that one alone, too, and it has most of an interval from now.
void TakeOver::name() {
  if (successor_->gone()) return fail("it ended before it could accept");
  std::string message = fmt::format("MAINPID={}\nSTATUS=serving", successor_->pid());
  if (environment_.watchdog_interval()) message.insert(0, "WATCHDOG=1\n");
  if (!environment_.notify_service_manager(message)) {
    if (late()) fail("the service manager takes no messages");
    return;
  }
  host_.not_main_any_more();
  barrier_ = environment_.notify_barrier();
  set_state(State::barrier, barrier_max);
  await_barrier();
}

void TakeOver::await_barrier() {
  if (successor_->gone()) return fail("it ended before it could accept");
  if (barrier_ && !barrier_->passed()) {
    if (!late()) return;
    log::warning("the service manager has not said that it knows the new main process");
  }
  barrier_.reset();
  go();
}

void TakeOver::go() {
  if (!successor_->say(TakeOverLink::go)) return fail("it does not listen to us");
  set_state(State::handing, options_.ready_timeout);
  if (std::exchange(wanted_, false)) successor_->say(TakeOverLink::again);
  if (std::exchange(reload_wanted_, false)) successor_->say(TakeOverLink::reload);
}

void TakeOver::await_serving() {
  while (const auto word = successor_->hear()) {
    if (*word != TakeOverLink::serving) continue;
    log::info("taken over", {{"pid", successor_->pid()}});
    state_ = State::over;
    timer_.cancel();
    return host_.replaced();
  }
  if (successor_->gone()) return fail("it ended before it has accepted anybody");
  if (late()) return fail("it was told to accept, and does not say that it does");
}

// Nothing has been given up: this process serves on.
void TakeOver::fail(const std::string& why) {
  log::error("no take-over: this process serves on", {{"why", why}});
  if (successor_) successor_->end();
  successor_.reset();
  barrier_.reset();
  state_ = State::idle;
  host_.hold_files(false);
  if (std::exchange(reload_wanted_, false)) host_.reload();
  if (!wanted_) return timer_.cancel();
  reactor_.timers().set(timer_, reactor_.now(), look_interval);
}

void TakeOver::stop() {
  wanted_ = false;
  reload_wanted_ = false;
  if (state_ == State::over || state_ == State::handing) return;
  if (successor_) fail("this process was told to stop");
  state_ = State::idle;
}

}  // namespace sluice::server
