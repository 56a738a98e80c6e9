// SPDX-License-Identifier: GPL-3.0-or-later
// Records are counted by their last byte, in whatever pieces they come.
#include "record_budget.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

namespace sluice::tls {
namespace {

std::vector<std::uint8_t> records(int count, std::uint8_t content_bytes) {
  std::vector<std::uint8_t> bytes;
  for (int i = 0; i < count; ++i) {
    bytes.insert(bytes.end(), {23, 3, 3, 0, content_bytes});
    bytes.insert(bytes.end(), content_bytes, 0xff);
  }
  return bytes;
}

void take(RecordBudget& budget, Bytes bytes, std::size_t piece) {
  while (!bytes.empty()) {
    const std::size_t size = std::min(piece, bytes.size());
    budget.taken(bytes.first(size));
    bytes = bytes.subspan(size);
  }
}

TEST(RecordBudgetTest, TakesSoManyRecordsAndNoMore) {
  for (const std::size_t piece : {std::size_t{1}, std::size_t{4}, std::size_t{7}, SIZE_MAX}) {
    for (const std::uint8_t content : {std::uint8_t{0}, std::uint8_t{1}, std::uint8_t{200}}) {
      RecordBudget budget(false);
      budget.established();
      take(budget, records(64, content), piece);
      EXPECT_FALSE(budget.exhausted()) << piece << ' ' << int{content};
      auto last = records(1, content);
      take(budget, Bytes(last).first(last.size() - 1), piece);
      EXPECT_FALSE(budget.exhausted());
      take(budget, Bytes(last).last(1), piece);
      EXPECT_TRUE(budget.exhausted());
      EXPECT_FALSE(budget.far_exhausted());
      take(budget, last, piece);
      EXPECT_TRUE(budget.far_exhausted());
    }
  }
}

TEST(RecordBudgetTest, AHandshakeHasOneOfItsOwn) {
  RecordBudget budget(false);
  take(budget, records(2048, 1), SIZE_MAX);
  EXPECT_FALSE(budget.exhausted());
  take(budget, records(1, 1), SIZE_MAX);
  EXPECT_TRUE(budget.exhausted());
  budget.established();
  EXPECT_FALSE(budget.exhausted());
}

TEST(RecordBudgetTest, DataPaysForItselfAndForAnotherRecordInSixteen) {
  RecordBudget budget(false);
  budget.established();
  for (int i = 0; i < 10000; ++i) {
    take(budget, records(1, 10), SIZE_MAX);
    budget.data_read();
    if (i % 16 == 0) take(budget, records(1, 0), SIZE_MAX);
    ASSERT_FALSE(budget.exhausted()) << i;
  }
  for (int i = 0; i < 80 * 16; ++i) {
    take(budget, records(1, 10), SIZE_MAX);
    budget.data_read();
    if (i % 8 == 0) take(budget, records(1, 0), SIZE_MAX);
  }
  take(budget, records(1, 0), SIZE_MAX);
  EXPECT_TRUE(budget.exhausted());
}

TEST(RecordBudgetTest, NothingIsSavedUp) {
  RecordBudget budget(false);
  budget.established();
  for (int i = 0; i < 10000; ++i) budget.data_read();
  take(budget, records(65, 0), SIZE_MAX);
  EXPECT_TRUE(budget.exhausted());
}

TEST(RecordBudgetTest, WhatWasReadAheadIsNotAbuseYet) {
  RecordBudget budget(true);
  budget.established();
  take(budget, records(64 + 1024, 1), SIZE_MAX);
  EXPECT_TRUE(budget.exhausted());
  EXPECT_FALSE(budget.far_exhausted());
  take(budget, records(1, 1), SIZE_MAX);
  EXPECT_TRUE(budget.far_exhausted());
}

}  // namespace
}  // namespace sluice::tls
