// SPDX-License-Identifier: GPL-3.0-or-later
// Two clusters in one process: each client finds its own, and nothing of one counts in the other.
#include <string>
#include <utility>

#include "frames.h"
#include "two_clusters.h"

namespace sluice::server {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

TEST_F(ClustersTest, EachClientIsShownTheCertificateOfTheClusterThatItNames) {
  start();
  for (const std::size_t cluster : {one, two}) {
    tls::ClientOptions options;
    options.ca_pem = Keys::get()[cluster].gateway_ca.pem();
    const std::shared_ptr<const tls::ClientContext> believes =
        std::move(*tls::ClientContext::create(options));
    const std::string own = options_.clusters[cluster].name;
    const std::string other = options_.clusters[1 - cluster].name;
    EXPECT_TRUE(connect(own + ".example", believes).connection.established());
    EXPECT_TRUE(connect("x." + own + ".example", believes).connection.established());
    EXPECT_FALSE(connect(other + ".example", believes).connection.established());
  }
}

TEST_F(ClustersTest, WhatAClientAsksReachesTheBackendsOfItsClusterAlone) {
  start();
  ask(connect("one.example", &Keys::get()[one].alice));
  ask(connect("two.example", &Keys::get()[two].alice));
  ask(connect("x.two.example", &Keys::get()[two].alice, 1));
  EXPECT_THAT(seen_[one], ElementsAre("alice"));
  EXPECT_THAT(seen_[two], ElementsAre("alice", "alice"));
}

TEST_F(ClustersTest, ANameThatNobodyServesIsAnAlertAndNoNameIsTheDefaults) {
  start();
  for (const char* name : {"three.example", "broken.example", "a.b.two.example", "example"}) {
    SmallClient& client = connect(name);
    EXPECT_TRUE(client.closed) << name;
    EXPECT_THAT(client.end, HasSubstr("unrecognized_name")) << name;
  }
  SmallClient& client = connect("10.0.1.1");  // an address is no server name
  client.token = "t";
  ask(client);
  EXPECT_THAT(client.statuses, ElementsAre(200));
  EXPECT_THAT(seen_[one], ElementsAre("Bearer t"));
  EXPECT_THAT(seen_[two], IsEmpty());
}

TEST_F(ClustersTest, ACertificateOfOneClusterIsNobodysInTheOther) {
  start();
  for (const std::size_t cluster : {one, two}) {
    const test::Certificate& foreign = Keys::get()[1 - cluster].alice;
    SmallClient& client = connect(options_.clusters[cluster].name + ".example", &foreign);
    ask(client);
    EXPECT_THAT(client.statuses, ElementsAre(401));
  }
  EXPECT_THAT(seen_[one], IsEmpty());
  EXPECT_THAT(seen_[two], IsEmpty());
}

TEST_F(ClustersTest, ATokenThatOneClusterHasTakenHasProvenNothingInTheOther) {
  start();
  SmallClient& first = connect("one.example");
  first.token = "t";
  for (int i = 0; i < 2; ++i) ask(first);
  EXPECT_THAT(told(), HasSubstr("backend one/api-0 pool=bearer"));
  SmallClient& second = connect("two.example");
  second.token = "t";
  ask(second);
  EXPECT_THAT(told(), HasSubstr("backend two/api-0 pool=suspect"));
  EXPECT_THAT(told(), Not(HasSubstr("backend two/api-0 pool=bearer")));
  EXPECT_THAT(seen_[two], ElementsAre("Bearer t"));
}

TEST_F(ClustersTest, ARequestForAnotherClusterIsMisdirectedAndReachesNobody) {
  start();
  SmallClient& client = connect("one.example", &Keys::get()[one].alice);
  for (const char* authority :
       {"two.example", "x.two.example:443", "TWO.example.", "broken.example"}) {
    ask(client, authority);
  }
  EXPECT_THAT(client.statuses, ElementsAre(421, 421, 421, 421));
  EXPECT_THAT(seen_[one], IsEmpty());
  EXPECT_THAT(seen_[two], IsEmpty());
  // The connection is as good as before.
  for (const char* authority :
       {"one.example", "x.one.example:6443", "kubernetes", "10.0.1.1:443", "three.example"}) {
    ask(client, authority);
  }
  EXPECT_THAT(client.statuses, ElementsAre(421, 421, 421, 421, 200, 200, 200, 200, 200));
  EXPECT_EQ(seen_[one].size(), 5U);
}

TEST_F(ClustersTest, TheSameIsTrueOfHttp1) {
  start();
  net::Recorder& client = connect_http1("two.example");
  EXPECT_THAT(ask_http1(client, "one.example"), HasSubstr("HTTP/1.1 421 "));
  EXPECT_THAT(ask_http1(client, "One.Example:443"), HasSubstr("HTTP/1.1 421 "));
  EXPECT_THAT(ask_http1(client, "broken.example"), HasSubstr("HTTP/1.1 421 "));
  EXPECT_THAT(seen_[one], IsEmpty());
  EXPECT_THAT(seen_[two], IsEmpty());
  EXPECT_THAT(ask_http1(client, "two.example"), HasSubstr("HTTP/1.1 200 "));
  EXPECT_THAT(ask_http1(client, "kubernetes"), HasSubstr("HTTP/1.1 200 "));
  EXPECT_EQ(seen_[two].size(), 2U);
}

TEST_F(ClustersTest, AnUploadThatIsMisdirectedIsAnsweredBeforeItsEnd) {
  start();
  net::Recorder& client = connect_http1("two.example");
  client.send(
      "POST /api/v1/namespaces/a/pods HTTP/1.1\r\nHost: one.example\r\nContent-Length: "
      "1000\r\n\r\nhalf");
  simulation_.settle();
  EXPECT_THAT(client.received, HasSubstr("HTTP/1.1 421 "));
  simulation_.advance(10s);
  EXPECT_TRUE(client.closed);
  EXPECT_THAT(seen_[two], IsEmpty());
}

TEST_F(ClustersTest, OnesBackendsAreDownAndTheOthersClientsNoticeNothing) {
  start();
  connect("one.example");
  connect("two.example");
  readiness_[two] = 500;
  simulation_.advance(3s);
  EXPECT_TRUE(server_->shared().cluster(one).backends().any_usable());
  EXPECT_FALSE(server_->shared().cluster(two).backends().any_usable());
  SmallClient& client = connect("one.example", &Keys::get()[one].alice);
  ask(client);
  EXPECT_THAT(client.statuses, ElementsAre(200));
}

TEST_F(ClustersTest, ABackendOfAClusterThatNobodyUsesIsAskedNowAndThenOnNoLastingConnection) {
  start();
  simulation_.advance(5min);
  EXPECT_GE(probes_[two], 8);
  EXPECT_LE(probes_[two], 12);
  EXPECT_TRUE(last_probe_[two]->ended());
  EXPECT_TRUE(server_->shared().cluster(two).backends().any_usable());
  const int before = probes_[two];
  SmallClient& client = connect("two.example");
  EXPECT_EQ(probes_[two], before + 1);  // at once
  simulation_.advance(1min);
  EXPECT_GE(probes_[two], before + 50);
  EXPECT_FALSE(last_probe_[two]->ended());
  EXPECT_LE(probes_[one], 16);
  client.connection.close();
  simulation_.advance(10min);
  const int used = probes_[two];
  simulation_.advance(5min);
  EXPECT_LE(probes_[two], used + 12);
  EXPECT_TRUE(last_probe_[two]->ended());
}

// What is said of a client must not reach a server that would not take it for what it is.
TEST_F(ClustersTest, TheFirstClientWaitsUntilItsBackendsHaveBeenAsked) {
  readiness_[one] = 0;
  start();
  SmallClient& client = connect("one.example", &Keys::get()[one].alice);
  SmallClient& other = connect("two.example", &Keys::get()[two].alice);
  EXPECT_TRUE(other.connection.established());
  EXPECT_FALSE(client.connection.established());
  EXPECT_FALSE(client.closed);
  simulation_.advance(500ms);
  EXPECT_FALSE(client.connection.established());
  readiness_[one] = 200;
  for (test::ScriptedBackend::Request* request : backends_[one]->requests()) {
    if (!request->closed) request->answer(200, "ok");
  }
  simulation_.settle();
  EXPECT_TRUE(client.connection.established());
  ask(client);
  EXPECT_THAT(client.statuses, ElementsAre(200));
}

TEST_F(ClustersTest, ABackendThatDoesNotAnswerIsNotWaitedForLong) {
  readiness_[one] = 0;
  start();
  SmallClient& client = connect("one.example", &Keys::get()[one].alice);
  simulation_.advance(4s);
  EXPECT_TRUE(client.connection.established());
  ask(client);
  EXPECT_THAT(client.statuses, ElementsAre(503));
  EXPECT_THAT(seen_[one], IsEmpty());
}

TEST_F(ClustersTest, AHeadThatIsNeverWholeHasItsTimeAlsoBehindARequestThatIsAnswered) {
  start();
  http1_clients_.push_back(std::make_unique<net::Recorder>(simulation_.transport()));
  net::Recorder& client = *http1_clients_.back();
  client.connection.connect(WholeServer::address(0), tls(nullptr, {"h2"}), "one.example");
  simulation_.settle();
  client.send(test::FrameWriter()
                  .preface()
                  .settings_ack()
                  .headers(1, test::hpack_get("/%zz"))
                  .headers(3, test::hpack_get(), true, false)
                  .text());
  simulation_.settle();
  simulation_.advance(9s);
  EXPECT_FALSE(client.closed);
  simulation_.advance(3s);
  EXPECT_TRUE(client.closed);
}

TEST_F(ClustersTest, WhoLeavesWhileItWaitsLeavesNothing) {
  readiness_[one] = 0;
  start();
  for (int i = 0; i < 3; ++i) connect("one.example");
  clients_[1]->connection.terminate();
  server_->worker(0).stop();
  simulation_.advance(4s);
  for (const auto& client : clients_) EXPECT_TRUE(client->closed);
}

TEST_F(ClustersTest, AClusterWithoutBackendsHibernates) {
  options_.clusters[two].backends.clear();
  start();
  SmallClient& client = connect("two.example", &Keys::get()[two].alice);
  client.ask("/api/v1/namespaces/a/pods/b");
  client.ask("/api/v1/pods?watch=1");
  simulation_.settle();
  EXPECT_THAT(client.statuses, ElementsAre(503, 503));
  SmallClient& stranger = connect("two.example");
  ask(stranger);
  EXPECT_THAT(stranger.statuses, ElementsAre(503));
  EXPECT_THAT(metrics(), HasSubstr("sluice_local_replies_total{cluster=\"two\",reason="
                                   "\"hibernates\"} 3\n"));
  SmallClient& other = connect("one.example", &Keys::get()[one].alice);
  ask(other);
  EXPECT_THAT(other.statuses, ElementsAre(200));
}

TEST_F(ClustersTest, SeriesAreTheClustersAndAbsentUntilItIsUsed) {
  start();
  EXPECT_THAT(metrics(), Not(HasSubstr("cluster=\"")));
  ask(connect("one.example", &Keys::get()[one].alice));
  const std::string text = metrics();
  EXPECT_THAT(text, HasSubstr("\nsluice_responses_total{cluster=\"one\",code=\"2xx\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("\nsluice_backend_ready{cluster=\"one\",backend=\"api-0\"} 1\n"));
  EXPECT_THAT(text, Not(HasSubstr("code=\"5xx\"")));
  EXPECT_THAT(text, Not(HasSubstr("cluster=\"two\"")));
  ask(connect("two.example", &Keys::get()[two].alice));
  EXPECT_THAT(metrics(), HasSubstr("{cluster=\"two\",code=\"2xx\"} 1\n"));
}

TEST_F(ClustersTest, AWorkerHasNothingOfAClusterBeforeItsFirstClientAndLongAfterItsLast) {
  for (ClusterOptions& cluster : options_.clusters) cluster.probe.interval = 1min;
  start();
  EXPECT_THAT(told(), Not(HasSubstr("cluster ")));
  SmallClient& client = connect("two.example", &Keys::get()[two].alice);
  ask(client);
  EXPECT_THAT(told(), HasSubstr("\n  cluster two clients=1 "));
  EXPECT_THAT(told(1), Not(HasSubstr("cluster ")));
  simulation_.advance(10min);
  EXPECT_THAT(told(), HasSubstr("\n  cluster two clients=1 "));
  client.connection.close();
  simulation_.advance(2min);
  EXPECT_THAT(told(), HasSubstr("\n  cluster two clients=0 "));
  simulation_.advance(6min);
  EXPECT_THAT(told(), Not(HasSubstr("cluster ")));
  // What it has counted stays, and it comes back at once.
  ask(connect("two.example", &Keys::get()[two].alice));
  EXPECT_THAT(metrics(), HasSubstr("{cluster=\"two\",code=\"2xx\"} 2\n"));
}

TEST_F(ClustersTest, AnAddressHasAShareInEachCluster) {
  options_.thread.worker.client.connections_per_address = 2;
  start();
  for (int i = 0; i < 2; ++i) EXPECT_FALSE(connect("one.example").closed);
  EXPECT_TRUE(connect("one.example").closed);
  for (int i = 0; i < 2; ++i) EXPECT_FALSE(connect("two.example").closed);
  EXPECT_TRUE(connect("two.example").closed);
}

TEST_F(ClustersTest, ForWhoCallsFromAnotherNetworkNobodyHasTheName) {
  options_.clusters[two].allowed_networks = {*io::Network::parse("192.0.2.0/24"),
                                             *io::Network::parse("2001:db8::/32")};
  start();
  for (const char* host : {"192.0.3.1", "198.51.100.7"}) {
    simulation_.network().connect_from(host);
    SmallClient& refused = connect("two.example", &Keys::get()[two].alice);
    EXPECT_TRUE(refused.closed) << host;
    EXPECT_THAT(refused.end, HasSubstr("unrecognized_name")) << host;
    EXPECT_FALSE(connect("one.example", &Keys::get()[one].alice).closed) << host;
  }
  EXPECT_THAT(metrics(), HasSubstr("\nsluice_clients_not_allowed_total 2\n"));
  // Nothing was made for them.
  EXPECT_THAT(told(), Not(HasSubstr("cluster two")));
  simulation_.network().connect_from("192.0.2.255");
  SmallClient& client = connect("two.example", &Keys::get()[two].alice);
  ask(client);
  EXPECT_THAT(client.statuses, ElementsAre(200));
}

TEST_F(ClustersTest, TheOnlyClustersNetworksAreKnownBeforeAnyByteHasCome) {
  options_.clusters.pop_back();
  options_.clusters[one].name.clear();
  options_.clusters[one].allowed_networks = {*io::Network::parse("192.0.2.7")};
  start();
  simulation_.network().connect_from("192.0.2.8");
  SmallClient& refused = connect("one.example", &Keys::get()[one].alice);
  EXPECT_TRUE(refused.closed);
  EXPECT_THAT(refused.end, Not(HasSubstr("unrecognized_name")));
  EXPECT_THAT(metrics(), HasSubstr("\nsluice_clients_not_allowed_total 1\n"));
  simulation_.network().connect_from("192.0.2.7");
  SmallClient& client = connect("one.example", &Keys::get()[one].alice);
  ask(client);
  EXPECT_THAT(client.statuses, ElementsAre(200));
}

TEST_F(ClustersTest, WhoConnectsToAClustersOwnAddressIsItsClientWhateverItAsksFor) {
  options_.clusters[one].allowed_networks = {*io::Network::parse("192.0.2.0/24")};
  start();
  const io::Address address = *io::Address::parse("10.0.1.9:443");
  server_->worker(0).listen(
      {.descriptor = OwnedDescriptor(io::listen_on(address, {}).value()), .cluster = two});
  for (const char* name : {"two.example", "one.example", "three.example", "10.0.1.9"}) {
    clients_.push_back(std::make_unique<SmallClient>(simulation_.transport(), address,
                                                     tls(&Keys::get()[two].alice), name));
    simulation_.settle();
  }
  // It is shown the certificate of the cluster, and takes it or not.
  EXPECT_TRUE(clients_[0]->connection.established());
  EXPECT_THAT(told(), HasSubstr("\n  cluster two clients=1 "));
  for (std::size_t i = 1; i < clients_.size(); ++i) {
    EXPECT_THAT(clients_[i]->end, Not(HasSubstr("unrecognized_name"))) << i;
  }
  EXPECT_THAT(told(), Not(HasSubstr("cluster one")));
  ask(*clients_[0], "two.example");
  ask(*clients_[0], "one.example");
  EXPECT_THAT(clients_[0]->statuses, ElementsAre(200, 421));
  EXPECT_THAT(metrics(), HasSubstr("\nsluice_clients_not_allowed_total 0\n"));
}

TEST_F(ClustersTest, TheNetworksOfAListenersClusterAreKnownBeforeAnyByteHasCome) {
  options_.clusters[two].allowed_networks = {*io::Network::parse("192.0.2.0/24")};
  start();
  const io::Address address = *io::Address::parse("10.0.1.9:443");
  server_->worker(0).listen(
      {.descriptor = OwnedDescriptor(io::listen_on(address, {}).value()), .cluster = two});
  net::Recorder silent(simulation_.transport());
  silent.connection.connect(address, tls(nullptr), "two.example");
  simulation_.settle();
  EXPECT_TRUE(silent.closed);
  EXPECT_THAT(metrics(), HasSubstr("\nsluice_clients_not_allowed_total 1\n"));
}

TEST_F(ClustersTest, ADrainTellsTheClientsOfAllClusters) {
  start();
  for (const auto& [name, alice] : {std::pair{"one.example", &Keys::get()[one].alice},
                                    {"two.example", &Keys::get()[two].alice}}) {
    ask(connect(name, alice));
  }
  server_->worker(0).drain(10s, 10s);
  simulation_.advance(2s);
  for (const auto& client : clients_) {
    EXPECT_GE(client->goaways, 1);
    EXPECT_TRUE(client->closed);
  }
}

}  // namespace
}  // namespace sluice::server
