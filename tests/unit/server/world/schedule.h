// SPDX-License-Identifier: GPL-3.0-or-later
// What is to be done later, on one reactor. What has not been done is forgotten with it.
#pragma once

#include <functional>
#include <iterator>
#include <list>
#include <utility>

#include "sluice/io/reactor.h"

namespace sluice::server {

class Schedule {
 public:
  explicit Schedule(io::Reactor& reactor) : reactor_(reactor) {}

  void after(Duration duration, std::move_only_function<void()> what) {
    Entry& entry = entries_.emplace_back(*this, std::move(what));
    entry.self = std::prev(entries_.end());
    reactor_.timers().set(entry.timer, reactor_.now() + duration);
  }
  void clear() { entries_.clear(); }

 private:
  struct Entry {
    Entry(Schedule& its_owner, std::move_only_function<void()> its_work)
        : owner(its_owner),
          what(std::move(its_work)),
          timer(io::Timer::bind<&Entry::passed>(this)) {}
    void passed() {
      // Kept until the next one: this is running in it.
      owner.done_.clear();
      owner.done_.splice(owner.done_.end(), owner.entries_, self);
      what();
    }
    Schedule& owner;
    std::move_only_function<void()> what;
    io::Timer timer;
    std::list<Entry>::iterator self;
  };

  io::Reactor& reactor_;
  std::list<Entry> entries_;
  std::list<Entry> done_;
};

}  // namespace sluice::server
