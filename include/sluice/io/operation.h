// SPDX-License-Identifier: GPL-3.0-or-later
// The record of one submitted operation. It is a member of its owner, never allocated per call, and
// must not move or be destroyed while it is in flight. `in_flight` is true from submission until
// the callback of its last completion begins. The ring names it to the kernel by slot and
// generation, never by pointer, so that a late completion of an ended operation finds nothing.
#pragma once

#include <cstdint>

#include "sluice/base/bytes.h"
#include "sluice/base/callback.h"
#include "sluice/base/check.h"
#include "sluice/base/list.h"

namespace sluice::io {

struct Completion {
  // accept: a descriptor; receive, send: bytes (receive: 0 is the peer's end of stream); connect,
  // poll: 0 or an event mask; below zero: -errno (-ECANCELED after Ring::cancel).
  std::int32_t result = 0;
  // No further completion of this operation will come; it is no longer in flight.
  bool last = true;
  // receive: what arrived. The memory goes back to the kernel when the callback returns.
  Bytes bytes;
};

class Operation : public ListNode<> {
 public:
  using Callback = sluice::Callback<const Completion&>;

  // Operation(Operation::bind<&Connection::received>(this))
  template <auto Method, class Owner>
  static Callback bind(Owner* owner) {
    return Callback::bind<Method>(owner);
  }
  explicit(false) Operation(Callback callback) : callback_(callback) {}
  Operation(void* owner, Callback::Function function) : callback_(owner, function) {}
  ~Operation() { CHECK(!in_flight()); }
  Operation(const Operation&) = delete;
  Operation& operator=(const Operation&) = delete;

  bool in_flight() const { return slot_ != none; }

 private:
  friend class Ring;
  static constexpr std::uint32_t none = UINT32_MAX;
  Callback callback_;
  std::uint32_t slot_ = none;  // the ring's slot while in flight
};

}  // namespace sluice::io
