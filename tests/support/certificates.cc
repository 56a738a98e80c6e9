// SPDX-License-Identifier: GPL-3.0-or-later
// A small DER writer (ITU-T X.690) and the certificate of RFC 5280 written with it. libcrypto does
// what needs mathematics: keys and signatures.
#include "certificates.h"

#include <arpa/inet.h>
#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>
#include <openssl/sha.h>
#include <openssl/x509.h>

#include <algorithm>
#include <array>
#include <ctime>
#include <initializer_list>

#include "rsa_8192_key.h"
#include "sluice/base/check.h"

namespace sluice::test {

namespace {

// --- DER --------------------------------------------------------------------------------------

constexpr std::uint8_t tag_boolean = 0x01;
constexpr std::uint8_t tag_integer = 0x02;
constexpr std::uint8_t tag_bit_string = 0x03;
constexpr std::uint8_t tag_octet_string = 0x04;
constexpr std::uint8_t tag_oid = 0x06;
constexpr std::uint8_t tag_utc_time = 0x17;
constexpr std::uint8_t tag_generalized_time = 0x18;
constexpr std::uint8_t tag_sequence = 0x30;
constexpr std::uint8_t tag_set = 0x31;

void append(Der& to, Bytes bytes) { to.insert(to.end(), bytes.begin(), bytes.end()); }

Der element(std::uint8_t tag, Bytes content) {
  Der der{tag};
  if (content.size() < 0x80) {
    der.push_back(static_cast<std::uint8_t>(content.size()));
  } else {
    Der length;
    for (std::size_t rest = content.size(); rest > 0; rest >>= 8) {
      length.insert(length.begin(), static_cast<std::uint8_t>(rest));
    }
    der.push_back(static_cast<std::uint8_t>(0x80 | length.size()));
    append(der, length);
  }
  append(der, content);
  return der;
}

Der element(std::uint8_t tag, std::initializer_list<Der> parts) {
  Der content;
  for (const Der& part : parts) append(content, part);
  return element(tag, content);
}

Der oid(std::string_view dotted) {
  std::vector<std::uint64_t> arcs;
  std::uint64_t arc = 0;
  for (const char c : std::string(dotted) + ".") {
    if (c == '.') {
      arcs.push_back(arc);
      arc = 0;
    } else {
      CHECK(c >= '0' && c <= '9');
      arc = arc * 10 + static_cast<std::uint64_t>(c - '0');
    }
  }
  CHECK_GE(arcs.size(), 2U);
  arcs[1] += arcs[0] * 40;
  Der content;
  for (std::size_t i = 1; i < arcs.size(); ++i) {
    Der digits{static_cast<std::uint8_t>(arcs[i] & 0x7f)};
    for (std::uint64_t rest = arcs[i] >> 7; rest > 0; rest >>= 7) {
      digits.insert(digits.begin(), static_cast<std::uint8_t>(0x80 | (rest & 0x7f)));
    }
    append(content, digits);
  }
  return element(tag_oid, content);
}

Der bit_string(Bytes bytes, std::uint8_t unused_bits = 0) {
  Der content{unused_bits};
  append(content, bytes);
  return element(tag_bit_string, content);
}

// UTCTime until 2049, GeneralizedTime from 2050 on (RFC 5280 section 4.1.2.5).
Der time_value(WallTime when) {
  const auto seconds = static_cast<std::time_t>(when.time_since_epoch().count());
  std::tm parts{};
  CHECK(gmtime_r(&seconds, &parts) != nullptr);
  std::array<char, 32> text{};
  const bool utc = parts.tm_year >= 50 && parts.tm_year < 150;
  const std::size_t size =
      std::strftime(text.data(), text.size(), utc ? "%y%m%d%H%M%SZ" : "%Y%m%d%H%M%SZ", &parts);
  return element(utc ? tag_utc_time : tag_generalized_time,
                 as_bytes(std::string_view(text.data(), size)));
}

// --- Keys -------------------------------------------------------------------------------------

Der to_der(int (*write)(const EVP_PKEY*, unsigned char**), const EVP_PKEY* key) {
  unsigned char* buffer = nullptr;
  const int size = write(key, &buffer);
  CHECK_GT(size, 0);
  Der der(buffer, buffer + size);
  OPENSSL_free(buffer);
  return der;
}

Der key_identifier(Bytes public_key_info) {
  // Any unique value does (RFC 5280 section 4.2.1.2); SHA-1 over the bit string is customary.
  const auto* cursor = public_key_info.data();
  X509_PUBKEY* parsed =
      d2i_X509_PUBKEY(nullptr, &cursor, static_cast<long>(public_key_info.size()));
  CHECK(parsed != nullptr);
  const unsigned char* bits = nullptr;
  int size = 0;
  CHECK_EQ(X509_PUBKEY_get0_param(nullptr, &bits, &size, nullptr, parsed), 1);
  Der digest(SHA_DIGEST_LENGTH);
  SHA1(bits, static_cast<std::size_t>(size), digest.data());
  X509_PUBKEY_free(parsed);
  return digest;
}

// --- Certificates -----------------------------------------------------------------------------

Der extension(std::string_view id, bool critical, const Der& value) {
  Der content = oid(id);
  if (critical) append(content, element(tag_boolean, Bytes(Der{0xff})));
  append(content, element(tag_octet_string, value));
  return element(tag_sequence, content);
}

Der key_usage_bits(std::uint16_t usage) {
  // Nine bits at most; trailing zero bits are left out.
  Der bytes{static_cast<std::uint8_t>(usage)};
  if (usage > 0xff) bytes.push_back(static_cast<std::uint8_t>(usage >> 1 & 0x80));
  std::uint8_t unused = 0;
  while (unused < 7 && (bytes.back() >> unused & 1) == 0) ++unused;
  return bit_string(bytes, unused);
}

Der address_bytes(const std::string& address) {
  std::array<std::uint8_t, 16> bytes{};
  if (inet_pton(AF_INET, address.c_str(), bytes.data()) == 1)
    return {bytes.begin(), bytes.begin() + 4};
  CHECK_EQ(inet_pton(AF_INET6, address.c_str(), bytes.data()), 1);
  return {bytes.begin(), bytes.end()};
}

Der extensions(const Specification& specification, const Key& key, const Key& issuer_key) {
  Der list;
  if (specification.ca) {
    Der constraints;
    if (*specification.ca) append(constraints, element(tag_boolean, Bytes(Der{0xff})));
    if (specification.path_length) {
      append(constraints, element(tag_integer, Bytes(Der{*specification.path_length})));
    }
    append(list, extension("2.5.29.19", true, element(tag_sequence, constraints)));
  }
  if (specification.key_usage) {
    append(list, extension("2.5.29.15", true, key_usage_bits(*specification.key_usage)));
  }
  if (!specification.extended_usages.empty()) {
    Der usages;
    for (const std::string& usage : specification.extended_usages) append(usages, oid(usage));
    append(list, extension("2.5.29.37", false, element(tag_sequence, usages)));
  }
  if (specification.key_identifiers) {
    append(list, extension("2.5.29.14", false,
                           element(tag_octet_string, key_identifier(key.public_key_info()))));
    append(list, extension("2.5.29.35", false,
                           element(tag_sequence,
                                   {element(0x80, key_identifier(issuer_key.public_key_info()))})));
  }
  if (!specification.dns_names.empty() || !specification.addresses.empty()) {
    Der names;
    for (const std::string& dns : specification.dns_names)
      append(names, element(0x82, as_bytes(dns)));
    for (const std::string& address : specification.addresses) {
      append(names, element(0x87, address_bytes(address)));
    }
    append(list, extension("2.5.29.17", false, element(tag_sequence, names)));
  }
  for (const Extension& extra : specification.extensions) {
    append(list, extension(extra.oid, extra.critical, extra.value));
  }
  return list;
}

Certificate write(const Specification& specification, const Key& key, const Name& issuer,
                  const Key& issuer_key) {
  Der serial = specification.serial;
  if (serial.empty()) {
    serial.resize(16);
    CHECK_EQ(RAND_bytes(serial.data(), static_cast<int>(serial.size())), 1);
    serial[0] = static_cast<std::uint8_t>((serial[0] & 0x3f) | 0x40);
  }
  Der content;
  if (specification.version > 1) {
    append(content, element(0xa0, {element(tag_integer, Bytes(Der{static_cast<std::uint8_t>(
                                                            specification.version - 1)}))}));
  }
  append(content, element(tag_integer, serial));
  append(content, issuer_key.signature_algorithm());
  append(content, encode(issuer));
  append(content, element(tag_sequence, {time_value(specification.not_before),
                                         time_value(specification.not_after)}));
  append(content, encode(specification.subject));
  append(content, key.public_key_info());
  if (specification.version >= 3) {
    const Der list = extensions(specification, key, issuer_key);
    if (!list.empty()) append(content, element(0xa3, {element(tag_sequence, list)}));
  }
  const Der signed_part = element(tag_sequence, content);
  Certificate certificate;
  certificate.der = element(tag_sequence, {signed_part, issuer_key.signature_algorithm(),
                                           bit_string(issuer_key.sign(signed_part))});
  certificate.key = key;
  certificate.subject = specification.subject;
  return certificate;
}

}  // namespace

Name name(std::string_view common_name, const std::vector<std::string>& organizations) {
  Name result;
  for (const std::string& organization : organizations) {
    result.push_back({{std::string(oid_organization), organization}});
  }
  if (!common_name.empty())
    result.push_back({{std::string(oid_common_name), std::string(common_name)}});
  return result;
}

Der encode(const Name& name) {
  Der sequence;
  for (const RelativeName& relative : name) {
    Der set;
    for (const Attribute& attribute : relative) {
      append(set, element(tag_sequence,
                          {oid(attribute.oid), element(static_cast<std::uint8_t>(attribute.type),
                                                       as_bytes(attribute.value))}));
    }
    append(sequence, element(tag_set, set));
  }
  return element(tag_sequence, sequence);
}

struct Key::State {
  EVP_PKEY* key = nullptr;
  State() = default;
  State(const State&) = delete;
  State& operator=(const State&) = delete;
  ~State() { EVP_PKEY_free(key); }
};

static EVP_PKEY* rsa_key(std::size_t bits) {
  return EVP_PKEY_Q_keygen(nullptr, nullptr, "RSA", bits);
}

static EVP_PKEY* rsa_key_with_long_exponent() {
  EVP_PKEY_CTX* context = EVP_PKEY_CTX_new_from_name(nullptr, "RSA", nullptr);
  BIGNUM* exponent = nullptr;
  BN_dec2bn(&exponent, "4294967311");  // the first prime above 2^32
  EVP_PKEY* key = nullptr;
  CHECK_EQ(EVP_PKEY_keygen_init(context), 1);
  CHECK_EQ(EVP_PKEY_CTX_set_rsa_keygen_bits(context, 2048), 1);
  CHECK_EQ(EVP_PKEY_CTX_set1_rsa_keygen_pubexp(context, exponent), 1);
  CHECK_EQ(EVP_PKEY_generate(context, &key), 1);
  BN_free(exponent);
  EVP_PKEY_CTX_free(context);
  return key;
}

static EVP_PKEY* read_key(std::string_view pem) {
  BIO* bio = BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size()));
  EVP_PKEY* key = PEM_read_bio_PrivateKey(bio, nullptr, nullptr, nullptr);
  BIO_free(bio);
  return key;
}

