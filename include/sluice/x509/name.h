// SPDX-License-Identifier: GPL-3.0-or-later
// Distinguished names (RFC 5280 section 4.1.2.4), attribute by attribute, with the string types
// that crypto/x509 of Go reads in them.
#pragma once

#include <cstdint>

#include "sluice/base/bytes.h"
#include "sluice/x509/der_reader.h"

namespace sluice::x509 {

struct NameAttribute {
  Bytes type;  // the contents of the object identifier
  std::uint8_t string_tag = 0;
  Bytes value;
};

// Whether the value is one that its string type allows, for the types that names may use.
bool is_name_string(std::uint8_t string_tag, Bytes value);

// Calls `visit(const NameAttribute&)` for each attribute of a Name, whose DER this is, multi-valued
// sets flattened in the order of their encoding. False as soon as it is not well formed; what was
// visited must then be thrown away.
template <class F>
bool walk_name(Bytes name, F&& visit) {
  DerReader outer(name);
  DerReader sets(outer.expect(tag::sequence).content);
  while (!sets.at_end()) {
    DerReader members(sets.expect(tag::set).content);
    while (!members.at_end()) {
      DerReader pair(members.expect(tag::sequence).content);
      NameAttribute attribute;
      attribute.type = pair.object_identifier();
      const Element value = pair.any();
      attribute.string_tag = value.tag;
      attribute.value = value.content;
      if (!pair.done() || !is_name_string(attribute.string_tag, attribute.value)) return false;
      visit(attribute);
    }
    if (members.failed()) return false;
  }
  return sets.done() && outer.done();
}

// Whether these bytes are exactly one well-formed Name.
bool is_name(Bytes name);

}  // namespace sluice::x509
