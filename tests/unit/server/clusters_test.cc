// SPDX-License-Identifier: GPL-3.0-or-later
// Two clusters in one process: each client finds its own, and nothing of one counts in the other.
#include <fmt/format.h>
#include <gmock/gmock.h>

#include <array>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "../net/recorder.h"
#include "small_client.h"
#include "whole_server.h"

namespace sluice::server {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

constexpr std::string_view review_path = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
constexpr std::string_view pod = "/api/v1/namespaces/a/pods/b";
constexpr std::size_t one = 0;
constexpr std::size_t two = 1;

// What each of the clusters has for itself.
struct Keys {
  explicit Keys(const std::string& name)
      : gateway_ca(test::make_ca("gateway-" + name)),
        gateway(test::issue_server(gateway_ca,
                                   {name + ".example", "x." + name + ".example", "10.0.1.1"})),
        client_ca(test::make_ca("clients-" + name)),
        alice(test::issue_client(client_ca, "alice", {name})) {}
  test::Certificate gateway_ca, gateway, client_ca, alice;

  static const std::array<Keys, 2>& get() {
    static const std::array<Keys, 2> keys{Keys("one"), Keys("two")};
    return keys;
  }
};

class ClustersTest : public testing::Test {
 protected:
  ClustersTest() {
    options_ = WholeServer::options(1, 2);
    options_.clusters.clear();
    add_cluster("one");
    add_cluster("two");
    options_.clusters[one].others = OtherClients::unnamed;
    options_.reserved_names = {"broken.example"};
  }
  ~ClustersTest() override {
    for (const auto& client : clients_) {
      if (!client->closed) client->connection.terminate();
    }
    for (const auto& client : http1_clients_) {
      if (!client->closed) client->connection.terminate();
    }
    if (server_ != nullptr) {
      server_->stop();
      simulation_.settle();
      EXPECT_TRUE(server_->stopped());
    }
    server_.reset();
    clients_.clear();
    http1_clients_.clear();
    for (const auto& backend : backends_) backend->stop();
    simulation_.settle();
  }

  void add_cluster(const std::string& name) {
    const std::size_t number = options_.clusters.size();
    const Keys& keys = Keys::get().at(number);
    const test::ClusterKeys& shared = test::ClusterKeys::get();
    ClusterOptions& cluster = options_.clusters.emplace_back();
    cluster.name = name;
    cluster.server_names = {name + ".example", "*." + name + ".example"};
    cluster.backends = {{WholeServer::backend_address(number), "api-0", "backend"}};
    cluster.tls.certificate_chain_pem = keys.gateway.pem();
    cluster.tls.private_key_pem = keys.gateway.key_pem();
    cluster.tls.client_ca_pem = keys.client_ca.pem();
    cluster.tls.alpn = {"h2", "http/1.1"};
    cluster.backend_tls.plain.ca_pem = shared.serving_ca.pem();
    cluster.proxy.vouches_for_identity = true;
    tls::ClientOptions& identity = cluster.backend_tls.identity.emplace(cluster.backend_tls.plain);
    identity.certificate_chain_pem = shared.front_proxy.pem();
    identity.private_key_pem = shared.front_proxy.key_pem();
    backends_.push_back(std::make_unique<test::ScriptedBackend>(
        simulation_.transport(), WholeServer::backend_address(number)));
    backends_[number]->on_request = [this, number](test::ScriptedBackend::Request& request) {
      asked(number, request);
    };
  }

  void asked(std::size_t cluster, test::ScriptedBackend::Request& request) {
    const std::string user = request.field("x-remote-user");
    if (request.head.path == "/readyz") {
      ++probes_[cluster];
      last_probe_[cluster] = request.connection;
      if (readiness_[cluster] != 0) request.answer(readiness_[cluster], "ok");
      return;
    }
    if (request.head.path == review_path) {
      if (user.empty()) return request.answer(401);
      return request.answer(
          201, fmt::format(R"({{"status":{{"userInfo":{{"username":"{}"}}}}}})", user));
    }
    seen_[cluster].push_back(user.empty() ? request.field("authorization") : user);
    request.answer(200, "{}");
  }

  void start() {
    server_ = std::make_unique<WholeServer>(simulation_, options_);
    simulation_.settle();
    ASSERT_TRUE(server_->control().may_open());
    server_->open();
  }

  // Who believes both clusters' gateways.
  static std::shared_ptr<const tls::ClientContext> tls(const test::Certificate* certificate,
                                                       std::vector<std::string> alpn = {"h2"}) {
    tls::ClientOptions options{
        .ca_pem = Keys::get()[one].gateway_ca.pem() + Keys::get()[two].gateway_ca.pem(),
        .certificate_chain_pem = {},
        .private_key_pem = {},
        .alpn = std::move(alpn)};
    if (certificate != nullptr) {
      options.certificate_chain_pem = certificate->pem();
      options.private_key_pem = certificate->key_pem();
    }
    return std::move(*tls::ClientContext::create(options));
  }

  SmallClient& connect(std::string_view name, const test::Certificate* certificate = nullptr,
                       std::size_t worker = 0) {
    return connect(name, tls(certificate), worker);
  }
  SmallClient& connect(std::string_view name, std::shared_ptr<const tls::ClientContext> context,
                       std::size_t worker = 0) {
    clients_.push_back(std::make_unique<SmallClient>(
        simulation_.transport(), WholeServer::address(worker), std::move(context), name));
    clients_.back()->token = "";
    simulation_.settle();
    return *clients_.back();
  }
  void ask(SmallClient& client, std::string_view authority = "kubernetes") {
    client.ask(pod, authority);
    simulation_.settle();
  }

  net::Recorder& connect_http1(std::string_view name) {
    http1_clients_.push_back(std::make_unique<net::Recorder>(simulation_.transport()));
    http1_clients_.back()->connection.connect(WholeServer::address(0), tls(nullptr, {"http/1.1"}),
                                              name);
    simulation_.settle();
    return *http1_clients_.back();
  }
  // What comes back, with its head.
  std::string ask_http1(net::Recorder& client, std::string_view host) {
    client.received.clear();
    client.send(
        fmt::format("GET {} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer t\r\n\r\n", pod, host));
    simulation_.settle();
    return client.received;
  }

  std::string told(std::size_t worker = 0) { return server_->worker(worker).describe(64 * 1024); }
  std::string metrics() {
    for (std::size_t i = 0; i < 2; ++i) server_->worker(i).publish();
    return server_->shared().render_metrics();
  }

  test::Simulation simulation_;
  ServerOptions options_;
  std::array<int, 2> readiness_ = {200, 200};  // 0: no answer
  std::array<int, 2> probes_{};
  std::array<test::ScriptedBackend::Connection*, 2> last_probe_{};
  std::array<std::vector<std::string>, 2> seen_;  // users, or credentials
  std::vector<std::unique_ptr<test::ScriptedBackend>> backends_;
  std::unique_ptr<WholeServer> server_;
  std::vector<std::unique_ptr<SmallClient>> clients_;
  std::vector<std::unique_ptr<net::Recorder>> http1_clients_;
};

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
  const Shared::Clusters& clusters = server_->shared().clusters;
  EXPECT_TRUE(clusters[one]->status.any_usable());
  EXPECT_FALSE(clusters[two]->status.any_usable());
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
  EXPECT_TRUE(server_->shared().clusters[two]->status.any_usable());
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
  server_->worker(0).listen(io::listen_on(address, {}).value(), two);
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
  server_->worker(0).listen(io::listen_on(address, {}).value(), two);
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
