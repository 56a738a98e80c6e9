// SPDX-License-Identifier: GPL-3.0-or-later
// One TLS connection without a socket: encrypted bytes in, plain bytes out, and the reverse. The
// caller moves the bytes. Not thread-safe; an engine keeps its context.
//
// Order of use: feed() what arrived; handshake() until it says `done`; then read() until it says
// `need_input`. write() encrypts one record a call. Whatever the engine wants to send on its own
// (handshake flights, alerts, key updates) lies in pending() until take_pending().
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "sluice/base/bytes.h"
#include "sluice/base/error.h"
#include "sluice/tls/context.h"

namespace sluice::tls {

// Room for one batch of records: a piece of memory that fills from the front.
struct RecordBuffer {
  std::uint8_t* data = nullptr;
  std::size_t size = 0;
  std::size_t capacity = 0;
  std::size_t room() const { return capacity - size; }
};

constexpr std::size_t plain_record_bytes_max = 16384;
// What one record of `plain_record_bytes_max` can take once encrypted (RFC 8446 section 5.2).
constexpr std::size_t encrypted_record_bytes_max = plain_record_bytes_max + 5 + 256;

// What was seen of the peer's certificate.
struct PeerCertificate {
  bool presented = false;  // the peer sent a certificate and proved possession of its key
  bool verified = false;   // each link of a path from the leaf to a trusted CA was verified
  // Not verified, but an API server might have: we could not judge it, or will not. Then nothing
  // else that the client shows may decide who it is, because there it would not.
  bool refused = false;
  std::string error;     // why not
  WallTime not_after{};  // when verified: the earliest on the path, the trusted CA's included
  std::vector<std::vector<std::uint8_t>> chain_der;  // leaf first, as sent; kept when presented
};

// The verdict over a client's chain (leaf first) under the authorities of `ca_pem` at `now`, as a
// handshake would come to it. Possession of the key is not asked for.
Result<PeerCertificate> judge_client(const std::vector<std::vector<std::uint8_t>>& chain_der,
                                     std::string_view ca_pem, WallTime now);

// The same over what a client has shown before, by the authorities of a context that has come
// since.
PeerCertificate judge_again(const PeerCertificate& shown, const ServerContext& context,
                            WallTime now);

class Engine {
 public:
  static Result<std::unique_ptr<Engine>> server(std::shared_ptr<const ServerContext> context);
  // `server_name`: the name or IP address that the certificate must carry; sent when it is a name.
  static Result<std::unique_ptr<Engine>> client(std::shared_ptr<const ClientContext> context,
                                                std::string_view server_name);
  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  // Gives the engine bytes to work on. It only keeps the view: the bytes must stay valid until
  // need_input was returned (all consumed), or until keep_input().
  void feed(Bytes encrypted);
  // Copies what is not consumed yet, so that the caller's memory may go. Bounded by what was fed.
  void keep_input();
  // False once need_input was the answer to all that was fed: nothing happens without more bytes.
  bool has_input() const;

  enum class Status : std::uint8_t { done, need_input, closed, failed };

  // The time by which certificates are judged from here on; until it is told, the process's
  // (context.h).
  void judge_at(WallTime now);

  // `done` when the handshake is complete. A client's server certificate is verified here, chain
  // and name; a failure is `failed` with an alert pending.
  Status handshake();

  struct ReadResult {
    Status status;
    Bytes plain;  // done: not empty, at most one record's worth; valid until the next read()
  };
  // `closed` is the peer's close_notify.
  ReadResult read();

  // The place for the plain bytes of one record, in `out` itself: plain_record_bytes_max of them,
  // where `out` has encrypted_record_bytes_max of room left behind pending(), which goes first.
  // Empty: it has not, or the engine has failed.
  MutableBytes begin_record(RecordBuffer& out);
  // Encrypts the first `bytes` (> 0) of that place, to the end of `out`. Nothing else may have been
  // asked of the engine in between. False: failed.
  bool end_record(std::size_t bytes, RecordBuffer& out);
  bool failed() const;

  // Appends a close_notify to pending().
  void close_notify();

  // Bytes the engine wants to be sent before anything else.
  std::size_t pending_bytes() const;
  // Moves as much of pending() as fits to the end of `out`.
  void take_pending(RecordBuffer& out);

  bool established() const;
  std::string_view alpn() const;     // empty when none was agreed
  std::string_view version() const;  // "TLSv1.3"
  std::string_view cipher() const;
  std::string_view group() const;  // key exchange group
  // The peer's certificate as it was judged (server side).
  const PeerCertificate& peer_certificate() const;
  // Why `failed` was returned; never contains secrets.
  const Error& error() const;

 private:
  friend struct EngineCallbacks;
  struct State;
  explicit Engine(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace sluice::tls
