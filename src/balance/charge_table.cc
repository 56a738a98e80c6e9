// SPDX-License-Identifier: GPL-3.0-or-later
// Places are entered by a compare-and-swap of what they hold, and change their name only while they
// hold nothing.
#include "sluice/balance/charge_table.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <utility>

#include "sluice/base/check.h"

namespace sluice::balance {
namespace {

// What a place holds while its name changes.
constexpr std::uint32_t claimed = UINT32_MAX;
constexpr std::uint32_t held_max = UINT32_MAX / 2;
// As little as nothing: another name may have the place.
constexpr float forgotten = 1.0F / 32;
// Who enters waits for whoever is in the middle of a step of some instructions; one that was
// interrupted there is not waited for.
constexpr int tries_max = 256;
// A name is known by an eighth of a proof: one is remembered for three half-lives, a hundred of a
// common address for ten. One of so many that are begun must be a proven one.
constexpr float proofs_min = 1.0F / 8;
constexpr float begun_for_each_proof = 8;

// Fine beside the half-lives; what was not touched for four years begins anew.
constexpr Duration tick = std::chrono::milliseconds(64);

std::uint32_t tick_of(Instant instant) {
  return static_cast<std::uint32_t>(instant.time_since_epoch() / tick);
}

constexpr std::uint64_t pack(float amount, std::uint32_t at) {
  return std::uint64_t{std::bit_cast<std::uint32_t>(amount)} << 32 | at;
}
constexpr float amount_of(std::uint64_t packed) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(packed >> 32));
}
constexpr std::uint32_t tick_of(std::uint64_t packed) { return static_cast<std::uint32_t>(packed); }

// Since `before`; nothing for a clock that is behind.
std::uint32_t ticks_since(std::uint32_t before, std::uint32_t now) {
  const auto passed = static_cast<std::int32_t>(now - before);
  return passed < 0 ? 0 : static_cast<std::uint32_t>(passed);
}

}  // namespace

ChargeTable::ChargeTable(const ChargeTableOptions& options)
    : sets_(options.sets),
      places_(std::make_unique<Place[]>(options.sets * ways)),
      entering_(std::make_unique<std::atomic<bool>[]>(options.sets)) {
  CHECK(std::has_single_bit(options.sets));
  for (std::size_t kind = 0; kind < charge_kinds; ++kind) {
    CHECK_GE(options.half_life[kind], tick);
    half_life_ticks_[kind] =
        static_cast<float>(to_seconds(options.half_life[kind]) / to_seconds(tick));
  }
}

ChargeTable::~ChargeTable() { CHECK_EQ(held(), std::size_t{0}); }

std::size_t ChargeTable::held() const {
  std::size_t sum = held_without_place();
  for (std::size_t i = 0; i < sets_ * ways; ++i) {
    const std::uint32_t held = places_[i].held.load(std::memory_order_relaxed);
    if (held != claimed) sum += held;
  }
  return sum;
}

std::size_t ChargeTable::held_without_place() const {
  return shared_.held.load(std::memory_order_relaxed);
}

std::optional<ChargeLease> ChargeTable::acquire(std::uint64_t name, std::uint32_t limit,
                                                Instant now) {
  if (name == 0) name = 1;
  Place* place = nullptr;
  Entry entry = enter_own(name, limit, place);
  if (entry == Entry::no_place) entry = enter_another(name, limit, now, place);
  switch (entry) {
    case Entry::entered: return ChargeLease(*this, *place);
    case Entry::refused: return std::nullopt;
    case Entry::no_place: break;
  }
  shared_.held.fetch_add(1, std::memory_order_relaxed);
  return ChargeLease(*this, shared_);
}

ChargeTable::Place* ChargeTable::find(std::uint64_t name) const {
  Place* first = &places_[set_of(name) * ways];
  for (Place* place = first; place != first + ways; ++place) {
    if (place->name.load(std::memory_order_acquire) == name) return place;
  }
  return nullptr;
}

// `no_place`: it is in the middle of a change, or has another name by now.
ChargeTable::Entry ChargeTable::enter(Place& place, std::uint64_t name, std::uint32_t limit) {
  std::uint32_t held = place.held.load(std::memory_order_acquire);
  do {
    if (held == claimed) return Entry::no_place;
    CHECK_LT(held, held_max);
    if (limit != 0 && held >= limit) {
      return place.name.load(std::memory_order_acquire) == name ? Entry::refused : Entry::no_place;
    }
  } while (!place.held.compare_exchange_weak(held, held + 1, std::memory_order_acq_rel,
                                             std::memory_order_acquire));
  // While it holds something its name stays. It may have changed before.
  if (place.name.load(std::memory_order_acquire) == name) return Entry::entered;
  place.held.fetch_sub(1, std::memory_order_acq_rel);
  return Entry::no_place;
}

ChargeTable::Entry ChargeTable::enter_own(std::uint64_t name, std::uint32_t limit,
                                          Place*& place) const {
  for (int tries = 0; tries < tries_max; ++tries) {
    place = find(name);
    if (place == nullptr) return Entry::no_place;
    const Entry entry = enter(*place, name, limit);
    if (entry != Entry::no_place) return entry;
  }
  return Entry::no_place;
}

