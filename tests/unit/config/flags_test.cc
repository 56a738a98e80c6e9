// SPDX-License-Identifier: GPL-3.0-or-later
// The command line: what it sets, and what it says to those who mistyped.
#include "sluice/config/flags.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include "another_value.h"
#include "sluice/base/random.h"

namespace sluice::config {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

CommandLine line(const std::vector<std::string_view>& arguments) {
  return parse(std::span<const std::string_view>(arguments));
}

std::vector<std::string> mistakes(const std::vector<std::string_view>& arguments) {
  return line(arguments).mistakes;
}

TEST(FlagsTest, NothingGivenIsTheDefaults) {
  const CommandLine none = line({});
  EXPECT_THAT(none.mistakes, IsEmpty());
  EXPECT_EQ(none.action, CommandLine::Action::run);
  EXPECT_EQ(describe(none.config), describe(Config{}));
}

TEST(FlagsTest, SetsEachTypeOfField) {
  const CommandLine all =
      line({"--tls-cert-file=/etc/a.crt", "--client-cert-strict", "--drain-timeout=1m30s",
            "--http2-max-streams-per-connection=1000", "--replay-body-bytes=64KiB",
            "--balance=least", "--log-level=debug", "--listen=127.0.0.1:1",
            "--requestheader-group-headers=X-G,X-H", "--admin-listen="});
  EXPECT_THAT(all.mistakes, IsEmpty());
  EXPECT_EQ(all.config.tls_cert_file, "/etc/a.crt");
  EXPECT_TRUE(all.config.client_cert_strict);
  EXPECT_EQ(all.config.drain_timeout, 90s);
  EXPECT_EQ(all.config.http2_max_streams_per_connection, 1000u);
  EXPECT_EQ(all.config.replay_body_bytes, 65536u);
  EXPECT_EQ(all.config.balance, balance::Policy::least);
  EXPECT_EQ(all.config.log_level, log::Level::debug);
  EXPECT_THAT(all.config.listen, ElementsAre("127.0.0.1:1"));
  EXPECT_THAT(all.config.requestheader_group_headers, ElementsAre("X-G", "X-H"));
  EXPECT_EQ(all.config.admin_listen, "");
}

TEST(FlagsTest, TakesTheValueFromTheNextArgument) {
  const CommandLine both = line({"--tls-cert-file", "/a", "--drain-timeout", "5s",
                                 "--client-cert-strict", "--access-log", "-"});
  EXPECT_THAT(both.mistakes, IsEmpty());
  EXPECT_EQ(both.config.tls_cert_file, "/a");
  EXPECT_EQ(both.config.drain_timeout, 5s);
  EXPECT_EQ(both.config.access_log, "-");
  EXPECT_TRUE(both.config.client_cert_strict);
}

TEST(FlagsTest, KeepsWhatStandsBehindTheFirstEqualsSign) {
  EXPECT_EQ(line({"--backend-readiness-path=/readyz?verbose=1"}).config.backend_readiness_path,
            "/readyz?verbose=1");
}

TEST(FlagsTest, RepeatsListsAndReplacesTheirDefault) {
  const CommandLine lists =
      line({"--listen=127.0.0.1:1", "--listen", "[::1]:2", "--backend=10.0.0.1:6443",
            "--backend=10.0.0.2:6443,10.0.0.3:6443", "--requestheader-uid-headers="});
  EXPECT_THAT(lists.mistakes, IsEmpty());
  EXPECT_THAT(lists.config.listen, ElementsAre("127.0.0.1:1", "[::1]:2"));
  EXPECT_THAT(lists.config.backends,
              ElementsAre("10.0.0.1:6443", "10.0.0.2:6443", "10.0.0.3:6443"));
  EXPECT_THAT(lists.config.requestheader_uid_headers, IsEmpty());
}

TEST(FlagsTest, ASwitchTakesTrueAndFalse) {
  EXPECT_TRUE(line({"--client-cert-strict=true"}).config.client_cert_strict);
  EXPECT_FALSE(line({"--client-cert-strict=false"}).config.client_cert_strict);
  EXPECT_THAT(
      mistakes({"--client-cert-strict=yes"}),
      ElementsAre("--client-cert-strict=\"yes\": it is a switch: write true, false or nothing."));
}

TEST(FlagsTest, TheDefaultClusterIsForThoseWithoutANameOrForAllStrangers) {
  EXPECT_EQ(line({}).config.default_for, DefaultFor::nobody);
  EXPECT_EQ(line({"--default=true"}).config.default_for, DefaultFor::unnamed);
  EXPECT_EQ(line({"--default=unknown"}).config.default_for, DefaultFor::unknown);
  EXPECT_EQ(line({"--default=false"}).config.default_for, DefaultFor::nobody);
  EXPECT_THAT(mistakes({"--default=yes"}),
              ElementsAre("--default=\"yes\": write true, unknown or false."));
}

TEST(FlagsTest, AVersionOfTlsIsWrittenAsOneOrAsApiServersHaveIt) {
  EXPECT_EQ(line({}).config.tls_min_version, tls::Version::tls1_2);
  for (const char* value : {"1.3", "VersionTLS13"}) {
    EXPECT_EQ(line({"--tls-min-version", value}).config.tls_min_version, tls::Version::tls1_3);
  }
  for (const char* value : {"1.2", "VersionTLS12"}) {
    EXPECT_EQ(line({"--tls-min-version", value}).config.tls_min_version, tls::Version::tls1_2);
  }
  for (const char* value : {"1.1", "VersionTLS11", "", "1.3 "}) {
    EXPECT_THAT(mistakes({std::string("--tls-min-version=") + value}),
                ElementsAre(HasSubstr("write 1.2 or 1.3.")));
  }
}

TEST(FlagsTest, KnowsWhatToDo) {
  EXPECT_EQ(line({"--check"}).action, CommandLine::Action::check);
  EXPECT_EQ(line({"--version"}).action, CommandLine::Action::version);
  EXPECT_EQ(line({"-h"}).action, CommandLine::Action::help);
  EXPECT_EQ(line({"--help", "--check", "--version"}).action, CommandLine::Action::help);
  EXPECT_EQ(line({"--check", "--version"}).action, CommandLine::Action::version);
  EXPECT_THAT(mistakes({"--check=now"}),
              ElementsAre("--check takes no value: write --check alone."));
}

struct Wrong {
  std::vector<std::string_view> arguments;
  std::string sentence;
};

TEST(FlagsTest, NamesFlagValueAndRemedy) {
  const std::vector<Wrong> table = {
      {{"--drain-timeout=10"},
       "--drain-timeout=\"10\": the unit is missing: write a duration like 90s, 1m30s or 500ms."},
      {{"--drain-timeout="}, "--drain-timeout=\"\": write a duration like 90s, 1m30s or 500ms."},
      {{"--drain-timeout=25h"}, "--drain-timeout=\"25h\": it must be from 0s to 24h."},
      {{"--probe-interval=1ms"}, "--probe-interval=\"1ms\": it must be from 50ms to 5m."},
      {{"--replay-body-bytes=64K"},
       "--replay-body-bytes=\"64K\": units are KiB, MiB and GiB: write a size like 65536, 64KiB or "
       "1.5MiB."},
      {{"--http2-stream-window-bytes=1KiB"},
       "--http2-stream-window-bytes=\"1KiB\": it must be from 16KiB to 2147483647."},
      {{"--workers=-1"}, "--workers=\"-1\": write a whole number."},
      {{"--workers=two"}, "--workers=\"two\": write a whole number."},
      {{"--workers=1025"}, "--workers=\"1025\": it must be from 0 to 1024."},
      {{"--workers=99999999999999999999"},
       "--workers=\"99999999999999999999\": write a whole number."},
      {{"--balance=best"}, "--balance=\"best\": write power-of-two, least, random or round-robin."},
      {{"--log-level=trace"}, "--log-level=\"trace\": write error, warning, info or debug."},
      {{"--requestheader-group-headers=A,,B"},
       "--requestheader-group-headers=\"A,,B\": an element of the list is empty."},
      {{"--tls-cert-file"}, "--tls-cert-file needs a value: write --tls-cert-file=FILE."},
      {{"--tls-cert-file", "--check"},
       "--tls-cert-file needs a value: write --tls-cert-file=FILE."},
      {{"--workers=1", "--workers=2"},
       "--workers is given twice, the second time as \"2\": keep one of them."},
      {{"--backends=10.0.0.1:1"},
       "\"--backends\" is not a flag of sluice: did you mean --backend?"},
      {{"--drain-timout", "5s"},
       "\"--drain-timout\" is not a flag of sluice: did you mean --drain-timeout?"},
      {{"--xyzzy-plugh-frobnicate"},
       "\"--xyzzy-plugh-frobnicate\" is not a flag of sluice: see --help for all of them."},
      {{"serve"}, "\"serve\" is not a flag: write --NAME=VALUE, and see --help."},
      {{"-v"}, "\"-v\" is not a flag: write --NAME=VALUE, and see --help."},
      {{"--"}, "\"--\" is not a flag: write --NAME=VALUE, and see --help."},
      {{"--access-log=\x1b[31mred\n"}, ""},  // valid here: a path is checked later
  };
  for (const Wrong& wrong : table) {
    const auto found = mistakes(wrong.arguments);
    if (wrong.sentence.empty()) {
      EXPECT_THAT(found, IsEmpty());
    } else {
      EXPECT_THAT(found, ElementsAre(wrong.sentence));
    }
  }
}

TEST(FlagsTest, FindsAllMistakesInOneGo) {
  EXPECT_THAT(mistakes({"--workers=x", "--balance=x", "--nonsense-flag", "x", "--drain-timeout=x",
                        "x", "--tls-cert-file"}),
              SizeIs(6));
}

TEST(FlagsTest, AMistakeDisturbsNoTerminal) {
  const auto found = mistakes({"--balance=\x1b[31m\n\x07", std::string_view("\x1b]0;x\x07")});
  ASSERT_THAT(found, SizeIs(2));
  for (const std::string& sentence : found) {
    for (const char c : sentence) EXPECT_GE(static_cast<unsigned char>(c), 0x20);
  }
}

TEST(FlagsTest, AMistakeIsBounded) {
  const std::string huge(1 << 20, 'x');
  const auto found = mistakes({"--balance=" + huge, huge, "--" + huge});
  ASSERT_THAT(found, SizeIs(3));
  for (const std::string& sentence : found) EXPECT_LT(sentence.size(), 300u);
}

TEST(FlagsTest, DescribesEveryFlagSoThatItCanBeReadBack) {
  const CommandLine some = line({"--workers=3", "--balance=random", "--drain-timeout=1500ms",
                                 "--backend=10.0.0.1:6443,10.0.0.2:6443", "--client-cert-strict",
                                 "--requestheader-uid-headers="});
  const std::vector<std::string> described = describe(some.config);
  EXPECT_THAT(described, testing::Contains("--workers=3"));
  EXPECT_THAT(described, testing::Contains("--backend=10.0.0.1:6443,10.0.0.2:6443"));
  const CommandLine again = line({described.begin(), described.end()});
  EXPECT_THAT(again.mistakes, IsEmpty());
  EXPECT_EQ(describe(again.config), described);
}

TEST(FlagsTest, HasTheFlagsOfItsInterface) {
  const std::string help = help_text();
  for (const std::string_view name : {"listen",
                                      "tls-cert-file",
                                      "tls-private-key-file",
                                      "client-ca-file",
                                      "client-cert-strict",
                                      "backend",
                                      "backend-ca-file",
                                      "backend-server-name",
                                      "backend-readiness-path",
                                      "proxy-client-cert-file",
                                      "proxy-client-key-file",
                                      "requestheader-username-headers",
                                      "requestheader-group-headers",
                                      "requestheader-extra-headers-prefix",
                                      "requestheader-uid-headers",
                                      "balance",
                                      "workers",
                                      "admin-listen",
                                      "shutdown-delay-duration",
                                      "drain-timeout",
                                      "request-timeout",
                                      "http2-max-streams-per-connection",
                                      "log-level",
                                      "access-log",
                                      "check",
                                      "version",
                                      "help"}) {
    EXPECT_THAT(help, HasSubstr("  --" + std::string(name))) << name;
  }
}

TEST(FlagsTest, HelpFitsATerminalAndShowsDefaults) {
  const std::string help = help_text();
  std::istringstream lines(help);
  for (std::string one; std::getline(lines, one);) EXPECT_LE(one.size(), 100u) << one;
  EXPECT_THAT(help, HasSubstr("--listen ADDR:PORT  (default 0.0.0.0:6443)"));
  EXPECT_THAT(help, HasSubstr("--drain-timeout DURATION  (default 1m)"));
  EXPECT_THAT(help, HasSubstr("--http2-stream-window-bytes SIZE  (default 64KiB)"));
  EXPECT_THAT(help, HasSubstr("--balance POLICY  (default power-of-two)"));
  EXPECT_THAT(help, HasSubstr("--anonymous-auth  (default true)"));
}

TEST(FlagsTest, HelpSaysWhoseValueAFlagSets) {
  const std::string help = help_text();
  EXPECT_THAT(help, HasSubstr("--workers N  (default 0)  [process]\n"));
  EXPECT_THAT(help, HasSubstr("--tls-cert-file FILE  [cluster]\n"));
  EXPECT_THAT(help, HasSubstr("--client-cert-strict  [cluster]\n"));
  EXPECT_THAT(help, HasSubstr("--balance POLICY  (default power-of-two)  [both]\n"));
  EXPECT_THAT(help, HasSubstr("--listen ADDR:PORT  (default 0.0.0.0:6443)  [each]\n"));
}

TEST(FlagsTest, AFlagOfTheProcessSetsNothingOfAClusterAndTheOthersNothingElse) {
  for (const FlagRow& row : flag_rows()) {
    const std::string argument =
        "--" + std::string(row.name) + "=" + test::another_value(row).value_or("other");
    const CommandLine set = line({argument});
    ASSERT_THAT(set.mistakes, IsEmpty());
    const ProcessConfig& process = set.config;
    const ClusterConfig& cluster = set.config;
    // One that each may have is a cluster's where it stands in the cluster's file.
    const bool of_process = row.scope == Scope::process || row.scope == Scope::each;
    EXPECT_EQ(process == ProcessConfig{}, !of_process) << row.name;
    EXPECT_EQ(cluster == ClusterConfig{}, of_process) << row.name;
  }
}

TEST(FlagsTest, OnlyTuningIsBothTheProcessAndTheClusters) {
  for (const FlagRow& row : flag_rows()) {
    const bool names_something = row.name.ends_with("-file") || row.name == "backend" ||
                                 row.name == "backend-server-name" || row.name == "server-names" ||
                                 row.name == "default";
    EXPECT_TRUE(!names_something || row.scope == Scope::cluster) << row.name;
  }
}

// Each default lies within its flag's own bounds and can be written on a command line.
TEST(FlagsTest, EveryDefaultIsValid) {
  for (const std::string& one : describe(Config{})) EXPECT_THAT(mistakes({one}), IsEmpty()) << one;
}

TEST(FlagsTest, SurvivesAnyArguments) {
  Random random(3);
  const std::vector<std::string> pieces = {
      "--",   "-",          "=",       "listen", "workers",
      ",",    "1",          "s",       "h",      std::string(1, '\0'),
      "\xff", "--backend=", "--check", "help",   ""};
  for (int round = 0; round < 20000; ++round) {
    std::vector<std::string> arguments(random.below(5));
    for (std::string& argument : arguments) {
      for (std::uint32_t i = random.below(5); i > 0; --i) {
        argument += pieces[random.below(static_cast<std::uint32_t>(pieces.size()))];
      }
    }
    const CommandLine result = line({arguments.begin(), arguments.end()});
    for (const std::string& sentence : result.mistakes) ASSERT_FALSE(sentence.empty());
  }
}

}  // namespace
}  // namespace sluice::config
