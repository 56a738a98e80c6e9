// SPDX-License-Identifier: GPL-3.0-or-later
// Identities of subjects. differential_oracle.cc compares thousands more with the API server's
// parser.
#include "sluice/kubernetes/identity.h"

#include <gtest/gtest.h>

#include <array>
#include <string>
#include <utility>
#include <vector>

#include "certificate_builder.h"

namespace sluice::kubernetes {
namespace {

using namespace test;

constexpr std::array<std::uint8_t, 32> digest = {0x00, 0x01, 0xab, 0xff};

std::expected<Identity, NoIdentity> identity(const std::string& subject) {
  const std::string whole = sequence(subject);
  return identity_of_subject(as_bytes(whole), digest);
}

TEST(IdentityTest, TakesTheLastCommonNameAndEveryOrganizationInOrder) {
  const auto found = identity(name({{organization, "b"},
                                    {common_name, "first"},
                                    {organization, "a"},
                                    {unit, "ignored"},
                                    {common_name, "last"},
                                    {organization, "b"}}));
  ASSERT_TRUE(found.has_value());
  EXPECT_EQ(found->user, "last");
  EXPECT_EQ(found->groups, (std::vector<std::string>{"b", "a", "b"}));
  EXPECT_EQ(found->uid, "");
}

TEST(IdentityTest, FlattensMultiValuedSetsInTheOrderOfTheirEncoding) {
  const std::string subject =
      der(0x31, attribute({organization, "x"}) + attribute({common_name, "one"}) +
                    attribute({organization, "y"})) +
      der(0x31, "") + der(0x31, attribute({common_name, "two"}) + attribute({uid, "42"}));
  const auto found = identity(subject);
  ASSERT_TRUE(found.has_value());
  EXPECT_EQ(found->user, "two");
  EXPECT_EQ(found->groups, (std::vector<std::string>{"x", "y"}));
  EXPECT_EQ(found->uid, "42");
}

TEST(IdentityTest, MakesTheCredentialIdFromTheDigest) {
  EXPECT_EQ(identity(name({{common_name, "a"}}))->credential_id,
            "X509SHA256=0001abff" + std::string(56, '0'));
}

TEST(IdentityTest, SkipsEmptyOrganizations) {
  const auto found = identity(name({{organization, ""}, {common_name, "a"}, {organization, "g"}}));
  EXPECT_EQ(found->groups, std::vector<std::string>{"g"});
}

TEST(IdentityTest, ExistsOnlyWithACommonName) {
  EXPECT_EQ(identity(""), std::unexpected(NoIdentity::no_common_name));
  EXPECT_EQ(identity(name({{organization, "g"}})), std::unexpected(NoIdentity::no_common_name));
  EXPECT_EQ(identity(name({{common_name, "a"}, {common_name, ""}})),
            std::unexpected(NoIdentity::no_common_name));
}

TEST(IdentityTest, ExistsOnlyWithAtMostOneUid) {
  EXPECT_EQ(identity(name({{common_name, "a"}, {uid, "7"}}))->uid, "7");
  EXPECT_EQ(identity(name({{common_name, "a"}, {uid, ""}})),
            std::unexpected(NoIdentity::empty_uid));
  EXPECT_EQ(identity(name({{common_name, "a"}, {uid, "7"}, {uid, "7"}})),
            std::unexpected(NoIdentity::repeated_uid));
  const std::string neighbour = "\x2b\x06\x01\x04\x01\x83\xc2\x53\x03"s;
  EXPECT_EQ(identity(name({{common_name, "a"}, {neighbour, "7"}}))->uid, "");
}

TEST(IdentityTest, KeepsUtf8AsItIs) {
  for (const std::string& text : {"Zo\xc3\xab"s, "\xe6\x97\xa5\xe6\x9c\xac"s, "\xf0\x9f\x91\xa9"s,
                                  "a/O=system:masters"s, "x,y+z"s, "\xc2\xa0nbsp"s, "a  b"s}) {
    EXPECT_EQ(identity(name({{common_name, text}}))->user, text);
  }
}

TEST(IdentityTest, RefusesControlBytesWhereverTheyAreUsed) {
  for (int byte = 0; byte < 0x80; ++byte) {
    const bool control = byte < 0x20 || byte == 0x7f;
    const std::string value = "a" + std::string(1, static_cast<char>(byte)) + "b";
    for (const std::string& type : {common_name, organization, uid}) {
      std::vector<Attribute> attributes = {{type, value}};
      if (type != common_name) attributes.push_back({common_name, "a"});
      const auto found = identity(name(attributes));
      EXPECT_EQ(found.has_value(), !control) << byte;
      if (control) {
        EXPECT_EQ(found, std::unexpected(NoIdentity::control_byte)) << byte;
      }
    }
  }
}

TEST(IdentityTest, RefusesOuterSpaces) {
  for (const std::string& value : {" admin"s, "admin "s, " "s}) {
    EXPECT_EQ(identity(name({{common_name, value}})), std::unexpected(NoIdentity::outer_space));
    EXPECT_EQ(identity(name({{common_name, "a"}, {organization, value}})),
              std::unexpected(NoIdentity::outer_space));
    EXPECT_EQ(identity(name({{common_name, "a"}, {uid, value}})),
              std::unexpected(NoIdentity::outer_space));
  }
}

TEST(IdentityTest, RefusesStringTypesThatReadersDisagreeAbout) {
  for (const unsigned tag : {numeric, t61, bmp}) {
    const Attribute odd = {common_name, "00", tag};
    EXPECT_EQ(identity(name({odd})), std::unexpected(NoIdentity::string_type)) << tag;
    // In an attribute that does not matter they are allowed, as the API server allows them.
    EXPECT_TRUE(identity(name({{unit, "00", tag}, {common_name, "a"}})).has_value()) << tag;
  }
  EXPECT_EQ(identity(name({{unit, "0000", universal}, {common_name, "a"}})),
            std::unexpected(NoIdentity::malformed));
  EXPECT_EQ(identity(name({{common_name, "a", printable}, {organization, "b", ia5}}))->groups,
            std::vector<std::string>{"b"});
}

TEST(IdentityTest, IgnoresWhatEarlierCommonNamesHold) {
  EXPECT_EQ(
      identity(name({{common_name, "a\nb"}, {common_name, " x"}, {common_name, "bob"}}))->user,
      "bob");
  EXPECT_EQ(identity(name({{common_name, "a\xff"}, {common_name, "bob"}})),
            std::unexpected(NoIdentity::malformed));
}

TEST(IdentityTest, RefusesStringsThatTheirTypeForbids) {
  for (const Attribute& odd :
       {Attribute{common_name, "a_b", printable}, Attribute{common_name, "\xc3\xab", ia5},
        Attribute{common_name, "\xff", utf8_string},
        Attribute{common_name, "\xed\xa0\x80", utf8_string}, Attribute{unit, "x", numeric},
        Attribute{unit, "abc", bmp}, Attribute{unit, "\xd8\x00"s, bmp},
        Attribute{unit, "\xff\xff"s, bmp}}) {
    EXPECT_EQ(identity(name({odd, {common_name, "a"}})), std::unexpected(NoIdentity::malformed))
        << odd.value;
  }
}

TEST(IdentityTest, TakesThousandsOfGroupsUpToItsBound) {
  std::vector<Attribute> attributes = {{common_name, "a"}};
  for (int i = 0; i < 2000; ++i) attributes.push_back({organization, "group-" + std::to_string(i)});
  EXPECT_EQ(identity(name(attributes))->groups.size(), 2000U);
  for (int i = 0; i < 2000; ++i) attributes.push_back({organization, ""});
  EXPECT_EQ(identity(name(attributes)), std::unexpected(NoIdentity::too_large));
  EXPECT_EQ(identity(name({{common_name, std::string(subject_bytes_max + 1, 'a')}})),
            std::unexpected(NoIdentity::too_large));
  EXPECT_TRUE(identity(name({{common_name, std::string(subject_bytes_max, 'a')}})).has_value());
}

TEST(IdentityTest, GivesNoneToCertificatesThatAreNotForClients) {
  const auto of = [](const Certificate& certificate) {
    const std::string der = certificate.build();
    return identity_of_certificate(as_bytes(der), digest);
  };
  Certificate certificate;
  certificate.extensions = {basic_constraints(""), extended_key_usage({client_auth})};
  EXPECT_EQ(of(certificate)->user, "alice");
  certificate.extensions = {basic_constraints("\x01\x01\xff"s), extended_key_usage({client_auth})};
  EXPECT_EQ(of(certificate), std::unexpected(NoIdentity::authority));
  certificate.extensions = {extended_key_usage({server_auth})};
  EXPECT_EQ(of(certificate), std::unexpected(NoIdentity::wrong_usage));
  certificate.extensions = {{"\x2a\x03"s, "", critical}};
  EXPECT_EQ(of(certificate), std::unexpected(NoIdentity::critical_extension));
  certificate.extensions = {};
  certificate.version = "";
  EXPECT_EQ(of(certificate)->user, "alice");
  EXPECT_EQ(identity_of_certificate(as_bytes("nonsense"), digest),
            std::unexpected(NoIdentity::malformed));
}

TEST(IdentityTest, KnowsAnonymousOnes) {
  EXPECT_TRUE(is_anonymous({"system:anonymous", {}, "", ""}));
  EXPECT_TRUE(is_anonymous({"alice", {"x", "system:unauthenticated"}, "", ""}));
  EXPECT_FALSE(is_anonymous({"alice", {"system:authenticated"}, "", ""}));
}

TEST(IdentityTest, EveryReasonHasAText) {
  for (int reason = 0; reason <= static_cast<int>(NoIdentity::too_large); ++reason) {
    EXPECT_NE(to_string(static_cast<NoIdentity>(reason)), "unknown") << reason;
  }
}

// Of a certificate in which an API server would see a user, a token must not make another one.
TEST(IdentityTest, ATokenDecidesOnlyWhereAServerWouldLetIt) {
  for (const NoIdentity reason :
       {NoIdentity::no_certificate, NoIdentity::not_verified, NoIdentity::wrong_usage,
        NoIdentity::critical_extension, NoIdentity::expired, NoIdentity::no_common_name,
        NoIdentity::repeated_uid, NoIdentity::empty_uid}) {
    EXPECT_TRUE(server_passes_over(reason)) << to_string(reason);
  }
  for (const NoIdentity reason :
       {NoIdentity::not_judged, NoIdentity::malformed, NoIdentity::authority,
        NoIdentity::string_type, NoIdentity::control_byte, NoIdentity::outer_space,
        NoIdentity::too_large}) {
    EXPECT_FALSE(server_passes_over(reason)) << to_string(reason);
  }
}

}  // namespace
}  // namespace sluice::kubernetes
