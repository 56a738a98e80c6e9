// SPDX-License-Identifier: GPL-3.0-or-later
// A TLS peer on memory buffers of OpenSSL.
#include "foreign_peer.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include "sluice/base/check.h"

// The library's interface is macros with casts.
#pragma GCC diagnostic ignored "-Wold-style-cast"
#pragma GCC diagnostic ignored "-Wcast-qual"

namespace sluice::tls::testing {

struct ForeignPeer::State {
  SSL_CTX* context = nullptr;
  SSL* ssl = nullptr;
  bool failed = false;
  bool closed = false;
  int tickets = 0;
  std::string received;
  std::string alert;
  std::vector<unsigned char> alpn;
  std::vector<std::uint8_t> traffic_secret;  // the client's, of TLS 1.3

  std::vector<std::uint8_t> output() {
    std::vector<std::uint8_t> bytes(BIO_ctrl_pending(SSL_get_wbio(ssl)));
    if (!bytes.empty()) {
      const int size = BIO_read(SSL_get_wbio(ssl), bytes.data(), static_cast<int>(bytes.size()));
      CHECK_EQ(static_cast<std::size_t>(size), bytes.size());
    }
    return bytes;
  }
};

namespace {

X509* to_x509(const test::Der& der) {
  const unsigned char* cursor = der.data();
  X509* certificate = d2i_X509(nullptr, &cursor, static_cast<long>(der.size()));
  CHECK(certificate != nullptr);
  return certificate;
}

void on_info(const SSL* ssl, int where, int value) {
  if ((where & SSL_CB_ALERT) == 0 || (where & SSL_CB_READ) == 0) return;
  auto* state = static_cast<std::string*>(SSL_get_ex_data(ssl, 0));
  *state = SSL_alert_desc_string_long(value);
}

}  // namespace

ForeignPeer::ForeignPeer(const Options& options) : state_(std::make_unique<State>()) {
  State& state = *state_;
  state.context = SSL_CTX_new(options.server ? TLS_server_method() : TLS_client_method());
  CHECK(state.context != nullptr);
  SSL_CTX_set_min_proto_version(state.context, options.version_min);
  SSL_CTX_set_max_proto_version(state.context, options.version_max);
  SSL_CTX_set_session_cache_mode(state.context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
  if (options.weak) SSL_CTX_set_security_level(state.context, 0);
  if (!options.groups.empty())
    CHECK_EQ(SSL_CTX_set1_groups_list(state.context, options.groups.c_str()), 1);
  if (!options.ciphers.empty())
    CHECK_EQ(SSL_CTX_set_cipher_list(state.context, options.ciphers.c_str()), 1);
  if (!options.ca_pem.empty()) {
    X509_STORE* store = SSL_CTX_get_cert_store(state.context);
    for (const test::Der& der : test::from_pem(options.ca_pem)) {
      X509* certificate = to_x509(der);
      X509_STORE_add_cert(store, certificate);
      X509_free(certificate);
    }
    X509_VERIFY_PARAM_set_time(SSL_CTX_get0_param(state.context), 1767225600);
    SSL_CTX_set_verify(state.context, SSL_VERIFY_PEER, nullptr);
  }
  state.ssl = SSL_new(state.context);
  // As old clients did it, whatever the server says of it.
  SSL_set_options(state.ssl,
                  SSL_OP_LEGACY_SERVER_CONNECT | SSL_OP_ALLOW_UNSAFE_LEGACY_RENEGOTIATION);
  if (!options.chain.empty()) {
    X509* leaf = to_x509(options.chain[0].der);
    CHECK_EQ(SSL_use_certificate(state.ssl, leaf), 1);
    X509_free(leaf);
    CHECK_EQ(SSL_use_PrivateKey(state.ssl, static_cast<EVP_PKEY*>(options.chain[0].key.native())),
             1);
    for (std::size_t i = 1; i < options.chain.size(); ++i) {
      CHECK_EQ(SSL_add0_chain_cert(state.ssl, to_x509(options.chain[i].der)), 1);
    }
  }
  for (const std::string& protocol : options.alpn) {
    state.alpn.push_back(static_cast<unsigned char>(protocol.size()));
    state.alpn.insert(state.alpn.end(), protocol.begin(), protocol.end());
  }
  if (!state.alpn.empty() && !options.server) {
    CHECK_EQ(
        SSL_set_alpn_protos(state.ssl, state.alpn.data(), static_cast<unsigned>(state.alpn.size())),
        0);
  }
  if (!state.alpn.empty() && options.server) {
    SSL_CTX_set_alpn_select_cb(
        state.context,
        [](SSL*, const unsigned char** out, unsigned char* size, const unsigned char* in,
           unsigned in_size, void* argument) {
          auto* ours = static_cast<std::vector<unsigned char>*>(argument);
          unsigned char* chosen = nullptr;
          const int result = SSL_select_next_proto(
              &chosen, size, ours->data(), static_cast<unsigned>(ours->size()), in, in_size);
          *out = chosen;
          return result == OPENSSL_NPN_NEGOTIATED ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_NOACK;
        },
        &state.alpn);
  }
  if (!options.server_name.empty())
    SSL_set_tlsext_host_name(state.ssl, options.server_name.c_str());
  if (options.session != nullptr) {
    CHECK_EQ(SSL_set_session(state.ssl, static_cast<SSL_SESSION*>(options.session)), 1);
  }
  SSL_CTX_set_app_data(state.context, &state);
  SSL_CTX_set_keylog_callback(state.context, [](const SSL* ssl, const char* line) {
    const std::string_view text = line;
    if (!text.starts_with("CLIENT_TRAFFIC_SECRET_0 ")) return;
    auto& secret = static_cast<State*>(SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl)))->traffic_secret;
    const std::string hex(text.substr(text.rfind(' ') + 1));
    secret.clear();
    for (std::size_t i = 0; i + 1 < hex.size(); i += 2) {
      secret.push_back(static_cast<std::uint8_t>(std::stoi(hex.substr(i, 2), nullptr, 16)));
    }
  });
  SSL_CTX_sess_set_new_cb(state.context, [](SSL* ssl, SSL_SESSION*) {
    ++static_cast<State*>(SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl)))->tickets;
    return 0;
  });
  SSL_set_ex_data(state.ssl, 0, &state.alert);
  SSL_set_info_callback(state.ssl, on_info);
  SSL_set_bio(state.ssl, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
  if (options.server) {
    SSL_set_accept_state(state.ssl);
  } else {
    SSL_set_connect_state(state.ssl);
  }
}

