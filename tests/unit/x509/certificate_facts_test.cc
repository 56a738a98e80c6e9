// SPDX-License-Identifier: GPL-3.0-or-later
// Facts of good certificates, and no facts of bad ones.
#include "sluice/x509/certificate_facts.h"

#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "certificate_builder.h"

namespace sluice::x509 {
namespace {

using namespace test;

Result<CertificateFacts> read(const std::string& der) {
  return read_certificate_facts(as_bytes(der));
}

std::int64_t seconds_of(WallTime time) { return time.time_since_epoch().count(); }

TEST(CertificateFactsTest, ReadsTheFactsOfAPlainCertificate) {
  const std::string der = Certificate{}.build();
  const Result<CertificateFacts> facts = read(der);
  ASSERT_TRUE(facts.has_value());
  EXPECT_EQ(facts->version, 3);
  EXPECT_EQ(seconds_of(facts->not_before), 1'767'225'600);
  EXPECT_EQ(seconds_of(facts->not_after), 1'798'761'600);
  EXPECT_FALSE(facts->ca);
  EXPECT_FALSE(facts->unknown_critical);
  EXPECT_FALSE(facts->extended_usage);
  EXPECT_EQ(as_text(facts->whole), der);
  EXPECT_EQ(as_text(facts->issuer), sequence(name({{common_name, "authority"}})));
  EXPECT_EQ(as_text(facts->subject), sequence(name({{common_name, "alice"}})));
  EXPECT_EQ(facts->key.kind, KeyKind::ed25519);
  EXPECT_EQ(as_text(facts->key.point), std::string(32, 'k'));
  EXPECT_EQ(as_text(facts->signature), "signature");
}

TEST(CertificateFactsTest, ReadsBothFormsOfTime) {
  const std::vector<std::pair<std::string, std::int64_t>> rows = {
      {der(0x17, "700101000000Z"), 0},
      {der(0x17, "500101000000Z"), -631'152'000},
      {der(0x17, "491231235959Z"), 2'524'607'999},
      {der(0x17, "000229000000Z"), 951'782'400},
      {der(0x18, "20500101000000Z"), 2'524'608'000},
      {der(0x18, "99991231235959Z"), 253'402'300'799},
      {der(0x18, "00000101000000Z"), -62'167'219'200},
  };
  for (const auto& [time, seconds] : rows) {
    Certificate certificate;
    certificate.not_after = time;
    const std::string der = certificate.build();
    const Result<CertificateFacts> facts = read(der);
    ASSERT_TRUE(facts.has_value()) << time;
    EXPECT_EQ(seconds_of(facts->not_after), seconds) << time;
  }
}

TEST(CertificateFactsTest, RefusesOtherFormsOfTime) {
  for (const std::string& time :
       {der(0x17, "2601010000Z"), der(0x17, "260101000000+0100"), der(0x17, "260101000000"),
        der(0x17, "261301000000Z"), der(0x17, "260001000000Z"), der(0x17, "260132000000Z"),
        der(0x17, "260100000000Z"), der(0x17, "270229000000Z"), der(0x17, "260101240000Z"),
        der(0x17, "260101006000Z"), der(0x17, "260101000060Z"), der(0x17, "26010100000 Z"),
        der(0x18, "20260101000000.5Z"), der(0x18, "260101000000Z"), der(0x0c, "260101000000Z"),
        der(0x17, ""), ""s}) {
    Certificate certificate;
    certificate.not_before = time;
    EXPECT_FALSE(read(certificate.build()).has_value()) << time;
  }
}

TEST(CertificateFactsTest, FindsAuthorities) {
  const std::vector<std::pair<std::string, bool>> rows = {{"", false},
                                                          {"\x01\x01\xff"s, true},
                                                          {"\x01\x01\x00"s, false},
                                                          {"\x01\x01\xff\x02\x01\x00"s, true}};
  for (const auto& [contents, authority] : rows) {
    Certificate certificate;
    certificate.extensions = {basic_constraints(contents)};
    const Result<CertificateFacts> facts = read(certificate.build());
    ASSERT_TRUE(facts.has_value());
    EXPECT_EQ(facts->ca, authority);
    EXPECT_FALSE(facts->unknown_critical);
  }
}

TEST(CertificateFactsTest, ReadsExtendedKeyUsage) {
  struct Row {
    std::vector<std::string> usages;
    bool client;
    bool server;
  };
  const std::vector<Row> rows = {
      {{client_auth}, true, false},
      {{server_auth, client_auth}, true, true},
      {{any_usage}, true, true},
      {{server_auth}, false, true},
      {{"\x2a\x03"s}, false, false},
      // Says nothing: to crypto/x509 it is as if it were not there.
      {{}, true, true},
  };
  for (const auto& [usages, client, server] : rows) {
    Certificate certificate;
    certificate.extensions = {extended_key_usage(usages)};
    const std::string der = certificate.build();
    const Result<CertificateFacts> facts = read(der);
    ASSERT_TRUE(facts.has_value());
    EXPECT_EQ(facts->usable_for_client(), client);
    EXPECT_EQ(facts->usable_for_server(), server);
  }
}

TEST(CertificateFactsTest, NoticesUnknownCriticalExtensions) {
  Certificate certificate;
  certificate.extensions = {{"\x2a\x03\x04"s, "?", ""},
                            {"\x55\x1d\x0f"s, "\x03\x02\x07\x80"s, critical}};
  EXPECT_FALSE(read(certificate.build())->unknown_critical);
  certificate.extensions = {{"\x2a\x03\x04"s, "?", critical}};
  EXPECT_TRUE(read(certificate.build())->unknown_critical);
}

TEST(CertificateFactsTest, ReadsOldVersionsWithoutExtensions) {
  Certificate certificate;
  certificate.version = "";
  EXPECT_EQ(read(certificate.build())->version, 1);
  certificate.version = der(0xa0, "\x02\x01\x01"s);
  certificate.unique_ids = der(0x81, "\0x"s) + der(0x82, "\0y"s);
  EXPECT_EQ(read(certificate.build())->version, 2);
  certificate.extensions = {basic_constraints("")};
  EXPECT_FALSE(read(certificate.build()).has_value());
}

TEST(CertificateFactsTest, RefusesMalformedParts) {
  using Change = std::function<void(Certificate&)>;
  const std::vector<std::pair<const char*, Change>> changes = {
      {"version 4", [](Certificate& c) { c.version = der(0xa0, "\x02\x01\x03"s); }},
      {"negative version", [](Certificate& c) { c.version = der(0xa0, "\x02\x01\xff"s); }},
      {"empty version", [](Certificate& c) { c.version = der(0xa0, ""); }},
      {"negative serial", [](Certificate& c) { c.serial = "\x80"s; }},
      {"padded serial", [](Certificate& c) { c.serial = "\x00\x01"s; }},
      {"empty serial", [](Certificate& c) { c.serial = ""; }},
      {"other outer algorithm", [](Certificate& c) { c.outer_algorithm = der(0x06, "\x2a\x03"s); }},
      {"no algorithm", [](Certificate& c) { c.algorithm = c.outer_algorithm = ""; }},
      {"padded object identifier",
       [](Certificate& c) { c.algorithm = c.outer_algorithm = der(0x06, "\x2a\x80\x03"s); }},
      {"cut object identifier",
       [](Certificate& c) { c.algorithm = c.outer_algorithm = der(0x06, "\x2a\x83"s); }},
      {"oversized object identifier",
       [](Certificate& c) {
         c.algorithm = c.outer_algorithm = der(0x06, "\x2a\x90\x80\x80\x80\x00"s);
       }},
      {"issuer of an unknown string type",
       [](Certificate& c) { c.issuer = name({{common_name, "x", universal}}); }},
      {"issuer without sets", [](Certificate& c) { c.issuer = attribute({common_name, "x"}); }},
      {"subject with invalid UTF-8",
       [](Certificate& c) { c.subject = name({{unit, "\xc0\xaf"}}); }},
      {"subject with an underscore in PrintableString",
       [](Certificate& c) { c.subject = name({{unit, "a_b", printable}}); }},
      {"subject with bytes behind a value",
       [](Certificate& c) {
         c.subject =
             der(0x31, sequence(der(0x06, common_name) + der(utf8_string, "x") + "\x05\x00"s));
       }},
      {"attribute without a value",
       [](Certificate& c) { c.subject = der(0x31, sequence(der(0x06, common_name))); }},
      {"key without a bit string",
       [](Certificate& c) { c.key = sequence(der(0x06, "\x2b\x65\x70"s)) + der(0x04, "k"); }},
      {"key with nine unused bits",
       [](Certificate& c) { c.key = sequence(der(0x06, "\x2b\x65\x70"s)) + der(0x03, "\x09k"); }},
      {"key with unused bits that are set",
       [](Certificate& c) {
         c.key = sequence(der(0x06, "\x2b\x65\x70"s)) + der(0x03, "\x07\x41");
       }},
      {"bytes behind the extensions", [](Certificate& c) { c.trailer = "\x05\x00"s; }},
      {"repeated extension",
       [](Certificate& c) {
         c.extensions = {basic_constraints(""), basic_constraints("\x01\x01\xff"s)};
       }},
      {"odd boolean", [](Certificate& c) { c.extensions = {basic_constraints("\x01\x01\x01"s)}; }},
      {"negative path length",
       [](Certificate& c) { c.extensions = {basic_constraints("\x01\x01\xff\x02\x01\xff"s)}; }},
      {"bytes behind basic constraints",
       [](Certificate& c) { c.extensions = {basic_constraints("\x01\x01\xff\x05\x00"s)}; }},
      {"extended key usage that is no sequence",
       [](Certificate& c) { c.extensions = {{"\x55\x1d\x25"s, der(0x31, ""), ""}}; }},
      {"key that is none of its kind",
       [](Certificate& c) { c.key = sequence(der(0x06, "\x2b\x65\x70"s)) + der(0x03, "\0k"s); }},
      {"odd critical flag",
       [](Certificate& c) { c.extensions = {{"\x2a\x03"s, "v", "\x01\x01\x02"s}}; }},
  };
  for (const auto& [what, change] : changes) {
    Certificate certificate;
    certificate.algorithm = certificate.outer_algorithm;
    change(certificate);
    EXPECT_FALSE(read(certificate.build()).has_value()) << what;
  }
}

TEST(CertificateFactsTest, RefusesLengthsThatAreNotMinimalOrNotDefinite) {
  const std::string good = Certificate{}.build();  // its length takes two octets: 30 82 .. ..
  ASSERT_TRUE(read(good).has_value());
  ASSERT_EQ(good.substr(0, 2), "\x30\x82"s.substr(0, 1) + "\x81"s.substr(0, 1));
  const std::string contents = good.substr(3);
  const std::string length(1, static_cast<char>(contents.size()));
  EXPECT_FALSE(read("\x30\x82\x00"s + length + contents).has_value());
  EXPECT_FALSE(read("\x30\x84\x00\x00\x00"s + length + contents).has_value());
  EXPECT_FALSE(read("\x30\x80"s + contents + "\x00\x00"s).has_value());
  EXPECT_FALSE(read("\x3f\x81"s + length + contents).has_value());
  EXPECT_FALSE(read("\x30\x81\x05"s + "abcde").has_value());
}

TEST(CertificateFactsTest, RefusesEveryCutAndEveryExtraByte) {
  Certificate certificate;
  certificate.extensions = {basic_constraints(""), extended_key_usage({client_auth})};
  const std::string good = certificate.build();
  ASSERT_TRUE(read(good).has_value());
  for (std::size_t size = 0; size < good.size(); ++size) {
    EXPECT_FALSE(read(good.substr(0, size)).has_value()) << size;
  }
  EXPECT_FALSE(read(good + '\0').has_value());
}

}  // namespace
}  // namespace sluice::x509
