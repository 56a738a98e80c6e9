// SPDX-License-Identifier: GPL-3.0-or-later
// Every value lies in exactly the bucket that its bounds say.
#include "sluice/observability/histogram.h"

#include <gtest/gtest.h>

#include "sluice/base/random.h"

namespace sluice::metrics {
namespace {

constexpr HistogramLayout small = {.low_bits = 3, .high_bits = 8, .step_bits = 2, .unit = 1.0};

TEST(HistogramTest, PutsEveryValueIntoItsBucket) {
  for (const HistogramLayout& layout :
       {small, HistogramLayout{2, 9, 0, 1.0}, HistogramLayout{3, 9, 3, 1.0}}) {
    for (std::uint64_t value = 0; value < 1000; ++value) {
      const std::size_t i = layout.index(value);
      ASSERT_LT(i, layout.buckets());
      EXPECT_LE(value, layout.upper(i)) << value;
      if (i > 0) {
        EXPECT_GT(value, layout.upper(i - 1)) << value;
      }
    }
  }
}

TEST(HistogramTest, BoundsGrowAndIncludeEveryPowerOfTwo) {
  for (const HistogramLayout& layout :
       {small, HistogramLayout::seconds(), HistogramLayout::bytes()}) {
    for (std::size_t i = 1; i < layout.buckets(); ++i)
      EXPECT_GT(layout.upper(i), layout.upper(i - 1));
    for (unsigned bits = layout.low_bits; bits <= layout.high_bits; ++bits) {
      const std::size_t i = layout.index(std::uint64_t{1} << bits);
      EXPECT_EQ(layout.upper(i), std::uint64_t{1} << bits);
      EXPECT_EQ(i % (std::size_t{1} << layout.step_bits), 0u);
    }
  }
}

TEST(HistogramTest, BoundsTheRelativeError) {
  const HistogramLayout layout = HistogramLayout::seconds();
  Random random(11);
  for (int i = 0; i < 10000; ++i) {
    const std::uint64_t value = 1024 + random.next() % (std::uint64_t{1} << 37);
    if (layout.index(value) == layout.buckets() - 1) continue;
    const auto upper = static_cast<double>(layout.upper(layout.index(value)));
    EXPECT_LE(upper / static_cast<double>(value), 1.0 + 1.0 / 8);
  }
}

TEST(HistogramTest, TakesTheLargestValues) {
  EXPECT_EQ(small.index(256), small.buckets() - 2);
  EXPECT_EQ(small.index(257), small.buckets() - 1);
  EXPECT_EQ(small.index(UINT64_MAX), small.buckets() - 1);
  EXPECT_EQ(HistogramLayout::seconds().index(UINT64_MAX), HistogramLayout::seconds().buckets() - 1);
}

TEST(HistogramTest, FindsQuantiles) {
  Histogram histogram(small);
  EXPECT_EQ(histogram.quantile(0.5), 0u);
  for (int i = 0; i < 90; ++i) histogram.observe(16);
  for (int i = 0; i < 10; ++i) histogram.observe(200);
  EXPECT_EQ(histogram.quantile(0.0), 16u);
  EXPECT_EQ(histogram.quantile(0.5), 16u);
  EXPECT_EQ(histogram.quantile(0.9), 16u);
  EXPECT_EQ(histogram.quantile(0.91), 224u);
  EXPECT_EQ(histogram.quantile(1.0), 224u);
}

}  // namespace
}  // namespace sluice::metrics
