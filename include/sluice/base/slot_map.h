// SPDX-License-Identifier: GPL-3.0-or-later
// Dense slots addressed by an id of slot number and generation, so that an id that outlived its
// element finds nothing instead of another element. Elements do not move while they live in
// unique_ptr-like T; with plain T a reference is valid until the next insert.
#pragma once

#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "sluice/base/check.h"

namespace sluice {

struct SlotId {
  std::uint32_t slot = UINT32_MAX;
  std::uint32_t generation = 0;
  friend bool operator==(const SlotId&, const SlotId&) = default;
  explicit operator bool() const { return slot != UINT32_MAX; }
  std::uint64_t packed() const { return (static_cast<std::uint64_t>(generation) << 32) | slot; }
  static SlotId unpacked(std::uint64_t bits) {
    return {static_cast<std::uint32_t>(bits), static_cast<std::uint32_t>(bits >> 32)};
  }
};

template <class T>
class SlotMap {
 public:
  SlotId insert(T value) {
    std::uint32_t slot;
    if (free_.empty()) {
      slot = static_cast<std::uint32_t>(slots_.size());
      slots_.emplace_back();
    } else {
      slot = free_.back();
      free_.pop_back();
    }
    slots_[slot].value.emplace(std::move(value));
    ++size_;
    return {slot, slots_[slot].generation};
  }

  // Null when the id is stale.
  T* find(SlotId id) {
    if (id.slot >= slots_.size()) return nullptr;
    Slot& slot = slots_[id.slot];
    if (slot.generation != id.generation || !slot.value) return nullptr;
    return &*slot.value;
  }

  // Takes the element out; the id and its copies are stale from here on.
  T take(SlotId id) {
    CHECK(find(id) != nullptr);
    Slot& slot = slots_[id.slot];
    T value = std::move(*slot.value);
    slot.value.reset();
    if (++slot.generation == 0) slot.generation = 1;  // so that no id is all zeros
    free_.push_back(id.slot);
    --size_;
    return value;
  }

  std::size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }

  // Calls f(id, element) for each element; f may take the element it is given.
  template <class F>
  void for_each(F&& f) {
    for_each_in(0, slots(), f);
  }
  // The same for the slots from `begin` to before `end`, to go through them bit by bit.
  template <class F>
  void for_each_in(std::uint32_t begin, std::uint32_t end, F&& f) {
    for (std::uint32_t i = begin; i < end && i < slots_.size(); ++i) {
      if (slots_[i].value) f(SlotId{i, slots_[i].generation}, *slots_[i].value);
    }
  }
  template <class F>
  void for_each(F&& f) const {
    for (std::uint32_t i = 0; i < slots_.size(); ++i) {
      if (slots_[i].value) f(SlotId{i, slots_[i].generation}, *slots_[i].value);
    }
  }
  std::uint32_t slots() const { return static_cast<std::uint32_t>(slots_.size()); }

 private:
  struct Slot {
    std::uint32_t generation = 1;
    std::optional<T> value;
  };
  std::vector<Slot> slots_;
  std::vector<std::uint32_t> free_;
  std::size_t size_ = 0;
};

}  // namespace sluice
