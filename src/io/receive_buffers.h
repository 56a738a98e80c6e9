// SPDX-License-Identifier: GPL-3.0-or-later
// Buffers provided to the kernel for receiving (a registered buffer ring, Linux 5.19). A buffer is
// the kernel's from the moment it is given until a completion names it, and ours until it is given
// back. Under AddressSanitizer the kernel's buffers are poisoned.
#pragma once

#include <liburing.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "sluice/base/bytes.h"
#include "sluice/base/error.h"

namespace sluice::io {

class ReceiveBuffers {
 public:
  static constexpr std::uint16_t group = 0;

  // `count` is a power of two, at most 32768.
  static Result<std::unique_ptr<ReceiveBuffers>> create(io_uring& ring, std::uint32_t count,
                                                        std::uint32_t buffer_bytes);
  ~ReceiveBuffers();
  ReceiveBuffers(const ReceiveBuffers&) = delete;
  ReceiveBuffers& operator=(const ReceiveBuffers&) = delete;

  // The kernel has filled `bytes` of buffer `id`: it is ours now.
  Bytes take(std::uint16_t id, std::uint32_t bytes);
  void give_back(std::uint16_t id);

  std::uint32_t count() const { return count_; }
  std::uint32_t buffer_bytes() const { return buffer_bytes_; }
  std::uint32_t taken() const { return taken_count_; }  // ours at the moment

 private:
  ReceiveBuffers(io_uring& ring, std::uint32_t count, std::uint32_t buffer_bytes);
  std::uint8_t* at(std::uint16_t id) const {
    return memory_ + static_cast<std::size_t>(id) * buffer_bytes_;
  }
  void provide(std::uint16_t id);

  io_uring& ring_;
  std::uint32_t count_;
  std::uint32_t buffer_bytes_;
  io_uring_buf_ring* entries_ = nullptr;
  std::size_t entries_bytes_ = 0;
  bool registered_ = false;
  std::uint8_t* memory_ = nullptr;
  std::size_t memory_bytes_ = 0;
  // A kernel that hands out one buffer twice would mix two connections' bytes: always checked.
  std::vector<bool> taken_;
  std::uint32_t taken_count_ = 0;
};

}  // namespace sluice::io
