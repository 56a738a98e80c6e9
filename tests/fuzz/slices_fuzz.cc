// SPDX-License-Identifier: GPL-3.0-or-later
// What an API server sends about EndpointSlices: its first line is a list, each further one an
// event. Whatever it is, addresses are bounded, sorted, can be reached, and what was refused has
// changed nothing.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "sluice/base/ascii.h"
#include "sluice/base/check.h"
#include "sluice/discovery/slices.h"
#include "sluice/discovery/target.h"

namespace {

using sluice::discovery::Slices;

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
    first = false;
  }
  return 0;
}