// RFC 8446 sections 5.2, 5.3 and 7.1.
std::vector<std::uint8_t> ForeignPeer::handshake_record(Bytes messages) const {
  const SSL_CIPHER* suite = SSL_get_current_cipher(state_->ssl);
  const EVP_MD* hash = SSL_CIPHER_get_handshake_digest(suite);
  const bool long_key = std::string_view(SSL_CIPHER_get_name(suite)).contains("AES_256");
  const std::vector<std::uint8_t>& secret = state_->traffic_secret;
  const auto expand = [&](std::string_view label, std::size_t size) {
    std::vector<std::uint8_t> info{0, static_cast<std::uint8_t>(size),
                                   static_cast<std::uint8_t>(6 + label.size())};
    for (const char c : "tls13 " + std::string(label)) info.push_back(static_cast<std::uint8_t>(c));
    info.push_back(0);
    info.push_back(1);  // HKDF-Expand's first block is enough
    std::vector<std::uint8_t> out(EVP_MAX_MD_SIZE);
    unsigned bytes = 0;
    CHECK(HMAC(hash, secret.data(), static_cast<int>(secret.size()), info.data(), info.size(),
               out.data(), &bytes) != nullptr);
    CHECK_GE(std::size_t{bytes}, size);
    out.resize(size);
    return out;
  };
  const std::vector<std::uint8_t> key = expand("key", long_key ? 32 : 16);
  const std::vector<std::uint8_t> nonce = expand("iv", 12);  // of record 0
  std::vector<std::uint8_t> plain(messages.begin(), messages.end());
  plain.push_back(22);
  constexpr std::size_t tag_bytes = 16;
  const std::size_t size = plain.size() + tag_bytes;
  std::vector<std::uint8_t> record{23, 3, 3, static_cast<std::uint8_t>(size >> 8),
                                   static_cast<std::uint8_t>(size)};
  EVP_CIPHER_CTX* context = EVP_CIPHER_CTX_new();
  CHECK_EQ(EVP_EncryptInit_ex(context, long_key ? EVP_aes_256_gcm() : EVP_aes_128_gcm(), nullptr,
                              key.data(), nonce.data()),
           1);
  int written = 0;
  CHECK_EQ(EVP_EncryptUpdate(context, nullptr, &written, record.data(), 5), 1);
  const std::size_t header = record.size();
  record.resize(header + size);
  CHECK_EQ(EVP_EncryptUpdate(context, record.data() + header, &written, plain.data(),
                             static_cast<int>(plain.size())),
           1);
  CHECK_EQ(EVP_EncryptFinal_ex(context, record.data() + header + written, &written), 1);
  CHECK_EQ(EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_GCM_GET_TAG, tag_bytes,
                               record.data() + header + plain.size()),
           1);
  EVP_CIPHER_CTX_free(context);
  return record;
}

