// SPDX-License-Identifier: GPL-3.0-or-later
// What the head of an answer says.
#include "answer_verdict.h"

#include "sluice/kubernetes/drain_answer.h"

namespace sluice::proxy {
namespace {

// Every request that passed API Priority and Fairness carries its UIDs in the answer
// (k8s.io/apiserver pkg/server/filters/priority-and-fairness.go): an answer without them comes from
// a filter before it.
bool passed_flow_control(const http::ResponseHead& head) {
  return head.fields.contains("x-kubernetes-pf-flowschema-uid") ||
         head.fields.contains("x-kubernetes-pf-prioritylevel-uid");
}

}  // namespace

Verdict judge_head(const http::ResponseHead& head, const RequestPlan& plan) {
  const bool skips_flow_control =
      plan.request_class == kubernetes::RequestClass::long_running_other;
  if (head.status == 401 && vouches(plan.pool) && !skips_flow_control &&
      !passed_flow_control(head)) {
    return Verdict::identity_refused;
  }
  return kubernetes::may_be_drain_answer(head, plan.request_class) ? Verdict::hold_back
                                                                   : Verdict::forward;
}

// Only an answer from behind authentication proves anything.
TokenVerdict judge_token(const RequestPlan& plan, int status) {
  if (!plan.bearer) return TokenVerdict::nothing;
  if (status == 401) return TokenVerdict::refused;
  const bool unproven = plan.pool == backend::PoolKind::suspect;
  return unproven && status != 429 && status < 500 ? TokenVerdict::proven : TokenVerdict::nothing;
}

}  // namespace sluice::proxy