Key Key::generate(KeyType type) {
  Key key;
  key.state_ = std::make_shared<State>();
  switch (type) {
    case KeyType::p256: key.state_->key = EVP_PKEY_Q_keygen(nullptr, nullptr, "EC", "P-256"); break;
    case KeyType::p384: key.state_->key = EVP_PKEY_Q_keygen(nullptr, nullptr, "EC", "P-384"); break;
    case KeyType::p224: key.state_->key = EVP_PKEY_Q_keygen(nullptr, nullptr, "EC", "P-224"); break;
    case KeyType::p521: key.state_->key = EVP_PKEY_Q_keygen(nullptr, nullptr, "EC", "P-521"); break;
    case KeyType::ed25519: key.state_->key = EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519"); break;
    case KeyType::rsa8192: key.state_->key = read_key(rsa_8192_key_pem); break;
    case KeyType::rsa4096: key.state_->key = rsa_key(4096); break;
    case KeyType::rsa2048: key.state_->key = rsa_key(2048); break;
    case KeyType::rsa2048_long_exponent: key.state_->key = rsa_key_with_long_exponent(); break;
    case KeyType::rsa1024: key.state_->key = rsa_key(1024); break;
    case KeyType::rsa1023: key.state_->key = rsa_key(1023); break;
    case KeyType::rsa768: key.state_->key = rsa_key(768); break;
    case KeyType::rsa512: key.state_->key = rsa_key(512); break;
  }
  CHECK(key.state_->key != nullptr);
  return key;
}

