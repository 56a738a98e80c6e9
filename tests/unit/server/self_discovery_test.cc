// SPDX-License-Identifier: GPL-3.0-or-later
// Backends that the API servers' own slice names, in a whole server: who is asked and how often,
// who is used, and what those who may edit the slice cannot do by it.
#include "self_discovery.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include <array>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "interface_addresses.h"
#include "two_clusters.h"

namespace sluice::server {
namespace {

using namespace std::chrono_literals;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::SizeIs;

constexpr std::size_t three = 2;

// The first server is written; the second and the third are to be found.
class SelfDiscoveryTest : public ClustersTest {
 protected:
  SelfDiscoveryTest() {
    options_.watch_files = false;
    ClusterOptions& cluster = options_.clusters[one];
    cluster.discovery.server_name = "backend";
    cluster.discovery.own_slice = {.networks = {*io::Network::parse("10.0.0.0/24")}, .port = 6443};
    backends_.push_back(std::make_unique<test::ScriptedBackend>(
        simulation_.transport(), WholeServer::backend_address(three)));
    for (std::size_t i = 0; i < 3; ++i) {
      backends_[i]->on_request = [this, i](test::ScriptedBackend::Request& request) {
        on_request(i, request);
      };
    }
    named_ = {host(one), host(two), host(three)};
  }

  static std::string host(std::size_t backend) {
    return WholeServer::backend_address(backend).host();
  }
  void on_request(std::size_t backend, test::ScriptedBackend::Request& request) {
    if (request.head.path == review_path && review_[backend] != 0 &&
        !request.field("x-remote-user").empty()) {
      return request.answer(review_[backend], "{}");
    }
    if (!request.head.path.starts_with("/apis/discovery.k8s.io/")) return asked(backend, request);
    asked_.push_back({backend, &request});
    if (!request.head.path.contains("watch=true")) {
      ++lists_;
      return request.answer(list_status_, list());
    }
    request.begin(200);
    watch_ = &request;
  }
  std::string slice() const {
    std::string endpoints;
    for (const std::string& each : named_) {
      endpoints += fmt::format(R"({}{{"addresses":["{}"]}})", endpoints.empty() ? "" : ",", each);
    }
    return fmt::format(
        R"({{"metadata":{{"name":"kubernetes","resourceVersion":"6","labels":)"
        R"({{"kubernetes.io/service-name":"kubernetes"}}}},"addressType":"IPv4","endpoints":[{}],)"
        R"("ports":[{{"name":"https","port":{},"protocol":"TCP"}}]}})",
        endpoints, port_);
  }
  std::string list() const {
    return R"({"kind":"EndpointSliceList","metadata":{"resourceVersion":"5"},"items":[)" + slice() +
           "]}";
  }
  // The slice is edited, and whoever watches it is told.
  void edit(std::vector<std::string> named) {
    named_ = std::move(named);
    if (watch_ == nullptr) return;
    watch_->send(R"({"type":"MODIFIED","object":)" + slice() + "}\n");
    watch_ = nullptr;
    simulation_.settle();
  }
  // Somebody uses the cluster, so that its API servers are asked.
  SmallClient& use() { return connect("one.example", &Keys::get()[one].alice); }
  void begin() {
    start();
    use();
    simulation_.advance(2s);
  }
  void lose(std::size_t backend) {
    backends_[backend]->refuse();
    for (std::size_t i = 0; i < backends_[backend]->accepted(); ++i) {
      if (!backends_[backend]->connection(i).closed()) backends_[backend]->connection(i).drop();
    }
    simulation_.settle();
  }

