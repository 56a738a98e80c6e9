// SPDX-License-Identifier: GPL-3.0-or-later
// Algorithms of signatures by their object identifiers, and the parameters of RSASSA-PSS.
#include "algorithm.h"

#include "sluice/x509/der_reader.h"

namespace sluice::x509 {

namespace {

constexpr std::uint8_t id_mgf1[] = {0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x08};
constexpr std::uint8_t id_rsa_pss[] = {0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0a};
constexpr std::uint8_t id_rsa_sha256[] = {0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0b};
constexpr std::uint8_t id_rsa_sha384[] = {0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0c};
constexpr std::uint8_t id_rsa_sha512[] = {0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0d};
constexpr std::uint8_t id_ecdsa_sha256[] = {0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02};
constexpr std::uint8_t id_ecdsa_sha384[] = {0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x03};
constexpr std::uint8_t id_ecdsa_sha512[] = {0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x04};
constexpr std::uint8_t id_sha256[] = {0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01};
constexpr std::uint8_t id_sha384[] = {0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x02};
constexpr std::uint8_t id_sha512[] = {0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x03};

// Absent parameters and NULL are the same for hashes.
std::optional<Bytes> read_hash_algorithm(Bytes content) {
  const auto algorithm = read_algorithm(content);
  if (!algorithm) return std::nullopt;
  if (!algorithm->parameters.empty() && !equal(algorithm->parameters, der_null))
    return std::nullopt;
  return algorithm->id;
}

// RFC 4055 section 3.1, with what nobody deviates from: MGF1 with the same hash, a salt as long as
// it, the trailer that exists.
HashKind read_pss_hash(Bytes parameters) {
  DerReader outer(parameters);
  DerReader fields(outer.expect(tag::sequence).content);
  DerReader hash_field(fields.expect(tag::constructed(0)).content);
  DerReader mask_field(fields.expect(tag::constructed(1)).content);
  DerReader salt_field(fields.expect(tag::constructed(2)).content);
  const auto hash = read_hash_algorithm(hash_field.expect(tag::sequence).content);
  const auto mask = read_algorithm(mask_field.expect(tag::sequence).content);
  const Bytes salt = salt_field.unsigned_integer();
  if (fields.next_is(tag::constructed(3))) {
    DerReader trailer(fields.any().content);
    const Bytes value = trailer.unsigned_integer();
    if (!trailer.done() || value.size() != 1 || value[0] != 1) return HashKind::none;
  }
  if (!outer.done() || !fields.done() || !hash_field.done() || !mask_field.done() ||
      !salt_field.done() || !hash || !mask || !equal(mask->id, id_mgf1) || salt.size() != 1) {
    return HashKind::none;
  }
  DerReader mask_hash_field(mask->parameters);
  const auto mask_hash = read_hash_algorithm(mask_hash_field.expect(tag::sequence).content);
  if (!mask_hash_field.done() || !mask_hash || !equal(*mask_hash, *hash)) return HashKind::none;
  if (equal(*hash, id_sha256) && salt[0] == 32) return HashKind::sha256;
  if (equal(*hash, id_sha384) && salt[0] == 48) return HashKind::sha384;
  if (equal(*hash, id_sha512) && salt[0] == 64) return HashKind::sha512;
  return HashKind::none;
}

}  // namespace

std::optional<Algorithm> read_algorithm(Bytes content) {
  DerReader cursor(content);
  Algorithm algorithm;
  algorithm.id = cursor.object_identifier();
  if (!cursor.at_end()) algorithm.parameters = cursor.any().whole;
  if (!cursor.done()) return std::nullopt;
  return algorithm;
}

void read_signature_algorithm(const Algorithm& algorithm, CertificateFacts& facts) {
  const auto is = [&](Bytes id, SignatureKind kind, HashKind hash) {
    if (!equal(algorithm.id, id)) return;
    facts.signature_kind = kind;
    facts.hash = hash;
  };
  is(id_rsa_sha256, SignatureKind::rsa_pkcs1, HashKind::sha256);
  is(id_rsa_sha384, SignatureKind::rsa_pkcs1, HashKind::sha384);
  is(id_rsa_sha512, SignatureKind::rsa_pkcs1, HashKind::sha512);
  is(id_ecdsa_sha256, SignatureKind::ecdsa, HashKind::sha256);
  is(id_ecdsa_sha384, SignatureKind::ecdsa, HashKind::sha384);
  is(id_ecdsa_sha512, SignatureKind::ecdsa, HashKind::sha512);
  if (algorithm.parameters.empty()) is(id_ed25519, SignatureKind::ed25519, HashKind::none);
  if (equal(algorithm.id, id_rsa_pss)) {
    const HashKind hash = read_pss_hash(algorithm.parameters);
    if (hash != HashKind::none) is(id_rsa_pss, SignatureKind::rsa_pss, hash);
  }
}

}  // namespace sluice::x509
