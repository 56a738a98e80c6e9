// SPDX-License-Identifier: GPL-3.0-or-later
// Workers as objects: several on one thread, each on a reactor of its own, all in one simulated
// network; listeners are given to them.
#include "worker.h"

#include <gmock/gmock.h>

#include <string>
#include <vector>

#include "deaf_events.h"
#include "scripted_backend.h"
#include "simulation.h"
#include "sluice/io/socket.h"
#include "small_client.h"

namespace sluice::server {
namespace {

using namespace std::chrono_literals;
using testing::ContainsRegex;
using testing::Each;
using testing::ElementsAre;
using testing::EndsWith;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

class WorkerTest : public testing::Test, private DeafEvents {
 protected:
  static constexpr std::size_t workers_max = 2;

  WorkerTest() {
    const io::Address address = *io::Address::parse("10.0.0.1:6443");
    backend_ = std::make_unique<test::ScriptedBackend>(transport(), address);
    backend_->on_request = [](test::ScriptedBackend::Request& request) {
      if (request.head.path.contains("watch=1")) return request.begin(200);
      request.answer(200, "{}");
    };
    const test::ClusterKeys& keys = test::ClusterKeys::get();
    ClusterOptions& cluster = options_.clusters.emplace_back();
    cluster.others = OtherClients::all;
    cluster.backends = {{address, "api-0", "backend"}};
    cluster.tls.certificate_chain_pem = keys.serving.pem();
    cluster.tls.private_key_pem = keys.serving.key_pem();
    cluster.backend_tls.plain.ca_pem = keys.serving_ca.pem();
    tls::ClientOptions& identity = cluster.backend_tls.identity.emplace();
    identity.ca_pem = keys.serving_ca.pem();
    identity.certificate_chain_pem = keys.front_proxy.pem();
    identity.private_key_pem = keys.front_proxy.key_pem();
    options_.cpus.assign(workers_max, -1);
    options_.client_connections_max = 100;
    shared_ = std::move(*Shared::create(options_));
    shared_->cluster(0).backends().backends[0]->health.store(backend::Health::ready);
    client_tls_ = keys.plain_context();
  }

  ~WorkerTest() override {
    for (const auto& client : clients_) {
      if (!client->closed) client->connection.terminate();
    }
    for (const auto& worker : workers_) worker->stop();
    settle();
    for (const auto& worker : workers_) EXPECT_TRUE(worker->stopped());
    workers_.clear();
    clients_.clear();
    backend_->stop();
    settle();
  }

  static io::Address address(std::size_t worker) {
    return *io::Address::parse("10.0.1." + std::to_string(worker + 1) + ":443");
  }

  Result<std::unique_ptr<Worker>> create(std::size_t number) {
    return Worker::create(simulation_.add_reactor(), number, options_.thread.worker,
                          {*shared_, *this, {1, 2}}, number);
  }

  Worker& start_worker() {
    const std::size_t number = workers_.size();
    auto worker = create(number);
    EXPECT_TRUE(worker);
    workers_.push_back(std::move(*worker));
    workers_.back()->listen(
        {.descriptor = OwnedDescriptor(io::listen_on(address(number), {}).value()), .cluster = {}});
    return *workers_.back();
  }

  SmallClient& connect(std::size_t worker) {
    clients_.push_back(std::make_unique<SmallClient>(transport(), address(worker), client_tls_));
    settle();
    return *clients_.back();
  }

  net::Transport& transport() { return simulation_.transport(); }

  void settle() { simulation_.settle(); }
  void advance(Duration duration) { simulation_.advance(duration); }

  void probe_soon(BackendId backend) override { probes_.push_back(backend); }

