// SPDX-License-Identifier: GPL-3.0-or-later
// The places on a pool's connections: what each connection is used for, what is free for whom, and
// how many connections there may and should be.
//
// What is soon over and what stays share no connection, unless nothing more can be opened. When
// places are short, the last tenth is for clients that hold less than their share, and who holds
// most is known; while there are enough, nobody counts who holds what.
#pragma once

#include <array>
#include <memory>
#include <optional>
#include <vector>

#include "backend_connection.h"
#include "place_shares.h"

namespace sluice::backend {

using Connections = std::vector<std::unique_ptr<BackendConnection>>;  // oldest first

class PoolPlaces {
 public:
  using Connected = ConnectionOwner::Connected;
  using Use = ConnectionOwner::Use;

  // Both outlive this.
  PoolPlaces(const Connections& connections, const PoolOptions& options, PoolKind kind);
  ~PoolPlaces();  // CHECKs that no connection is left

  // What happens to connections and on them.
  void opened() { ++in_state_[static_cast<std::size_t>(Connected::connecting)]; }
  void state_changed(Connected from, Connected to);
  void closed(const BackendConnection& connection);
  void changed(const ConnectionOwner::Places& before, const ConnectionOwner::Places& now);
  void taken(const PlaceHolder& holder);
  void left(const PlaceHolder& holder);

  std::size_t count(Connected state) const { return in_state_[static_cast<std::size_t>(state)]; }
  bool may_connect() const;
  // It may not because too many drain.
  bool crowded_by_draining() const;
  // How many connections more there should be for those that wait, and some to come.
  std::size_t wanted(Stay stay, std::size_t waiting) const;
  std::size_t unused() const { return used_for(Use::nothing_yet).connections; }

  // What it counts as where few connections are allowed.
  Stay treated_as(Stay stay) const;
  std::size_t free(Stay stay) const;
  // Nothing more can be opened for it.
  bool is_short(Stay stay) const { return !may_connect() || !may_use_another(stay); }
  // Whether it is for this client to take a free place.
  bool may_take(BackendStream& stream);
  // Where there is one; null: nowhere. The oldest first: requests share records and system calls
  // when they share connections.
  BackendConnection* find(Stay stay);
  // The streams of who holds most, and more than its share, when nothing is free; else none.
  std::vector<BackendStream*> of_largest(Stay stay);

 private:
  // How many ready connections are used for something, and how many places are free on them.
  struct Used {
    std::size_t connections = 0;
    std::size_t free = 0;
  };

  static Use use_of(Stay stay) { return ConnectionOwner::use_of(stay); }
  Used& used_for(Use use) { return used_[static_cast<std::size_t>(use)]; }
  const Used& used_for(Use use) const { return used_[static_cast<std::size_t>(use)]; }
  std::optional<PlaceShares>& shares_of(Stay stay) {
    return shares_[static_cast<std::size_t>(stay)];
  }
  std::size_t all_max() const;
  bool may_use_another(Stay stay) const;
  bool may_use_any(Stay stay) const;
  std::size_t room(Stay stay) const;
  PlaceShares& counted(Stay stay);

  const Connections& connections_;
  const PoolOptions& options_;
  const PoolKind kind_;
  std::array<std::size_t, 4> in_state_{};           // how many connections
  std::array<Used, ConnectionOwner::uses> used_{};  // by Use
  // For each Stay, where a place was found last.
  std::array<BackendConnection*, stays> recent_{};
  std::array<std::optional<PlaceShares>, stays> shares_;
};

}  // namespace sluice::backend
