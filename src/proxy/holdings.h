// SPDX-License-Identifier: GPL-3.0-or-later
// Who holds most of what a worker holds, all together: filled when room is to be made. Pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <unordered_map>

namespace sluice::proxy {

struct ClientFacts;

class Holdings {
 public:
  // Names as in ClientKeys.
  struct Owner {
    std::uint64_t client = 0;
    std::uint64_t network = 0;
    bool proven = false;
  };
  enum class Kind : std::uint8_t {
    client,
    strangers,  // all that nobody is proven for
    network,    // all of one, where credentials may be made by the thousand
  };
  struct Holder {
    Kind kind = Kind::client;
    std::uint64_t name = 0;
    std::size_t bytes = 0;

    bool includes(const Owner& owner) const;
  };

  void add(const Owner& owner, std::size_t bytes);
  // Of those who only rest: they are together what they are, and none of them is a holder.
  void add_strangers(std::size_t bytes);
  // Whoever holds clearly more than an equal share of all would be, were it shared with one more,
  // unless it is proven, and strangers together hold more than it; or else the strangers, as long
  // as they hold more than an eighth; or else a network that holds clearly more than others.
  // Nobody, where proven clients hold about the same.
  std::optional<Holder> largest() const;

 private:
  struct Held {
    std::uint64_t network = 0;
    std::size_t bytes = 0;
    bool proven = false;
  };
  std::unordered_map<std::uint64_t, Held> clients_;
  std::size_t all_ = 0;
  std::size_t strangers_ = 0;
};

// Whose is what is a connection's own, and what is asked before more is known than its connection.
Holdings::Owner owner_of(const ClientFacts& client);

}  // namespace sluice::proxy
