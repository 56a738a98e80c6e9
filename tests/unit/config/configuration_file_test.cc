// SPDX-License-Identifier: GPL-3.0-or-later
// Files of configuration: what a line may be, and what is said about the others.
#include "sluice/config/configuration_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <vector>

#include "sluice/base/random.h"
#include "sluice/config/flags.h"

namespace sluice::config {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

ConfigurationFile read(std::string_view text, FileOf whose = FileOf::process) {
  return read_configuration(text, "etc/one.conf", whose);
}
std::vector<std::string> mistakes(std::string_view text, FileOf whose = FileOf::process) {
  return read(text, whose).mistakes;
}

TEST(ConfigurationFileTest, TakesOneValueALine) {
  const ConfigurationFile file = read(
      "# a comment\n"
      "\n"
      "workers=3\n"
      "  request-timeout = 90s\t\n"
      "\t# another\n"
      "client-cert-strict=true\n"
      "backend-readiness-path=/readyz?a=b#c\n"
      "balance=least");
  EXPECT_THAT(file.mistakes, IsEmpty());
  EXPECT_EQ(file.layer.config.workers, 3u);
  EXPECT_EQ(file.layer.config.request_timeout, 90s);
  EXPECT_TRUE(file.layer.config.client_cert_strict);
  EXPECT_EQ(file.layer.config.backend_readiness_path, "/readyz?a=b#c");
  EXPECT_EQ(file.layer.config.balance, balance::Policy::least);
  EXPECT_THAT(file.layer.places, SizeIs(5));
}

TEST(ConfigurationFileTest, AnEmptyFileSaysNothing) {
  for (const std::string_view text : {"", "\n", "\r\n\r\n", "#", "\xef\xbb\xbf"}) {
    EXPECT_THAT(mistakes(text), IsEmpty());
    EXPECT_THAT(read(text).layer.places, IsEmpty());
  }
}

TEST(ConfigurationFileTest, LineEndsOfOtherSystemsMeanNothing) {
  const ConfigurationFile file =
      read("\xef\xbb\xbfworkers=3\r\n# comment\r\ntls-cert-file=/etc/a.crt\r\n");
  EXPECT_THAT(file.mistakes, IsEmpty());
  EXPECT_EQ(file.layer.config.workers, 3u);
  EXPECT_EQ(file.layer.config.tls_cert_file, "/etc/a.crt");
  EXPECT_THAT(mistakes("workers=3\rlog-level=debug\r"),
              ElementsAre("etc/one.conf:1: the line contains a carriage return: end lines with a "
                          "line feed."));
}

TEST(ConfigurationFileTest, PathsAreRelativeToTheFile) {
  const ConfigurationFile file = read(
      "tls-cert-file=a.crt\n"
      "tls-private-key-file=../keys/a.key\n"
      "client-ca-file=/etc/ca.crt\n"
      "backend-readiness-path=/readyz\n"
      "access-log=-\n"
      "proxy-client-cert-file=\n");
  EXPECT_EQ(file.layer.config.tls_cert_file, "etc/a.crt");
  EXPECT_EQ(file.layer.config.tls_private_key_file, "etc/../keys/a.key");
  EXPECT_EQ(file.layer.config.client_ca_file, "/etc/ca.crt");
  EXPECT_EQ(file.layer.config.access_log, "-");
  EXPECT_EQ(file.layer.config.proxy_client_cert_file, "");
  const std::string_view text = "tls-cert-file=a.crt\n";
  EXPECT_EQ(read_configuration(text, "one.conf", FileOf::process).layer.config.tls_cert_file,
            "a.crt");
  EXPECT_EQ(read_configuration(text, "/one.conf", FileOf::process).layer.config.tls_cert_file,
            "/a.crt");
}

TEST(ConfigurationFileTest, ListsGrowLineByLineAndReplaceTheirDefault) {
  const ConfigurationFile file =
      read("listen=127.0.0.1:1\nlisten=127.0.0.1:2,127.0.0.1:3\nrequestheader-uid-headers=\n");
  EXPECT_THAT(file.layer.config.listen, ElementsAre("127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"));
  EXPECT_THAT(file.layer.config.requestheader_uid_headers, IsEmpty());
}

TEST(ConfigurationFileTest, KnowsTheLineOfEachElement) {
  const ConfigurationFile file =
      read("\nbackend=10.0.0.1:1\n# between\nbackend=10.0.0.2:1,10.0.0.3:1\nworkers=1\n");
  const Place second{"etc/one.conf", 2};
  const Place fourth{"etc/one.conf", 4};
  EXPECT_THAT(file.layer.places.at("backend"), ElementsAre(second, fourth, fourth));
  EXPECT_THAT(file.layer.places.at("workers"), ElementsAre(Place{"etc/one.conf", 5}));
}

TEST(ConfigurationFileTest, NamesFileLineAndRemedy) {
  const std::string long_value(line_bytes_max, 'x');
  const std::vector<std::pair<std::string, std::string>> table = {
      {"workers", "\"workers\" has no value: write NAME=VALUE."},
      {"=3", "\"\" is no name of a flag: see --help for all of them."},
      {"worker=3", "\"worker\" is no name of a flag: did you mean workers?"},
      {"--workers=3",
       "\"--workers\": in a file names have no dashes before them: write workers=VALUE."},
      {"workers=x", "workers=\"x\": write a whole number."},
      {"workers=9999", "workers=\"9999\": it must be from 0 to 1024."},
      {"drain-timeout=10",
       "drain-timeout=\"10\": the unit is missing: write a duration like 90s, 1m30s or 500ms."},
      {"workers=1\nworkers=1", "workers is given twice, here and in line 2: keep one of them."},
      {std::string("workers=1\0", 10), "the line contains a NUL byte."},
      {"#" + long_value, "the line is longer than 64KiB."},
      {"config=other.conf", "\"config\" is no name of a flag: see --help for all of them."},
      {"check=true", "\"check\" is no name of a flag: see --help for all of them."},
  };
  for (const auto& [text, sentence] : table) {
    const std::size_t line = 2 + static_cast<std::size_t>(std::ranges::count(text, '\n'));
    EXPECT_THAT(mistakes("\n" + text + "\nlog-level=debug\n"),
                ElementsAre("etc/one.conf:" + std::to_string(line) + ": " + sentence));
  }
}

TEST(ConfigurationFileTest, ALineMayBeAsLongAsItSays) {
  const std::string full = "access-log=" + std::string(line_bytes_max - 11, 'x');
  EXPECT_THAT(mistakes(full), IsEmpty());
  EXPECT_THAT(mistakes(full + "\r\n"), IsEmpty());
  EXPECT_THAT(mistakes(full + "x"), SizeIs(1));
}

TEST(ConfigurationFileTest, AClusterSaysNothingAboutTheProcess) {
  EXPECT_THAT(mistakes("workers=1\nbalance=least\ntls-cert-file=a\n", FileOf::cluster),
              ElementsAre("etc/one.conf:1: workers is the process's, one value for all clusters: "
                          "write it on the command line or into the file of --config."));
  for (const FlagRow& row : flag_rows()) {
    const std::string text = std::string(row.name) + "=" + row.initial;
    EXPECT_EQ(mistakes(text, FileOf::cluster).size(), row.scope == Scope::process ? 1U : 0U)
        << text;
    EXPECT_THAT(mistakes(text), IsEmpty()) << text;
  }
}

TEST(ConfigurationFileTest, FindsAllMistakesUpToAHundred) {
  EXPECT_THAT(mistakes("a\nb=1\nworkers=x\n"), SizeIs(3));
  std::string garbage;
  for (int i = 0; i < 100'000; ++i) garbage += "x\n";
  const auto found = mistakes(garbage);
  ASSERT_THAT(found, SizeIs(file_mistakes_max + 1));
  EXPECT_THAT(found.back(), HasSubstr("etc/one.conf:100: there are too many mistakes"));
}

TEST(ConfigurationFileTest, AMistakeDisturbsNoTerminal) {
  const ConfigurationFile file = read_configuration("balance=\x1b[31m\x07\nx\x1b=1\n\x1b\n",
                                                    "etc/\x1b\n.conf", FileOf::process);
  ASSERT_THAT(file.mistakes, SizeIs(3));
  for (const std::string& sentence : file.mistakes) {
    for (const char c : sentence) EXPECT_GE(static_cast<unsigned char>(c), 0x20);
  }
}

TEST(ConfigurationFileTest, SurvivesAnyBytes) {
  Random random(5);
  const std::vector<std::string> pieces = {"\n",
                                           "\r",
                                           "=",
                                           "#",
                                           " ",
                                           "listen",
                                           "workers",
                                           ",",
                                           "1",
                                           "s",
                                           std::string(1, '\0'),
                                           "\xff",
                                           "backend=",
                                           "balance=least",
                                           "--",
                                           "\xef\xbb\xbf"};
  for (int round = 0; round < 20000; ++round) {
    std::string text;
    for (std::uint32_t i = random.below(20); i > 0; --i) {
      text += pieces[random.below(static_cast<std::uint32_t>(pieces.size()))];
    }
    for (const std::string& sentence : mistakes(text)) {
      ASSERT_TRUE(sentence.ends_with('.') || sentence.ends_with('?')) << text;
    }
  }
}

}  // namespace
}  // namespace sluice::config
