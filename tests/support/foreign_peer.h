// SPDX-License-Identifier: GPL-3.0-or-later
// A TLS peer made of another library: to restrict versions, to offer resumption, and to lie.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "certificates.h"
#include "sluice/base/bytes.h"

namespace sluice::tls::testing {

class ForeignPeer {
 public:
  struct Options {
    bool server = false;
    int version_max = 0x0304;
    int version_min = 0x0303;
    std::string ca_pem;                    // trusted; empty: nothing is verified
    std::vector<test::Certificate> chain;  // own, leaf first
    std::vector<std::string> alpn;
    std::string server_name;
    std::string groups;       // "P-256:X25519"
    std::string ciphers;      // of TLS 1.2
    void* session = nullptr;  // SSL_SESSION* to offer
    bool weak = false;        // accept what a cautious library refuses to present
  };
  explicit ForeignPeer(const Options& options);
  ~ForeignPeer();
  ForeignPeer(const ForeignPeer&) = delete;
  ForeignPeer& operator=(const ForeignPeer&) = delete;

  // Takes `input`, goes on with the handshake (or reads), gives what is to be sent.
  std::vector<std::uint8_t> step(Bytes input);
  bool established() const;
  bool failed() const;
  const std::string& received() const;  // plain text
  std::vector<std::uint8_t> send(std::string_view plain);
  std::vector<std::uint8_t> key_update(bool request_answer);
  // A record of TLS 1.3 with these handshake messages, whatever they are: the first thing that a
  // client says once it is established, which the library knows nothing of.
  std::vector<std::uint8_t> handshake_record(Bytes messages) const;
  std::vector<std::uint8_t> renegotiate();
  bool close_notify_received() const;

  int tickets() const;  // sessions that the other side gave for resumption
  bool resumed() const;
  void* session() const;  // SSL_SESSION*, owned by the caller
  bool session_resumable() const;
  std::string alpn() const;
  std::string version() const;
  std::string group() const;
  std::string alert() const;  // the description of the alert received last
  // The names of the authorities whose certificates the other side asked for, as DER.
  std::vector<test::Der> requested_authorities() const;
  static void free_session(void* session);
  // Whether the library can read this certificate and finds its key fitting.
  static bool can_present(const test::Certificate& certificate);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace sluice::tls::testing
