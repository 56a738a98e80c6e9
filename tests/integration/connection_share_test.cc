// SPDX-License-Identifier: GPL-3.0-or-later
// Nobody pays for a stranger's connections: one that holds all it gets, and one that begins
// handshakes as fast as it can, with an honest client beside.
#include <fmt/format.h>
#include <sys/resource.h>

#include <algorithm>
#include <string>
#include <vector>

#include "harness.h"
#include "hello_flood.h"

namespace sluice::test {
namespace {

// Where strangers come from; everybody else from 127.0.0.1.
constexpr std::string_view elsewhere = "127.0.0.2";

class ConnectionShareTest : public IntegrationTest {
 protected:
  using Strangers = std::vector<std::unique_ptr<RawClient>>;

  // Says nothing at all.
  std::unique_ptr<RawClient> silent(std::string_view source = elsewhere) {
    return std::make_unique<RawClient>(sluice->address(), nullptr, false, source);
  }
  // Makes its handshake, begins HTTP/2, and says no more.
  std::unique_ptr<RawClient> idle(std::string_view source = elsewhere) {
    auto stranger = std::make_unique<RawClient>(sluice->address(), tls, true, source);
    if (stranger->established()) stranger->begin_http2();
    return stranger;
  }
  static std::size_t open(const Strangers& strangers) {
    std::size_t count = 0;
    for (const auto& stranger : strangers) {
      stranger->read_until([] { return false; }, 1ms);
      count += stranger->end() == RawClient::End::open ? 1U : 0U;
    }
    return count;
  }
  double exceeded(std::string_view share) {
    return sluice->metric("sluice_client_share_exceeded_total", {fmt::format("\"{}\"", share)});
  }
  bool logged(std::string_view text) {
    return eventually([&] { return sluice->child().log().contains(text); }, 5s);
  }
  std::size_t lines(std::string_view text) {
    const std::string log = sluice->child().log();
    std::size_t count = 0;
    for (std::size_t at = 0; (at = log.find(text, at)) != std::string::npos; ++at) ++count;
    return count;
  }
  // In this process, and in those that it starts.
  static bool allow_descriptors(rlim_t count) {
    rlimit limit{};
    ::getrlimit(RLIMIT_NOFILE, &limit);
    if (limit.rlim_cur >= count) return true;
    limit.rlim_cur = std::min(count, limit.rlim_max);
    return limit.rlim_cur == count && ::setrlimit(RLIMIT_NOFILE, &limit) == 0;
  }
  // The time of a handshake and a GET; nothing when it failed.
  Duration fresh_get() {
    const Clock::time_point began = Clock::now();
    const auto client = connect(&credentials.alice);
    if (!client->ready()) return Duration::max();
    const Answer& answer = client->fetch({.path = std::string(object_path)});
    return answer.status == 200 ? Duration(Clock::now() - began) : Duration::max();
  }
  void record(const std::string& name, std::vector<Duration> times) {
    std::ranges::sort(times);
    const auto ms = [](Duration d) {
      return d == Duration::max() ? std::string("failed")
                                  : fmt::format("{:.1f}", to_seconds(d) * 1000);
    };
    RecordProperty(name, fmt::format("median {} ms, slowest {} ms of {}",
                                     ms(times[times.size() / 2]), ms(times.back()), times.size()));
    fmt::print("{}: median {} ms, slowest {} ms of {}\n", name, ms(times[times.size() / 2]),
               ms(times.back()), times.size());
  }

