// SPDX-License-Identifier: GPL-3.0-or-later
// The places on a pool's connections.
#include "pool_places.h"

#include <algorithm>

#include "sluice/base/check.h"

namespace sluice::backend {
namespace {

// Of the connections that may be opened, what stays may fill so many, and lists so many: the rest
// is for who comes and goes.
std::size_t used_max(Stay stay, std::size_t connections_max) {
  switch (stay) {
    case Stay::brief: return connections_max;
    case Stay::lengthy: return std::max<std::size_t>(1, connections_max / 8);
    case Stay::lasting: return std::max<std::size_t>(1, connections_max * 3 / 4);
  }
  return connections_max;
}

// Below it there are none to spare for lists alone.
constexpr std::size_t connections_for_lists = 8;

}  // namespace

PoolPlaces::PoolPlaces(const Connections& connections, const PoolOptions& options, PoolKind kind)
    : connections_(connections), options_(options), kind_(kind) {}

PoolPlaces::~PoolPlaces() {
  for (std::size_t use = 1; use < used_.size(); ++use) {
    CHECK_EQ(used_[use].connections, std::size_t{0});
    CHECK_EQ(used_[use].free, std::size_t{0});
  }
  for (const auto& shares : shares_) CHECK(!shares || shares->holders() == 0);
  for (const std::size_t connections : in_state_) CHECK_EQ(connections, std::size_t{0});
}

void PoolPlaces::state_changed(Connected from, Connected to) {
  CHECK_GT(count(from), std::size_t{0});
  --in_state_[static_cast<std::size_t>(from)];
  ++in_state_[static_cast<std::size_t>(to)];
}

void PoolPlaces::closed(const BackendConnection& connection) {
  CHECK_EQ(connection.open_streams(), std::size_t{0});
  CHECK_EQ(connection.free_places(), std::size_t{0});
  CHECK_GT(count(connection.state()), std::size_t{0});
  --in_state_[static_cast<std::size_t>(connection.state())];
  for (BackendConnection*& recent : recent_) {
    if (recent == &connection) recent = nullptr;
  }
}

void PoolPlaces::changed(const ConnectionOwner::Places& before,
                         const ConnectionOwner::Places& now) {
  Used& left = used_for(before.use);
  CHECK_GE(left.free, before.free);
  CHECK(before.use == Use::none || left.connections > 0);
  left.free -= before.free;
  if (before.use != Use::none) --left.connections;
  Used& joined = used_for(now.use);
  joined.free += now.free;
  if (now.use != Use::none) ++joined.connections;
}

// --- Connections -------------------------------------------------------------------------------

// Those that drain have had their time: they take up memory, but nobody's place. There may be as
// many again, and always twice as many as drain before the first of their watches move.
std::size_t PoolPlaces::all_max() const {
  return options_.connections_max + std::max(options_.connections_max, 2 * options_.draining_max);
}

bool PoolPlaces::may_connect() const {
  return count(Connected::ready) + count(Connected::connecting) < options_.connections_max &&
         connections_.size() < all_max();
}

bool PoolPlaces::crowded_by_draining() const {
  return count(Connected::ready) + count(Connected::connecting) < options_.connections_max &&
         connections_.size() >= all_max();
}

// Free places should cover who waits and a tenth more.
std::size_t PoolPlaces::wanted(Stay stay, std::size_t waiting) const {
  if (!may_use_another(stay)) return 0;
  const std::size_t per_connection = is_suspect(kind_) ? 1 : options_.streams_per_connection_max;
  const bool first = count(Connected::ready) + count(Connected::connecting) == 0;
  const std::size_t margin = first ? 1 : std::max<std::size_t>(1, per_connection / 10);
  const std::size_t needed = waiting + margin;
  const std::size_t free = used_for(use_of(stay)).free;
  return needed <= free ? 0 : (needed - free + per_connection - 1) / per_connection;
}

// --- Places ------------------------------------------------------------------------------------

Stay PoolPlaces::treated_as(Stay stay) const {
  const bool few = options_.connections_max < connections_for_lists;
  return stay == Stay::lengthy && few ? Stay::brief : stay;
}

// A connection that is used for nothing yet.
bool PoolPlaces::may_use_another(Stay stay) const {
  return used_for(use_of(stay)).connections < used_max(stay, options_.connections_max);
}

// Rather beside the others than nowhere.
bool PoolPlaces::may_use_any(Stay stay) const {
  return used_for(use_of(stay)).connections == 0 && !may_connect();
}

std::size_t PoolPlaces::free(Stay stay) const {
  std::size_t free = used_for(use_of(stay)).free;
  if (may_use_another(stay)) free += used_for(Use::nothing_yet).free;
  if (may_use_any(stay)) {
    for (const Stay other : all_stays) {
      if (other != stay) free += used_for(use_of(other)).free;
    }
  }
  return free;
}

BackendConnection* PoolPlaces::find(Stay stay) {
  if (free(stay) == 0) return nullptr;
  BackendConnection*& recent = recent_[static_cast<std::size_t>(stay)];
  const auto fits = [](const BackendConnection& connection, Use use) {
    return connection.use() == use && connection.free_places() > 0;
  };
  if (recent != nullptr && fits(*recent, use_of(stay))) return recent;
  const auto first = [&](const auto& good) -> BackendConnection* {
    const auto found = std::ranges::find_if(connections_, [&](const auto& c) { return good(*c); });
    return found == connections_.end() ? nullptr : found->get();
  };
  recent = first([&](const BackendConnection& c) { return fits(c, use_of(stay)); });
  if (recent == nullptr && may_use_another(stay)) {
    recent = first([&](const BackendConnection& c) { return fits(c, Use::nothing_yet); });
  }
  if (recent != nullptr) return recent;
  return first([](const BackendConnection& c) { return c.free_places() > 0; });
}

// --- Shares ------------------------------------------------------------------------------------

void PoolPlaces::taken(const PlaceHolder& holder) {
  if (auto& shares = shares_of(holder.stay)) shares->take(holder.name);
}

void PoolPlaces::left(const PlaceHolder& holder) {
  if (auto& shares = shares_of(holder.stay)) shares->give_back(holder.name);
}

bool PoolPlaces::may_take(BackendStream& stream) {
  const Stay stay = stream.carriage().stay;
  if (is_short(stay)) return counted(stay).may_take(holder_of(stream).name, room(stay));
  shares_of(stay).reset();
  return true;
}

// Those on connections that drain, too, and what is held after a cancelled stream: who cancels
// without end has had as many places as who keeps them.
PlaceShares& PoolPlaces::counted(Stay stay) {
  std::optional<PlaceShares>& shares = shares_of(stay);
  if (shares) return *shares;
  shares.emplace();
  for (const auto& connection : connections_) {
    connection->for_each_place([&](const PlaceHolder& holder) {
      if (holder.stay == stay) shares->take(holder.name);
    });
  }
  return *shares;
}

// How many more could be carried, one after the other where only one may be unanswered.
std::size_t PoolPlaces::room(Stay stay) const {
  std::size_t room = 0;
  for (const auto& connection : connections_) {
    const Use use = connection->use();
    if (use == use_of(stay) || (use == Use::nothing_yet && may_use_another(stay)) ||
        may_use_any(stay)) {
      room += connection->room();
    }
  }
  return room;
}

std::vector<BackendStream*> PoolPlaces::of_largest(Stay stay) {
  std::vector<BackendStream*> held;
  if (room(stay) > 0) return held;
  const auto largest = counted(stay).largest(0);
  if (!largest) return held;
  for (const auto& connection : connections_) {
    if (connection->state() != Connected::ready) continue;
    connection->for_each_stream([&](BackendStream& open) {
      if (open.carriage().stay == stay && holder_of(open).name == *largest) held.push_back(&open);
    });
  }
  return held;
}

}  // namespace sluice::backend
