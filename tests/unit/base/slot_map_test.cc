// SPDX-License-Identifier: GPL-3.0-or-later
// Ids of slot and generation.
#include "sluice/base/slot_map.h"

#include <gtest/gtest.h>

#include <memory>

namespace sluice {
namespace {

TEST(SlotMapTest, AStaleIdFindsNothingEvenWhenItsSlotIsUsedAgain) {
  SlotMap<std::unique_ptr<int>> map;
  const SlotId first = map.insert(std::make_unique<int>(1));
  EXPECT_EQ(*map.take(first), 1);
  const SlotId second = map.insert(std::make_unique<int>(2));
  EXPECT_EQ(first.slot, second.slot);
  EXPECT_EQ(map.find(first), nullptr);
  ASSERT_NE(map.find(second), nullptr);
  EXPECT_EQ(**map.find(second), 2);
}

TEST(SlotMapTest, AnEmptyIdFindsNothing) {
  SlotMap<int> map;
  map.insert(5);
  EXPECT_EQ(map.find(SlotId{}), nullptr);
}

TEST(SlotMapTest, ForEachMayTakeTheElementItSees) {
  SlotMap<int> map;
  for (int i = 0; i < 10; ++i) map.insert(i);
  map.for_each([&](SlotId id, int value) {
    if (value % 2 == 0) map.take(id);
  });
  EXPECT_EQ(map.size(), 5U);
}

}  // namespace
}  // namespace sluice
