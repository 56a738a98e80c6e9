// SPDX-License-Identifier: GPL-3.0-or-later
// What an API server sends about EndpointSlices: its first line is a list, each further one an
// event. Whatever it is, addresses are bounded, sorted, can be reached, and what was refused has
// changed nothing. Each set is then what the API servers' own slice names: nobody is tried or found
// but at the port, in the networks, and not ours; few at a time.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "sluice/base/ascii.h"
#include "sluice/base/check.h"
#include "sluice/discovery/own_slice.h"
#include "sluice/discovery/slices.h"
#include "sluice/discovery/target.h"

namespace {

using sluice::discovery::OwnSlice;
using sluice::discovery::Slices;
using sluice::io::Address;

class Own {
 public:
  Own() { own_.use(options_); }

  void name(const std::vector<Address>& named) {
    now_ += std::chrono::seconds(10);
    own_.take(named, {is_ours, [](const Address&) { return false; }}, now_);
    const auto before = own_.found();
    own_.look(before, now_);
    CHECK(before.size() - own_.found().size() <= 1);
    const auto due = own_.due(sluice::discovery::places_max, now_);
    CHECK_LE(due.size(), OwnSlice::tried_at_once);
    for (const Address& each : due) {
      CHECK(!refusal_of(options_, each) && !is_ours(each));
      own_.tried(each, each.ip().back() % 2 == 0 ? "" : "no", now_);
    }
    for (const Address& each : own_.found()) CHECK(!refusal_of(options_, each) && !is_ours(each));
  }

 private:
  static bool is_ours(const Address& address) { return address.ip().back() == 2; }

  const sluice::discovery::OwnSliceOptions options_{
      .networks = {*sluice::io::Network::parse("10.0.0.0/8"),
                   *sluice::io::Network::parse("fd00::/8")},
      .port = 6443};
  OwnSlice own_;
  sluice::Instant now_{};
};

void check(const Slices& slices) {
  const auto addresses = slices.addresses();
  CHECK_LE(addresses.size(), Slices::addresses_max);
  CHECK(std::ranges::all_of(addresses, sluice::discovery::can_be_reached));
  CHECK(std::ranges::adjacent_find(addresses) == addresses.end());
  // It goes into a query.
  CHECK(std::ranges::all_of(slices.resource_version(), sluice::ascii::is_alphanumeric));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string_view text(reinterpret_cast<const char*>(data), size);
  Slices slices("api", "");
  Own own;
  bool first = true;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    const auto before = slices.addresses();
    const auto version = slices.resource_version();
    const bool taken =
        first ? slices.take_list(line).has_value() : slices.take_event(line).has_value();
    if (!taken) CHECK(slices.addresses() == before && slices.resource_version() == version);
    check(slices);
    own.name(slices.addresses());
    first = false;
  }
  return 0;
}
