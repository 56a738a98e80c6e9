// SPDX-License-Identifier: GPL-3.0-or-later
// Log-linear distribution of whole numbers (nanoseconds, bytes): each power of two is cut into
// equal steps, so that the relative error is bounded and two histograms of one layout add up.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace sluice::metrics {

struct HistogramLayout {
  // Values up to 2^low_bits lie in the first bucket, those above 2^high_bits in the last.
  unsigned low_bits = 0;
  unsigned high_bits = 32;
  unsigned step_bits = 3;  // 2^step_bits buckets for each power of two; at most low_bits
  double unit = 1.0;       // exposed value = recorded value × unit

  // 1 µs to 137 s, recorded in nanoseconds, exposed in seconds.
  static constexpr HistogramLayout seconds() { return {10, 37, 3, 1e-9}; }
  // 64 bytes to 1 GiB.
  static constexpr HistogramLayout bytes() { return {6, 30, 2, 1.0}; }

  std::size_t buckets() const;
  std::size_t index(std::uint64_t value) const;
  // Largest value of the bucket; UINT64_MAX for the last.
  std::uint64_t upper(std::size_t bucket) const;

  friend bool operator==(const HistogramLayout&, const HistogramLayout&) = default;
};

// A histogram by value: what a scrape adds up, and for tests and tools.
class Histogram {
 public:
  explicit Histogram(HistogramLayout layout);

  void observe(std::uint64_t value, std::uint64_t times = 1);
  void add_bucket(std::size_t bucket, std::uint64_t times);
  void add_sum(std::uint64_t sum) { sum_ += sum; }

  std::uint64_t count() const { return count_; }
  std::uint64_t sum() const { return sum_; }
  std::uint64_t bucket(std::size_t i) const { return counts_[i]; }
  const HistogramLayout& layout() const { return layout_; }
  // Upper end of the bucket that holds the q-quantile; 0 when empty. 0 <= q <= 1.
  std::uint64_t quantile(double q) const;

 private:
  HistogramLayout layout_;
  std::vector<std::uint64_t> counts_;
  std::uint64_t count_ = 0;
  std::uint64_t sum_ = 0;
};

}  // namespace sluice::metrics
