// SPDX-License-Identifier: GPL-3.0-or-later
// The library drives itself through two callbacks: it takes encrypted bytes from a view of what was
// fed, and appends what it wants to send to the caller's record buffer, or to `pending` when it
// speaks on its own. Sending therefore never blocks, and a write is never half done.
#include "sluice/tls/engine.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <span>

#include "client_hello_parser.h"
#include "clock.h"
#include "context_state.h"
#include "peer_verification.h"
#include "record_budget.h"
#include "sluice/base/check.h"
#include "sluice/base/copy.h"
#include "sluice/x509/alternative_names.h"

namespace sluice::tls {

namespace {

// Unsent bytes of our own: a flight with a long certificate chain is below 20 KB.
constexpr std::size_t pending_bytes_max = 64 * 1024;
// A handshake's input: certificate chains of the largest size that the library takes are below.
constexpr std::size_t handshake_bytes_max = 128 * 1024;
// RFC 1035 section 2.3.4.
constexpr std::size_t server_name_bytes_max = 255;

constexpr const char* too_many_idle_records = "the peer sends too many records without data";

// Gives the memory back; assigning an empty list would keep it.
void release(std::vector<std::uint8_t>& bytes) { std::vector<std::uint8_t>().swap(bytes); }

}  // namespace

struct Engine::State {
  enum class Phase : std::uint8_t { handshake, established, closed, failed };

  std::shared_ptr<const void> context;  // what is pointed to below is its
  WOLFSSL* ssl = nullptr;
  const Trust* trust = nullptr;  // the context's; null: no certificate is asked for
  const std::vector<std::string>* alpn_choice = nullptr;  // a server's, until the hello is here
  Bytes authorities;                                      // a server's: the context's
  std::string server_name;                                // a client's
  const Side peer_side;
  Phase phase = Phase::handshake;
  bool strict = false;
  bool drained = true;                  // need_input was the last answer to what was fed
  const char* limit_reached = nullptr;  // which, until conclude() says so

  Bytes input;                     // not consumed yet
  std::vector<std::uint8_t> kept;  // where `input` points after keep_input()
  std::vector<std::uint8_t> pending;
  std::size_t pending_begin = 0;
  unsigned int record_offset = 0;  // of the plain bytes in the record that was begun
  bool reading = false;            // the library holds bytes that read() has given out

  RecordBudget records;
  std::size_t handshake_bytes = 0;

  PeerCertificate peer;
  std::optional<WallTime> judged_at;
  Error failure{};
  std::string alpn;
  std::string_view group;

  explicit State(Side side) : peer_side(side), records(side == Side::backend) {}
  State(const State&) = delete;
  State& operator=(const State&) = delete;
  ~State() { wolfSSL_free(ssl); }

  Status give_up(ErrorKind kind, std::string why) {
    phase = Phase::failed;
    failure = Error{kind, peer_side, Retry::never, std::move(why)};
    input = {};
    return Status::failed;
  }

  // What the library's last call came to, when it was no success.
  Status conclude(int result);
  void record_failed(int result);

  int receive(std::uint8_t* buffer, std::size_t size);
  int send(Bytes bytes);

