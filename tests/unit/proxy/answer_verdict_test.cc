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

// With API Priority and Fairness off nothing else tells them apart.
TEST(AnswerVerdictTest, A401ThatAnotherServerMayHaveGivenSaysNothing) {
  for (const char* path :
       {"/apis/metrics.k8s.io/v1beta1/nodes", "/api/v1/namespaces/a/services/s/proxy/",
        "/api/v1/nodes/n/proxy/", "/api/v1/namespaces/a/pods/p/log", "/openapi/v2"}) {
    for (const PoolKind pool : {PoolKind::identity, PoolKind::bearer, PoolKind::suspect}) {
      RequestPlan asked = plan(pool);
      asked.info = kubernetes::parse_request_info("GET", path);
      EXPECT_EQ(judge_head(answer(401), asked), Verdict::forward) << path;
      EXPECT_EQ(judge_token(answer(401), "GET", asked), TokenVerdict::nothing) << path;
    }
  }
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

TEST(AnswerVerdictTest, AWholeAnswerThatWasHeldBackSaysWhetherItsServerShutsDown) {
  http::ResponseHead head = answer(429);
  head.fields.add("content-type", "text/plain; charset=utf-8");
  head.fields.add("retry-after", "5");
  const std::string text = "The apiserver is shutting down, please try again later.\n";
  const RequestPlan asked = plan(PoolKind::bearer);
  EXPECT_EQ(judge_whole(head, text, asked), Finding::draining);
  EXPECT_EQ(judge_whole(head, text + "x", asked), Finding::nothing);
  EXPECT_EQ(judge_whole(head, text, plan(PoolKind::bearer, RequestClass::long_running_other)),
            Finding::nothing);
}

constexpr std::string_view stale =
    R"({"kind":"Status","details":{"causes":[{"reason":"ResourceVersionTooLarge"}]},"code":504})";
constexpr std::string_view initializing =
    R"({"kind":"Status","message":"storage is (re)initializing","code":429})";

RequestPlan asks(std::string_view method, std::string_view path) {
  RequestPlan asked = plan(PoolKind::identity);
  asked.info = kubernetes::parse_request_info(method, path);
  asked.request_class = kubernetes::classify(asked.info);
  return asked;
}

http::ResponseHead status_object(int status) {
  http::ResponseHead head = answer(status);
  head.fields.add("content-type", "application/json");
  head.fields.add("x-kubernetes-pf-flowschema-uid", "1");
  return head;
}

TEST(AnswerVerdictTest, AReadThatAServerCannotAnswerYetIsHeldBackAndSaysSo) {
  for (const char* path : {"/api/v1/pods?resourceVersion=9", "/api/v1/pods?watch=1",
                           "/apis/apps/v1/namespaces/a/deployments?watch=1&resourceVersion=9"}) {
    const RequestPlan asked = asks("GET", path);
    EXPECT_EQ(judge_head(status_object(504), asked), Verdict::hold_back) << path;
    EXPECT_EQ(judge_head(status_object(429), asked), Verdict::hold_back) << path;
    EXPECT_EQ(judge_whole(status_object(504), stale, asked), Finding::stale) << path;
    EXPECT_EQ(judge_whole(status_object(429), initializing, asked), Finding::initializing) << path;
    EXPECT_EQ(judge_whole(status_object(504), initializing, asked), Finding::nothing) << path;
  }
  const RequestPlan get = asks("GET", "/api/v1/namespaces/a/pods/p?resourceVersion=9");
  EXPECT_EQ(judge_whole(status_object(504), stale, get), Finding::stale);
  EXPECT_EQ(judge_head(status_object(429), get), Verdict::forward);
}

TEST(AnswerVerdictTest, AnUnknownPathSaysSomethingOfAServerWhileVersionsDiffer) {
  http::ResponseHead head = answer(404);
  head.fields.add("content-type", "text/plain; charset=utf-8");
  const std::string_view text = "404 page not found\n";
  for (const auto& [method, path] : std::initializer_list<std::pair<const char*, const char*>>{
           {"GET", "/apis/resource.k8s.io/v1"},
           {"GET", "/apis/resource.k8s.io"},
           {"POST", "/apis/resource.k8s.io/v1/deviceclasses"},
           {"DELETE", "/api/v1/namespaces/a/news/n"},
           {"GET", "/apis/apps/v2/deployments?watch=1"}}) {
    const RequestPlan asked = asks(method, path);
    EXPECT_EQ(judge_head(head, asked, true), Verdict::hold_back) << path;
    EXPECT_EQ(judge_head(head, asked, false), Verdict::forward) << path;
    EXPECT_EQ(judge_whole(head, text, asked), Finding::unknown_path) << path;
    EXPECT_EQ(judge_whole(head, "404", asked), Finding::nothing) << path;
  }
  for (const auto& [method, path] : std::initializer_list<std::pair<const char*, const char*>>{
           {"GET", "/apis/example.com/v1"},
           {"POST", "/apis/example.com/v1/things"},
           {"GET", "/openapi/v3/apis/resource.k8s.io/v1"},
           {"GET", "/something"},
           {"POST", "/api/v1/namespaces/a/services/s/proxy/x"},
           {"POST", "/api/v1/namespaces/a/pods/p/exec"}}) {
    EXPECT_EQ(judge_head(head, asks(method, path), true), Verdict::forward) << path;
  }
  RequestPlan upgrade = asks("GET", "/apis/resource.k8s.io/v1/things");
  upgrade.request_class = RequestClass::upgrade;
  EXPECT_EQ(judge_head(head, upgrade, true), Verdict::forward);
}

TEST(AnswerVerdictTest, WritesAndWhatAnotherServerMayHaveAnsweredSayNothingOfTheServer) {
  for (const auto& [method, path] : std::initializer_list<std::pair<const char*, const char*>>{
           {"POST", "/api/v1/namespaces/a/pods"},
           {"DELETE", "/api/v1/namespaces/a/pods"},
           {"GET", "/apis/example.com/v1/things"},
           {"GET", "/apis/metrics.k8s.io/v1beta1/nodes"},
           {"GET", "/api/v1/namespaces/a/services/s/proxy/list"},
           {"GET", "/api/v1/namespaces/a/pods/p/log"},
           {"GET", "/healthz"}}) {
    const RequestPlan asked = asks(method, path);
    for (const int status : {504, 429}) {
      EXPECT_EQ(judge_head(status_object(status), asked), Verdict::forward) << method << path;
    }
    EXPECT_EQ(judge_whole(status_object(504), stale, asked), Finding::nothing) << method << path;
  }
}

TEST(AnswerVerdictTest, ATokenIsProvenByAnAnswerFromBehindAuthentication) {
  for (const PoolKind pool : {PoolKind::suspect, PoolKind::bearer}) {
    for (const int status : {200, 201, 204}) {
      EXPECT_EQ(judge_token(answer(status), "GET", plan(pool)), TokenVerdict::proven) << status;
    }
    for (const int status : {301, 400, 401, 403, 404, 409, 429, 500, 503}) {
      http::ResponseHead head = answer(status);
      head.fields.add("x-kubernetes-pf-flowschema-uid", "1");
      EXPECT_EQ(judge_token(head, "GET", plan(pool)), TokenVerdict::proven) << status;
    }
  }
}

// What stands before authentication answers anybody.
TEST(AnswerVerdictTest, AnAnswerThatAnybodyCanHaveProvesNoToken) {
  for (const int status : {301, 400, 403, 404, 405, 413, 429, 500, 503, 504}) {
    EXPECT_EQ(judge_token(answer(status), "GET", plan(PoolKind::suspect)), TokenVerdict::nothing)
        << status;
  }
  EXPECT_EQ(judge_token(answer(204), "OPTIONS", plan(PoolKind::suspect)), TokenVerdict::nothing);
}

TEST(AnswerVerdictTest, A401RefusesAToken) {
  EXPECT_EQ(judge_token(answer(401), "GET", plan(PoolKind::bearer)), TokenVerdict::refused);
  EXPECT_EQ(judge_token(answer(401), "GET", plan(PoolKind::suspect)), TokenVerdict::refused);
}

TEST(AnswerVerdictTest, WithoutATokenNothingIsSaidOfOne) {
  EXPECT_EQ(judge_token(answer(200), "GET", plan(PoolKind::identity)), TokenVerdict::nothing);
  EXPECT_EQ(judge_token(answer(401), "GET", plan(PoolKind::identity)), TokenVerdict::nothing);
}

}  // namespace
}  // namespace sluice::proxy