  const std::shared_ptr<const tls::ClientContext> tls = client_tls();
};

TEST_F(ConnectionShareTest, AnAddressGetsItsShareInAllWorkersTogetherAndNoMore) {
  constexpr std::size_t share = 20;
  start({"--workers=2", fmt::format("--connections-per-address={}", share)});
  const auto honest = connect(&credentials.alice);
  Strangers strangers;
  for (std::size_t i = 0; i < share; ++i) strangers.push_back(silent());
  loop->run_for(200ms);
  EXPECT_EQ(open(strangers), share);
  EXPECT_EQ(exceeded("address"), 0.0);
  for (std::size_t i = 0; i < share; ++i) strangers.push_back(silent());
  for (std::size_t i = share; i < strangers.size(); ++i) EXPECT_TRUE(strangers[i]->wait_end(2s));
  EXPECT_EQ(open(strangers), share);
  EXPECT_TRUE(eventually([&] { return exceeded("address") == share; }, 5s));
  EXPECT_TRUE(logged("share=address client=127.0.0.2:"));
  // Not for each of them: one line in a second, of each worker.
  EXPECT_LE(lines("share=address"), 4U);
  EXPECT_EQ(honest->fetch({.path = std::string(object_path)}).status, 200);
  EXPECT_LE(fresh_get(), 1s);
  strangers.clear();
  EXPECT_TRUE(eventually(
      [&] {
        Strangers again;
        again.push_back(silent());
        return !again[0]->wait_end(100ms);
      },
      5s));
}

TEST_F(ConnectionShareTest, AnIdentityIsToldToGoAboveItsShareAndOthersAreNot) {
  constexpr std::size_t share = 5;
  start({"--workers=2", fmt::format("--connections-per-identity={}", share)});
  std::vector<std::unique_ptr<Http2Client>> clients;
  for (std::size_t i = 0; i < share; ++i) {
    clients.push_back(connect(&credentials.alice));
    EXPECT_EQ(clients.back()->fetch({.path = std::string(object_path)}).status, 200);
  }
  EXPECT_EQ(exceeded("identity"), 0.0);
  const auto refused = connect(&credentials.alice);
  EXPECT_TRUE(eventually([&] { return refused->ended(); }, 5s));
  ASSERT_EQ(refused->goaways().size(), 1U);
  EXPECT_EQ(refused->goaways()[0].first, 0);
  EXPECT_EQ(refused->goaways()[0].second, http2::ErrorCode::enhance_your_calm);
  EXPECT_EQ(refused->end().kind, ErrorKind::closed);
  EXPECT_TRUE(eventually([&] { return exceeded("identity") == 1; }, 5s));
  EXPECT_TRUE(logged("share=identity client=127.0.0.1:"));
  EXPECT_TRUE(logged("user=alice"));
  const auto bob = connect(&credentials.bob);
  EXPECT_EQ(bob->fetch({.path = std::string(object_path)}).status, 200);
  const auto token = connect();
  EXPECT_EQ(token->fetch({.path = std::string(object_path), .fields = bearer()}).status, 200);
  for (const auto& client : clients) {
    EXPECT_EQ(client->fetch({.path = std::string(object_path)}).status, 200);
  }
  clients.pop_back();
  EXPECT_TRUE(eventually(
      [&] {
        const auto again = connect(&credentials.alice);
        return again->fetch({.path = std::string(object_path)}).status == 200;
      },
      5s));
}

TEST_F(ConnectionShareTest, StrangersThatHoldAllPlacesMakeRoomForAnHonestClient) {
  start({"--workers=2", "--client-connections-max=64"});
  const auto watcher = connect(&credentials.alice);
  const auto watches = open_watches(*watcher, 3);
  const auto resting = connect(&credentials.alice);
  Strangers strangers;
  for (int i = 0; i < 100; ++i) strangers.push_back(i % 2 == 0 ? idle() : silent());
  std::vector<Duration> times;
  for (int i = 0; i < 20; ++i) {
    times.push_back(fresh_get());
    for (int k = 0; k < 10; ++k) strangers.push_back(silent());
  }
  EXPECT_LE(*std::ranges::max_element(times), 2s);
  record("fresh_get", times);
  EXPECT_GT(exceeded("room"), 0.0);
  EXPECT_LE(sluice->metric("sluice_client_connections"), 64.0);
  // Whose identity is proven has lost nothing, idle or not.
  EXPECT_FALSE(watcher->ended() || resting->ended());
  for (const auto id : watches) EXPECT_FALSE(watcher->answer(id).over);
  EXPECT_EQ(resting->fetch({.path = std::string(object_path)}).status, 200);
}

TEST_F(ConnectionShareTest, AStrangerThatHoldsThousandsDelaysNobody) {
  constexpr std::size_t places = 4000;
  if (!allow_descriptors(2 * places)) GTEST_SKIP() << "this needs more descriptors";
  start({"--workers=2", fmt::format("--client-connections-max={}", places)});
  Strangers strangers;
  for (std::size_t i = 0; i < places + 500; ++i) strangers.push_back(silent());
  std::vector<Duration> times;
  for (int i = 0; i < 10; ++i) times.push_back(fresh_get());
  record("fresh_get_beside_thousands", times);
  EXPECT_LE(*std::ranges::max_element(times), 2s);
  EXPECT_GT(exceeded("room"), 0.0);
}

TEST_F(ConnectionShareTest, WithoutShortageIdleStrangersStay) {
  start({"--workers=2", "--client-connections-max=64"});
  Strangers strangers;
  for (int i = 0; i < 50; ++i) strangers.push_back(idle());
  loop->run_for(1s);
  EXPECT_EQ(open(strangers), 50U);
  EXPECT_EQ(exceeded("room"), 0.0);
  EXPECT_LE(fresh_get(), 1s);
}

// When it grows, whoever opens one descriptor too many stands still for 10 to 20 ms.
TEST_F(ConnectionShareTest, TheTableOfDescriptorsDoesNotGrowWithConnections) {
  start({"--workers=2"});
  const std::size_t before = sluice->child().descriptor_table_size();
  Strangers strangers;
  for (int i = 0; i < 300; ++i) strangers.push_back(idle());
  EXPECT_LE(fresh_get(), 1s);
  EXPECT_EQ(open(strangers), 300U);
  EXPECT_GE(before, 300U);
  EXPECT_EQ(sluice->child().descriptor_table_size(), before);
}

// Of those who are idle and proven some are told to go, with a GOAWAY.
TEST_F(ConnectionShareTest, WhenOnlyProvenClientsAreIdleSomeOfTheseMakeRoomInOrder) {
  start({"--client-connections-max=20"});
  std::vector<std::unique_ptr<Http2Client>> clients;
  for (int i = 0; i < 20; ++i) {
    clients.push_back(connect(&credentials.alice));
    EXPECT_TRUE(clients.back()->ready());
  }
  EXPECT_TRUE(eventually([&] { return exceeded("room") > 0; }, 5s));
  for (int i = 0; i < 10; ++i) EXPECT_LE(fresh_get(), 2s);
  for (const auto& client : clients) {
    if (!client->ended()) continue;
    ASSERT_FALSE(client->goaways().empty());
    EXPECT_EQ(client->goaways().back().second, http2::ErrorCode::no_error);
    EXPECT_EQ(client->end().kind, ErrorKind::closed);
  }
}

TEST_F(ConnectionShareTest, APlaceThatBusyClientsLeaveIsGivenToWhoWaits) {
  start({"--client-connections-max=40"});
  std::vector<std::unique_ptr<Http2Client>> busy;
  for (int i = 0; i < 40; ++i) {
    busy.push_back(connect(&credentials.alice));
    open_watches(*busy.back(), 1);
  }
  for (int i = 0; i < 3; ++i) {
    busy.pop_back();
    EXPECT_LE(fresh_get(), 2s);
    busy.push_back(connect(&credentials.alice));
    open_watches(*busy.back(), 1);
  }
  EXPECT_EQ(exceeded("room"), 0.0);
}

// Its ClientHellos cost it nothing.
TEST_F(ConnectionShareTest, AFloodOfHandshakesFromOneAddressDoesNotDelayThoseFromOthers) {
  start({"--workers=2"});
  const auto established = connect(&credentials.alice);
  std::vector<Duration> alone, fresh, asked;
  for (int i = 0; i < 10; ++i) alone.push_back(fresh_get());
  {
    const HelloFlood flood(sluice->address(), {std::string(elsewhere)}, 3000, client_hello(tls));
    loop->run_for(1s);
    const std::uint64_t before = flood.answered();
    const Clock::time_point began = Clock::now();
    for (int i = 0; i < 20; ++i) {
      fresh.push_back(fresh_get());
      const Clock::time_point ask = Clock::now();
      EXPECT_EQ(established->fetch({.path = std::string(object_path)}).status, 200);
      asked.emplace_back(Clock::now() - ask);
    }
    // It is served all the same, and waits for itself.
    EXPECT_GT(flood.answered(), before);
    RecordProperty("flood_per_second",
                   std::to_string(static_cast<double>(flood.answered() - before) /
                                  to_seconds(Clock::now() - began)));
    EXPECT_EQ(exceeded("handshakes"), 0.0);
  }
  record("fresh_get_alone", alone);
  record("fresh_get_beside_a_flood", fresh);
  record("get_beside_a_flood", asked);
  EXPECT_LE(*std::ranges::max_element(fresh), 2s);
}

// Strangers from many addresses have one of five turns together.
TEST_F(ConnectionShareTest, AFloodFromManyAddressesDoesNotDelayOneAtWhichAnIdentityIsProven) {
  start({"--workers=2"});
  const auto established = connect(&credentials.alice);
  std::vector<std::string> many;
  for (int i = 1; i <= 250; ++i) many.push_back(fmt::format("127.0.1.{}", i));
  std::vector<Duration> fresh;
  const HelloFlood flood(sluice->address(), many, 3000, client_hello(tls));
  loop->run_for(1s);
  for (int i = 0; i < 20; ++i) fresh.push_back(fresh_get());
  record("fresh_get_beside_a_flood_from_many", fresh);
  EXPECT_LE(*std::ranges::max_element(fresh), 2s);
  EXPECT_EQ(established->fetch({.path = std::string(object_path)}).status, 200);
}

// More than are served within some seconds, all at once.
TEST_F(ConnectionShareTest, WhoFillsTheQueueOfHandshakesIsRefusedAndOthersAreNot) {
  constexpr std::size_t burst = 12'000;
  if (!allow_descriptors(burst + burst / 3)) GTEST_SKIP() << "this needs more descriptors";
  start({"--workers=1", "--connections-per-address=0"});
  const auto established = connect(&credentials.alice);
  const std::string hello = client_hello(tls);
  Strangers strangers;
  for (std::size_t i = 0; i < burst; ++i) strangers.push_back(silent());
  EXPECT_TRUE(eventually([&] { return sluice->metric("sluice_client_connections") > burst; }));
  EXPECT_EQ(exceeded("handshakes"), 0.0);
  // They are all there when the worker goes on.
  sluice->child().signal(SIGSTOP);
  for (const auto& stranger : strangers) EXPECT_TRUE(stranger->send_wire(hello));
  sluice->child().signal(SIGCONT);
  std::vector<Duration> times;
  for (int i = 0; i < 5; ++i) times.push_back(fresh_get());
  record("fresh_get_beside_a_full_queue", times);
  EXPECT_LE(*std::ranges::max_element(times), 2s);
  EXPECT_TRUE(eventually([&] { return exceeded("handshakes") > 0; }));
  EXPECT_TRUE(logged("share=handshakes client=127.0.0.2:"));
  EXPECT_EQ(sluice->metric("sluice_accept_paused_total"), 0.0);
  EXPECT_EQ(established->fetch({.path = std::string(object_path)}).status, 200);
}

}  // namespace
}  // namespace sluice::test
