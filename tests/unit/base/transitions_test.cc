// SPDX-License-Identifier: GPL-3.0-or-later
// A table of transitions allows what stands in it.
#include "sluice/base/transitions.h"

#include <gtest/gtest.h>

namespace sluice {
namespace {

enum class Door : std::uint8_t { open, closed, locked };

constexpr Transitions<Door, 3> transitions{{
    states(Door::closed),              // open
    states(Door::open, Door::locked),  // closed
    states(Door::closed),              // locked
}};

static_assert(transitions.allow(Door::open, Door::closed));
static_assert(!transitions.allow(Door::open, Door::locked));

TEST(TransitionsTest, AllowsWhatStandsInTheTableAndNothingElse) {
  for (const Door from : {Door::open, Door::closed, Door::locked}) {
    for (const Door to : {Door::open, Door::closed, Door::locked}) {
      const bool through_closed = (from == Door::closed) != (to == Door::closed);
      EXPECT_EQ(transitions.allow(from, to), through_closed);
    }
  }
}

TEST(TransitionsTest, AMistakeIsStagedForOneStepOfOneMachine) {
  EXPECT_FALSE(transitions.refuse("door", Door::open, Door::closed));
  StagedMistake staged{.machine = "door", .into = states(Door::closed)};
  staged_mistake = &staged;
  EXPECT_FALSE(transitions.refuse("gate", Door::open, Door::closed));
  EXPECT_FALSE(transitions.refuse("door", Door::closed, Door::open));
  EXPECT_TRUE(transitions.refuse("door", Door::open, Door::closed));
  EXPECT_EQ(staged.made, 1U);
  EXPECT_FALSE(transitions.refuse("door", Door::open, Door::closed));
  EXPECT_TRUE(transitions.refuse("door", Door::open, Door::locked)) << "without an end of all";
  staged_mistake = nullptr;
}

}  // namespace
}  // namespace sluice
