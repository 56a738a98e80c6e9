// SPDX-License-Identifier: GPL-3.0-or-later
// Operations in flight, by slot and generation. A slot's generation changes when its operation
// ends, so that whatever still names the old one finds nothing.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "sluice/base/bytes.h"
#include "sluice/io/address.h"
#include "user_data.h"

namespace sluice::io {

class Operation;

// What is needed to submit the operation, again if need be.
struct OperationSlot {
  Operation* operation = nullptr;  // null: the slot is free
  std::uint32_t generation = 1;
  int descriptor = -1;
  OperationKind kind = OperationKind::none;
  bool armed = false;  // the kernel has it, or will with the next submission
  bool cancel_requested = false;
  std::uint64_t round = 0;           // of completions, in which it had one last
  Bytes bytes;                       // send
  std::unique_ptr<Address> address;  // connect: stays in place until the kernel has copied it
};

class OperationTable {
 public:
  // References to slots are valid until the next begin().
  OperationSlot& begin(Operation& operation, OperationKind kind, int descriptor,
                       std::uint32_t& slot);
  void end(std::uint32_t slot);

  // Null when the generation is stale or the kind is another one.
  OperationSlot* find(UserData id);

  OperationSlot& at(std::uint32_t slot);
  UserData id(std::uint32_t slot) const;

  std::size_t size() const { return slots_.size() - free_.size(); }
  std::size_t capacity() const { return slots_.size(); }

 private:
  std::vector<OperationSlot> slots_;
  std::vector<std::uint32_t> free_;
};

}  // namespace sluice::io
