// SPDX-License-Identifier: GPL-3.0-or-later
// Streams that wait for a place on a connection: in order of arrival, and in fair turns between
// clients. Those that stay, lists, and what is soon over wait apart, and those whose clients hold
// their share already apart from the others.
#pragma once

#include <array>
#include <optional>
#include <string>

#include "sluice/backend/backend_stream.h"
#include "sluice/balance/fair_queue.h"

namespace sluice::backend {

class WaitingRoom {
 public:
  ~WaitingRoom();  // CHECKs that nobody is left

  // `behind` those whose clients hold less than their share, or before.
  void add(BackendStream& stream, bool behind);
  // Wherever it is, also while end() runs. O(1).
  void remove(BackendStream& stream);

  // Whose turn it is; null when nobody waits so. It is not counted any more, and is then served,
  // given back, passed over, or put behind.
  BackendStream* next(Stay stay, bool behind);
  void served(BackendStream& stream);
  void give_back(BackendStream& stream);
  // Of those behind: its client's turn is over, and comes again after the others'.
  void pass_over(BackendStream& stream);
  void put_behind(BackendStream& stream);

  // Ends those that came at `since` or before; nothing was executed. Only those that wait now: a
  // handler may cancel others of them, or put its own stream into a queue again.
  void end(Instant since, StreamEnd::Cause cause, const std::string& context);

  bool empty() const { return arrivals_.empty(); }
  bool anybody(Stay stay, bool behind) const {
    return !turns_[static_cast<std::size_t>(stay)][behind ? 1 : 0].empty();
  }
  // After so many of them each client has had its turn.
  std::size_t turns_of_all_behind(Stay stay) const {
    return turns_[static_cast<std::size_t>(stay)][1].turns_of_all();
  }
  std::size_t count(Stay stay) const { return count_[static_cast<std::size_t>(stay)]; }
  // When the one that waits longest came.
  std::optional<Instant> oldest();

 private:
  // When all of them wait: so many turns in a row for each Standing.
  struct Turns : balance::FairQueue {
    Turns() : FairQueue({1, 4, 16}) {}
  };

  Turns& turns(Stay stay, bool behind) {
    return turns_[static_cast<std::size_t>(stay)][behind ? 1 : 0];
  }
  void push(BackendStream& stream);
  std::size_t& count_of(BackendStream& stream);

  List<BackendStream, WaitingTag> arrivals_;
  std::array<std::size_t, stays>
      count_{};  // those that have left, and are not removed yet, included
  std::array<std::array<Turns, 2>, stays> turns_;  // of each Stay, and of those that are behind
};

}  // namespace sluice::backend
