// SPDX-License-Identifier: GPL-3.0-or-later
// What is known of one name, and when to ask again: answers and time go in, addresses come out.
// Pure: no clock, no system call.
//
// What was known last counts until there is something better: no failure, and no empty answer,
// takes an address away. IPv4 and IPv6 are asked apart, and so is what is kept of them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "sluice/base/time.h"
#include "sluice/io/address.h"

namespace sluice::discovery {

// Of one kind of address, as somebody with authority has said: none is an answer, too.
struct Records {
  std::vector<io::Address> addresses;  // without ports
  Duration ttl{};                      // the shortest
};

struct NameAnswer {
  // Without a value nothing was learnt.
  std::optional<Records> ipv4;
  std::optional<Records> ipv6;
  std::string error;  // why something was not learnt, or what there is in the place of addresses
};

class NameState {
 public:
  // However short or long an answer says that it is good for.
  static constexpr Duration again_min = std::chrono::seconds(5);
  static constexpr Duration again_max = std::chrono::minutes(5);
  // After failures: twice as long each time, and sooner while nothing at all is known.
  static constexpr Duration retry_first = std::chrono::seconds(1);
  static constexpr Duration retry_max = std::chrono::seconds(30);
  // A name with more is no control plane's.
  static constexpr std::size_t addresses_max = 256;

  bool due(Instant now) const { return !asking_ && now >= next_; }
  void asked() { asking_ = true; }
  void take(const NameAnswer& answer, Instant now);

  // Sorted, so that the same set is the same list, in whatever order it was told.
  const std::vector<io::Address>& addresses() const { return addresses_; }
  bool settled() const { return settled_; }            // there was an answer, or a failure
  const std::string& error() const { return error_; }  // of the last question; empty: none
  std::uint64_t failures() const { return failures_; }
  Instant next() const { return next_; }

 private:
  Duration wait_after_failure();

  bool asking_ = false;
  bool settled_ = false;
  Instant next_{};
  Duration retry_{};
  std::vector<io::Address> ipv4_, ipv6_, addresses_;
  std::string error_;
  std::uint64_t failures_ = 0;
};

}  // namespace sluice::discovery
