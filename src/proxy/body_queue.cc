// SPDX-License-Identifier: GPL-3.0-or-later
// Body bytes in pooled blocks.
#include "body_queue.h"

#include <algorithm>
#include <utility>

#include "sluice/base/check.h"
#include "sluice/base/copy.h"

namespace sluice::proxy {

BlockPool::~BlockPool() {
  CHECK_EQ(leased_, std::size_t{0});
  while (free_ != nullptr) delete std::exchange(free_, free_->next);
}

BlockPool::Block* BlockPool::lease() {
  ++leased_;
  if (free_ == nullptr) return new Block;  // NOLINT: owned by the queue until given back
  Block* block = std::exchange(free_, free_->next);
  --free_count_;
  block->next = nullptr;
  block->size = 0;
  return block;
}

void BlockPool::give_back(Block* block) {
  --leased_;
  if (free_count_ >= keep_max_) {
    delete block;
    return;
  }
  block->next = std::exchange(free_, block);
  ++free_count_;
}

BodyQueue::Block* BodyQueue::lease() {
  ++blocks_;
  return pool_.lease();
}

void BodyQueue::give_back(Block* block) {
  --blocks_;
  pool_.give_back(block);
}

void BodyQueue::append(Bytes bytes) {
  appended_ += bytes.size();
  while (!bytes.empty()) {
    if (last_ == nullptr || last_->size == sizeof last_->data) {
      Block* block = lease();
      if (last_ == nullptr) {
        first_ = block;
      } else {
        last_->next = block;
      }
      last_ = block;
      if (reading_ == nullptr) {
        reading_ = block;
        read_offset_ = 0;
      }
    }
    const std::size_t n = std::min(bytes.size(), sizeof last_->data - last_->size);
    copy_bytes(last_->data + last_->size, bytes.data(), n);
    last_->size += static_cast<std::uint32_t>(n);
    bytes = bytes.subspan(n);
  }
}

std::size_t BodyQueue::pull(MutableBytes room) {
  std::size_t total = 0;
  while (total < room.size() && reading_ != nullptr) {
    const std::size_t n = std::min<std::size_t>(room.size() - total, reading_->size - read_offset_);
    copy_bytes(room.data() + total, reading_->data + read_offset_, n);
    total += n;
    read_offset_ += static_cast<std::uint32_t>(n);
    if (read_offset_ < reading_->size) break;
    if (retained_) {
      // The last block stays the reading one: more may be appended to it.
      if (reading_->next == nullptr) break;
      reading_ = reading_->next;
      read_offset_ = 0;
      continue;
    }
    Block* done = reading_;
    first_ = reading_ = done->next;
    read_offset_ = 0;
    if (first_ == nullptr) last_ = nullptr;
    give_back(done);
  }
  pulled_ += total;
  return total;
}

std::string BodyQueue::peek() const {
  std::string all;
  std::uint32_t offset = read_offset_;
  for (const Block* block = reading_; block != nullptr; block = block->next) {
    all += as_text(Bytes(block->data, block->size).subspan(offset));
    offset = 0;
  }
  return all;
}

void BodyQueue::release() {
  if (!retained_) return;
  retained_ = false;
  while (first_ != reading_) give_back(std::exchange(first_, first_->next));
  if (reading_ != nullptr && read_offset_ == reading_->size && reading_->next == nullptr) {
    give_back(reading_);
    first_ = last_ = reading_ = nullptr;
    read_offset_ = 0;
  }
}

void BodyQueue::rewind() {
  CHECK(retained_);
  reading_ = first_;
  read_offset_ = 0;
  pulled_ = 0;
}

void BodyQueue::clear() {
  while (first_ != nullptr) give_back(std::exchange(first_, first_->next));
  last_ = reading_ = nullptr;
  read_offset_ = 0;
  appended_ = pulled_ = 0;
  retained_ = false;
}

}  // namespace sluice::proxy