ForeignPeer::~ForeignPeer() {
  SSL_free(state_->ssl);
  SSL_CTX_free(state_->context);
}

std::vector<std::uint8_t> ForeignPeer::step(Bytes input) {
  State& state = *state_;
  if (!input.empty())
    BIO_write(SSL_get_rbio(state.ssl), input.data(), static_cast<int>(input.size()));
  ERR_clear_error();
  char buffer[16384];
  // Reads also complete the handshake.
  for (;;) {
    const int size = SSL_read(state.ssl, buffer, sizeof(buffer));
    if (size > 0) {
      state.received.append(buffer, static_cast<std::size_t>(size));
      continue;
    }
    const int code = SSL_get_error(state.ssl, size);
    if (code == SSL_ERROR_ZERO_RETURN) state.closed = true;
    if (code == SSL_ERROR_SSL || code == SSL_ERROR_SYSCALL) state.failed = true;
    break;
  }
  return state.output();
}

bool ForeignPeer::established() const {
  return SSL_is_init_finished(state_->ssl) == 1 && !state_->failed;
}
bool ForeignPeer::failed() const { return state_->failed; }
const std::string& ForeignPeer::received() const { return state_->received; }
bool ForeignPeer::close_notify_received() const { return state_->closed; }

std::vector<std::uint8_t> ForeignPeer::send(std::string_view plain) {
  std::size_t written = 0;
  CHECK_EQ(SSL_write_ex(state_->ssl, plain.data(), plain.size(), &written), 1);
  CHECK_EQ(written, plain.size());
  return state_->output();
}

std::vector<std::uint8_t> ForeignPeer::key_update(bool request_answer) {
  CHECK_EQ(SSL_key_update(state_->ssl,
                          request_answer ? SSL_KEY_UPDATE_REQUESTED : SSL_KEY_UPDATE_NOT_REQUESTED),
           1);
  CHECK_EQ(SSL_do_handshake(state_->ssl), 1);
  return state_->output();
}

std::vector<std::uint8_t> ForeignPeer::renegotiate() {
  CHECK_EQ(SSL_renegotiate(state_->ssl), 1);
  SSL_do_handshake(state_->ssl);
  return state_->output();
}

int ForeignPeer::tickets() const { return state_->tickets; }
bool ForeignPeer::resumed() const { return SSL_session_reused(state_->ssl) == 1; }
void* ForeignPeer::session() const { return SSL_get1_session(state_->ssl); }
bool ForeignPeer::session_resumable() const {
  SSL_SESSION* session = SSL_get0_session(state_->ssl);
  return session != nullptr && SSL_SESSION_is_resumable(session) == 1;
}

std::string ForeignPeer::alpn() const {
  const unsigned char* data = nullptr;
  unsigned size = 0;
  SSL_get0_alpn_selected(state_->ssl, &data, &size);
  return {reinterpret_cast<const char*>(data), size};
}

std::string ForeignPeer::version() const { return SSL_get_version(state_->ssl); }
std::string ForeignPeer::group() const {
  const int nid = static_cast<int>(SSL_get_negotiated_group(state_->ssl));
  const char* name = SSL_group_to_name(state_->ssl, nid);
  return name == nullptr ? "" : name;
}
std::string ForeignPeer::alert() const { return state_->alert; }
std::vector<test::Der> ForeignPeer::requested_authorities() const {
  std::vector<test::Der> names;
  const STACK_OF(X509_NAME)* list = SSL_get0_peer_CA_list(state_->ssl);
  for (int i = 0; i < sk_X509_NAME_num(list); ++i) {
    const unsigned char* der = nullptr;
    std::size_t size = 0;
    CHECK_EQ(X509_NAME_get0_der(sk_X509_NAME_value(list, i), &der, &size), 1);
    names.emplace_back(der, der + size);
  }
  return names;
}
void ForeignPeer::free_session(void* session) {
  SSL_SESSION_free(static_cast<SSL_SESSION*>(session));
}

bool ForeignPeer::can_present(const test::Certificate& certificate) {
  const unsigned char* cursor = certificate.der.data();
  X509* parsed = d2i_X509(nullptr, &cursor, static_cast<long>(certificate.der.size()));
  if (parsed == nullptr) return false;
  const bool fits =
      X509_check_private_key(parsed, static_cast<EVP_PKEY*>(certificate.key.native())) == 1 &&
      X509_check_purpose(parsed, -1, 0) == 1;
  X509_free(parsed);
  ERR_clear_error();
  return fits;
}

}  // namespace sluice::tls::testing
