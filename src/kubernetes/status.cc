// SPDX-License-Identifier: GPL-3.0-or-later
// Status objects as JSON.
#include "sluice/kubernetes/status.h"

#include "sluice/base/json.h"

namespace sluice::kubernetes {

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
  std::string text = R"({"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure")";
  text.reserve(text.size() + reply.message.size() + 128);
  if (!reply.message.empty()) {
    text += R"(,"message":)";
    json::append_string(text, reply.message, json::Reader::page);
  }
  if (!reason.empty()) {
    text += R"(,"reason":)";
    json::append_string(text, reason, json::Reader::page);
  }
  if (reply.retry_after_seconds > 0) {
    text += R"(,"details":{"retryAfterSeconds":)";
    text += std::to_string(reply.retry_after_seconds);
    text += '}';
  }
  text += R"(,"code":)";
  text += std::to_string(reply.code);
  text += "}\n";
  return text;
}

}  // namespace sluice::kubernetes
