// SPDX-License-Identifier: GPL-3.0-or-later
// Who is asked to give something back when there is too little of it: of whoever holds most, what
// has rested longest. "Most" is exact to a factor of two; clients that hold about as much take
// turns. Every step takes constant time, whatever is held.
//
// Pure; one thread. What is held belongs to its owner and leaves when it is destroyed.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <unordered_map>

#include "sluice/base/list.h"

namespace sluice::balance {

struct HoldingTag;
struct HolderTag;

class Holding;

class Holders {
 public:
  Holders() = default;
  ~Holders();  // CHECKs that nothing is held
  Holders(const Holders&) = delete;
  Holders& operator=(const Holders&) = delete;

  // One more that this client holds; it rests from now on. `client` is a name that nobody can
  // choose: a keyed hash.
  void add(Holding& holding, std::uint64_t client);
  // What should go first; null when nothing rests. The same again until it is let go or works.
  Holding* first();

  std::size_t held() const { return held_; }
  std::size_t clients() const { return clients_.size(); }

 private:
  friend class Holding;
  // Exists while it holds something. In a list while something of it rests.
  struct Holder : ListNode<HolderTag> {
    std::uint64_t client = 0;
    std::size_t held = 0;
    List<Holding, HoldingTag> resting;  // longest first
  };
  void place(Holder& holder);
  void remove(Holder& holder);

  static constexpr std::size_t classes = 64;
  std::unordered_map<std::uint64_t, Holder> clients_;
  std::array<List<Holder, HolderTag>, classes> by_size_;  // by the width of what they hold
  std::size_t held_ = 0;
};

// A base of what is held. While it is not, the calls have no effect.
class Holding : public ListNode<HoldingTag> {
 public:
  Holding() = default;
  Holding(const Holding&) = delete;
  Holding& operator=(const Holding&) = delete;
  ~Holding() { let_go(); }

  bool is_held() const { return holder_ != nullptr; }
  bool rests() const { return static_cast<const ListNode<HoldingTag>&>(*this).linked(); }
  std::uint64_t client() const { return holder_ == nullptr ? 0 : holder_->client; }

  // It is in use: it counts, but is not asked for.
  void work();
  // It rests again, from now on.
  void rest();
  void let_go();

 private:
  friend class Holders;
  ListNode<HoldingTag>& node() { return *this; }
  Holders* holders_ = nullptr;
  Holders::Holder* holder_ = nullptr;
};

}  // namespace sluice::balance
