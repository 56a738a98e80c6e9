// SPDX-License-Identifier: GPL-3.0-or-later
// Names of backends in a whole server: who waits for their answers, and what becomes of them.
#include "discovery.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "two_clusters.h"

namespace sluice::server {
namespace {

using namespace std::chrono_literals;
using discovery::NameAnswer;
using discovery::Records;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::SizeIs;

NameAnswer found(const std::vector<std::size_t>& backends) {
  Records records{.addresses = {}, .ttl = 30s};
  for (const std::size_t backend : backends) {
    records.addresses.push_back(
        io::Address::from_ip(WholeServer::backend_address(backend).ip(), 0));
  }
  return {records, Records{}, ""};
}
const NameAnswer failed{std::nullopt, std::nullopt, "no answer in time"};

class DiscoveryTest : public ClustersTest {
 protected:
  DiscoveryTest() {
    options_.watch_files = false;
    options_.dns_servers = {*io::Address::parse("10.0.0.53:53")};
    options_.clusters[one].backends.clear();
    options_.clusters[one].discovery = {.names = {{"api.example", 6443}},
                                        .file = {},
                                        .slices = {},
                                        .own_slice = {},
                                        .server_name = "backend"};
  }

  std::vector<NotedEnvironment::Asked>& questions() { return server_->environment().questions; }
  void answer(const NameAnswer& answer) {
    ASSERT_FALSE(questions().empty());
    auto asked = std::move(questions().front());
    questions().erase(questions().begin());
    asked.answered(answer);
    simulation_.settle();
  }
  SmallClient& alice() { return connect("one.example", &Keys::get()[one].alice); }
  const ClusterVersion& version() { return *server_->shared().cluster(one).version(); }
  std::vector<std::string> serving() {
    return serving_by([](const backend::Endpoint& endpoint) { return endpoint.name; });
  }
};

TEST_F(DiscoveryTest, AsksForNamesWhenItStartsAndAgainWhenTheAnswerIsTooOld) {
  start();
  ASSERT_THAT(questions(), SizeIs(1));
  EXPECT_EQ(questions()[0].question.name, "api.example");
  EXPECT_EQ(questions()[0].question.servers, options_.dns_servers);
  simulation_.advance(1min);
  ASSERT_THAT(questions(), SizeIs(1));
  answer(found({0}));
  EXPECT_THAT(serving(), ElementsAre("10.0.0.1:6443"));
  simulation_.advance(29s);
  EXPECT_THAT(questions(), IsEmpty());
  simulation_.advance(2s);
  EXPECT_THAT(questions(), SizeIs(1));
}

TEST_F(DiscoveryTest, AFirstClientsHandshakeWaitsUntilNamesAreAnsweredAndBackendsAsked) {
  start();
  SmallClient& client = alice();
  EXPECT_FALSE(client.connection.established());
  answer(found({0}));
  EXPECT_TRUE(client.connection.established());
  ask(client);
  EXPECT_THAT(client.statuses, ElementsAre(200));
  EXPECT_THAT(seen_[one], ElementsAre("alice"));
}

TEST_F(DiscoveryTest, WithoutAnAnswerItWaitsNoLongerThanForBackendsAndIs503) {
  start();
  SmallClient& client = alice();
  simulation_.advance(4s);
  EXPECT_TRUE(client.connection.established());
  ask(client);
  EXPECT_THAT(client.statuses, ElementsAre(503));
  answer(found({0}));
  simulation_.advance(1s);
  ask(client);
  EXPECT_THAT(client.statuses, ElementsAre(503, 200));
}

TEST_F(DiscoveryTest, OtherAddressesAreAVersionOfTheSameSettingsAndNothingIsRead) {
  start();
  answer(found({0}));
  SmallClient& client = alice();
  ask(client);
  const auto settings = version().settings;
  const std::uint64_t generation = version().generation;
  simulation_.advance(31s);
  answer(found({1}));
  // Who has come has to show that it is there first.
  EXPECT_THAT(serving(), ElementsAre("10.0.0.1:6443", "10.0.0.2:6443"));
  simulation_.advance(1s);
  EXPECT_THAT(serving(), ElementsAre("10.0.0.2:6443"));
  EXPECT_EQ(version().settings, settings);
  EXPECT_EQ(version().generation, generation);
  simulation_.advance(2s);
  ask(client);
  EXPECT_THAT(client.statuses, ElementsAre(200, 200));
  EXPECT_THAT(seen_[two], ElementsAre("alice"));
  // The slot of who has left is free in the end.
  simulation_.advance(10s);
  EXPECT_THAT(clusters_page(server_->shared(), simulation_.now()), Not(HasSubstr("10.0.0.1:6443")));
}

TEST_F(DiscoveryTest, TheSameAddressesAndFailuresChangeNothing) {
  start();
  answer(found({0, 1}));
  const std::uint64_t revision = version().revision;
  for (const NameAnswer& each : {found({1, 0}), failed, NameAnswer{Records{}, Records{}, ""}}) {
    simulation_.advance(1min);
    answer(each);
    EXPECT_EQ(version().revision, revision);
  }
  EXPECT_THAT(serving(), ElementsAre("10.0.0.1:6443", "10.0.0.2:6443"));
  const std::string page = clusters_page(server_->shared(), simulation_.now());
  EXPECT_THAT(page, HasSubstr(R"("discovery":[{"kind":"dns","name":"api.example","endpoints":2)"));
  EXPECT_THAT(page, HasSubstr(R"("lastError":"it has no addresses")"));
  EXPECT_THAT(metrics(), HasSubstr("sluice_discovery_failures_total{cluster=\"one\",kind=\"dns\","
                                   "name=\"api.example\"} 2\n"));
}

TEST_F(DiscoveryTest, AReloadKeepsWhatIsKnownAndAsksForWhatIsNew) {
  start_reloadable();
  answer(found({0}));
  options_.clusters[one].probe.interval = 2s;
  reload();
  EXPECT_THAT(serving(), ElementsAre("10.0.0.1:6443"));
  EXPECT_THAT(questions(), IsEmpty());
  options_.clusters[one].discovery.names = {{"other.example", 6443}};
  options_.dns_servers.clear();
  reload();
  // Until somebody is there in its place.
  EXPECT_THAT(serving(), ElementsAre("10.0.0.1:6443"));
  simulation_.advance(1s);
  ASSERT_THAT(questions(), SizeIs(1));
  EXPECT_EQ(questions()[0].question.name, "other.example");
  EXPECT_THAT(questions()[0].question.servers, IsEmpty());
  answer(found({1}));
  simulation_.advance(1s);
  EXPECT_THAT(serving(), ElementsAre("10.0.0.2:6443"));
}

TEST_F(DiscoveryTest, ACompleteChangeOfAsManyAsThereMayBeLeavesNobodyOut) {
  start();
  std::vector<std::size_t> before{0};
  std::vector<std::size_t> after{1};
  for (std::size_t i = 1; i < balance::backends_max; ++i) {
    before.push_back(9 + i);
    after.push_back(99 + i);
  }
  answer(found(before));
  simulation_.advance(5s);
  SmallClient& client = alice();
  ask(client);
  simulation_.advance(31s);
  answer(found(after));
  // Who is there and has a slot is used before the last of the others goes.
  const auto is_there = [this] {
    return std::ranges::any_of(serving(), [](const std::string& name) {
      return name == "10.0.0.1:6443" || name == "10.0.0.2:6443";
    });
  };
  for (int i = 0; i < 300; ++i) {
    ask(client);
    EXPECT_EQ(client.statuses.back(), 200) << i;
    EXPECT_TRUE(is_there()) << i;
    simulation_.advance(100ms);
  }
  EXPECT_THAT(serving(), Contains("10.0.0.2:6443"));
  EXPECT_THAT(serving(), Not(Contains("10.0.0.1:6443")));
  EXPECT_THAT(serving(), SizeIs(balance::backends_max));
}

TEST_F(DiscoveryTest, WhereAllOthersComeTheFormerOnesStayUntilOneIsReadyOrTenSecondsHavePassed) {
  start();
  answer(found({0}));
  SmallClient& client = alice();
  simulation_.advance(31s);
  answer(found({7, 8}));  // nobody is there
  for (int i = 0; i < 9; ++i) {
    simulation_.advance(1s);
    ask(client);
  }
  EXPECT_EQ(std::ranges::count(client.statuses, 200), 9);
  EXPECT_THAT(serving(), SizeIs(3));
  simulation_.advance(2s);
  EXPECT_THAT(serving(), ElementsAre("10.0.0.8:6443", "10.0.0.9:6443"));
  // What comes while former ones stay takes their place, too.
  simulation_.advance(1min);
  answer(found({1}));
  simulation_.advance(1s);
  EXPECT_THAT(serving(), ElementsAre("10.0.0.2:6443"));
}

TEST_F(DiscoveryTest, AnAnswerForAClusterThatHasGoneIsNobodys) {
  start_reloadable();
  options_.clusters.erase(options_.clusters.begin());
  reload();
  answer(found({0}));
  EXPECT_THAT(clusters_page(server_->shared(), simulation_.now()), Not(HasSubstr("10.0.0.1:6443")));
}

TEST_F(DiscoveryTest, AnAnswerThatComesAtTheEndIsNobodys) {
  start();
  auto asked = std::move(questions().front());
  questions().clear();
  server_->stop();
  simulation_.settle();
  asked.answered(found({0}));
  simulation_.settle();
  EXPECT_THAT(serving(), IsEmpty());
}

TEST_F(DiscoveryTest, OurOwnAddressesAreNoBackends) {
  options_.thread.listen = {WholeServer::backend_address(1)};
  start();
  answer(found({0, 1}));
  EXPECT_THAT(serving(), ElementsAre("10.0.0.1:6443"));
}

}  // namespace
}  // namespace sluice::server
