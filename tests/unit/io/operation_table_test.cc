// SPDX-License-Identifier: GPL-3.0-or-later
// Slots of operations, and ids that are not valid any more.
#include "operation_table.h"

#include <gtest/gtest.h>

#include <set>

#include "sluice/io/operation.h"

namespace sluice::io {
namespace {

Operation make_operation() {
  return Operation(nullptr, [](void*, const Completion&) {});
}

TEST(UserDataTest, SurvivesTheWayThroughTheKernel) {
  for (const std::uint32_t slot : {0U, 1U, 255U, 65536U, UserData::slots_max - 1}) {
    for (const std::uint32_t generation : {0U, 1U, 0x80000000U, UINT32_MAX}) {
      for (const auto kind : {OperationKind::accept, OperationKind::poll, OperationKind::cancel}) {
        const UserData data{slot, generation, kind};
        EXPECT_EQ(UserData::unpack(data.packed()), data);
      }
    }
  }
}

TEST(UserDataTest, NamesARequestToCancelApartFromItsTarget) {
  const UserData target{5, 9, OperationKind::receive};
  const UserData request = target.as(OperationKind::cancel);
  EXPECT_NE(request.packed(), target.packed());
  EXPECT_EQ(request.slot, target.slot);
  EXPECT_EQ(request.generation, target.generation);
}

TEST(OperationTableTest, FindsNothingByTheIdOfAnEndedOperation) {
  OperationTable table;
  Operation operation = make_operation();
  std::uint32_t slot = 0;
  table.begin(operation, OperationKind::receive, 3, slot);
  const UserData old = table.id(slot);
  ASSERT_NE(table.find(old), nullptr);
  table.end(slot);
  EXPECT_EQ(table.find(old), nullptr);

  std::uint32_t reused = 0;
  table.begin(operation, OperationKind::receive, 3, reused);
  EXPECT_EQ(reused, slot);
  EXPECT_EQ(table.find(old), nullptr);
  EXPECT_NE(table.id(reused), old);
  ASSERT_NE(table.find(table.id(reused)), nullptr);
  EXPECT_EQ(table.find(table.id(reused))->operation, &operation);
}

TEST(OperationTableTest, FindsNothingByAnotherKindOrAnUnknownSlot) {
  OperationTable table;
  Operation operation = make_operation();
  std::uint32_t slot = 0;
  table.begin(operation, OperationKind::send, 3, slot);
  EXPECT_EQ(table.find(table.id(slot).as(OperationKind::receive)), nullptr);
  EXPECT_EQ(table.find({slot + 1, 1, OperationKind::send}), nullptr);
}

TEST(OperationTableTest, StartsEachOperationWithACleanSlot) {
  OperationTable table;
  Operation operation = make_operation();
  std::uint32_t slot = 0;
  OperationSlot& first = table.begin(operation, OperationKind::connect, 3, slot);
  first.armed = first.cancel_requested = true;
  first.bytes = as_bytes("x");
  first.address = std::make_unique<Address>();
  table.end(slot);
  const OperationSlot& second = table.begin(operation, OperationKind::send, 4, slot);
  EXPECT_FALSE(second.armed);
  EXPECT_FALSE(second.cancel_requested);
  EXPECT_TRUE(second.bytes.empty());
  EXPECT_EQ(second.address, nullptr);
  EXPECT_EQ(second.descriptor, 4);
}

TEST(OperationTableTest, GivesDistinctSlotsToOperationsInFlight) {
  OperationTable table;
  Operation operation = make_operation();
  std::set<std::uint32_t> slots;
  for (int i = 0; i < 100; ++i) {
    std::uint32_t slot = 0;
    table.begin(operation, OperationKind::poll, 3, slot);
    slots.insert(slot);
  }
  EXPECT_EQ(slots.size(), 100U);
  EXPECT_EQ(table.size(), 100U);
  for (const std::uint32_t slot : slots) table.end(slot);
  EXPECT_EQ(table.size(), 0U);
}

}  // namespace
}  // namespace sluice::io
