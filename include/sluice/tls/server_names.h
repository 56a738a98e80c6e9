// SPDX-License-Identifier: GPL-3.0-or-later
// Whose a server name is: exact names, then wildcards of one label (`*.example.com` stands for
// `a.example.com`, neither for `example.com` nor for `a.b.example.com`; RFC 6125 section 6.4.3).
// Case does not count, nor does a trailing dot. Pure.
//
// A name that two claim is nobody's: who guesses would send one's secrets to the other.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>

namespace sluice::tls {

// As the table keeps it: lower case, without a trailing dot; a host name of at most 253 bytes, with
// or without `*.` before it. Nothing when `text` is none (an IP address is not one either: RFC 6066
// section 3).
std::optional<std::string> normal_server_name(std::string_view text);

class ServerNames {
 public:
  using Owner = std::uint32_t;
  static constexpr Owner nobody = UINT32_MAX;

  // A name in its normal form. When it is somebody else's already, it is nobody's from now on, and
  // whose it was is returned; `nobody` keeps it from everybody in the same way.
  std::optional<Owner> claim(std::string_view name, Owner owner);

  // Of any bytes. Nothing: no name fits. `nobody`: one fits that nobody may have.
  std::optional<Owner> find(std::string_view name) const;

  std::size_t size() const { return owners_.size(); }

 private:
  struct Hash {
    using is_transparent = void;
    std::size_t operator()(std::string_view name) const {
      return std::hash<std::string_view>{}(name);
    }
  };

  std::unordered_map<std::string, Owner, Hash, std::equal_to<>> owners_;
};

}  // namespace sluice::tls
