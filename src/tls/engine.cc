// SPDX-License-Identifier: GPL-3.0-or-later
// The library drives itself through two callbacks: it takes encrypted bytes from a view of what was
// fed, and appends what it wants to send to the caller's record buffer, or to `pending` when it
// speaks on its own. Sending therefore never blocks, and a write is never half done.
//
// What a peer can make us do without sending application data is counted per record: key updates,
// empty records, alerts and change-cipher-specs all cost work and bring nothing.
#include "sluice/tls/engine.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "client_hello_parser.h"
#include "clock.h"
#include "context_state.h"
#include "sluice/base/check.h"

namespace sluice::tls {

namespace {

// Unsent bytes of our own: a flight with a long certificate chain is below 20 KB.
constexpr std::size_t pending_bytes_max = 64 * 1024;
// A handshake's input: certificate chains of the largest size that the library takes are below.
constexpr std::size_t handshake_bytes_max = 128 * 1024;
constexpr int handshake_records_max = 2048;
// Records without application data: so many at once, and one more for so many with it.
constexpr int idle_records_max = 64;
constexpr int data_records_per_idle_record = 16;
// Records that the library may have taken without having looked at them yet.
constexpr int records_ahead_max = 1024;

constexpr const char* too_many_idle_records = "the peer sends too many records without data";

// Gives the memory back; assigning an empty list would keep it.
void release(std::vector<std::uint8_t>& bytes) { std::vector<std::uint8_t>().swap(bytes); }

// Errors of a client's certificate that only mean "no identity": the key in it was read, and that
// the client has it is proved later in the handshake. Everything else, a key that cannot be read
// above all, ends the handshake.
bool may_continue(int code) {
  switch (code) {
    case 0:
    case ASN_NO_SIGNER_E:
    case ASN_SELF_SIGNED_E:
    case ASN_SIG_CONFIRM_E:
    case ASN_SIG_OID_E:
    case ASN_BEFORE_DATE_E:
    case ASN_AFTER_DATE_E:
    case ASN_CRIT_EXT_E:
    case ASN_NAME_INVALID_E:
    case ASN_PATHLEN_INV_E:
    case ASN_PATHLEN_SIZE_E:
    case ASN_COUNTRY_SIZE_E:
    case ASN_VERSION_E:
    case NOT_CA_ERROR:
    case KEYUSE_SIGNATURE_E:
    case KEYUSE_ENCIPHER_E:
    case KEYUSAGE_E:
    case EXTKEYUSAGE_E:
    case EXTKEYUSE_AUTH_E:
    case RSA_KEY_SIZE_E:
    case ECC_KEY_SIZE_E:
    case HASH_TYPE_E: return true;
    default: return false;
  }
}

}  // namespace

struct Engine::State {
  enum class Phase : std::uint8_t { handshake, established, closed, failed };

  WOLFSSL* ssl = nullptr;
  const Trust* trust = nullptr;  // the context's; null: no certificate is asked for
  const std::vector<std::string>* alpn_choice = nullptr;  // a server's, until the hello is here
  const std::string* server_name = nullptr;               // a client's: the context's
  WOLFSSL_CERT_MANAGER* store = nullptr;                  // the context's own
  Side peer_side = Side::client;
  Phase phase = Phase::handshake;
  bool strict = false;
  bool read_ahead = false;
  bool chain_seen = false;              // the verify callback ran since the store was last emptied
  bool drained = true;                  // need_input was the last answer to what was fed
  const char* limit_reached = nullptr;  // which, until conclude() says so

  Bytes input;                     // not consumed yet
  std::vector<std::uint8_t> kept;  // where `input` points after keep_input()
  std::vector<std::uint8_t> pending;
  std::size_t pending_begin = 0;
  RecordBuffer* target = nullptr;  // where records go while write() runs

  // Where in a record the consumed input stands.
  std::uint8_t header[5] = {};
  std::uint8_t header_bytes = 0;
  std::uint32_t record_left = 0;
  int idle_records_left = handshake_records_max;
  int data_records = 0;
  std::size_t handshake_bytes = 0;

  PeerCertificate peer;
  Error failure{};
  std::string alpn;
  std::string_view group;

  State() = default;
  State(const State&) = delete;
  State& operator=(const State&) = delete;
  ~State() { wolfSSL_free(ssl); }

  Status give_up(ErrorKind kind, std::string context) {
    phase = Phase::failed;
    failure = Error{kind, peer_side, Retry::never, std::move(context)};
    input = {};
    return Status::failed;
  }

