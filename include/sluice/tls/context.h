// SPDX-License-Identifier: GPL-3.0-or-later
// TLS settings of one role: keys, certificates, trust. Immutable after creation; one per thread
// (its reference count and certificate store have locks that threads must not share). Replaced,
// never changed: engines share the context that they began with, and it goes with the last of them.
//
// No session cache, no tickets, TLS 1.2 (ECDHE with AEAD) and 1.3 only.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "sluice/base/bytes.h"
#include "sluice/base/error.h"
#include "sluice/base/time.h"
#include "sluice/tls/secret.h"

namespace sluice::tls {

// Call once in the process before anything else here: allocator, library, and the self-test of
// DESIGN: known-answer tests, and in release builds that AES-GCM runs on the processor's own
// instructions (throughput over a floor, or the library says so). The error is one sentence.
Result<void> initialize();

struct LibraryInfo {
  std::string version;            // "5.9.4"
  bool cryptography_accelerated;  // AES-NI in use
};
LibraryInfo library_info();

// Where certificates' validity and the keys' entropy come from, for runs that repeat exactly. Null
// restores the system's. To be set before threads start; entropy after initialize().
using WallClock = WallTime (*)();
void set_wall_clock(WallClock clock);
using Entropy = void (*)(MutableBytes);
void set_entropy(Entropy source);

enum class Version : std::uint8_t { tls1_2, tls1_3 };

struct ServerOptions {
  Version version_min = Version::tls1_2;
  std::string certificate_chain_pem;
  Secret private_key_pem;
  std::string client_ca_pem;  // empty: no client certificate is requested
  // A client certificate that does not verify is answered by an alert instead of "no identity".
  bool client_certificate_strict = false;
  std::vector<std::string> alpn = {"h2"};  // in our order of preference

  friend bool operator==(const ServerOptions&, const ServerOptions&) = default;
};

struct ClientOptions {
  std::string ca_pem;                 // required: a backend is never unverified
  std::string certificate_chain_pem;  // empty: no client certificate
  Secret private_key_pem;
  std::vector<std::string> alpn = {"h2"};

  friend bool operator==(const ClientOptions&, const ClientOptions&) = default;
};

class ServerContext {
 public:
  static Result<std::shared_ptr<const ServerContext>> create(const ServerOptions& options);
  ~ServerContext();
  struct State;
  const State& state() const { return *state_; }

 private:
  explicit ServerContext(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

class ClientContext {
 public:
  static Result<std::shared_ptr<const ClientContext>> create(const ClientOptions& options);
  ~ClientContext();
  struct State;
  const State& state() const { return *state_; }

 private:
  explicit ClientContext(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

// Facts about a PEM certificate (chain): for start-up checks, metrics and expiry.
struct CertificateSummary {
  std::vector<std::vector<std::uint8_t>> chain_der;  // leaf first
  WallTime not_before{};
  WallTime not_after{};  // of the leaf
};
Result<CertificateSummary> read_certificates(std::string_view pem);

// Whether the first certificate of a PEM text is one of this server, as clients see it: by its
// subject alternative names. False as well when it cannot be read.
bool names_server(std::string_view pem, std::string_view name);

// The certificates in a PEM text, whatever they are.
Result<std::vector<std::vector<std::uint8_t>>> certificates_in(std::string_view pem);

// Whether the leaf of `chain_der` (leaf first, intermediates after) verifies under `ca_pem` for
// client authentication at `now`. Used per request when the trust has changed, and at start to
// refuse a front-proxy certificate that is itself a user.
Result<void> verify_chain(const std::vector<std::vector<std::uint8_t>>& chain_der,
                          std::string_view ca_pem, WallTime now);

// Certificates of a CA file that nothing is believed by, a sentence each.
std::vector<std::string> authority_remarks(std::string_view ca_pem);

// SHA-256, for credential ids and for keyed hashes of tokens (key may be empty: plain digest).
std::array<std::uint8_t, 32> sha256(Bytes data);

}  // namespace sluice::tls
