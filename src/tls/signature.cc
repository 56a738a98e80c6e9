// SPDX-License-Identifier: GPL-3.0-or-later
// RSA, ECDSA and Ed25519: what is signed is checked byte by byte, the arithmetic is the library's.
#include "signature.h"

#include <algorithm>
#include <array>
#include <vector>

#include "library.h"
#include "sluice/x509/der_reader.h"

namespace sluice::tls {

namespace {

using x509::CertificateFacts;
using x509::HashKind;
using x509::KeyKind;
using x509::PublicKey;
using x509::SignatureKind;

struct Digest {
  std::array<std::uint8_t, WC_MAX_DIGEST_SIZE> bytes{};
  std::size_t size = 0;
  Bytes view() const { return Bytes(bytes).first(size); }
};

struct Hash {
  enum wc_HashType type;
  std::size_t size;
  int mask;           // MGF1 with it
  std::uint8_t name;  // last byte of its object identifier
};

Hash hash_of(HashKind kind) {
  switch (kind) {
    case HashKind::sha384: return {WC_HASH_TYPE_SHA384, 48, WC_MGF1SHA384, 2};
    case HashKind::sha512: return {WC_HASH_TYPE_SHA512, 64, WC_MGF1SHA512, 3};
    case HashKind::none:
    case HashKind::sha256: break;
  }
  return {WC_HASH_TYPE_SHA256, 32, WC_MGF1SHA256, 1};
}

bool digest_of(Bytes data, const Hash& hash, Digest& digest) {
  digest.size = hash.size;
  return wc_Hash(hash.type, data.data(), static_cast<word32>(data.size()), digest.bytes.data(),
                 static_cast<word32>(hash.size)) == 0;
}

// --- RSA (RFC 8017) ----------------------------------------------------------------------------

class RsaVerifier {
 public:
  RsaVerifier() { ready_ = wc_InitRsaKey(&key_, nullptr) == 0; }
  ~RsaVerifier() { wc_FreeRsaKey(&key_); }
  RsaVerifier(const RsaVerifier&) = delete;
  RsaVerifier& operator=(const RsaVerifier&) = delete;

  bool set(const PublicKey& key) {
    return ready_ && wc_RsaPublicKeyDecodeRaw(
                         key.modulus.data(), static_cast<word32>(key.modulus.size()),
                         key.exponent.data(), static_cast<word32>(key.exponent.size()), &key_) == 0;
  }

  // Section 8.2.2: what was signed is exactly the DigestInfo of the hash, with its NULL.
  bool verify_pkcs1(Bytes signature, const Hash& hash, const Digest& digest) {
    const std::uint8_t size = static_cast<std::uint8_t>(hash.size);
    std::vector<std::uint8_t> expected = {0x30,      static_cast<std::uint8_t>(size + 17),
                                          0x30,      0x0d,
                                          0x06,      0x09,
                                          0x60,      0x86,
                                          0x48,      0x01,
                                          0x65,      0x03,
                                          0x04,      0x02,
                                          hash.name, 0x05,
                                          0x00,      0x04,
                                          size};
    expected.insert(expected.end(), digest.bytes.begin(),
                    digest.bytes.begin() + static_cast<std::ptrdiff_t>(digest.size));
    std::vector<std::uint8_t> signed_info(signature.size());
    const int length =
        wc_RsaSSL_Verify(signature.data(), static_cast<word32>(signature.size()),
                         signed_info.data(), static_cast<word32>(signed_info.size()), &key_);
    return length == static_cast<int>(expected.size()) &&
           std::equal(expected.begin(), expected.end(), signed_info.begin());
  }

  // Section 9.1.2, with a salt that is as long as the hash. A key that has no room for both cannot
  // have signed so.
  bool verify_pss(Bytes signature, const Hash& hash, const Digest& digest, std::size_t bits) {
    if ((bits - 1 + 7) / 8 < 2 * hash.size + 2) return false;
    const int salt = static_cast<int>(hash.size);
    std::vector<std::uint8_t> padded(signature.size());
    const int length =
        wc_RsaPSS_Verify_ex(signature.data(), static_cast<word32>(signature.size()), padded.data(),
                            static_cast<word32>(padded.size()), hash.type, hash.mask, salt, &key_);
    return length > 0 &&
           wc_RsaPSS_CheckPadding_ex(digest.bytes.data(), static_cast<word32>(digest.size),
                                     padded.data(), static_cast<word32>(length), hash.type, salt,
                                     static_cast<int>(bits)) == 0;
  }

