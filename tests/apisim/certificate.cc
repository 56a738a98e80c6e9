// SPDX-License-Identifier: GPL-3.0-or-later
// X.509 by libcrypto.
#include "certificate.h"

#include <fmt/format.h>
#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/objects.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>

#include <array>

namespace sluice::apisim {

namespace {

template <auto Free>
struct Freer {
  template <class T>
  void operator()(T* object) const {
    Free(object);
  }
};
using Certificate = std::unique_ptr<X509, Freer<X509_free>>;
using Memory = std::unique_ptr<BIO, Freer<BIO_free>>;

void free_stack(STACK_OF(X509) * stack) { sk_X509_pop_free(stack, X509_free); }

Certificate parse_der(const std::vector<std::uint8_t>& der) {
  const unsigned char* cursor = der.data();
  Certificate certificate(d2i_X509(nullptr, &cursor, static_cast<long>(der.size())));
  if (certificate && cursor != der.data() + der.size()) certificate.reset();
  return certificate;
}

std::string text_of(const X509_NAME_ENTRY* entry) {
  unsigned char* utf8 = nullptr;
  const int size = ASN1_STRING_to_UTF8(&utf8, X509_NAME_ENTRY_get_data(entry));
  if (size < 0) return {};
  std::string text(reinterpret_cast<const char*>(utf8), static_cast<std::size_t>(size));
  OPENSSL_free(utf8);
  return text;
}

std::unexpected<Error> bad(std::string why) {
  return fail(ErrorKind::tls, std::move(why), Side::client);
}

}  // namespace

Result<CertificateFacts> read_certificate(const std::vector<std::uint8_t>& der) {
  const Certificate certificate = parse_der(der);
  if (!certificate) return bad("the certificate cannot be parsed");
  CertificateFacts facts;
  const X509_NAME* subject = X509_get_subject_name(certificate.get());
  for (int i = 0; i < X509_NAME_entry_count(subject); ++i) {
    const X509_NAME_ENTRY* entry = X509_NAME_get_entry(subject, i);
    const ASN1_OBJECT* type = X509_NAME_ENTRY_get_object(entry);
    const int nid = OBJ_obj2nid(type);
    std::array<char, 64> oid{};
    OBJ_obj2txt(oid.data(), static_cast<int>(oid.size()), type, 1);
    if (nid == NID_commonName) {
      facts.common_name = text_of(entry);
    } else if (nid == NID_organizationName) {
      facts.organizations.push_back(text_of(entry));
    } else if (std::string_view(oid.data()) == "1.3.6.1.4.1.57683.2") {
      facts.uids.push_back(text_of(entry));
    }
  }
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned int digest_size = 0;
  if (EVP_Digest(der.data(), der.size(), digest.data(), &digest_size, EVP_sha256(), nullptr) != 1) {
    return bad("no digest of the certificate");
  }
  facts.credential_id = "X509SHA256=";
  for (unsigned int i = 0; i < digest_size; ++i) {
    facts.credential_id += fmt::format("{:02x}", digest[i]);
  }
  std::tm end{};
  if (ASN1_TIME_to_tm(X509_get0_notAfter(certificate.get()), &end) != 1) {
    return bad("the certificate has no readable end");
  }
  facts.not_after = WallTime(std::chrono::seconds(timegm(&end)));
  return facts;
}

Result<CertificatePool> CertificatePool::parse(std::string_view pem) {
  CertificatePool pool;
  pool.store_ = std::shared_ptr<X509_STORE>(X509_STORE_new(), X509_STORE_free);
  const Memory memory(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
  int count = 0;
  while (true) {
    const Certificate certificate(PEM_read_bio_X509(memory.get(), nullptr, nullptr, nullptr));
    if (!certificate) break;
    X509_STORE_add_cert(pool.store_.get(), certificate.get());
    ++count;
  }
  if (count == 0) return fail(ErrorKind::invalid_argument, "the CA file has no certificate");
  return pool;
}

Result<void> CertificatePool::verify(const DerChain& chain, WallTime now) const {
  if (chain.empty()) return bad("no certificate");
  const Certificate leaf = parse_der(chain.front());
  if (!leaf) return bad("the certificate cannot be parsed");
  const std::unique_ptr<STACK_OF(X509), Freer<free_stack>> others(sk_X509_new_null());
  for (std::size_t i = 1; i < chain.size(); ++i) {
    if (Certificate other = parse_der(chain[i])) sk_X509_push(others.get(), other.release());
  }
  const std::unique_ptr<X509_STORE_CTX, Freer<X509_STORE_CTX_free>> context(X509_STORE_CTX_new());
  if (X509_STORE_CTX_init(context.get(), store_.get(), leaf.get(), others.get()) != 1) {
    return bad("no verification");
  }
  X509_VERIFY_PARAM* parameters = X509_STORE_CTX_get0_param(context.get());
  X509_VERIFY_PARAM_set_purpose(parameters, X509_PURPOSE_SSL_CLIENT);
  X509_VERIFY_PARAM_set_time(parameters, static_cast<time_t>(now.time_since_epoch().count()));
  // Go trusts whatever is in the bundle, self-signed or not.
  X509_VERIFY_PARAM_set_flags(parameters, X509_V_FLAG_PARTIAL_CHAIN);
  if (X509_verify_cert(context.get()) != 1) {
    return bad(X509_verify_cert_error_string(X509_STORE_CTX_get_error(context.get())));
  }
  return {};
}

}  // namespace sluice::apisim
