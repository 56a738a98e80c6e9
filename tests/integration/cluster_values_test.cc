// SPDX-License-Identifier: GPL-3.0-or-later
// What a cluster decides for itself: from where, how, and whether without a credential its clients
// may ask.
#include <algorithm>

#include "balancer.h"
#include "cluster_folder.h"
#include "proxy_header.h"

namespace sluice::test {
namespace {

class ClusterValuesTest : public ClusterFolderTest {
 protected:
  // Two clusters, of which the first, which the tests' clients ask for, says this besides.
  void begin(const std::string& more, Flags flags = {}) {
    start_apisim();
    put("one", lines() + asked_for() + more);
    put("two", lines() + "server-names=two.example\ndefault=true\n");
    flags.push_back(clusters());
    start_sluice({.flags = flags, .cluster_flags = false, .wait_ready = false});
    ASSERT_TRUE(sluice->wait_serving());
  }
  double not_allowed() const { return sluice->metric("sluice_clients_not_allowed_total"); }
  bool serves(Http2Client& client) {
    return client.ready() && client.fetch({.path = std::string(object_path)}).status == 200;
  }
};

TEST_F(ClusterValuesTest, WhoCallsFromAnAllowedNetworkIsServedAndNobodyElse) {
  begin("allowed-networks=127.0.0.2,10.0.0.0/8\n");
  RawClient refused(sluice->address(), client_tls(&credentials.alice));
  EXPECT_TRUE(refused.wait_end());
  EXPECT_EQ(refused.end(), RawClient::End::alert);
  EXPECT_FALSE(refused.established());
  EXPECT_EQ(not_allowed(), 1);
  EXPECT_TRUE(eventually([&] {
    return sluice->child().log().contains("its network is not allowed");
  })) << sluice->child().log();
  RawClient taken(sluice->address(), client_tls(&credentials.alice), true, "127.0.0.2");
  EXPECT_TRUE(taken.established());
  EXPECT_TRUE(taken.begin_http2());
  EXPECT_EQ(not_allowed(), 1);
}

TEST_F(ClusterValuesTest, TheOnlyClusterRefusesBeforeItReads) {
  start({"--allowed-networks=127.0.0.2/32"});
  RawClient refused(sluice->address(), nullptr);
  EXPECT_TRUE(refused.wait_end());
  EXPECT_EQ(refused.received(), "");
  EXPECT_EQ(not_allowed(), 1);
  RawClient taken(sluice->address(), client_tls(), true, "127.0.0.2");
  EXPECT_TRUE(taken.established());
  EXPECT_EQ(not_allowed(), 1);
}

TEST_F(ClusterValuesTest, WhomABalancerNamesIsWhoCalls) {
  begin("allowed-networks=192.0.2.0/24\n", {"--proxy-protocol-from=127.0.0.1"});
  Balancer balancer(sluice->address());
  const auto tls = client_tls(&credentials.alice);
  balancer.begin_with(std::string(ipv4_line));  // 192.0.2.7
  Http2Client named(*loop, balancer.address(), tls);
  EXPECT_TRUE(serves(named));
  balancer.begin_with(ipv6_block().text());
  Http2Client other(*loop, balancer.address(), tls);
  EXPECT_FALSE(other.ready());
  EXPECT_EQ(not_allowed(), 1);
  // Its own address is that of no client of this cluster.
  balancer.begin_with(std::string(unknown_line));
  Http2Client unnamed(*loop, balancer.address(), tls);
  EXPECT_FALSE(unnamed.ready());
  EXPECT_EQ(not_allowed(), 2);
}

TEST_F(ClusterValuesTest, AListenersClientsAreItsClustersAndItIsOpenedAtTheStart) {
  start_apisim();
  const io::Address own = free_address();
  put("one", without_backends() + backend(0) + "listen=" + own.to_string() + "\n");
  put("two", without_backends() + backend(1) + asked_for());
  start_sluice({.flags = {clusters()}, .cluster_flags = false, .wait_ready = false});
  ASSERT_TRUE(sluice->wait_serving());
  const auto tls = client_tls(&credentials.alice);
  Http2Client of_listener(*loop, own, tls);
  EXPECT_TRUE(serves(of_listener));
  EXPECT_EQ(apisim->counts({"requests", "configmaps", "get"}),
            (std::vector<std::uint64_t>{1, 0, 0}));
  const auto by_name = connect(&credentials.alice);
  EXPECT_TRUE(serves(*by_name));
  EXPECT_EQ(apisim->counts({"requests", "configmaps", "get"}),
            (std::vector<std::uint64_t>{1, 1, 0}));
}

TEST_F(ClusterValuesTest, AListenerThatCannotBeOpenedCostsItsClusterAlone) {
  start_apisim();
  put("one", lines() + "listen=192.0.2.1:6443\n");  // no address of ours
  put("two", lines() + asked_for());
  start_sluice({.flags = {clusters()}, .cluster_flags = false, .wait_ready = false});
  ASSERT_TRUE(sluice->wait_serving());
  EXPECT_TRUE(serves(*connect(&credentials.alice)));
  const std::string log = sluice->child().log();
  EXPECT_TRUE(log.contains("address cannot be listened on") && log.contains("cluster=one")) << log;
}

TEST_F(ClusterValuesTest, TheNameInABalancersHeaderGoesBeforeThatOfTheHello) {
  start_apisim();
  put("one", without_backends() + backend(0) + "server-names=one.example\n");
  put("two", without_backends() + backend(1) + asked_for());
  start_sluice({.flags = {clusters(), "--proxy-protocol-from=127.0.0.1"},
                .cluster_flags = false,
                .wait_ready = false});
  ASSERT_TRUE(sluice->wait_serving());
  Balancer balancer(sluice->address());
  const auto tls = client_tls(&credentials.alice);
  ProxyBlock block = ipv4_block();
  for (const char* name : {"One.Example", ""}) {
    block.values = proxy_value(2, name);
    balancer.begin_with(block.text());
    Http2Client client(*loop, balancer.address(), tls);
    EXPECT_TRUE(serves(client)) << name;
  }
  EXPECT_EQ(apisim->counts({"requests", "configmaps", "get"}),
            (std::vector<std::uint64_t>{1, 1, 0}));
  block.values = proxy_value(2, "three.example");
  balancer.begin_with(block.text());
  Http2Client nobodys(*loop, balancer.address(), tls);
  EXPECT_FALSE(nobodys.ready());
}

TEST_F(ClusterValuesTest, WhatIsPassedOnArrivesUntouchedBesideAClusterThatIsServed) {
  start_apisim();
  std::string targets;
  for (const io::Address& server : apisim->servers()) {
    targets += "pass-through=" + server.to_string() + "\n";
  }
  put("one", asked_for() + targets);
  put("two", lines() + "server-names=two.example\ndefault=true\n");
  start_sluice({.flags = {clusters(), "--access-log=" + folder.file("access.log")},
                .cluster_flags = false,
                .wait_ready = false});
  ASSERT_TRUE(sluice->wait_serving());
  // Who ends TLS is the API server.
  const auto tls = client_tls(&credentials.alice, &credentials.serving_ca);
  {
    std::vector<std::unique_ptr<Http2Client>> clients;
    for (int i = 0; i < 6; ++i) {
      clients.push_back(std::make_unique<Http2Client>(*loop, sluice->address(), tls));
      EXPECT_TRUE(serves(*clients.back()));
    }
    EXPECT_EQ(apisim->counts({"requests", "configmaps", "get"}),
              (std::vector<std::uint64_t>{2, 2, 2}));
    for (const Apisim::Seen& seen : apisim->seen(object_path)) {
      EXPECT_EQ(seen.user, "alice");
      EXPECT_TRUE(seen.values("x-forwarded-for").empty());
      EXPECT_TRUE(seen.values("x-remote-user").empty());
    }
    EXPECT_EQ(sluice->metric("sluice_pass_through_connections", {"cluster=\"one\""}), 6);
    EXPECT_EQ(sluice->page("/readyz/one").status, 200);
    const std::string page = sluice->page("/clusters").body;
    EXPECT_TRUE(page.contains(R"("passThrough":[{"name":"127.0.0.1:)")) << page;
    EXPECT_TRUE(page.contains(R"("usable":true,"connections":2})")) << page;
  }
  const auto lines_of_log = [&] {
    const std::string log = read_file(folder.file("access.log"));
    std::size_t lines = 0;
    for (std::size_t at = log.find("\"protocol\":\"pass_through\""); at != std::string::npos;
         at = log.find("\"protocol\":\"pass_through\"", at + 1)) {
      ++lines;
    }
    return lines;
  };
  EXPECT_TRUE(eventually([&] { return lines_of_log() == 6; }));
  const std::string log = read_file(folder.file("access.log"));
  EXPECT_TRUE(log.contains("\"server_name\":\"" + std::string(api_server_name) + "\"")) << log;
  EXPECT_FALSE(log.contains("\"bytes_out\":0,")) << log;
  EXPECT_EQ(sluice->metric("sluice_pass_through_connections"), 0);
  EXPECT_GT(sluice->metric("sluice_pass_through_bytes_total", {"to_target"}), 6 * 500);
}

TEST_F(ClusterValuesTest, AWatchLivesThroughAPassedConnectionAndNoNameIsNotPassedOn) {
  start_apisim();
  put("one", asked_for() + "pass-through=" + apisim->servers()[0].to_string() + "\n" +
                 "allowed-networks=127.0.0.1\n");
  put("two", lines() + "server-names=two.example\n");
  start_sluice({.flags = {clusters()}, .cluster_flags = false, .wait_ready = false});
  ASSERT_TRUE(sluice->wait_serving());
  const auto tls = client_tls(&credentials.alice, &credentials.serving_ca);
  Http2Client client(*loop, sluice->address(), tls);
  ASSERT_TRUE(client.ready());
  const auto watches = open_watches(client, 3);
  EXPECT_TRUE(serves(client));
  for (const Http2Client::Id id : watches) EXPECT_FALSE(client.answer(id).over);
  RawClient elsewhere(sluice->address(), tls, true, "127.0.0.2");
  EXPECT_FALSE(elsewhere.established());
  EXPECT_EQ(not_allowed(), 1);
}

TEST_F(ClusterValuesTest, AClusterWithBothIsSwitchedByOneLine) {
  start_apisim();
  for (const bool passed : {false, true}) {
    put("one", lines() + asked_for() + "pass-through=" + apisim->servers()[0].to_string() +
                   "\nmode=" + (passed ? "l4" : "l7") + "\n");
    start_sluice({.flags = {clusters()}, .cluster_flags = false});
    Http2Client by_gateway(*loop, sluice->address(), client_tls(&credentials.alice));
    EXPECT_EQ(by_gateway.ready(), !passed);
    Http2Client by_server(*loop, sluice->address(),
                          client_tls(&credentials.alice, &credentials.serving_ca));
    EXPECT_EQ(by_server.ready(), passed);
    EXPECT_TRUE(serves(passed ? by_server : by_gateway));
  }
}

TEST_F(ClusterValuesTest, WithoutACredentialTheAnswerIsWhatAnApiServerSaysToAWrongOne) {
  begin("anonymous-auth=false\n");
  const auto client = connect();
  ASSERT_TRUE(client->ready());
  const Answer direct =
      connect_directly(0)->fetch({.path = std::string(object_path), .fields = bearer("wrong")});
  ASSERT_EQ(direct.status, 401);
  for (const std::string& path : {std::string(object_path), std::string("/readyz"),
                                  std::string("/version"), std::string("/")}) {
    const Answer& answer = client->fetch({.path = path});
    EXPECT_EQ(answer.status, 401) << path;
    EXPECT_EQ(answer.body, direct.body) << path;
    EXPECT_EQ(answer.field("content-type"), direct.field("content-type")) << path;
  }
  EXPECT_EQ(sluice->metric("sluice_local_replies_total",
                           {"cluster=\"one\"", "reason=\"unauthenticated\""}),
            4);
  EXPECT_EQ(client->fetch({.path = std::string(object_path), .fields = bearer()}).status, 200);
  const auto alice = connect(&credentials.alice);
  EXPECT_TRUE(serves(*alice));
  EXPECT_TRUE(std::ranges::none_of(apisim->seen("kb-1"), [](const Apisim::Seen& seen) {
    return seen.user == "system:anonymous";
  }));
}

TEST_F(ClusterValuesTest, AnotherClustersClientsMayStillAskWithoutACredential) {
  start_apisim();
  put("one", lines() + "server-names=one.example\nanonymous-auth=false\ntls-min-version=1.3\n");
  put("two", lines() + asked_for());
  start_sluice({.flags = {clusters()}, .cluster_flags = false, .wait_ready = false});
  ASSERT_TRUE(sluice->wait_serving());
  EXPECT_EQ(connect()->fetch({.path = "/version"}).status, 200);
}

}  // namespace
}  // namespace sluice::test
