// SPDX-License-Identifier: GPL-3.0-or-later
// Which answers tell something of their backend, and which could be anybody's.
#include "evidence.h"

#include <gtest/gtest.h>

namespace sluice::proxy {
namespace {

using backend::PoolKind;
using kubernetes::RequestClass;

constexpr const char* pod = "/api/v1/namespaces/default/pods/web";

http::ResponseHead answer(int status, bool behind_flow_control = false) {
  http::ResponseHead head;
  head.status = status;
  if (behind_flow_control) head.fields.add("x-kubernetes-pf-flowschema-uid", "1");
  return head;
}

RequestPlan plan(const char* path = pod, RequestClass request_class = RequestClass::short_read,
                 PoolKind pool = PoolKind::bearer) {
  RequestPlan plan;
  plan.info = kubernetes::parse_request_info("GET", path);
  plan.request_class = request_class;
  plan.pool = pool;
  return plan;
}

// Whether late or not.
void expect(Evidence evidence, const http::ResponseHead& head, const RequestPlan& asked) {
  for (const bool late : {false, true}) {
    EXPECT_EQ(evidence_of(head, asked, late), evidence) << head.status << " " << asked.info.path;
  }
}

TEST(EvidenceTest, WhatAServerAnswersIsAsGoodAsItIsSoon) {
  for (const int status : {200, 201, 304, 400, 401, 403, 404, 409, 410, 422}) {
    expect(Evidence::answer, answer(status), plan());
    expect(Evidence::answer, answer(status, true), plan());
  }
}

TEST(EvidenceTest, AServersOwn5xxIsAFailure) {
  for (const int status : {500, 503, 504}) {
    expect(Evidence::failure, answer(status), plan());
    expect(Evidence::failure, answer(status, true), plan());
  }
  expect(Evidence::failure, answer(502), plan());
  expect(Evidence::nothing, answer(502, true), plan());
}

TEST(EvidenceTest, WhatAnotherServerMayHaveAnsweredSaysNothingBad) {
  for (const char* path :
       {"/apis/metrics.k8s.io/v1beta1/nodes/a", "/api/v1/namespaces/a/services/s/proxy/",
        "/api/v1/nodes/n/proxy/", "/openapi/v2"}) {
    for (const int status : {429, 500, 502, 503, 504}) {
      expect(Evidence::nothing, answer(status), plan(path));
      expect(Evidence::nothing, answer(status, true), plan(path));
    }
    EXPECT_EQ(evidence_of(answer(200), plan(path), true), Evidence::nothing) << path;
  }
}

TEST(EvidenceTest, ARefusalIsAnOverloadOnlyWhenFlowControlSaysItOfAReadOrAWrite) {
  expect(Evidence::overload, answer(429, true), plan());
  expect(Evidence::overload, answer(429, true), plan(pod, RequestClass::short_write));
  // Whose caches are not filled yet has room for others.
  expect(Evidence::nothing, answer(429, true), plan("/api/v1/pods", RequestClass::list));
  expect(Evidence::nothing, answer(429), plan());
}

TEST(EvidenceTest, OnlyShortRequestsOfProvenClientsAreCompared) {
  EXPECT_EQ(compared_as(plan()), balance::AnswerKind::read);
  EXPECT_EQ(compared_as(plan(pod, RequestClass::short_write, PoolKind::identity)),
            balance::AnswerKind::write);
  EXPECT_EQ(compared_as(plan(pod, RequestClass::list)), balance::AnswerKind::list);
  for (const RequestClass other : {RequestClass::watch, RequestClass::watch_list,
                                   RequestClass::long_running_other, RequestClass::upgrade}) {
    EXPECT_EQ(compared_as(plan(pod, other)), std::nullopt);
  }
  // Whoever has no name can be many, and costs its server time before it is turned away.
  for (const PoolKind suspect : {PoolKind::suspect, PoolKind::suspect_identity}) {
    EXPECT_EQ(compared_as(plan(pod, RequestClass::short_read, suspect)), std::nullopt);
  }
}

}  // namespace
}  // namespace sluice::proxy