  int judge(std::span<const Bytes> chain);
  Status finish_handshake();
  bool prepare_server();
};

// --- Callbacks --------------------------------------------------------------------------------

int Engine::State::receive(std::uint8_t* buffer, std::size_t size) {
  if (input.empty()) return WOLFSSL_CBIO_ERR_WANT_READ;
  if (phase == Phase::handshake && handshake_bytes > handshake_bytes_max) {
    limit_reached = "the handshake is too long";
  } else if (records.far_exhausted()) {
    limit_reached = too_many_idle_records;
  }
  if (limit_reached != nullptr) return WOLFSSL_CBIO_ERR_GENERAL;
  const Bytes taken = input.first(std::min(size, input.size()));
  copy_bytes(buffer, taken.data(), taken.size());
  input = input.subspan(taken.size());
  if (phase == Phase::handshake) handshake_bytes += taken.size();
  records.taken(taken);
  return static_cast<int>(taken.size());
}

int Engine::State::send(Bytes bytes) {
  if (pending.size() - pending_begin + bytes.size() > pending_bytes_max) {
    limit_reached = "the peer does not take what TLS has to send";
    return WOLFSSL_CBIO_ERR_GENERAL;
  }
  if (pending_begin == pending.size()) {
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

int EngineCallbacks::judge(void* engine, const SluiceCertificate* certificates, int count,
                           SluicePeerKey* key) {
  std::vector<Bytes> chain;
  for (int i = 0; i < count; ++i) chain.emplace_back(certificates[i].data, certificates[i].size);
  if (const int error = static_cast<Engine::State*>(engine)->judge(chain); error != 0) return error;
  // Without a key that can be used nobody could prove to have it, and the handshake ends.
  hand_over(x509::read_certificate_key(chain[0]), *key);
  return 0;
}

unsigned EngineCallbacks::authorities(void* engine, const unsigned char** list) {
  const Bytes names = static_cast<const Engine::State*>(engine)->authorities;
  *list = names.data();
  return static_cast<unsigned>(names.size());
}

// Called once, over the whole chain, before the peer has proved to have the leaf's key.
int Engine::State::judge(std::span<const Bytes> chain) {
  CHECK(!chain.empty());
  // The library takes a certificate that nobody has asked for.
  if (trust == nullptr) return OUT_OF_ORDER_E;
  const WallTime now = judged_at.value_or(wall_now());
  return peer_side == Side::client ? verify_client(*trust, strict, chain, now, peer)
                                   : verify_backend(*trust, server_name, chain, now, peer);
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

Result<std::unique_ptr<Engine>> Engine::server(std::shared_ptr<const ServerContext> context) {
  const ServerContext::State& settings = context->state();
  auto state = std::make_unique<State>(Side::client);
  auto ssl = new_session(settings.library.handle, state.get());
  if (!ssl) return std::unexpected(ssl.error());
  state->ssl = *ssl;
  state->trust = settings.trust ? &*settings.trust : nullptr;
  state->strict = settings.strict;
  state->authorities = settings.authorities;
  state->alpn_choice = &settings.alpn;
  state->context = std::move(context);
  return std::unique_ptr<Engine>(new Engine(std::move(state)));
}

Result<std::unique_ptr<Engine>> Engine::client(std::shared_ptr<const ClientContext> context,
                                               std::string_view server_name) {
  const ClientContext::State& settings = context->state();
  if (server_name.empty() || server_name.size() > server_name_bytes_max) {
    return fail(ErrorKind::invalid_argument,
                "the backend's server name must have 1 to 255 characters");
  }
  auto state = std::make_unique<State>(Side::backend);
  auto ssl = new_session(settings.library.handle, state.get());
  if (!ssl) return std::unexpected(ssl.error());
  state->ssl = *ssl;
  state->trust = &*settings.trust;
  state->server_name = server_name;
  if (state->server_name.ends_with('.')) state->server_name.pop_back();
  bool good = true;
  if (!x509::is_address(state->server_name)) {
    good =
        wolfSSL_UseSNI(*ssl, WOLFSSL_SNI_HOST_NAME, state->server_name.data(),
                       static_cast<unsigned short>(state->server_name.size())) == WOLFSSL_SUCCESS;
  }
  // Shares for both, so that a server without the hybrid costs no further round trip.
  good = good && wolfSSL_UseKeyShare(*ssl, WOLFSSL_X25519MLKEM768) == WOLFSSL_SUCCESS &&
         wolfSSL_UseKeyShare(*ssl, WOLFSSL_ECC_X25519) == WOLFSSL_SUCCESS;
  if (!good) return fail(ErrorKind::tls, "the TLS client cannot be set up");
  if (auto offered = offer_protocols(*ssl, settings.alpn); !offered)
    return std::unexpected(offered.error());
  state->context = std::move(context);
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
  return result == WOLFSSL_SUCCESS ? state.finish_handshake() : state.conclude(result);
}

void Engine::judge_at(WallTime now) { state_->judged_at = now; }

Engine::Status Engine::State::finish_handshake() {
  // Resumption does not exist here; where it happened nonetheless nothing would be verified.
  if (wolfSSL_session_reused(ssl) != 0) return give_up(ErrorKind::tls, "a session was resumed");
  if (peer_side == Side::backend && !peer.verified) {
    return give_up(ErrorKind::tls, "the backend's certificate was not verified");
  }
  phase = Phase::established;
  records.established();
  // With read-ahead the library may hold records of its own; only read() can tell.
  drained = input.empty() && peer_side == Side::client;
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
      if (records.exhausted() && phase != Phase::handshake) {
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
  if (fatal_alert) text = "the peer sent the TLS alert " + alert_text(history.last_rx.code);
  return give_up(phase == Phase::handshake ? ErrorKind::tls : ErrorKind::protocol, std::move(text));
}

// --- Data -------------------------------------------------------------------------------------

Engine::ReadResult Engine::read() {
  State& state = *state_;
  switch (state.phase) {
    case State::Phase::handshake: CHECK(state.phase == State::Phase::established); break;
    case State::Phase::established: break;
    case State::Phase::closed: return {Status::closed, {}};
    case State::Phase::failed: return {Status::failed, {}};
  }
  if (std::exchange(state.reading, false)) sluice_taken(state.ssl);
  const unsigned char* plain = nullptr;
  const int result = sluice_read(state.ssl, &plain);
  if (result <= 0) return {state.conclude(result), {}};
  state.reading = true;
  state.records.data_read();
  return {Status::done, Bytes(plain, static_cast<std::size_t>(result))};
}

MutableBytes Engine::begin_record(RecordBuffer& out) {
  State& state = *state_;
  if (state.phase == State::Phase::failed || state.phase == State::Phase::handshake) return {};
  if (const int result = sluice_record_begin(state.ssl, &state.record_offset); result != 0) {
    state.record_failed(result);
    return {};
  }
  take_pending(out);
  if (pending_bytes() > 0 || out.room() < encrypted_record_bytes_max) return {};
  return {out.data + out.size + state.record_offset, plain_record_bytes_max};
}

bool Engine::end_record(std::size_t bytes, RecordBuffer& out) {
  State& state = *state_;
  CHECK_GT(bytes, std::size_t{0});
  CHECK_LE(bytes, plain_record_bytes_max);
  CHECK_GE(out.room(), encrypted_record_bytes_max);
  const int result =
      sluice_record_end(state.ssl, out.data + out.size, static_cast<unsigned int>(out.room()),
                        state.record_offset, static_cast<unsigned int>(bytes));
  if (result <= 0) {
    state.record_failed(result);
    return false;
  }
  out.size += static_cast<std::size_t>(result);
  return true;
}

// Nothing that is not an error makes a record fall short here.
void Engine::State::record_failed(int result) {
  if (conclude(result) != Status::failed) give_up(ErrorKind::tls, "a record could not be written");
}

bool Engine::failed() const { return state_->phase == State::Phase::failed; }

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
