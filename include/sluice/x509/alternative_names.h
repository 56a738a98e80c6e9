// SPDX-License-Identifier: GPL-3.0-or-later
// Subject alternative names (RFC 5280 section 4.2.1.6) and the constraints that authorities put on
// them (section 4.2.1.10), as crypto/x509 of Go reads and applies them.
#pragma once

#include <string>
#include <string_view>

#include "sluice/base/bytes.h"
#include "sluice/x509/certificate_facts.h"

namespace sluice::x509 {

// What there is to say of a list of names.
struct NameForms {
  bool understood = true;  // for alternative names: it holds one at least of a kind that anybody
                           // looks at; for constraints: all of them are
  bool odd = false;        // it holds one that Go reads, or does not, and we cannot tell
};

// Whether an extension's value is a well-formed list of names.
bool are_alternative_names(Bytes value, NameForms& forms);

// Whether these are well-formed GeneralSubtrees.
bool are_name_constraints(Bytes subtrees, NameForms& forms);

enum class NameVerdict : std::uint8_t {
  permitted,
  excluded,
  not_judged,  // a kind of name that an API server compares and we do not
};

// Whether the alternative names of `below` are within what `authority` may issue. A common name is
// none of them.
NameVerdict judge_names(const CertificateFacts& below, const CertificateFacts& authority);

// Whether it is an IP address in text: no DNS name, and compared with other alternative names.
bool is_address(const std::string& name);

// Whether the certificate is one of the server `name`, a DNS name or an IP address, by its
// subject alternative names alone (RFC 9525 section 6). A wildcard stands for the leftmost label.
bool names_server(const CertificateFacts& facts, std::string_view name);

}  // namespace sluice::x509
