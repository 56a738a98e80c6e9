// SPDX-License-Identifier: GPL-3.0-or-later
// Bucket arithmetic. Buckets are (lower, upper], as Prometheus' `le` wants them: the value v lies
// where v - 1 does when buckets are taken as [lower, upper).
#include "sluice/observability/histogram.h"

#include <bit>
#include <cmath>

#include "sluice/base/check.h"

namespace sluice::metrics {

namespace {

void check_layout(const HistogramLayout& layout) {
  CHECK_LE(layout.step_bits, layout.low_bits);
  CHECK_LT(layout.low_bits, layout.high_bits);
  CHECK_LT(layout.high_bits, 64u);
}

}  // namespace

std::size_t HistogramLayout::buckets() const {
  return 2 + ((std::size_t{high_bits} - low_bits) << step_bits);
}

std::size_t HistogramLayout::index(std::uint64_t value) const {
  if (value <= (std::uint64_t{1} << low_bits)) return 0;
  const std::uint64_t below = value - 1;
  const unsigned octave = static_cast<unsigned>(std::bit_width(below)) - 1;
  if (octave >= high_bits) return buckets() - 1;
  const std::uint64_t step = (below >> (octave - step_bits)) - (std::uint64_t{1} << step_bits);
  return 1 + ((std::size_t{octave} - low_bits) << step_bits) + static_cast<std::size_t>(step);
}

std::uint64_t HistogramLayout::upper(std::size_t bucket) const {
  CHECK_LT(bucket, buckets());
  if (bucket == 0) return std::uint64_t{1} << low_bits;
  if (bucket == buckets() - 1) return UINT64_MAX;
  const unsigned octave = low_bits + static_cast<unsigned>((bucket - 1) >> step_bits);
  const std::uint64_t step = (bucket - 1) & ((std::uint64_t{1} << step_bits) - 1);
  return ((std::uint64_t{1} << step_bits) + step + 1) << (octave - step_bits);
}

Histogram::Histogram(HistogramLayout layout) : layout_(layout), counts_(layout.buckets()) {
  check_layout(layout);
}

void Histogram::observe(std::uint64_t value, std::uint64_t times) {
  add_bucket(layout_.index(value), times);
  sum_ += value * times;
}

void Histogram::add_bucket(std::size_t bucket, std::uint64_t times) {
  CHECK_LT(bucket, counts_.size());
  counts_[bucket] += times;
  count_ += times;
}

std::uint64_t Histogram::quantile(double q) const {
  CHECK(q >= 0.0 && q <= 1.0);
  if (count_ == 0) return 0;
  const auto rank = static_cast<std::uint64_t>(std::ceil(q * static_cast<double>(count_)));
  std::uint64_t seen = 0;
  for (std::size_t i = 0; i < counts_.size(); ++i) {
    seen += counts_[i];
    if (seen >= rank && seen > 0) return layout_.upper(i);
  }
  return layout_.upper(counts_.size() - 1);
}

}  // namespace sluice::metrics
