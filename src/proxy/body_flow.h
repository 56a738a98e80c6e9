// SPDX-License-Identifier: GPL-3.0-or-later
// One direction of an exchange: the bytes that wait for their receiver, the credit that their
// sender gets back for those that have left, and the window that it is granted.
#pragma once

#include <cstdint>
#include <string>

#include "body_queue.h"
#include "budget.h"
#include "window_growth.h"

namespace sluice::proxy {

class BodyFlow {
 public:
  // Both outlive this.
  BodyFlow(BlockPool& blocks, Budget& budget)
      : budget_(budget),
        queue_(blocks),
        held_(budget.bodies()),
        kept_(budget.replay()),
        lent_(budget.window()) {}

  // For a new exchange. `window`: what the sender was granted, in bytes; it may grow to
  // `window_max`.
  void begin(std::uint32_t window, std::uint32_t window_max, Instant now);
  // Who pays for what it holds and for the window, until end(); it outlives that.
  void charge(ClientAccount& client);
  // Gives everything back.
  void end();

  void append(Bytes bytes);
  struct Pulled {
    std::size_t bytes = 0;   // written into the room
    std::size_t credit = 0;  // of them, those that leave for the first time: due to the sender
  };
  Pulled pull(MutableBytes room);
  // The window that the sender should have from now on, when the receiver has just taken all that
  // there was and the budget lends the difference; 0: the same as before.
  std::uint32_t grow_window(Instant now);
  // Forgets what waits and what is kept; returns the credit that the sender has not got for it.
  std::size_t drop();

  std::size_t pending() const { return queue_.pending(); }
  bool empty() const { return queue_.appended() == 0; }
  // What its client is charged for it.
  std::size_t charged_bytes() const { return held_.bytes() + lent_.bytes(); }
  // Bytes that have left, each counted once.
  std::uint64_t passed() const { return passed_; }
  // For looking at a short body before it goes anywhere.
  std::string peek() const { return queue_.peek(); }

  // Keeps what has left, until release() or until there are more than `max` bytes of it, or too
  // many of all exchanges.
  void keep_for_replay(std::size_t max);
  void release();
  // Whether every byte from the first on can (still) be sent.
  bool whole() const { return queue_.pulled() == 0 || queue_.retained(); }
  bool untouched() const { return queue_.pulled() == 0; }
  void rewind();

 private:
  Budget& budget_;
  BodyQueue queue_;
  BytesLease held_;  // by the queue
  BytesLease kept_;  // of that, while it could be sent again
  std::size_t kept_max_ = 0;
  std::uint64_t passed_ = 0;
  WindowGrowth growth_;
  std::uint32_t window_max_ = 0;
  BytesLease lent_;
};

}  // namespace sluice::proxy
