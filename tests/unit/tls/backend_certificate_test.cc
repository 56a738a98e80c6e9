// SPDX-License-Identifier: GPL-3.0-or-later
// Which backends are believed, and what our own certificate is worth there.
#include "foreign_peer.h"
#include "pair.h"

namespace sluice::tls::testing {
namespace {

using test::Certificate;
using test::Key;
using test::Specification;

Specification server(const std::vector<std::string>& dns_names) {
  Specification specification;
  specification.subject = test::name("kube-apiserver");
  specification.extended_usages = {std::string(test::usage_server_auth)};
  specification.dns_names = dns_names;
  return specification;
}

class BackendCertificateTest : public ::testing::TestWithParam<int> {
 protected:
  void SetUp() override { set_up_library(); }

  // Whether a backend with that chain is believed to be `name`.
  bool believed(const std::vector<Certificate>& chain, const std::string& name = "sluice.test") {
    ForeignPeer::Options peer;
    peer.server = true;
    peer.version_max = GetParam();
    peer.chain = chain;
    peer.alpn = {"h2"};
    peer.weak = true;
    ForeignPeer foreign(peer);
    ClientOptions options = client_options();
    options.ca_pem = ca_pem;
    const auto context = make_client(options);
    auto ours = std::move(Engine::client(context, name).value());
    const bool established = shake_hands(*ours, foreign);
    error = ours->error().context;
    if (!established) {
      EXPECT_EQ(ours->handshake(), Engine::Status::failed);
      EXPECT_EQ(ours->error().side, Side::backend);
      EXPECT_FALSE(foreign.alert().empty()) << "no alert: " << error;
      EXPECT_FALSE(ours->established());
    } else {
      EXPECT_TRUE(ours->peer_certificate().verified);
    }
    return established;
  }

