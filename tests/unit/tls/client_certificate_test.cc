// SPDX-License-Identifier: GPL-3.0-or-later
// Which client certificates make an identity. The client is another library that presents whatever
// it is told to; every case runs over TLS 1.2 and 1.3, lenient and strict.
#include <fmt/format.h>

#include "foreign_peer.h"
#include "pair.h"

namespace sluice::tls::testing {
namespace {

using test::Certificate;
using test::Key;
using test::Specification;

Specification client(std::string_view common_name = "alice") {
  Specification specification;
  specification.subject = test::name(common_name, {"dev"});
  specification.extended_usages = {std::string(test::usage_client_auth)};
  return specification;
}

Specification intermediate(std::string_view common_name) {
  Specification specification;
  specification.subject = test::name(common_name);
  specification.ca = true;
  specification.key_usage = test::key_usage_certificate_sign;
  return specification;
}

struct Outcome {
  bool established = false;
  PeerCertificate peer;
  std::string alert;  // what the client was told
  std::string error;
};

// What a client of its own making says, in records of TLS 1.2 (RFC 5246).
class UnaskedCertificateTest : public ::testing::Test {
 protected:
  using Text = std::vector<std::uint8_t>;

  void SetUp() override { set_up_library(); }

  static void append(Text& out, std::size_t number, int bytes) {
    for (int i = bytes - 1; i >= 0; --i) out.push_back(static_cast<std::uint8_t>(number >> 8 * i));
  }
  static void append(Text& out, const Text& text, int length_bytes) {
    append(out, text.size(), length_bytes);
    out.insert(out.end(), text.begin(), text.end());
  }
  static Text record(std::uint8_t kind, const Text& message) {
    Text text{kind};
    append(text, message, 3);
    Text record{22, 3, 3};
    append(record, text, 2);
    return record;
  }
  static Text client_hello() {
    Text extensions;
    for (const auto& [kind, body] : std::vector<std::pair<std::size_t, Text>>{
             {10, {0, 4, 0, 29, 0, 23}},            // groups: x25519, P-256
             {11, {1, 0}},                          // points: uncompressed
             {13, {0, 8, 4, 3, 8, 4, 4, 1, 5, 3}},  // signatures
             {0xff01, {0}}}) {                      // renegotiation info
      append(extensions, kind, 2);
      append(extensions, body, 2);
    }
    Text hello{3, 3};
    hello.insert(hello.end(), 32, 7);  // random
    append(hello, Text{}, 1);          // session
    append(hello, {0xc0, 0x2b, 0xc0, 0x2f, 0xc0, 0x2c, 0xc0, 0x30}, 2);
    append(hello, Text{0}, 1);  // compression: none
    append(hello, extensions, 2);
    return record(1, hello);
  }
  static Text certificate(const Text& der) {
    Text one;
    append(one, der, 3);
    Text all;
    append(all, one, 3);
    return record(11, all);
  }
};

class ClientCertificateTest : public ::testing::TestWithParam<int> {
 protected:
  void SetUp() override { set_up_library(); }

  Outcome present(const std::vector<Certificate>& chain, bool strict = false) {
    ServerOptions options = server_options();
    options.client_ca_pem = ca_pem;
    options.client_certificate_strict = strict;
    const auto context = make_server(options);
    return present(context, chain);
  }

  Outcome present(const std::shared_ptr<const ServerContext>& context,
                  const std::vector<Certificate>& chain) {
    ForeignPeer::Options peer;
    peer.version_max = GetParam();
    peer.chain = chain;
    peer.weak = true;
    ForeignPeer foreign(peer);
    auto ours = std::move(Engine::server(context).value());
    if (judged_at) ours->judge_at(*judged_at);
    Outcome outcome;
    outcome.established = shake_hands(*ours, foreign);
    outcome.peer = ours->peer_certificate();
    outcome.alert = foreign.alert();
    outcome.error = ours->error().context;
    return outcome;
  }

  void expect_identity(const std::vector<Certificate>& chain) {
    for (const bool strict : {false, true}) {
      const Outcome outcome = present(chain, strict);
      EXPECT_TRUE(outcome.established) << outcome.error << outcome.alert;
      EXPECT_TRUE(outcome.peer.presented);
      EXPECT_TRUE(outcome.peer.verified) << outcome.peer.error;
      ASSERT_EQ(outcome.peer.chain_der.size(), chain.size());
      for (std::size_t i = 0; i < chain.size(); ++i)
        EXPECT_EQ(outcome.peer.chain_der[i], chain[i].der);
    }
  }

