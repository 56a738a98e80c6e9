// SPDX-License-Identifier: GPL-3.0-or-later
// Kubeconfigs that are taken, and those that would make us run, trust or be what nobody meant.
#include "sluice/discovery/kubeconfig.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

namespace sluice::discovery {
namespace {

using testing::HasSubstr;
using testing::Not;

std::string kubeconfig(std::string_view cluster, std::string_view user) {
  return fmt::format(R"(apiVersion: v1
kind: Config
current-context: one
contexts:
- name: other
  context: {{cluster: c, user: nobody}}
- name: one
  context:
    cluster: c
    user: u
    namespace: default
clusters:
- name: c
  cluster: {{{}}}
users:
- name: u
  user: {{{}}}
)",
                     cluster, user);
}
constexpr std::string_view good_cluster =
    R"(server: "https://api.example:6443", certificate-authority: ca.crt)";
constexpr std::string_view good_user = "tokenFile: token";

std::string error_of(const std::string& text) {
  const auto config = parse_kubeconfig(text);
  return config ? "" : config.error().context;
}

TEST(KubeconfigTest, TakesServerAuthorityAndTokenOfTheCurrentContext) {
  const auto config = parse_kubeconfig(kubeconfig(good_cluster, good_user));
  ASSERT_TRUE(config.has_value()) << config.error().context;
  EXPECT_EQ(config->server, Place(Target{"api.example", 6443}));
  EXPECT_EQ(config->path, "");
  EXPECT_EQ(config->server_name, "api.example");
  EXPECT_EQ(config->authority.path, "ca.crt");
  EXPECT_EQ(config->token.path, "token");
  EXPECT_FALSE(config->certificate.given());
}

TEST(KubeconfigTest, DataInItselfIsDecodedAndGoesBeforeFiles) {
  const auto config = parse_kubeconfig(kubeconfig(
      R"(server: "https://10.0.0.1", certificate-authority-data: UEVN, certificate-authority: x,
         tls-server-name: kubernetes)",
      R"(client-certificate-data: Y2VydA==, client-key-data: a2V5, token: secret)"));
  ASSERT_TRUE(config.has_value()) << config.error().context;
  EXPECT_EQ(config->server, Place(*io::Address::parse("10.0.0.1:443")));
  EXPECT_EQ(config->server_name, "kubernetes");
  EXPECT_EQ(config->authority.text, "PEM");
  EXPECT_EQ(config->authority.path, "");
  EXPECT_EQ(config->certificate.text, "cert");
  EXPECT_EQ(config->key.text.text(), "key");
  EXPECT_EQ(config->token.text.text(), "secret");
}

TEST(KubeconfigTest, ServersAreHttpsWithAPortAndAPathOfTheirOwn) {
  const auto server = [](std::string_view url) {
    return parse_kubeconfig(
        kubeconfig(fmt::format(R"(server: "{}", certificate-authority: ca)", url), good_user));
  };
  EXPECT_EQ(server("https://[fd00::1]:6443")->server, Place(*io::Address::parse("[fd00::1]:6443")));
  EXPECT_EQ(server("https://[fd00::1]")->server, Place(*io::Address::parse("[fd00::1]:443")));
  EXPECT_EQ(server("https://[fd00::1]")->server_name, "fd00::1");
  EXPECT_EQ(server("https://rancher.example/k8s/clusters/c-1/")->path, "/k8s/clusters/c-1");
  for (const char* url :
       {"", "http://api.example", "api.example:6443", "https://", "https://u@api", "https://api:0",
        "https://api/x?y=z", "https://api/x#y", "https://api/x y"}) {
    EXPECT_FALSE(server(url).has_value()) << url;
  }
}

TEST(KubeconfigTest, WhatWouldBeExecutedOrTrustAnybodyIsRefusedWithASentence) {
  const std::vector<std::pair<std::string, std::string>> users = {
      {"exec: {command: aws}", "\"exec\": a plugin that would have to be executed"},
      {"auth-provider: {name: gcp}", "\"auth-provider\""},
      {"username: a, password: b", "a password"},
      {"token: t, as: admin", "impersonation"},
      {"token: t, as-groups: [x]", "impersonation"},
      {"", "neither a token nor a certificate"},
      {"client-certificate: a", "needs both"},
      {"client-key-data: a2V5", "needs both"},
      {"client-certificate-data: '*', client-key: k", "client-certificate-data is no base64"},
  };
  for (const auto& [user, sentence] : users) {
    EXPECT_THAT(error_of(kubeconfig(good_cluster, user)), HasSubstr(sentence)) << user;
  }
  const std::vector<std::pair<std::string, std::string>> clusters = {
      {R"(server: "https://a:1", insecure-skip-tls-verify: true)", "insecure-skip-tls-verify"},
      {R"(server: "https://a:1")", "no certificate-authority"},
      {R"(server: "https://a:1", certificate-authority: x, proxy-url: y)", "proxy-url"},
  };
  for (const auto& [cluster, sentence] : clusters) {
    EXPECT_THAT(error_of(kubeconfig(cluster, good_user)), HasSubstr(sentence)) << cluster;
  }
}

TEST(KubeconfigTest, WhatIsMissingIsNamedAndNoSecretIsToldOf) {
  EXPECT_THAT(error_of(""), HasSubstr("empty"));
  EXPECT_THAT(error_of("{}"), HasSubstr("current-context"));
  EXPECT_THAT(error_of("current-context: x"), HasSubstr("contexts have no \"x\""));
  EXPECT_THAT(error_of("current-context: x\ncontexts: [{name: x, context: {cluster: c}}]"),
              HasSubstr("clusters have no \"c\""));
  const std::string both = error_of(
      kubeconfig("server: 'https://a', certificate-authority-data: '**secret**'", "token: hush"));
  EXPECT_THAT(both, HasSubstr("no base64"));
  EXPECT_THAT(both, Not(HasSubstr("secret")));
}

TEST(KubeconfigTest, AnEmptyFileIsRefusedLikeAnother) {
  EXPECT_FALSE(parse_kubeconfig({}).has_value());
  EXPECT_FALSE(parse_kubeconfig("\n").has_value());
}

TEST(KubeconfigTest, NoFileCanMakeUsHoldOrDoMuch) {
  std::string deep;
  for (int i = 0; i < 1000; ++i) deep += "[";
  EXPECT_NE(error_of(deep), "");
  EXPECT_THAT(
      error_of(
          "a: {b: {c: {d: {e: {f: {g: {h: {i: {j: {k: {l: {m: {n: {o: {p: {q: 1}}}}}}}}}}}}}}}}"),
      HasSubstr("too deeply"));
  std::string many = "[";
  for (int i = 0; i < 5000; ++i) many += "1,";
  EXPECT_THAT(error_of(many + "1]"), HasSubstr("too many values"));
  EXPECT_THAT(error_of("a: &x [1]\nb: *x"), HasSubstr("aliases"));
  EXPECT_THAT(error_of("a: 1\na: 2"), HasSubstr("twice"));
  EXPECT_THAT(error_of("a: 1\n---\nb: 2"), HasSubstr("more than one document"));
  EXPECT_THAT(error_of(std::string(300 * 1024, ' ')), HasSubstr("more than"));
  EXPECT_NE(error_of("\xff\xfe\x00"), "");
}

}  // namespace
}  // namespace sluice::discovery
