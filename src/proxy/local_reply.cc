// SPDX-License-Identifier: GPL-3.0-or-later
// Answers of our own.
#include "sluice/proxy/local_reply.h"

#include "sluice/kubernetes/status.h"

namespace sluice::proxy {

using kubernetes::RequestClass;

std::string_view to_string(ReplyReason reason) {
  switch (reason) {
    case ReplyReason::bad_path: return "bad_path";
    case ReplyReason::bad_method: return "bad_method";
    case ReplyReason::malformed: return "malformed";
    case ReplyReason::head_too_large: return "head_too_large";
    case ReplyReason::unauthenticated: return "unauthenticated";
    case ReplyReason::certificate_refused: return "certificate_refused";
    case ReplyReason::misdirected: return "misdirected";
    case ReplyReason::hibernates: return "hibernates";
    case ReplyReason::no_backend: return "no_backend";
    case ReplyReason::no_place: return "no_place";
    case ReplyReason::backend_refused: return "backend_refused";
    case ReplyReason::backend_lost: return "backend_lost";
    case ReplyReason::backend_reset: return "backend_reset";
    case ReplyReason::answer_too_large: return "answer_too_large";
    case ReplyReason::identity_refused: return "identity_refused";
    case ReplyReason::timeout: return "timeout";
    case ReplyReason::overloaded: return "overloaded";
    case ReplyReason::worker_busy: return "worker_busy";
    case ReplyReason::client_overloads: return "client_overloads";
    case ReplyReason::anonymous_share: return "anonymous_share";
    case ReplyReason::unproven_share: return "unproven_share";
    case ReplyReason::tunnel_share: return "tunnel_share";
  }
  return "unknown";
}

LocalReply make_local_reply(int code, std::string_view message, int retry_after_seconds) {
  LocalReply reply;
  reply.body = kubernetes::status_json(
      {.code = code, .message = message, .retry_after_seconds = retry_after_seconds, .reason = {}});
  reply.head.status = code;
  reply.head.fields.add("content-type", kubernetes::status_content_type);
  reply.head.fields.add("content-length", std::to_string(reply.body.size()));
  reply.head.fields.add("cache-control", "no-cache, private");
  if (retry_after_seconds > 0) {
    reply.head.fields.add("retry-after", std::to_string(retry_after_seconds));
  }
  return reply;
}

LocalReply make_unanswered_reply(RequestClass request_class, ReplyReason reason, Retry retry,
                                 std::string_view message, Random& random) {
  // However it asked: it is to ask less.
  if (reason == ReplyReason::worker_busy || reason == ReplyReason::client_overloads ||
      reason == ReplyReason::anonymous_share || reason == ReplyReason::unproven_share ||
      reason == ReplyReason::tunnel_share) {
    return make_local_reply(429, message, 1 + static_cast<int>(random.below(5)));
  }
  const int soon = 1 + static_cast<int>(random.below(2));
  const int spread = 1 + static_cast<int>(random.below(5));
  const int failure = reason == ReplyReason::timeout ? 504 : 502;
  const bool costs_the_same_again =
      reason == ReplyReason::timeout || reason == ReplyReason::answer_too_large;
  const bool was_reset = reason == ReplyReason::backend_reset && retry != Retry::not_executed;
  switch (request_class) {
    case RequestClass::watch:
      if (costs_the_same_again) break;
      return make_local_reply(429, message, soon);
    case RequestClass::watch_list:
      if (costs_the_same_again) break;
      return make_local_reply(429, message, spread);
    // A query that may have killed one backend must not be handed to the next at once.
    case RequestClass::list:
      if (costs_the_same_again || was_reset) break;
      return make_local_reply(429, message, spread);
    case RequestClass::short_read:
      if (costs_the_same_again || was_reset) break;
      return make_local_reply(503, message, soon);
    case RequestClass::short_write:
    case RequestClass::long_running_other:
    case RequestClass::upgrade:
      if (retry == Retry::not_executed) {
        return costs_the_same_again ? make_local_reply(failure, message, 0)
                                    : make_local_reply(503, message, soon);
      }
      return make_local_reply(
          failure, std::string(message) + "; whether the request was executed is unknown", 0);
  }
  return make_local_reply(failure, message, 0);
}

}  // namespace sluice::proxy
