// SPDX-License-Identifier: GPL-3.0-or-later
// Body bytes on their way from one side to the other, in blocks of the worker's pool. Bounded from
// outside by the flow-control window that its sender was given.
//
// While retained, bytes that were pulled are kept, and rewind() makes the queue give them again:
// that is how a request body is sent to another backend.
#pragma once

#include <cstdint>
#include <string>

#include "sluice/base/bytes.h"

namespace sluice::proxy {

// Blocks for all queues of one worker.
class BlockPool {
 public:
  static constexpr std::size_t block_bytes = 4096;

  struct Block {
    Block* next = nullptr;
    std::uint32_t size = 0;
    std::uint8_t data[block_bytes - 16];
  };

  explicit BlockPool(std::size_t keep_max) : keep_max_(keep_max) {}
  ~BlockPool();
  BlockPool(const BlockPool&) = delete;
  BlockPool& operator=(const BlockPool&) = delete;

  Block* lease();
  void give_back(Block* block);
  std::size_t leased() const { return leased_; }

 private:
  Block* free_ = nullptr;
  std::size_t free_count_ = 0;
  std::size_t keep_max_;
  std::size_t leased_ = 0;
};

class BodyQueue {
 public:
  explicit BodyQueue(BlockPool& pool) : pool_(pool) {}
  ~BodyQueue() { clear(); }
  BodyQueue(const BodyQueue&) = delete;
  BodyQueue& operator=(const BodyQueue&) = delete;

  void append(Bytes bytes);
  // Copies up to room.size() bytes out; returns how many.
  std::size_t pull(MutableBytes room);
  std::size_t pending() const { return appended_ - pulled_; }
  // A copy of what waits, which goes on waiting.
  std::string peek() const;

  void retain() { retained_ = true; }
  bool retained() const { return retained_; }
  // Drops what was pulled and keeps nothing from here on.
  void release();
  // Gives everything again from the first byte; only while retained.
  void rewind();
  // All bytes held, pulled ones included.
  std::uint64_t appended() const { return appended_; }
  std::uint64_t pulled() const { return pulled_; }
  // Memory that it takes up, in whole blocks.
  std::size_t held_bytes() const { return blocks_ * BlockPool::block_bytes; }

  void clear();

 private:
  using Block = BlockPool::Block;
  Block* lease();
  void give_back(Block* block);

  BlockPool& pool_;
  std::size_t blocks_ = 0;
  Block* first_ = nullptr;
  Block* last_ = nullptr;
  Block* reading_ = nullptr;       // where pull() goes on; first_ unless retained
  std::uint32_t read_offset_ = 0;  // within reading_
  bool retained_ = false;
  std::uint64_t appended_ = 0;
  std::uint64_t pulled_ = 0;
};

}  // namespace sluice::proxy
