// SPDX-License-Identifier: GPL-3.0-or-later
// Backends that the EndpointSlices of a management cluster name, in a whole server: what is asked
// there, and what becomes of what it says and of what it fails to say.
#include <fmt/format.h>
#include <gmock/gmock.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "discovery.h"
#include "two_clusters.h"

namespace sluice::server {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::SizeIs;

constexpr std::size_t management = 5;

std::string endpoint(std::size_t backend, bool terminating = false) {
  return fmt::format(R"({{"addresses":["{}"],"conditions":{{"ready":{},"terminating":{}}}}})",
                     WholeServer::backend_address(backend).host(), !terminating, terminating);
}
std::string slice(const std::vector<std::string>& endpoints) {
  std::string all;
  for (const std::string& each : endpoints) all += (all.empty() ? "" : ",") + each;
  return R"({"metadata":{"name":"api-x","resourceVersion":"6","labels":)"
         R"({"kubernetes.io/service-name":"api"}},"addressType":"IPv4","endpoints":[)" +
         all + R"(],"ports":[{"name":"https","port":6443,"protocol":"TCP"}]})";
}
std::string list(const std::vector<std::string>& endpoints) {
  return R"({"kind":"EndpointSliceList","metadata":{"resourceVersion":"5"},"items":[)" +
         slice(endpoints) + "]}";
}
std::string modified(const std::vector<std::string>& endpoints) {
  return R"({"type":"MODIFIED","object":)" + slice(endpoints) + "}\n";
}

class SliceDiscoveryTest : public ClustersTest {
 protected:
  SliceDiscoveryTest() {
    options_.watch_files = false;
    options_.clusters[one].backends.clear();
    options_.clusters[one].discovery.server_name = "backend";
    discovery::SliceOptions& slices = options_.clusters[one].discovery.slices.emplace();
    slices.server = WholeServer::backend_address(management);
    slices.server_name = "backend";
    slices.name_space = "control-plane";
    slices.service = "api";
    slices.tls.ca_pem = test::ClusterKeys::get().serving_ca.pem();
    slices.token = tls::Secret("first");
    management_ = std::make_unique<test::ScriptedBackend>(simulation_.transport(),
                                                          WholeServer::backend_address(management));
    management_->on_request = [this](test::ScriptedBackend::Request& request) {
      asked_.push_back(&request);
    };
  }
  ~SliceDiscoveryTest() override {
    management_->stop();
    simulation_.settle();
  }

  // The request that was made last.
  test::ScriptedBackend::Request& last() { return *asked_.back(); }
  void answer(const std::string& body) {
    last().answer(200, body);
    simulation_.settle();
  }
  // Whether it asks within a minute, and is not given up yet.
  bool asks_again() {
    const std::size_t before = asked_.size();
    for (int i = 0; i < 60 && asked_.size() == before; ++i) simulation_.advance(1s);
    return asked_.size() > before;
  }

