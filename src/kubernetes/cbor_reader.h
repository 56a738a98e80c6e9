// SPDX-License-Identifier: GPL-3.0-or-later
// CBOR (RFC 8949), item after item, of which the end may not have come yet. Tags are passed over;
// lengths must be definite, as API servers write them. What is asked for and is not there, or is of
// another kind, ends the reading.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace sluice::kubernetes {

class CborReader {
 public:
  // Deeper nesting is odd.
  static constexpr int depth_max = 32;

  // A view of it, which must outlive the results.
  explicit CborReader(std::string_view input) : rest_(input) {}

  // How many pairs follow.
  std::optional<std::uint64_t> map();
  // Bytes or text: API servers write the one for the other.
  std::optional<std::string_view> text();
  std::optional<std::uint64_t> number();  // not negative
  void skip() { skip(0); }                // whatever it is, with all that is in it

  bool good() const { return state_ == State::good; }
  bool unfinished() const { return state_ == State::unfinished; }

 private:
  enum class State : std::uint8_t { good, unfinished, odd };
  // RFC 8949 section 3.1.
  enum class Major : std::uint8_t { number, negative, bytes, utf8, array, pairs, tag, other };
  struct Item {
    Major major;
    std::uint64_t value;
  };

  std::optional<Item> next();
  std::optional<std::string_view> take(std::uint64_t count);
  void skip(int depth);
  std::nullopt_t stop(State why);

  std::string_view rest_;
  State state_ = State::good;
};

}  // namespace sluice::kubernetes
