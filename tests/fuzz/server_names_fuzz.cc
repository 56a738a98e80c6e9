// SPDX-License-Identifier: GPL-3.0-or-later
// Names that are claimed, and one that is asked for: lines, the last of which is the question and
// each other one an owner's digit and a name. The table answers as a search through all claims
// does.
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "sluice/base/ascii.h"
#include "sluice/base/bytes.h"
#include "sluice/base/check.h"
#include "sluice/tls/server_names.h"

namespace {

using namespace sluice;
using tls::ServerNames;
using Claims = std::map<std::string, ServerNames::Owner>;

bool fits(std::string_view claim, std::string_view name) {
  if (!claim.starts_with("*.")) return claim == name;
  const std::size_t dot = name.find('.');
  return dot != std::string_view::npos && dot > 0 && name.substr(dot) == claim.substr(1);
}

std::optional<ServerNames::Owner> search(const Claims& claims, std::string_view asked) {
  std::string name = ascii::lowered(asked);
  if (name.ends_with('.')) name.pop_back();
  if (name.empty() || name.size() > 253 || name.starts_with('*')) return std::nullopt;
  std::optional<ServerNames::Owner> found;
  for (const auto& [claim, owner] : claims) {
    if (!fits(claim, name)) continue;
    found = owner;
    if (!claim.starts_with('*')) return found;
  }
  return found;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string_view text = as_text(Bytes(data, size));
  ServerNames names;
  Claims claims;
  for (std::size_t end; (end = text.find('\n')) != std::string_view::npos;) {
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(end + 1);
    if (line.empty()) continue;
    const auto owner = static_cast<ServerNames::Owner>(static_cast<std::uint8_t>(line[0]));
    const auto name = tls::normal_server_name(line.substr(1));
    if (!name) continue;
    CHECK(tls::normal_server_name(*name) == name);
    const auto before = names.claim(*name, owner);
    const auto [known, added] = claims.try_emplace(*name, owner);
    CHECK(before.has_value() == (!added && known->second != owner));
    if (before) {
      CHECK_EQ(*before, known->second);
      known->second = ServerNames::nobody;
    }
  }
  CHECK_EQ(names.size(), claims.size());
  CHECK(names.find(text) == search(claims, text));
  for (const auto& [claim, owner] : claims) {
    if (!claim.starts_with('*')) CHECK(names.find(claim) == owner);
  }
  return 0;
}