  std::unique_ptr<test::ScriptedBackend> management_;
  std::vector<test::ScriptedBackend::Request*> asked_;
};

TEST_F(SliceDiscoveryTest, ListsThenWatchesFromThereAndFollowsWhatComes) {
  start();
  ASSERT_THAT(asked_, SizeIs(1));
  constexpr std::string_view path =
      "/apis/discovery.k8s.io/v1/namespaces/control-plane/endpointslices?labelSelector="
      "kubernetes.io%2Fservice-name%3Dapi";
  EXPECT_EQ(last().head.path, path);
  EXPECT_EQ(last().head.authority, "backend");
  EXPECT_EQ(last().field("authorization"), "Bearer first");
  answer(list({endpoint(0)}));
  EXPECT_THAT(serving_hosts(), ElementsAre("10.0.0.1"));
  ASSERT_THAT(asked_, SizeIs(2));
  EXPECT_THAT(last().head.path, HasSubstr(std::string(path) + "&watch=true"));
  EXPECT_THAT(last().head.path, HasSubstr("&resourceVersion=5"));
  last().begin(200);
  // In pieces, as they may come.
  const std::string event = modified({endpoint(0), endpoint(1)});
  last().send(event.substr(0, 40));
  simulation_.settle();
  EXPECT_THAT(serving_hosts(), ElementsAre("10.0.0.1"));
  last().send(event.substr(40) + modified({endpoint(0, true), endpoint(1)}).substr(0, 10));
  simulation_.settle();
  EXPECT_THAT(serving_hosts(), ElementsAre("10.0.0.1", "10.0.0.2"));
  EXPECT_EQ(management_->accepted(), 1U);
}

TEST_F(SliceDiscoveryTest, HoweverOftenTheyChangeWorkersAreToldAFewTimesInATick) {
  start();
  answer(list({endpoint(0)}));
  last().begin(200);
  simulation_.advance(1s);
  std::vector<std::shared_ptr<const ClusterTable>> tables;
  for (int i = 0; i < 100; ++i) {
    last().send(modified({endpoint(0), endpoint(i % 2 == 0 ? 1 : 2)}));
    simulation_.settle();
    if (tables.empty() || tables.back() != server_->shared().table) {
      tables.push_back(server_->shared().table);
    }
  }
  EXPECT_LE(tables.size(), 5U);
  simulation_.advance(1s);
  EXPECT_THAT(serving_hosts(), ElementsAre("10.0.0.1", "10.0.0.3"));
}

TEST_F(SliceDiscoveryTest, WhatTerminatesGetsNothingNewAndEndsWhatItCarries) {
  start();
  answer(list({endpoint(0)}));
  last().begin(200);
  backends_[one]->on_request = [scripted = backends_[one]->on_request](auto& request) {
    if (!request.head.path.contains("watch=1")) return scripted(request);
    request.begin(200);
  };
  SmallClient& client = connect("one.example", &Keys::get()[one].alice);
  client.ask("/api/v1/namespaces/a/pods?watch=1&resourceVersion=5");
  simulation_.settle();
  last().send(modified({endpoint(0, true), endpoint(1)}));
  simulation_.settle();
  simulation_.advance(2s);
  EXPECT_THAT(serving_hosts(), ElementsAre("10.0.0.2"));
  EXPECT_THAT(page(), HasSubstr(R"("leaving":true)"));
  ask(client);
  EXPECT_THAT(seen_[two], ElementsAre("alice"));
  EXPECT_THAT(seen_[one], IsEmpty());
}

TEST_F(SliceDiscoveryTest, AFirstClientWaitsForTheListAndTheProbes) {
  start();
  SmallClient& client = connect("one.example", &Keys::get()[one].alice);
  EXPECT_FALSE(client.connection.established());
  answer(list({endpoint(0)}));
  EXPECT_TRUE(client.connection.established());
  ask(client);
  EXPECT_THAT(client.statuses, ElementsAre(200));
}

TEST_F(SliceDiscoveryTest, AWatchThatEndsIsFollowedByAList) {
  start();
  answer(list({endpoint(0)}));
  last().begin(200);
  simulation_.advance(4min);
  last().finish();
  simulation_.settle();
  simulation_.advance(1s);
  ASSERT_THAT(asked_, SizeIs(3));
  EXPECT_THAT(last().head.path, Not(HasSubstr("watch")));
  answer(list({endpoint(1)}));
  simulation_.advance(1s);
  EXPECT_THAT(serving_hosts(), ElementsAre("10.0.0.2"));
}

constexpr std::string_view expired =
    "{\"type\":\"ERROR\",\"object\":{\"kind\":\"Status\",\"code\":410}}\n";

TEST_F(SliceDiscoveryTest, AnExpiredWatchIsListedAgainAtOnce) {
  start();
  answer(list({endpoint(0)}));
  last().begin(200);
  simulation_.advance(1min);
  last().send(std::string(expired));
  simulation_.settle();
  simulation_.advance(1s);
  ASSERT_THAT(asked_, SizeIs(3));
  EXPECT_THAT(last().head.path, Not(HasSubstr("watch")));
}

TEST_F(SliceDiscoveryTest, WatchesThatFailAtOnceAreTriedAgainAtLongerAndLongerIntervals) {
  enum class Way : std::uint8_t { expires, is_forbidden, ends };
  for (const Way way : {Way::expires, Way::is_forbidden, Way::ends}) {
    management_->on_request = [this, way](test::ScriptedBackend::Request& request) {
      asked_.push_back(&request);
      if (!request.head.path.contains("watch=true"))
        return request.answer(200, list({endpoint(0)}));
      if (way == Way::is_forbidden) return request.answer(403, "{}");
      request.answer(200, way == Way::expires ? std::string(expired) : std::string());
    };
    if (server_ == nullptr) start();
    simulation_.advance(1min);  // it gets used to it
    const std::size_t before = asked_.size();
    simulation_.advance(5min);
    EXPECT_GE(asked_.size() - before, 2U * 7);
    EXPECT_LE(asked_.size() - before, 2U * 11);
    EXPECT_THAT(serving_hosts(), ElementsAre("10.0.0.1"));
  }
}

TEST_F(SliceDiscoveryTest, MoreEventsThanCanBeTakenAreAFailureThatChangesNothing) {
  start();
  answer(list({endpoint(0)}));
  last().begin(200);
  std::string all;
  for (int i = 0; i < 300; ++i) all += modified({endpoint(i % 2 == 0 ? 1 : 0)});
  last().send(all);
  simulation_.settle();
  EXPECT_THAT(page(), HasSubstr("it sends more events than can be taken"));
  ASSERT_TRUE(asks_again());
  answer(list({endpoint(0)}));
  EXPECT_THAT(page(), Not(HasSubstr("lastError")));
  // As many as there may be slices are taken, whatever pieces they come in.
  last().begin(200);
  simulation_.advance(1s);
  for (int i = 0; i < 255; ++i) last().send(modified({endpoint(i % 2 == 0 ? 1 : 0)}));
  simulation_.settle();
  simulation_.advance(1s);
  EXPECT_THAT(page(), Not(HasSubstr("lastError")));
  EXPECT_THAT(serving_hosts(), ElementsAre("10.0.0.2"));
}

TEST_F(SliceDiscoveryTest, NoFailureTakesABackendAwayAndEachIsTold) {
  start();
  answer(list({endpoint(0)}));
  last().begin(200);
  // Nobody serves, as it says.
  last().send(modified({endpoint(0, true)}));
  simulation_.settle();
  EXPECT_THAT(page(), HasSubstr("the Service has no endpoints that serve"));
  EXPECT_THAT(serving_hosts(), ElementsAre("10.0.0.1"));
  management_->connection(0).drop();
  simulation_.settle();
  ASSERT_TRUE(asks_again());
  last().answer(403, "{}");
  simulation_.settle();
  EXPECT_THAT(page(), HasSubstr("it answers 403"));
  ASSERT_TRUE(asks_again());
  last().answer(200, "<html>");
  simulation_.settle();
  EXPECT_THAT(page(), HasSubstr("the answer is no EndpointSliceList"));
  management_->refuse();
  management_->connection(management_->accepted() - 1).drop();
  simulation_.advance(1min);
  EXPECT_THAT(serving_hosts(), ElementsAre("10.0.0.1"));
  EXPECT_THAT(metrics(), HasSubstr("sluice_discovery_endpoints{cluster=\"one\",kind="
                                   "\"endpointslices\",name=\"control-plane/api\"} 1\n"));
  management_->listen();
  ASSERT_TRUE(asks_again());
  answer(list({endpoint(1)}));
  simulation_.advance(1s);
  EXPECT_THAT(serving_hosts(), ElementsAre("10.0.0.2"));
  EXPECT_THAT(page(), Not(HasSubstr("lastError")));
}

TEST_F(SliceDiscoveryTest, FailuresAreTriedAgainAtLongerAndLongerIntervals) {
  management_->on_request = [this](test::ScriptedBackend::Request& request) {
    asked_.push_back(&request);
    request.answer(500, "{}");
  };
  start();
  simulation_.advance(10min);
  EXPECT_GE(asked_.size(), 15U);
  EXPECT_LE(asked_.size(), 30U);
}

TEST_F(SliceDiscoveryTest, AServerThatFallsSilentIsLeftWithinAMinute) {
  start();
  answer(list({endpoint(0)}));
  last().begin(200);
  simulation_.advance(1min);
  // It answers PING, and has nothing to tell.
  EXPECT_EQ(management_->accepted(), 1U);
  EXPECT_THAT(asked_, SizeIs(2));
  management_->mute = true;
  bool told = false;
  for (int i = 0; i < 60; ++i) {
    simulation_.advance(1s);
    told = told || page().contains("the server has fallen silent");
  }
  EXPECT_TRUE(told);
  management_->mute = false;
  simulation_.advance(1min);
  EXPECT_GT(management_->accepted(), 1U);
}

TEST_F(SliceDiscoveryTest, AnotherTokenIsUsedFromThenOnAndWhatIsKnownStays) {
  start_reloadable();
  answer(list({endpoint(0)}));
  last().begin(200);
  options_.clusters[one].discovery.slices->token = tls::Secret("second");
  reload();
  EXPECT_THAT(serving_hosts(), ElementsAre("10.0.0.1"));
  simulation_.advance(1s);
  ASSERT_THAT(asked_, SizeIs(3));
  EXPECT_EQ(last().field("authorization"), "Bearer second");
  // The same once more is nothing new.
  answer(list({endpoint(0)}));
  last().begin(200);
  reload();
  simulation_.advance(1s);
  EXPECT_THAT(asked_, SizeIs(4));
}

TEST_F(SliceDiscoveryTest, AClusterThatGoesIsFollowedNoMore) {
  start_reloadable();
  answer(list({endpoint(0)}));
  last().begin(200);
  options_.clusters.erase(options_.clusters.begin());
  reload();
  simulation_.advance(1s);
  EXPECT_EQ(management_->open_connections(), 0U);
}

TEST_F(SliceDiscoveryTest, AServersNameIsResolvedFirst) {
  options_.clusters[one].discovery.slices->server = discovery::Target{"management.example", 6443};
  start();
  EXPECT_THAT(asked_, IsEmpty());
  auto& questions = server_->environment().questions;
  ASSERT_THAT(questions, SizeIs(1));
  EXPECT_EQ(questions[0].question.name, "management.example");
  discovery::Records records{.addresses = {}, .ttl = 30s};
  records.addresses.push_back(
      io::Address::from_ip(WholeServer::backend_address(management).ip(), 0));
  questions[0].answered({records, discovery::Records{}, ""});
  simulation_.settle();
  simulation_.advance(1s);
  ASSERT_THAT(asked_, SizeIs(1));
  answer(list({endpoint(0)}));
  EXPECT_THAT(serving_hosts(), ElementsAre("10.0.0.1"));
}

}  // namespace
}  // namespace sluice::server
