// SPDX-License-Identifier: GPL-3.0-or-later
// Fields that end at a hop.
#include "sluice/http/connection_fields.h"

#include <algorithm>
#include <string>
#include <vector>

#include "sluice/base/ascii.h"

namespace sluice::http {
namespace {

void append_nominated(std::string_view value, std::vector<std::string>& names) {
  while (!value.empty()) {
    const std::size_t comma = std::min(value.find(','), value.size());
    const std::string_view token = ascii::trim(value.substr(0, comma));
    value.remove_prefix(std::min(comma + 1, value.size()));
    if (!token.empty()) names.push_back(ascii::lowered(token));
  }
}

}  // namespace

bool is_connection_field(std::string_view name) {
  switch (name.size()) {
    case 2: return name == "te";
    case 7: return name == "upgrade";
    case 10: return name == "connection" || name == "keep-alive";
    case 16: return name == "proxy-connection";
    case 17: return name == "transfer-encoding";
    default: return false;
  }
}

void remove_connection_fields(Fields& fields) {
  std::vector<std::string> nominated;
  bool any = false;
  for (std::size_t i = 0; i < fields.size(); ++i) {
    const Field field = fields[i];
    if (!is_connection_field(field.name)) continue;
    any = true;
    if (field.name == "connection") append_nominated(field.value, nominated);
  }
  if (!any) return;
  fields.remove_if([&](const Field& field) {
    return is_connection_field(field.name) ||
           std::ranges::find(nominated, field.name) != nominated.end();
  });
}

}  // namespace sluice::http