  // What the library's last call came to, when it was no success.
  Status conclude(int result);

  void consumed(Bytes bytes);
  int receive(std::uint8_t* buffer, std::size_t size);
  int send(Bytes bytes);

  bool verify_client(int verified, WOLFSSL_X509_STORE_CTX& store_context);
  bool verify_backend(int verified, WOLFSSL_X509_STORE_CTX& store_context);
  void forget_intermediates();
  Status finish_handshake();
  bool prepare_server();
};

// --- Callbacks --------------------------------------------------------------------------------

// Counts records as their last byte is taken.
void Engine::State::consumed(Bytes bytes) {
  while (!bytes.empty()) {
    if (record_left > 0) {
      const std::size_t part = std::min<std::size_t>(record_left, bytes.size());
      record_left -= static_cast<std::uint32_t>(part);
      bytes = bytes.subspan(part);
      if (record_left == 0) --idle_records_left;
      continue;
    }
    const std::size_t part = std::min(sizeof(header) - header_bytes, bytes.size());
    std::memcpy(header + header_bytes, bytes.data(), part);
    header_bytes = static_cast<std::uint8_t>(header_bytes + part);
    bytes = bytes.subspan(part);
    if (header_bytes < sizeof(header)) return;
    header_bytes = 0;
    record_left = static_cast<std::uint32_t>(header[3]) << 8 | header[4];
    if (record_left == 0) --idle_records_left;
  }
}

int Engine::State::receive(std::uint8_t* buffer, std::size_t size) {
  if (input.empty()) return WOLFSSL_CBIO_ERR_WANT_READ;
  if (phase == Phase::handshake && handshake_bytes > handshake_bytes_max) {
    limit_reached = "the handshake is too long";
  } else if (idle_records_left < (read_ahead ? -records_ahead_max : -1)) {
    limit_reached = too_many_idle_records;
  }
  if (limit_reached != nullptr) return WOLFSSL_CBIO_ERR_GENERAL;
  const Bytes taken = input.first(std::min(size, input.size()));
  std::memcpy(buffer, taken.data(), taken.size());
  input = input.subspan(taken.size());
  if (phase == Phase::handshake) handshake_bytes += taken.size();
  consumed(taken);
  return static_cast<int>(taken.size());
}

int Engine::State::send(Bytes bytes) {
  const bool first = pending_begin == pending.size();
  if (target != nullptr && first && target->room() >= bytes.size()) {
    std::memcpy(target->data + target->size, bytes.data(), bytes.size());
    target->size += bytes.size();
    return static_cast<int>(bytes.size());
  }
  if (pending.size() - pending_begin + bytes.size() > pending_bytes_max) {
    limit_reached = "the peer does not take what TLS has to send";
    return WOLFSSL_CBIO_ERR_GENERAL;
  }
  if (first) {
    pending.clear();
    pending_begin = 0;
  }
  pending.insert(pending.end(), bytes.begin(), bytes.end());
  return static_cast<int>(bytes.size());
}

int EngineCallbacks::receive(WOLFSSL*, char* buffer, int size, void* engine) {
  return static_cast<Engine::State*>(engine)->receive(reinterpret_cast<std::uint8_t*>(buffer),
                                                      static_cast<std::size_t>(size));
}

int EngineCallbacks::send(WOLFSSL*, char* buffer, int size, void* engine) {
  return static_cast<Engine::State*>(engine)->send(
      as_bytes(std::string_view(buffer, static_cast<std::size_t>(size))));
}

int EngineCallbacks::verify_client(int verified, WOLFSSL_X509_STORE_CTX* store) {
  return static_cast<Engine::State*>(store->userCtx)->verify_client(verified, *store) ? 1 : 0;
}

int EngineCallbacks::verify_backend(int verified, WOLFSSL_X509_STORE_CTX* store) {
  return static_cast<Engine::State*>(store->userCtx)->verify_backend(verified, *store) ? 1 : 0;
}

namespace {

std::vector<Bytes> chain_of(const WOLFSSL_X509_STORE_CTX& store) {
  std::vector<Bytes> chain;
  for (int i = 0; i < store.totalCerts; ++i) {
    chain.emplace_back(store.certs[i].buffer, store.certs[i].length);
  }
  return chain;
}

}  // namespace

// Called for every certificate, good or bad, the topmost first and the leaf last (and again for the
// leaf after a further check). The verdict is ours and made once, over the whole chain.
bool Engine::State::verify_client(int /*verified*/, WOLFSSL_X509_STORE_CTX& store_context) {
  chain_seen = true;
  if (peer.chain_der.empty() && store_context.totalCerts > 0) {
    const std::vector<Bytes> chain = chain_of(store_context);
    for (const Bytes der : chain) peer.chain_der.emplace_back(der.begin(), der.end());
    const auto verdict = trust->verify(chain, Trust::Purpose::client, wall_now());
    peer.verified = verdict.has_value();
    if (verdict) {
      peer.not_after = *verdict;
    } else {
      peer.error = verdict.error().context;
    }
  }
  // Also called when there is no certificate at all.
  if (peer.chain_der.empty()) return true;
  if (strict && !peer.verified) return false;
  return may_continue(store_context.error);
}

// May only turn what the library found good into a failure.
bool Engine::State::verify_backend(int verified, WOLFSSL_X509_STORE_CTX& store_context) {
  chain_seen = true;
  if (verified == 0) {
    if (peer.error.empty()) peer.error = library_error(store_context.error);
    return false;
  }
  if (store_context.error_depth != 0) return true;
  const std::vector<Bytes> chain = chain_of(store_context);
  const auto verdict = trust->verify(chain, Trust::Purpose::server, wall_now());
  if (!verdict) {
    peer.error = verdict.error().context;
    return false;
  }
  // Our own comparison: the library falls back to the common name and knows no single-label names.
  const auto facts = read_certificate_facts(chain[0]);
  if (!facts || !names_server(*facts, *server_name)) {
    peer.error = fmt::format("the certificate is not for {}", *server_name);
    return false;
  }
  peer.verified = true;
  peer.not_after = *verdict;
  return true;
}

// The library adds what a peer sent as intermediates to the context's store, for all connections to
// come, and where the callback let an error pass even unverified ones. Nothing of a peer may stay.
void Engine::State::forget_intermediates() {
  if (!chain_seen) return;
  chain_seen = false;
  CHECK_EQ(wolfSSL_CertManagerUnloadIntermediateCerts(store), WOLFSSL_SUCCESS);
}

// --- Life -------------------------------------------------------------------------------------

Engine::Engine(std::unique_ptr<State> state) : state_(std::move(state)) {}
Engine::~Engine() = default;

namespace {

Result<void> offer_protocols(WOLFSSL* ssl, const std::vector<std::string>& protocols) {
  if (protocols.empty()) return {};
  std::string list;
  for (const std::string& protocol : protocols) {
    if (!list.empty()) list.push_back(',');
    list += protocol;
  }
  // A peer that offers only what we do not speak gets no_application_protocol.
  if (wolfSSL_UseALPN(ssl, list.data(), static_cast<unsigned>(list.size()),
                      WOLFSSL_ALPN_FAILED_ON_MISMATCH) != WOLFSSL_SUCCESS) {
    return fail(ErrorKind::tls, "the ALPN protocols cannot be used");
  }
  return {};
}

Result<WOLFSSL*> new_session(WOLFSSL_CTX* context, void* engine) {
  WOLFSSL* ssl = wolfSSL_new(context);
  if (ssl == nullptr)
    return fail(ErrorKind::unavailable, "there is no memory for a TLS connection");
  wolfSSL_SetIOReadCtx(ssl, engine);
  wolfSSL_SetIOWriteCtx(ssl, engine);
  wolfSSL_SetCertCbCtx(ssl, engine);
  return ssl;
}

}  // namespace

Result<std::unique_ptr<Engine>> Engine::server(ServerContext& context) {
  ServerContext::State& settings = context.state();
  auto state = std::make_unique<State>();
  auto ssl = new_session(settings.library.handle, state.get());
  if (!ssl) return std::unexpected(ssl.error());
  state->ssl = *ssl;
  state->peer_side = Side::client;
  state->trust = settings.trust ? &*settings.trust : nullptr;
  state->strict = settings.strict;
  state->store = wolfSSL_CTX_GetCertManager(settings.library.handle);
  state->alpn_choice = &settings.alpn;
  return std::unique_ptr<Engine>(new Engine(std::move(state)));
}

Result<std::unique_ptr<Engine>> Engine::client(ClientContext& context) {
  ClientContext::State& settings = context.state();
  auto state = std::make_unique<State>();
  auto ssl = new_session(settings.library.handle, state.get());
  if (!ssl) return std::unexpected(ssl.error());
  state->ssl = *ssl;
  state->peer_side = Side::backend;
  state->trust = &*settings.trust;
  state->store = wolfSSL_CTX_GetCertManager(settings.library.handle);
  state->read_ahead = true;
  state->server_name = &settings.server_name;
  bool good = true;
  if (!settings.name_is_address) {
    good =
        wolfSSL_UseSNI(*ssl, WOLFSSL_SNI_HOST_NAME, settings.server_name.data(),
                       static_cast<unsigned short>(settings.server_name.size())) == WOLFSSL_SUCCESS;
  }
  // Shares for both, so that a server without the hybrid costs no further round trip.
  good = good && wolfSSL_UseKeyShare(*ssl, WOLFSSL_X25519MLKEM768) == WOLFSSL_SUCCESS &&
         wolfSSL_UseKeyShare(*ssl, WOLFSSL_ECC_X25519) == WOLFSSL_SUCCESS;
  if (!good) return fail(ErrorKind::tls, "the TLS client cannot be set up");
  if (auto offered = offer_protocols(*ssl, settings.alpn); !offered)
    return std::unexpected(offered.error());
  return std::unique_ptr<Engine>(new Engine(std::move(state)));
}

// --- Input ------------------------------------------------------------------------------------

void Engine::feed(Bytes encrypted) {
  State& state = *state_;
  if (encrypted.empty() || state.phase == State::Phase::failed) return;
  state.drained = false;
  if (state.input.empty()) {
    release(state.kept);
    state.input = encrypted;
    return;
  }
  // Something is left of what came before: one piece of our own for both.
  keep_input();
  state.kept.insert(state.kept.end(), encrypted.begin(), encrypted.end());
  state.input = state.kept;
}

void Engine::keep_input() {
  State& state = *state_;
  if (state.input.empty()) return;
  std::vector<std::uint8_t> copy(state.input.begin(), state.input.end());
  state.kept = std::move(copy);
  state.input = state.kept;
}

bool Engine::has_input() const { return !state_->drained; }

// --- Handshake --------------------------------------------------------------------------------

// The library takes the client's order of ALPN; ours is kept by telling it our choice alone. That
// works when the hello is here as a whole, which the caller sees to by reading the server name.
bool Engine::State::prepare_server() {
  const std::vector<std::string>& protocols = *std::exchange(alpn_choice, nullptr);
  if (protocols.size() > 1) {
    const std::string_view choice = first_offered_protocol(input, protocols);
    if (!choice.empty()) return offer_protocols(ssl, {std::string(choice)}).has_value();
  }
  return offer_protocols(ssl, protocols).has_value();
}

Engine::Status Engine::handshake() {
  State& state = *state_;
  switch (state.phase) {
    case State::Phase::handshake: break;
    case State::Phase::established: return Status::done;
    case State::Phase::closed: return Status::closed;
    case State::Phase::failed: return Status::failed;
  }
  if (state.alpn_choice != nullptr) {
    if (state.input.empty()) return Status::need_input;
    if (!state.prepare_server())
      return state.give_up(ErrorKind::tls, "the ALPN protocols cannot be used");
  }
  const int result =
      state.peer_side == Side::client ? wolfSSL_accept(state.ssl) : wolfSSL_connect(state.ssl);
  state.forget_intermediates();
  return result == WOLFSSL_SUCCESS ? state.finish_handshake() : state.conclude(result);
}

Engine::Status Engine::State::finish_handshake() {
  // Resumption does not exist here; where it happened nonetheless nothing would be verified.
  if (wolfSSL_session_reused(ssl) != 0) return give_up(ErrorKind::tls, "a session was resumed");
  if (peer_side == Side::backend && !peer.verified) {
    return give_up(ErrorKind::tls, "the backend's certificate was not verified");
  }
  phase = Phase::established;
  idle_records_left = idle_records_max;
  // With read-ahead the library may hold records of its own; only read() can tell.
  drained = input.empty() && !read_ahead;
  peer.presented = peer_side == Side::backend || !peer.chain_der.empty();
  char* protocol = nullptr;
  unsigned short size = 0;
  if (wolfSSL_ALPN_GetProtocol(ssl, &protocol, &size) == WOLFSSL_SUCCESS && protocol != nullptr) {
    alpn.assign(protocol, size);
  }
  if (const char* name = wolfSSL_get_curve_name(ssl); name != nullptr) group = name;
  return Status::done;
}

Engine::Status Engine::State::conclude(int result) {
  const int code = wolfSSL_get_error(ssl, result);
  if (limit_reached != nullptr) return give_up(ErrorKind::limit, limit_reached);
  switch (code) {
    case WOLFSSL_ERROR_WANT_READ:
      if (idle_records_left < 0 && phase != Phase::handshake) {
        return give_up(ErrorKind::limit, too_many_idle_records);
      }
      drained = true;
      release(kept);
      return Status::need_input;
    case WOLFSSL_ERROR_ZERO_RETURN:
      if (phase == Phase::handshake)
        return give_up(ErrorKind::closed, "the peer closed during the handshake");
      phase = Phase::closed;
      return Status::closed;
    default: break;
  }
  std::string text = library_error(code);
  if (!peer.error.empty()) text = fmt::format("{}: {}", text, peer.error);
  WOLFSSL_ALERT_HISTORY history{};
  const bool fatal_alert = wolfSSL_get_alert_history(ssl, &history) == WOLFSSL_SUCCESS &&
                           history.last_rx.level == alert_fatal;
  if (fatal_alert) text = fmt::format("the peer sent TLS alert {}", history.last_rx.code);
  return give_up(phase == Phase::handshake ? ErrorKind::tls : ErrorKind::protocol, std::move(text));
}

// --- Data -------------------------------------------------------------------------------------

Engine::ReadResult Engine::read(MutableBytes plain) {
  State& state = *state_;
  CHECK(!plain.empty());
  switch (state.phase) {
    case State::Phase::handshake: CHECK(state.phase == State::Phase::established); break;
    case State::Phase::established: break;
    case State::Phase::closed: return {Status::closed, 0};
    case State::Phase::failed: return {Status::failed, 0};
  }
  const int size = static_cast<int>(std::min<std::size_t>(plain.size(), 1 << 20));
  const int result = wolfSSL_read(state.ssl, plain.data(), size);
  if (result <= 0) return {state.conclude(result), 0};
  // The record's own place in the budget, and something on top for every few of them.
  int earned = 1;
  if (++state.data_records >= data_records_per_idle_record) {
    state.data_records = 0;
    ++earned;
  }
  state.idle_records_left = std::min(state.idle_records_left + earned, idle_records_max);
  return {Status::done, static_cast<std::size_t>(result)};
}

bool Engine::write(Bytes plain, RecordBuffer& out) {
  State& state = *state_;
  CHECK_LE(plain.size(), plain_record_bytes_max);
  if (state.phase == State::Phase::failed || state.phase == State::Phase::handshake) return false;
  if (plain.empty()) return true;
  take_pending(out);
  state.target = &out;
  const int result = wolfSSL_write(state.ssl, plain.data(), static_cast<int>(plain.size()));
  state.target = nullptr;
  if (result == static_cast<int>(plain.size())) return true;
  if (state.conclude(result) != Status::failed) {
    // Nothing that is not an error makes a write fall short here.
    state.give_up(ErrorKind::tls, "a record could not be written");
  }
  return false;
}

void Engine::close_notify() {
  State& state = *state_;
  if (state.phase != State::Phase::established && state.phase != State::Phase::closed) return;
  wolfSSL_shutdown(state.ssl);
}

std::size_t Engine::pending_bytes() const { return state_->pending.size() - state_->pending_begin; }

void Engine::take_pending(RecordBuffer& out) {
  State& state = *state_;
  const std::size_t part = std::min(pending_bytes(), out.room());
  if (part == 0) return;
  std::memcpy(out.data + out.size, state.pending.data() + state.pending_begin, part);
  out.size += part;
  state.pending_begin += part;
  if (state.pending_begin == state.pending.size()) {
    release(state.pending);
    state.pending_begin = 0;
  }
}

// --- Facts ------------------------------------------------------------------------------------

bool Engine::established() const {
  return state_->phase == State::Phase::established || state_->phase == State::Phase::closed;
}

std::string_view Engine::alpn() const { return state_->alpn; }

std::string_view Engine::version() const { return wolfSSL_get_version(state_->ssl); }

std::string_view Engine::cipher() const {
  const int suite = wolfSSL_get_current_cipher_suite(state_->ssl);
  const char* name = wolfSSL_get_cipher_name_iana_from_suite(static_cast<unsigned char>(suite >> 8),
                                                             static_cast<unsigned char>(suite));
  return name == nullptr ? std::string_view() : name;
}

std::string_view Engine::group() const { return state_->group; }

const PeerCertificate& Engine::peer_certificate() const { return state_->peer; }

const Error& Engine::error() const { return state_->failure; }

}  // namespace sluice::tls
