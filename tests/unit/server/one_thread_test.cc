// SPDX-License-Identifier: GPL-3.0-or-later
// What control and workers do together.
#include <gmock/gmock.h>

#include <algorithm>
#include <csignal>
#include <set>
#include <string>
#include <utility>

#include "gateway_fixture.h"

namespace sluice::server {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::StartsWith;

class OneThreadTest : public GatewayTest {
 protected:
  OneThreadTest() : GatewayTest(2, 2) {}

  void asked(std::size_t backend, test::ScriptedBackend::Request& request) override {
    if (request.head.path == "/readyz") return request.answer(readiness_[backend], "{}");
    if (request.head.path == "/version") return request.answer(200, "{}");
    ++asked_[backend];
    if (request.head.path.contains("watch=1")) return request.begin(200);
    request.answer(200, "{}");
  }

  std::array<int, 2> readiness_ = {200, 200};
  std::array<int, 2> asked_{};
};

TEST_F(OneThreadTest, ServesBalancesAndLeavesOutABackendThatIsNotReady) {
  for (std::size_t i = 0; i < 20; ++i) {
    connect(i % 2).ask("/api/v1/namespaces/a/pods/b");
    simulation_.settle();
  }
  for (const auto& client : clients_) EXPECT_THAT(client->statuses, ElementsAre(200));
  EXPECT_EQ(asked_[0] + asked_[1], 20);
  EXPECT_GE(std::min(asked_[0], asked_[1]), 5);
  readiness_[0] = 500;
  simulation_.advance(3s);
  const int before = asked_[0];
  for (const auto& client : clients_) client->ask("/api/v1/namespaces/a/pods/b");
  simulation_.settle();
  EXPECT_EQ(asked_[0], before);
  EXPECT_EQ(asked_[0] + asked_[1], 40);
}

// Two requests with one that is unknown would travel on a connection each.
TEST_F(OneThreadTest, ATokenThatOneWorkerHasSeenTakenIsKnownToTheOthers) {
  readiness_[1] = 500;
  simulation_.advance(3s);
  connect(0).ask("/api/v1/namespaces/a/pods/b");
  simulation_.settle();
  std::vector<SmallClient*> clients = {&connect(1), &connect(1)};
  constexpr std::string_view watch = "/api/v1/pods?watch=1&resourceVersion=5";
  for (SmallClient* client : clients) client->ask(watch);
  simulation_.advance(1s);
  std::set<const void*> connections;
  int watches = 0;
  for (const auto* request : backends_[0]->requests()) {
    if (request->head.path != watch) continue;
    connections.insert(request->connection);
    ++watches;
  }
  EXPECT_EQ(watches, 2);
  EXPECT_EQ(connections.size(), 1U);
}

TEST_F(OneThreadTest, ASignalStopsAllOfItInOrder) {
  for (std::size_t i = 0; i < 2; ++i) {
    connect(i).ask(
        "/api/v1/pods?watch=1&resourceVersion=5&allowWatchBookmarks=true&"
        "timeoutSeconds=300");
  }
  simulation_.advance(5s);
  server_->control().signal(SIGTERM);
  simulation_.advance(4900ms);
  for (const auto& client : clients_) EXPECT_EQ(client->goaways, 0);
  connect(0).ask("/api/v1/namespaces/a/pods/b");  // still served
  simulation_.settle();
  EXPECT_THAT(clients_.back()->statuses, ElementsAre(200));
  EXPECT_FALSE(server_->control().workers_gone());
  simulation_.advance(15s);
  EXPECT_TRUE(server_->control().workers_gone());
  for (const auto& client : clients_) {
    EXPECT_GE(client->goaways, 1);
    EXPECT_EQ(client->complete, 1);
    EXPECT_TRUE(client->closed);
  }
  EXPECT_THAT(server_->environment().notified,
              ElementsAre(StartsWith("READY=1\n"), StartsWith("STOPPING=1\n")));
  EXPECT_THAT(server_->environment().abandoned, IsEmpty());
}

}  // namespace
}  // namespace sluice::server
