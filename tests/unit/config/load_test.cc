// SPDX-License-Identifier: GPL-3.0-or-later
// What several sources say, and whose word counts.
#include "sluice/config/load.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "certificates.h"
#include "sluice/base/check.h"
#include "sluice/config/configuration_file.h"
#include "sluice/config/validate.h"
#include "sluice/tls/context.h"

namespace sluice::config {
namespace {

using namespace std::chrono_literals;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

class LoadTest : public testing::Test {
 protected:
  static void SetUpTestSuite() { ASSERT_TRUE(tls::initialize().has_value()); }

  LoadTest() {
    environment_.descriptors_max = 65536;
    environment_.read_file = [this](const std::string& path) -> Result<std::string> {
      if (const auto found = files_.find(path); found != files_.end()) return found->second;
      return fail(ErrorKind::system, "No such file or directory");
    };
  }

  Loaded load(const std::vector<std::string_view>& arguments) const {
    return config::load(parse(std::span<const std::string_view>(arguments)), environment_);
  }
  std::vector<std::string> mistakes(const std::vector<std::string_view>& arguments) const {
    return load(arguments).mistakes;
  }

  std::map<std::string, std::string> files_;
  Environment environment_;
};

TEST_F(LoadTest, WithoutFilesTheCommandLineIsAll) {
  const Loaded loaded = load({"--workers=3", "--backend=10.0.0.1:6443"});
  EXPECT_THAT(loaded.mistakes, IsEmpty());
  EXPECT_EQ(loaded.process.config.workers, 3u);
  ASSERT_THAT(loaded.clusters, SizeIs(1));
  EXPECT_EQ(loaded.clusters[0].name, "");
  EXPECT_EQ(loaded.clusters[0].file, "");
  EXPECT_THAT(loaded.clusters[0].layer.config.backends, ElementsAre("10.0.0.1:6443"));
}

TEST_F(LoadTest, AFileHoldsTheProcessAndTheOneCluster) {
  files_["etc/sluice.conf"] = "workers=3\nbackend=10.0.0.1:6443\ntls-cert-file=tls.crt\n";
  for (const auto& arguments : std::vector<std::vector<std::string_view>>{
           {"--config=etc/sluice.conf"}, {"--config", "etc/sluice.conf"}}) {
    const Loaded loaded = load(arguments);
    EXPECT_THAT(loaded.mistakes, IsEmpty());
    EXPECT_EQ(loaded.process.config.workers, 3u);
    ASSERT_THAT(loaded.clusters, SizeIs(1));
    EXPECT_THAT(loaded.clusters[0].layer.config.backends, ElementsAre("10.0.0.1:6443"));
    EXPECT_EQ(loaded.clusters[0].layer.config.tls_cert_file, "etc/tls.crt");
  }
}

TEST_F(LoadTest, TheCommandLineTakesThePlaceOfTheFile) {
  files_["f"] =
      "workers=3\nlog-level=debug\nbackend=10.0.0.1:6443\nbackend=10.0.0.2:6443\n"
      "client-cert-strict=true\n";
  const Loaded loaded = load({"--workers=5", "--config=f", "--backend=10.0.0.9:6443",
                              "--client-cert-strict=false", "--request-timeout=2m"});
  EXPECT_THAT(loaded.mistakes, IsEmpty());
  const Config& config = loaded.clusters.at(0).layer.config;
  EXPECT_EQ(config.workers, 5u);
  EXPECT_EQ(config.log_level, log::Level::debug);
  EXPECT_THAT(config.backends, ElementsAre("10.0.0.9:6443"));
  EXPECT_FALSE(config.client_cert_strict);
  EXPECT_EQ(config.request_timeout, 2min);
}

TEST_F(LoadTest, AFileThatCannotBeReadIsAMistake) {
  EXPECT_THAT(mistakes({"--config=none"}),
              ElementsAre("--config=\"none\" cannot be read (No such file or directory): write a "
                          "file that this user may read."));
  EXPECT_THAT(mistakes({"--config="}), ElementsAre("--config needs a value: write --config=FILE."));
  files_["f"] = "";
  EXPECT_THAT(mistakes({"--config=f", "--config=f"}),
              ElementsAre("--config is given twice: keep one of them."));
}

TEST_F(LoadTest, MistakesOfBothSourcesAreSaid) {
  files_["f"] = "\nworkers=x\n";
  EXPECT_THAT(mistakes({"--config=f", "--balance=x"}),
              ElementsAre(HasSubstr("--balance=\"x\": "), HasSubstr("f:2: workers=\"x\": ")));
}

TEST_F(LoadTest, WhatIsWrongAboutAValueOfAFileIsSaidBehindItsPlace) {
  files_["etc/f"] =
      "listen=0.0.0.0:6443\n"
      "listen=127.0.0.1:6443\n"
      "backend=10.0.0.1:6443,nonsense\n"
      "tls-cert-file=none.crt\n"
      "probe-timeout=1m\n"
      "receive-buffers=100\n"
      "exempt-clients=10.0.0.1/8\n"
      "requestheader-uid-headers=X-Uid\n"
      "requestheader-uid-headers=Host\n";
  const Validation result =
      validate(load({"--config=etc/f", "--drain-timeout-tunnels=x"}), environment_);
  EXPECT_THAT(result.mistakes, Contains(HasSubstr("etc/f:2: --listen=\"127.0.0.1:6443\" over")));
  EXPECT_THAT(result.mistakes, Contains(HasSubstr("etc/f:3: --backend: \"nonsense\" has no port")));
  EXPECT_THAT(result.mistakes,
              Contains(HasSubstr("etc/f:4: --tls-cert-file=\"etc/none.crt\" cannot be read")));
  EXPECT_THAT(result.mistakes, Contains(HasSubstr("etc/f:5: --probe-timeout=1m is longer")));
  EXPECT_THAT(result.mistakes, Contains(HasSubstr("etc/f:6: --receive-buffers=100 is no power")));
  EXPECT_THAT(result.mistakes, Contains(HasSubstr("etc/f:7: --exempt-clients: \"10.0.0.1/8\"")));
  EXPECT_THAT(result.mistakes,
              Contains(HasSubstr("etc/f:9: --requestheader-uid-headers=\"Host\" is a field")));
  // What stands in no file has no place.
  EXPECT_THAT(result.mistakes, Contains(testing::StartsWith("--drain-timeout-tunnels=\"x\"")));
  EXPECT_THAT(result.mistakes, Contains(testing::StartsWith("--backend-ca-file is missing")));
}

// --- clusters ------------------------------------------------------------------------------------

class ClustersTest : public LoadTest {
 protected:
  ClustersTest() {
    environment_.now = test::at(1'800'000'000);
    environment_.list_folder = [this](const std::string& path) -> Result<std::vector<std::string>> {
      std::vector<std::string> names;
      for (const auto& [file, text] : files_) {
        if (file.starts_with(path + "/")) names.push_back(file.substr(path.size() + 1));
      }
      if (names.empty()) return fail(ErrorKind::system, "No such file or directory");
      return names;
    };
    static const test::Certificate ca = test::make_ca("ca");
    static const test::Certificate serving =
        test::issue_server(ca, {"gateway.example", "a.example", "b.example"});
    files_["c/ca.crt"] = ca.pem();
    files_["c/tls.crt"] = serving.pem();
    files_["c/tls.key"] = serving.key_pem();
  }

  // A good cluster, and lines of its own from line 6 on.
  void put(const std::string& name, const std::string& lines) {
    files_["c/" + name + ".conf"] =
        "tls-cert-file=tls.crt\n"
        "tls-private-key-file=tls.key\n"
        "backend-ca-file=ca.crt\n"
        "backend=10.0.0.1:6443\n"
        "backend=10.0.0.2:6443\n" +
        lines;
  }
  Validation check(std::vector<std::string_view> arguments = {}) const {
    arguments.push_back("--clusters=c");
    return validate(load(arguments), environment_);
  }
  // While these are served.
  Validation check_again(const std::vector<HeldCluster>& held) const {
    const std::vector<std::string_view> arguments{"--clusters=c"};
    return validate(load(arguments), environment_, held);
  }
  static const CheckedCluster& cluster(const Validation& result, std::string_view name) {
    const auto found = std::ranges::find(result.clusters, name, &CheckedCluster::name);
    CHECK(found != result.clusters.end());
    return *found;
  }
};

TEST_F(ClustersTest, AreTheFilesOfAFolderInOrder) {
  put("b.1", "server-names=b.example\n");
  put("a_x-2", "server-names=a.example\n");
  files_["c/README"] = "no cluster\n";
  files_["c/.hidden.conf"] = "no cluster\n";
  files_["c/..data"] = "no cluster\n";
  files_["c/conf"] = "no cluster\n";
  const Validation result = check();
  EXPECT_TRUE(result.valid()) << result.report();
  ASSERT_THAT(result.clusters, SizeIs(2));
  EXPECT_EQ(result.clusters[0].name, "a_x-2");
  EXPECT_EQ(result.clusters[0].file, "c/a_x-2.conf");
  EXPECT_THAT(result.clusters[0].server_names, ElementsAre("a.example"));
  EXPECT_EQ(result.clusters[1].name, "b.1");
  EXPECT_EQ(result.clusters[1].files.tls_cert_pem, files_["c/tls.crt"]);
  EXPECT_EQ(result.default_cluster, std::nullopt);
}

TEST_F(ClustersTest, MayBeNone) {
  files_["c/README"] = "none yet\n";
  const Validation result = check();
  EXPECT_TRUE(result.valid()) << result.report();
  EXPECT_THAT(result.clusters, IsEmpty());
}

TEST_F(ClustersTest, AFolderThatCannotBeReadIsAMistakeOfTheProcess) {
  EXPECT_THAT(mistakes({"--clusters=nowhere"}),
              ElementsAre("--clusters=\"nowhere\" cannot be read (No such file or directory): "
                          "write a folder that this user may read."));
  files_["etc/f"] = "\nclusters=nowhere\n";
  EXPECT_THAT(mistakes({"--config=etc/f"}),
              ElementsAre(HasSubstr("etc/f:2: --clusters=\"etc/nowhere\" cannot be read")));
}

TEST_F(ClustersTest, TakeTuningFromTheProcessAndPutTheirOwnOverIt) {
  files_["f"] = "request-timeout=2m\nprobe-interval=2s\nbalance=least\nworkers=3\nclusters=c\n";
  put("a", "server-names=a.example\n");
  put("b",
      "server-names=b.example\nrequest-timeout=90s\nrequestheader-group-headers=X-B\n"
      "balance=random\n");
  const Validation result = validate(
      load({"--config=f", "--balance=round-robin", "--requestheader-group-headers=X-G,X-H"}),
      environment_);
  EXPECT_TRUE(result.valid()) << result.report();
  const Config& a = cluster(result, "a").config;
  EXPECT_EQ(a.request_timeout, 2min);
  EXPECT_EQ(a.probe_interval, 2s);
  EXPECT_EQ(a.balance, balance::Policy::round_robin);
  EXPECT_THAT(a.requestheader_group_headers, ElementsAre("X-G", "X-H"));
  EXPECT_EQ(a.workers, 3u);
  const Config& b = cluster(result, "b").config;
  EXPECT_EQ(b.request_timeout, 90s);
  EXPECT_EQ(b.probe_interval, 2s);
  EXPECT_EQ(b.balance, balance::Policy::random);
  EXPECT_THAT(b.requestheader_group_headers, ElementsAre("X-B"));
}

TEST_F(ClustersTest, TakeNothingElseFromAnybody) {
  put("a", "server-names=a.example\nclient-ca-file=ca.crt\nclient-cert-strict=true\n");
  files_["c/b.conf"] = "server-names=b.example\n";
  const Validation result = check();
  EXPECT_THAT(cluster(result, "a").mistakes, IsEmpty());
  EXPECT_THAT(cluster(result, "b").mistakes,
              ElementsAre(HasSubstr("c/b.conf: --backend is missing"),
                          HasSubstr("c/b.conf: --tls-cert-file is missing"),
                          HasSubstr("c/b.conf: --tls-private-key-file is missing"),
                          HasSubstr("c/b.conf: --backend-ca-file is missing")));
  EXPECT_FALSE(cluster(result, "b").config.client_cert_strict);
  EXPECT_TRUE(cluster(result, "b").files.client_ca_pem.empty());
  EXPECT_THAT(result.mistakes, IsEmpty());
}

// Whoever writes the name means to keep somebody out.
TEST_F(ClustersTest, ServeNoNetworkByMistake) {
  put("a", "server-names=a.example\nallowed-networks=\n");
  put("b", "server-names=b.example\n");
  const Validation result = check();
  EXPECT_THAT(cluster(result, "a").mistakes,
              ElementsAre(HasSubstr("--allowed-networks is empty: name the networks")));
  EXPECT_THAT(cluster(result, "b").mistakes, IsEmpty());
}

TEST_F(ClustersTest, WhatIsAClustersIsRefusedBesideThem) {
  put("a", "server-names=a.example\n");
  for (const FlagRow& row : flag_rows()) {
    if (row.scope != Scope::cluster) continue;
    const std::string flag = "--" + std::string(row.name) + "=" + row.initial;
    const std::string sentence = "--" + std::string(row.name) + " belongs to a cluster: ";
    EXPECT_THAT(mistakes({"--clusters=c", flag}), ElementsAre(testing::StartsWith(sentence)));
    files_["f"] = "\n" + flag.substr(2) + "\n";
    EXPECT_THAT(mistakes({"--clusters=c", "--config=f"}),
                ElementsAre(testing::StartsWith("f:2: " + sentence)));
  }
  // Not even then is it anybody's.
  const Loaded loaded = load({"--clusters=c", "--client-ca-file=ca.crt"});
  EXPECT_EQ(loaded.clusters.at(0).layer.config.client_ca_file, "");
}

TEST_F(ClustersTest, AMistakeCostsItsClusterAlone) {
  put("a", "server-names=a.example\ndefault=true\n");
  put("b", "server-names=b.example\nserver-names=*.b.example\nprobe-timeout=soon\nworkers=1\n");
  put("c", "server-names=c.example\nbackend-ping-timeout=11s\ntls-cert-file=again.crt\n");
  const Validation result = check();
  EXPECT_FALSE(result.valid());
  EXPECT_THAT(result.mistakes, IsEmpty());
  EXPECT_THAT(result.conflicts, IsEmpty());
  EXPECT_THAT(cluster(result, "a").mistakes, IsEmpty());
  EXPECT_THAT(cluster(result, "b").mistakes,
              ElementsAre(HasSubstr("c/b.conf:8: probe-timeout=\"soon\": "),
                          HasSubstr("c/b.conf:9: workers is the process's")));
  EXPECT_THAT(cluster(result, "c").mistakes,
              ElementsAre(HasSubstr("c/c.conf:8: tls-cert-file is given twice, here and in line 1"),
                          HasSubstr("c/c.conf:7: --backend-ping-timeout=11s is longer than")));
  EXPECT_THAT(result.report(), HasSubstr("configuration is not valid: 4 mistakes\n"));
}

TEST_F(ClustersTest, WhatIsSurelyAboutSomethingElseLeavesNamesKnown) {
  for (const std::string lines :
       {"requst-timeout=75s\n", "probe-interval\n", "workers=3\n", "allowed-network=::/0\n",
        "backend-ca-file=twice.crt\n", "balance=best\n"}) {
    put("a", "server-names=a.example\ndefault=true\n");
    put("b", "server-names=b.example\n" + lines);
    const Validation result = check();
    EXPECT_FALSE(cluster(result, "b").mistakes.empty()) << lines;
    EXPECT_TRUE(cluster(result, "b").names_known) << lines;
    EXPECT_EQ(result.default_cluster, 0u) << lines;
  }
}

TEST_F(ClustersTest, TheNamesOfABrokenOneStayReserved) {
  put("a", "server-names=a.example\ndefault=unknown\n");
  put("b", "server-names=b.example,*.b.example\nprobe-timeout=soon\n");
  const Validation result = check();
  EXPECT_THAT(result.reserved_names, ElementsAre("*.b.example", "b.example"));
  EXPECT_THAT(cluster(result, "b").server_names, IsEmpty());
  EXPECT_TRUE(cluster(result, "b").names_known);
  EXPECT_EQ(result.default_cluster, 0u);
}

TEST_F(ClustersTest, WhereNamesCannotBeReadNobodyIsTheDefault) {
  const std::vector<std::string> table = {
      "",                                                   // none at all: perhaps cut short
      "server-names=b.example,\n",                          // an empty element
      "server-names=b.example\nserver-names=b example\n",   // no name
      "server-names=b.example\nserver-name=d.example\n",    // another was meant
      "server-names=b.example\nserver-names: d.example\n",  // likewise
      "server-names=b.example\nNames=d.example\n",          // likewise
      "server-names=b.example\ndefault=yes\n",              // perhaps it
      "server-names=b.example\ndefault\n",                  // likewise
      "server-names=b.example\ndefault=false\ndefault=true\n",
      "server-names=b.example\n" + std::string(line_bytes_max + 1, 'x') + "\n",
      std::string("server-names=b.example\nserver-names=c") + '\0' + "\n",
      "server-names=b.example\rserver-names=c.example\n",
  };
  for (const std::string& lines : table) {
    put("a", "server-names=a.example\ndefault=true\n");
    put("b", lines);
    const Validation result = check();
    EXPECT_FALSE(cluster(result, "b").names_known) << lines;
    EXPECT_FALSE(cluster(result, "b").mistakes.empty()) << lines;
    EXPECT_EQ(result.default_cluster, std::nullopt) << lines;
    EXPECT_THAT(result.warnings,
                ElementsAre("c/b.conf: which names are its own is not known: until that is mended, "
                            "c/a.conf:7, which has --default, takes nobody for it."));
    // Everybody else is served by name.
    EXPECT_THAT(cluster(result, "a").server_names, ElementsAre("a.example"));
  }
}

TEST_F(ClustersTest, AFileThatCannotBeReadIsAClusterWithoutKnownNames) {
  put("a", "server-names=a.example\ndefault=true\n");
  put("b", "server-names=b.example\n");
  const auto read = environment_.read_file;
  environment_.read_file = [read](const std::string& path) -> Result<std::string> {
    if (path == "c/b.conf") return fail(ErrorKind::system, "Permission denied");
    return read(path);
  };
  const Validation result = check();
  EXPECT_THAT(cluster(result, "b").mistakes,
              ElementsAre("c/b.conf: cannot be read (Permission denied): it has to be a file that "
                          "this user may read."));
  EXPECT_EQ(result.default_cluster, std::nullopt);
}

TEST_F(ClustersTest, AFileWithAnotherNameThanAClusterMayHaveIsAMistake) {
  put("a b", "server-names=a.example\n");
  const Validation result = check();
  EXPECT_THAT(cluster(result, "a?b").mistakes,
              ElementsAre(HasSubstr("c/a b.conf: a cluster's name has letters, digits")));
  EXPECT_THAT(result.reserved_names, ElementsAre("a.example"));
}

TEST_F(ClustersTest, ANameThatTwoClaimIsNobodysAndBothAreNamed) {
  put("a", "server-names=a.example\nserver-names=X.example\n");
  put("b", "\nserver-names=b.example,x.example.\n");
  put("c", "server-names=*.example\n");
  const Validation result = check();
  EXPECT_FALSE(result.valid());
  EXPECT_THAT(result.mistakes, IsEmpty());
  EXPECT_THAT(result.conflicts,
              ElementsAre("c/b.conf:7: --server-names=\"x.example\" is claimed in c/a.conf:7, too: "
                          "neither cluster gets it; keep it in one of them."));
  EXPECT_THAT(result.reserved_names, ElementsAre("x.example"));
  EXPECT_THAT(cluster(result, "a").server_names, ElementsAre("a.example"));
  EXPECT_THAT(cluster(result, "b").server_names, ElementsAre("b.example"));
  EXPECT_THAT(cluster(result, "c").server_names, ElementsAre("*.example"));
  EXPECT_THAT(cluster(result, "a").mistakes, IsEmpty());
  EXPECT_THAT(result.report(), HasSubstr("configuration is not valid: 1 mistake\n"));
}

TEST_F(ClustersTest, ABrokenClaimIsAClaim) {
  put("a", "server-names=x.example\ndefault=true\n");
  put("b", "server-names=x.example\ndefault=true\nprobe-timeout=soon\n");
  const Validation result = check();
  EXPECT_THAT(result.conflicts, SizeIs(2));
  EXPECT_THAT(result.reserved_names, ElementsAre("x.example"));
  EXPECT_EQ(result.default_cluster, std::nullopt);
}

TEST_F(ClustersTest, TwoDefaultsAreNone) {
  put("a", "default=true\n");
  put("b", "server-names=b.example\ndefault=unknown\n");
  const Validation result = check();
  EXPECT_THAT(result.conflicts,
              ElementsAre("c/b.conf:7: --default is claimed in c/a.conf:6, too: no cluster gets "
                          "it; keep it in one of them."));
  EXPECT_EQ(result.default_cluster, std::nullopt);
}

TEST_F(ClustersTest, MayHaveAddressesOfTheirOwnAndThenNeedNoName) {
  put("a", "listen=10.0.0.7:6443\nlisten=[fd00::7]:6443\n");
  put("b", "server-names=b.example\n");
  const Validation result = check({"--listen=10.0.0.9:6443"});
  EXPECT_TRUE(result.valid()) << result.report();
  ASSERT_THAT(cluster(result, "a").listen, SizeIs(2));
  EXPECT_EQ(cluster(result, "a").listen[1].to_string(), "[fd00::7]:6443");
  EXPECT_TRUE(cluster(result, "a").names_known);
  // The process's are nobody's alone.
  EXPECT_THAT(cluster(result, "b").listen, IsEmpty());
  ASSERT_THAT(result.listen, SizeIs(1));
  EXPECT_EQ(result.listen[0].to_string(), "10.0.0.9:6443");
  EXPECT_TRUE(check({"--listen="}).valid());
}

TEST_F(ClustersTest, AnAddressThatIsTakenAlreadyIsAMistakeOfWhoComesLater) {
  put("a",
      "server-names=a.example\nlisten=10.0.0.7:6443\nlisten=10.0.0.7:9180\n"
      "listen=10.0.0.8:1,10.0.0.8:1,x\n");
  const Validation result = check({"--listen=0.0.0.0:6443", "--admin-listen=10.0.0.7:9180"});
  EXPECT_THAT(result.mistakes, IsEmpty());
  EXPECT_THAT(cluster(result, "a").mistakes,
              ElementsAre(HasSubstr("c/a.conf:7: --listen=\"10.0.0.7:6443\" overlaps with "
                                    "\"0.0.0.0:6443\", which is the process's"),
                          HasSubstr("c/a.conf:8: --listen=\"10.0.0.7:9180\" overlaps"),
                          HasSubstr("c/a.conf:9: --listen=\"10.0.0.8:1\" overlaps with "
                                    "\"10.0.0.8:1\", another address of the cluster"),
                          HasSubstr("c/a.conf:9: --listen")));
  EXPECT_THAT(cluster(result, "a").listen, IsEmpty());
}

// Or one's clients could reach the other's API servers.
TEST_F(ClustersTest, AnAddressThatTwoClaimIsNobodysAndBothAreNamed) {
  for (const std::string broken : {"", "probe-timeout=soon\n"}) {
    put("a", "server-names=a.example\nlisten=0.0.0.0:6444,10.0.0.7:7000\n");
    put("b", "server-names=b.example\nlisten=10.0.0.7:6444\n" + broken);
    const Validation result = check();
    EXPECT_THAT(result.conflicts,
                ElementsAre("c/a.conf:7: --listen=\"0.0.0.0:6444\" is claimed in c/b.conf:7, too: "
                            "neither cluster gets it; keep it in one of them.",
                            HasSubstr("c/b.conf:7: --listen=\"10.0.0.7:6444\" is claimed in "
                                      "c/a.conf:7, too")));
    ASSERT_THAT(cluster(result, "a").listen, SizeIs(1));
    EXPECT_EQ(cluster(result, "a").listen[0].port(), 7000);
    EXPECT_THAT(cluster(result, "b").listen, IsEmpty());
  }
}

TEST_F(ClustersTest, WhoListensForAllAddressesOfBothFamiliesLeavesThemToNobody) {
  put("a", "server-names=a.example\nlisten=[::]:6444\nlisten=0.0.0.0:6444\n");
  put("b", "server-names=b.example\nlisten=[fd00::7]:6445,10.0.0.7:6445\n");
  Validation result = check({"--listen=[::]:6445"});
  // A certain address goes before all of them.
  EXPECT_THAT(cluster(result, "a").listen, SizeIs(2));
  EXPECT_THAT(cluster(result, "b").mistakes,
              ElementsAre(HasSubstr("\"[fd00::7]:6445\" overlaps with \"[::]:6445\"")));
  put("b", "server-names=b.example\nlisten=0.0.0.0:6445\n");
  result = check({"--listen=[::]:6445"});
  EXPECT_THAT(cluster(result, "b").mistakes, ElementsAre(HasSubstr("overlaps with \"[::]:6445\"")));
  put("b", "server-names=b.example\nlisten=[::]:6446\n");
  put("c", "server-names=c.example\nlisten=0.0.0.0:6446\n");
  result = check();
  EXPECT_THAT(result.conflicts, SizeIs(2));
  EXPECT_THAT(cluster(result, "b").listen, IsEmpty());
  EXPECT_THAT(cluster(result, "c").listen, IsEmpty());
}

TEST_F(ClustersTest, ABrokenDefaultIsNone) {
  put("a", "default=true\nprobe-timeout=soon\n");
  put("b", "server-names=b.example\n");
  EXPECT_EQ(check().default_cluster, std::nullopt);
  put("a", "default=true\n");
  EXPECT_EQ(check().default_cluster, 0u);
}

TEST_F(ClustersTest, WhoHoldsANameKeepsItAndBothFilesAreNamed) {
  put("a", "server-names=a.example\nserver-names=x.example\n");
  put("b", "server-names=x.example\n");
  const Validation result = check_again({{"b", {"x.example"}}});
  EXPECT_THAT(result.conflicts,
              ElementsAre("c/a.conf:7: --server-names=\"x.example\" is claimed in c/b.conf:6, too: "
                          "c/b.conf has it, and keeps it; keep it in one of them."));
  EXPECT_THAT(cluster(result, "a").server_names, ElementsAre("a.example"));
  EXPECT_THAT(cluster(result, "b").server_names, ElementsAre("x.example"));
  EXPECT_THAT(result.reserved_names, IsEmpty());
  // Who wants it no more, or is gone, keeps it from nobody.
  put("b", "server-names=b.example\n");
  EXPECT_THAT(cluster(check_again({{"b", {"x.example"}}}), "a").server_names,
              ElementsAre("a.example", "x.example"));
  EXPECT_THAT(cluster(check_again({{"gone", {"x.example"}}}), "a").server_names,
              ElementsAre("a.example", "x.example"));
}

TEST_F(ClustersTest, WhoServesOnWithAMistakeKeepsItsNamesWhateverItsFileSaysNow) {
  put("a", "server-names=new.example\nprobe-timeout=soon\n");
  put("b", "server-names=a.example\n");
  Validation result = check_again({{"a", {"a.example"}}, {"b", {"b.example"}}});
  EXPECT_THAT(result.conflicts,
              ElementsAre("c/b.conf:6: --server-names=\"a.example\" is claimed in c/a.conf, too: "
                          "c/a.conf has it, and keeps it; keep it in one of them."));
  EXPECT_THAT(cluster(result, "b").server_names, IsEmpty());
  EXPECT_THAT(result.reserved_names, ElementsAre("new.example"));
  // Likewise one whose file cannot be read.
  const auto read = environment_.read_file;
  environment_.read_file = [read](const std::string& path) -> Result<std::string> {
    if (path == "c/a.conf") return fail(ErrorKind::system, "Permission denied");
    return read(path);
  };
  result = check_again({{"a", {"a.example", "*.a.example"}}});
  EXPECT_THAT(result.conflicts, SizeIs(1));
  EXPECT_THAT(cluster(result, "b").server_names, IsEmpty());
}

TEST_F(ClustersTest, WhoIsTheDefaultStaysItWhileItWantsToOrCannotSay) {
  put("a", "default=true\n");
  put("b", "server-names=b.example\ndefault=unknown\n");
  EXPECT_EQ(check_again({{"b", {"b.example"}, true}}).default_cluster, 1u);
  EXPECT_EQ(check_again({{"a", {}, true}}).default_cluster, 0u);
  put("a", "default=true\nprobe-timeout=soon\n");
  EXPECT_EQ(check_again({{"a", {}, true}}).default_cluster, 0u);
  put("a", "server-names=a.example\n");
  EXPECT_EQ(check_again({{"a", {}, true}}).default_cluster, 1u);
}

TEST_F(ClustersTest, WhoListensAtAnAddressKeepsIt) {
  const io::Address address = *io::Address::parse("127.0.0.1:6444");
  const HeldCluster b{"b", {}, false, {address}};
  put("a", "listen=127.0.0.1:6444\n");
  put("b", "listen=127.0.0.1:6444\n");
  Validation result = check_again({b});
  EXPECT_THAT(cluster(result, "a").listen, IsEmpty());
  EXPECT_THAT(cluster(result, "b").listen, ElementsAre(address));
  EXPECT_THAT(result.conflicts,
              ElementsAre(testing::AllOf(HasSubstr("c/a.conf:"),
                                         HasSubstr("c/b.conf has it, and keeps it"))));
  // Also while its file does not say so any more, because of a mistake.
  put("b", "server-names=b.example\nprobe-interval=soon\n");
  result = check_again({b});
  EXPECT_THAT(cluster(result, "a").listen, IsEmpty());
  EXPECT_THAT(result.conflicts, ElementsAre(HasSubstr("c/b.conf has it, and keeps it")));
  put("b", "server-names=b.example\n");
  EXPECT_THAT(cluster(check_again({b}), "a").listen, ElementsAre(address));
}

TEST_F(ClustersTest, ABrokenNewcomerTakesTheDefaultFromNobody) {
  put("a", "server-names=a.example\ndefault=true\n");
  put("b", "sever-names=b.example\n");
  EXPECT_EQ(check().default_cluster, std::nullopt);
  EXPECT_EQ(check_again({{"a", {"a.example"}, true}}).default_cluster, 0u);
  // Nor does one whose names are known from before.
  EXPECT_EQ(check_again({{"b", {"b.example"}}}).default_cluster, 0u);
}

TEST_F(ClustersTest, SharedTuningIsJudgedOnce) {
  put("a", "server-names=a.example\n");
  put("b", "server-names=b.example\nprobe-timeout=31s\n");
  const Validation result =
      check({"--backend-ping-timeout=11s", "--request-timeout=60s", "--probe-interval=3s"});
  EXPECT_THAT(result.mistakes, ElementsAre(HasSubstr("--backend-ping-timeout=11s is longer")));
  EXPECT_THAT(result.warnings, ElementsAre(HasSubstr("--request-timeout=1m is not longer")));
  EXPECT_THAT(cluster(result, "a").mistakes, IsEmpty());
  EXPECT_THAT(cluster(result, "a").warnings, IsEmpty());
  EXPECT_THAT(cluster(result, "b").mistakes,
              ElementsAre(HasSubstr("c/b.conf:7: --probe-timeout=31s is longer than ten times")));
}

TEST_F(ClustersTest, AConflictWithASharedValueStandsInTheClustersFile) {
  put("a", "server-names=a.example\nrequest-timeout=2s\n");
  const Validation result = check({"--backend-connect-timeout=2s"});
  EXPECT_THAT(result.mistakes, IsEmpty());
  EXPECT_THAT(cluster(result, "a").mistakes,
              ElementsAre(HasSubstr("c/a.conf:7: --backend-connect-timeout=2s is not shorter")));
}

}  // namespace
}  // namespace sluice::config
