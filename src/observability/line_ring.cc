// SPDX-License-Identifier: GPL-3.0-or-later
// The head is published with release after the bytes are in place; the tail with release after they
// were read.
#include "line_ring.h"

#include <algorithm>
#include <cstring>

#include "sluice/base/check.h"

namespace sluice::observability {

namespace {

// The only writer of a counter needs no locked addition.
void bump(std::atomic<std::uint64_t>& counter) {
  counter.store(counter.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
}

}  // namespace

LineRing::LineRing(std::size_t capacity_bytes)
    : capacity_(capacity_bytes), bytes_(std::make_unique_for_overwrite<char[]>(capacity_bytes)) {
  CHECK_GE(capacity_bytes, 2u);
}

bool LineRing::push(std::string_view line) {
  DCHECK(!line.empty() && line.back() == '\n');
  const std::uint64_t head = head_.load(std::memory_order_relaxed);
  const std::uint64_t tail = tail_.load(std::memory_order_acquire);
  if (line.size() > capacity_ - static_cast<std::size_t>(head - tail)) {
    bump(dropped_);
    return false;
  }
  const auto at = static_cast<std::size_t>(head % capacity_);
  const std::size_t first = std::min(line.size(), capacity_ - at);
  std::memcpy(bytes_.get() + at, line.data(), first);
  std::memcpy(bytes_.get(), line.data() + first, line.size() - first);
  head_.store(head + line.size(), std::memory_order_release);
  bump(pushed_);
  return true;
}

bool LineRing::half_full() const {
  return head_.load(std::memory_order_relaxed) - tail_.load(std::memory_order_relaxed) >
         capacity_ / 2;
}

std::array<std::string_view, 2> LineRing::peek() const {
  const std::uint64_t head = head_.load(std::memory_order_acquire);
  const std::uint64_t tail = tail_.load(std::memory_order_relaxed);
  const auto size = static_cast<std::size_t>(head - tail);
  const auto at = static_cast<std::size_t>(tail % capacity_);
  const std::size_t first = std::min(size, capacity_ - at);
  return {std::string_view(bytes_.get() + at, first), std::string_view(bytes_.get(), size - first)};
}

void LineRing::pop(std::size_t bytes) {
  const std::uint64_t tail = tail_.load(std::memory_order_relaxed);
  DCHECK(bytes <= head_.load(std::memory_order_relaxed) - tail);
  tail_.store(tail + bytes, std::memory_order_release);
}

bool LineRing::empty() const {
  return head_.load(std::memory_order_acquire) == tail_.load(std::memory_order_relaxed);
}

}  // namespace sluice::observability
