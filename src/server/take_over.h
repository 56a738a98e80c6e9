// SPDX-License-Identifier: GPL-3.0-or-later
// One process takes over from another, and no client notices: both roles, in order. The process
// that runs starts a new one, which inherits the listening sockets and what is known of tokens, and
// serves on until that one has said that it could; then the new one accepts and this one drains.
//
//   idle ─wanted─▶ collecting ─▶ starting ─ready─▶ naming ─▶ barrier ─▶ handing ─serving─▶ over
//    ▲                              └──────── whatever fails: the new one is ended ┘
//
//   collecting  workers say what they know of tokens
//   starting    the new one reads its configuration, asks the backends, makes its workers
//   naming      the service manager is told which process it is to watch, before this one ends
//   barrier     and has seen to it
//   handing     "go" was said: both accept, until the new one has said that it does
//   over        this one accepts no more, and drains
//
// There are two processes at most: one that has taken over itself waits until its predecessor is
// gone, and one that is wanted again meanwhile tells its successor.
//
// Thread: the control thread's. Looks for news on a timer.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "environment.h"
#include "sluice/io/reactor.h"
#include "sluice/server/options.h"
#include "sluice/server/take_over_link.h"
#include "successor.h"

namespace sluice::server {

// What it asks of the process.
class TakeOverHost {
 public:
  virtual ~TakeOverHost() = default;
  // Whether it serves: one that has not begun, or stops, is not taken over from.
  virtual bool serves() const = 0;
  // Whether its configuration is being changed: it waits for the end of that.
  virtual bool reloads() const = 0;
  // While held, its configuration is not changed because files have.
  virtual void hold_files(bool held) = 0;
  // Its configuration is to be read again.
  virtual void reload() = 0;
  // TakeOver::collected() is called with it, now or later.
  virtual void collect_state() = 0;
  virtual SuccessorPlan plan(std::string state) const = 0;
  // The service manager is told of another main process, and hears nothing of this one any more.
  virtual void not_main_any_more() = 0;
  // Another process accepts: accepts no more, and drains.
  virtual void replaced() = 0;
  virtual void predecessor_gone() = 0;
};

class TakeOver {
 public:
  // `predecessor` may be null. All outlive the object.
  TakeOver(io::Reactor& reactor, Environment& environment, TakeOverHost& host,
           const TakeOverOptions& options, std::unique_ptr<TakeOverLink> predecessor);

  // --- from a predecessor
  bool has_predecessor() const { return predecessor_ != nullptr; }
  // Our workers could accept; whether they may is said later. It is true at once without a
  // predecessor, and when that one is gone without a word: then nobody else is left.
  void ready();
  bool may_accept() const { return predecessor_ == nullptr || told_to_go_; }
  // They do.
  void accepting();
  // They cannot, or will not: why.
  void refuse(std::string_view why);

  // --- to a successor
  // It is to be taken over from, now or as soon as that can be.
  void wanted();
  void collected(std::string state);
  // The configuration is to be read again. True: by the successor if it takes over, and by this
  // process otherwise, later. False: nobody is to take over.
  bool reload_wanted();
  // This process stops by itself: a successor that does not accept yet is ended.
  void stop();

 private:
  enum class State : std::uint8_t { idle, collecting, starting, naming, barrier, handing, over };

  void set_state(State state, Duration at_most);
  void look();
  void hear_predecessor();
  void await_ready();
  void name();
  void await_barrier();
  void await_serving();
  void go();
  void fail(const std::string& why);
  void begin();
  bool late() const { return reactor_.now() >= deadline_; }

  io::Reactor& reactor_;
  Environment& environment_;
  TakeOverHost& host_;
  const TakeOverOptions& options_;
  std::unique_ptr<TakeOverLink> predecessor_;
  bool told_to_go_ = false;
  std::unique_ptr<Successor> successor_;
  std::unique_ptr<NotifyBarrier> barrier_;
  State state_ = State::idle;
  bool wanted_ = false;         // since the one that is under way began
  bool reload_wanted_ = false;  // the same
  Instant deadline_{};
  io::Timer timer_;
};

}  // namespace sluice::server
