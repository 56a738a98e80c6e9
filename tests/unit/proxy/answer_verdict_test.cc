// SPDX-License-Identifier: GPL-3.0-or-later
// What an answer's head says of the backend and of the client's token.
#include "answer_verdict.h"

#include <gtest/gtest.h>

namespace sluice::proxy {
namespace {

using backend::PoolKind;
using kubernetes::RequestClass;

http::ResponseHead answer(int status) {
  http::ResponseHead head;
  head.status = status;
  return head;
}

RequestPlan plan(PoolKind pool, RequestClass request_class = RequestClass::short_read) {
  RequestPlan plan;
  plan.pool = pool;
  plan.request_class = request_class;
  plan.bearer = !vouches(pool);
  return plan;
}

TEST(AnswerVerdictTest, A401ToOurOwnCertificateSaysThatItIsNotTrusted) {
  EXPECT_EQ(judge_head(answer(401), plan(PoolKind::identity)), Verdict::identity_refused);
  EXPECT_EQ(judge_head(answer(401), plan(PoolKind::suspect_identity)), Verdict::identity_refused);
  EXPECT_EQ(judge_head(answer(403), plan(PoolKind::identity)), Verdict::forward);
}

TEST(AnswerVerdictTest, A401ToATokenIsTheClients) {
  EXPECT_EQ(judge_head(answer(401), plan(PoolKind::bearer)), Verdict::forward);
  EXPECT_EQ(judge_head(answer(401), plan(PoolKind::suspect)), Verdict::forward);
}

// It comes from behind authentication: a webhook, or what stands behind a proxy subresource.
TEST(AnswerVerdictTest, A401FromBehindFlowControlIsTheClients) {
  for (const char* name : {"x-kubernetes-pf-flowschema-uid", "x-kubernetes-pf-prioritylevel-uid"}) {
    http::ResponseHead head = answer(401);
    head.fields.add(name, "1");
    EXPECT_EQ(judge_head(head, plan(PoolKind::identity)), Verdict::forward) << name;
  }
}

TEST(AnswerVerdictTest, WhatSkipsFlowControlCannotTellWhose401ItIs) {
  EXPECT_EQ(judge_head(answer(401), plan(PoolKind::identity, RequestClass::long_running_other)),
            Verdict::forward);
}

TEST(AnswerVerdictTest, WhatMayBeADrainAnswerIsHeldBack) {
  http::ResponseHead head = answer(429);
  head.fields.add("content-type", "text/plain; charset=utf-8");
  head.fields.add("retry-after", "5");
  head.fields.add("x-content-type-options", "nosniff");
  head.fields.add("content-length", "56");
  EXPECT_EQ(judge_head(head, plan(PoolKind::bearer)), Verdict::hold_back);
  EXPECT_EQ(judge_head(head, plan(PoolKind::bearer, RequestClass::long_running_other)),
            Verdict::forward);
  EXPECT_EQ(judge_head(answer(200), plan(PoolKind::bearer)), Verdict::forward);
}

TEST(AnswerVerdictTest, ATokenIsProvenByAnAnswerFromBehindAuthentication) {
  for (const int status : {200, 201, 301, 403, 404, 409}) {
    EXPECT_EQ(judge_token(plan(PoolKind::suspect), status), TokenVerdict::proven) << status;
  }
  for (const int status : {429, 500, 502, 503, 504}) {
    EXPECT_EQ(judge_token(plan(PoolKind::suspect), status), TokenVerdict::nothing) << status;
  }
}

TEST(AnswerVerdictTest, AProvenTokenNeedsNoProofAndLosesItByA401) {
  EXPECT_EQ(judge_token(plan(PoolKind::bearer), 200), TokenVerdict::nothing);
  EXPECT_EQ(judge_token(plan(PoolKind::bearer), 401), TokenVerdict::refused);
  EXPECT_EQ(judge_token(plan(PoolKind::suspect), 401), TokenVerdict::refused);
}

TEST(AnswerVerdictTest, WithoutATokenNothingIsSaidOfOne) {
  EXPECT_EQ(judge_token(plan(PoolKind::identity), 200), TokenVerdict::nothing);
  EXPECT_EQ(judge_token(plan(PoolKind::identity), 401), TokenVerdict::nothing);
}

}  // namespace
}  // namespace sluice::proxy
