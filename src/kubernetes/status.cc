// SPDX-License-Identifier: GPL-3.0-or-later
// Status objects as JSON.
#include "sluice/kubernetes/status.h"

#include <cstdint>

#include "utf8.h"

namespace sluice::kubernetes {
namespace {

// A JSON string (RFC 8259 section 7): quotes, backslashes and control bytes escaped, valid UTF-8.
// `<`,
// `>` and `&` are escaped as the API server escapes them, which keeps the text inert in a page.
void append_string(std::string_view text, std::string& out) {
  constexpr std::string_view digits = "0123456789abcdef";
  out += '"';
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t length = utf8_length(text, at);
    const char c = text[at];
    const auto byte = static_cast<std::uint8_t>(c);
    if (length == 0) {
      out += "\\ufffd";
      ++at;
      continue;
    }
    if (length > 1) {
      out += text.substr(at, length);
    } else if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '\r') {
      out += "\\r";
    } else if (c == '\t') {
      out += "\\t";
    } else if (byte < 0x20 || c == '<' || c == '>' || c == '&') {
      out += "\\u00";
      out += digits[byte >> 4];
      out += digits[byte & 15];
    } else {
      out += c;
    }
    at += length;
  }
  out += '"';
}

}  // namespace

std::string_view status_reason(int code) {
  switch (code) {
    case 400: return "BadRequest";
    case 401: return "Unauthorized";
    case 403: return "Forbidden";
    case 404: return "NotFound";
    case 405: return "MethodNotAllowed";
    case 406: return "NotAcceptable";
    case 408: return "Timeout";
    case 409: return "Conflict";
    case 410: return "Expired";
    case 413: return "RequestEntityTooLarge";
    case 415: return "UnsupportedMediaType";
    case 422: return "Invalid";
    case 429: return "TooManyRequests";
    case 500: return "InternalError";
    case 502: return "InternalError";
    case 503: return "ServiceUnavailable";
    case 504: return "Timeout";
    default: return "";
  }
}

std::string status_json(const StatusReply& reply) {
  const std::string_view reason = reply.reason.empty() ? status_reason(reply.code) : reply.reason;
  std::string json = R"({"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure")";
  json.reserve(json.size() + reply.message.size() + 128);
  if (!reply.message.empty()) {
    json += R"(,"message":)";
    append_string(reply.message, json);
  }
  if (!reason.empty()) {
    json += R"(,"reason":)";
    append_string(reason, json);
  }
  if (reply.retry_after_seconds > 0) {
    json += R"(,"details":{"retryAfterSeconds":)";
    json += std::to_string(reply.retry_after_seconds);
    json += '}';
  }
  json += R"(,"code":)";
  json += std::to_string(reply.code);
  json += "}\n";
  return json;
}

}  // namespace sluice::kubernetes
