// SPDX-License-Identifier: GPL-3.0-or-later
// The configuration changes while clients are there: what has changed counts for what comes next,
// and nobody who is there loses anything.
#include <gmock/gmock.h>

#include <string>
#include <utility>

#include "two_clusters.h"

namespace sluice::server {
namespace {

using namespace std::chrono_literals;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

constexpr std::string_view watch = "/api/v1/namespaces/a/pods?watch=1&resourceVersion=5";

class ReloadTest : public ClustersTest {
 protected:
  ReloadTest() {
    options_.watch_files = false;
    for (const auto& backend : backends_) {
      backend->on_request = [scripted = backend->on_request](auto& request) {
        if (request.head.path != watch) return scripted(request);
        request.begin(200);
      };
    }
  }

  // Reads `options_`, as files that have changed, with what else is in `configuration_`.
  void start_reloadable() {
    start();
    server_->control().read_by([this](const ReadRequest& request) {
      held_ = request.held;
      if (request.only_if_changed) ++looks_;
      Configuration configuration = configuration_;
      configuration.unchanged = request.only_if_changed && !changed_;
      if (configuration.unchanged) return configuration;
      ++readings_;
      changed_ = false;
      configuration.options = options_;
      return configuration;
    });
  }
  ClusterOptions take_cluster(std::size_t number) {
    ClusterOptions taken = options_.clusters.at(number);
    options_.clusters.erase(options_.clusters.begin() + static_cast<std::ptrdiff_t>(number));
    return taken;
  }
  SmallClient& alice(std::size_t cluster, std::size_t worker = 0) {
    return connect(names_[cluster] + ".example", &Keys::get()[cluster].alice, worker);
  }
  int status_of(SmallClient& client) {
    ask(client);
    return client.statuses.empty() ? 0 : client.statuses.back();
  }
  // Whether who believes in this gateway only believes what it is shown.
  bool is_shown(std::size_t cluster, const test::Certificate& gateway_ca) {
    tls::ClientOptions believes;
    believes.ca_pem = gateway_ca.pem();
    return connect(names_[cluster] + ".example", std::move(*tls::ClientContext::create(believes)))
        .connection.established();
  }
  std::string clusters_json() const { return clusters_page(server_->shared(), simulation_.now()); }
  std::size_t numbers() const { return server_->shared().table->entries.size(); }

