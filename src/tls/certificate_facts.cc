// SPDX-License-Identifier: GPL-3.0-or-later
// A cursor over DER (ITU-T X.690 section 10) and the way through a certificate with it. Anything
// that is not exactly the structure of RFC 5280 section 4.1 ends the walk.
#include "certificate_facts.h"

#include <arpa/inet.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <string>

namespace sluice::tls {

namespace {

constexpr std::uint8_t tag_boolean = 0x01;
constexpr std::uint8_t tag_integer = 0x02;
constexpr std::uint8_t tag_bit_string = 0x03;
constexpr std::uint8_t tag_octet_string = 0x04;
constexpr std::uint8_t tag_oid = 0x06;
constexpr std::uint8_t tag_utc_time = 0x17;
constexpr std::uint8_t tag_generalized_time = 0x18;
constexpr std::uint8_t tag_sequence = 0x30;
constexpr std::uint8_t tag_context_0 = 0xa0;  // version
constexpr std::uint8_t tag_context_1 = 0x81;  // issuerUniqueID
constexpr std::uint8_t tag_context_2 = 0x82;  // subjectUniqueID
constexpr std::uint8_t tag_context_3 = 0xa3;  // extensions
constexpr std::uint8_t tag_dns_name = 0x82;
constexpr std::uint8_t tag_address = 0x87;

struct Element {
  std::uint8_t tag = 0;
  Bytes content;
  Bytes whole;  // with tag and length
};

// Reads one element after the other; what is malformed leaves it `failed`, and everything after
// that reads as nothing.
class Cursor {
 public:
  explicit Cursor(Bytes bytes) : rest_(bytes) {}

  bool failed() const { return failed_; }
  bool at_end() const { return failed_ || rest_.empty(); }
  bool next_is(std::uint8_t tag) const { return !at_end() && rest_[0] == tag; }

  Element any() {
    if (failed_ || rest_.size() < 2) return fail_here();
    const std::uint8_t tag = rest_[0];
    if ((tag & 0x1f) == 0x1f) return fail_here();  // no tag of a certificate is that large
    std::size_t header = 2;
    std::size_t length = rest_[1];
    if (length >= 0x80) {
      const std::size_t digits = length & 0x7f;
      if (digits == 0 || digits > 3 || rest_.size() < 2 + digits) return fail_here();
      length = 0;
      for (std::size_t i = 0; i < digits; ++i) length = length << 8 | rest_[2 + i];
      // The shortest form is the only one in DER.
      if (length < 0x80 || rest_[2] == 0) return fail_here();
      header += digits;
    }
    if (rest_.size() - header < length) return fail_here();
    const Element element{tag, rest_.subspan(header, length), rest_.first(header + length)};
    rest_ = rest_.subspan(header + length);
    return element;
  }

  Element expect(std::uint8_t tag) {
    if (!next_is(tag)) return fail_here();
    return any();
  }

 private:
  Element fail_here() {
    failed_ = true;
    rest_ = {};
    return {};
  }

