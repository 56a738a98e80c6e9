// SPDX-License-Identifier: GPL-3.0-or-later
// What is dropped from requests and what is added.
#include "sluice/kubernetes/identity_fields.h"

#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace sluice::kubernetes {
namespace {

using List = std::vector<std::pair<std::string, std::string>>;

http::Fields make(const List& list) {
  http::Fields fields;
  for (const auto& [name, value] : list) fields.add(name, value);
  return fields;
}

List contents(const http::Fields& fields) {
  List list;
  for (std::size_t i = 0; i < fields.size(); ++i)
    list.emplace_back(fields[i].name, fields[i].value);
  return list;
}

IdentityFields defaults() { return IdentityFields::make({}).value(); }

TEST(IdentityFieldsTest, DropsTheWholeFamilyInEverySpelling) {
  const IdentityFields identity_fields = defaults();
  for (const std::string_view base :
       {"x-remote-user", "x-remote-uid", "x-remote-group", "x-remote-extra-foo", "x-remote-extra-",
        "x-remote-extra-a%2fb", "x-remote-anything", "x-remote-user-", "x-remote-"}) {
    // Each byte in lower case, upper case, as `_` and percent-encoded.
    for (std::size_t at = 0; at < base.size() && at < 9; ++at) {
      const char c = base[at];
      constexpr std::string_view digits = "0123456789abcdef";
      const auto byte = static_cast<unsigned char>(c);
      std::vector<std::string> spellings = {
          std::string(1, c), std::string("%") + digits[byte >> 4] + digits[byte & 15]};
      if (c >= 'a' && c <= 'z') spellings.emplace_back(1, static_cast<char>(c - 32));
      if (c == '-') spellings.emplace_back("_");
      if (c == '-') spellings.emplace_back("%5F");
      for (const std::string& spelling : spellings) {
        const std::string name =
            std::string(base.substr(0, at)) + spelling + std::string(base.substr(at + 1));
        EXPECT_EQ(identity_fields.action(name), FieldAction::drop_identity) << name;
      }
    }
  }
  EXPECT_EQ(identity_fields.action("X_REMOTE_USER"), FieldAction::drop_identity);
  EXPECT_EQ(identity_fields.action("x_rEmOtE-uSeR"), FieldAction::drop_identity);
  EXPECT_EQ(identity_fields.action("%58%2d%72emote%5fUser"), FieldAction::drop_identity);
}

TEST(IdentityFieldsTest, DropsAddressesAndSteering) {
  const IdentityFields identity_fields = defaults();
  for (const std::string_view name :
       {"x-forwarded-for", "X-Forwarded-For", "x_forwarded_for", "x-forwarded-host",
        "x-forwarded-proto", "forwarded", "Forwarded", "x-real-ip", "X_Real-IP", "priority",
        "x-kubernetes-peer-proxied"}) {
    EXPECT_EQ(identity_fields.action(name), FieldAction::drop_forwarding) << name;
  }
}

TEST(IdentityFieldsTest, ForwardsEverythingElse) {
  const IdentityFields identity_fields = defaults();
  for (const std::string_view name : {"",
                                      "accept",
                                      "accept-encoding",
                                      "user-agent",
                                      "authorization",
                                      "content-type",
                                      "impersonate-user",
                                      "impersonate-group",
                                      "impersonate-extra-x",
                                      "audit-id",
                                      "traceparent",
                                      "x-stream-protocol-version",
                                      "x.remote.user",
                                      "x-remote",
                                      "xx-remote-user",
                                      "x-remotes-user",
                                      "from",
                                      "forwarded-x",
                                      "pragma",
                                      "priority-x",
                                      "x-real-ip-2",
                                      "x-kubernetes-pf-flowschema-uid",
                                      "kubectl-command",
                                      "%zz",
                                      "%",
                                      "x%"}) {
    EXPECT_EQ(identity_fields.action(name), FieldAction::forward) << name;
  }
}

TEST(IdentityFieldsTest, DropsConfiguredNamesAndTheDefaultsAsWell) {
  RequestHeaderOptions options;
  options.username_headers = {"X-Acme-User", "Acme_Login"};
  options.group_headers = {"X-Acme-Group"};
  options.uid_headers = {};
  options.extra_headers_prefixes = {"Acme-Extra-"};
  const IdentityFields identity_fields = IdentityFields::make(options).value();
  for (const std::string_view name :
       {"x-acme-user", "X_Acme_User", "acme-login", "ACME_LOGIN", "x-acme-group", "acme-extra-",
        "acme_extra_scopes", "x-remote-user", "x-remote-uid", "x-remote-extra-y"}) {
    EXPECT_EQ(identity_fields.action(name), FieldAction::drop_identity) << name;
  }
  EXPECT_EQ(identity_fields.action("accept"), FieldAction::forward);
  EXPECT_EQ(identity_fields.action("x-acme-users"), FieldAction::forward);
  EXPECT_EQ(identity_fields.action("acme-extra"), FieldAction::forward);

  http::Fields fields;
  identity_fields.append({"alice", {"g"}, "7", "X509SHA256=00"}, fields);
  EXPECT_EQ(contents(fields),
            (List{{"x-acme-user", "alice"},
                  {"x-acme-group", "g"},
                  {"acme-extra-authentication.kubernetes.io%2fcredential-id", "X509SHA256=00"}}));
}

TEST(IdentityFieldsTest, RefusesNamesThatAreNone) {
  RequestHeaderOptions options;
  options.username_headers = {};
  EXPECT_EQ(IdentityFields::make(options).error().context,
            "--requestheader-username-headers names no field; name at least one");
  options.username_headers = {"X Remote User"};
  EXPECT_EQ(IdentityFields::make(options).error().context,
            "--requestheader-username-headers names \"X Remote User\", which is no field name");
  for (const std::string name : {"", "a:b", "a%2fb", "a\n", "\xc3\xa9"}) {
    options = {};
    options.group_headers = {"ok", name};
    EXPECT_FALSE(IdentityFields::make(options).has_value()) << name;
  }
  options = {};
  options.extra_headers_prefixes = {};
  EXPECT_FALSE(IdentityFields::make(options).has_value());
  options.send_credential_id = false;
  EXPECT_TRUE(IdentityFields::make(options).has_value());
}

TEST(IdentityFieldsTest, SanitizeKeepsTheOrderOfTheRestAndCounts) {
  http::Fields fields = make({{"accept", "*/*"},
                              {"x-remote-user", "admin"},
                              {"x-remote-group", "system:masters"},
                              {"authorization", "Bearer t"},
                              {"x-forwarded-for", "1.2.3.4"},
                              {"x-remote-group", "again"},
                              {"impersonate-user", "bob"}});
  const Sanitized result = defaults().sanitize(fields, false);
  EXPECT_EQ(result.identity_fields, 3U);
  EXPECT_EQ(result.other_fields, 1U);
  EXPECT_EQ(contents(fields),
            (List{{"accept", "*/*"}, {"authorization", "Bearer t"}, {"impersonate-user", "bob"}}));
}

TEST(IdentityFieldsTest, VouchingDropsTheClientsOwnCredentials) {
  http::Fields fields = make(
      {{"authorization", "Bearer t"},
       {"sec-websocket-protocol", "v5.channel.k8s.io, base64url.bearer.authorization.k8s.io.dA"},
       {"authorization", "Basic eDp5"},
       {"sec-websocket-protocol", "base64url.bearer.authorization.k8s.io.dQ,v4.channel.k8s.io"},
       {"user-agent", "kubectl"}});
  EXPECT_EQ(defaults().sanitize(fields, true).other_fields, 4U);
  EXPECT_EQ(contents(fields),
            (List{{"user-agent", "kubectl"},
                  {"sec-websocket-protocol", "v5.channel.k8s.io, v4.channel.k8s.io"}}));

  fields = make({{"sec-websocket-protocol", "v5.channel.k8s.io"}});
  EXPECT_EQ(defaults().sanitize(fields, true).other_fields, 0U);
  EXPECT_EQ(fields.size(), 1U);
  fields = make({{"sec-websocket-protocol", "base64url.bearer.authorization.k8s.io.dA"}});
  defaults().sanitize(fields, true);
  EXPECT_TRUE(fields.empty());
}

TEST(IdentityFieldsTest, AppendsOneFieldPerGroupAndMarksThemNeverIndexed) {
  http::Fields fields = make({{"accept", "*/*"}});
  defaults().append({"alice", {"a", "b,c", "a"}, "42", "X509SHA256=ab"}, fields);
  EXPECT_EQ(
      contents(fields),
      (List{{"accept", "*/*"},
            {"x-remote-user", "alice"},
            {"x-remote-group", "a"},
            {"x-remote-group", "b,c"},
            {"x-remote-group", "a"},
            {"x-remote-uid", "42"},
            {"x-remote-extra-authentication.kubernetes.io%2fcredential-id", "X509SHA256=ab"}}));
  for (std::size_t i = 1; i < fields.size(); ++i) EXPECT_TRUE(fields[i].never_indexed);
}

TEST(IdentityFieldsTest, SendsNeitherAnEmptyUidNorAnUnwantedCredentialId) {
  RequestHeaderOptions options;
  options.send_credential_id = false;
  http::Fields fields;
  IdentityFields::make(options)->append({"alice", {}, "", "X509SHA256=ab"}, fields);
  EXPECT_EQ(contents(fields), (List{{"x-remote-user", "alice"}}));
}

TEST(IdentityFieldsTest, EverythingThatIsAppendedWouldBeDroppedFromAClient) {
  http::Fields fields;
  defaults().append({"alice", {"g"}, "42", "X509SHA256=ab"}, fields);
  IdentityFields::append_forwarded_for("192.0.2.1", fields);
  ASSERT_EQ(fields.size(), 5U);
  defaults().sanitize(fields, false);
  EXPECT_TRUE(fields.empty());
}

TEST(IdentityFieldsTest, EscapesExtraKeysSoThatTheApiServerDecodesThemAgain) {
  EXPECT_EQ(extra_field_name("X-Remote-Extra-", "authentication.kubernetes.io/credential-id"),
            "x-remote-extra-authentication.kubernetes.io%2fcredential-id");
  EXPECT_EQ(extra_field_name("x-", "plain-key_1.~"), "x-plain-key_1.~");
  EXPECT_EQ(extra_field_name("x-", "A%b c\xc3"), "x-%41%25b%20c%c3");
}

TEST(CredentialTest, FindsBearerTokens) {
  for (const std::string value : {"Bearer abc", "bearer abc", "BEARER abc", " Bearer abc "}) {
    const http::Fields fields = make({{"accept", "*/*"}, {"authorization", value}});
    const Credential credential = classify_credential(fields);
    EXPECT_EQ(credential.kind, CredentialKind::bearer) << value;
    EXPECT_EQ(credential.token, "abc") << value;
  }
}

TEST(CredentialTest, TakesEverythingOddForASuspect) {
  for (const std::string value :
       {"", "Bearer", "Bearer ", "Bearer  abc", "Bearer a b", "Bearer\tabc", "Basic eDp5",
        "Negotiate x", "abc", "Bearer a\tb"}) {
    EXPECT_EQ(classify_credential(make({{"authorization", value}})).kind, CredentialKind::other)
        << value;
    EXPECT_TRUE(classify_credential(make({{"authorization", value}})).token.empty());
  }
  EXPECT_EQ(
      classify_credential(make({{"authorization", "Bearer a"}, {"authorization", "Bearer a"}}))
          .kind,
      CredentialKind::other);
}

TEST(CredentialTest, SeesNoneWhereThereIsNone) {
  EXPECT_EQ(classify_credential(make({{"accept", "*/*"}, {"cookie", "Bearer x"}})).kind,
            CredentialKind::none);
}

TEST(CredentialTest, DecodesWhatServersDecode) {
  EXPECT_EQ(decode_base64url(""), "");
  EXPECT_EQ(decode_base64url("YQ"), "a");
  EXPECT_EQ(decode_base64url("YWI"), "ab");
  EXPECT_EQ(decode_base64url("-_-_"), "\xfb\xff\xbf");
  for (const std::string_view odd : {"Y", "YQ==", "Y+Q", "Y/Q", "Y Q", "YWJjZ"}) {
    EXPECT_EQ(decode_base64url(odd), std::nullopt) << odd;
  }
}

TEST(CredentialTest, CountsSubprotocolTokensOfWebSocketsOnly) {
  const http::Fields fields =
      make({{"sec-websocket-protocol",
             "v5.channel.k8s.io, base64url.bearer.authorization.k8s.io.dG9r"}});
  EXPECT_EQ(classify_credential(fields).kind, CredentialKind::none);
  const Credential credential = classify_credential(fields, true);
  EXPECT_EQ(credential.kind, CredentialKind::bearer);
  EXPECT_EQ(credential.token, "dG9r");
  EXPECT_TRUE(credential.base64url);
  EXPECT_EQ(decode_base64url(credential.token), "tok");
  EXPECT_EQ(classify_credential(make({{"sec-websocket-protocol", "v5.channel.k8s.io"}}), true).kind,
            CredentialKind::none);
  EXPECT_EQ(classify_credential(
                make({{"authorization", "Bearer a"},
                      {"sec-websocket-protocol", "base64url.bearer.authorization.k8s.io.dA"}}),
                true)
                .kind,
            CredentialKind::other);
  EXPECT_EQ(classify_credential(
                make({{"sec-websocket-protocol", "base64url.bearer.authorization.k8s.io."}}), true)
                .kind,
            CredentialKind::other);
}

}  // namespace
}  // namespace sluice::kubernetes
