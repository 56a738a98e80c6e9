// SPDX-License-Identifier: GPL-3.0-or-later
// What two readers of HTTP/1.1 could understand differently is refused, and the connection closed:
// which rule was broken, what is said about it, and with which status.
#pragma once

#include <cstdint>
#include <string_view>

namespace sluice::http1 {

enum class Refusal : std::uint8_t {
  request_line,       // no method, target and version with one space between them
  method,             // none that is served
  connect,            // CONNECT
  version,            // neither HTTP/1.0 nor HTTP/1.1
  http2,              // the preface of HTTP/2
  target,             // neither a path nor an absolute form of our own scheme
  host,               // no authority in a Host field
  no_host,            // HTTP/1.1 without one
  host_repeated,      // more than one
  host_differs,       // the target names another authority
  field_name,         // no token, or a blank before the colon
  field_value,        // a control byte, or a fold
  framing_name,       // content_length and such: somebody might read it as content-length
  connection_option,  // a Connection field names one that is for whom it is meant, see the reader
  line_end,           // a line that does not end in CR LF, or an empty line too much
  length,             // a Content-Length that is no plain number
  length_repeated,    // more than one
  length_and_coding,  // Content-Length beside Transfer-Encoding
  coding,             // a Transfer-Encoding other than one "chunked"; any in HTTP/1.0
  expectation,        // an Expect other than 100-continue
  h2c,                // an upgrade to HTTP/2 without TLS
  upgrade_body,       // an upgrade with a body in chunks
  head_too_large,     // more fields or bytes than the limits allow
  body,               // where none is taken
  chunk_size,         // no hexadecimal number, or too large a one
  chunk_line,         // odd bytes around a chunk, or an extension that is odd or too long
  chunk_overhead,     // far more bytes around the chunks than in them
  trailer,            // a field behind the body that is malformed or frames something
  trailers_too_large,
};
std::string_view to_string(Refusal refusal);

// A full sentence for the client.
std::string_view sentence(Refusal refusal);
int status_of(Refusal refusal);

}  // namespace sluice::http1
