// SPDX-License-Identifier: GPL-3.0-or-later
// Makes certificates and keys at run time, for tests and for programs that play a cluster. It can
// also make wrong ones: any subject, any dates, any extensions, copied signatures. Certificates are
// written as DER by our own few lines; libcrypto only makes keys and signs.
//
//   auto ca = test::make_ca("client-ca");
//   auto leaf = test::issue(ca, {.subject = test::name("alice", {"dev", "ops"})});
//   write_file("alice.crt", leaf.pem());  write_file("alice.key", leaf.key.pem());
//
// All functions abort with a message when they are used wrongly. Not for production keys.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "sluice/base/bytes.h"
#include "sluice/base/time.h"

namespace sluice::test {

using Der = std::vector<std::uint8_t>;

// --- Distinguished names ---------------------------------------------------------------------

// ASN.1 string types (tag numbers) that names are made of.
enum class StringType : std::uint8_t {
  utf8 = 0x0c,
  printable = 0x13,
  t61 = 0x14,
  ia5 = 0x16,
  universal = 0x1c,
  bmp = 0x1e,
};

struct Attribute {
  std::string oid;    // dotted: "2.5.4.3"
  std::string value;  // raw content bytes, whatever the type would demand
  StringType type = StringType::utf8;
};

constexpr std::string_view oid_common_name = "2.5.4.3";
constexpr std::string_view oid_organization = "2.5.4.10";
constexpr std::string_view oid_kubernetes_uid = "1.3.6.1.4.1.57683.2";

// One relative distinguished name may hold several attributes.
using RelativeName = std::vector<Attribute>;
using Name = std::vector<RelativeName>;

// The usual subject: one O per group, then the CN; empty `common_name`: no CN at all.
Name name(std::string_view common_name, const std::vector<std::string>& organizations = {});
// The DER of an RDNSequence.
Der encode(const Name& name);

// --- Keys -------------------------------------------------------------------------------------

enum class KeyType : std::uint8_t {
  p256,
  p224,
  p384,
  p521,
  ed25519,
  rsa8192,  // always the same key
  rsa4096,
  rsa2048,
  rsa2048_long_exponent,  // of 33 bits
  rsa1024,
  rsa1023,
  rsa768,
  rsa512
};

class Key {
 public:
  static Key generate(KeyType type = KeyType::p256);
  std::string pem() const;          // PKCS #8, unencrypted
  Der public_key_info() const;      // SubjectPublicKeyInfo
  Der sign(Bytes data) const;       // with SHA-256, but for Ed25519
  Der signature_algorithm() const;  // AlgorithmIdentifier of sign()
  // This private key claiming to belong to the public key of `claimed`: what it signs does not
  // verify under it. For peers that present a certificate whose key they do not have. P-256 only.
  Key posing_as(const Key& claimed) const;
  void* native() const;  // EVP_PKEY*, for peers made of another TLS library

 private:
  struct State;
  std::shared_ptr<State> state_;
};

// --- Certificates -----------------------------------------------------------------------------

// Extended key usages.
constexpr std::string_view usage_server_auth = "1.3.6.1.5.5.7.3.1";
constexpr std::string_view usage_client_auth = "1.3.6.1.5.5.7.3.2";
constexpr std::string_view usage_code_signing = "1.3.6.1.5.5.7.3.3";
constexpr std::string_view usage_any = "2.5.29.37.0";

// Bits of the key usage extension (RFC 5280 section 4.2.1.3).
constexpr std::uint16_t key_usage_digital_signature = 0x80;
constexpr std::uint16_t key_usage_key_encipherment = 0x20;
constexpr std::uint16_t key_usage_certificate_sign = 0x04;
constexpr std::uint16_t key_usage_crl_sign = 0x02;

struct Extension {
  std::string oid;
  bool critical = false;
  Der value;  // what the OCTET STRING holds
};

// 2020-01-01 and 2050-01-01.
constexpr WallTime default_not_before{std::chrono::seconds{1577836800}};
constexpr WallTime default_not_after{std::chrono::seconds{2524608000}};

struct Specification {
  Name subject;
  WallTime not_before = default_not_before;
  WallTime not_after = default_not_after;
  std::optional<bool> ca;  // basic constraints; absent: no such extension
  std::optional<std::uint8_t> path_length;
  std::vector<std::string> extended_usages;  // OIDs; empty: no such extension
  std::optional<std::uint16_t> key_usage;
  std::vector<std::string> dns_names;
  std::vector<std::string> addresses;  // "127.0.0.1", "::1"
  std::vector<Extension> extensions;   // appended as they are
  int version = 3;                     // 1: no extensions at all
  Der serial;                          // content of the INTEGER; empty: a fresh number
  bool key_identifiers = true;         // subject and authority key identifier
  KeyType key_type = KeyType::p256;    // of the key that is generated
};

struct Certificate {
  Der der;
  Key key;
  Name subject;
  std::string pem() const;  // this certificate
  std::string key_pem() const { return key.pem(); }
};

// A self-signed root with CA:TRUE, keyCertSign and cRLSign.
Certificate make_ca(std::string_view common_name, KeyType type = KeyType::p256);
Certificate make_ca(Specification specification);

// The general form: `key` becomes the certificate's key.
Certificate issue(const Certificate& issuer, const Specification& specification);
Certificate issue(const Certificate& issuer, const Specification& specification, const Key& key);
Certificate self_sign(const Specification& specification, const Key& key);

// Everyday leaves.
Certificate issue_client(const Certificate& issuer, std::string_view common_name,
                         const std::vector<std::string>& organizations = {});
// `names`: DNS names and IP addresses.
Certificate issue_server(const Certificate& issuer, const std::vector<std::string>& names,
                         KeyType type = KeyType::p256);

// `original` with the public key (and its key pair) exchanged and everything else kept, signature
// and key identifiers included: a forgery that only a check of the signature can tell.
Certificate clone_with_other_key(const Certificate& original, const Key& other);

// PEM of several certificates one after the other, leaf first.
std::string pem_chain(const std::vector<const Certificate*>& certificates);
std::string to_pem(std::string_view label, Bytes der);
std::vector<Der> from_pem(std::string_view pem);
// Whole seconds since 1970 as WallTime.
constexpr WallTime at(std::int64_t seconds) { return WallTime{std::chrono::seconds{seconds}}; }

}  // namespace sluice::test
