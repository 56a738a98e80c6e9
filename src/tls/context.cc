// SPDX-License-Identifier: GPL-3.0-or-later
// Contexts: what both roles share (versions, suites, groups, callbacks), then each role's own.
#include "sluice/tls/context.h"

#include <fmt/format.h>

#include <algorithm>

#include "clock.h"
#include "context_state.h"
#include "sluice/base/check.h"
#include "sluice/x509/alternative_names.h"
#include "sluice/x509/certificate_facts.h"

namespace sluice::tls {

namespace {

// TLS 1.3, then ECDHE with AEAD of TLS 1.2; the cheapest first, as all are strong enough.
constexpr const char* cipher_suites =
    "TLS13-AES128-GCM-SHA256:TLS13-AES256-GCM-SHA384:TLS13-CHACHA20-POLY1305-SHA256:"
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:"
    "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:"
    "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305";

constexpr int groups[] = {WOLFSSL_X25519MLKEM768, WOLFSSL_ECC_X25519, WOLFSSL_ECC_SECP256R1,
                          WOLFSSL_ECC_SECP384R1};

constexpr short rsa_key_bits_min = 2048;
constexpr short ecc_key_bits_min = 256;

// Of the names in a request for a certificate, which is one record.
constexpr std::size_t authorities_bytes_max = 8 * 1024;

std::unexpected<Error> invalid(std::string context) {
  return fail(ErrorKind::invalid_argument, std::move(context));
}

// Nothing works before the self-test has passed, whoever forgot to call it.
Result<WOLFSSL_CTX*> new_context(WOLFSSL_METHOD* (*method)()) {
  if (auto started = initialize(); !started) return std::unexpected(started.error());
  WOLFSSL_CTX* context = wolfSSL_CTX_new(method());
  if (context == nullptr) return fail(ErrorKind::tls, "wolfSSL gives no context");
  return context;
}

Result<void> set_up(WOLFSSL_CTX* context, Version version_min) {
  std::vector<int> group_list(std::begin(groups), std::end(groups));
  const int version = version_min == Version::tls1_3 ? WOLFSSL_TLSV1_3 : WOLFSSL_TLSV1_2;
  bool good = wolfSSL_CTX_SetMinVersion(context, version) == WOLFSSL_SUCCESS &&
              wolfSSL_CTX_set_cipher_list(context, cipher_suites) == WOLFSSL_SUCCESS &&
              wolfSSL_CTX_set_groups(context, group_list.data(),
                                     static_cast<int>(group_list.size())) == WOLFSSL_SUCCESS &&
              wolfSSL_CTX_SetMinRsaKey_Sz(context, rsa_key_bits_min) == WOLFSSL_SUCCESS &&
              wolfSSL_CTX_SetMinEccKey_Sz(context, ecc_key_bits_min) == WOLFSSL_SUCCESS;
  for (const int group : groups) {
    good = good &&
           wolfSSL_CTX_UseSupportedCurve(context, static_cast<word16>(group)) == WOLFSSL_SUCCESS;
  }
  if (!good)
    return fail(ErrorKind::tls, "wolfSSL was built without what TLS 1.2 and 1.3 need here");
  wolfSSL_CTX_SetIORecv(context, EngineCallbacks::receive);
  wolfSSL_CTX_SetIOSend(context, EngineCallbacks::send);
  return {};
}

Result<void> load_key_pair(WOLFSSL_CTX* context, const std::string& chain_pem,
                           const Secret& key_pem) {
  // Our own reading first: it can say what is wrong.
  if (auto read = read_certificates(chain_pem); !read) return std::unexpected(read.error());
  const int chain = wolfSSL_CTX_use_certificate_chain_buffer(context, as_bytes(chain_pem).data(),
                                                             static_cast<long>(chain_pem.size()));
  if (chain != WOLFSSL_SUCCESS) {
    return invalid(fmt::format("the certificate cannot be used: {}", library_error(chain)));
  }
  // The library overwrites its copies of the key itself.
  const std::string& text = key_pem.text();
  const int key = wolfSSL_CTX_use_PrivateKey_buffer(
      context, as_bytes(text).data(), static_cast<long>(text.size()), WOLFSSL_FILETYPE_PEM);
  if (key != WOLFSSL_SUCCESS) return invalid("the private key is not an unencrypted PEM key");
  if (wolfSSL_CTX_check_private_key(context) != WOLFSSL_SUCCESS) {
    return invalid("the private key does not belong to the certificate");
  }
  return {};
}

Result<void> check_alpn(const std::vector<std::string>& protocols) {
  for (const std::string& protocol : protocols) {
    if (protocol.empty() || protocol.size() > 32 || protocol.contains(',')) {
      return invalid("an ALPN protocol name must have 1 to 32 characters and no comma");
    }
  }
  return {};
}

}  // namespace

ServerContext::ServerContext(std::unique_ptr<State> state) : state_(std::move(state)) {}
ServerContext::~ServerContext() = default;

Result<std::shared_ptr<const ServerContext>> ServerContext::create(const ServerOptions& options) {
  auto state = std::make_unique<State>();
  const auto created = new_context(wolfTLS_server_method);
  if (!created) return std::unexpected(created.error());
  WOLFSSL_CTX* context = state->library.handle = *created;
  if (auto good = set_up(context, options.version_min); !good) {
    return std::unexpected(good.error());
  }
  if (auto good = check_alpn(options.alpn); !good) return std::unexpected(good.error());
  if (auto good = load_key_pair(context, options.certificate_chain_pem, options.private_key_pem);
      !good) {
    return std::unexpected(good.error());
  }
  state->alpn = options.alpn;
  state->strict = options.client_certificate_strict;
  if (options.client_ca_pem.empty()) {
    wolfSSL_CTX_set_verify(context, WOLFSSL_VERIFY_NONE, nullptr);
  } else {
    auto trust = Trust::create(options.client_ca_pem);
    if (!trust) return std::unexpected(trust.error());
    state->trust = std::move(*trust);
    state->authorities = state->trust->names(authorities_bytes_max);
    // Requested, not required. The verdict is Trust's; the library's own store stays empty.
    wolfSSL_CTX_set_verify(context, WOLFSSL_VERIFY_PEER, nullptr);
  }
  return std::shared_ptr<const ServerContext>(new ServerContext(std::move(state)));
}

ClientContext::ClientContext(std::unique_ptr<State> state) : state_(std::move(state)) {}
ClientContext::~ClientContext() = default;

Result<std::shared_ptr<const ClientContext>> ClientContext::create(const ClientOptions& options) {
  auto state = std::make_unique<State>();
  const auto created = new_context(wolfTLS_client_method);
  if (!created) return std::unexpected(created.error());
  WOLFSSL_CTX* context = state->library.handle = *created;
  if (auto good = set_up(context, Version::tls1_2); !good) return std::unexpected(good.error());
  if (auto good = check_alpn(options.alpn); !good) return std::unexpected(good.error());
  auto trust = Trust::create(options.ca_pem);
  if (!trust) return std::unexpected(trust.error());
  state->trust = std::move(*trust);
  wolfSSL_CTX_set_verify(context, WOLFSSL_VERIFY_PEER, nullptr);
  if (!options.certificate_chain_pem.empty() || !options.private_key_pem.empty()) {
    if (auto good = load_key_pair(context, options.certificate_chain_pem, options.private_key_pem);
        !good) {
      return std::unexpected(good.error());
    }
  }
  state->alpn = options.alpn;
  // Takes a batch of records in one callback; holds 17 KB per connection, which few backends' are
  // worth.
  wolfSSL_CTX_set_read_ahead(context, 1);
  return std::shared_ptr<const ClientContext>(new ClientContext(std::move(state)));
}

Result<CertificateSummary> read_certificates(std::string_view pem) {
  auto certificates = certificates_of_pem(pem);
  if (!certificates) return std::unexpected(certificates.error());
  for (const Der& der : *certificates) {
    if (auto facts = x509::read_certificate_facts(der); !facts)
      return std::unexpected(facts.error());
  }
  const auto leaf = x509::read_certificate_facts(certificates->front());
  return CertificateSummary{std::move(*certificates), leaf->not_before, leaf->not_after};
}

bool names_server(std::string_view pem, std::string_view name) {
  const auto certificates = certificates_of_pem(pem);
  if (!certificates) return false;
  const auto leaf = x509::read_certificate_facts(certificates->front());
  return leaf && x509::names_server(*leaf, name);
}

Result<std::vector<std::vector<std::uint8_t>>> certificates_in(std::string_view pem) {
  return certificates_of_pem(pem);
}

Result<void> verify_chain(const std::vector<std::vector<std::uint8_t>>& chain_der,
                          std::string_view ca_pem, WallTime now) {
  const auto trust = Trust::create(ca_pem);
  if (!trust) return std::unexpected(trust.error());
  const std::vector<Bytes> chain(chain_der.begin(), chain_der.end());
  const auto verified = trust->verify(chain, Trust::Purpose::client, now);
  if (!verified) return fail(ErrorKind::tls, verified.error().why);
  return {};
}

std::vector<std::string> authority_remarks(std::string_view ca_pem) {
  const auto trust = Trust::create(ca_pem);
  if (!trust) return {trust.error().context};
  std::vector<std::string> remarks = trust->remarks();
  if (trust->names(authorities_bytes_max).empty()) {
    remarks.push_back(
        "the names of its certificates take more than 8 KB, so that clients are not told which "
        "certificates are welcome");
  }
  return remarks;
}

}  // namespace sluice::tls