  const std::array<std::string, 3> names_{"one", "two", "three"};
  Configuration configuration_;
  std::vector<HeldNames> held_;
  bool changed_ = false;  // some file
  int looks_ = 0;
  int readings_ = 0;
};

TEST_F(ReloadTest, AClusterThatComesIsServedAndAnotherOnesClientsNoticeNothing) {
  start_reloadable();
  SmallClient& there = alice(one);
  there.ask(watch);
  simulation_.settle();
  EXPECT_TRUE(connect("three.example").closed);
  add_cluster("three");
  reload();
  EXPECT_EQ(status_of(alice(2)), 200);
  EXPECT_EQ(status_of(alice(2, 1)), 200);
  EXPECT_THAT(seen_[2], ElementsAre("alice", "alice"));
  EXPECT_EQ(status_of(there), 200);
  EXPECT_EQ(there.complete, 1);  // the watch goes on
  EXPECT_EQ(there.goaways, 0);
}

TEST_F(ReloadTest, WhatHasNotChangedKeepsItsConnectionsAndVersions) {
  start_reloadable();
  EXPECT_EQ(status_of(alice(one)), 200);
  const auto version = server_->shared().cluster(one).version();
  const std::size_t connections = backends_[one]->accepted();
  for (int i = 0; i < 10; ++i) reload();
  EXPECT_EQ(readings_, 10);
  EXPECT_EQ(server_->shared().cluster(one).version(), version);
  EXPECT_EQ(status_of(alice(one)), 200);
  EXPECT_EQ(backends_[one]->accepted(), connections);
}

TEST_F(ReloadTest, AClusterThatGoesDrainsItsClientsAndItsNameIsNobodys) {
  start_reloadable();
  SmallClient& client = alice(two);
  SmallClient& other = alice(one);
  client.ask(watch);
  simulation_.settle();
  take_cluster(two);
  reload();
  EXPECT_TRUE(connect("two.example").closed);
  EXPECT_FALSE(client.closed);
  EXPECT_EQ(client.complete, 0);
  simulation_.advance(9s);
  EXPECT_GE(client.goaways, 1);
  EXPECT_EQ(client.complete, 1);  // a clean end
  simulation_.advance(5s);
  EXPECT_TRUE(client.closed);
  EXPECT_THAT(told(), Not(HasSubstr("cluster two")));
  EXPECT_EQ(other.goaways, 0);
  EXPECT_EQ(status_of(other), 200);
  EXPECT_THAT(clusters_json(), Not(HasSubstr("\"two\"")));
  // Nothing is kept for it.
  EXPECT_EQ(server_->shared().table->find(two), nullptr);
}

TEST_F(ReloadTest, ClustersThatComeAndGoTakeUpNoMoreAndMore) {
  start_reloadable();
  const ClusterOptions second = options_.clusters[two];
  for (int i = 0; i < 20; ++i) {
    take_cluster(two);
    reload();
    simulation_.advance(2s);
    options_.clusters.push_back(second);
    reload();
    SmallClient& client = alice(two);
    EXPECT_EQ(status_of(client), 200) << i;
    client.connection.close();
    simulation_.advance(15s);
  }
  EXPECT_LE(numbers(), 3U);
}

TEST_F(ReloadTest, ANewCertificateIsShownToWhoComesAndWhoIsThereStays) {
  start_reloadable();
  SmallClient& there = alice(one);
  const Keys& keys = Keys::get()[one];
  const test::Certificate other_ca = test::make_ca("other-gateway");
  const test::Certificate other = test::issue_server(other_ca, {"one.example"});
  EXPECT_TRUE(is_shown(one, keys.gateway_ca));
  options_.clusters[one].tls.certificate_chain_pem = other.pem();
  options_.clusters[one].tls.private_key_pem = other.key_pem();
  reload();
  EXPECT_TRUE(is_shown(one, other_ca));
  EXPECT_FALSE(is_shown(one, keys.gateway_ca));
  EXPECT_EQ(status_of(there), 200);
  EXPECT_EQ(there.goaways, 0);
  EXPECT_THAT(clusters_json(), HasSubstr(R"({"name":"one","generation":2,)"));
  EXPECT_THAT(clusters_json(), HasSubstr(R"({"name":"two","generation":1,)"));
}

TEST_F(ReloadTest, ACertificateUnderAnAuthorityThatIsGoneIsNobodysFromItsNextRequestOn) {
  start_reloadable();
  SmallClient& client = alice(one);
  client.ask(watch);
  EXPECT_EQ(status_of(client), 200);
  const std::string before = options_.clusters[one].tls.client_ca_pem;
  const test::Certificate next = test::make_ca("clients-next");
  options_.clusters[one].tls.client_ca_pem = next.pem();
  reload();
  EXPECT_EQ(status_of(client), 401);
  EXPECT_FALSE(client.closed);
  EXPECT_EQ(client.complete, 2);  // neither the watch
  EXPECT_THAT(seen_[one], ElementsAre("alice"));
  // A token counts then, as at an API server.
  client.token = "t";
  EXPECT_EQ(status_of(client), 200);
  EXPECT_THAT(seen_[one], ElementsAre("alice", "Bearer t"));
  client.token = "";
  // Both for a while, as a rotation should.
  options_.clusters[one].tls.client_ca_pem = before + next.pem();
  reload();
  EXPECT_EQ(status_of(client), 200);
  const test::Certificate bob = test::issue_client(next, "bob", {});
  SmallClient& second = connect("one.example", &bob);
  EXPECT_EQ(status_of(second), 200);
  EXPECT_THAT(seen_[one], ElementsAre("alice", "Bearer t", "alice", "bob"));
}

TEST_F(ReloadTest, ABackendThatComesIsAskedBeforeItIsUsed) {
  start_reloadable();
  SmallClient& client = alice(two);
  EXPECT_EQ(status_of(client), 200);
  readiness_[2] = 0;  // says nothing yet
  test::ScriptedBackend& added = add_server(2, two);
  added.on_request = [this](test::ScriptedBackend::Request& request) { asked(2, request); };
  options_.clusters[two].backends.push_back({WholeServer::backend_address(2), "api-1", "backend"});
  reload();
  EXPECT_EQ(probes_[2], 1);
  for (int i = 0; i < 20; ++i) EXPECT_EQ(status_of(client), 200);
  EXPECT_THAT(seen_[2], IsEmpty());
  readiness_[2] = 200;
  for (test::ScriptedBackend::Request* request : added.requests()) {
    if (!request->closed) request->answer(200, "ok");
  }
  simulation_.advance(3s);
  for (int i = 0; i < 20; ++i) EXPECT_EQ(status_of(client), 200);
  EXPECT_THAT(seen_[2], Contains("alice"));
}

TEST_F(ReloadTest, ABackendThatGoesGetsNothingNewAndItsWatchesMove) {
  add_server(2, two);
  options_.clusters[two].backends.push_back({WholeServer::backend_address(2), "api-1", "backend"});
  start_reloadable();
  SmallClient& client = alice(two);
  for (int i = 0; i < 8; ++i) client.ask(watch);
  simulation_.advance(5s);
  EXPECT_EQ(client.complete, 0);
  options_.clusters[two].backends.erase(options_.clusters[two].backends.begin());
  reload();
  EXPECT_THAT(clusters_json(), HasSubstr(R"("leaving":true)"));
  const std::size_t before = backends_[two]->requests().size();
  for (int i = 0; i < 20; ++i) EXPECT_EQ(status_of(client), 200);
  const int gets = client.complete;
  simulation_.advance(20s);
  EXPECT_GT(client.complete, gets);  // with a clean end
  EXPECT_LT(client.complete, gets + 8);
  // At the most a probe that was under way.
  EXPECT_LE(backends_[two]->requests().size(), before + 1);
  EXPECT_THAT(clusters_json(), Not(HasSubstr(R"("leaving":true)")));
  // Its slot is free for another.
  EXPECT_EQ(server_->shared().cluster(two).backends().backends.at(0), nullptr);
  options_.clusters[two].backends.push_back({WholeServer::backend_address(1), "api-9", "backend"});
  reload();
  ASSERT_NE(server_->shared().cluster(two).backends().backends.at(0), nullptr);
  simulation_.advance(3s);
  for (int i = 0; i < 20; ++i) EXPECT_EQ(status_of(client), 200);
  EXPECT_GT(backends_[two]->requests().size(), before + 5);
}

TEST_F(ReloadTest, BackendsThatComeAndGoKeepToTheirSlots) {
  start_reloadable();
  SmallClient& client = alice(two);
  const backend::Endpoint second{WholeServer::backend_address(2), "api-1", "backend"};
  for (int i = 0; i < 10; ++i) {
    options_.clusters[two].backends.push_back(second);
    reload();
    EXPECT_EQ(status_of(client), 200);
    options_.clusters[two].backends.pop_back();
    reload();
    EXPECT_EQ(status_of(client), 200);
    if (i % 3 == 0) simulation_.advance(10s);
  }
  EXPECT_LE(server_->shared().cluster(two).backends().backends.size(), 2U);
}

TEST_F(ReloadTest, UnderOtherTrustNewConnectionsComeBeforeOldOnesGo) {
  start_reloadable();
  SmallClient& client = alice(one);
  client.ask(watch);
  EXPECT_EQ(status_of(client), 200);
  const std::size_t connections = backends_[one]->accepted();
  const test::Certificate extra = test::make_ca("extra-serving-ca");
  backend::BackendTls& tls = options_.clusters[one].backend_tls;
  tls.plain.ca_pem += extra.pem();
  tls.identity->ca_pem += extra.pem();
  reload();
  for (int i = 0; i < 20; ++i) {
    EXPECT_EQ(status_of(client), 200);
    simulation_.advance(100ms);
  }
  EXPECT_GT(backends_[one]->accepted(), connections);
  EXPECT_EQ(client.complete, 21);  // not the watch
  // Authorities that no backend is under: what is there serves on.
  tls.plain.ca_pem = tls.identity->ca_pem = extra.pem();
  reload();
  for (int i = 0; i < 10; ++i) {
    EXPECT_EQ(status_of(client), 200);
    simulation_.advance(100ms);
  }
  EXPECT_EQ(client.complete, 31);
}

TEST_F(ReloadTest, AnOlderRenewalThatComesLateChangesNothing) {
  start_reloadable();
  SmallClient& client = alice(one);
  EXPECT_EQ(status_of(client), 200);
  const auto older = server_->shared().cluster(one).version();
  options_.clusters[one].backends.push_back({WholeServer::backend_address(2), "api-1", "backend"});
  reload();
  // It was asked for twice, and slots have been taken since.
  server_->worker(0).renew(one, {.version = older, .serving = {}, .backends = {}});
  simulation_.settle();
  EXPECT_EQ(status_of(client), 200);
}

TEST_F(ReloadTest, ABackendOfAClusterThatWasAsleepMayLeaveAndComeBack) {
  add_server(2, one);
  ClusterOptions& cluster = options_.clusters[one];
  cluster.proxy.vouches_for_identity = false;
  cluster.backend_tls.identity.reset();
  auto backends = std::exchange(cluster.backends, {});
  start_reloadable();
  backends.push_back({WholeServer::backend_address(2), "api-1", "backend"});
  options_.clusters[one].backends = backends;
  reload();
  SmallClient& client = connect("one.example");
  client.token = "t";
  simulation_.advance(3s);
  for (int i = 0; i < 4; ++i) client.ask(watch);
  EXPECT_EQ(status_of(client), 200);
  options_.clusters[one].backends.erase(options_.clusters[one].backends.begin());
  reload();
  options_.clusters[one].backends = backends;
  reload();
  simulation_.advance(3s);
  EXPECT_EQ(status_of(client), 200);
}

// Of a backend that believes the pair that it knows, and another one when it is told to.
class RotationTest : public ReloadTest {
 protected:
  void start_rotatable() {
    backends_[one]->on_request = [this, scripted = backends_[one]->on_request](auto& request) {
      const bool claims = !request.field("x-remote-user").empty();
      if (!claims || believes_new_ || request.connection->with_certificate()) {
        return scripted(request);
      }
      ++refused_;
      if (request.head.path != review_path) ++failed_;
      request.answer(401);
    };
    start_reloadable();
    ask(alice(one));
  }
  void rotate_pair() {
    const test::Certificate ca = test::make_ca("front-proxy-next");
    const test::Certificate next = test::issue_client(ca, "front-proxy");
    tls::ClientOptions& identity = *options_.clusters[one].backend_tls.identity;
    identity.certificate_chain_pem = next.pem();
    identity.private_key_pem = next.key_pem();
    believes_new_ = false;
    reload();
  }
  bool is_pending() {
    return metrics().contains(
        "sluice_backend_renewal_pending{cluster=\"one\",backend=\"api-0\"} 1\n");
  }

