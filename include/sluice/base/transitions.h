// SPDX-License-Identifier: GPL-3.0-or-later
// The transitions of a state machine as a table: which states may come before each.
#pragma once

#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "sluice/base/check.h"

namespace sluice {

// A set of states, up to 32.
template <class State>
constexpr std::uint32_t states(State first, std::same_as<State> auto... others) {
  return ((std::uint32_t{1} << static_cast<unsigned>(first)) | ... |
          (std::uint32_t{1} << static_cast<unsigned>(others)));
}

// No input leads to a wrong transition, yet what one costs must be known. While a test program has
// one staged, the machine's next step into one of these states is refused as if it were wrong, and
// no refusal aborts. One thread at a time; nothing else ever sets it.
struct StagedMistake {
  std::string_view machine;
  std::uint32_t into = 0;
  std::uint32_t made = 0;

  bool is_made_by(std::string_view who, std::uint32_t next) {
    if (made > 0 || who != machine || (into & next) == 0) return false;
    ++made;
    return true;
  }
};
inline StagedMistake* staged_mistake = nullptr;

template <class State, std::size_t count>
struct Transitions {
  // In the order of the states.
  std::array<std::uint32_t, count> predecessors;

  constexpr bool allow(State from, State to) const {
    return (predecessors[static_cast<std::size_t>(to)] & states(from)) != 0;
  }

  // Whether the machine of this name must not make the step: a mistake of ours, which aborts where
  // assertions are on. Otherwise the machine ends what it belongs to.
  bool refuse(std::string_view machine, State from, State to) const {
    if (staged_mistake != nullptr) [[unlikely]] {
      return staged_mistake->is_made_by(machine, states(to)) || !allow(from, to);
    }
    DCHECK(allow(from, to));
    return !allow(from, to);
  }
};

}  // namespace sluice
