// SPDX-License-Identifier: GPL-3.0-or-later
// Responses as text.
#include "sluice/http1/writer.h"

#include <fmt/format.h>

#include <iterator>

#include "sluice/base/check.h"

namespace sluice::http1 {

std::string_view reason_phrase(int status) {
  switch (status) {
    case 100: return "Continue";
    case 101: return "Switching Protocols";
    case 103: return "Early Hints";
    case 200: return "OK";
    case 201: return "Created";
    case 202: return "Accepted";
    case 204: return "No Content";
    case 206: return "Partial Content";
    case 301: return "Moved Permanently";
    case 302: return "Found";
    case 303: return "See Other";
    case 304: return "Not Modified";
    case 307: return "Temporary Redirect";
    case 308: return "Permanent Redirect";
    case 400: return "Bad Request";
    case 401: return "Unauthorized";
    case 403: return "Forbidden";
    case 404: return "Not Found";
    case 405: return "Method Not Allowed";
    case 406: return "Not Acceptable";
    case 408: return "Request Timeout";
    case 409: return "Conflict";
    case 410: return "Gone";
    case 412: return "Precondition Failed";
    case 413: return "Content Too Large";
    case 415: return "Unsupported Media Type";
    case 417: return "Expectation Failed";
    case 421: return "Misdirected Request";
    case 422: return "Unprocessable Content";
    case 429: return "Too Many Requests";
    case 431: return "Request Header Fields Too Large";
    case 500: return "Internal Server Error";
    case 501: return "Not Implemented";
    case 502: return "Bad Gateway";
    case 503: return "Service Unavailable";
    case 504: return "Gateway Timeout";
    case 505: return "HTTP Version Not Supported";
    default: return "Unknown";
  }
}

void append_response(std::string& out, const Response& response) {
  CHECK(response.status >= 200 && response.status <= 999);
  // RFC 9110 section 8.6: neither of these may have a length.
  const bool bodiless = response.status == 204 || response.status == 304;
  fmt::format_to(std::back_inserter(out), "HTTP/1.1 {} {}\r\n", response.status,
                 reason_phrase(response.status));
  if (!bodiless) {
    fmt::format_to(std::back_inserter(out), "content-type: {}\r\ncontent-length: {}\r\n",
                   response.content_type, response.body.size());
  }
  fmt::format_to(std::back_inserter(out),
                 "cache-control: no-store\r\nx-content-type-options: nosniff\r\n{}{}\r\n",
                 response.extra_fields, response.keep_alive ? "" : "connection: close\r\n");
  if (!bodiless && !response.head_only) out += response.body;
}

}  // namespace sluice::http1
