// SPDX-License-Identifier: GPL-3.0-or-later
// API servers that fail, one or all, as their clients see it: how soon one is left out, and how
// soon all is well when they are back. Minutes take no time.
#include <algorithm>
#include <array>
#include <charconv>
#include <functional>
#include <string>
#include <utility>

#include "gateway_fixture.h"

namespace sluice::server {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t backends = 3;
constexpr std::size_t workers = 2;
constexpr std::string_view pod = "/api/v1/namespaces/a/pods/b";

class OutageTest : public GatewayTest {
 protected:
  OutageTest() : GatewayTest(backends, workers) {}

  void SetUp() override {
    GatewayTest::SetUp();
    connect_all();
    for (std::size_t i = 0; i < 4 * backends; ++i) EXPECT_EQ(ask(), 200);
    simulation_.advance(3s);
  }
  void TearDown() override {
    for (const auto& server : backends_) server->mute = false;
    GatewayTest::TearDown();
  }

  void asked(std::size_t backend, test::ScriptedBackend::Request& request) override {
    if (breaks_.at(backend)) return request.connection->drop();
    if (request.head.path == "/readyz") return request.answer(readiness_.at(backend), "{}");
    request.answer(200, "{}");
  }

  void connect_all() {
    for (std::size_t i = 0; i < workers; ++i) connect(i);
  }

  // What a request is answered without any time passing; 0: nothing yet. By turns at each worker.
  int ask() {
    SmallClient& client = *clients_[asked_++ % clients_.size()];
    const std::size_t before = client.statuses.size();
    client.ask(pod);
    simulation_.settle();
    return client.statuses.size() > before ? client.statuses.back() : 0;
  }

  // The sum of a metric's samples.
  double metric(std::string_view name) {
    const std::string page = server_->shared().render_metrics();
    double sum = 0;
    for (std::size_t at = page.find(name); at != std::string::npos; at = page.find(name, at + 1)) {
      const char after = page[at + name.size()];
      if (page[at - 1] != '\n' || (after != '{' && after != ' ')) continue;
      const std::size_t end = page.find('\n', at);
      const std::size_t begin = page.rfind(' ', end) + 1;
      double value = 0;
      std::from_chars(page.data() + begin, page.data() + end, value);
      sum += value;
    }
    return sum;
  }

  std::array<int, backends> readiness_ = {200, 200, 200};
  std::array<bool, backends> breaks_{};
  std::size_t asked_ = 0;
};

TEST_F(OutageTest, AfterAMinuteWithoutServersTheFirstThatIsBackServesWithinTwoSeconds) {
  for (const auto& server : backends_) server->stop();
  const auto first = std::exchange(clients_, {});
  connect_all();
  for (int i = 0; i < 10; ++i) {
    ask();
    simulation_.advance(100ms);
  }
  // Who asked first has waited for connections that nobody could know to be in vain.
  for (const auto& client : clients_) EXPECT_EQ(client->statuses.size(), 5U);
  constexpr int seconds = 60;
  const double connects = metric("sluice_backend_connects_total");
  for (int second = 0; second < seconds; ++second) {
    for (std::size_t i = 0; i < workers; ++i) EXPECT_EQ(ask(), 503) << second;
    simulation_.advance(1s);
  }
  EXPECT_LE(metric("sluice_backend_connects_total") - connects, 2.0 * seconds * backends);
  EXPECT_EQ(metric("sluice_exchanges"), 0.0);

  const std::size_t accepted = backends_[1]->accepted();
  backends_[1]->listen();
  const Instant back = simulation_.now();
  int status = 0;
  for (; status != 200 && simulation_.now() < back + 10s; status = ask()) {
    simulation_.advance(20ms);
  }
  for (const auto& client : first) client->connection.terminate();
  EXPECT_EQ(status, 200);
  EXPECT_LE(simulation_.now() - back, 2s) << (simulation_.now() - back) / 1ms;
  // Each worker's pool, the probe, and what it asks beside /readyz: nobody comes in a crowd.
  simulation_.advance(2s);
  EXPECT_LE(backends_[1]->accepted() - accepted, 2 * workers + 3);
}

// By how it fails.
struct Failure {
  std::string name;
  std::function<void(test::ScriptedBackend&, int& readiness, bool& breaks)> begin;
};

class FailingServerTest : public OutageTest, public testing::WithParamInterface<Failure> {};

TEST_P(FailingServerTest, IsLeftOutWithinFiveSecondsAndCostsNoReadAnAnswer) {
  GetParam().begin(*backends_[0], readiness_[0], breaks_[0]);
  for (const Instant end = simulation_.now() + 5s; simulation_.now() < end;) {
    ask();
    simulation_.advance(100ms);
  }
  // From now on nobody waits.
  const auto early = std::exchange(clients_, {});
  connect_all();
  for (int i = 0; i < 100; ++i) {
    EXPECT_EQ(ask(), 200) << i;
    simulation_.advance(100ms);
  }
  // Who had asked before is answered by others.
  constexpr int seconds = 60;
  const double connects = metric("sluice_backend_connects_total");
  simulation_.advance(std::chrono::seconds(seconds));
  EXPECT_LE(metric("sluice_backend_connects_total") - connects, 2.0 * seconds);
  std::size_t answered = 0;
  for (const auto& client : early) {
    answered += client->statuses.size();
    EXPECT_EQ(std::ranges::count(client->statuses, 200), std::ssize(client->statuses));
    client->connection.terminate();
  }
  EXPECT_EQ(answered + 100, asked_);
  simulation_.settle();
}

INSTANTIATE_TEST_SUITE_P(
    Ways, FailingServerTest,
    testing::Values(
        Failure{"Dies", [](auto& server, int&, bool&) { server.stop(); }},
        Failure{"FallsSilent", [](auto& server, int&, bool&) { server.mute = true; }},
        Failure{"SaysItIsNotReady", [](auto&, int& readiness, bool&) { readiness = 500; }},
        Failure{"BreaksItsConnections", [](auto&, int&, bool& breaks) { breaks = true; }}),
    [](const auto& test) { return test.param.name; });

}  // namespace
}  // namespace sluice::server
