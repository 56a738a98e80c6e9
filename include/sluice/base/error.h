// SPDX-License-Identifier: GPL-3.0-or-later
// What can go wrong outside of our own code: what happened, on whose side, and whether the request
// it happened to may be sent again. `Result<T>` carries either a value or an Error.
#pragma once

#include <cstdint>
#include <expected>
#include <string>
#include <string_view>
#include <utility>

namespace sluice {

enum class ErrorKind : std::uint8_t {
  invalid_argument,  // a flag, a file or a peer's bytes do not have the required form
  system,            // a system call failed
  unavailable,       // nothing to serve with: no ready backend, no descriptor, no memory budget
  timeout,           // a deadline passed
  closed,            // the peer closed the connection
  reset,             // the peer reset a stream or the connection
  refused,           // the peer refused before doing anything (REFUSED_STREAM, connection refused)
  protocol,          // the peer broke TLS, HTTP/2 or HTTP/1.1
  tls,               // a handshake or a certificate failed
  limit,             // one of our own limits was reached
  unauthenticated,   // no identity could be established
  misdirected,       // the request names an authority that this connection must not serve
};

enum class Side : std::uint8_t { self, client, backend };

// Whether the request may be sent to another backend (decided where the error is known).
enum class Retry : std::uint8_t {
  never,         // it may have been executed
  not_executed,  // provably not executed: any method may be sent again
  idempotent,    // lost before the first byte of an answer: reads may be sent again
};

struct Error {
  ErrorKind kind = ErrorKind::system;
  Side side = Side::self;
  Retry retry = Retry::never;
  std::string context;  // a sentence for a person; never contains a secret
};

template <class T = void>
using Result = std::expected<T, Error>;

inline std::unexpected<Error> fail(ErrorKind kind, std::string context, Side side = Side::self,
                                   Retry retry = Retry::never) {
  return std::unexpected(Error{kind, side, retry, std::move(context)});
}

// "what: <text of errno>" as ErrorKind::system.
std::unexpected<Error> fail_errno(std::string_view what, int error_number);

std::string_view to_string(ErrorKind kind);
std::string_view to_string(Side side);

}  // namespace sluice
