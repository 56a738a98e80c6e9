// SPDX-License-Identifier: GPL-3.0-or-later
// From start to stop, as tables: what happens when, and what is to be done then.
#include "stop_sequence.h"

#include <gmock/gmock.h>

#include <ostream>
#include <string>

namespace sluice::server {
namespace {

using namespace std::chrono_literals;
using Action = StopSequence::Action;
using Actions = StopSequence::Actions;
using State = StopSequence::State;

enum class Event : std::uint8_t { serve, start_failed, signal, replaced, time, gone };

struct Step {
  Duration at;
  Event event;
  Actions actions;
  State state;
};

struct Case {
  std::string name;
  Duration delay;
  std::vector<Step> steps;
};

void PrintTo(const Case& of, std::ostream* out) { *out << of.name; }

const std::vector<Case>& cases() {
  static const std::vector<Case> all = {
      {"OneSignal",
       5s,
       {{0s, Event::time, {}, State::starting},
        {1s, Event::serve, {}, State::serving},
        {9s, Event::time, {}, State::serving},
        {10s, Event::signal, {Action::announce}, State::delaying},
        {14'999ms, Event::time, {}, State::delaying},
        {15s, Event::time, {Action::drain}, State::draining},
        {16s, Event::time, {}, State::draining},  // once
        {75s, Event::time, {}, State::draining},  // workers know how long their window is
        {76s, Event::gone, {}, State::stopped},
        {77s, Event::time, {}, State::stopped}}},
      {"WithoutADelayItDrainsAtOnce",
       0s,
       {{1s, Event::serve, {}, State::serving},
        {2s, Event::signal, {Action::announce, Action::drain}, State::draining},
        {3s, Event::time, {}, State::draining},
        {4s, Event::gone, {}, State::stopped}}},
      {"ASecondSignalDuringTheDelay",
       20s,
       {{1s, Event::serve, {}, State::serving},
        {2s, Event::signal, {Action::announce}, State::delaying},
        {3s, Event::signal, {Action::stop}, State::ending},
        {3'500ms, Event::time, {}, State::ending},
        {3'600ms, Event::gone, {}, State::stopped}}},
      {"ASecondSignalDuringTheDrain",
       0s,
       {{1s, Event::serve, {}, State::serving},
        {2s, Event::signal, {Action::announce, Action::drain}, State::draining},
        {3s, Event::signal, {Action::stop}, State::ending},
        {3'799ms, Event::time, {}, State::ending},
        {3'800ms, Event::time, {Action::abandon}, State::ending}}},
      {"AThirdSignalIsNoMoreThanASecond",
       5s,
       {{1s, Event::serve, {}, State::serving},
        {2s, Event::signal, {Action::announce}, State::delaying},
        {3s, Event::signal, {Action::stop}, State::ending},
        {3'700ms, Event::signal, {}, State::ending},
        {3'800ms, Event::time, {Action::abandon}, State::ending}}},
      {"TheDelayOfADrainThatWillNotComeIsForgotten",
       1s,
       {{1s, Event::serve, {}, State::serving},
        {2s, Event::signal, {Action::announce}, State::delaying},
        {2'900ms, Event::signal, {Action::stop}, State::ending},
        {3'100ms, Event::time, {}, State::ending}}},
      {"ASignalBeforeAnyWorkerServes",
       5s,
       {{1s, Event::signal, {Action::announce}, State::cancelled},
        {9s, Event::time, {}, State::cancelled},
        {9s, Event::gone, {}, State::stopped}}},
      {"TwoSignalsBeforeAnyWorkerServes",
       5s,
       {{1s, Event::signal, {Action::announce}, State::cancelled},
        {2s, Event::signal, {Action::stop}, State::ending},
        {2s, Event::gone, {}, State::stopped}}},
      {"AStartThatFails",
       5s,
       {{1s, Event::start_failed, {Action::stop}, State::ending},
        {60s, Event::time, {}, State::ending},  // threads that live are waited for
        {60s, Event::signal, {}, State::ending},
        {61s, Event::gone, {}, State::stopped}}},
      {"ASignalAfterTheEnd",
       0s,
       {{1s, Event::serve, {}, State::serving},
        {2s, Event::signal, {Action::announce, Action::drain}, State::draining},
        {3s, Event::gone, {}, State::stopped},
        {4s, Event::signal, {}, State::stopped}}},
      {"WhoIsReplacedDrainsAtOnceAndTellsNobody",
       5s,
       {{1s, Event::serve, {}, State::serving},
        {2s, Event::replaced, {Action::drain}, State::draining},
        {9s, Event::time, {}, State::draining},
        {10s, Event::replaced, {}, State::draining},
        {11s, Event::signal, {Action::stop}, State::ending}}},
      {"WhoIsReplacedDuringItsDelayDrainsOnce",
       5s,
       {{1s, Event::serve, {}, State::serving},
        {2s, Event::signal, {Action::announce}, State::delaying},
        {3s, Event::replaced, {Action::drain}, State::draining},
        {9s, Event::time, {}, State::draining}}},
  };
  return all;
}

Actions happen(StopSequence& sequence, Event event, Instant now) {
  switch (event) {
    case Event::serve: sequence.workers_serve(); return {};
    case Event::start_failed: return sequence.start_failed();
    case Event::signal: return sequence.signal(now);
    case Event::replaced: return sequence.replaced();
    case Event::time: return sequence.time_passed(now);
    case Event::gone: sequence.workers_gone(); return {};
  }
  return {};
}

class StopSequenceTest : public testing::TestWithParam<Case> {};

TEST_P(StopSequenceTest, Steps) {
  StopSequence sequence(GetParam().delay);
  int number = 0;
  for (const Step& step : GetParam().steps) {
    SCOPED_TRACE("step " + std::to_string(number++));
    EXPECT_EQ(happen(sequence, step.event, Instant(step.at)), step.actions);
    EXPECT_EQ(sequence.state(), step.state);
    EXPECT_EQ(sequence.may_start(), step.state == State::starting);
  }
}

INSTANTIATE_TEST_SUITE_P(All, StopSequenceTest, testing::ValuesIn(cases()),
                         [](const auto& of) { return of.param.name; });

}  // namespace
}  // namespace sluice::server
