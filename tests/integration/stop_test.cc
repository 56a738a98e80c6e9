// SPDX-License-Identifier: GPL-3.0-or-later
// The proxy's own end: first not ready, then no new connections, then everything finishes.
#include <fmt/format.h>

#include <algorithm>

#include "eager_client.h"
#include "harness.h"

namespace sluice::test {
namespace {

using StopTest = IntegrationTest;

TEST_F(StopTest, SigtermDrainsInOrderAndWatchesEndCleanlySpreadOverTheWindow) {
  start({"--shutdown-delay-duration=1s", "--drain-timeout=5s"}, {"--pods=20"});
  const auto client = connect(&credentials.alice);
  const auto other = connect();
  const auto watches = open_watches(*client, 40);
  const Clock::time_point told = Clock::now();
  sluice->child().signal(SIGTERM);
  EXPECT_TRUE(sluice->wait_page("/readyz", 503, 2s));
  EXPECT_EQ(sluice->page("/livez").status, 200);
  // During the delay everything is served, newcomers included.
  EXPECT_EQ(client->fetch({.path = std::string(object_path)}).status, 200);
  const auto newcomer = connect();
  ASSERT_TRUE(newcomer->ready());
  EXPECT_EQ(newcomer->fetch({.path = std::string(object_path), .fields = bearer()}).status, 200);
  EXPECT_TRUE(client->goaways().empty());
  apisim->post("/servers/all/set?latency=700ms");
  // Begun before the drain, finished in it.
  std::vector<Http2Client::Id> slow;
  loop->run_until([&] { return Clock::now() - told > 700ms; });
  for (int i = 0; i < 6; ++i)
    slow.push_back(other->ask({.path = std::string(object_path), .fields = bearer()}));
  EXPECT_TRUE(loop->run_until([&] { return !client->goaways().empty(); }, 5s));
  EXPECT_GE(Clock::now() - told, 900ms);
  for (const Http2Client::Id id : slow)
    EXPECT_EQ(other->wait(id).status, 200) << other->answer(id).describe();
  EXPECT_TRUE(loop->run_until(
      [&] {
        return std::ranges::all_of(watches, [&](auto id) { return client->answer(id).over; });
      },
      10s));
  Clock::time_point first = Clock::time_point::max();
  Clock::time_point last{};
  for (const Http2Client::Id id : watches) {
    const Answer& answer = client->answer(id);
    EXPECT_EQ(answer.ending, Ending::end_stream) << answer.describe();
    EXPECT_GE(answer.ended_at - answer.head_at, 2s - client_clock_slack);
    first = std::min(first, answer.ended_at);
    last = std::max(last, answer.ended_at);
  }
  EXPECT_GE(last - first, 1500ms);
  EXPECT_LE(last - told, 1s + 5s + 500ms);
  // Twice: first with the highest possible id, then with the last that is answered.
  ASSERT_EQ(client->goaways().size(), 2U);
  EXPECT_EQ(client->goaways()[0].first, 0x7fffffff);
  EXPECT_LT(client->goaways()[1].first, 0x7fffffff);
  for (const auto& [id, code] : client->goaways()) EXPECT_EQ(code, http2::ErrorCode::no_error);
  EXPECT_TRUE(sluice->child().wait_exit(8s));
  EXPECT_EQ(sluice->child().exit_code(), 0) << sluice->child().log();
}

TEST_F(StopTest, NoWatchIsSilentBeforeItsEnd) {
  start({"--shutdown-delay-duration=0s", "--drain-timeout=8s"}, {"--pods=20", "--event-rate=50"});
  const auto client = connect(&credentials.alice);
  const auto watches = open_watches(*client, 20);
  loop->run_for(2s);
  sluice->child().signal(SIGTERM);
  EXPECT_TRUE(loop->run_until(
      [&] {
        return std::ranges::all_of(watches, [&](auto id) { return client->answer(id).over; });
      },
      12s));
  for (const Http2Client::Id id : watches) {
    const Answer& answer = client->answer(id);
    EXPECT_EQ(answer.ending, Ending::end_stream) << answer.describe();
    EXPECT_LE(answer.ended_at - answer.last_byte_at, 500ms) << answer.describe();
  }
}

TEST_F(StopTest, AWatchThatIsStillInItsFirstBurstIsResetWhenTheWindowIsOver) {
  start({"--drain-timeout=3s"}, {"--pods=500", "--pod-bytes=4000"});
  const auto client = connect(&credentials.alice);
  const auto id =
      client->ask({.path = "/api/v1/pods?watch=1&allowWatchBookmarks=true&timeoutSeconds=300&"
                           "sendInitialEvents=true&resourceVersionMatch=NotOlderThan",
                   .reads = false});
  ASSERT_EQ(client->wait_head(id).status, 200);
  loop->run_until([&] { return client->answer(id).bytes >= 60'000; });
  const Clock::time_point told = Clock::now();
  sluice->child().signal(SIGTERM);
  EXPECT_TRUE(loop->run_until([&] { return client->answer(id).over; }, 15s));
  EXPECT_EQ(client->answer(id).ending, Ending::reset) << client->answer(id).describe();
  EXPECT_GE(client->answer(id).ended_at - told, 3s - client_clock_slack);
  EXPECT_TRUE(sluice->child().wait_exit(8s));
  EXPECT_EQ(sluice->child().exit_code(), 0);
}

TEST_F(StopTest, WithoutStreamsItEndsSoonAfterTheDelay) {
  start({"--shutdown-delay-duration=500ms", "--drain-timeout=60s"});
  const auto client = connect(&credentials.alice);
  EXPECT_EQ(client->fetch({.path = std::string(object_path)}).status, 200);
  const Clock::time_point told = Clock::now();
  sluice->child().signal(SIGINT);
  loop->run_until([&] { return sluice->child().exit_code().has_value(); }, 15s);
  EXPECT_EQ(sluice->child().exit_code(), 0);
  EXPECT_GE(Clock::now() - told, 400ms);
  EXPECT_LE(Clock::now() - told, 8s);
}

// Asks without a pause, and after a GOAWAY on a new connection, as client-go does.
class BusyClient {
 public:
  std::unique_ptr<Http2Client> connection;

  // Takes what was answered, and asks for more.
  void turn() {
    for (const Http2Client::Id id : connection->take_over()) {
      const Answer& answer = connection->answer(id);
      if (answer.status == 200 && answer.whole()) {
        ++good;
      } else if (answer.ending != Ending::never_sent) {
        ++bad;
        ADD_FAILURE() << answer.describe();
      }
      --running;
    }
    for (; running < 8 && connection->can_ask(); ++running) {
      connection->ask({.path = std::string(object_path)});
    }
  }
  // What was asked is answered, and nothing more can be.
  bool done() const { return running == 0 && !connection->can_ask(); }

  std::size_t running = 0;
  std::size_t good = 0;
  std::size_t bad = 0;
};

TEST_F(StopTest, NobodyIsRefusedWhileItDrainsWhoHasConnectedBefore) {
  start({"--shutdown-delay-duration=500ms", "--drain-timeout=4s"}, {"--latency=5ms"});
  std::vector<BusyClient> clients(4);
  for (BusyClient& client : clients) client.connection = connect(&credentials.alice);
  const Clock::time_point told = Clock::now();
  sluice->child().signal(SIGTERM);
  std::size_t served = clients.size();  // connections
  // To the very end: until nobody listens any more.
  while (!clients.empty() && Clock::now() - told < 10s) {
    for (BusyClient& client : clients) {
      client.turn();
      if (!client.done()) continue;
      EXPECT_FALSE(client.connection->goaways().empty());
      client.connection = connect(&credentials.alice);
      served += client.connection->ready();
    }
    std::erase_if(clients, [](const BusyClient& client) {
      if (client.connection->ready() || client.running > 0) return false;
      EXPECT_GT(client.good, 10U);
      EXPECT_EQ(client.bad, 0U);
      return true;
    });
    loop->run_for(1ms);
  }
  EXPECT_TRUE(clients.empty());
  EXPECT_GE(Clock::now() - told, 500ms - client_clock_slack);
  EXPECT_EQ(sluice->child().exit_code().value_or(0), 0);
  RecordProperty("connections", static_cast<int>(served));
}

TEST_F(StopTest, AStalledWatchIsEndedByGoawayAndFinNeverByReset) {
  start({"--drain-timeout=2s"}, {"--pods=50", "--pod-bytes=4000", "--event-rate=200"});
  const auto client = connect(&credentials.alice);
  const auto id = client->ask({.path = "/api/v1/pods?watch=1&resourceVersion=" +
                                       apisim->get("/counters").find("revision")->to_string(),
                               .reads = false});
  ASSERT_EQ(client->wait_head(id).status, 200);
  loop->run_until([&] { return client->answer(id).bytes >= 60'000; });
  sluice->child().signal(SIGTERM);
  EXPECT_TRUE(loop->run_until([&] { return client->answer(id).over; }, 10s));
  EXPECT_EQ(client->answer(id).ending, Ending::connection_closed) << client->answer(id).describe();
  EXPECT_FALSE(client->goaways().empty());
  EXPECT_TRUE(sluice->child().wait_exit(8s));
  EXPECT_EQ(sluice->child().exit_code(), 0);
}

TEST_F(StopTest, ItEndsThoughClientsKeepConnecting) {
  start({"--drain-timeout=0s"});
  const auto tls = client_tls(&credentials.alice, &credentials.gateway_ca);
  FrameWriter frames;
  begin_frames(frames).headers(1, hpack_get(object_path));
  std::vector<std::unique_ptr<EagerClient>> clients;
  const Clock::time_point begin = Clock::now();
  std::optional<Clock::time_point> told;
  while (!sluice->child().exit_code() && Clock::now() - begin < 15s) {
    if (!told && Clock::now() - begin > 300ms) {
      told = Clock::now();
      sluice->child().signal(SIGTERM);
    }
    for (int i = 0; i < 50 && clients.size() < 5000; ++i) {
      clients.push_back(
          std::make_unique<EagerClient>(*loop, sluice->address(), tls, frames.text()));
    }
    loop->run_for(1ms);
  }
  EXPECT_EQ(sluice->child().exit_code(), 0);
  ASSERT_TRUE(told);
  EXPECT_LE(Clock::now() - *told, 5s);
}

TEST_F(StopTest, ASecondSignalEndsAtOnce) {
  start({"--shutdown-delay-duration=20s", "--drain-timeout=60s"});
  const auto client = connect(&credentials.alice);
  open_watches(*client, 10);
  sluice->child().signal(SIGTERM);
  EXPECT_TRUE(sluice->wait_page("/readyz", 503, 5s));
  const Clock::time_point told = Clock::now();
  sluice->child().signal(SIGTERM);
  loop->run_until([&] { return sluice->child().exit_code().has_value(); }, 10s);
  ASSERT_TRUE(sluice->child().exit_code().has_value());
  EXPECT_LE(Clock::now() - told, 1s + client_clock_slack * 3);
}

TEST_F(StopTest, ASecondSignalDuringTheDrainEndsAtOnceToo) {
  start({"--drain-timeout=60s"});
  const auto client = connect(&credentials.alice);
  open_watches(*client, 10);
  sluice->child().signal(SIGTERM);
  EXPECT_TRUE(loop->run_until([&] { return !client->goaways().empty(); }, 5s));
  const Clock::time_point told = Clock::now();
  sluice->child().signal(SIGINT);
  loop->run_until([&] { return sluice->child().exit_code().has_value(); }, 10s);
  ASSERT_TRUE(sluice->child().exit_code().has_value());
  EXPECT_LE(Clock::now() - told, 1s + client_clock_slack * 3);
}

TEST_F(StopTest, SighupReadsTheSameAgainAndChangesNothing) {
  start();
  const auto client = connect(&credentials.alice);
  const auto watches = open_watches(*client, 3);
  sluice->child().signal(SIGHUP);
  EXPECT_TRUE(eventually(
      [&] { return sluice->metric("sluice_config_reloads_total", {"result=\"taken_over\""}) == 1; },
      10s));
  for (int i = 0; i < 20; ++i)
    EXPECT_EQ(client->fetch({.path = std::string(object_path)}).status, 200);
  EXPECT_EQ(sluice->page("/readyz").status, 200);
  for (const Http2Client::Id id : watches) EXPECT_FALSE(client->answer(id).over);
  EXPECT_FALSE(sluice->child().exit_code().has_value());
}

TEST_F(StopTest, ItEndsEvenBeforeAnyBackendWasSeen) {
  start_apisim();
  apisim->post("/servers/all/freeze");
  start_sluice({.wait_ready = false});
  EXPECT_TRUE(eventually([&] { return sluice->page("/livez").status == 200; }, 10s));
  sluice->child().signal(SIGTERM);
  EXPECT_TRUE(sluice->child().wait_exit(8s));
  EXPECT_EQ(sluice->child().exit_code(), 0);
}

}  // namespace
}  // namespace sluice::test
