// SPDX-License-Identifier: GPL-3.0-or-later
// The keys of certificates: RSA, the curves of NIST, Ed25519.
#include "sluice/x509/public_key.h"

#include <bit>

#include "algorithm.h"
#include "public_key_reader.h"

namespace sluice::x509 {

namespace {

constexpr std::uint8_t id_rsa[] = {0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01};
constexpr std::uint8_t id_ec[] = {0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01};
constexpr std::uint8_t id_p224[] = {0x2b, 0x81, 0x04, 0x00, 0x21};
constexpr std::uint8_t id_p256[] = {0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07};
constexpr std::uint8_t id_p384[] = {0x2b, 0x81, 0x04, 0x00, 0x22};
constexpr std::uint8_t id_p521[] = {0x2b, 0x81, 0x04, 0x00, 0x23};

// RSAPublicKey (RFC 8017 appendix A.1.1): two positive integers.
bool read_rsa_key(Bytes der, PublicKey& key) {
  DerReader outer(der);
  DerReader inner(outer.expect(tag::sequence).content);
  key.modulus = inner.unsigned_integer();
  key.exponent = inner.unsigned_integer();
  if (!outer.done() || !inner.done() || key.modulus[0] == 0 || key.exponent[0] == 0) return false;
  key.kind = KeyKind::rsa;
  key.bits = key.modulus.size() * 8 - static_cast<std::size_t>(std::countl_zero(key.modulus[0]));
  return true;
}

// Only the uncompressed form is used in certificates. Whether the point is on its curve is for
// tls/signature.
bool read_point(Bytes point, Bytes curve, PublicKey& key) {
  std::size_t bytes = 0;
  if (equal(curve, id_p256)) {
    key.kind = KeyKind::p256;
    bytes = 32;
  } else if (equal(curve, id_p384)) {
    key.kind = KeyKind::p384;
    bytes = 48;
  } else if (equal(curve, id_p521)) {
    key.kind = KeyKind::p521;
    bytes = 66;
  } else if (equal(curve, id_p224)) {
    key.kind = KeyKind::p224;
    bytes = 28;
  } else {
    return false;
  }
  key.point = point;
  return point.size() == 1 + 2 * bytes && point[0] == 0x04;
}

}  // namespace

bool read_public_key(const Element& info, PublicKey& key) {
  key.info = info.whole;
  DerReader outer(info.content);
  const auto algorithm = read_algorithm(outer.expect(tag::sequence).content);
  unsigned unused = 0;
  const Bytes value = outer.bits(unused);
  if (!outer.done() || !algorithm || unused != 0) return false;
  if (equal(algorithm->id, id_rsa)) {
    return equal(algorithm->parameters, der_null) && read_rsa_key(value, key);
  }
  if (equal(algorithm->id, id_ed25519)) {
    key.kind = KeyKind::ed25519;
    key.point = value;
    return algorithm->parameters.empty() && value.size() == 32;
  }
  if (!equal(algorithm->id, id_ec)) return true;
  DerReader parameters(algorithm->parameters);
  const Bytes curve = parameters.object_identifier();
  return parameters.done() && read_point(value, curve, key);
}

bool has_usual_exponent(const PublicKey& rsa) {
  const Bytes exponent = rsa.exponent;
  return exponent.size() < 4 || (exponent.size() == 4 && (exponent[0] & 0x80) == 0);
}

std::string_view weakness(const PublicKey& key) {
  if (key.kind != KeyKind::rsa) return {};
  if (key.bits < rsa_bits_min) return "it has an RSA key of less than 1024 bits";
  // crypto/internal/fips140/rsa checkPublicKey.
  const Bytes exponent = key.exponent;
  if ((key.modulus.back() & 1) == 0 || (exponent.back() & 1) == 0 || !has_usual_exponent(key) ||
      (exponent.size() == 1 && exponent[0] == 1)) {
    return "it has an RSA key that is none";
  }
  return {};
}

std::string_view limitation(const PublicKey& key) {
  if (key.kind == KeyKind::other) return "it has a key of a kind that is not supported";
  if (key.kind != KeyKind::rsa) return {};
  if (key.bits > rsa_bits_max) return "it has an RSA key of more than 8192 bits";
  return {};
}

}  // namespace sluice::x509
