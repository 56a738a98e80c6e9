// SPDX-License-Identifier: GPL-3.0-or-later
// Whom to call back: an owner and one of its member functions, in two words and without allocation.
// The owner outlives whoever calls.
#pragma once

namespace sluice {

template <class... Arguments>
class Callback {
 public:
  using Function = void (*)(void* owner, Arguments...);

  Callback(void* owner, Function function) : owner_(owner), function_(function) {}

  template <auto Method, class Owner>
  static Callback bind(Owner* owner) {
    return {owner, [](void* self, Arguments... arguments) {
              (static_cast<Owner*>(self)->*Method)(arguments...);
            }};
  }

  void operator()(Arguments... arguments) const { function_(owner_, arguments...); }

 private:
  void* owner_;
  Function function_;
};

}  // namespace sluice