  const Certificate& ca = authority().ca;
  std::string ca_pem = authority().ca.pem();
  std::string error;
};

INSTANTIATE_TEST_SUITE_P(Versions, BackendCertificateTest, ::testing::Values(0x0303, 0x0304),
                         [](const auto& version) {
                           return version.param == 0x0303 ? "Tls12" : "Tls13";
                         });

TEST_P(BackendCertificateTest, ItsNameMustBeInIt) {
  const Certificate leaf =
      test::issue(ca, server({"sluice.test", "kubernetes", "kubernetes.default.svc"}));
  for (const char* name : {"sluice.test", "kubernetes", "kubernetes.default.svc",
                           "KUBERNETES.Default.SVC", "sluice.test."}) {
    EXPECT_TRUE(believed({leaf}, name)) << name << error;
  }
  for (const char* name : {"other.test", "kubernetes.default", "sluice.tes", "sluice.test.evil",
                           "x.sluice.test", "kube-apiserver"}) {
    EXPECT_FALSE(believed({leaf}, name)) << name;
  }
}

TEST_P(BackendCertificateTest, TheCommonNameIsNoName) {
  Specification specification = server({});
  specification.subject = test::name("sluice.test");
  EXPECT_FALSE(believed({test::issue(ca, specification)}));
}

TEST_P(BackendCertificateTest, AddressesAreCompared) {
  Specification specification = server({"sluice.test"});
  specification.addresses = {"127.0.0.1", "10.96.0.1", "fd00::1"};
  const Certificate leaf = test::issue(ca, specification);
  for (const char* name : {"127.0.0.1", "10.96.0.1", "fd00::1", "fd00:0:0::0:1"}) {
    EXPECT_TRUE(believed({leaf}, name)) << name << error;
  }
  for (const char* name : {"127.0.0.2", "fd00::2", "::1"})
    EXPECT_FALSE(believed({leaf}, name)) << name;
  // An address in a DNS name is no address.
  EXPECT_FALSE(believed({test::issue(ca, server({"127.0.0.1"}))}, "127.0.0.1"));
}

TEST_P(BackendCertificateTest, WildcardsStandForOneLabel) {
  const Certificate leaf =
      test::issue(ca, server({"*.cluster.test", "*.test", "*", "a*.other.test"}));
  EXPECT_TRUE(believed({leaf}, "api.cluster.test")) << error;
  for (const char* name : {"a.b.cluster.test", "cluster.test", "sluice.test", "kubernetes",
                           "ab.other.test", ".cluster.test"}) {
    EXPECT_FALSE(believed({leaf}, name)) << name;
  }
}

TEST_P(BackendCertificateTest, NamesWithStrangeBytesDoNotMatch) {
  EXPECT_FALSE(believed({test::issue(ca, server({std::string("sluice.test\0.evil", 17)}))}));
  EXPECT_FALSE(believed({test::issue(ca, server({std::string("sluice.test\0", 12)}))}));
}

TEST_P(BackendCertificateTest, ItsChainMustLeadToTheCa) {
  const Certificate foreign_ca = test::make_ca("foreign");
  EXPECT_FALSE(believed({test::issue(foreign_ca, server({"sluice.test"}))}));
  const Certificate same_name = test::make_ca("cluster-ca");
  EXPECT_FALSE(believed({test::issue(same_name, server({"sluice.test"})), same_name}));
  EXPECT_FALSE(believed({test::self_sign(server({"sluice.test"}), Key::generate())}));
  Specification signing_ca;
  signing_ca.subject = test::name("signing-ca");
  signing_ca.key_usage = test::key_usage_certificate_sign | test::key_usage_digital_signature;
  signing_ca.dns_names = {"sluice.test"};
  const Certificate usable_ca = test::make_ca(signing_ca);
  ca_pem += usable_ca.pem();
  EXPECT_FALSE(believed({test::clone_with_other_key(usable_ca, Key::generate())}));
  EXPECT_TRUE(believed({usable_ca})) << error;  // it is trusted itself
  const Certificate clone = test::clone_with_other_key(ca, Key::generate());
  EXPECT_FALSE(believed({test::issue(clone, server({"sluice.test"})), clone}));
  const Certificate client = authority().client;
  EXPECT_FALSE(believed({test::issue(client, server({"sluice.test"})), client}));
}

TEST_P(BackendCertificateTest, IntermediatesAreFollowed) {
  Specification middle;
  middle.subject = test::name("middle");
  middle.ca = true;
  const Certificate one = test::issue(ca, middle);
  EXPECT_TRUE(believed({test::issue(one, server({"sluice.test"})), one})) << error;
  EXPECT_FALSE(believed({test::issue(one, server({"sluice.test"}))}));
}

TEST_P(BackendCertificateTest, WeakRsaKeysAreNotBelieved) {
  Specification weak = server({"sluice.test"});
  weak.key_type = test::KeyType::rsa768;
  EXPECT_FALSE(believed({test::issue(ca, weak)}));
  Specification middle;
  middle.subject = test::name("middle");
  middle.ca = true;
  middle.key_type = test::KeyType::rsa768;
  const Certificate one = test::issue(ca, middle);
  EXPECT_FALSE(believed({test::issue(one, server({"sluice.test"})), one}));
  EXPECT_TRUE(believed({test::issue(ca, server({"sluice.test"}))})) << error;
}

// What Go believes, whatever the order and the company.
TEST_P(BackendCertificateTest, AnyGoodPathIsEnough) {
  Specification middle;
  middle.subject = test::name("middle");
  middle.ca = true;
  const Certificate one = test::issue(ca, middle);
  const Certificate leaf = test::issue(one, server({"sluice.test"}));
  // An intermediate as the one that is trusted.
  ca_pem = one.pem();
  EXPECT_TRUE(believed({leaf})) << error;
  // Superfluous and expired company.
  ca_pem = ca.pem();
  Specification expired = middle;
  expired.not_after = past;
  EXPECT_TRUE(believed({leaf, test::make_ca("unrelated"), test::issue(ca, expired, one.key), one}))
      << error;
  // Cross-signed: one of the two signers is trusted.
  const Certificate other_ca = test::make_ca("other-ca");
  const Certificate crossed = test::issue(other_ca, middle, one.key);
  EXPECT_TRUE(believed({leaf, crossed, one})) << error;
  ca_pem = other_ca.pem();
  EXPECT_TRUE(believed({leaf, one, crossed})) << error;
  EXPECT_FALSE(believed({leaf, one}));
  // Key identifiers that do not fit.
  ca_pem = ca.pem();
  Specification other_id = server({"sluice.test"});
  other_id.key_identifiers = false;
  other_id.extensions.push_back({"2.5.29.35", false, {0x30, 0x03, 0x80, 0x01, 0x07}});
  EXPECT_TRUE(believed({test::issue(ca, other_id)})) << error;
}

TEST_P(BackendCertificateTest, RsaKeysOf1024BitsAreBelieved) {
  Specification small = server({"sluice.test"});
  small.key_type = test::KeyType::rsa1024;
  EXPECT_TRUE(believed({test::issue(ca, small)})) << error;
}

TEST_P(BackendCertificateTest, ValidityIsChecked) {
  Specification expired = server({"sluice.test"});
  expired.not_after = now - std::chrono::seconds{1};
  EXPECT_FALSE(believed({test::issue(ca, expired)}));
  Specification early = server({"sluice.test"});
  early.not_before = now + std::chrono::seconds{1};
  EXPECT_FALSE(believed({test::issue(ca, early)}));
  Specification old_ca;
  old_ca.subject = test::name("old-ca");
  old_ca.not_after = past;
  const Certificate expired_ca = test::make_ca(old_ca);
  ca_pem += expired_ca.pem();
  EXPECT_FALSE(believed({test::issue(expired_ca, server({"sluice.test"}))}));
  EXPECT_TRUE(believed({test::issue(ca, server({"sluice.test"}))})) << error;
}

TEST_P(BackendCertificateTest, UsageMustAllowServers) {
  Specification client_only = server({"sluice.test"});
  client_only.extended_usages = {std::string(test::usage_client_auth)};
  EXPECT_FALSE(believed({test::issue(ca, client_only)}));
  Specification absent = server({"sluice.test"});
  absent.extended_usages = {};
  EXPECT_TRUE(believed({test::issue(ca, absent)})) << error;
  Specification as_ca = server({"sluice.test"});
  as_ca.ca = true;
  EXPECT_TRUE(believed({test::issue(ca, as_ca)})) << error;
}

TEST_P(BackendCertificateTest, PossessionOfTheKeyIsProved) {
  Certificate stolen = test::issue(ca, server({"sluice.test"}));
  stolen.key = Key::generate().posing_as(stolen.key);
  EXPECT_FALSE(believed({stolen}));
}

TEST_P(BackendCertificateTest, OurCertificateReachesTheBackend) {
  for (const bool with_certificate : {true, false}) {
    ServerOptions server = server_options();
    Pair pair(server, with_certificate
                          ? client_options({&authority().client}, authority().client.key)
                          : client_options());
    ASSERT_TRUE(pair.shake_hands());
    EXPECT_EQ(pair.server->peer_certificate().verified, with_certificate);
    EXPECT_EQ(pair.server->peer_certificate().presented, with_certificate);
  }
}

TEST_P(BackendCertificateTest, AnAlertOfTheBackendIsNamed) {
  ServerOptions strict = server_options();
  strict.client_certificate_strict = true;
  const Certificate foreign = test::issue_client(test::make_ca("foreign"), "alice");
  Pair pair(strict, client_options({&foreign}, foreign.key));
  EXPECT_FALSE(pair.shake_hands());
  if (pair.client->established()) pair.client->read();
  EXPECT_NE(pair.client->error().context.find("TLS alert unknown_ca (48)"), std::string::npos)
      << pair.client->error().context;
}

}  // namespace
}  // namespace sluice::tls::testing
