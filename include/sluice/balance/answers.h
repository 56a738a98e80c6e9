// SPDX-License-Identifier: GPL-3.0-or-later
// What a backend's answers say of how it is, as sums: how many of each kind, how late they were,
// how many failed. Means of logarithms are compared, so that one answer that takes a minute says no
// more than ten that take a quarter of a second each; and what is below `usual_answer` is all
// alike, so that a backend in another zone is not a slow one.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "sluice/balance/load_estimate.h"
#include "sluice/base/time.h"

namespace sluice::balance {

// Of requests whose answers begin alike soon; others say nothing (a watch has its time).
enum class AnswerKind : std::uint8_t { read, write, list };
inline constexpr std::size_t answer_kinds = 3;

constexpr std::optional<AnswerKind> answer_kind(RequestClass request) {
  switch (request) {
    case RequestClass::read: return AnswerKind::read;
    case RequestClass::write: return AnswerKind::write;
    case RequestClass::list: return AnswerKind::list;
    case RequestClass::watch:
    case RequestClass::watch_list:
    case RequestClass::long_running:
    case RequestClass::tunnel: return std::nullopt;
  }
  return std::nullopt;
}

inline constexpr unsigned usual_answer_bits = 14;
// 16.4 ms.
inline constexpr Duration usual_answer = std::chrono::microseconds(1 << usual_answer_bits);
inline constexpr std::uint32_t slowness_steps = 8;

// How many times as long as usual it took: in steps of which eight double it; 0 for less.
constexpr std::uint32_t slowness_of(Duration took) {
  if (took < usual_answer) return 0;
  const auto us = static_cast<std::uint64_t>(
      std::chrono::duration_cast<std::chrono::microseconds>(took).count());
  const auto octave = static_cast<unsigned>(std::bit_width(us)) - 1;
  const std::uint64_t step = (us >> (octave - 3)) % slowness_steps;
  return (octave - usual_answer_bits) * slowness_steps + static_cast<std::uint32_t>(step);
}

// Sums since some beginning; the 32-bit ones go round.
struct Answers {
  struct Kind {
    std::uint32_t answers = 0;   // failures included
    std::uint32_t failures = 0;  // the backend's own
    std::uint64_t slowness = 0;
  };
  std::uint64_t completed = 0;  // units of work
  std::array<Kind, answer_kinds> kinds{};
  // Reads and writes that it turned away because it has too much to do.
  std::uint32_t overloads = 0;
};

}  // namespace sluice::balance