std::string Key::pem() const {
  BIO* bio = BIO_new(BIO_s_mem());
  CHECK(bio != nullptr);
  CHECK_EQ(PEM_write_bio_PKCS8PrivateKey(bio, state_->key, nullptr, nullptr, 0, nullptr, nullptr),
           1);
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio, &data);
  std::string text(data, static_cast<std::size_t>(size));
  BIO_free(bio);
  return text;
}

Der Key::public_key_info() const { return to_der(i2d_PUBKEY, state_->key); }

Der Key::sign(Bytes data) const {
  EVP_MD_CTX* context = EVP_MD_CTX_new();
  const EVP_MD* hash = EVP_PKEY_is_a(state_->key, "ED25519") == 1 ? nullptr : EVP_sha256();
  CHECK_EQ(EVP_DigestSignInit(context, nullptr, hash, nullptr, state_->key), 1);
  std::size_t size = 0;
  CHECK_EQ(EVP_DigestSign(context, nullptr, &size, data.data(), data.size()), 1);
  Der signature(size);
  CHECK_EQ(EVP_DigestSign(context, signature.data(), &size, data.data(), data.size()), 1);
  signature.resize(size);
  EVP_MD_CTX_free(context);
  return signature;
}

Der Key::signature_algorithm() const {
  if (EVP_PKEY_is_a(state_->key, "RSA") == 1) {
    return element(tag_sequence, {oid("1.2.840.113549.1.1.11"), Der{0x05, 0x00}});
  }
  if (EVP_PKEY_is_a(state_->key, "ED25519") == 1)
    return element(tag_sequence, {oid("1.3.101.112")});
  return element(tag_sequence, {oid("1.2.840.10045.4.3.2")});
}

