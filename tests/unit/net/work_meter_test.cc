// SPDX-License-Identifier: GPL-3.0-or-later
// Who causes clearly more work than others.
#include "sluice/net/work_meter.h"

#include <gtest/gtest.h>

#include <array>

namespace sluice::net {
namespace {

using namespace std::chrono_literals;

class WorkMeterTest : public testing::Test {
 protected:
  static constexpr std::size_t connections = 20;

  // A window in which each causes its part.
  void window(Duration wait, Duration each, Duration first) {
    meter.look(++windows, wait);
    meter.add(work[0], first);
    for (std::size_t i = 1; i < connections; ++i) meter.add(work[i], each);
  }
  std::size_t put_off() const {
    std::size_t count = 0;
    for (const WorkMeter::Work& of : work) count += meter.much(of) ? 1U : 0U;
    return count;
  }

  WorkMeter meter;
  std::uint64_t windows = 0;
  std::array<WorkMeter::Work, connections> work;
};

TEST_F(WorkMeterTest, WhoCausesClearlyMoreThanOthersIsKnownWhileWorkWaits) {
  window(2ms, 100us, 20ms);
  meter.look(++windows, 2ms);
  EXPECT_TRUE(meter.weighs());
  EXPECT_TRUE(meter.much(work[0]));
  EXPECT_EQ(put_off(), 1U);
  // And not for long.
  meter.look(++windows, 2ms);
  EXPECT_EQ(put_off(), 0U);
}

TEST_F(WorkMeterTest, WhereAllCauseAsMuchNobodyIsPutOff) {
  for (int i = 0; i < 10; ++i) window(5ms, 5ms, 6ms);
  meter.look(++windows, 5ms);
  EXPECT_EQ(put_off(), 0U);
}

TEST_F(WorkMeterTest, LittleIsNeverMuch) {
  window(2ms, 1us, 400us);
  meter.look(++windows, 2ms);
  EXPECT_EQ(put_off(), 0U);
}

TEST_F(WorkMeterTest, WhereNothingWaitsNothingIsWeighed) {
  for (int i = 0; i < 10; ++i) window(100us, 100us, 20ms);
  EXPECT_FALSE(meter.weighs());
  EXPECT_EQ(put_off(), 0U);
}

TEST_F(WorkMeterTest, ItGoesOnForASecondWhenNothingWaitsAnyMore) {
  window(2ms, 100us, 20ms);
  for (int i = 0; i < 9; ++i) window(0ms, 100us, 20ms);
  EXPECT_EQ(put_off(), 1U);
  for (int i = 0; i < 3; ++i) window(0ms, 100us, 20ms);
  EXPECT_FALSE(meter.weighs());
  EXPECT_EQ(put_off(), 0U);
}

TEST_F(WorkMeterTest, AfterAPauseNothingIsKnown) {
  window(2ms, 100us, 20ms);
  windows += 5;
  meter.look(++windows, 2ms);
  EXPECT_EQ(put_off(), 0U);
  window(2ms, 100us, 100us);
  meter.look(++windows, 2ms);
  EXPECT_EQ(put_off(), 0U);
}

}  // namespace
}  // namespace sluice::net