  Bytes rest_;
  bool failed_ = false;
};

std::optional<unsigned> digits(Bytes text, std::size_t place, std::size_t count) {
  unsigned value = 0;
  for (std::size_t i = place; i < place + count; ++i) {
    if (text[i] < '0' || text[i] > '9') return std::nullopt;
    value = value * 10 + (text[i] - static_cast<unsigned>('0'));
  }
  return value;
}

// YYMMDDHHMMSSZ or YYYYMMDDHHMMSSZ, nothing else (RFC 5280 section 4.1.2.5).
std::optional<WallTime> read_time(const Element& element) {
  std::size_t year_digits = 0;
  if (element.tag == tag_utc_time && element.content.size() == 13) {
    year_digits = 2;
  } else if (element.tag == tag_generalized_time && element.content.size() == 15) {
    year_digits = 4;
  } else {
    return std::nullopt;
  }
  if (element.content.back() != 'Z') return std::nullopt;
  const auto year_text = digits(element.content, 0, year_digits);
  unsigned parts[5];
  for (std::size_t i = 0; i < 5; ++i) {
    const auto part = digits(element.content, year_digits + 2 * i, 2);
    if (!part) return std::nullopt;
    parts[i] = *part;
  }
  if (!year_text) return std::nullopt;
  unsigned year = *year_text;
  if (year_digits == 2) year += year < 50 ? 2000 : 1900;
  const std::chrono::year_month_day date{std::chrono::year{static_cast<int>(year)},
                                         std::chrono::month{parts[0]}, std::chrono::day{parts[1]}};
  if (!date.ok() || parts[2] > 23 || parts[3] > 59 || parts[4] > 59) return std::nullopt;
  return WallTime{std::chrono::sys_days{date}} + std::chrono::hours{parts[2]} +
         std::chrono::minutes{parts[3]} + std::chrono::seconds{parts[4]};
}

constexpr std::uint8_t id_basic_constraints[] = {0x55, 0x1d, 0x13};
constexpr std::uint8_t id_key_usage[] = {0x55, 0x1d, 0x0f};
constexpr std::uint8_t id_extended_key_usage[] = {0x55, 0x1d, 0x25};
constexpr std::uint8_t id_subject_alternative_name[] = {0x55, 0x1d, 0x11};
constexpr std::uint8_t id_any_usage[] = {0x55, 0x1d, 0x25, 0x00};
constexpr std::uint8_t id_client_auth[] = {0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x02};
constexpr std::uint8_t id_server_auth[] = {0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x01};

bool equal(Bytes a, Bytes b) { return std::ranges::equal(a, b); }

bool read_basic_constraints(Bytes value, CertificateFacts& facts) {
  Cursor outer(value);
  Cursor inner(outer.expect(tag_sequence).content);
  if (outer.failed() || !outer.at_end() || facts.basic_constraints) return false;
  facts.basic_constraints = true;
  if (inner.next_is(tag_boolean)) {
    const Element flag = inner.any();
    if (flag.content.size() != 1) return false;
    // Encoders that write the default are common; any value but 0 is true.
    facts.ca = flag.content[0] != 0;
  }
  if (inner.next_is(tag_integer)) {
    const Element length = inner.any();
    if (length.content.empty() || (length.content[0] & 0x80) != 0) return false;
    // More than 127 is as good as 127.
    facts.path_length = length.content.size() == 1 ? length.content[0] : std::uint8_t{127};
  }
  return !inner.failed() && inner.at_end();
}

bool read_key_usage(Bytes value, CertificateFacts& facts) {
  Cursor outer(value);
  const Element bits = outer.expect(tag_bit_string);
  if (outer.failed() || !outer.at_end() || facts.key_usage) return false;
  if (bits.content.empty() || bits.content[0] > 7) return false;
  facts.key_usage = true;
  facts.may_sign_certificates = bits.content.size() > 1 && (bits.content[1] & 0x04) != 0;
  return true;
}

bool read_extended_usage(Bytes value, CertificateFacts& facts) {
  Cursor outer(value);
  Cursor inner(outer.expect(tag_sequence).content);
  if (outer.failed() || !outer.at_end() || facts.extended_usage) return false;
  facts.extended_usage = true;
  while (!inner.at_end()) {
    const Element usage = inner.expect(tag_oid);
    const bool any = equal(usage.content, id_any_usage);
    if (any || equal(usage.content, id_client_auth)) facts.client_auth = true;
    if (any || equal(usage.content, id_server_auth)) facts.server_auth = true;
  }
  return !inner.failed();
}

bool read_extensions(Bytes list, CertificateFacts& facts) {
  Cursor outer(list);
  Cursor extensions(outer.expect(tag_sequence).content);
  if (outer.failed() || !outer.at_end()) return false;
  while (!extensions.at_end()) {
    Cursor extension(extensions.expect(tag_sequence).content);
    const Element id = extension.expect(tag_oid);
    if (extension.next_is(tag_boolean)) extension.any();
    const Element value = extension.expect(tag_octet_string);
    if (extension.failed() || !extension.at_end()) return false;
    bool good = true;
    if (equal(id.content, id_basic_constraints)) {
      good = read_basic_constraints(value.content, facts);
    } else if (equal(id.content, id_key_usage)) {
      good = read_key_usage(value.content, facts);
    } else if (equal(id.content, id_extended_key_usage)) {
      good = read_extended_usage(value.content, facts);
    } else if (equal(id.content, id_subject_alternative_name)) {
      if (!facts.alternative_names.empty()) return false;
      facts.alternative_names = value.content;
    }
    if (!good) return false;
  }
  return !extensions.failed();
}

bool read_signed_part(Bytes content, CertificateFacts& facts) {
  Cursor cursor(content);
  if (cursor.next_is(tag_context_0)) {
    Cursor version(cursor.any().content);
    const Element number = version.expect(tag_integer);
    if (version.failed() || !version.at_end() || number.content.size() != 1) return false;
    if (number.content[0] > 2) return false;
    facts.version = number.content[0] + 1;
  }
  cursor.expect(tag_integer);   // serial number
  cursor.expect(tag_sequence);  // signature algorithm
  facts.issuer = cursor.expect(tag_sequence).whole;
  Cursor validity(cursor.expect(tag_sequence).content);
  const auto not_before = read_time(validity.any());
  const auto not_after = read_time(validity.any());
  if (validity.failed() || !validity.at_end() || !not_before || !not_after) return false;
  facts.not_before = *not_before;
  facts.not_after = *not_after;
  facts.subject = cursor.expect(tag_sequence).whole;
  cursor.expect(tag_sequence);  // public key
  if (cursor.next_is(tag_context_1)) cursor.any();
  if (cursor.next_is(tag_context_2)) cursor.any();
  if (cursor.next_is(tag_context_3)) {
    const Element extensions = cursor.any();
    if (facts.version != 3 || !read_extensions(extensions.content, facts)) return false;
  }
  return !cursor.failed() && cursor.at_end();
}

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

bool equal_names(std::string_view a, std::string_view b) {
  return std::ranges::equal(a, b, {}, lower, lower);
}

bool matches(std::string_view presented, std::string_view name) {
  if (!presented.starts_with("*.")) return equal_names(presented, name);
  // Two labels at least remain fixed, and none of them is a wildcard.
  presented.remove_prefix(1);
  const std::size_t dot = name.find('.');
  return dot != std::string_view::npos && dot > 0 &&
         presented.find('.', 1) != std::string_view::npos &&
         equal_names(presented, name.substr(dot));
}

Bytes signed_algorithm(Bytes content) {
  Cursor cursor(content);
  if (cursor.next_is(tag_context_0)) cursor.any();
  cursor.expect(tag_integer);
  return cursor.expect(tag_sequence).whole;
}

}  // namespace

bool names_server(const CertificateFacts& facts, std::string_view name) {
  std::array<std::uint8_t, 16> address{};
  std::size_t address_bytes = 0;
  const std::string text(name);
  if (inet_pton(AF_INET, text.c_str(), address.data()) == 1) {
    address_bytes = 4;
  } else if (inet_pton(AF_INET6, text.c_str(), address.data()) == 1) {
    address_bytes = 16;
  }
  if (name.ends_with('.')) name.remove_suffix(1);
  if (name.empty()) return false;
  Cursor outer(facts.alternative_names);
  Cursor names(outer.expect(tag_sequence).content);
  bool found = false;
  while (!names.at_end()) {
    const Element element = names.any();
    if (address_bytes > 0) {
      found = found || (element.tag == tag_address &&
                        equal(element.content, Bytes(address).first(address_bytes)));
    } else {
      found = found || (element.tag == tag_dns_name && matches(as_text(element.content), name));
    }
  }
  return found && !names.failed() && !outer.failed() && outer.at_end();
}

Result<CertificateFacts> read_certificate_facts(Bytes der) {
  CertificateFacts facts;
  Cursor outer(der);
  Cursor certificate(outer.expect(tag_sequence).content);
  const Element signed_part = certificate.expect(tag_sequence);
  const Element algorithm = certificate.expect(tag_sequence);
  const Element signature = certificate.expect(tag_bit_string);
  // Whole bytes, and the algorithm that was signed: no two certificates with one signature.
  if (signature.content.empty() || signature.content[0] != 0 ||
      !equal(algorithm.whole, signed_algorithm(signed_part.content)) || outer.failed() ||
      !outer.at_end() || certificate.failed() || !certificate.at_end() ||
      !read_signed_part(signed_part.content, facts)) {
    return fail(ErrorKind::invalid_argument, "the certificate is malformed");
  }
  return facts;
}

}  // namespace sluice::tls
