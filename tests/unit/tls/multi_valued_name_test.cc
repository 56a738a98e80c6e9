// SPDX-License-Identifier: GPL-3.0-or-later
// Subjects whose relative names have several attributes. That is how certificates made by Go carry
// more than one group (crypto/x509/pkix: all values of an attribute in one set).
#include "foreign_peer.h"
#include "pair.h"

namespace sluice::tls::testing {
namespace {

using test::Attribute;
using test::Certificate;
using test::Specification;

class MultiValuedNameTest : public ::testing::Test {
 protected:
  void SetUp() override { set_up_library(); }
  const std::string cn{test::oid_common_name};
  const std::string o{test::oid_organization};
};

TEST_F(MultiValuedNameTest, MakesAnIdentity) {
  test::RelativeName many;
  for (int i = 0; i < 64; ++i) many.push_back(Attribute{o, "group-" + std::to_string(i)});
  const std::vector<test::Name> subjects = {
      {{Attribute{o, "a"}, Attribute{o, "b"}}, {Attribute{cn, "alice"}}},
      {{Attribute{o, "a"}, Attribute{cn, "alice"}}},
      {{Attribute{o, "a"}, Attribute{o, "b"}},
       {Attribute{"2.5.4.11", "u"}, Attribute{"2.5.4.11", "v"}},
       {Attribute{cn, "alice"}}},
      {many, {Attribute{cn, "alice"}}},
  };
  for (const test::Name& subject : subjects) {
    Specification specification;
    specification.subject = subject;
    const Certificate leaf = test::issue(authority().ca, specification);
    const auto verified = verify_chain({leaf.der}, authority().ca.pem(), now);
    EXPECT_TRUE(verified.has_value()) << verified.error().context;
    Pair pair(server_options(), client_options({&leaf}, leaf.key));
    EXPECT_TRUE(pair.shake_hands());
    EXPECT_TRUE(pair.server->peer_certificate().verified) << pair.server->peer_certificate().error;
  }
}

TEST_F(MultiValuedNameTest, OfTheCaLinksTheChain) {
  Specification root;
  root.subject = {{Attribute{o, "a"}, Attribute{cn, "root"}}};
  const Certificate ca = test::make_ca(root);
  const Certificate leaf = test::issue_client(ca, "alice");
  EXPECT_TRUE(verify_chain({leaf.der}, ca.pem(), now).has_value());
  EXPECT_FALSE(verify_chain({leaf.der}, authority().ca.pem(), now).has_value());
}

TEST_F(MultiValuedNameTest, MayBeThatOfABackend) {
  Specification specification;
  specification.subject = {{Attribute{o, "a"}, Attribute{o, "b"}},
                           {Attribute{cn, "kube-apiserver"}}};
  specification.dns_names = {"sluice.test"};
  const Certificate server = test::issue(authority().ca, specification);
  ServerOptions options = server_options();
  options.certificate_chain_pem = server.pem();
  options.private_key_pem = server.key_pem();
  Pair pair(options);
  EXPECT_TRUE(pair.shake_hands()) << pair.client->error().context;
}

TEST_F(MultiValuedNameTest, AnEmptySetIsFineAsItIsInGo) {
  Specification specification;
  specification.subject = {{}, {Attribute{cn, "alice"}}};
  const Certificate leaf = test::issue(authority().ca, specification);
  EXPECT_TRUE(verify_chain({leaf.der}, authority().ca.pem(), now).has_value());
}

}  // namespace
}  // namespace sluice::tls::testing
