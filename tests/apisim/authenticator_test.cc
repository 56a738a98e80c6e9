// SPDX-License-Identifier: GPL-3.0-or-later
// Who a request is from, row by row of the rules of a real kube-apiserver.
#include "authenticator.h"

#include <gtest/gtest.h>

#include "certificates.h"

namespace sluice::apisim {
namespace {

using Verdict = Authenticator::Verdict;
constexpr WallTime now = WallTime(std::chrono::seconds(1'700'000'000));

class AuthenticatorTest : public testing::Test {
 protected:
  AuthenticatorTest() { create({}); }

  void create(std::vector<std::string> allowed_names, bool anonymous = true) {
    AuthenticatorOptions options;
    options.client_ca_pem = client_ca_.pem();
    options.requestheader_ca_pem = proxy_ca_.pem();
    options.requestheader_allowed_names = std::move(allowed_names);
    options.tokens_csv = "secret,tom,7,\"g1,g2\"\n# comment\nother,eve,8\n";
    options.anonymous = anonymous;
    authenticator_ = Authenticator::create(std::move(options)).value();
  }

  PeerFacts peer(const test::Certificate& certificate, WallTime at = now) const {
    tls::PeerCertificate presented;
    presented.presented = true;
    presented.chain_der = {certificate.der};
    return authenticator_->examine(presented, at);
  }
  PeerFacts nobody() const { return authenticator_->examine({}, now); }

  Verdict authenticate(const PeerFacts& facts,
                       const std::vector<std::pair<std::string, std::string>>& fields) {
    http::Fields list;
    for (const auto& [name, value] : fields) list.add(name, value);
    who_ = {};
    const Verdict quick = authenticator_->authenticate(list, facts, nullptr);
    EXPECT_EQ(authenticator_->authenticate(list, facts, &who_), quick);
    return quick;
  }

  const test::Certificate client_ca_ = test::make_ca("client-ca");
  const test::Certificate proxy_ca_ = test::make_ca("front-proxy-ca");
  const test::Certificate proxy_ = test::issue_client(proxy_ca_, "proxy");
  const test::Certificate alice_ = test::issue_client(client_ca_, "alice", {"dev", "ops"});
  std::optional<Authenticator> authenticator_;
  Identity who_;
};

TEST_F(AuthenticatorTest, TakesHeaderFieldsOnlyFromAFrontProxy) {
  const std::vector<std::pair<std::string, std::string>> fields = {
      {"x-remote-user", "bob"},
      {"x-remote-user", "second"},
      {"x-remote-group", "a,b"},
      {"x-remote-group", ""},
      {"x-remote-group", "c"},
      {"x-remote-uid", "u-1"},
      {"x-remote-extra-acme.com%2fproject", "p1"},
      {"x-remote-extra-acme.com%2fproject", "p2"},
      {"x-remote-extra-bad%zz", "v"}};
  ASSERT_EQ(authenticate(peer(proxy_), fields), Verdict::authenticated);
  EXPECT_EQ(who_.user, "bob");
  EXPECT_EQ(who_.uid, "u-1");
  EXPECT_EQ(who_.groups, (std::vector<std::string>{"a,b", "c", "system:authenticated"}));
  ASSERT_EQ(who_.extra.size(), 2U);
  EXPECT_EQ(who_.extra[0].first, "acme.com/project");
  EXPECT_EQ(who_.extra[0].second, (std::vector<std::string>{"p1", "p2"}));
  EXPECT_EQ(who_.extra[1].first, "bad%zz");

  EXPECT_EQ(authenticate(nobody(), fields), Verdict::anonymous);
  ASSERT_EQ(authenticate(peer(alice_), fields), Verdict::authenticated);
  EXPECT_EQ(who_.user, "alice");
}

TEST_F(AuthenticatorTest, FrontProxyWithoutAUserIsNobody) {
  EXPECT_EQ(authenticate(peer(proxy_), {}), Verdict::unauthorized);
  EXPECT_EQ(authenticate(peer(proxy_), {{"x-remote-user", ""}}), Verdict::unauthorized);
  EXPECT_EQ(authenticate(peer(proxy_), {{"x-remote-group", "system:masters"}}),
            Verdict::unauthorized);
  ASSERT_EQ(authenticate(peer(proxy_), {{"authorization", "Bearer secret"}}),
            Verdict::authenticated);
  EXPECT_EQ(who_.user, "tom");
}

TEST_F(AuthenticatorTest, FrontProxyThatIsNotAllowedIsNone) {
  create({"somebody-else"});
  EXPECT_EQ(authenticate(peer(proxy_), {{"x-remote-user", "bob"}}), Verdict::unauthorized);
  ASSERT_EQ(
      authenticate(peer(proxy_), {{"x-remote-user", "bob"}, {"authorization", "Bearer secret"}}),
      Verdict::authenticated);
  EXPECT_EQ(who_.user, "tom");
}

TEST_F(AuthenticatorTest, CertificateGivesNameGroupsAndCredentialId) {
  ASSERT_EQ(authenticate(peer(alice_), {}), Verdict::authenticated);
  EXPECT_EQ(who_.user, "alice");
  EXPECT_EQ(who_.groups, (std::vector<std::string>{"dev", "ops", "system:authenticated"}));
  ASSERT_EQ(who_.extra.size(), 1U);
  EXPECT_EQ(who_.extra[0].first, "authentication.kubernetes.io/credential-id");
  EXPECT_TRUE(who_.extra[0].second[0].starts_with("X509SHA256="));
  EXPECT_EQ(who_.extra[0].second[0].size(), 11U + 64U);
}

TEST_F(AuthenticatorTest, LastCommonNameCounts) {
  test::Specification two;
  two.subject = {{{std::string(test::oid_common_name), "first"}},
                 {{std::string(test::oid_organization), "o"}},
                 {{std::string(test::oid_common_name), "last"}}};
  two.extended_usages = {std::string(test::usage_client_auth)};
  ASSERT_EQ(authenticate(peer(test::issue(client_ca_, two)), {}), Verdict::authenticated);
  EXPECT_EQ(who_.user, "last");
}

TEST_F(AuthenticatorTest, CertificateThatDoesNotVerifyIsAnErrorUnlessATokenSucceeds) {
  test::Specification server_only;
  server_only.subject = test::name("server");
  server_only.extended_usages = {std::string(test::usage_server_auth)};
  const test::Certificate foreign = test::issue_client(test::make_ca("other"), "alice");
  const WallTime too_late = test::default_not_after + std::chrono::seconds(1);
  for (const PeerFacts& facts :
       {peer(foreign), peer(alice_, too_late), peer(test::issue(client_ca_, server_only)),
        peer(test::issue_client(client_ca_, ""))}) {
    EXPECT_EQ(facts.kind, PeerFacts::Kind::invalid);
    EXPECT_EQ(authenticate(facts, {}), Verdict::unauthorized);
    EXPECT_EQ(authenticate(facts, {{"authorization", "Bearer wrong"}}), Verdict::unauthorized);
    ASSERT_EQ(authenticate(facts, {{"authorization", "bearer secret"}}), Verdict::authenticated);
    EXPECT_EQ(who_.user, "tom");
  }
}

TEST_F(AuthenticatorTest, UidOfTheSubjectMustBeOneAndNotEmpty) {
  test::Specification specification;
  specification.extended_usages = {std::string(test::usage_client_auth)};
  const test::Attribute uid = {std::string(test::oid_kubernetes_uid), "u-9"};
  specification.subject = test::name("alice");
  specification.subject.push_back({uid});
  ASSERT_EQ(authenticate(peer(test::issue(client_ca_, specification)), {}), Verdict::authenticated);
  EXPECT_EQ(who_.uid, "u-9");
  specification.subject.push_back({uid});
  EXPECT_EQ(authenticate(peer(test::issue(client_ca_, specification)), {}), Verdict::unauthorized);
}

TEST_F(AuthenticatorTest, TokensCarryGroupsAndUid) {
  ASSERT_EQ(authenticate(nobody(), {{"authorization", "Bearer secret"}}), Verdict::authenticated);
  EXPECT_EQ(who_.uid, "7");
  EXPECT_EQ(who_.groups, (std::vector<std::string>{"g1", "g2", "system:authenticated"}));
  EXPECT_EQ(authenticate(nobody(), {{"authorization", "Bearer wrong"}}), Verdict::unauthorized);
  // No bearer scheme: no opinion, and so nobody.
  EXPECT_EQ(authenticate(nobody(), {{"authorization", "Basic c2VjcmV0"}}), Verdict::anonymous);
}

TEST_F(AuthenticatorTest, AnonymousRequestsCanBeForbidden) {
  ASSERT_EQ(authenticate(nobody(), {}), Verdict::anonymous);
  EXPECT_EQ(who_.user, "system:anonymous");
  EXPECT_EQ(who_.groups, std::vector<std::string>{"system:unauthenticated"});
  create({}, false);
  EXPECT_EQ(authenticate(nobody(), {}), Verdict::unauthorized);
}

TEST_F(AuthenticatorTest, OnlyMastersImpersonate) {
  http::Fields fields;
  fields.add("impersonate-user", "zoe");
  fields.add("impersonate-group", "dev");
  const auto as = impersonated(fields, {"admin", "", {"system:masters"}, {}});
  ASSERT_TRUE(as && *as);
  EXPECT_EQ((*as)->user, "zoe");
  EXPECT_EQ((*as)->groups, (std::vector<std::string>{"dev", "system:authenticated"}));
  EXPECT_FALSE(impersonated(fields, {"alice", "", {"dev"}, {}}));
}

}  // namespace
}  // namespace sluice::apisim
