// SPDX-License-Identifier: GPL-3.0-or-later
// Configuration in files: a cluster is served from one as from flags, what is wrong with any of
// them is said with its place, and none of them pays for another.
#include <fmt/format.h>

#include <sstream>
#include <string>
#include <vector>

#include "cluster_folder.h"
#include "hello_flood.h"

namespace sluice::test {
namespace {

class ClusterFilesTest : public ClusterFolderTest {};

TEST_F(ClusterFilesTest, ServesTheClusterOfAFolder) {
  start_apisim();
  put("one", lines() + "default=unknown\nserver-names=gateway.example\n");
  write_file(folder.file(".hidden.conf"), "no configuration");
  start_sluice({.flags = {clusters()}, .cluster_flags = false});
  expect_identities_served();
}

TEST_F(ClusterFilesTest, ServesTheClusterOfTheProcessesFile) {
  start_apisim();
  put("sluice", lines() + "log-level=error\n");
  start_sluice({.flags = {"--config=" + folder.file("sluice.conf"), "--log-level=info"},
                .cluster_flags = false});
  expect_identities_served();
  EXPECT_TRUE(sluice->child().log().contains("level=info")) << sluice->child().log();
}

TEST_F(ClusterFilesTest, CheckSaysEveryMistakeOfEveryClusterWithItsPlace) {
  put("good", lines() + "server-names=good.example\n");
  put("odd", "# one\n# two\nprobe-interval=soon\n" + lines() + "server-names=odd.example\n");
  put("poor", "server-names=poor.example\n");
  put("twin", lines() + "server-names=good.example\nserver-names=twin.example\n");
  const Finished bad = run_sluice({"--check", clusters()});
  EXPECT_EQ(bad.code, 2);
  for (const std::string& part :
       {folder.file("odd.conf") + ":3: probe-interval=\"soon\": ",
        folder.file("poor.conf") + ": --tls-cert-file is missing",
        folder.file("poor.conf") + ": --backend is missing",
        std::string("--server-names=\"good.example\" is claimed in ") + folder.file("good.conf")}) {
    EXPECT_TRUE(bad.out.contains(part)) << part << "\n" << bad.out << bad.err;
  }
  EXPECT_FALSE(bad.out.contains("mistake: " + folder.file("good.conf"))) << bad.out;
  put("odd", lines() + "server-names=odd.example\n");
  put("poor", lines() + "server-names=poor.example\n");
  put("twin", lines() + "server-names=twin.example\ndefault=true\n");
  const Finished good = run_sluice({"--check", clusters()});
  EXPECT_EQ(good.code, 0) << good.out << good.err;
}

TEST_F(ClusterFilesTest, WhatIsAClustersIsRefusedBesideThem) {
  put("one", lines() + "default=true\n");
  const Finished finished =
      run_sluice({clusters(), "--client-ca-file=" + credentials.file("client-ca.crt")});
  EXPECT_EQ(finished.code, 2);
  EXPECT_TRUE(finished.err.contains("--client-ca-file belongs to a cluster")) << finished.err;
}

TEST_F(ClusterFilesTest, ACertificateIsAskedAboutWithTheAuthorityOfTheFile) {
  put("sluice", lines());
  const std::string config = "--config=" + folder.file("sluice.conf");
  write_file(folder.file("alice.crt"), credentials.alice.pem());
  const Finished alice =
      run_sluice({config, "--check-client-cert-file=" + folder.file("alice.crt")});
  EXPECT_EQ(alice.code, 0) << alice.out << alice.err;
  EXPECT_TRUE(alice.out.contains("user: alice\n")) << alice.out;
}

// Certificates are what a reader of them has to bring.
TEST_F(ClusterFilesTest, TheExamplesLackNothingButTheirFiles) {
  const Finished finished =
      run_sluice({"--check", "--config=" + std::string(SLUICE_EXAMPLES) + "/sluice.conf"});
  std::istringstream lines(finished.out);
  std::size_t missing = 0;
  for (std::string line; std::getline(lines, line);) {
    if (!line.starts_with("mistake: ")) continue;
    EXPECT_TRUE(line.contains("cannot be read (No such file or directory)")) << line;
    ++missing;
  }
  EXPECT_EQ(missing, 9U) << finished.out << finished.err;
}

TEST_F(ClusterFilesTest, EachClusterIsFoundByItsNameAndHasBackendsOfItsOwn) {
  start_apisim();
  put("one", without_backends() + backend(0) + asked_for());
  put("two", without_backends() + backend(1) + backend(2) + "server-names=*.two.example\n" +
                 "default=unknown\n");
  start_sluice({.flags = {clusters()}, .cluster_flags = false});
  const auto client = connect(&credentials.alice);
  ASSERT_TRUE(client->ready());
  for (int i = 0; i < 20; ++i) {
    EXPECT_EQ(client->fetch({.path = std::string(object_path)}).status, 200);
  }
  const auto counts = apisim->counts({"requests", "configmaps", "get"});
  EXPECT_EQ(counts, (std::vector<std::uint64_t>{20, 0, 0}));
}

TEST_F(ClusterFilesTest, ABrokenClustersNameIsAnsweredByNobodyElse) {
  start_apisim();
  put("good", lines() + "server-names=*.default.svc.cluster.local\ndefault=unknown\n");
  put("odd", lines() + asked_for() + "probe-interval=soon\n");
  start_sluice({.flags = {clusters()}, .cluster_flags = false, .wait_ready = false});
  ASSERT_TRUE(sluice->wait_serving());
  EXPECT_FALSE(connect(&credentials.alice)->ready());
  EXPECT_EQ(apisim->total({"requests", "configmaps", "get"}), 0U);
  EXPECT_TRUE(sluice->child().log().contains("odd.conf")) << sluice->child().log();
}

// From everywhere at once, each address a stranger.
TEST_F(ClusterFilesTest, AFloodOfHandshakesForOneClusterDoesNotDelayStrangersOfAnother) {
  start_apisim();
  put("one", without_backends() + backend(0) + asked_for());
  put("two", without_backends() + backend(1) + "server-names=*.two.example\n");
  start_sluice({.flags = {clusters(), "--workers=1"}, .cluster_flags = false});
  ASSERT_TRUE(connect(&credentials.alice)->ready());
  std::vector<std::string> many;
  for (int i = 0; i < 3000; ++i) {
    many.push_back(fmt::format("127.0.{}.{}", 10 + i / 250, 1 + i % 250));
  }
  const HelloFlood flood(sluice->address(), many, many.size(),
                         client_hello(client_tls(), "a.two.example"));
  EXPECT_TRUE(eventually([&] { return flood.answered() > 0; }));
  loop->run_for(1s);
  const std::uint64_t before = flood.answered();
  for (int i = 1; i <= 10; ++i) {
    const Clock::time_point began = Clock::now();
    const RawClient client(sluice->address(), client_tls(), true, fmt::format("127.0.3.{}", i));
    EXPECT_TRUE(client.established());
    EXPECT_LE(Clock::now() - began, 1s);
  }
  EXPECT_GT(flood.answered(), before);
}

TEST_F(ClusterFilesTest, AHibernatedClusterAnswersForItselfAndIsNoAlarm) {
  start_apisim();
  put("one", lines() + asked_for() + "hibernated=true\n");
  put("two", lines() + "default=true\n");
  start_sluice({.flags = {clusters()}, .cluster_flags = false});
  const auto client = connect(&credentials.alice);
  ASSERT_TRUE(client->ready());
  const Answer& answer = client->fetch({.path = std::string(object_path)});
  EXPECT_EQ(answer.status, 503);
  EXPECT_NE(answer.field("retry-after"), "");
  const HttpReply page = sluice->page("/readyz/one");
  EXPECT_EQ(page.status, 503);
  EXPECT_EQ(page.body, "it hibernates\n");
  EXPECT_EQ(sluice->page("/readyz").status, 200);
  EXPECT_EQ(apisim->total({"requests", "configmaps", "get"}), 0U);
  EXPECT_FALSE(sluice->child().log().contains("level=warning")) << sluice->child().log();
}

TEST_F(ClusterFilesTest, AGatewayMayWaitForItsFirstCluster) {
  start_apisim();
  start_sluice({.flags = {clusters()}, .cluster_flags = false, .wait_ready = false});
  ASSERT_TRUE(sluice->wait_page("/readyz", 200));
  EXPECT_FALSE(connect(&credentials.alice)->ready());
}

}  // namespace
}  // namespace sluice::test
