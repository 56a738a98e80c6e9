// SPDX-License-Identifier: GPL-3.0-or-later
// The record of one submitted operation. It is a member of its owner, never allocated per call, and
// must not move or be destroyed while it is in flight. `in_flight` is true from submission until
// the callback of its last completion begins. The ring names it to the kernel by slot and
// generation, never by pointer, so that a late completion of an ended operation finds nothing.
#pragma once

#include <cstdint>

#include "sluice/base/bytes.h"
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
  using Callback = void (*)(void* owner, const Completion&);

  Operation(void* owner, Callback callback) : owner_(owner), callback_(callback) {}
  ~Operation() { CHECK(!in_flight()); }
  Operation(const Operation&) = delete;
  Operation& operator=(const Operation&) = delete;

  // Operation(Operation::bind<&Connection::received>(this))
  template <auto Method>
  struct Binding {
    void* owner;
    static void call(void* owner, const Completion& completion) {
      invoke(Method, owner, completion);
    }

   private:
    template <class Owner>
    static void invoke(void (Owner::*method)(const Completion&), void* owner,
                       const Completion& completion) {
      (static_cast<Owner*>(owner)->*method)(completion);
    }
  };
  template <auto Method, class Owner>
  static Binding<Method> bind(Owner* owner) {
    return {owner};
  }
  template <auto Method>
  explicit(false) Operation(Binding<Method> binding)
      : Operation(binding.owner, &Binding<Method>::call) {}

  bool in_flight() const { return slot_ != none; }

 private:
  friend class Ring;
  static constexpr std::uint32_t none = UINT32_MAX;
  void* owner_;
  Callback callback_;
  std::uint32_t slot_ = none;  // the ring's slot while in flight
};

}  // namespace sluice::io
