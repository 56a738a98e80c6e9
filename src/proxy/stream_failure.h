// SPDX-License-Identifier: GPL-3.0-or-later
// What a backend's stream that ended before its answer was whole means to the client, to metrics
// and to the access log. Pure.
#pragma once

#include <string_view>

#include "sluice/backend/backend_stream.h"
#include "sluice/observability/access_log.h"
#include "sluice/proxy/local_reply.h"
#include "sluice/proxy/proxy.h"

namespace sluice::proxy {

struct StreamFailure {
  // If no answer had begun: why the request could not be served, and that in a sentence,
  ReplyReason reason = ReplyReason::backend_reset;
  std::string_view message;
  // or why it was sent again.
  ReplayCause replay = ReplayCause::lost_before_answer;
  // If one had: who cut it short.
  observability::EndedBy ended_by = observability::EndedBy::backend_reset;
};

// `end` says anything but `completed`.
StreamFailure explain(const backend::StreamEnd& end);

}  // namespace sluice::proxy
