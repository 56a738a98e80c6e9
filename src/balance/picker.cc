// SPDX-License-Identifier: GPL-3.0-or-later
// Power of two choices and the policies that it is compared with.
#include "sluice/balance/picker.h"

#include <algorithm>
#include <bit>

#include "sluice/base/check.h"
#include "sluice/base/enumerators.h"

namespace sluice::balance {

namespace {

std::size_t count(BackendMask mask) { return static_cast<std::size_t>(std::popcount(mask)); }

// The n-th member of the set, counted from 0.
std::size_t member(BackendMask mask, std::size_t n) {
  DCHECK(n < count(mask));
  for (; n > 0; --n) mask &= mask - 1;
  return lowest_of(mask);
}

std::size_t draw(BackendMask among, Random& random) {
  return member(among, random.below(static_cast<std::uint32_t>(count(among))));
}

}  // namespace

std::string_view to_string(Policy policy) {
  switch (policy) {
    case Policy::power_of_two: return "power-of-two";
    case Policy::least: return "least";
    case Policy::random: return "random";
    case Policy::round_robin: return "round-robin";
  }
  return "unknown";
}

std::optional<Policy> policy_from(std::string_view text) { return enumerator_named<Policy>(text); }

Picker::Picker(PickerOptions options) : options_(options) { CHECK_GE(options_.hot_work, 1u); }

void Picker::update(const PickerOptions& options) {
  CHECK_GE(options.hot_work, 1u);
  options_ = options;
}

std::optional<std::size_t> Picker::pick(std::span<const Load> loads, BackendMask usable,
                                        RequestClass request, Random& random, BackendMask tried,
                                        BackendMask lowered) {
  CHECK_LE(loads.size(), backends_max);
  BackendMask among = usable & mask_of_first(loads.size());
  if ((among & ~tried) != 0) among &= ~tried;
  if (among == 0) return std::nullopt;
  const bool by_load = options_.policy == Policy::power_of_two || options_.policy == Policy::least;
  if ((among & lowered) != 0 && by_load) among = taking_part(loads, among, lowered, random);
  if (count(among) == 1) {
    last_ = lowest_of(among);
    return last_;
  }
  switch (options_.policy) {
    case Policy::power_of_two: return pick_power_of_two(loads, among, request, random);
    case Policy::least: return pick_least(loads, among, request, random);
    case Policy::random: return draw(among, random);
    case Policy::round_robin: return pick_round_robin(among, random);
  }
  return std::nullopt;
}

// All, if else there were none.
BackendMask Picker::taking_part(std::span<const Load> loads, BackendMask among, BackendMask lowered,
                                Random& random) {
  BackendMask left = among;
  for (BackendMask rest = among & lowered; rest != 0; rest &= rest - 1) {
    const std::size_t backend = lowest_of(rest);
    if (random.unit() >= static_cast<double>(loads[backend].weight)) left &= ~mask_of(backend);
  }
  return left != 0 ? left : among;
}

namespace {

int order(double a, double b) { return a < b ? -1 : a > b ? 1 : 0; }

// As `Picker::compare`, where shares differ.
int compare_weighted(const Load& a, const Load& b, RequestClass request, std::uint32_t hot_work) {
  const auto a_weight = static_cast<double>(a.weight);
  const auto b_weight = static_cast<double>(b.weight);
  const double a_work = a.work / a_weight;
  const double b_work = b.work / b_weight;
  const bool tunnel = request == RequestClass::tunnel;
  if (counts_as_watch(request) || tunnel) {
    const bool a_hot = a_work >= hot_work;
    const bool b_hot = b_work >= hot_work;
    if (a_hot != b_hot) return a_hot ? 1 : -1;
    const int open = order((tunnel ? a.tunnels : a.watches) / a_weight,
                           (tunnel ? b.tunnels : b.watches) / b_weight);
    if (open != 0) return open;
  }
  const double larger = std::max(a_work, b_work);
  if (larger - std::min(a_work, b_work) > larger / 5) return a_work < b_work ? -1 : 1;
  const auto kind = static_cast<std::size_t>(assignment_kind(request));
  return order(a.recent[kind] / a_weight, b.recent[kind] / b_weight);
}

}  // namespace

// Negative: `a` should be taken before `b`. 0: nothing tells them apart.
int Picker::compare(const Load& a, const Load& b, RequestClass request) const {
  if (a.weight != b.weight) [[unlikely]] {
    return compare_weighted(a, b, request, options_.hot_work);
  }
  const bool tunnel = request == RequestClass::tunnel;
  if (counts_as_watch(request) || tunnel) {
    const bool a_hot = a.work >= options_.hot_work;
    const bool b_hot = b.work >= options_.hot_work;
    if (a_hot != b_hot) return a_hot ? 1 : -1;
    const std::uint32_t a_open = tunnel ? a.tunnels : a.watches;
    const std::uint32_t b_open = tunnel ? b.tunnels : b.watches;
    if (a_open != b_open) return a_open < b_open ? -1 : 1;
  }
  const std::uint32_t larger = std::max(a.work, b.work);
  if (larger - std::min(a.work, b.work) > larger / 5) return a.work < b.work ? -1 : 1;
  const auto kind = static_cast<std::size_t>(assignment_kind(request));
  if (a.recent[kind] < b.recent[kind]) return -1;
  return b.recent[kind] < a.recent[kind] ? 1 : 0;
}

// Two distinct draws: with replacement, two backends would get the worse one a quarter of the time.
std::size_t Picker::pick_power_of_two(std::span<const Load> loads, BackendMask among,
                                      RequestClass request, Random& random) const {
  const std::size_t first = draw(among, random);
  const std::size_t second = draw(among & ~mask_of(first), random);
  // The draws are in random order already, so that a full tie needs no coin of its own.
  return compare(loads[second], loads[first], request) < 0 ? second : first;
}

// Each of n equally good ones is taken with 1/n: the k-th replaces the choice with 1/k.
std::size_t Picker::pick_least(std::span<const Load> loads, BackendMask among, RequestClass request,
                               Random& random) const {
  std::size_t best = lowest_of(among);
  std::uint32_t equals = 1;
  for (BackendMask rest = among & (among - 1); rest != 0; rest &= rest - 1) {
    const std::size_t next = lowest_of(rest);
    const int order = compare(loads[next], loads[best], request);
    if (order < 0) {
      best = next;
      equals = 1;
    } else if (order == 0 && random.below(++equals) == 0) {
      best = next;
    }
  }
  return best;
}

std::size_t Picker::pick_round_robin(BackendMask among, Random& random) {
  if (!last_) {
    // Workers begin at different places.
    last_ = draw(among, random);
    return *last_;
  }
  const BackendMask after = among & ~mask_of_first(*last_ + 1);
  last_ = lowest_of(after != 0 ? after : among);
  return *last_;
}

}  // namespace sluice::balance
