// SPDX-License-Identifier: GPL-3.0-or-later
// Chooses a backend: loads and randomness in, index out. Pure; one Picker per worker (round robin
// keeps its position in it).
//
// Which of two backends is less loaded:
// - Short requests: the one with less work in flight; open watches do not count.
// - Watches: a hot backend loses to one that is not; then fewer open watches; then less work.
// - Tunnels: the same with open tunnels.
// - A tie: fewer assignments of the same kind lately (decayed); then a coin.
// A backend that should get less than a full share (its weight) is compared as if it had more of
// all that by as much, and takes part in so many choices only: who starts, and has nothing to do
// yet, would win each of them, and each gateway knows only of its own. Work that differs by a fifth
// or less is a tie: among a few requests in flight such a difference is chance, and following it
// lets the shares of equal backends drift apart.
#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "sluice/balance/load_estimate.h"
#include "sluice/base/random.h"

namespace sluice::balance {

constexpr std::size_t backends_max = 64;

// A set of backends by index.
using BackendMask = std::uint64_t;
constexpr BackendMask mask_of(std::size_t backend) { return BackendMask{1} << backend; }
// The first of a set that is not empty.
constexpr std::size_t lowest_of(BackendMask mask) {
  return static_cast<std::size_t>(std::countr_zero(mask));
}
// The first `count` backends.
constexpr BackendMask mask_of_first(std::size_t count) {
  return count >= backends_max ? ~BackendMask{0} : mask_of(count) - 1;
}

enum class Policy : std::uint8_t { power_of_two, least, random, round_robin };
std::string_view to_string(Policy policy);                 // "power-of-two"
std::optional<Policy> policy_from(std::string_view text);  // as to_string writes it

// Ties are broken within kinds of requests, so that each kind comes out even on its own.
enum class AssignmentKind : std::uint8_t { brief, list, watch, tunnel };
constexpr std::size_t assignment_kinds = 4;
constexpr AssignmentKind assignment_kind(RequestClass request) {
  if (request == RequestClass::tunnel) return AssignmentKind::tunnel;
  if (counts_as_watch(request)) return AssignmentKind::watch;
  return request == RequestClass::list ? AssignmentKind::list : AssignmentKind::brief;
}

struct Load {
  std::uint32_t work = 0;     // units in flight, counted from the pick
  std::uint32_t watches = 0;  // open watches, counted from the pick
  std::uint32_t tunnels = 0;  // the same
  float weight = 1;           // of a full share; more than 0
  // Assigned lately, decayed; only comparable between backends of the same view.
  std::array<double, assignment_kinds> recent{};
};

struct PickerOptions {
  Policy policy = Policy::power_of_two;
  // A backend with this much work or more is hot: watches avoid it before they compare watches.
  std::uint32_t hot_work = 64;

  friend bool operator==(const PickerOptions&, const PickerOptions&) = default;
};

class Picker {
 public:
  explicit Picker(PickerOptions options = {});

  // The index of one of `usable`; nothing when there is none. Backends in `tried` are taken only
  // when no other is usable. `lowered`: those whose weight is less than 1; the policies that do not
  // look at loads take no notice. Masks beyond loads.size() are ignored.
  std::optional<std::size_t> pick(std::span<const Load> loads, BackendMask usable,
                                  RequestClass request, Random& random, BackendMask tried = 0,
                                  BackendMask lowered = 0);

  Policy policy() const { return options_.policy; }
  void update(const PickerOptions& options);

 private:
  static BackendMask taking_part(std::span<const Load> loads, BackendMask among,
                                 BackendMask lowered, Random& random);
  int compare(const Load& a, const Load& b, RequestClass request) const;
  std::size_t pick_power_of_two(std::span<const Load> loads, BackendMask among,
                                RequestClass request, Random& random) const;
  std::size_t pick_least(std::span<const Load> loads, BackendMask among, RequestClass request,
                         Random& random) const;
  std::size_t pick_round_robin(BackendMask among, Random& random);

  PickerOptions options_;
  std::optional<std::size_t> last_;  // round robin: the backend picked last
};

}  // namespace sluice::balance
