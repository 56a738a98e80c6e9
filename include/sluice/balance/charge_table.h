// SPDX-License-Identifier: GPL-3.0-or-later
// What clients cost, by name, as all workers see it together: connections that are held now, exact,
// and what they have caused lately, decaying. A name is a hash with a key of the process, so nobody
// can choose to share a place with somebody else, or to fill the set of one.
//
//   ChargeTable (shared, outlives all)      sets × ways places of one cache line each
//     └─ ChargeLease (one per connection)   pins the place, and charges it, until it is destroyed
//
// Memory is fixed. A place is its name's as long as something is held, and until what was caused
// lately has decayed to next to nothing; then another name may take it over. When all places of a
// set are in use, a name is charged to one place that is shared by all whom that befalls. There
// nobody is refused for what others hold, and nobody counts as known. So whoever commands more
// networks than the table has places (half of a /48 of IPv6, with a connection held from each) can
// have newcomers counted together, beyond a limit for one name, which does not bind somebody with
// that many names anyhow. It costs nobody a connection: those who were counted before stay counted,
// turns are given by name and not by place (FairQueue), and the limit for all holds.
//
// Any thread, without a lock for names that have a place; names enter a set one at a time. Time is
// an argument; a thread whose clock is behind another's causes no decay.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>

#include "sluice/base/time.h"

namespace sluice::balance {

// What decays.
enum class Charge : std::uint8_t {
  handshake,         // begun with it
  failed_handshake,  // of them
  proof,             // an identity was proven
  broken_limit,      // ended a connection
};
inline constexpr std::size_t charge_kinds = 4;

struct ChargeTableOptions {
  std::size_t sets = 8192;  // a power of two
  // Handshakes for as long as a burst may last; a proof for as long as an outage.
  std::array<Duration, charge_kinds> half_life = {
      std::chrono::seconds(10), std::chrono::seconds(10), std::chrono::minutes(10),
      std::chrono::seconds(10)};
};

class ChargeLease;

class ChargeTable {
 public:
  static constexpr std::size_t ways = 8;

  explicit ChargeTable(const ChargeTableOptions& options = {});
  ~ChargeTable();  // CHECKs that all leases are back
  ChargeTable(const ChargeTable&) = delete;
  ChargeTable& operator=(const ChargeTable&) = delete;

  // One more that this name holds; nothing when it holds `limit` already (0: no limit).
  [[nodiscard]] std::optional<ChargeLease> acquire(std::uint64_t name, std::uint32_t limit,
                                                   Instant now);

  // How many leases are out in all, and of names without a place. They cost a look at all places.
  std::size_t held() const;
  std::size_t held_without_place() const;

 private:
  friend class ChargeLease;
  struct alignas(64) Place {
    std::atomic<std::uint64_t> name{0};  // 0: nobody's
    std::atomic<std::uint32_t> held{0};  // `claimed`: changes its name
    std::atomic<std::uint32_t> proven{0};
    // An amount (float, upper half) and when it was that much (ticks, lower half).
    std::array<std::atomic<std::uint64_t>, charge_kinds> amounts{};
  };
  enum class Entry : std::uint8_t { entered, refused, no_place };

  std::size_t set_of(std::uint64_t name) const { return name & (sets_ - 1); }
  Place* find(std::uint64_t name) const;
  static Entry enter(Place& place, std::uint64_t name, std::uint32_t limit);
  // Into a place that has the name already, or (as the only one in this set) into another's.
  Entry enter_own(std::uint64_t name, std::uint32_t limit, Place*& place) const;
  Entry enter_another(std::uint64_t name, std::uint32_t limit, Instant now, Place*& place);
  Place* take_over(std::uint64_t name, Instant now);
  float amount(const Place& place, Charge kind, Instant now) const;
  void add(Place& place, Charge kind, Instant now);
  float weight(const Place& place, Instant now) const;
  float decayed(std::uint64_t packed, Charge kind, std::uint32_t tick) const;

  const std::size_t sets_;
  std::array<float, charge_kinds> half_life_ticks_{};
  std::unique_ptr<Place[]> places_;
  std::unique_ptr<std::atomic<bool>[]> entering_;  // by set: somebody gives a place a new name
  Place shared_;
};

// What is held: one connection. Move-only; may be given back by any thread.
class ChargeLease {
 public:
  ChargeLease() = default;
  ChargeLease(ChargeLease&& other) noexcept;
  ChargeLease& operator=(ChargeLease&& other) noexcept;
  ~ChargeLease() { leave(); }

  explicit operator bool() const { return place_ != nullptr; }
  // How many its name holds, this one included; of all names without a place, when it has none.
  std::uint32_t held() const;
  bool has_place() const;

  void charge(Charge kind, Instant now);
  // As much as is left of it.
  float charged(Charge kind, Instant now) const;

  // An identity is proven on what is held: from now on, and for a while when it has been given
  // back, its name is known.
  void prove(Instant now);
  // Whether identities are proven under its name, and not much else is begun there: whoever shares
  // a proven client's address may not flood in its name.
  bool known(Instant now) const;

  // Gives it back; a proof is remembered from now on.
  void release(Instant now);

 private:
  friend class ChargeTable;
  ChargeLease(ChargeTable& table, ChargeTable::Place& place) : table_(&table), place_(&place) {}
  void leave();

  ChargeTable* table_ = nullptr;
  ChargeTable::Place* place_ = nullptr;
  bool proven_ = false;
};

}  // namespace sluice::balance
