// SPDX-License-Identifier: GPL-3.0-or-later
// A bounded queue of whole lines between one producer and one consumer, without a lock. The
// consumer sees only complete lines, as plain bytes that can be written as they lie.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>

namespace sluice::observability {

class LineRing {
 public:
  explicit LineRing(std::size_t capacity_bytes);
  LineRing(const LineRing&) = delete;
  LineRing& operator=(const LineRing&) = delete;

  // Producer: false when the line does not fit as a whole; it is then counted as dropped.
  bool push(std::string_view line);
  // Producer, roughly: how full the queue is, from the producer's side.
  bool half_full() const;

  // Consumer: what can be read, in up to two pieces; then how much of it is done with.
  std::array<std::string_view, 2> peek() const;
  void pop(std::size_t bytes);
  bool empty() const;

  std::uint64_t pushed() const { return pushed_.load(std::memory_order_relaxed); }
  std::uint64_t dropped() const { return dropped_.load(std::memory_order_relaxed); }

 private:
  const std::size_t capacity_;
  std::unique_ptr<char[]> bytes_;
  // Positions only grow. Each side writes its own line of the cache.
  alignas(64) std::atomic<std::uint64_t> head_{0};  // producer's
  std::atomic<std::uint64_t> pushed_{0};
  std::atomic<std::uint64_t> dropped_{0};
  alignas(64) std::atomic<std::uint64_t> tail_{0};  // consumer's
};

}  // namespace sluice::observability
