// SPDX-License-Identifier: GPL-3.0-or-later
// The only place that turns a failure into an answer of our own: a Kubernetes Status with the code,
// the reason and the Retry-After that client-go reacts to in the right way.
//
// client-go repeats a request of any method when an answer of 429 or 5xx carries Retry-After
// (k8s.io/client-go rest/with_retry.go), ten times. So it accompanies what was surely not executed,
// and reads whose connection was lost; never a write whose outcome is unknown, nor a request that
// took too long, that its backend reset, or whose answer is too large: it would cost the same
// again. A watch that cannot start gets 429: any other failure makes a reflector list everything
// again (tools/cache/reflector.go isWatchErrorRetriable).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "sluice/base/error.h"
#include "sluice/base/random.h"
#include "sluice/http/message.h"
#include "sluice/kubernetes/long_running.h"

namespace sluice::proxy {

// Why a reply is ours: one label in metrics and in the access log.
enum class ReplyReason : std::uint8_t {
  bad_path,
  bad_method,
  malformed,  // it breaks a rule of HTTP
  head_too_large,
  unauthenticated,
  certificate_refused,  // a server would see a user in it that we do not carry
  misdirected,
  hibernates,        // the cluster has no backends
  no_backend,        // no backend could be reached: nothing was sent
  no_place,          // the connections to the backend were full for too long: nothing was sent
  backend_refused,   // the backend took the stream on no connection: not executed
  backend_lost,      // the connection ended before an answer
  backend_reset,     // the stream was reset before an answer
  answer_too_large,  // the head of the answer broke a limit of ours
  identity_refused,  // no backend takes the identity that we vouch for
  timeout,
  overloaded,        // a budget of ours is used up
  worker_busy,       // more work than its CPU can do, much of it of this client
  client_overloads,  // this client's share of it is
  anonymous_share,   // too many requests without a credential from its address wait already
  unproven_share,    // the same with tokens that have proven nothing
  tunnel_share,      // it has as many tunnels as one client may have
};
std::string_view to_string(ReplyReason reason);

struct LocalReply {
  http::ResponseHead head;
  std::string body;
};

LocalReply make_local_reply(int code, std::string_view message, int retry_after_seconds);

// What to answer when no backend answered: by what is known of the request's execution.
LocalReply make_unanswered_reply(kubernetes::RequestClass request_class, ReplyReason reason,
                                 Retry retry, std::string_view message, Random& random);

}  // namespace sluice::proxy
