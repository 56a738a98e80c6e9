// SPDX-License-Identifier: GPL-3.0-or-later
// From a head and a client to where the request goes, for whom, or why not.
#include "request_plan.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace sluice::proxy {
namespace {

using backend::PoolKind;
using kubernetes::NoIdentity;
using kubernetes::RequestClass;

constexpr WallTime now{std::chrono::seconds(1'800'000'000)};

http::RequestHead head_of(std::string_view method, std::string_view path) {
  http::RequestHead head;
  head.method = method;
  head.scheme = "https";
  head.authority = "kubernetes";
  head.path = path;
  return head;
}

class RequestPlanTest : public testing::Test {
 protected:
  RequestPlanTest() {
    facts.address = "192.0.2.1";
    facts.peer = "192.0.2.1:4711";
  }
  void be(std::string_view user, Duration valid = std::chrono::hours(1)) {
    facts.identity = kubernetes::Identity{std::string(user), {"dev"}, "", ""};
    facts.identity_not_after = now + std::chrono::duration_cast<std::chrono::seconds>(valid);
    facts.anonymous = kubernetes::is_anonymous(*facts.identity);
  }
  std::expected<void, Refusal> plan_with(std::string_view authorization) {
    head = head_of("GET", "/api/v1/pods");
    if (!authorization.empty()) head.fields.add("authorization", authorization);
    head.fields.add("x-remote-group", "system:masters");
    plan = *plan_request(head);
    return plan_identity(plan, head, facts, {vouches, anonymous, fields}, proofs, last, now);
  }
  std::string_view field(std::string_view name) const {
    return head.fields.find(name).value_or("(absent)");
  }

  ClientFacts facts;
  bool vouches = true;
  bool anonymous = true;
  kubernetes::IdentityFields fields = *kubernetes::IdentityFields::make({});
  TokenProofs proofs{10, {1, 2}};
  LastToken last;
  http::RequestHead head;
  RequestPlan plan;
};

TEST(RequestPlan, ClassesAreThoseOfAnApiServer) {
  struct Case {
    std::string_view method, path;
    RequestClass expected;
  };
  for (const Case& c : std::vector<Case>{
           {"GET", "/api/v1/namespaces/a/pods/b", RequestClass::short_read},
           {"POST", "/api/v1/namespaces/a/pods", RequestClass::short_write},
           {"GET", "/api/v1/pods", RequestClass::list},
           {"GET", "/api/v1/pods?watch=1&resourceVersion=5", RequestClass::watch},
           {"GET", "/api/v1/pods?watch=1", RequestClass::watch_list},
           {"GET", "/api/v1/namespaces/a/pods/b/log", RequestClass::long_running_other},
       }) {
    const http::RequestHead head = head_of(c.method, c.path);
    const auto plan = plan_request(head);
    ASSERT_TRUE(plan) << c.path;
    EXPECT_EQ(plan->request_class, c.expected) << c.path;
  }
}

// RFC 9110 section 9.3.7.
TEST(RequestPlan, OptionsOfTheServerItselfAreNoPathAndAreAskedFor) {
  const http::RequestHead head = head_of("OPTIONS", "*");
  const auto plan = plan_request(head);
  ASSERT_TRUE(plan);
  EXPECT_FALSE(plan->info.is_resource);
  EXPECT_FALSE(plan_request(head_of("GET", "*")));
  EXPECT_FALSE(plan_request(head_of("OPTIONS", "*/")));
}

TEST(RequestPlan, WhatNoServerMayBeAskedIsRefused) {
  const auto path = plan_request(head_of("GET", "/api/\x01"));
  ASSERT_FALSE(path);
  EXPECT_EQ(path.error().code, 400);
  EXPECT_EQ(path.error().reason, ReplyReason::bad_path);
  const auto method = plan_request(head_of("CONNECT", "/"));
  ASSERT_FALSE(method);
  EXPECT_EQ(method.error().code, 405);
}

TEST_F(RequestPlanTest, WhatIsSharedIsSharedByNetworkUntilSomebodyIsProven) {
  facts.keys = {.network = 11, .user = 22};
  ASSERT_TRUE(plan_with(""));
  EXPECT_EQ(plan.standing, backend::Standing::stranger);
  EXPECT_EQ(plan.client, 11U);
  for (const char* token : {"Bearer a", "Bearer b"}) {
    ASSERT_TRUE(plan_with(token));
    EXPECT_EQ(plan.standing, backend::Standing::unproven);
    EXPECT_EQ(plan.client, 11U);
    proofs.prove(plan.token, 1);
    ASSERT_TRUE(plan_with(token));
    EXPECT_EQ(plan.standing, backend::Standing::proven);
    EXPECT_EQ(plan.client, 11U ^ plan.token.low);
  }
  be("alice");
  ASSERT_TRUE(plan_with(""));
  EXPECT_EQ(plan.standing, backend::Standing::proven);
  EXPECT_EQ(plan.client, 22U);
  be("system:anonymous");
  ASSERT_TRUE(plan_with(""));
  EXPECT_EQ(plan.standing, backend::Standing::stranger);
  EXPECT_EQ(plan.client, 11U);
}

TEST_F(RequestPlanTest, WhatAClusterFallsApartWithoutIsNeverShed) {
  const auto never_shed = [&](std::string_view method, std::string_view path) {
    head = head_of(method, path);
    plan = *plan_request(head);
    EXPECT_TRUE(plan_identity(plan, head, facts, {vouches, anonymous, fields}, proofs, last, now));
    return is_never_shed(plan, facts);
  };
  const std::string lease = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/a";
  EXPECT_FALSE(never_shed("PUT", lease));  // anybody can ask for it
  be("alice");
  EXPECT_TRUE(never_shed("PUT", lease));
  EXPECT_TRUE(never_shed("POST", "/apis/authentication.k8s.io/v1/tokenreviews"));
  EXPECT_TRUE(never_shed("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews"));
  EXPECT_TRUE(never_shed("PATCH", "/api/v1/nodes/a/status"));
  EXPECT_FALSE(never_shed("GET", "/api/v1/nodes/a"));
  EXPECT_FALSE(never_shed("GET", "/api/v1/pods"));
  be("system:kube-scheduler");
  EXPECT_TRUE(never_shed("GET", "/api/v1/pods"));
  be("system:node:a");
  EXPECT_FALSE(never_shed("GET", "/api/v1/pods"));
  facts.identity->groups = {"system:nodes"};
  EXPECT_TRUE(never_shed("GET", "/api/v1/pods"));
}

TEST_F(RequestPlanTest, ACertificatesUserTravelsAloneWhateverElseIsSaid) {
  be("alice");
  ASSERT_TRUE(plan_with("Bearer abc"));
  EXPECT_EQ(plan.pool, PoolKind::identity);
  EXPECT_EQ(plan.user, "alice");
  EXPECT_FALSE(plan.bearer || plan.anonymous);
  EXPECT_EQ(field("x-remote-user"), "alice");
  EXPECT_EQ(field("x-remote-group"), "dev");
  EXPECT_EQ(field("authorization"), "(absent)");
  EXPECT_EQ(field("x-forwarded-for"), "192.0.2.1");
  EXPECT_EQ(plan.identity_fields_dropped, 1U);
}

TEST_F(RequestPlanTest, AUserWhoIsAnonymousByNameIsASuspect) {
  be("system:anonymous");
  ASSERT_TRUE(plan_with(""));
  EXPECT_EQ(plan.pool, PoolKind::suspect_identity);
}

TEST_F(RequestPlanTest, ATokenIsASuspectUntilItIsProven) {
  ASSERT_TRUE(plan_with("Bearer abc"));
  EXPECT_EQ(plan.pool, PoolKind::suspect);
  EXPECT_TRUE(plan.bearer);
  EXPECT_EQ(field("authorization"), "Bearer abc");
  EXPECT_EQ(field("x-remote-group"), "(absent)");
  proofs.prove(plan.token, 1);
  ASSERT_TRUE(plan_with("Bearer abc"));
  EXPECT_EQ(plan.pool, PoolKind::bearer);
  ASSERT_TRUE(plan_with("Bearer abd"));
  EXPECT_EQ(plan.pool, PoolKind::suspect);
}

TEST_F(RequestPlanTest, NoCredentialIsAnonymousAndAnUnknownOneIsNot) {
  ASSERT_TRUE(plan_with(""));
  EXPECT_EQ(plan.pool, PoolKind::suspect);
  EXPECT_TRUE(plan.anonymous);
  ASSERT_TRUE(plan_with("Basic abc"));
  EXPECT_EQ(plan.pool, PoolKind::suspect);
  EXPECT_FALSE(plan.anonymous || plan.bearer);
}

TEST_F(RequestPlanTest, AnExpiredCertificateIsNoIdentityAndNotAnonymousEither) {
  be("alice", -std::chrono::seconds(1));
  const auto alone = plan_with("");
  ASSERT_FALSE(alone);
  EXPECT_EQ(alone.error().code, 401);
  EXPECT_EQ(alone.error().reason, ReplyReason::unauthenticated);
  EXPECT_EQ(alone.error().why, kubernetes::to_string(NoIdentity::expired));
  ASSERT_TRUE(plan_with("Bearer abc"));
  EXPECT_EQ(plan.pool, PoolKind::suspect);
  EXPECT_EQ(field("x-remote-user"), "(absent)");
}

TEST_F(RequestPlanTest, WithoutAFrontProxyCertificateATokenDecides) {
  vouches = false;
  be("alice");
  ASSERT_TRUE(plan_with("Bearer abc"));
  EXPECT_EQ(plan.pool, PoolKind::suspect);
  EXPECT_EQ(field("x-remote-user"), "(absent)");
  EXPECT_FALSE(plan_with(""));
}

// As an API server with --anonymous-auth=false, whose health is no secret's either.
TEST_F(RequestPlanTest, WhereAnonymousRequestsAreOffThereMustBeACertificateOrAToken) {
  anonymous = false;
  for (const std::string_view authorization : {"", "Basic YTpi", "Bearer"}) {
    const auto planned = plan_with(authorization);
    ASSERT_FALSE(planned) << authorization;
    EXPECT_EQ(planned.error().code, 401);
    EXPECT_EQ(planned.error().message, "Unauthorized");
    EXPECT_EQ(planned.error().reason, ReplyReason::unauthenticated);
  }
  for (const std::string_view path : {"/readyz", "/version", "/apis"}) {
    head = head_of("GET", path);
    plan = *plan_request(head);
    EXPECT_FALSE(plan_identity(plan, head, facts, {vouches, anonymous, fields}, proofs, last, now));
  }
  EXPECT_TRUE(plan_with("Bearer abc"));
  be("alice");
  EXPECT_TRUE(plan_with(""));
  // Its certificate says so: the API server decides.
  be("system:anonymous");
  EXPECT_TRUE(plan_with(""));
}

TEST_F(RequestPlanTest, OptionsOfTheServerItselfAreAnsweredBeforeAnybodyAsksWhoAsks) {
  anonymous = false;
  head = head_of("OPTIONS", "*");
  plan = *plan_request(head);
  EXPECT_TRUE(plan_identity(plan, head, facts, {vouches, anonymous, fields}, proofs, last, now));
}

TEST_F(RequestPlanTest, ACertificateThatWeDoNotCarryIsRefusedWhateverComesAlong) {
  facts.why_not = NoIdentity::outer_space;
  facts.refusal = "Unauthorized: a name begins with a space";
  for (const std::string_view authorization : {"", "Bearer abc"}) {
    const auto planned = plan_with(authorization);
    ASSERT_FALSE(planned);
    EXPECT_EQ(planned.error().reason, ReplyReason::certificate_refused);
    EXPECT_EQ(planned.error().message, facts.refusal);
    EXPECT_EQ(planned.error().why, kubernetes::to_string(NoIdentity::outer_space));
  }
}

TEST_F(RequestPlanTest, WhatStopsAtAHopGoesNoFurther) {
  be("alice");
  head = head_of("GET", "/api/v1/pods");
  head.fields.add("te", "trailers");
  plan = *plan_request(head);
  ASSERT_TRUE(plan_identity(plan, head, facts, {vouches, anonymous, fields}, proofs, last, now));
  EXPECT_EQ(field("te"), "(absent)");
}

}  // namespace
}  // namespace sluice::proxy