 private:
  RsaKey key_{};
  bool ready_ = false;
};

bool verify_rsa(const CertificateFacts& certificate, const PublicKey& signer, const Hash& hash,
                const Digest& digest) {
  if (certificate.signature.size() != signer.modulus.size()) return false;
  RsaVerifier verifier;
  if (!verifier.set(signer)) return false;
  return certificate.signature_kind == SignatureKind::rsa_pss
             ? verifier.verify_pss(certificate.signature, hash, digest, signer.bits)
             : verifier.verify_pkcs1(certificate.signature, hash, digest);
}

// --- Elliptic curves ---------------------------------------------------------------------------

class EcKey {
 public:
  EcKey() { ready_ = wc_ecc_init(&key_) == 0; }
  ~EcKey() { wc_ecc_free(&key_); }
  EcKey(const EcKey&) = delete;
  EcKey& operator=(const EcKey&) = delete;

  bool set(const PublicKey& key) {
    const int curve = key.kind == KeyKind::p224   ? ECC_SECP224R1
                      : key.kind == KeyKind::p256 ? ECC_SECP256R1
                      : key.kind == KeyKind::p384 ? ECC_SECP384R1
                                                  : ECC_SECP521R1;
    constexpr int untrusted = 1;  // the point is checked
    return ready_ && wc_ecc_import_x963_ex2(key.point.data(), static_cast<word32>(key.point.size()),
                                            &key_, curve, untrusted) == 0;
  }

  bool verify(Bytes signature, const Digest& digest) {
    int good = 0;
    return wc_ecc_verify_hash(signature.data(), static_cast<word32>(signature.size()),
                              digest.bytes.data(), static_cast<word32>(digest.size), &good,
                              &key_) == 0 &&
           good == 1;
  }

 private:
  ecc_key key_{};
  bool ready_ = false;
};

// Two positive integers in their shortest form and nothing else: no two encodings of one signature.
bool is_ecdsa_signature(Bytes der) {
  x509::DerReader outer(der);
  x509::DerReader numbers(outer.expect(x509::tag::sequence).content);
  numbers.unsigned_integer();
  numbers.unsigned_integer();
  return outer.done() && numbers.done();
}

bool verify_ed25519(const CertificateFacts& certificate, const PublicKey& signer) {
  if (certificate.signature.size() != ED25519_SIG_SIZE) return false;
  ed25519_key key;
  if (wc_ed25519_init(&key) != 0) return false;
  int good = 0;
  const bool done =
      wc_ed25519_import_public(signer.point.data(), static_cast<word32>(signer.point.size()),
                               &key) == 0 &&
      wc_ed25519_verify_msg(certificate.signature.data(),
                            static_cast<word32>(certificate.signature.size()),
                            certificate.signed_part.data(),
                            static_cast<word32>(certificate.signed_part.size()), &good, &key) == 0;
  wc_ed25519_free(&key);
  return done && good == 1;
}

bool is_curve(KeyKind kind) {
  return kind == KeyKind::p224 || kind == KeyKind::p256 || kind == KeyKind::p384 ||
         kind == KeyKind::p521;
}

}  // namespace

bool is_on_curve(const PublicKey& key) { return !is_curve(key.kind) || EcKey().set(key); }

bool is_signed_by(const CertificateFacts& certificate, const PublicKey& signer) {
  if (!weakness(signer).empty() || !limitation(signer).empty()) return false;
  switch (certificate.signature_kind) {
    case SignatureKind::other: return false;
    case SignatureKind::ed25519:
      return signer.kind == KeyKind::ed25519 && verify_ed25519(certificate, signer);
    case SignatureKind::ecdsa:
      if (!is_curve(signer.kind) || !is_ecdsa_signature(certificate.signature)) return false;
      break;
    case SignatureKind::rsa_pkcs1:
    case SignatureKind::rsa_pss:
      if (signer.kind != KeyKind::rsa) return false;
      break;
  }
  const Hash hash = hash_of(certificate.hash);
  Digest digest;
  if (!digest_of(certificate.signed_part, hash, digest)) return false;
  if (signer.kind == KeyKind::rsa) return verify_rsa(certificate, signer, hash, digest);
  EcKey key;
  return key.set(signer) && key.verify(certificate.signature, digest);
}

}  // namespace sluice::tls
