// SPDX-License-Identifier: GPL-3.0-or-later
// Names, sentences and statuses of refusals.
#include "sluice/http1/refusal.h"

namespace sluice::http1 {

std::string_view to_string(Refusal refusal) {
  switch (refusal) {
    case Refusal::request_line: return "request_line";
    case Refusal::method: return "method";
    case Refusal::connect: return "connect";
    case Refusal::version: return "version";
    case Refusal::http2: return "http2";
    case Refusal::target: return "target";
    case Refusal::host: return "host";
    case Refusal::no_host: return "no_host";
    case Refusal::host_repeated: return "host_repeated";
    case Refusal::host_differs: return "host_differs";
    case Refusal::field_name: return "field_name";
    case Refusal::field_value: return "field_value";
    case Refusal::framing_name: return "framing_name";
    case Refusal::connection_option: return "connection_option";
    case Refusal::line_end: return "line_end";
    case Refusal::length: return "length";
    case Refusal::length_repeated: return "length_repeated";
    case Refusal::length_and_coding: return "length_and_coding";
    case Refusal::coding: return "coding";
    case Refusal::expectation: return "expectation";
    case Refusal::h2c: return "h2c";
    case Refusal::upgrade_body: return "upgrade_body";
    case Refusal::head_too_large: return "head_too_large";
    case Refusal::body: return "body";
    case Refusal::chunk_size: return "chunk_size";
    case Refusal::chunk_line: return "chunk_line";
    case Refusal::chunk_overhead: return "chunk_overhead";
    case Refusal::trailer: return "trailer";
    case Refusal::trailers_too_large: return "trailers_too_large";
  }
  return "unknown";
}

std::string_view sentence(Refusal refusal) {
  switch (refusal) {
    case Refusal::request_line: return "The request line is malformed.";
    case Refusal::method: return "The method is none that is served here.";
    case Refusal::connect: return "CONNECT is not served here.";
    case Refusal::version: return "Only HTTP/1.0 and HTTP/1.1 are spoken here.";
    case Refusal::http2:
      return "HTTP/2 was not agreed on when this connection began (ALPN \"h2\").";
    case Refusal::target:
      return "The request target is neither a path nor a URL of this connection's scheme.";
    case Refusal::host: return "The Host field is malformed.";
    case Refusal::no_host: return "The request has no Host field.";
    case Refusal::host_repeated: return "The request has two Host fields.";
    case Refusal::host_differs: return "The request target names another host than the Host field.";
    case Refusal::field_name: return "A field's name is malformed.";
    case Refusal::field_value: return "A field's value holds a control character or a line break.";
    case Refusal::connection_option:
      return "A Connection field names a field that says who asks, or what the body is.";
    case Refusal::framing_name:
      return "A field is named almost as those that tell where a request ends.";
    case Refusal::line_end: return "A line does not end in CR LF.";
    case Refusal::length: return "The Content-Length is not one plain number.";
    case Refusal::length_repeated: return "The request has two Content-Length fields.";
    case Refusal::length_and_coding:
      return "The request has both Content-Length and Transfer-Encoding.";
    case Refusal::coding:
      return "The only Transfer-Encoding that is taken is \"chunked\", once, in HTTP/1.1.";
    case Refusal::expectation: return "No Expect is met but \"100-continue\".";
    case Refusal::h2c: return "HTTP/2 is agreed on by ALPN here, not by an upgrade.";
    case Refusal::upgrade_body:
      return "The body of a request that asks to switch protocols needs a Content-Length.";
    case Refusal::head_too_large:
      return "The request has too many header fields, or too large ones.";
    case Refusal::body: return "A request body is not accepted.";
    case Refusal::chunk_size: return "A chunk's size is not a plain hexadecimal number.";
    case Refusal::chunk_line:
      return "The bytes around a chunk are malformed, or its extensions are too long.";
    case Refusal::chunk_overhead: return "The body comes in too many too small chunks.";
    case Refusal::trailer: return "A trailer field is malformed, or not allowed behind a body.";
    case Refusal::trailers_too_large: return "The trailer fields are too large.";
  }
  return "unknown";
}

int status_of(Refusal refusal) {
  switch (refusal) {
    case Refusal::method: return 501;
    case Refusal::connect: return 405;
    case Refusal::version:
    case Refusal::http2: return 505;
    case Refusal::expectation: return 417;
    case Refusal::head_too_large:
    case Refusal::trailers_too_large: return 431;
    default: return 400;
  }
}

}  // namespace sluice::http1
