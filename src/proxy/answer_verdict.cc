// SPDX-License-Identifier: GPL-3.0-or-later
// What the head of an answer says.
#include "answer_verdict.h"

#include "sluice/kubernetes/answering_server.h"
#include "sluice/kubernetes/drain_answer.h"

namespace sluice::proxy {
namespace {

// A 401 that the API server's own authentication has given.
bool is_unauthenticated(const http::ResponseHead& head, const RequestPlan& plan) {
  return head.status == 401 && !passed_flow_control(head) &&
         !kubernetes::may_be_answered_by_another(plan.info);
}

}  // namespace

bool passed_flow_control(const http::ResponseHead& head) {
  return head.fields.contains("x-kubernetes-pf-flowschema-uid") ||
         head.fields.contains("x-kubernetes-pf-prioritylevel-uid");
}

Verdict judge_head(const http::ResponseHead& head, const RequestPlan& plan) {
  if (vouches(plan.pool) && is_unauthenticated(head, plan)) return Verdict::identity_refused;
  return kubernetes::may_be_drain_answer(head, plan.request_class) ? Verdict::hold_back
                                                                   : Verdict::forward;
}

// An anonymous OPTIONS may be answered by the filter for CORS (k8s.io/apiserver
// pkg/server/filters/cors.go), which stands before authentication.
TokenVerdict judge_token(const http::ResponseHead& head, std::string_view method,
                         const RequestPlan& plan) {
  if (!plan.bearer) return TokenVerdict::nothing;
  const bool success =
      head.status == 101 || (head.status >= 200 && head.status < 300 && method != "OPTIONS");
  if (success || passed_flow_control(head)) return TokenVerdict::proven;
  return is_unauthenticated(head, plan) ? TokenVerdict::refused : TokenVerdict::nothing;
}

}  // namespace sluice::proxy