Key Key::posing_as(const Key& claimed) const {
  std::array<unsigned char, 65> point{};
  std::size_t size = 0;
  CHECK_EQ(EVP_PKEY_get_octet_string_param(claimed.state_->key, OSSL_PKEY_PARAM_PUB_KEY,
                                           point.data(), point.size(), &size),
           1);
  BIGNUM* secret = nullptr;
  CHECK_EQ(EVP_PKEY_get_bn_param(state_->key, OSSL_PKEY_PARAM_PRIV_KEY, &secret), 1);
  OSSL_PARAM_BLD* builder = OSSL_PARAM_BLD_new();
  CHECK_EQ(OSSL_PARAM_BLD_push_utf8_string(builder, OSSL_PKEY_PARAM_GROUP_NAME, "P-256", 0), 1);
  CHECK_EQ(OSSL_PARAM_BLD_push_octet_string(builder, OSSL_PKEY_PARAM_PUB_KEY, point.data(), size),
           1);
  CHECK_EQ(OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_PRIV_KEY, secret), 1);
  OSSL_PARAM* parameters = OSSL_PARAM_BLD_to_param(builder);
  EVP_PKEY_CTX* context = EVP_PKEY_CTX_new_from_name(nullptr, "EC", nullptr);
  CHECK_EQ(EVP_PKEY_fromdata_init(context), 1);
  Key key;
  key.state_ = std::make_shared<State>();
  CHECK_EQ(EVP_PKEY_fromdata(context, &key.state_->key, EVP_PKEY_KEYPAIR, parameters), 1);
  EVP_PKEY_CTX_free(context);
  OSSL_PARAM_free(parameters);
  OSSL_PARAM_BLD_free(builder);
  BN_clear_free(secret);
  return key;
}

