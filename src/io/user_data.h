// SPDX-License-Identifier: GPL-3.0-or-later
// The 64 bits that travel through the kernel with every operation: slot, generation and kind, never
// a pointer. The kind is known even when slot and generation are stale, so that the side effects of
// a late completion (an accepted descriptor, a provided buffer) can be undone.
#pragma once

#include <cstdint>

namespace sluice::io {

enum class OperationKind : std::uint8_t {
  none,
  accept,
  receive,
  receive_once,
  send,
  connect,
  poll,
  cancel
};

struct UserData {
  // Bits 0-7 kind, 8-31 slot, 32-63 generation.
  static constexpr std::uint32_t slots_max = 1U << 24;

  std::uint32_t slot = 0;
  std::uint32_t generation = 0;
  OperationKind kind = OperationKind::none;

  friend bool operator==(const UserData&, const UserData&) = default;

  std::uint64_t packed() const {
    return (static_cast<std::uint64_t>(generation) << 32) |
           (static_cast<std::uint64_t>(slot) << 8) | static_cast<std::uint64_t>(kind);
  }

  static UserData unpack(std::uint64_t bits) {
    return {static_cast<std::uint32_t>(bits >> 8) & (slots_max - 1),
            static_cast<std::uint32_t>(bits >> 32), static_cast<OperationKind>(bits & 0xff)};
  }

  // The same slot and generation, named by a request to cancel it.
  UserData as(OperationKind other) const { return {slot, generation, other}; }
};

}  // namespace sluice::io