  // No identity, the connection goes on; strict: an alert.
  void expect_no_identity(const std::vector<Certificate>& chain) {
    const Outcome outcome = present(chain);
    EXPECT_TRUE(outcome.established) << outcome.error << outcome.alert;
    EXPECT_TRUE(outcome.peer.presented);
    EXPECT_FALSE(outcome.peer.verified);
    EXPECT_FALSE(outcome.peer.error.empty());
    const Outcome strict = present(chain, true);
    EXPECT_FALSE(strict.established);
    EXPECT_FALSE(strict.peer.presented);
    EXPECT_FALSE(strict.peer.verified);
    EXPECT_FALSE(strict.alert.empty());
  }

  const Certificate& ca = authority().ca;
  std::string ca_pem = authority().ca.pem();
  std::optional<WallTime> judged_at;
};

INSTANTIATE_TEST_SUITE_P(Versions, ClientCertificateTest, ::testing::Values(0x0303, 0x0304),
                         [](const auto& version) {
                           return version.param == 0x0303 ? "Tls12" : "Tls13";
                         });

TEST_P(ClientCertificateTest, AGoodOneMakesAnIdentity) {
  expect_identity({test::issue(ca, client())});
}

// By these a client with several certificates chooses the one that is worth something here.
TEST_P(ClientCertificateTest, IsAskedForByTheNamesOfTheAuthorities) {
  const auto requested = [&](const std::string& pem) {
    ServerOptions options = server_options();
    options.client_ca_pem = pem;
    const auto context = make_server(options);
    ForeignPeer::Options peer;
    peer.version_max = GetParam();
    ForeignPeer foreign(peer);
    auto ours = std::move(Engine::server(context).value());
    EXPECT_TRUE(shake_hands(*ours, foreign)) << ours->error().context;
    return foreign.requested_authorities();
  };
  const Certificate other = test::make_ca("other-ca");
  const std::vector<test::Der> both = {test::encode(ca.subject), test::encode(other.subject)};
  EXPECT_EQ(requested(ca.pem() + other.pem() + ca.pem()), both);
  // More names than fit: none is named, which means that any is welcome.
  std::string many = ca.pem();
  const Key key = Key::generate();
  for (int i = 0; i < 90; ++i) {
    many +=
        test::self_sign(intermediate("authority-" + std::string(80, 'x') + std::to_string(i)), key)
            .pem();
  }
  EXPECT_TRUE(requested(many).empty());
  EXPECT_EQ(authority_remarks(many).size(), 1U);
  EXPECT_TRUE(authority_remarks(ca.pem()).empty());
}

TEST_P(ClientCertificateTest, NoneIsFine) {
  for (const bool strict : {false, true}) {
    const Outcome outcome = present({}, strict);
    EXPECT_TRUE(outcome.established) << outcome.error;
    EXPECT_FALSE(outcome.peer.presented);
    EXPECT_FALSE(outcome.peer.verified);
    EXPECT_TRUE(outcome.peer.chain_der.empty());
  }
}

TEST_P(ClientCertificateTest, IsNotAskedForWithoutAClientCa) {
  ServerOptions options = server_options();
  options.client_ca_pem = {};
  const auto context = make_server(options);
  const Outcome outcome = present(context, {authority().client});
  EXPECT_TRUE(outcome.established);
  EXPECT_FALSE(outcome.peer.presented);
  EXPECT_FALSE(outcome.peer.verified);
}

// The library takes one all the same (TLS 1.2: in the clear, before any key).
TEST_F(UnaskedCertificateTest, EndsTheHandshakeAndNothingElse) {
  ServerOptions options = server_options();
  options.client_ca_pem = {};
  const auto engine = std::move(Engine::server(make_server(options)).value());
  const Text hello = client_hello();
  const Text unasked = certificate(authority().client.der);
  engine->feed(hello);
  EXPECT_EQ(engine->handshake(), Engine::Status::need_input) << engine->error().context;
  engine->keep_input();
  engine->feed(unasked);
  EXPECT_EQ(engine->handshake(), Engine::Status::failed);
  EXPECT_FALSE(engine->established());
  EXPECT_FALSE(engine->peer_certificate().presented);
}

TEST_P(ClientCertificateTest, RsaKeysAndCasMakeAnIdentity) {
  const Certificate rsa_ca = test::make_ca("rsa-ca", test::KeyType::rsa2048);
  ca_pem = rsa_ca.pem();
  Specification specification = client();
  specification.key_type = test::KeyType::rsa2048;
  expect_identity({test::issue(rsa_ca, specification)});
}

TEST_P(ClientCertificateTest, KeysOfAllKindsMakeAnIdentity) {
  for (const test::KeyType type :
       {test::KeyType::p384, test::KeyType::p521, test::KeyType::ed25519, test::KeyType::rsa1024,
        test::KeyType::rsa4096, test::KeyType::rsa8192}) {
    Specification specification = client();
    specification.key_type = type;
    expect_identity({test::issue(ca, specification)});
    Specification signing = intermediate("signing");
    signing.key_type = type;
    const Certificate middle = test::issue(ca, signing);
    expect_identity({test::issue(middle, client()), middle});
  }
  // No client of TLS proves to have such a key, but authorities may.
  Specification old_curve = intermediate("old-curve");
  old_curve.key_type = test::KeyType::p224;
  const Certificate middle = test::issue(ca, old_curve);
  expect_identity({test::issue(middle, client()), middle});
}

// A key identifier says where to look first, and refuses nothing: authorities were renewed with
// their key, or their tools hash it otherwise.
TEST_P(ClientCertificateTest, KeyIdentifiersAreHints) {
  const auto authority_key_id = [](std::uint8_t byte) {
    return test::Extension{"2.5.29.35", false, {0x30, 0x03, 0x80, 0x01, byte}};
  };
  Specification without = intermediate("without-identifiers");
  without.key_identifiers = false;
  const Certificate bare = test::make_ca(without);
  for (const Certificate& issuer : {ca, bare}) {
    ca_pem = issuer.pem();
    Specification other = client();
    other.key_identifiers = false;
    other.extensions.push_back(authority_key_id(7));
    expect_identity({test::issue(issuer, other)});
    Specification none = client();
    none.key_identifiers = false;
    expect_identity({test::issue(issuer, none)});
  }
}

TEST_P(ClientCertificateTest, ATrustedVersion1CertificateSigns) {
  Specification old_root;
  old_root.subject = test::name("version-1-ca");
  old_root.version = 1;
  const Certificate root = test::self_sign(old_root, Key::generate());
  ca_pem = root.pem();
  expect_identity({test::issue(root, client())});
  ca_pem = ca.pem();
  const Certificate middle = test::issue(ca, old_root);
  EXPECT_FALSE(present({test::issue(middle, client()), middle}).peer.verified);
}

TEST_P(ClientCertificateTest, ALeafInTheCaFileIsTrustedItself) {
  const Certificate leaf = test::self_sign(client(), Key::generate());
  const Certificate other = test::self_sign(client(), Key::generate());
  ca_pem = leaf.pem();
  expect_identity({leaf});
  expect_no_identity({other});
  // It signs nothing.
  expect_no_identity({test::issue(leaf, client("admin")), leaf});
}

TEST_P(ClientCertificateTest, NameConstraintsRestrictAlternativeNamesAlone) {
  Specification restricted = intermediate("restricted");
  // Permitted: DNS names below x.test.
  restricted.extensions.push_back(
      {"2.5.29.30",
       true,
       {0x30, 0x0c, 0xa0, 0x0a, 0x30, 0x08, 0x82, 0x06, 'x', '.', 't', 'e', 's', 't'}});
  const Certificate middle = test::issue(ca, restricted);
  expect_identity({test::issue(middle, client("alice.elsewhere")), middle});
  Specification inside = client();
  inside.dns_names = {"a.x.test"};
  expect_identity({test::issue(middle, inside), middle});
  Specification outside = client();
  outside.dns_names = {"a.y.test"};
  expect_no_identity({test::issue(middle, outside), middle});
}

// Neither ends a handshake.
TEST_P(ClientCertificateTest, OddNumbersAndLargeSubjectsMakeAnIdentity) {
  Specification zero = client();
  zero.serial = {0x00};
  expect_identity({test::issue(ca, zero)});
  Specification large = client();
  std::vector<std::string> groups;
  for (int i = 0; i < 600; ++i) groups.push_back("group-number-" + std::to_string(i));
  large.subject = test::name("alice", groups);
  const Certificate leaf = test::issue(ca, large);
  EXPECT_GT(leaf.der.size(), 15'000U);
  expect_identity({leaf});
}

TEST_P(ClientCertificateTest, TooManyCertificatesAreRefusedWithAReason) {
  std::vector<Certificate> chain = {test::issue(ca, client())};
  while (chain.size() < 20) chain.push_back(test::make_ca("superfluous"));
  const Outcome outcome = present(chain);
  EXPECT_TRUE(outcome.established) << outcome.error;
  EXPECT_TRUE(outcome.peer.refused);
  EXPECT_EQ(outcome.peer.error, "the chain has too many certificates");
}

// The library would compute with it for as long as it likes, whoever has signed the certificate.
TEST_P(ClientCertificateTest, AKeyWithALongExponentEndsTheHandshake) {
  Specification specification = client();
  specification.key_type = test::KeyType::rsa2048_long_exponent;
  for (const Certificate& issuer : {ca, test::make_ca("nobody")}) {
    const Outcome outcome = present({test::issue(issuer, specification)});
    EXPECT_FALSE(outcome.established);
  }
}

// Anybody can show them, and they are checked in one piece.
TEST_P(ClientCertificateTest, DearSignaturesAreFewerThanCheapOnes) {
  for (const auto& [type, refused] :
       {std::pair{test::KeyType::p256, false}, std::pair{test::KeyType::p521, true}}) {
    Specification specification = client();
    specification.key_identifiers = false;
    std::vector<Certificate> chain{test::issue(test::make_ca("many"), specification)};
    for (int i = 0; i < 10; ++i) chain.push_back(test::make_ca("many", type));
    const Outcome outcome = present(chain);
    EXPECT_TRUE(outcome.established) << outcome.error;
    EXPECT_EQ(outcome.peer.refused, refused) << outcome.peer.error;
    EXPECT_FALSE(outcome.peer.verified);
  }
}

// Go tries a hundred; here nobody becomes somebody else because we tried less.
TEST_P(ClientCertificateTest, TooManyPossiblePathsAreRefusedWithAReason) {
  Specification specification = client();
  specification.key_identifiers = false;
  std::optional<Certificate> last;
  ca_pem.clear();
  for (int i = 0; i < 20; ++i) {
    last = test::make_ca("rotated");
    ca_pem += last->pem();
  }
  const Outcome outcome = present({test::issue(*last, specification)});
  EXPECT_TRUE(outcome.established) << outcome.error;
  EXPECT_TRUE(outcome.peer.refused);
  EXPECT_EQ(outcome.peer.error, "the chain has too many possible paths");
}

TEST_P(ClientCertificateTest, AnRsaKeyBelow1024BitsIsNobody) {
  for (const test::KeyType type :
       {test::KeyType::rsa512, test::KeyType::rsa768, test::KeyType::rsa1023}) {
    Specification specification = client();
    specification.key_type = type;
    const Certificate leaf = test::issue(ca, specification);
    for (const bool strict : {false, true}) {
      const Outcome outcome = present({leaf}, strict);
      EXPECT_FALSE(outcome.peer.verified);
      // With 512 bits, too few for what TLS 1.3 signs, clients present nothing there.
      if (outcome.peer.presented) {
        EXPECT_TRUE(outcome.peer.refused);
        EXPECT_EQ(outcome.peer.error, "it has an RSA key of less than 1024 bits");
      }
    }
    EXPECT_FALSE(verify_chain({leaf.der}, ca.pem(), now).has_value());
  }
  Specification enough = client();
  enough.key_type = test::KeyType::rsa1024;
  expect_identity({test::issue(ca, enough)});
}

TEST_P(ClientCertificateTest, AnAuthorityWithAWeakKeySignsNothing) {
  Specification weak = intermediate("weak");
  weak.key_type = test::KeyType::rsa768;
  const Certificate middle = test::issue(ca, weak);
  EXPECT_FALSE(present({test::issue(middle, client()), middle}).peer.verified);
  EXPECT_FALSE(present({test::issue(middle, client()), middle}, true).established);
  const Certificate below = test::issue(middle, intermediate("below"));
  EXPECT_FALSE(present({test::issue(below, client()), below, middle}).peer.verified);
  // As one that is trusted it is said at the start.
  const Certificate root = test::make_ca("weak-ca", test::KeyType::rsa768);
  ca_pem = root.pem() + ca.pem();
  EXPECT_FALSE(present({test::issue(root, client())}).peer.verified);
  expect_identity({test::issue(ca, client())});
  const auto remarks = authority_remarks(ca_pem);
  ASSERT_EQ(remarks.size(), 1U);
  EXPECT_EQ(remarks[0],
            "certificate 1: it has an RSA key of less than 1024 bits; nothing that it signs is "
            "believed");
}

// What an API server would pass over lets a token decide; what it might take does not.
TEST_P(ClientCertificateTest, IsRefusedOnlyWhereAServerMightTakeIt) {
  const auto refused = [&](const std::vector<Certificate>& chain) {
    const Outcome outcome = present(chain);
    EXPECT_TRUE(outcome.established) << outcome.error;
    EXPECT_FALSE(outcome.peer.verified);
    return outcome.peer.refused;
  };
  Specification expired = client();
  expired.not_after = past;
  EXPECT_FALSE(refused({test::issue(ca, expired)}));
  EXPECT_FALSE(refused({test::issue(test::make_ca("foreign"), client())}));
  EXPECT_FALSE(refused({test::clone_with_other_key(ca, Key::generate())}));
  Specification server_only = client();
  server_only.extended_usages = {std::string(test::usage_server_auth)};
  EXPECT_FALSE(refused({test::issue(ca, server_only)}));
  Specification authority = client();
  authority.ca = true;
  EXPECT_TRUE(refused({test::issue(ca, authority)}));
  EXPECT_FALSE(refused({test::issue(test::make_ca("foreign"), authority)}));
}

TEST_P(ClientCertificateTest, ValidityIsChecked) {
  Specification expired = client();
  expired.not_after = now - std::chrono::seconds{1};
  expect_no_identity({test::issue(ca, expired)});
  Specification early = client();
  early.not_before = now + std::chrono::seconds{1};
  expect_no_identity({test::issue(ca, early)});
  Specification last_second = client();
  last_second.not_after = now;
  expect_identity({test::issue(ca, last_second)});
  Specification first_second = client();
  first_second.not_before = now;
  expect_identity({test::issue(ca, first_second)});
}

TEST_P(ClientCertificateTest, TheClockOfTheHookDecides) {
  Specification specification = client();
  specification.not_after = now + std::chrono::hours{1};
  const Certificate leaf = test::issue(ca, specification);
  expect_identity({leaf});
  set_clock(now + std::chrono::hours{2});
  expect_no_identity({leaf});
}

TEST_P(ClientCertificateTest, TheTimeThatTheEngineWasToldDecidesBeforeTheHook) {
  Specification specification = client();
  specification.not_after = now + std::chrono::hours{1};
  const Certificate leaf = test::issue(ca, specification);
  judged_at = now + std::chrono::hours{2};
  expect_no_identity({leaf});
  set_clock(now + std::chrono::hours{2});
  judged_at = now;
  expect_identity({leaf});
}

TEST_P(ClientCertificateTest, ReportsTheEarliestEndOfThePath) {
  Specification specification = client();
  specification.not_after = future;
  EXPECT_EQ(present({test::issue(ca, specification)}).peer.not_after, future);
  Specification ending_ca = intermediate("ending");
  ending_ca.not_after = now + std::chrono::hours{5};
  const Certificate ending = test::make_ca(ending_ca);
  ca_pem = ending.pem();
  EXPECT_EQ(present({test::issue(ending, specification)}).peer.not_after,
            now + std::chrono::hours{5});
}

TEST_P(ClientCertificateTest, AnotherCaIsNotTrusted) {
  const Certificate foreign_ca = test::make_ca("foreign-ca");
  expect_no_identity({test::issue(foreign_ca, client())});
  expect_no_identity({test::issue(foreign_ca, client()), foreign_ca});
}

TEST_P(ClientCertificateTest, AnotherCaOfTheSameNameIsNotTrusted) {
  for (const bool identifiers : {true, false}) {
    Specification same_name = intermediate("cluster-ca");
    same_name.key_identifiers = identifiers;
    const Certificate foreign_ca = test::make_ca(same_name);
    Specification specification = client();
    specification.key_identifiers = identifiers;
    expect_no_identity({test::issue(foreign_ca, specification)});
    expect_no_identity({test::issue(foreign_ca, specification), foreign_ca});
  }
}

TEST_P(ClientCertificateTest, ACopyOfTheCaWithAnotherKeyIsNobody) {
  const Certificate clone = test::clone_with_other_key(ca, Key::generate());
  expect_no_identity({clone});
  expect_no_identity({clone, ca});
}

TEST_P(ClientCertificateTest, ALeafUnderACopyOfTheCaIsNobody) {
  const Certificate clone = test::clone_with_other_key(ca, Key::generate());
  const Certificate leaf = test::issue(clone, client("admin"));
  expect_no_identity({leaf, clone});
  expect_no_identity({leaf, clone, ca});
  expect_no_identity({leaf});
  Specification with_identifier = client("admin");
  with_identifier.key_identifiers = false;
  expect_no_identity({test::issue(clone, with_identifier), clone});
}

TEST_P(ClientCertificateTest, ACopyOfALeafWithAnotherKeyIsNobody) {
  expect_no_identity({test::clone_with_other_key(authority().client, Key::generate())});
}

TEST_P(ClientCertificateTest, ALeafSignedByALeafIsNobody) {
  const Certificate leaf = test::issue(ca, client());
  expect_no_identity({test::issue(leaf, client("admin")), leaf});
  Specification not_ca = client();
  not_ca.ca = false;
  const Certificate marked = test::issue(ca, not_ca);
  expect_no_identity({test::issue(marked, client("admin")), marked});
}

TEST_P(ClientCertificateTest, SelfSignedIsNobody) {
  expect_no_identity({test::self_sign(client("admin"), Key::generate())});
}

// What one connection presents must not be believed of the next.
TEST_P(ClientCertificateTest, AForgedCaDoesNotStayInTheStore) {
  const auto context = make_server(server_options());
  const Certificate evil = test::make_ca("evil-ca");
  const Certificate leaf = test::issue(evil, client("admin"));
  for (int i = 0; i < 3; ++i) {
    EXPECT_FALSE(present(context, {leaf, evil}).peer.verified);
    EXPECT_FALSE(present(context, {leaf}).peer.verified);
    EXPECT_TRUE(present(context, {authority().client}).peer.verified);
  }
}

TEST_P(ClientCertificateTest, AGenuineIntermediateDoesNotStayInTheStoreEither) {
  const auto context = make_server(server_options());
  const Certificate middle = test::issue(ca, intermediate("middle"));
  const Certificate leaf = test::issue(middle, client());
  EXPECT_TRUE(present(context, {leaf, middle}).peer.verified);
  EXPECT_FALSE(present(context, {leaf}).peer.verified);
}

// The store's own copy of the CA must survive whatever is presented beside it.
TEST_P(ClientCertificateTest, NothingPresentedRemovesTheCa) {
  const auto context = make_server(server_options());
  const Certificate wrong = test::clone_with_other_key(authority().client, Key::generate());
  for (int i = 0; i < 3; ++i) {
    EXPECT_FALSE(present(context, {wrong, ca}).peer.verified);
    EXPECT_FALSE(present(context, {ca}).peer.verified);
    EXPECT_TRUE(present(context, {authority().client, ca}).peer.verified);
    EXPECT_TRUE(present(context, {authority().client}).peer.verified);
  }
}

TEST_P(ClientCertificateTest, IntermediatesLeadToTheCa) {
  const Certificate one = test::issue(ca, intermediate("one"));
  const Certificate two = test::issue(one, intermediate("two"));
  const Certificate three = test::issue(two, intermediate("three"));
  expect_identity({test::issue(one, client()), one});
  expect_identity({test::issue(two, client()), two, one});
  expect_identity({test::issue(three, client()), three, two, one});
  // As servers in Go do it: order and superfluous certificates do not matter.
  expect_identity({test::issue(two, client()), one, two});
  expect_identity({test::issue(ca, client()), ca});
  expect_identity({test::issue(one, client()), one, ca});
  expect_identity({test::issue(ca, client()), test::make_ca("unrelated")});
  // A missing link.
  expect_no_identity({test::issue(two, client()), two});
  expect_no_identity({test::issue(two, client()), one});
}

TEST_P(ClientCertificateTest, AnIntermediateMayBeTheTrustedOne) {
  const Certificate middle = test::issue(ca, intermediate("middle"));
  ca_pem = middle.pem();
  expect_identity({test::issue(middle, client())});
  expect_no_identity({test::issue(ca, client())});
}

TEST_P(ClientCertificateTest, IntermediatesAreCheckedAsCas) {
  Specification expired = intermediate("expired");
  expired.not_after = past;
  Specification no_constraints = intermediate("no-constraints");
  no_constraints.ca.reset();
  Specification not_ca = intermediate("not-ca");
  not_ca.ca = false;
  Specification no_sign = intermediate("no-sign");
  no_sign.key_usage = test::key_usage_digital_signature;
  Specification server_only = intermediate("server-only");
  server_only.extended_usages = {std::string(test::usage_server_auth)};
  Specification version_1;
  version_1.subject = test::name("version-1");
  version_1.version = 1;
  for (const Specification& specification :
       {expired, no_constraints, not_ca, no_sign, server_only, version_1}) {
    const Certificate middle = test::issue(ca, specification);
    const std::vector<Certificate> chain = {test::issue(middle, client()), middle};
    const Outcome outcome = present(chain);
    EXPECT_FALSE(outcome.peer.verified) << specification.subject[0][0].value;
    EXPECT_FALSE(present(chain, true).established);
  }
}

TEST_P(ClientCertificateTest, PathLengthsAreChecked) {
  Specification short_ca = intermediate("short-ca");
  short_ca.path_length = 0;
  const Certificate root = test::make_ca(short_ca);
  ca_pem = root.pem();
  const Certificate middle = test::issue(root, intermediate("middle"));
  expect_identity({test::issue(root, client())});
  EXPECT_FALSE(present({test::issue(middle, client()), middle}).peer.verified);
  Specification one_more = intermediate("one-more");
  one_more.path_length = 1;
  const Certificate longer = test::make_ca(one_more);
  ca_pem = longer.pem();
  const Certificate a = test::issue(longer, intermediate("a"));
  const Certificate b = test::issue(a, intermediate("b"));
  expect_identity({test::issue(a, client()), a});
  EXPECT_FALSE(present({test::issue(b, client()), b, a}).peer.verified);
}

TEST_P(ClientCertificateTest, LongPathsAndLoopsEnd) {
  std::vector<Certificate> signers = {ca};
  for (int i = 0; i < 6; ++i) {
    signers.push_back(test::issue(signers.back(), intermediate("level-" + std::to_string(i))));
  }
  std::vector<Certificate> chain = {test::issue(signers.back(), client())};
  for (std::size_t i = signers.size() - 1; i > 0; --i) chain.push_back(signers[i]);
  expect_identity(chain);
  // All of one name, all signed by each other.
  const Key key = Key::generate();
  std::vector<Certificate> loop = {
      test::issue(test::self_sign(intermediate("loop"), key), client())};
  for (int i = 0; i < 8; ++i) loop.push_back(test::self_sign(intermediate("loop"), key));
  EXPECT_FALSE(present(loop).peer.verified);
  // As many ways to the CA as there are certificates, none of them good.
  std::vector<Certificate> ways = {test::clone_with_other_key(
      test::issue(test::self_sign(intermediate("way"), key), client()), Key::generate())};
  for (int i = 0; i < 8; ++i) ways.push_back(test::issue(ca, intermediate("way"), key));
  EXPECT_FALSE(present(ways).peer.verified);
}

TEST_P(ClientCertificateTest, TwoCasMayShareAName) {
  const Certificate old_ca = test::make_ca("rotated");
  const Certificate new_ca = test::make_ca("rotated");
  for (const bool identifiers : {true, false}) {
    Specification specification = client();
    specification.key_identifiers = identifiers;
    for (const auto& pem : {old_ca.pem() + new_ca.pem(), new_ca.pem() + old_ca.pem()}) {
      ca_pem = pem;
      expect_identity({test::issue(old_ca, specification)});
      expect_identity({test::issue(new_ca, specification)});
    }
  }
}

TEST_P(ClientCertificateTest, AnExpiredCaDoesNotStartNorTrust) {
  Specification expired = intermediate("old-ca");
  expired.not_after = past;
  const Certificate old_ca = test::make_ca(expired);
  ca_pem = old_ca.pem() + ca.pem();
  expect_identity({test::issue(ca, client())});
  expect_no_identity({test::issue(old_ca, client())});
}

TEST_P(ClientCertificateTest, TheExtendedUsageMustAllowClients) {
  for (const std::string_view usage : {test::usage_server_auth, test::usage_code_signing}) {
    Specification specification = client();
    specification.extended_usages = {std::string(usage)};
    expect_no_identity({test::issue(ca, specification)});
  }
  Specification any = client();
  any.extended_usages = {std::string(test::usage_any)};
  expect_identity({test::issue(ca, any)});
  Specification absent = client();
  absent.extended_usages = {};
  expect_identity({test::issue(ca, absent)});
  Specification both = client();
  both.extended_usages = {std::string(test::usage_server_auth),
                          std::string(test::usage_client_auth)};
  expect_identity({test::issue(ca, both)});
}

TEST_P(ClientCertificateTest, TheCasExtendedUsageCounts) {
  Specification server_only = intermediate("server-only-ca");
  server_only.extended_usages = {std::string(test::usage_server_auth)};
  const Certificate root = test::make_ca(server_only);
  ca_pem = root.pem();
  expect_no_identity({test::issue(root, client())});
}

TEST_P(ClientCertificateTest, ACaCertificateIsNoClient) {
  Specification marked = client("admin");
  marked.ca = true;
  expect_no_identity({test::issue(ca, marked)});
  expect_no_identity({ca});
  Specification not_ca = client();
  not_ca.ca = false;
  expect_identity({test::issue(ca, not_ca)});
}

// What `openssl x509 -req` of OpenSSL 3.0 makes; an API server takes it.
TEST_P(ClientCertificateTest, Version1MakesAnIdentity) {
  Specification specification;
  specification.subject = test::name("alice");
  specification.version = 1;
  expect_identity({test::issue(ca, specification)});
}

TEST_P(ClientCertificateTest, AnUnknownCriticalExtensionIsNobody) {
  Specification specification = client();
  specification.extensions.push_back({"1.2.3.4.5", true, {0x05, 0x00}});
  const Outcome outcome = present({test::issue(ca, specification)});
  EXPECT_FALSE(outcome.peer.verified);
  Specification harmless = client();
  harmless.extensions.push_back({"1.2.3.4.5", false, {0x05, 0x00}});
  expect_identity({test::issue(ca, harmless)});
}

TEST_P(ClientCertificateTest, AKeyUsageWithoutSignatureIsFineAsItIsInGo) {
  Specification specification = client();
  specification.key_usage = test::key_usage_key_encipherment;
  expect_identity({test::issue(ca, specification)});
}

TEST_P(ClientCertificateTest, ManyGroupsAreFine) {
  for (const int count : {14, 15, 16, 17, 40, 64, 200}) {
    std::vector<std::string> groups;
    for (int i = 0; i < count; ++i) groups.push_back("group-" + std::to_string(i));
    Specification specification = client();
    specification.subject = test::name("alice", groups);
    const Outcome outcome = present({test::issue(ca, specification)});
    EXPECT_TRUE(outcome.peer.verified) << count << outcome.peer.error << outcome.error;
  }
}

TEST_P(ClientCertificateTest, OddSubjectsDoNotDisturbVerification) {
  using test::Attribute;
  using test::StringType;
  const std::string cn(test::oid_common_name);
  const std::string o(test::oid_organization);
  const test::RelativeName alice = {Attribute{cn, "alice"}};
  const std::vector<test::Name> subjects = {
      {{Attribute{cn, std::string("admin\0.evil", 11)}}},
      {{Attribute{cn, "bob\r\nX-Remote-Group: system:masters"}}},
      {{Attribute{cn, "bob"}}, {Attribute{cn, "admin"}}},
      {{Attribute{std::string(test::oid_kubernetes_uid), "1234"}}, alice},
      {{Attribute{"2.5.4.11", "unit"}}, alice},
      {{Attribute{"1.2.3.4", "whatever"}}, alice},
      {{Attribute{cn, std::string("\0a\0b", 4), StringType::bmp}}},
      {{Attribute{cn, "alice", StringType::printable}}},
      {{Attribute{cn, "alice", StringType::ia5}}},
      {{Attribute{cn, "alice", StringType::t61}}},
      {{Attribute{cn, std::string("\0\0\0a", 4), StringType::universal}}},
      {{Attribute{cn, " alice "}}},
      {{Attribute{o, "only a group"}}},
  };
  for (std::size_t i = 0; i < subjects.size(); ++i) {
    Specification odd = client();
    odd.subject = subjects[i];
    const Certificate leaf = test::issue(ca, odd);
    const auto verified = verify_chain({leaf.der}, ca.pem(), now);
    // No API server reads a UniversalString.
    if (subjects[i][0][0].type == StringType::universal) {
      EXPECT_FALSE(verified.has_value());
      continue;
    }
    EXPECT_TRUE(verified.has_value()) << i << verified.error().context;
    if (!ForeignPeer::can_present(leaf)) continue;
    const Outcome outcome = present({leaf});
    EXPECT_TRUE(outcome.peer.verified) << i << outcome.peer.error << outcome.error << outcome.alert;
  }
  Specification empty = client();
  empty.subject = {};
  EXPECT_TRUE(present({test::issue(ca, empty)}).established);
  Specification long_name = client();
  long_name.subject = test::name(std::string(300, 'x'));
  EXPECT_TRUE(present({test::issue(ca, long_name)}).established);
}

// Without the certificate's key nobody gets in, whether or not the certificate would verify.
TEST_P(ClientCertificateTest, PossessionOfTheKeyIsAlwaysProved) {
  const Key thief = Key::generate();
  std::vector<Certificate> stolen = {authority().client};
  Specification expired = client();
  expired.not_after = past;
  stolen.push_back(test::issue(ca, expired));
  stolen.push_back(test::issue(test::make_ca("foreign"), client()));
  Specification critical = client();
  critical.extensions.push_back({"1.2.3.4.5", true, {0x05, 0x00}});
  stolen.push_back(test::issue(ca, critical));
  for (Certificate& certificate : stolen) {
    certificate.key = thief.posing_as(certificate.key);
    const Outcome outcome = present({certificate});
    EXPECT_FALSE(outcome.established);
    EXPECT_FALSE(outcome.peer.presented);
  }
}

// Whatever byte of a certificate is changed, it is nobody: its signature does not fit, or it is not
// even one. And nothing of it crashes.
TEST_P(ClientCertificateTest, NoChangedByteMakesAnIdentity) {
  const auto context = make_server(server_options());
  const Certificate good = authority().client;
  int presented = 0;
  const bool all_bits = GetParam() == 0x0304;  // the version makes no difference to verify_chain()
  for (std::size_t i = 0; i < good.der.size(); ++i) {
    for (unsigned bit = 0; bit < 8; ++bit) {
      if (!all_bits && (i + bit) % 16 != 0) continue;
      Certificate changed = good;
      changed.der[i] ^= static_cast<std::uint8_t>(1U << bit);
      EXPECT_FALSE(verify_chain({changed.der}, ca.pem(), now).has_value())
          << "bit " << bit << " of byte " << i << " of " << good.der.size();
      // The foreign library presents only what it can read itself and what fits its key.
      if ((i + bit) % 16 != 0 || !ForeignPeer::can_present(changed)) continue;
      ++presented;
      EXPECT_FALSE(present(context, {changed}).peer.verified) << i;
    }
  }
  EXPECT_GT(presented, 50);
  EXPECT_TRUE(present(context, {good}).peer.verified);
}

}  // namespace
}  // namespace sluice::tls::testing
