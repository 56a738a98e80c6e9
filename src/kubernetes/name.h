// SPDX-License-Identifier: GPL-3.0-or-later
// Walks a distinguished name (RFC 5280 section 4.1.2.4) attribute by attribute.
#pragma once

#include "der.h"
#include "sluice/base/bytes.h"

namespace sluice::kubernetes {

struct NameAttribute {
  Bytes type;  // the contents of the object identifier
  DerTag string_type;
  Bytes value;
};

// Whether the contents of an OBJECT IDENTIFIER are well formed: no padded and no oversized
// component.
bool is_object_identifier(Bytes contents);

// Whether the value is one that its string type allows, for the types that names may use.
bool is_name_string(DerTag string_type, Bytes value);

// Calls `visit(const NameAttribute&)` for each attribute, multi-valued sets flattened in the order
// of their encoding. False as soon as the name is not well formed; what was visited must then be
// thrown away.
template <class F>
bool walk_name(Bytes name, F&& visit) {
  DerReader sets(name);
  while (!sets.empty()) {
    Bytes set_contents;
    if (!sets.read(DerTag::set, set_contents)) return false;
    DerReader members(set_contents);
    while (!members.empty()) {
      Bytes pair;
      if (!members.read(DerTag::sequence, pair)) return false;
      DerReader reader(pair);
      NameAttribute attribute{};
      if (!reader.read(DerTag::object_identifier, attribute.type) ||
          !is_object_identifier(attribute.type) ||
          !reader.read_any(attribute.string_type, attribute.value) || !reader.empty() ||
          !is_name_string(attribute.string_type, attribute.value)) {
        return false;
      }
      visit(attribute);
    }
  }
  return true;
}

}  // namespace sluice::kubernetes
