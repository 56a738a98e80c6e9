// SPDX-License-Identifier: GPL-3.0-or-later
// The way through a certificate, in the order of RFC 5280 section 4.1. Anything that is not exactly
// its structure ends the walk.
#include "sluice/x509/certificate_facts.h"

#include <chrono>

#include "algorithm.h"
#include "extensions.h"
#include "public_key_reader.h"
#include "sluice/base/ascii.h"
#include "sluice/x509/der_reader.h"
#include "sluice/x509/name.h"

namespace sluice::x509 {

namespace {

std::optional<unsigned> digits(Bytes text, std::size_t place, std::size_t count) {
  unsigned value = 0;
  for (std::size_t i = place; i < place + count; ++i) {
    if (!ascii::is_digit(static_cast<char>(text[i]))) return std::nullopt;
    value = value * 10 + (text[i] - static_cast<unsigned>('0'));
  }
  return value;
}

// YYMMDDHHMMSSZ or YYYYMMDDHHMMSSZ, nothing else (RFC 5280 section 4.1.2.5).
std::optional<WallTime> read_time(const Element& element) {
  std::size_t year_digits = 0;
  if (element.tag == tag::utc_time && element.content.size() == 13) {
    year_digits = 2;
  } else if (element.tag == tag::generalized_time && element.content.size() == 15) {
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

bool read_version(DerReader& cursor, CertificateFacts& facts) {
  if (!cursor.next_is(tag::constructed(0))) return true;  // DEFAULT v1
  DerReader version(cursor.any().content);
  const Bytes number = version.unsigned_integer();
  if (!version.done() || number.size() != 1 || number[0] > 2) return false;
  facts.version = number[0] + 1;
  return true;
}

bool read_signed_part(Bytes content, Bytes outer_algorithm, CertificateFacts& facts) {
  DerReader cursor(content);
  if (!read_version(cursor, facts)) return false;
  cursor.unsigned_integer();  // serial number
  const Element algorithm = cursor.expect(tag::sequence);
  // The algorithm that was signed: no two certificates with one signature.
  if (cursor.failed() || !equal(algorithm.content, outer_algorithm)) return false;
  const auto signature_algorithm = read_algorithm(algorithm.content);
  if (!signature_algorithm) return false;
  read_signature_algorithm(*signature_algorithm, facts);
  const Element issuer = cursor.expect(tag::sequence);
  DerReader validity(cursor.expect(tag::sequence).content);
  const auto not_before = read_time(validity.any());
  const auto not_after = read_time(validity.any());
  if (!validity.done() || !not_before || !not_after) return false;
  facts.not_before = *not_before;
  facts.not_after = *not_after;
  const Element subject = cursor.expect(tag::sequence);
  facts.issuer = issuer.whole;
  facts.subject = subject.whole;
  if (cursor.failed() || !is_name(issuer.whole) || !is_name(subject.whole)) return false;
  if (!read_public_key(cursor.expect(tag::sequence), facts.key)) return false;
  if (facts.version >= 2) {
    cursor.optional(tag::primitive(1));  // issuerUniqueID
    cursor.optional(tag::primitive(2));  // subjectUniqueID
  }
  if (facts.version == 3 && cursor.next_is(tag::constructed(3)) &&
      !read_extensions(cursor.any().content, facts)) {
    return false;
  }
  return cursor.done();
}

}  // namespace

Result<CertificateFacts> read_certificate_facts(Bytes der) {
  CertificateFacts facts;
  facts.whole = der;
  DerReader outer(der);
  DerReader certificate(outer.expect(tag::sequence).content);
  const Element signed_part = certificate.expect(tag::sequence);
  const Element algorithm = certificate.expect(tag::sequence);
  unsigned unused = 0;
  facts.signature = certificate.bits(unused);
  facts.signed_part = signed_part.whole;
  if (!outer.done() || !certificate.done() || unused != 0 ||
      !read_signed_part(signed_part.content, algorithm.content, facts)) {
    return fail(ErrorKind::invalid_argument, "the certificate is malformed");
  }
  return facts;
}

PublicKey read_certificate_key(Bytes der) {
  DerReader outer(der);
  DerReader certificate(outer.expect(tag::sequence).content);
  DerReader cursor(certificate.expect(tag::sequence).content);
  cursor.optional(tag::constructed(0));
  cursor.expect(tag::integer);
  for (int i = 0; i < 4; ++i) cursor.expect(tag::sequence);  // algorithm, issuer, validity, subject
  PublicKey key;
  const Element info = cursor.expect(tag::sequence);
  if (cursor.failed() || !read_public_key(info, key)) return {};
  return key;
}

}  // namespace sluice::x509