// One at a time in a set, or a name could get two places.
ChargeTable::Entry ChargeTable::enter_another(std::uint64_t name, std::uint32_t limit, Instant now,
                                              Place*& place) {
  std::atomic<bool>& entering = entering_[set_of(name)];
  for (int tries = 0; entering.exchange(true, std::memory_order_acquire); ++tries) {
    if (tries == tries_max) return Entry::no_place;
  }
  // Somebody may have entered it meanwhile.
  Entry entry = enter_own(name, limit, place);
  if (entry == Entry::no_place && find(name) == nullptr) {
    place = take_over(name, now);
    if (place != nullptr) entry = Entry::entered;
  }
  entering.store(false, std::memory_order_release);
  return entry;
}

// The one of which least is left; its old name finds it claimed, or held under another name.
ChargeTable::Place* ChargeTable::take_over(std::uint64_t name, Instant now) {
  Place* const first = &places_[set_of(name) * ways];
  Place* least = nullptr;
  float least_weight = forgotten;
  for (Place* place = first; place != first + ways; ++place) {
    if (place->held.load(std::memory_order_acquire) != 0) continue;
    const float left = weight(*place, now);
    if (left >= least_weight) continue;
    least = place;
    least_weight = left;
  }
  std::uint32_t nothing = 0;
  if (least == nullptr ||
      !least->held.compare_exchange_strong(nothing, claimed, std::memory_order_acq_rel)) {
    return nullptr;
  }
  CHECK_EQ(least->proven.load(std::memory_order_relaxed), 0U);
  for (auto& amount : least->amounts) amount.store(0, std::memory_order_relaxed);
  least->name.store(name, std::memory_order_release);
  least->held.store(1, std::memory_order_release);
  return least;
}

// --- Amounts -----------------------------------------------------------------------------------

float ChargeTable::decayed(std::uint64_t packed, Charge kind, std::uint32_t at) const {
  const float passed = static_cast<float>(ticks_since(tick_of(packed), at));
  return amount_of(packed) * std::exp2(-passed / half_life_ticks_[static_cast<std::size_t>(kind)]);
}

float ChargeTable::amount(const Place& place, Charge kind, Instant now) const {
  const auto& packed = place.amounts[static_cast<std::size_t>(kind)];
  return decayed(packed.load(std::memory_order_relaxed), kind, tick_of(now));
}

void ChargeTable::add(Place& place, Charge kind, Instant now) {
  auto& packed = place.amounts[static_cast<std::size_t>(kind)];
  std::uint64_t before = packed.load(std::memory_order_relaxed);
  std::uint64_t after = 0;
  do {
    // A clock that is behind adds to what there was then.
    const std::uint32_t at = amount_of(before) == 0
                                 ? tick_of(now)
                                 : tick_of(before) + ticks_since(tick_of(before), tick_of(now));
    after = pack(decayed(before, kind, at) + 1, at);
  } while (!packed.compare_exchange_weak(before, after, std::memory_order_relaxed));
}

float ChargeTable::weight(const Place& place, Instant now) const {
  if (place.name.load(std::memory_order_relaxed) == 0) return 0;
  float most = 0;
  for (std::size_t kind = 0; kind < charge_kinds; ++kind) {
    most = std::max(most, amount(place, static_cast<Charge>(kind), now));
  }
  return most;
}

// --- ChargeLease -------------------------------------------------------------------------------

ChargeLease::ChargeLease(ChargeLease&& other) noexcept
    : table_(other.table_),
      place_(std::exchange(other.place_, nullptr)),
      proven_(std::exchange(other.proven_, false)) {}

ChargeLease& ChargeLease::operator=(ChargeLease&& other) noexcept {
  if (this == &other) return *this;
  leave();
  table_ = other.table_;
  place_ = std::exchange(other.place_, nullptr);
  proven_ = std::exchange(other.proven_, false);
  return *this;
}

std::uint32_t ChargeLease::held() const {
  CHECK(place_ != nullptr);
  return place_->held.load(std::memory_order_relaxed);
}

bool ChargeLease::has_place() const { return place_ != nullptr && place_ != &table_->shared_; }

void ChargeLease::charge(Charge kind, Instant now) {
  CHECK(place_ != nullptr);
  table_->add(*place_, kind, now);
}

float ChargeLease::charged(Charge kind, Instant now) const {
  CHECK(place_ != nullptr);
  return table_->amount(*place_, kind, now);
}

void ChargeLease::prove(Instant now) {
  CHECK(place_ != nullptr);
  charge(Charge::proof, now);
  if (!std::exchange(proven_, true)) place_->proven.fetch_add(1, std::memory_order_relaxed);
}

bool ChargeLease::known(Instant now) const {
  if (!has_place()) return false;
  const float proofs = static_cast<float>(place_->proven.load(std::memory_order_relaxed)) +
                       charged(Charge::proof, now);
  const float begun = charged(Charge::handshake, now) + charged(Charge::failed_handshake, now);
  return proofs >= proofs_min && proofs * begun_for_each_proof >= begun;
}

void ChargeLease::release(Instant now) {
  if (place_ != nullptr && proven_) charge(Charge::proof, now);
  leave();
}

void ChargeLease::leave() {
  ChargeTable::Place* place = std::exchange(place_, nullptr);
  if (place == nullptr) return;
  if (std::exchange(proven_, false)) place->proven.fetch_sub(1, std::memory_order_relaxed);
  const std::uint32_t before = place->held.fetch_sub(1, std::memory_order_acq_rel);
  CHECK(before > 0 && before != claimed);
}

}  // namespace sluice::balance
