// SPDX-License-Identifier: GPL-3.0-or-later
// Lines of a file of API servers. What is taken is few, can be reached, is named once, and means
// the same when it is written down again.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <variant>

#include "sluice/base/check.h"
#include "sluice/discovery/target.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  namespace discovery = sluice::discovery;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto places = discovery::parse_places(text);
  if (!places) {
    CHECK(!places.error().context.empty());
    return 0;
  }
  CHECK(!places->empty() && places->size() <= discovery::places_max);
  std::string again;
  for (const discovery::Place& place : *places) {
    if (const auto* address = std::get_if<sluice::io::Address>(&place)) {
      CHECK(discovery::can_be_reached(*address));
      again += address->to_string() + "\n";
    } else {
      const auto& target = std::get<discovery::Target>(place);
      CHECK(target.port != 0 && !target.host.empty() && target.host.size() <= 253);
      again += target.to_string() + "\n";
    }
  }
  const auto read_again = discovery::parse_places(again);
  CHECK(read_again.has_value() && *read_again == *places);
  return 0;
}
