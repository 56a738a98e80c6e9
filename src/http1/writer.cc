// SPDX-License-Identifier: GPL-3.0-or-later
// Responses as text.
#include "sluice/http1/writer.h"

#include <fmt/format.h>

#include <iterator>

#include "sluice/base/check.h"

namespace sluice::http1 {

std::string_view reason_phrase(int status) {
  switch (status) {
    case 200: return "OK";
    case 204: return "No Content";
    case 304: return "Not Modified";
    case 400: return "Bad Request";
    case 401: return "Unauthorized";
    case 403: return "Forbidden";
    case 404: return "Not Found";
    case 405: return "Method Not Allowed";
    case 408: return "Request Timeout";
    case 429: return "Too Many Requests";
    case 431: return "Request Header Fields Too Large";
    case 500: return "Internal Server Error";
    case 503: return "Service Unavailable";
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