  bool believes_new_ = true;
  int refused_ = 0;
  int failed_ = 0;  // that were no probes
};

TEST_F(RotationTest, ANewFrontProxyPairIsUsedOnlyWhereItsProbeHasPassed) {
  start_rotatable();
  SmallClient& client = alice(one);
  client.ask(watch);
  simulation_.settle();
  rotate_pair();
  for (int i = 0; i < 20; ++i) {
    EXPECT_EQ(status_of(client), 200) << i;
    simulation_.advance(1s);
  }
  EXPECT_GE(refused_, 5);
  EXPECT_EQ(failed_, 0);
  EXPECT_TRUE(is_pending());
  const std::size_t before = backends_[one]->accepted();
  believes_new_ = true;
  simulation_.advance(5s);
  EXPECT_FALSE(is_pending());
  for (int i = 0; i < 20; ++i) {
    EXPECT_EQ(status_of(client), 200) << i;
    simulation_.advance(100ms);
  }
  EXPECT_GT(backends_[one]->accepted(), before + 2);  // than the probes' own
  EXPECT_EQ(client.complete, 40);                     // not the watch
}

// A worker whose first client comes in between has only what is written now.
TEST_F(RotationTest, WhoBeginsInBetweenBeginsWithTheOldPair) {
  start_rotatable();
  rotate_pair();
  EXPECT_EQ(refused_, 1);
  const auto& version = *server_->shared().cluster(one).version();
  ASSERT_EQ(version.earlier.size(), 1U);
  EXPECT_EQ(version.earlier[0].backend_tls, 1U);
  EXPECT_EQ(status_of(alice(one, 1)), 200);
  EXPECT_EQ(failed_, 0);
}

TEST_F(RotationTest, WhoWasAwayMeanwhileIsServedByTheOldPairToo) {
  add_server(2, one);
  auto& backends = options_.clusters[one].backends;
  backends.push_back({WholeServer::backend_address(2), "api-1", "backend"});
  start_rotatable();
  SmallClient& client = alice(one);
  client.ask(watch);
  EXPECT_EQ(status_of(client), 200);
  rotate_pair();
  EXPECT_TRUE(is_pending());
  const backend::Endpoint away = backends.front();
  backends.erase(backends.begin());
  reload();
  backends.insert(backends.begin(), away);
  reload();
  for (int i = 0; i < 20; ++i) {
    EXPECT_EQ(status_of(client), 200) << i;
    simulation_.advance(200ms);
  }
  EXPECT_EQ(failed_, 0);
  EXPECT_TRUE(is_pending());
  believes_new_ = true;
  simulation_.advance(5s);
  EXPECT_FALSE(is_pending());
  EXPECT_EQ(status_of(client), 200);
}

TEST_F(RotationTest, WhatIsTakenBackBeforeItHasPassedIsForgotten) {
  start_rotatable();
  SmallClient& client = alice(one);
  const backend::BackendTls before = options_.clusters[one].backend_tls;
  for (int i = 0; i < 5; ++i) {
    rotate_pair();
    EXPECT_EQ(status_of(client), 200);
    simulation_.advance(1s);
  }
  EXPECT_LE(server_->shared().cluster(one).version()->earlier.size(), 1U);
  options_.clusters[one].backend_tls = before;
  believes_new_ = true;
  reload();
  simulation_.advance(5s);
  EXPECT_EQ(status_of(client), 200);
  EXPECT_FALSE(is_pending());
}

TEST_F(ReloadTest, AClusterWithAMistakeServesOnAsBefore) {
  start_reloadable();
  SmallClient& client = alice(two);
  take_cluster(two);
  options_.broken = {{"two", "/clusters/two.conf", {"two.conf:3: it is wrong.", "So is that."}}};
  reload();
  EXPECT_EQ(status_of(client), 200);
  EXPECT_EQ(status_of(alice(two)), 200);
  EXPECT_THAT(clusters_json(), HasSubstr(R"({"name":"two","generation":1,)"
                                         R"("lastError":"two.conf:3: it is wrong.",)"));
  EXPECT_THAT(metrics(), HasSubstr("\nsluice_config_errors{cluster=\"two\"} 2\n"));
  EXPECT_THAT(metrics(), HasSubstr("\nsluice_config_errors 0\n"));
  options_.broken.clear();
  options_.clusters.push_back(options_.clusters[one]);
  reload();
}

TEST_F(ReloadTest, AMistakeOfTheProcessChangesNothing) {
  start_reloadable();
  SmallClient& client = alice(two);
  options_.clusters.clear();
  configuration_.mistakes = {"--clusters cannot be read."};
  reload();
  EXPECT_EQ(status_of(client), 200);
  EXPECT_EQ(status_of(alice(one)), 200);
  EXPECT_THAT(clusters_json(), HasSubstr(R"(],"lastError":"--clusters cannot be read."})"));
  EXPECT_THAT(metrics(), HasSubstr("\nsluice_config_errors 1\n"));
  EXPECT_THAT(server_->environment().notified.back(), HasSubstr("READY=1\nSTATUS=serving; "));
}

TEST_F(ReloadTest, ABrokenOneThatIsMendedIsServed) {
  add_cluster("three");
  const ClusterOptions third = take_cluster(2);
  options_.broken = {{"three", "/clusters/three.conf", {"three.conf: it is wrong."}}};
  options_.reserved_names = third.server_names;
  start_reloadable();
  EXPECT_TRUE(connect("three.example").closed);
  EXPECT_THAT(clusters_json(),
              HasSubstr(R"("broken":[{"name":"three","generation":0,"lastError":")"));
  options_.broken.clear();
  options_.reserved_names.clear();
  options_.clusters.push_back(third);
  reload();
  EXPECT_EQ(status_of(alice(2)), 200);
  EXPECT_THAT(metrics(), Not(HasSubstr("sluice_config_errors{")));
}

TEST_F(ReloadTest, TuningCountsForWhatComesNext) {
  start_reloadable();
  SmallClient& client = alice(two);
  readiness_[two] = 200;
  backends_[two]->on_request = [this](test::ScriptedBackend::Request& request) {
    if (request.head.path != pod) asked(two, request);
  };
  options_.clusters[two].proxy.request_timeout = 2s;
  options_.clusters[two].request_headers.username_headers = {"X-Other-User"};
  reload();
  ask(client);
  EXPECT_THAT(client.statuses, IsEmpty());
  simulation_.advance(3s);
  EXPECT_THAT(client.statuses, ElementsAre(504));
  const auto& requests = backends_[two]->requests();
  const auto asked_for =
      std::ranges::find_if(requests, [](const auto* request) { return request->head.path == pod; });
  ASSERT_NE(asked_for, requests.end());
  EXPECT_EQ((*asked_for)->field("x-other-user"), "alice");
  EXPECT_EQ((*asked_for)->field("x-remote-user"), "");
}

TEST_F(ReloadTest, ANameMovesFromOneClusterToAnother) {
  start_reloadable();
  SmallClient& client = alice(one);
  options_.clusters[one].server_names = {"one.example"};
  options_.clusters[two].server_names = {"two.example", "x.one.example"};
  reload();
  SmallClient& moved = connect("x.one.example", tls(&Keys::get()[two].alice));
  EXPECT_FALSE(moved.connection.established());  // shown another certificate than that of the name
  ask(client, "x.one.example");
  EXPECT_THAT(client.statuses, ElementsAre(421));
  EXPECT_EQ(status_of(client), 200);
}

TEST_F(ReloadTest, WhatComesWhileFilesAreReadIsReadAfterwards) {
  start_reloadable();
  NotedEnvironment& environment = server_->environment();
  environment.run_aside = false;
  server_->control().reload();
  server_->control().reload();
  server_->control().reload();
  simulation_.settle();
  EXPECT_EQ(readings_, 0);
  EXPECT_EQ(status_of(alice(one)), 200);  // nobody waits
  environment.run_what_waits();
  simulation_.settle();
  EXPECT_EQ(readings_, 1);
  EXPECT_THAT(environment.notified.back(), HasSubstr("RELOADING=1\nMONOTONIC_USEC="));
  environment.run_aside = true;
  environment.run_what_waits();
  simulation_.settle();
  EXPECT_EQ(readings_, 2);
  EXPECT_EQ(environment.notified.back(), "READY=1\nSTATUS=serving");
}

TEST_F(ReloadTest, WhoIsToldToStopReadsNothingMore) {
  start_reloadable();
  server_->environment().run_aside = false;
  server_->control().reload();
  server_->control().signal(SIGTERM);
  server_->control().reload();
  server_->environment().run_what_waits();
  simulation_.settle();
  EXPECT_EQ(readings_, 1);
  server_->control().stop();
  server_->environment().run_what_waits();
  simulation_.settle();
}

TEST_F(ReloadTest, ChangedFilesAreTakenOverByThemselvesOnceTheyHaveSettled) {
  options_.watch_files = true;
  start_reloadable();
  reload();
  simulation_.advance(1s);
  const int looks = looks_;
  options_.clusters[two].proxy.request_timeout = 2s;
  changed_ = true;
  for (int i = 0; i < 8; ++i) {
    server_->control().files_changed();
    simulation_.advance(300ms);
    EXPECT_EQ(looks_, looks);
  }
  simulation_.advance(700ms);
  EXPECT_EQ(looks_, looks + 1);
  EXPECT_EQ(readings_, 2);
  EXPECT_EQ(server_->shared().cluster(two).version()->generation, 2U);
  EXPECT_EQ(server_->environment().notified.back(), "READY=1\nSTATUS=serving");
}

TEST_F(ReloadTest, WhatIsNotToldIsSeenWithinAMinute) {
  options_.watch_files = true;
  start_reloadable();
  reload();
  options_.clusters[two].proxy.request_timeout = 2s;
  changed_ = true;
  simulation_.advance(61s);
  EXPECT_EQ(readings_, 2);
  const std::size_t told = server_->environment().notified.size();
  simulation_.advance(10min);
  EXPECT_GE(looks_, 10);
  EXPECT_EQ(readings_, 2);
  EXPECT_EQ(server_->environment().notified.size(), told);  // nothing to tell
}

TEST_F(ReloadTest, WhoWaitsLooksOften) {
  options_.watch_files = true;
  configuration_.waits = true;
  start_reloadable();
  reload();
  simulation_.advance(10s);
  EXPECT_GE(looks_, 7);
  EXPECT_LE(looks_, 10);
}

TEST_F(ReloadTest, WithoutWatchingNothingIsReadUnasked) {
  start_reloadable();
  reload();
  server_->control().files_changed();
  simulation_.advance(10min);
  EXPECT_EQ(looks_, 0);
}

TEST_F(ReloadTest, WhatMayPassByItselfIsNoMistakeYet) {
  start_reloadable();
  const ClusterOptions second = take_cluster(two);
  options_.broken = {{"two", "two.conf", {"two.conf: a key does not go with it."}, true}};
  reload();
  EXPECT_EQ(status_of(alice(two)), 200);
  EXPECT_THAT(metrics(), Not(HasSubstr("sluice_config_errors{")));
  EXPECT_THAT(clusters_json(), HasSubstr("lastError"));
}

TEST_F(ReloadTest, WhatIsHeldIsToldToWhoReads) {
  start_reloadable();
  reload();
  ASSERT_EQ(held_.size(), 2U);
  EXPECT_EQ(held_[one].cluster, "one");
  EXPECT_EQ(held_[one].server_names, options_.clusters[one].server_names);
  EXPECT_EQ(held_[one].others, OtherClients::unnamed);
  EXPECT_EQ(held_[two].others, OtherClients::none);
}

TEST_F(ReloadTest, TheOnlyClusterIsReloadedAndItsKeysAreNotKept) {
  take_cluster(two);
  options_.clusters[one].name.clear();
  options_.clusters[one].others = OtherClients::all;
  start_reloadable();
  simulation_.settle();
  const Cluster& cluster = server_->shared().cluster(0);
  EXPECT_FALSE(cluster.version()->settings->has_keys());
  SmallClient& there = alice(one);
  EXPECT_EQ(status_of(there), 200);
  const test::Certificate other_ca = test::make_ca("other-gateway");
  const test::Certificate other = test::issue_server(other_ca, {"one.example"});
  reload();
  EXPECT_EQ(cluster.version()->generation, 1U);
  options_.clusters[one].tls.certificate_chain_pem = other.pem();
  options_.clusters[one].tls.private_key_pem = other.key_pem();
  reload();
  EXPECT_TRUE(is_shown(one, other_ca));
  EXPECT_EQ(status_of(there), 200);
  EXPECT_EQ(cluster.version()->generation, 2U);
  EXPECT_FALSE(cluster.version()->settings->has_keys());
}

}  // namespace
}  // namespace sluice::server
