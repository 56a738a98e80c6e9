// SPDX-License-Identifier: GPL-3.0-or-later
// What an answer says.
#include "answer_verdict.h"

#include "sluice/http/told_length.h"
#include "sluice/kubernetes/answering_server.h"

namespace sluice::proxy {
namespace {

using kubernetes::RequestClass;
using kubernetes::ServerLag;

// A 401 that the API server's own authentication has given.
bool is_unauthenticated(const http::ResponseHead& head, const RequestPlan& plan) {
  return head.status == 401 && !kubernetes::passed_flow_control(head) &&
         !kubernetes::may_be_answered_by_another(plan.info);
}

// What may be moved: of requests that the API server answers itself those for a path that it does
// not know, and reads that it cannot serve yet.
Finding finding_of(ServerLag lag, const RequestPlan& plan) {
  const kubernetes::RequestInfo& info = plan.info;
  if (kubernetes::may_be_answered_by_another(info) || plan.request_class == RequestClass::upgrade) {
    return Finding::nothing;
  }
  if (lag == ServerLag::unknown_path) {
    return info.is_resource || kubernetes::describes_server(info) ? Finding::unknown_path
                                                                  : Finding::nothing;
  }
  if (!info.is_resource) return Finding::nothing;
  const bool collection = plan.request_class == RequestClass::list || is_watch(plan.request_class);
  switch (lag) {
    case ServerLag::stale:
      return collection || plan.request_class == RequestClass::short_read ? Finding::stale
                                                                          : Finding::nothing;
    case ServerLag::initializing: return collection ? Finding::initializing : Finding::nothing;
    case ServerLag::unknown_path:
    case ServerLag::none: return Finding::nothing;
  }
  return Finding::nothing;
}

}  // namespace

Verdict judge_head(const http::ResponseHead& head, const RequestPlan& plan, bool versions_differ) {
  if (vouches(plan.pool) && is_unauthenticated(head, plan)) return Verdict::identity_refused;
  if (kubernetes::may_be_drain_answer(head, plan.request_class)) return Verdict::hold_back;
  const ServerLag lag = kubernetes::may_tell_lag(head);
  if (lag == ServerLag::none) return Verdict::forward;
  if (lag == ServerLag::unknown_path && !versions_differ) return Verdict::forward;
  return finding_of(lag, plan) == Finding::nothing ? Verdict::forward : Verdict::hold_back;
}

Finding judge_whole(const http::ResponseHead& head, std::string_view body,
                    const RequestPlan& plan) {
  if (kubernetes::is_drain_answer(head, body, plan.request_class)) return Finding::draining;
  return finding_of(kubernetes::lag_told_by(head, body), plan);
}

bool may_be_brief(const http::ResponseHead& head, const RequestPlan& plan) {
  if (plan.request_class != RequestClass::short_read &&
      plan.request_class != RequestClass::short_write) {
    return false;
  }
  if (const auto length = http::told_length(head.fields)) return *length <= brief_bytes_max;
  return !kubernetes::may_be_answered_by_another(plan.info);
}

// An anonymous OPTIONS may be answered by the filter for CORS (k8s.io/apiserver
// pkg/server/filters/cors.go), which stands before authentication.
TokenVerdict judge_token(const http::ResponseHead& head, std::string_view method,
                         const RequestPlan& plan) {
  if (!plan.bearer) return TokenVerdict::nothing;
  const bool success =
      head.status == 101 || (head.status >= 200 && head.status < 300 && method != "OPTIONS");
  if (success || kubernetes::passed_flow_control(head)) return TokenVerdict::proven;
  return is_unauthenticated(head, plan) ? TokenVerdict::refused : TokenVerdict::nothing;
}

}  // namespace sluice::proxy
