// SPDX-License-Identifier: GPL-3.0-or-later
// One function an extension; what crypto/x509 of Go makes of each decides.
#include "extensions.h"

#include <algorithm>
#include <vector>

#include "sluice/x509/alternative_names.h"
#include "sluice/x509/der_reader.h"

namespace sluice::x509 {

namespace {

constexpr std::uint8_t id_any_usage[] = {0x55, 0x1d, 0x25, 0x00};
constexpr std::uint8_t id_client_auth[] = {0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x02};
constexpr std::uint8_t id_server_auth[] = {0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x01};
constexpr std::uint8_t id_authority_information[] = {0x2b, 0x06, 0x01, 0x05,
                                                     0x05, 0x07, 0x01, 0x01};

constexpr std::size_t extensions_max = 256;

bool read_basic_constraints(Bytes value, CertificateFacts& facts) {
  DerReader outer(value);
  DerReader inner(outer.expect(tag::sequence).content);
  facts.basic_constraints = true;
  if (inner.next_is(tag::boolean)) facts.ca = inner.boolean();
  if (inner.next_is(tag::integer)) {
    const Bytes digits = inner.unsigned_integer();
    if (digits.empty() || digits.size() > 7) return false;
    std::uint64_t length = 0;
    for (const std::uint8_t byte : digits) length = length << 8 | byte;
    facts.path_length = length;
  }
  return outer.done() && inner.done();
}

bool read_key_usage(Bytes value, CertificateFacts& facts) {
  DerReader cursor(value);
  unsigned unused = 0;
  const Bytes bits = cursor.bits(unused);
  if (!cursor.done()) return false;
  const std::uint8_t first = bits.empty() ? std::uint8_t{0} : bits[0];
  const bool ninth = bits.size() > 1 && (bits[1] & 0x80) != 0;
  facts.key_usage = first != 0 || ninth;
  facts.may_sign_certificates = (first & 0x04) != 0;
  return true;
}

bool read_extended_usage(Bytes value, CertificateFacts& facts) {
  DerReader outer(value);
  DerReader inner(outer.expect(tag::sequence).content);
  while (!inner.at_end()) {
    const Bytes usage = inner.object_identifier();
    const bool any = equal(usage, id_any_usage);
    facts.extended_usage = true;
    if (any || equal(usage, id_client_auth)) facts.client_auth = true;
    if (any || equal(usage, id_server_auth)) facts.server_auth = true;
  }
  return outer.done() && inner.done();
}

bool read_name_constraints(Bytes value, NameForms& forms, CertificateFacts& facts) {
  DerReader outer(value);
  DerReader inner(outer.expect(tag::sequence).content);
  facts.has_name_constraints = true;
  facts.permitted_names = inner.optional(tag::constructed(0));
  facts.excluded_names = inner.optional(tag::constructed(1));
  if (!outer.done() || !inner.done()) return false;
  if (facts.permitted_names.empty() && facts.excluded_names.empty()) return false;
  return are_name_constraints(facts.permitted_names, forms) &&
         are_name_constraints(facts.excluded_names, forms);
}

bool read_authority_key_id(Bytes value, CertificateFacts& facts) {
  DerReader outer(value);
  DerReader inner(outer.expect(tag::sequence).content);
  facts.authority_key_id = inner.optional(tag::primitive(0));
  return outer.done() && !inner.failed();
}

bool read_subject_key_id(Bytes value, CertificateFacts& facts) {
  DerReader cursor(value);
  facts.subject_key_id = cursor.expect(tag::octet_string).content;
  return cursor.done();
}

// A sequence of sequences; `check` reads one.
template <class Check>
bool is_list(Bytes value, Check&& check) {
  DerReader outer(value);
  DerReader list(outer.expect(tag::sequence).content);
  while (!list.at_end()) {
    DerReader item(list.expect(tag::sequence).content);
    if (!check(item) || item.failed()) return false;
  }
  return outer.done() && list.done();
}

bool are_distribution_points(Bytes value) {
  return is_list(value, [](DerReader& point) {
    if (!point.next_is(tag::constructed(0))) return true;
    DerReader name(point.any().content);
    DerReader full(name.expect(tag::constructed(0)).content);
    while (full.next_is(tag::primitive(6))) full.any();
    return name.done() && !full.failed();
  });
}

bool are_policies(Bytes value) {
  std::vector<Bytes> seen;
  return is_list(value, [&](DerReader& policy) {
    const Bytes id = policy.object_identifier();
    const bool again = std::ranges::any_of(seen, [&](Bytes other) { return equal(other, id); });
    seen.push_back(id);
    return !again && seen.size() <= extensions_max;
  });
}

bool are_mappings(Bytes value) {
  return is_list(value, [](DerReader& mapping) {
    mapping.object_identifier();
    mapping.object_identifier();
    return mapping.done();
  });
}

bool is_integer(Bytes value) {
  DerReader cursor(value);
  return cursor.unsigned_integer().size() == 1 && cursor.done();
}

bool is_authority_information(Bytes value) {
  return is_list(value, [](DerReader& access) {
    access.object_identifier();
    if (!access.at_end()) access.any();
    return access.done();
  });
}

// What crypto/x509 processExtensions does; `understood` is what makes a critical one harmless.
bool read_extension_value(Bytes id, bool critical, Bytes value, CertificateFacts& facts) {
  NameForms forms;
  bool good = true;
  if (equal(id, id_authority_information)) return !critical && is_authority_information(value);
  const bool standard = id.size() == 3 && id[0] == 0x55 && id[1] == 0x1d;
  switch (standard ? id[2] : 0) {
    case 14: return !critical && read_subject_key_id(value, facts);
    case 15: return read_key_usage(value, facts);
    case 17:
      facts.has_alternative_names = true;
      facts.alternative_names = value;
      good = are_alternative_names(value, forms);
      break;
    case 19: return read_basic_constraints(value, facts);
    case 30: good = read_name_constraints(value, forms, facts); break;
    case 31: return are_distribution_points(value);
    case 32: return are_policies(value);
    case 33: facts.policy_rules = true; return are_mappings(value);
    case 35: return !critical && read_authority_key_id(value, facts);
    case 36: facts.policy_rules = true; return true;
    case 37: return read_extended_usage(value, facts);
    case 54: return is_integer(value);
    default: forms.understood = false;
  }
  if (forms.odd) facts.odd_names = true;
  if (critical && !forms.understood) facts.unknown_critical = true;
  return good;
}

}  // namespace

bool read_extensions(Bytes list, CertificateFacts& facts) {
  DerReader outer(list);
  DerReader extensions(outer.expect(tag::sequence).content);
  std::vector<Bytes> seen;
  while (!extensions.at_end()) {
    DerReader extension(extensions.expect(tag::sequence).content);
    const Bytes id = extension.object_identifier();
    const bool critical = extension.next_is(tag::boolean) && extension.boolean();
    const Bytes value = extension.expect(tag::octet_string).content;
    if (!extension.done() || seen.size() == extensions_max) return false;
    // No extension twice (section 4.2): two readers might follow different ones.
    if (std::ranges::any_of(seen, [&](Bytes other) { return equal(other, id); })) return false;
    seen.push_back(id);
    if (!read_extension_value(id, critical, value, facts)) return false;
  }
  return outer.done() && extensions.done();
}

}  // namespace sluice::x509
