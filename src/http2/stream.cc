// SPDX-License-Identifier: GPL-3.0-or-later
// The parts of a stream, and the table of streams.
#include "http2/stream.h"

#include <utility>

#include "sluice/base/check.h"

namespace sluice::http2 {

namespace {
constexpr std::size_t slots_min = 8;
// An idle session gives back a table that grew above this.
constexpr std::size_t slots_kept = 32;
}  // namespace

void Stream::send(Part part) {
  CHECK_GE(part, sending);
  sending = part;
}

void Stream::receive(Part part) {
  CHECK_GE(part, receiving);
  receiving = part;
}

Stream* StreamTable::find(StreamId id) const {
  if (slots_.empty()) return nullptr;
  const std::size_t mask = slots_.size() - 1;
  for (std::size_t i = home(id); slots_[i] != nullptr; i = (i + 1) & mask) {
    if (slots_[i]->id == id) return slots_[i];
  }
  return nullptr;
}

void StreamTable::insert(Stream* stream) {
  CHECK(find(stream->id) == nullptr);
  if (2 * (size_ + 1) > slots_.size()) resize(slots_.empty() ? slots_min : 2 * slots_.size());
  const std::size_t mask = slots_.size() - 1;
  std::size_t i = home(stream->id);
  while (slots_[i] != nullptr) i = (i + 1) & mask;
  slots_[i] = stream;
  ++size_;
}

void StreamTable::erase(StreamId id) {
  CHECK(!slots_.empty());
  const std::size_t mask = slots_.size() - 1;
  std::size_t hole = home(id);
  while (true) {
    CHECK(slots_[hole] != nullptr);
    if (slots_[hole]->id == id) break;
    hole = (hole + 1) & mask;
  }
  // Close the gap: move back whoever would not be found across it.
  for (std::size_t i = (hole + 1) & mask; slots_[i] != nullptr; i = (i + 1) & mask) {
    const std::size_t distance = (i - home(slots_[i]->id)) & mask;
    if (distance >= ((i - hole) & mask)) {
      slots_[hole] = slots_[i];
      hole = i;
    }
  }
  slots_[hole] = nullptr;
  --size_;
  if (size_ == 0 && slots_.size() > slots_kept) std::vector<Stream*>().swap(slots_);
}

void StreamTable::resize(std::size_t slots) {
  std::vector<Stream*> old(slots, nullptr);
  old.swap(slots_);
  size_ = 0;
  for (Stream* stream : old) {
    if (stream != nullptr) insert(stream);
  }
}

}  // namespace sluice::http2
