// SPDX-License-Identifier: GPL-3.0-or-later
// Slots and generations of operations in flight.
#include "operation_table.h"

#include "sluice/base/check.h"

namespace sluice::io {

OperationSlot& OperationTable::begin(Operation& operation, OperationKind kind, int descriptor,
                                     std::uint32_t& slot) {
  CHECK_GE(descriptor, 0);
  if (free_.empty()) {
    CHECK_LT(slots_.size(), std::size_t{UserData::slots_max});
    slot = static_cast<std::uint32_t>(slots_.size());
    slots_.emplace_back();
  } else {
    slot = free_.back();
    free_.pop_back();
  }
  OperationSlot& entry = slots_[slot];
  DCHECK(entry.operation == nullptr);
  entry.operation = &operation;
  entry.descriptor = descriptor;
  entry.kind = kind;
  entry.armed = false;
  entry.cancel_requested = false;
  entry.round = 0;
  return entry;
}

void OperationTable::end(std::uint32_t slot) {
  OperationSlot& entry = at(slot);
  CHECK(entry.operation != nullptr);
  entry.operation = nullptr;
  entry.kind = OperationKind::none;
  entry.bytes = {};
  entry.address.reset();
  ++entry.generation;
  free_.push_back(slot);
}

OperationSlot* OperationTable::find(UserData id) {
  if (id.slot >= slots_.size()) return nullptr;
  OperationSlot& entry = slots_[id.slot];
  if (entry.operation == nullptr || entry.generation != id.generation || entry.kind != id.kind) {
    return nullptr;
  }
  return &entry;
}

OperationSlot& OperationTable::at(std::uint32_t slot) {
  CHECK_LT(slot, slots_.size());
  return slots_[slot];
}

UserData OperationTable::id(std::uint32_t slot) const {
  CHECK_LT(slot, slots_.size());
  return {slot, slots_[slot].generation, slots_[slot].kind};
}

}  // namespace sluice::io
