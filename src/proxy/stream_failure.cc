// SPDX-License-Identifier: GPL-3.0-or-later
// What a backend's stream that ended too early means.
#include "stream_failure.h"

#include <utility>

#include "sluice/base/check.h"

namespace sluice::proxy {
namespace {

using backend::StreamEnd;
using observability::EndedBy;

std::pair<ReplyReason, std::string_view> why_unanswered(StreamEnd::Cause cause) {
  switch (cause) {
    case StreamEnd::Cause::refused:
      return {ReplyReason::backend_refused, "the API server refused the request again and again"};
    case StreamEnd::Cause::connection_lost:
      return {ReplyReason::backend_lost, "the connection to the API server was lost"};
    case StreamEnd::Cause::not_connected:
      return {ReplyReason::no_backend, "the API server cannot be reached"};
    case StreamEnd::Cause::no_place:
      return {ReplyReason::no_place, "the connections to the API server have been full too long"};
    case StreamEnd::Cause::too_large:
      return {ReplyReason::answer_too_large,
              "the head of the API server's answer is larger than this gateway accepts "
              "(--response-head-bytes-max, --response-head-fields-max)"};
    case StreamEnd::Cause::completed:
    case StreamEnd::Cause::reset: break;
  }
  return {ReplyReason::backend_reset, "the API server reset the request"};
}

EndedBy who_cut(StreamEnd::Cause cause) {
  const bool stream_alone =
      cause == StreamEnd::Cause::reset || cause == StreamEnd::Cause::too_large;
  return stream_alone ? EndedBy::backend_reset : EndedBy::backend_lost;
}

}  // namespace

StreamFailure explain(const StreamEnd& end) {
  CHECK_NE(end.cause, StreamEnd::Cause::completed);
  const auto [reason, message] = why_unanswered(end.cause);
  return {.reason = reason,
          .message = message,
          .replay = end.retry == Retry::not_executed ? ReplayCause::not_executed
                                                     : ReplayCause::lost_before_answer,
          .ended_by = who_cut(end.cause)};
}

}  // namespace sluice::proxy
