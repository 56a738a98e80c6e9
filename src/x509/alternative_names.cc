// SPDX-License-Identifier: GPL-3.0-or-later
// Lists of names are read once, when a certificate is, and walked again to compare them.
#include "sluice/x509/alternative_names.h"

#include <arpa/inet.h>

#include <algorithm>
#include <array>
#include <string>
#include <vector>

#include "sluice/base/ascii.h"
#include "sluice/x509/der_reader.h"

namespace sluice::x509 {

namespace {

constexpr std::uint8_t tag_mailbox = tag::primitive(1);
constexpr std::uint8_t tag_dns_name = tag::primitive(2);
constexpr std::uint8_t tag_uri = tag::primitive(6);
constexpr std::uint8_t tag_address = tag::primitive(7);

bool is_ascii(Bytes text) {
  return std::ranges::all_of(text, [](int c) { return c < 0x80; });
}

// crypto/x509 domainNameValid: labels of visible characters, none of them empty. A constraint may
// begin with a dot.
bool is_domain(std::string_view name, bool constraint) {
  if (name.empty()) return true;
  if (name.back() == '.') return false;
  if (constraint && name.front() == '.') name.remove_prefix(1);
  if (name.empty() || name.front() == '.' || name.contains("..")) return false;
  return std::ranges::all_of(name, [](char c) { return c >= 33 && c <= 126; });
}

bool all_of(std::string_view text, std::string_view others) {
  return std::ranges::all_of(
      text, [&](char c) { return ascii::is_alphanumeric(c) || (c != '\0' && others.contains(c)); });
}

// The plain ones among what net/url reads: scheme://host/path and scheme:name. An API server would
// refuse a connection with what it cannot read.
bool is_plain_uri(std::string_view uri) {
  const std::size_t colon = uri.find(':');
  if (colon == std::string_view::npos || colon == 0) return false;
  const std::string_view scheme = uri.substr(0, colon);
  if (!all_of(scheme, "+-.") || !ascii::is_letter(scheme[0])) return false;
  std::string_view rest = uri.substr(colon + 1);
  if (!rest.starts_with("//")) return !rest.starts_with('/') && all_of(rest, ":._-");
  rest.remove_prefix(2);
  const std::size_t slash = std::min(rest.find('/'), rest.size());
  const std::string_view host = rest.substr(0, slash);
  return all_of(host, ".-") && is_domain(host, false) && all_of(rest.substr(slash), "/._~-");
}

bool is_mask(Bytes mask) {
  bool zero = false;
  for (const std::uint8_t byte : mask) {
    if (zero && byte != 0) return false;
    if (byte == 0xff) continue;
    if (static_cast<std::uint8_t>(~byte & (~byte + 1)) != 0) return false;  // ones, then zeros
    zero = true;
  }
  return true;
}

// Whether `name` is `constraint` or lies below it; with a leading dot, below alone.
bool is_within(std::string_view name, std::string_view constraint) {
  if (constraint.empty()) return true;
  if (constraint.size() > name.size()) return false;
  const std::size_t rest = name.size() - constraint.size();
  if (!ascii::equal_ignoring_case(name.substr(rest), constraint)) return false;
  return constraint.front() == '.' || rest == 0 || name[rest - 1] == '.';
}

// What the wildcard stands for would meet the constraint: "*.x" and "y.x".
bool wildcard_meets(std::string_view name, std::string_view constraint) {
  if (!name.starts_with('*')) return false;
  const std::size_t name_dot = name.find('.');
  const std::size_t dot = constraint.find('.');
  if (name_dot == std::string_view::npos || dot == std::string_view::npos) return false;
  return ascii::equal_ignoring_case(name.substr(name_dot), constraint.substr(dot));
}

bool is_within(Bytes address, Bytes constraint) {
  if (constraint.size() != 2 * address.size()) return false;
  for (std::size_t i = 0; i < address.size(); ++i) {
    const std::uint8_t mask = constraint[address.size() + i];
    if ((address[i] & mask) != (constraint[i] & mask)) return false;
  }
  return true;
}

bool is_mapped(Bytes address) {
  constexpr std::array<std::uint8_t, 12> prefix = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
  return address.size() == 16 && equal(address.first(12), prefix);
}

struct Matches {
  bool any_of_kind = false;  // there is a constraint on names of this kind
  bool met = false;
};

Matches meet(const Element& name, Bytes subtrees, bool excluding) {
  Matches matches;
  DerReader list(subtrees);
  while (!list.at_end()) {
    DerReader subtree(list.expect(tag::sequence).content);
    const Element base = subtree.any();
    if (base.tag != name.tag) continue;
    matches.any_of_kind = true;
    if (name.tag == tag_address) {
      matches.met = matches.met || is_within(name.content, base.content);
    } else {
      const std::string_view text = as_text(name.content);
      const std::string_view constraint = as_text(base.content);
      matches.met = matches.met || is_within(text, constraint) ||
                    (excluding && wildcard_meets(text, constraint));
    }
  }
  return matches;
}

NameVerdict judge_name(const Element& name, const CertificateFacts& authority) {
  // How an authority's constraints apply to these is left to an API server.
  if (name.tag == tag_mailbox || name.tag == tag_uri) return NameVerdict::not_judged;
  if (name.tag != tag_dns_name && name.tag != tag_address) return NameVerdict::permitted;
  if (name.tag == tag_address && is_mapped(name.content)) return NameVerdict::not_judged;
  if (name.tag == tag_dns_name && !is_domain(as_text(name.content), false)) {
    return NameVerdict::excluded;
  }
  const Matches permitted = meet(name, authority.permitted_names, false);
  if (permitted.any_of_kind && !permitted.met) return NameVerdict::excluded;
  return meet(name, authority.excluded_names, true).met ? NameVerdict::excluded
                                                        : NameVerdict::permitted;
}

bool matches(std::string_view presented, std::string_view name) {
  if (!presented.starts_with("*.")) return ascii::equal_ignoring_case(presented, name);
  // Two labels at least remain fixed, and none of them is a wildcard.
  presented.remove_prefix(1);
  const std::size_t dot = name.find('.');
  return dot != std::string_view::npos && dot > 0 &&
         presented.find('.', 1) != std::string_view::npos &&
         ascii::equal_ignoring_case(presented, name.substr(dot));
}

// The 4 or 16 bytes of an IP address in text; none if it is no address.
std::vector<std::uint8_t> address_of(const std::string& text) {
  std::vector<std::uint8_t> address(16);
  if (inet_pton(AF_INET, text.c_str(), address.data()) == 1) {
    address.resize(4);
  } else if (inet_pton(AF_INET6, text.c_str(), address.data()) != 1) {
    address.clear();
  }
  return address;
}

}  // namespace

bool are_alternative_names(Bytes value, NameForms& forms) {
  DerReader outer(value);
  DerReader names(outer.expect(tag::sequence).content);
  forms.understood = false;
  while (!names.at_end()) {
    const Element name = names.any();
    bool good = true;
    switch (name.tag) {
      case tag_mailbox:
      case tag_dns_name: good = is_ascii(name.content); break;
      case tag_uri:
        good = is_ascii(name.content);
        if (!is_plain_uri(as_text(name.content))) forms.odd = true;
        break;
      case tag_address: good = name.content.size() == 4 || name.content.size() == 16; break;
      default: continue;
    }
    if (!good) return false;
    forms.understood = true;
  }
  return outer.done() && names.done();
}

bool are_name_constraints(Bytes subtrees, NameForms& forms) {
  DerReader list(subtrees);
  while (!list.at_end()) {
    DerReader subtree(list.expect(tag::sequence).content);
    const Element base = subtree.any();
    if (subtree.failed()) return false;
    const std::string_view text = as_text(base.content);
    bool good = true;
    switch (base.tag) {
      case tag_mailbox:
        // A whole mailbox follows rules of its own, which are left to an API server.
        if (text.contains('@')) forms.odd = true;
        good = is_ascii(base.content) && (text.contains('@') || is_domain(text, true));
        break;
      case tag_uri:
        good = is_ascii(base.content) && is_domain(text, true) && !is_address(std::string(text));
        break;
      case tag_dns_name: good = is_ascii(base.content) && is_domain(text, true); break;
      case tag_address:
        good = (base.content.size() == 8 || base.content.size() == 32) &&
               is_mask(base.content.subspan(base.content.size() / 2));
        break;
      default: forms.understood = false;
    }
    if (!good) return false;
  }
  return list.done();
}

NameVerdict judge_names(const CertificateFacts& below, const CertificateFacts& authority) {
  if (!below.has_alternative_names || !authority.has_name_constraints) {
    return NameVerdict::permitted;
  }
  DerReader outer(below.alternative_names);
  DerReader names(outer.expect(tag::sequence).content);
  NameVerdict verdict = NameVerdict::permitted;
  while (!names.at_end()) {
    const NameVerdict one = judge_name(names.any(), authority);
    if (one == NameVerdict::excluded) return one;
    if (one == NameVerdict::not_judged) verdict = one;
  }
  return verdict;
}

bool is_address(const std::string& name) { return !address_of(name).empty(); }

bool names_server(const CertificateFacts& facts, std::string_view name) {
  const std::vector<std::uint8_t> address = address_of(std::string(name));
  if (name.ends_with('.')) name.remove_suffix(1);
  if (name.empty()) return false;
  DerReader outer(facts.alternative_names);
  DerReader names(outer.expect(tag::sequence).content);
  bool found = false;
  while (!names.at_end()) {
    const Element element = names.any();
    if (!address.empty()) {
      found = found || (element.tag == tag_address && equal(element.content, address));
    } else {
      found = found || (element.tag == tag_dns_name && matches(as_text(element.content), name));
    }
  }
  return found && names.done() && outer.done();
}

}  // namespace sluice::x509