  struct Asked {
    std::size_t backend;
    test::ScriptedBackend::Request* request;
  };
  std::vector<Asked> asked_;  // for the slice
  int lists_ = 0;
  test::ScriptedBackend::Request* watch_ = nullptr;
  std::vector<std::string> named_;
  int port_ = 6443;
  int list_status_ = 200;
  std::array<int, 3> review_{};  // 0: as it should be
};

TEST_F(SelfDiscoveryTest, TheOneThatIsWrittenIsAskedByAReaderAndWhomItNamesServe) {
  start();
  SmallClient& client = use();
  // It waits for those who are to be found, too, or all would go to the first.
  EXPECT_FALSE(client.connection.established());
  simulation_.advance(1s);
  EXPECT_TRUE(client.connection.established());
  ASSERT_THAT(asked_, SizeIs(2));
  EXPECT_EQ(asked_[0].backend, one);
  constexpr std::string_view path =
      "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices?labelSelector="
      "kubernetes.io%2Fservice-name%3Dkubernetes&fieldSelector=metadata.name%3Dkubernetes";
  EXPECT_EQ(asked_[0].request->head.path, path);
  EXPECT_EQ(asked_[0].request->field("x-remote-user"), "system:kube-proxy");
  EXPECT_EQ(asked_[0].request->field("x-remote-group"), "");
  EXPECT_TRUE(asked_[0].request->connection->with_certificate());
  EXPECT_THAT(asked_[1].request->head.path,
              AllOf(HasSubstr(std::string(path)), HasSubstr("&watch=true")));
  EXPECT_THAT(serving_hosts(), ElementsAre(host(one), host(two), host(three)));
  simulation_.advance(1s);
  for (int i = 0; i < 60; ++i) ask(client);
  EXPECT_THAT(seen_[one], Not(IsEmpty()));
  EXPECT_THAT(seen_[two], Not(IsEmpty()));
  EXPECT_THAT(seen_[three], Not(IsEmpty()));
  EXPECT_THAT(page(), HasSubstr(R"({"kind":"self","name":"default/kubernetes","endpoints":2)"));
}

TEST_F(SelfDiscoveryTest, WhoeverIsNoApiServerOfTheClusterGetsNoRequest) {
  review_[two] = 401;    // it takes nobody's word, as another gateway
  review_[three] = 404;  // it cannot be told
  begin();
  EXPECT_THAT(serving_hosts(), ElementsAre(host(one)));
  EXPECT_THAT(page(), HasSubstr(R"("candidates":2)"));
  EXPECT_THAT(metrics(), HasSubstr("sluice_discovery_candidates{cluster=\"one\",kind=\"self\","
                                   "name=\"default/kubernetes\"} 2\n"));
  EXPECT_THAT(seen_[two], IsEmpty());
  EXPECT_THAT(seen_[three], IsEmpty());
  review_[three] = 0;
  simulation_.advance(10s);
  EXPECT_THAT(serving_hosts(), ElementsAre(host(one), host(three)));
}

TEST_F(SelfDiscoveryTest, WhoseCertificateIsAnothersIsNotUsed) {
  options_.clusters[one].discovery.server_name = "";  // that of the address
  begin();
  EXPECT_THAT(serving_hosts(), ElementsAre(host(one)));
  EXPECT_THAT(page(), HasSubstr(R"("candidates":2)"));
}

TEST_F(SelfDiscoveryTest, WhoIsNotReadyIsNotUsedBeforeHeIs) {
  readiness_[three] = 500;
  begin();
  EXPECT_THAT(serving_hosts(), ElementsAre(host(one), host(two)));
  readiness_[three] = 200;
  simulation_.advance(10s);
  EXPECT_THAT(serving_hosts(), ElementsAre(host(one), host(two), host(three)));
}

TEST_F(SelfDiscoveryTest, OtherNetworksOtherPortsAndOurOwnAddressesAreRefusedAndCounted) {
  options_.thread.listen = {*io::Address::parse("0.0.0.0:6443")};
  start();
  server_->environment().interfaces = {*io::Address::parse(host(three) + ":0")};
  named_ = {host(two), host(three), "10.0.7.7", "127.0.0.1"};
  use();
  simulation_.advance(2s);
  EXPECT_THAT(serving_hosts(), ElementsAre(host(one), host(two)));
  EXPECT_THAT(page(), HasSubstr(R"("candidates":0,"refused":3)"));
  port_ = 443;
  edit({host(two)});
  simulation_.advance(5s);
  EXPECT_THAT(page(), HasSubstr(R"("refused":1)"));
  EXPECT_THAT(metrics(), HasSubstr("sluice_discovery_refused_total{cluster=\"one\",kind=\"self\","
                                   "name=\"default/kubernetes\"} 4\n"));
  EXPECT_THAT(serving_hosts(), ElementsAre(host(one), host(two)));
}

TEST_F(SelfDiscoveryTest, AnAddressThatBecomesOursIsLeft) {
  options_.thread.listen = {*io::Address::parse("0.0.0.0:6443")};
  begin();
  server_->environment().interfaces = {*io::Address::parse(host(three) + ":0")};
  simulation_.advance(11s);
  EXPECT_THAT(serving_hosts(), ElementsAre(host(one), host(two)));
}

TEST_F(SelfDiscoveryTest, NoEditTakesAwayOneThatLives) {
  begin();
  for (const std::vector<std::string>& edited :
       {std::vector{host(one)}, {"10.0.7.7"}, {}, {host(two)}}) {
    edit(edited);
    simulation_.advance(40s);
    EXPECT_THAT(serving_hosts(), ElementsAre(host(one), host(two), host(three)));
  }
}

TEST_F(SelfDiscoveryTest, OneThatIsLostGoesOnceTheSliceDoesNotNameItAndComesBackWithIt) {
  begin();
  lose(three);
  simulation_.advance(1min);
  EXPECT_THAT(serving_hosts(), ElementsAre(host(one), host(two), host(three)));
  edit({host(one), host(two)});
  simulation_.advance(5s);
  EXPECT_THAT(serving_hosts(), ElementsAre(host(one), host(two)));
  backends_[three]->listen();
  edit({host(one), host(two), host(three)});
  simulation_.advance(10s);
  EXPECT_THAT(serving_hosts(), ElementsAre(host(one), host(two), host(three)));
}

TEST_F(SelfDiscoveryTest, AShortLossTakesNobodyAway) {
  begin();
  edit({host(one)});
  lose(three);
  simulation_.advance(20s);
  backends_[three]->listen();
  simulation_.advance(20s);
  lose(two);
  simulation_.advance(20s);
  EXPECT_THAT(serving_hosts(), ElementsAre(host(one), host(two), host(three)));
}

TEST_F(SelfDiscoveryTest, WhenNobodyAnswersNobodyGoes) {
  begin();
  edit({host(one)});
  for (const std::size_t backend : {one, two, three}) lose(backend);
  simulation_.advance(2min);
  EXPECT_THAT(serving_hosts(), ElementsAre(host(one), host(two), host(three)));
  EXPECT_THAT(page(), HasSubstr("none of its API servers is usable"));
  // The first that answers is not soon enough to tell by of the others.
  backends_[one]->listen();
  simulation_.advance(10s);
  backends_[two]->listen();
  backends_[three]->listen();
  simulation_.advance(1min);
  EXPECT_THAT(serving_hosts(), ElementsAre(host(one), host(two), host(three)));
  EXPECT_THAT(page(), Not(HasSubstr("lastError")));
}

TEST_F(SelfDiscoveryTest, TheWrittenOneStaysForEverAndOthersAreAskedInItsPlace) {
  begin();
  lose(one);
  named_ = {host(two)};
  asked_.clear();
  simulation_.advance(2min);
  EXPECT_THAT(serving_hosts(), ElementsAre(host(one), host(two), host(three)));
  ASSERT_THAT(asked_, Not(IsEmpty()));
  for (const Asked& each : asked_) EXPECT_NE(each.backend, one);
}

TEST_F(SelfDiscoveryTest, HoweverOftenItIsEditedItIsListedOnceInTwoSeconds) {
  begin();
  lists_ = 0;
  for (int i = 0; i < 300; ++i) {
    edit({host(one), "10.0.0." + std::to_string(100 + i % 100)});
    simulation_.advance(100ms);
  }
  EXPECT_GE(lists_, 10);
  EXPECT_LE(lists_, 16);
  EXPECT_THAT(serving_hosts(), ElementsAre(host(one), host(two), host(three)));
}

TEST_F(SelfDiscoveryTest, WhoMayNotReadItSaysSoAndWhoWasFoundStays) {
  begin();
  list_status_ = 403;
  edit({host(one)});
  simulation_.advance(1min);
  EXPECT_THAT(page(), HasSubstr("it answers 403"));
  EXPECT_THAT(serving_hosts(), SizeIs(3));
  EXPECT_THAT(metrics(), Not(HasSubstr("sluice_discovery_failures_total{cluster=\"one\",kind="
                                       "\"self\",name=\"default/kubernetes\"} 0\n")));
}

TEST_F(SelfDiscoveryTest, AReloadKeepsWhoWasFoundAsFarAsItStillMayBe) {
  start_reloadable();
  SmallClient& client = use();
  simulation_.advance(2s);
  options_.clusters[one].probe.interval = 2s;
  reload();
  EXPECT_THAT(serving_hosts(), ElementsAre(host(one), host(two), host(three)));
  options_.clusters[one].discovery.own_slice->networks = {*io::Network::parse("10.0.0.2/32")};
  reload();
  EXPECT_THAT(serving_hosts(), ElementsAre(host(one), host(two)));
  options_.clusters[one].discovery.own_slice->networks = {*io::Network::parse("10.0.0.0/24")};
  reload();
  simulation_.advance(12s);
  EXPECT_THAT(serving_hosts(), ElementsAre(host(one), host(two), host(three)));
  options_.clusters[one].discovery.own_slice.reset();
  reload();
  EXPECT_THAT(serving_hosts(), ElementsAre(host(one)));
  ask(client);
  EXPECT_THAT(client.statuses, ElementsAre(200));
  asked_.clear();
  simulation_.advance(1min);
  EXPECT_THAT(asked_, IsEmpty());
}

// As of a process before, which knew them.
TEST_F(SelfDiscoveryTest, WhomTheProcessBeforeHadIsTriedWhenNobodyThatIsWrittenAnswers) {
  backends_[one]->refuse();
  named_ = {host(one), host(two), host(three)};
  start();
  server_->control().expect({{.cluster = "one",
                              .tokens = {},
                              .backends = {{"api-0", Instant(1h)},
                                           {host(two) + ":6443", Instant(1h)},
                                           {"10.0.7.7:6443", Instant(1h)}}}});
  SmallClient& client = use();
  simulation_.advance(1s);
  EXPECT_TRUE(client.connection.established());
  // And he knows the rest.
  simulation_.advance(5s);
  EXPECT_THAT(serving_hosts(), ElementsAre(host(one), host(two), host(three)));
  ask(client);
  EXPECT_THAT(client.statuses, ElementsAre(200));
}

TEST_F(SelfDiscoveryTest, AClusterThatGoesIsAskedNoMore) {
  start_reloadable();
  use();
  simulation_.advance(2s);
  options_.clusters.erase(options_.clusters.begin());
  reload();
  asked_.clear();
  simulation_.advance(1min);
  EXPECT_THAT(asked_, IsEmpty());
  EXPECT_EQ(backends_[three]->open_connections(), 0U);
}

TEST(InterfaceAddressesTest, TakesThoseOfIPv6AsTheSystemWritesThem) {
  std::vector<std::string> hosts;
  for (const io::Address& each :
       parse_if_inet6("00000000000000000000000000000001 01 80 10 80       lo\n"
                      "fe80000000000000d8c3fafffe6bb16b 02 40 20 80     eth0\n"
                      "fd0000000000000000000000000000zz 02 40 20 80     eth0\n"
                      "fd00\n\n"
                      "fd000000000000000000000000000007")) {
    hosts.push_back(each.host());
  }
  EXPECT_THAT(hosts, ElementsAre("::1", "fe80::d8c3:faff:fe6b:b16b"));
}

}  // namespace
}  // namespace sluice::server
