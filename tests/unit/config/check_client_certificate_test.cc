// SPDX-License-Identifier: GPL-3.0-or-later
// Who a certificate would be is said without a connection, and why it would be nobody.
#include "sluice/config/check_client_certificate.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "certificates.h"
#include "sluice/config/flags.h"
#include "sluice/tls/context.h"

namespace sluice::config {
namespace {

using testing::HasSubstr;

class CheckClientCertificateTest : public testing::Test {
 protected:
  static void SetUpTestSuite() { ASSERT_TRUE(tls::initialize().has_value()); }

  ClientCertificateReport check(const test::Certificate& certificate) {
    files_["ca.crt"] = ca_.pem();
    files_["client.crt"] = certificate.pem();
    return check_file("client.crt");
  }
  ClientCertificateReport check_file(const std::string& path) {
    Environment environment;
    environment.now = test::at(1'800'000'000);
    environment.read_file = [this](const std::string& name) -> Result<std::string> {
      const auto found = files_.find(name);
      if (found == files_.end()) return fail(ErrorKind::system, "no such file");
      return found->second;
    };
    return check_client_certificate(config_, path, environment);
  }
  test::Certificate issue(std::string_view user, WallTime not_after = test::default_not_after) {
    test::Specification specification;
    specification.subject = test::name(user, {"dev", "ops"});
    specification.not_after = not_after;
    return test::issue(ca_, specification);
  }

  test::Certificate ca_ = test::make_ca("client-ca");
  std::map<std::string, std::string> files_;
  Config config_ = [] {
    Config config;
    config.client_ca_file = "ca.crt";
    return config;
  }();
};

TEST_F(CheckClientCertificateTest, SaysWhoItWouldBe) {
  const ClientCertificateReport report = check(issue("alice"));
  EXPECT_TRUE(report.identity) << report.text;
  EXPECT_THAT(report.text, HasSubstr("user: alice\ngroup: dev\ngroup: ops\n"));
  EXPECT_THAT(report.text, HasSubstr("credential id: X509SHA256="));
  EXPECT_THAT(report.text, HasSubstr("until: 2050-01-01 00:00:00 UTC"));
}

TEST_F(CheckClientCertificateTest, SaysWhyItWouldBeNobody) {
  const ClientCertificateReport expired = check(issue("alice", test::at(1'700'000'000)));
  EXPECT_FALSE(expired.identity);
  EXPECT_THAT(expired.text, HasSubstr("nobody: a certificate has expired; as at an API server"));
  const ClientCertificateReport spaced = check(issue(" alice"));
  EXPECT_FALSE(spaced.identity);
  EXPECT_THAT(spaced.text, HasSubstr("begins or ends with a space; every request"));
  const ClientCertificateReport foreign =
      check(test::issue_client(test::make_ca("foreign"), "alice"));
  EXPECT_FALSE(foreign.identity);
  EXPECT_THAT(foreign.text, HasSubstr("a CA that is not trusted"));
}

TEST_F(CheckClientCertificateTest, MistakesAreSentences) {
  EXPECT_THAT(check_file("nowhere").text, HasSubstr("--client-ca-file=\"ca.crt\" cannot be read"));
  files_["ca.crt"] = ca_.pem();
  EXPECT_THAT(check_file("nowhere").text, HasSubstr("\"nowhere\" cannot be read (no such file)"));
  files_["client.crt"] = "nonsense";
  EXPECT_THAT(check_file("client.crt").text, HasSubstr("is no PEM certificate"));
  config_ = {};
  EXPECT_THAT(check_file("client.crt").text, HasSubstr("needs --client-ca-file"));
}

TEST_F(CheckClientCertificateTest, TheFlagIsAnAction) {
  const std::vector<std::string_view> arguments = {"--check", "--check-client-cert-file=a.crt",
                                                   "--client-ca-file=ca.crt"};
  const CommandLine line = parse(std::span<const std::string_view>(arguments));
  EXPECT_TRUE(line.mistakes.empty());
  EXPECT_EQ(line.action, CommandLine::Action::check);
  EXPECT_EQ(line.client_certificate, "a.crt");
  const std::vector<std::string_view> bare = {"--check-client-cert-file"};
  EXPECT_EQ(parse(std::span<const std::string_view>(bare)).mistakes.size(), 1U);
}

}  // namespace
}  // namespace sluice::config
