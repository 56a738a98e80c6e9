// SPDX-License-Identifier: GPL-3.0-or-later
// Where an API server is, in an operator's words: an address, or a name that is to be resolved. And
// a file of them. Values; pure.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "sluice/base/error.h"
#include "sluice/io/address.h"

namespace sluice::discovery {

// A name and a port, to be resolved.
struct Target {
  std::string host;  // as in DNS, in small letters, without a dot at its end
  std::uint16_t port = 0;

  std::string to_string() const { return host + ":" + std::to_string(port); }
  friend bool operator==(const Target&, const Target&) = default;
};

using Place = std::variant<io::Address, Target>;

// "10.0.0.1:6443", "[fd00::1]:6443" or "api.example:6443" (RFC 1123 section 2.1; underscores pass).
// An error says what is wrong, as a sentence without its full stop. Port 0 and addresses that are
// nobody's own (any, multicast, broadcast) are errors.
Result<Place> parse_place(std::string_view text);

// Whether it can be one server's own address.
bool can_be_reached(const io::Address& address);

constexpr std::size_t file_bytes_max = std::size_t{64} * 1024;
constexpr std::size_t places_max = 64;  // as many as a cluster may have (balance::backends_max)

// A place on each line; empty lines, and what follows a `#`, count for nothing. None at all is an
// error, as is a line that is no place or is there twice, and whatever is above these bounds.
Result<std::vector<Place>> parse_places(std::string_view text);

}  // namespace sluice::discovery