  test::Simulation simulation_;
  ServerOptions options_;
  std::unique_ptr<Shared> shared_;
  std::unique_ptr<test::ScriptedBackend> backend_;
  std::shared_ptr<const tls::ClientContext> client_tls_;
  std::vector<std::unique_ptr<Worker>> workers_;
  std::vector<std::unique_ptr<SmallClient>> clients_;
  std::vector<BackendId> probes_;
};

TEST_F(WorkerTest, SeveralServeOnOneThreadEachWithItsListenersAndBackendConnections) {
  for (std::size_t i = 0; i < workers_max; ++i) {
    start_worker();
    connect(i).ask("/api/v1/namespaces/a/pods/b");
  }
  settle();
  for (const auto& client : clients_) {
    EXPECT_THAT(client->statuses, ElementsAre(200));
    EXPECT_EQ(client->complete, 1);
  }
  EXPECT_GE(backend_->accepted(), workers_max);
  EXPECT_EQ(shared_->admission.connections.load(), workers_max);
  for (const auto& worker : workers_) worker->publish();
  ClusterMetrics& metrics = shared_->cluster(0).metrics();
  EXPECT_EQ(metrics.registry.total(metrics.proxy.responses.at(1)), workers_max);
  EXPECT_GT(shared_->registry.total(shared_->worker_metrics.turns), 0U);
}

TEST_F(WorkerTest, ADrainTellsClientsEndsWatchesAndStopsByItself) {
  Worker& drained = start_worker();
  start_worker();
  SmallClient& client = connect(0);
  SmallClient& other = connect(1);
  client.ask("/api/v1/pods?watch=1&resourceVersion=5&allowWatchBookmarks=true&timeoutSeconds=99");
  advance(5s);
  EXPECT_THAT(client.statuses, ElementsAre(200));
  drained.drain(10s, 10s);
  settle();
  EXPECT_EQ(client.goaways, 1);
  EXPECT_EQ(client.complete, 0);
  EXPECT_FALSE(drained.stopped());
  advance(10s);
  EXPECT_EQ(client.complete, 1);
  EXPECT_TRUE(client.closed);
  EXPECT_TRUE(drained.stopped());
  // Its neighbour on the same thread has heard nothing of it.
  other.ask("/api/v1/namespaces/a/pods/b");
  settle();
  EXPECT_THAT(other.statuses, ElementsAre(200));
  EXPECT_EQ(other.goaways, 0);
}

TEST_F(WorkerTest, WhoConnectedBeforeTheDrainIsServedThoughNobodyHadAcceptedIt) {
  Worker& worker = start_worker();
  clients_.push_back(std::make_unique<SmallClient>(transport(), address(0), client_tls_));
  simulation_.reactor().turn(false);
  worker.drain(10s, 10s);
  settle();
  EXPECT_TRUE(clients_.back()->connection.established());
  EXPECT_EQ(clients_.back()->goaways, 1);
}

TEST_F(WorkerTest, StopEndsWatchesAndConnectionsAtOnce) {
  Worker& worker = start_worker();
  SmallClient& client = connect(0);
  client.ask("/api/v1/pods?watch=1&resourceVersion=5");
  settle();
  worker.stop();
  settle();
  EXPECT_TRUE(client.closed);
  EXPECT_TRUE(worker.stopped());
}

TEST_F(WorkerTest, ABackendThatRefusesConnectionsIsProbedSoon) {
  backend_->refuse();
  settle();
  start_worker();
  SmallClient& client = connect(0);
  client.ask("/api/v1/namespaces/a/pods/b");
  advance(1s);
  EXPECT_FALSE(probes_.empty());
  EXPECT_THAT(probes_, Each(BackendId{0, 0}));
}

TEST_F(WorkerTest, TellsOfItsBackendsClientsAndRequestsButNotWhatOnlyTheyKnow) {
  Worker& worker = start_worker();
  SmallClient& client = connect(0);
  client.ask("/api/v1/namespaces/default/configmaps?watch=1&resourceVersion=5&note=secret");
  settle();
  const std::string text = worker.describe(64 * 1024);
  EXPECT_THAT(text, StartsWith("worker 0 serving clients=1 exchanges=1\n"));
  EXPECT_THAT(text, HasSubstr("\n  backend api-0 pool=suspect connections=1 ready=1 streams=1\n"));
  EXPECT_THAT(text, ContainsRegex("\n  client connection peer=[^ ]+ descriptor=[0-9]+ "
                                  "state=established\n    http2 server streams=1 "));
  EXPECT_THAT(text, HasSubstr("\n    stream 1 exchange state=forwarding class=watch verb=watch "
                              "resource=configmaps namespace=default backend=api-0 tries=1 age=0"));
  for (const std::string_view secret : {"Bearer", "secret", "resourceVersion"}) {
    EXPECT_THAT(text, Not(HasSubstr(secret)));
  }
}

TEST_F(WorkerTest, TellsNoMoreThanThereIsRoomFor) {
  Worker& worker = start_worker();
  for (int i = 0; i < 20; ++i) connect(0).ask("/api/v1/pods?watch=1&resourceVersion=5");
  settle();
  for (const std::size_t room : {100U, 1000U, 4000U}) {
    const std::string text = worker.describe(room);
    EXPECT_LE(text.size(), room);
    EXPECT_THAT(text, EndsWith("(there is more)\n"));
  }
  EXPECT_THAT(worker.describe(64 * 1024), Not(HasSubstr("(there is more)")));
}

TEST_F(WorkerTest, AKeyThatCannotBeUsedIsAnErrorAndLeavesNothing) {
  options_.clusters[0].backend_tls.identity->private_key_pem = std::string("none");
  shared_ = std::move(*Shared::create(options_));
  const auto worker = create(0);
  ASSERT_FALSE(worker);
  EXPECT_FALSE(worker.error().context.empty());
}

}  // namespace
}  // namespace sluice::server
