// SPDX-License-Identifier: GPL-3.0-or-later
// A walker for X.509 certificates. The order of the functions is the order of the fields in
// RFC 5280 section 4.1.
#include "sluice/kubernetes/certificate.h"

#include <algorithm>
#include <array>
#include <optional>
#include <string_view>
#include <vector>

#include "ascii.h"
#include "der.h"
#include "name.h"

namespace sluice::kubernetes {
namespace {

using namespace std::string_view_literals;

// Object identifiers, as their encoded contents.
constexpr std::string_view oid_basic_constraints = "\x55\x1d\x13"sv;   // 2.5.29.19
constexpr std::string_view oid_extended_key_usage = "\x55\x1d\x25"sv;  // 2.5.29.37
constexpr std::string_view oid_any_usage = "\x55\x1d\x25\x00"sv;       // 2.5.29.37.0
constexpr std::string_view oid_client_auth =
    "\x2b\x06\x01\x05\x05\x07\x03\x02"sv;  // id-kp-clientAuth

// Extensions that the TLS library or this walker takes into account: key usage, subject alternative
// name, basic constraints, name constraints, CRL distribution points, certificate policies, policy
// mappings, authority key identifier, policy constraints, extended key usage, inhibit any policy.
constexpr std::array<std::uint8_t, 11> known_extensions = {15, 17, 19, 30, 31, 32,
                                                           33, 35, 36, 37, 54};

constexpr std::size_t extensions_max = 256;

bool is_known_extension(std::string_view id) {
  return id.size() == 3 && id.starts_with("\x55\x1d"sv) &&
         std::find(known_extensions.begin(), known_extensions.end(),
                   static_cast<std::uint8_t>(id[2])) != known_extensions.end();
}

bool is_minimal_integer(Bytes contents) {
  if (contents.empty()) return false;
  if (contents.size() == 1) return true;
  return !(contents[0] == 0x00 && (contents[1] & 0x80) == 0) &&
         !(contents[0] == 0xff && (contents[1] & 0x80) != 0);
}

bool is_bit_string(Bytes contents) {
  if (contents.empty() || contents[0] > 7) return false;
  if (contents.size() == 1) return contents[0] == 0;
  return (contents.back() & ((1U << contents[0]) - 1)) == 0;
}

std::optional<bool> read_boolean(DerReader& reader) {
  Bytes contents;
  if (!reader.read(DerTag::boolean, contents) || contents.size() != 1) return std::nullopt;
  if (contents[0] != 0x00 && contents[0] != 0xff) return std::nullopt;
  return contents[0] == 0xff;
}

// AlgorithmIdentifier: an object identifier and parameters of any kind.
bool is_algorithm(Bytes contents) {
  DerReader reader(contents);
  Bytes id;
  if (!reader.read(DerTag::object_identifier, id) || !is_object_identifier(id)) return false;
  DerTag tag{};
  Bytes parameters;
  return reader.empty() || (reader.read_any(tag, parameters) && reader.empty());
}

// ---- Validity: YYMMDDHHMMSSZ and YYYYMMDDHHMMSSZ only (RFC 5280 section 4.1.2.5) ----

// Days since 1970-01-01 in the Gregorian calendar.
constexpr std::int64_t days_since_epoch(int year, int month, int day) {
  const std::int64_t y = month <= 2 ? year - 1 : year;  // years begin in March
  const std::int64_t era = (y >= 0 ? y : y - 399) / 400;
  const std::int64_t year_of_era = y - era * 400;
  const std::int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
  const std::int64_t day_of_era =
      year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
  return era * 146'097 + day_of_era - 719'468;
}
static_assert(days_since_epoch(0, 1, 1) == -719'528);
static_assert(days_since_epoch(1970, 1, 1) == 0);
static_assert(days_since_epoch(2000, 3, 1) == 11'017);
static_assert(days_since_epoch(9999, 12, 31) == 2'932'896);

constexpr int days_in_month(int year, int month) {
  constexpr std::array<int, 12> days = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
  const bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
  return month == 2 && leap ? 29 : days[static_cast<std::size_t>(month - 1)];
}

std::optional<std::int64_t> read_time(DerReader& reader) {
  Bytes contents;
  std::size_t year_digits = 2;
  if (reader.next_is(DerTag::generalized_time)) year_digits = 4;
  if (!reader.read(year_digits == 4 ? DerTag::generalized_time : DerTag::utc_time, contents)) {
    return std::nullopt;
  }
  const std::string_view text = as_text(contents);
  if (text.size() != year_digits + 11 || text.back() != 'Z') return std::nullopt;
  if (!std::all_of(text.begin(), text.end() - 1, is_digit)) return std::nullopt;
  const auto number = [&](std::size_t at, std::size_t digits) {
    int value = 0;
    for (std::size_t i = at; i < at + digits; ++i) value = value * 10 + (text[i] - '0');
    return value;
  };
  int year = number(0, year_digits);
  if (year_digits == 2) year += year < 50 ? 2000 : 1900;
  const std::size_t at = year_digits;
  const int month = number(at, 2);
  const int day = number(at + 2, 2);
  const int hour = number(at + 4, 2);
  const int minute = number(at + 6, 2);
  const int second = number(at + 8, 2);
  if (month < 1 || month > 12 || day < 1 || day > days_in_month(year, month) || hour > 23 ||
      minute > 59 || second > 59) {
    return std::nullopt;
  }
  return days_since_epoch(year, month, day) * 86'400 + hour * 3600 + minute * 60 + second;
}

bool read_validity(Bytes contents, CertificateFacts& facts) {
  DerReader reader(contents);
  const std::optional<std::int64_t> not_before = read_time(reader);
  if (!not_before) return false;
  const std::optional<std::int64_t> not_after = read_time(reader);
  if (!not_after || !reader.empty()) return false;
  facts.not_before = *not_before;
  facts.not_after = *not_after;
  return true;
}

bool is_public_key(Bytes contents) {
  DerReader reader(contents);
  Bytes algorithm;
  Bytes key;
  return reader.read(DerTag::sequence, algorithm) && is_algorithm(algorithm) &&
         reader.read(DerTag::bit_string, key) && is_bit_string(key) && reader.empty();
}

// ---- Extensions ----

bool read_basic_constraints(Bytes value, CertificateFacts& facts) {
  DerReader outer(value);
  Bytes contents;
  if (!outer.read(DerTag::sequence, contents) || !outer.empty()) return false;
  DerReader reader(contents);
  if (reader.next_is(DerTag::boolean)) {
    const std::optional<bool> authority = read_boolean(reader);
    if (!authority) return false;
    facts.is_authority = *authority;
  }
  if (reader.next_is(DerTag::integer)) {
    Bytes path_length;
    if (!reader.read(DerTag::integer, path_length) || !is_minimal_integer(path_length) ||
        (path_length[0] & 0x80) != 0 || path_length.size() > 8) {
      return false;
    }
  }
  return reader.empty();
}

bool read_extended_key_usage(Bytes value, CertificateFacts& facts) {
  DerReader outer(value);
  Bytes contents;
  if (!outer.read(DerTag::sequence, contents) || !outer.empty() || contents.empty()) return false;
  facts.extended_key_usage = ExtendedKeyUsage::other;
  DerReader reader(contents);
  while (!reader.empty()) {
    Bytes usage;
    if (!reader.read(DerTag::object_identifier, usage) || !is_object_identifier(usage))
      return false;
    if (as_text(usage) == oid_client_auth || as_text(usage) == oid_any_usage) {
      facts.extended_key_usage = ExtendedKeyUsage::client_auth;
    }
  }
  return true;
}

bool read_extension(Bytes contents, CertificateFacts& facts, std::vector<std::string_view>& seen) {
  DerReader reader(contents);
  Bytes id_contents;
  if (!reader.read(DerTag::object_identifier, id_contents) || !is_object_identifier(id_contents)) {
    return false;
  }
  const std::string_view id = as_text(id_contents);
  // RFC 5280 section 4.2: no extension twice, else two readers might follow different ones.
  if (seen.size() == extensions_max || std::find(seen.begin(), seen.end(), id) != seen.end()) {
    return false;
  }
  seen.push_back(id);
  bool critical = false;
  if (reader.next_is(DerTag::boolean)) {
    const std::optional<bool> flag = read_boolean(reader);
    if (!flag) return false;
    critical = *flag;
  }
  Bytes value;
  if (!reader.read(DerTag::octet_string, value) || !reader.empty()) return false;
  if (id == oid_basic_constraints) return read_basic_constraints(value, facts);
  if (id == oid_extended_key_usage) return read_extended_key_usage(value, facts);
  if (critical && !is_known_extension(id)) facts.has_unknown_critical_extension = true;
  return true;
}

bool read_extensions(Bytes contents, CertificateFacts& facts) {
  DerReader outer(contents);
  Bytes list;
  if (!outer.read(DerTag::sequence, list) || !outer.empty()) return false;
  std::vector<std::string_view> seen;
  DerReader reader(list);
  while (!reader.empty()) {
    Bytes extension;
    if (!reader.read(DerTag::sequence, extension)) return false;
    if (!read_extension(extension, facts, seen)) return false;
  }
  return true;
}

// ---- The certificate ----

bool read_version(DerReader& tbs, CertificateFacts& facts) {
  const DerTag tag = context_tag(0, true);
  if (!tbs.next_is(tag)) return true;  // DEFAULT v1
  Bytes contents;
  if (!tbs.read(tag, contents)) return false;
  DerReader reader(contents);
  Bytes version;
  if (!reader.read(DerTag::integer, version) || !reader.empty()) return false;
  if (version.size() != 1 || version[0] > 2) return false;
  facts.version = version[0] + 1;
  return true;
}

bool is_name(Bytes contents) {
  return walk_name(contents, [](const NameAttribute&) {});
}

// What is wrong with it, or null.
const char* read_tbs(Bytes contents, Bytes outer_algorithm, CertificateFacts& facts) {
  DerReader tbs(contents);
  if (!read_version(tbs, facts)) return "its version is not 1, 2 or 3";
  Bytes serial;
  if (!tbs.read(DerTag::integer, serial) || !is_minimal_integer(serial) ||
      (serial[0] & 0x80) != 0) {
    return "its serial number is not a positive integer";
  }
  Bytes algorithm;
  if (!tbs.read(DerTag::sequence, algorithm) || !is_algorithm(algorithm) ||
      !std::equal(algorithm.begin(), algorithm.end(), outer_algorithm.begin(),
                  outer_algorithm.end())) {
    return "its signature algorithms are malformed or differ";
  }
  Bytes issuer;
  if (!tbs.read(DerTag::sequence, issuer) || !is_name(issuer)) return "its issuer is malformed";
  Bytes validity;
  if (!tbs.read(DerTag::sequence, validity) || !read_validity(validity, facts)) {
    return "its validity is malformed";
  }
  if (!tbs.read(DerTag::sequence, facts.subject) || !is_name(facts.subject)) {
    return "its subject is malformed";
  }
  Bytes key;
  if (!tbs.read(DerTag::sequence, key) || !is_public_key(key)) return "its public key is malformed";
  if (facts.version >= 2) {
    for (const unsigned number : {1U, 2U}) {  // issuer and subject unique identifiers
      const DerTag tag = context_tag(number, false);
      Bytes unique;
      if (tbs.next_is(tag) && !tbs.read(tag, unique)) return "a unique identifier is malformed";
    }
  }
  if (facts.version == 3 && tbs.next_is(context_tag(3, true))) {
    Bytes extensions;
    if (!tbs.read(context_tag(3, true), extensions) || !read_extensions(extensions, facts)) {
      return "its extensions are malformed";
    }
  }
  return tbs.empty() ? nullptr : "bytes follow its extensions";
}

}  // namespace

Result<CertificateFacts> read_certificate(Bytes der) {
  const auto malformed = [](const char* why) {
    return fail(ErrorKind::invalid_argument, std::string("the certificate is not valid: ") + why);
  };
  DerReader outer(der);
  Bytes contents;
  if (!outer.read(DerTag::sequence, contents)) return malformed("it is no DER sequence");
  if (!outer.empty()) return malformed("bytes follow its end");
  DerReader certificate(contents);
  Bytes tbs;
  Bytes algorithm;
  Bytes signature;
  if (!certificate.read(DerTag::sequence, tbs) || !certificate.read(DerTag::sequence, algorithm) ||
      !certificate.read(DerTag::bit_string, signature) || !is_bit_string(signature) ||
      !certificate.empty()) {
    return malformed("its three parts are malformed");
  }
  CertificateFacts facts;
  if (const char* why = read_tbs(tbs, algorithm, facts)) return malformed(why);
  return facts;
}

}  // namespace sluice::kubernetes