void* Key::native() const { return state_->key; }

std::string Certificate::pem() const { return to_pem("CERTIFICATE", der); }

Certificate make_ca(std::string_view common_name, KeyType type) {
  Specification specification;
  specification.subject = name(common_name);
  specification.key_type = type;
  return make_ca(std::move(specification));
}

Certificate make_ca(Specification specification) {
  specification.ca = true;
  if (!specification.key_usage) {
    specification.key_usage = key_usage_certificate_sign | key_usage_crl_sign;
  }
  return self_sign(specification, Key::generate(specification.key_type));
}

Certificate issue(const Certificate& issuer, const Specification& specification) {
  return issue(issuer, specification, Key::generate(specification.key_type));
}

Certificate issue(const Certificate& issuer, const Specification& specification, const Key& key) {
  return write(specification, key, issuer.subject, issuer.key);
}

Certificate self_sign(const Specification& specification, const Key& key) {
  return write(specification, key, specification.subject, key);
}

Certificate issue_client(const Certificate& issuer, std::string_view common_name,
                         const std::vector<std::string>& organizations) {
  Specification specification;
  specification.subject = name(common_name, organizations);
  specification.key_usage = key_usage_digital_signature;
  specification.extended_usages = {std::string(usage_client_auth)};
  return issue(issuer, specification);
}

Certificate issue_server(const Certificate& issuer, const std::vector<std::string>& names,
                         KeyType type) {
  CHECK(!names.empty());
  Specification specification;
  specification.subject = name(names.front());
  specification.key_type = type;
  specification.key_usage = key_usage_digital_signature;
  specification.extended_usages = {std::string(usage_server_auth)};
  for (const std::string& one : names) {
    std::array<std::uint8_t, 16> bytes{};
    const bool is_address = inet_pton(AF_INET, one.c_str(), bytes.data()) == 1 ||
                            inet_pton(AF_INET6, one.c_str(), bytes.data()) == 1;
    (is_address ? specification.addresses : specification.dns_names).push_back(one);
  }
  return issue(issuer, specification);
}

Certificate clone_with_other_key(const Certificate& original, const Key& other) {
  const Der from = original.key.public_key_info();
  const Der to = other.public_key_info();
  CHECK_EQ(from.size(), to.size());  // lengths around it stay right
  Certificate clone = original;
  const auto place = std::search(clone.der.begin(), clone.der.end(), from.begin(), from.end());
  CHECK(place != clone.der.end());
  std::copy(to.begin(), to.end(), place);
  clone.key = other;
  return clone;
}

std::string pem_chain(const std::vector<const Certificate*>& certificates) {
  std::string text;
  for (const Certificate* certificate : certificates) text += certificate->pem();
  return text;
}

std::string to_pem(std::string_view label, Bytes der) {
  BIO* bio = BIO_new(BIO_s_mem());
  CHECK(bio != nullptr);
  CHECK_GT(
      PEM_write_bio(bio, std::string(label).c_str(), "", der.data(), static_cast<long>(der.size())),
      0);
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio, &data);
  std::string text(data, static_cast<std::size_t>(size));
  BIO_free(bio);
  return text;
}

std::vector<Der> from_pem(std::string_view pem) {
  std::vector<Der> list;
  BIO* bio = BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size()));
  CHECK(bio != nullptr);
  char* label = nullptr;
  char* header = nullptr;
  unsigned char* data = nullptr;
  long size = 0;
  while (PEM_read_bio(bio, &label, &header, &data, &size) == 1) {
    list.emplace_back(data, data + size);
    OPENSSL_free(label);
    OPENSSL_free(header);
    OPENSSL_free(data);
  }
  BIO_free(bio);
  return list;
}

}  // namespace sluice::test
