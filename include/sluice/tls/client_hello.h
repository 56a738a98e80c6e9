// SPDX-License-Identifier: GPL-3.0-or-later
// Reads the server name out of the first bytes of a connection, before any TLS object exists.
#pragma once

#include <string>
#include <string_view>

#include "sluice/base/bytes.h"

namespace sluice::tls {

struct ClientHello {
  enum class Status : std::uint8_t {
    complete,    // server_name is valid; empty when the client sent none
    incomplete,  // more bytes are needed
    plain_http,  // a request without TLS: answer plain_http_answer
    invalid,     // not a ClientHello, or a malformed one: close without an answer
  };
  Status status = Status::incomplete;
  std::string server_name;  // lower case, without a trailing dot
};

// A ClientHello is at most this long; more is invalid.
constexpr std::size_t client_hello_bytes_max = 16 * 1024;

// Word for word what an API server answers (Go's net/http, conn.serve).
inline constexpr std::string_view plain_http_answer =
    "HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n";

// To whom asks for a server that nobody here is: a fatal alert, unrecognized_name (RFC 6066 section
// 3), as a record of its own (RFC 8446 section 5.1).
inline constexpr std::string_view unrecognized_name_alert{"\x15\x03\x03\x00\x02\x02\x70", 7};

// `bytes`: everything received so far. Handles a hello that is spread over several records.
ClientHello peek_client_hello(Bytes bytes);

}  // namespace sluice::tls
