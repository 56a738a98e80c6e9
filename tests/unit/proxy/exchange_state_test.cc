// SPDX-License-Identifier: GPL-3.0-or-later
// The table of an exchange's states says what the drawing beside it says.
#include "exchange_state.h"

#include <gtest/gtest.h>

#include <set>
#include <string_view>
#include <utility>

namespace sluice::proxy {
namespace {

using State = ExchangeState;

constexpr std::array all{State::idle,       State::waiting, State::judging,   State::holding,
                         State::forwarding, State::ending,  State::finishing, State::finished};

TEST(ExchangeStateTest, EachArrowOfTheDrawingIsAllowedAndNoOther) {
  std::set<std::pair<State, State>> arrows{
      {State::finished, State::idle},
      {State::idle, State::waiting},
      {State::waiting, State::judging},
      {State::waiting, State::forwarding},
      {State::judging, State::forwarding},
      {State::waiting, State::holding},
      {State::holding, State::forwarding},
      {State::forwarding, State::ending},
      {State::forwarding, State::finishing},
      {State::ending, State::finishing},
      {State::finishing, State::finished},
      // a replay
      {State::waiting, State::waiting},
      {State::judging, State::waiting},
      {State::holding, State::waiting},
      // a plan that is replaced by a nearer one
      {State::ending, State::ending},
  };
  // Its client may go at any time.
  for (const State state :
       {State::waiting, State::judging, State::holding, State::forwarding, State::ending}) {
    arrows.emplace(state, State::finished);
  }
  for (const State from : all) {
    for (const State to : all) {
      EXPECT_EQ(exchange_transitions.allow(from, to), arrows.contains({from, to}))
          << to_string(from) << " to " << to_string(to);
    }
  }
}

TEST(ExchangeStateTest, EachHasAName) {
  std::set<std::string_view> names;
  for (const State state : all) names.insert(to_string(state));
  EXPECT_EQ(names.size(), all.size());
  EXPECT_FALSE(names.contains("unknown"));
}

}  // namespace
}  // namespace sluice::proxy
