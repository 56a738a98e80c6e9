// SPDX-License-Identifier: GPL-3.0-or-later
// What contexts take, and what they say about what they do not take.
#include "pair.h"
#include "sluice/base/random.h"

namespace sluice::tls::testing {
namespace {

class ContextTest : public ::testing::Test {
 protected:
  void SetUp() override { set_up_library(); }

  static std::string refusal(const ServerOptions& options) {
    const auto context = ServerContext::create(options);
    return context ? std::string() : context.error().context;
  }
  static std::string refusal(const ClientOptions& options) {
    const auto context = ClientContext::create(options);
    return context ? std::string() : context.error().context;
  }
};

TEST_F(ContextTest, TheLibraryIsAccelerated) {
  const LibraryInfo info = library_info();
  EXPECT_EQ(info.version, "5.9.4");
#if defined(__x86_64__)
  EXPECT_TRUE(info.cryptography_accelerated);
#endif
}

TEST_F(ContextTest, SaysWhatIsWrongWithAServersFiles) {
  EXPECT_EQ(refusal(server_options()), "");
  ServerOptions options = server_options();
  options.certificate_chain_pem = "";
  EXPECT_EQ(refusal(options), "there is no PEM certificate in it");
  options.certificate_chain_pem = "-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----\n";
  EXPECT_EQ(refusal(options), "a PEM certificate is not valid base64");
  options.certificate_chain_pem = "-----BEGIN CERTIFICATE-----\nMIIB\n";
  EXPECT_EQ(refusal(options), "a PEM certificate has no end line");
  options.certificate_chain_pem = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";
  EXPECT_EQ(refusal(options), "the certificate is malformed");
  options = server_options();
  options.private_key_pem = authority().client.key_pem();
  EXPECT_EQ(refusal(options), "the private key does not belong to the certificate");
  options.private_key_pem = std::string("nonsense");
  EXPECT_EQ(refusal(options), "the private key is not an unencrypted PEM key");
  options = server_options();
  options.client_ca_pem = "nonsense";
  EXPECT_EQ(refusal(options), "there is no PEM certificate in it");
  // As at an API server, where it is trusted itself and signs nothing; a remark says so.
  options.client_ca_pem = authority().ca.pem() + authority().client.pem();
  EXPECT_EQ(refusal(options), "");
  const auto remarks = authority_remarks(options.client_ca_pem);
  ASSERT_EQ(remarks.size(), 1U);
  EXPECT_EQ(remarks[0],
            "certificate 2: it is no CA certificate; nothing that it signs is believed");
  options = server_options();
  options.alpn = {"h2,http/1.1"};
  EXPECT_NE(refusal(options), "");
}

TEST_F(ContextTest, ABackendIsNeverUnverified) {
  EXPECT_EQ(refusal(client_options()), "");
  ClientOptions options = client_options();
  options.ca_pem = "";
  EXPECT_NE(refusal(options), "");
  const auto context = make_client(client_options());
  for (const std::string& name : {std::string(), std::string(256, 'x')}) {
    EXPECT_FALSE(Engine::client(context, name).has_value());
  }
  EXPECT_TRUE(Engine::client(context, std::string(255, 'x')).has_value());
  options = client_options();
  options.certificate_chain_pem = authority().client.pem();
  EXPECT_NE(refusal(options), "");
  options.private_key_pem = authority().server.key_pem();
  EXPECT_EQ(refusal(options), "the private key does not belong to the certificate");
}

TEST_F(ContextTest, TakesKeysOfEveryCommonKindAndTextAroundPem) {
  for (const auto type : {test::KeyType::p256, test::KeyType::p384, test::KeyType::rsa2048}) {
    const auto server = test::issue_server(authority().ca, {"sluice.test"}, type);
    ServerOptions options = server_options();
    options.certificate_chain_pem =
        "subject=somebody\n" + server.pem() + "issuer=somebody else\n" + authority().ca.pem();
    options.private_key_pem = server.key_pem();
    EXPECT_EQ(refusal(options), "");
  }
}

TEST_F(ContextTest, SummarizesCertificates) {
  const std::string pem = authority().client.pem() + authority().ca.pem();
  const auto summary = read_certificates(pem);
  ASSERT_TRUE(summary.has_value());
  ASSERT_EQ(summary->chain_der.size(), 2U);
  EXPECT_EQ(summary->chain_der[0], authority().client.der);
  EXPECT_EQ(summary->chain_der[1], authority().ca.der);
  EXPECT_EQ(summary->not_before, test::default_not_before);
  EXPECT_EQ(summary->not_after, test::default_not_after);
  EXPECT_FALSE(read_certificates("").has_value());
}

TEST_F(ContextTest, ReadsBothKindsOfTime) {
  for (const std::int64_t seconds : {-631152000LL, 0LL, 951782399LL, 951782400LL, 2524607999LL,
                                     2524608000LL, 4102444800LL, 253402300799LL}) {
    test::Specification specification;
    specification.subject = test::name("x");
    specification.not_before = test::at(-631152000);
    specification.not_after = test::at(seconds);
    const auto summary = read_certificates(test::issue(authority().ca, specification).pem());
    ASSERT_TRUE(summary.has_value()) << seconds;
    EXPECT_EQ(summary->not_after, test::at(seconds));
  }
}

TEST_F(ContextTest, VerifiesChainsAtAnyTime) {
  test::Specification specification;
  specification.subject = test::name("front-proxy-client");
  specification.not_before = past;
  specification.not_after = future;
  const auto leaf = test::issue(authority().ca, specification);
  const std::string ca = authority().ca.pem();
  EXPECT_TRUE(verify_chain({leaf.der}, ca, now).has_value());
  EXPECT_TRUE(verify_chain({leaf.der}, ca, past).has_value());
  EXPECT_TRUE(verify_chain({leaf.der}, ca, future).has_value());
  EXPECT_FALSE(verify_chain({leaf.der}, ca, past - std::chrono::seconds{1}).has_value());
  EXPECT_FALSE(verify_chain({leaf.der}, ca, future + std::chrono::seconds{1}).has_value());
  EXPECT_FALSE(verify_chain({leaf.der}, test::make_ca("cluster-ca").pem(), now).has_value());
  EXPECT_FALSE(verify_chain({}, ca, now).has_value());
  EXPECT_FALSE(verify_chain({leaf.der}, "", now).has_value());
  EXPECT_FALSE(verify_chain({{}}, ca, now).has_value());
  EXPECT_FALSE(verify_chain(std::vector<test::Der>(17, leaf.der), ca, now).has_value());
}

TEST_F(ContextTest, DigestsAreRight) {
  EXPECT_EQ(sha256({})[0], 0xe3);
  EXPECT_EQ(sha256(as_bytes("abc"))[0], 0xba);
  EXPECT_EQ(sha256(as_bytes("abc"))[31], 0xad);
}

TEST_F(ContextTest, EqualEntropyGivesEqualHandshakes) {
  const auto run = [] {
    static Random random(1);
    random = Random(42);
    set_entropy([](MutableBytes bytes) {
      for (auto& byte : bytes) byte = static_cast<std::uint8_t>(random.next());
    });
    Pair pair;
    pair.client->handshake();
    const Buffer hello = take_pending(*pair.client);
    set_entropy(nullptr);
    return hello;
  };
  const Buffer first = run();
  EXPECT_EQ(run(), first);
  Pair pair;
  pair.client->handshake();
  EXPECT_NE(take_pending(*pair.client), first);
}

}  // namespace
}  // namespace sluice::tls::testing
