// SPDX-License-Identifier: GPL-3.0-or-later
// What becomes of the addresses that the API servers' own slice (default/kubernetes) names. Whoever
// may edit it, tenants of a hosted control plane among them, must neither send requests to an
// address that is no API server of the cluster, nor take away one that lives:
//
//   named ──▶ candidate ──tried, passed──▶ found ──lost, and not named──▶ forgotten
//     │           ▲  │ not passed: tried again later
//     ▼           └──┘
//   refused: another port, outside of the networks, or ours
//
// The slice only says whom to try. Who was found stays until a probe says that it is lost, however
// long the slice does not name it; so a slice takes away one for each loss at most.
//
// Pure: no clock, no system call. Bounded by what a slice may name (slices.h).
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "sluice/base/time.h"
#include "sluice/discovery/address_order.h"
#include "sluice/io/address.h"
#include "sluice/io/network.h"

namespace sluice::discovery {

struct OwnSliceOptions {
  std::vector<io::Network> networks;
  std::uint16_t port = 0;

  friend bool operator==(const OwnSliceOptions&, const OwnSliceOptions&) = default;
};

// Why an address is not even tried.
enum class Refusal : std::uint8_t {
  port,     // it is another one
  network,  // none has it; or it is loopback or link-local, and no network is of that alone
  ours,     // requests would run in a circle
};
std::string_view to_string(Refusal refusal);

// As far as the options say; nothing: it may be tried.
std::optional<Refusal> refusal_of(const OwnSliceOptions& options, const io::Address& address);

class OwnSlice {
 public:
  // Trials run beside probes, and each may wait for somebody who says nothing.
  static constexpr std::size_t tried_at_once = 4;
  // Twice as long each time.
  static constexpr Duration retry_first = std::chrono::seconds(1);
  static constexpr Duration retry_max = std::chrono::minutes(1);
  // A server that is only restarted is named again before that, mostly, and keeps its place.
  static constexpr Duration loss_min = std::chrono::seconds(30);

  // What an address is otherwise known as.
  using Is = std::function<bool(const io::Address& address)>;
  struct Known {
    Is ours;     // reaches ourselves
    Is written;  // an operator names it: nothing here is about it
  };

  // What is configured from now on. Who was found and may not be there any more is forgotten.
  void use(const OwnSliceOptions& options);

  struct Refused {
    io::Address address;
    Refusal why;
  };
  // All that the slice names now; without anybody it says nothing. Whom it names for the first time
  // since it did not, and is refused.
  std::vector<Refused> take(const std::vector<io::Address>& named, const Known& known, Instant now);
  // The same once more: somebody may be ours by now.
  std::vector<Refused> judge_again(const Known& known, Instant now);
  // It could not be read.
  void failed() { asked_ = true; }

  // Whom to try now, as long as no more than so many are found. Each is tried until tried() says
  // what came of it.
  std::vector<io::Address> due(std::size_t found_max, Instant now);
  enum class Outcome : std::uint8_t {
    found,    // it is one of the API servers from now on
    waits,    // it is tried again later
    repeats,  // the same, and for the same reason as before
    nobodys,  // nobody names it any more
  };
  // `why_not`: empty, it has passed.
  Outcome tried(const io::Address& address, const std::string& why_not, Instant now);

  // Which of them the probes say are lost, all of those: who has been for long, and is not named,
  // is forgotten. One at a time.
  std::optional<io::Address> look(std::span<const io::Address> lost, Instant now);

  // Who was found, in order.
  std::vector<io::Address> found() const;
  // Whether the slice was asked for once, and all whom it named then were tried.
  bool settled() const;
  std::size_t candidates() const;
  std::size_t refused() const { return refused_.size(); }
  std::uint64_t refused_total() const { return refused_total_; }

 private:
  struct Entry {
    bool named = false;
    bool found = false;
    bool trying = false;
    bool tried = false;  // once
    Instant next{};
    Duration retry{};
    std::string why_not;
    std::optional<Instant> lost_since;
  };

  void forget_unnamed();

  OwnSliceOptions options_;
  std::map<io::Address, Entry, AddressOrder> entries_;
  std::map<io::Address, Refusal, AddressOrder> refused_;
  std::uint64_t refused_total_ = 0;
  std::vector<io::Address> named_;
  bool asked_ = false;
};

}  // namespace sluice::discovery
