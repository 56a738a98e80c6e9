// SPDX-License-Identifier: GPL-3.0-or-later
// How streams end when a backend goes: watches cleanly and not too soon, everything else visibly,
// and nothing that could have been sent elsewhere at all. "Killed" means that the server's
// connections are reset and its port refuses.
#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "harness.h"

namespace sluice::test {
namespace {

// A watch ends no earlier after its head; an older one at once, but spread over less than a second.
constexpr Duration watch_end_min = std::chrono::seconds(2);
constexpr Duration watch_end_spread = std::chrono::milliseconds(800);
// And one that begins with the objects that exist, after the last of them.
constexpr Duration after_burst_min = std::chrono::seconds(4);

class EndingsTest : public IntegrationTest {
 protected:
  // Waits until some server has got a request of this kind since the last reset, and names it.
  std::optional<std::size_t> busy_server(const std::vector<std::string>& kind) {
    std::optional<std::size_t> found;
    eventually([&] {
      for (std::size_t i = 0; i < 3; ++i) {
        if (apisim->count(i, kind) > 0) found = i;
      }
      return found.has_value();
    });
    return found;
  }
  void kill(std::size_t server) { apisim->post(fmt::format("/servers/{}/kill", server)); }

  static void expect_clean_end(const Answer& answer, Clock::time_point lost) {
    EXPECT_EQ(answer.ending, Ending::end_stream) << answer.describe();
    EXPECT_GE(answer.ended_at - answer.head_at, watch_end_min - client_clock_slack);
    EXPECT_LE(answer.ended_at - std::max(lost, answer.head_at + watch_end_min),
              watch_end_spread + 1s);
  }
};

class KilledBackendTest : public EndingsTest, public testing::WithParamInterface<bool> {};

TEST_P(KilledBackendTest, ItsWatchesEndCleanlyAndLateEnoughTheOthersGoOn) {
  const bool busy = GetParam();
  start({}, {"--pods=50", fmt::format("--event-rate={}", busy ? 200 : 0)});
  const auto by_certificate = connect(&credentials.alice);
  const auto by_token = connect();
  std::vector<std::pair<Http2Client*, Http2Client::Id>> watches;
  for (const Http2Client::Id id : open_watches(*by_certificate, 30))
    watches.emplace_back(by_certificate.get(), id);
  for (const Http2Client::Id id : open_watches(*by_token, 15, bearer()))
    watches.emplace_back(by_token.get(), id);
  if (busy) loop->run_for(500ms);
  const std::uint64_t of_the_victim = apisim->count(0, {"watches_open"});
  ASSERT_GT(of_the_victim, 5U);
  const Clock::time_point lost = Clock::now();
  kill(0);
  const auto over = [&] {
    return static_cast<std::uint64_t>(std::ranges::count_if(
        watches, [](const auto& watch) { return watch.first->answer(watch.second).over; }));
  };
  EXPECT_TRUE(eventually([&] { return over() >= of_the_victim; }, 6s));
  loop->run_for(500ms);
  EXPECT_EQ(over(), of_the_victim);
  std::set<Clock::time_point> ends;
  for (const auto& [client, id] : watches) {
    if (!client->answer(id).over) continue;
    expect_clean_end(client->answer(id), lost);
    ends.insert(client->answer(id).ended_at);
  }
  // Not all in one moment.
  EXPECT_GE(*ends.rbegin() - *ends.begin(), 150ms);
  // Who watches again is served at once, by a survivor.
  const auto again = open_watches(*by_certificate, of_the_victim);
  EXPECT_EQ(apisim->count(1, {"watches_open"}) + apisim->count(2, {"watches_open"}),
            watches.size());
  EXPECT_EQ(apisim->total({"lists"}), 0U);
  EXPECT_EQ(sluice->metric("sluice_watches_ended_total", {"backend_lost"}),
            static_cast<double>(of_the_victim));
}

INSTANTIATE_TEST_SUITE_P(All, KilledBackendTest, testing::Bool(), [](const auto& param_info) {
  return param_info.param ? "Busy" : "Quiet";
});

TEST_F(EndingsTest, AWatchEndsWhenItsClientHasAskedForThat) {
  start({}, {"--pods=20"});
  const auto client = connect(&credentials.alice);
  std::vector<Http2Client::Id> watches;
  for (int i = 0; i < 9; ++i) {
    watches.push_back(client->ask(
        {.path = "/api/v1/pods?watch=1&allowWatchBookmarks=true&timeoutSeconds=1&resourceVersion=" +
                 apisim->get("/counters").find("revision")->to_string()}));
  }
  for (const Http2Client::Id id : watches) {
    const Answer& answer = client->wait(id);
    EXPECT_EQ(answer.status, 200);
    EXPECT_EQ(answer.ending, Ending::end_stream);
    EXPECT_TRUE(answer.body.contains("BOOKMARK"));
    EXPECT_GE(answer.ended_at - answer.head_at, 1s - client_clock_slack);
    EXPECT_LE(answer.ended_at - answer.head_at, watch_end_min - client_clock_slack);
  }
}

TEST_F(EndingsTest, AWatchListInItsInitialEventsEndsCleanlyAndLater) {
  start({}, {"--pods=3000", "--pod-bytes=4000"});
  // Too small a window for all of it, and nobody reads.
  const auto client = connect(&credentials.alice);
  const auto id =
      client->ask({.path = "/api/v1/pods?watch=1&allowWatchBookmarks=true&sendInitialEvents=true"
                           "&resourceVersionMatch=NotOlderThan",
                   .reads = false});
  ASSERT_EQ(client->wait_head(id).status, 200);
  loop->run_until([&] { return client->answer(id).bytes >= 60'000; });
  std::size_t server = 0;
  while (server < 3 && apisim->count(server, {"watches_open"}) == 0) ++server;
  ASSERT_LT(server, 3U);
  const Clock::time_point lost = Clock::now();
  kill(server);
  client->read(id);
  const Answer& answer = client->wait(id);
  EXPECT_EQ(answer.ending, Ending::end_stream) << answer.describe();
  EXPECT_FALSE(answer.body.contains("initial-events-end"));
  EXPECT_GE(answer.ended_at - answer.last_byte_at, after_burst_min - client_clock_slack);
  EXPECT_LE(answer.ended_at - answer.last_byte_at, after_burst_min + watch_end_spread + 1s);
  EXPECT_GE(answer.ended_at - lost, after_burst_min - client_clock_slack);
}

TEST_F(EndingsTest, AListInProgressIsReset) {
  start();
  const auto client = connect(&credentials.alice);
  const auto id = client->ask({.path = "/api/v1/namespaces/bench-10m/configmaps", .reads = false});
  ASSERT_EQ(client->wait_head(id).status, 200);
  loop->run_until([&] { return client->answer(id).bytes >= 60'000; });
  const auto server = busy_server({"requests", "configmaps", "list"});
  ASSERT_TRUE(server.has_value());
  kill(*server);
  const Answer& answer = client->wait(id, 5s);
  EXPECT_EQ(answer.ending, Ending::reset) << answer.describe();
  EXPECT_EQ(answer.code, http2::ErrorCode::internal_error);
  // The client's connection lives.
  EXPECT_EQ(client->fetch({.path = std::string(object_path)}).status, 200);
}

TEST_F(EndingsTest, TruncatedAnswersNeverLookWhole) {
  start();
  const auto client = connect();
  EXPECT_EQ(client->fetch({.path = std::string(object_path), .fields = bearer()}).status, 200);
  apisim->post("/servers/all/set?fail-truncated=1");
  const Answer& list =
      client->fetch({.path = "/api/v1/namespaces/bench-100k/configmaps", .fields = bearer()});
  // The head may not have left yet when the reset overtakes it.
  EXPECT_TRUE(list.status == 200 || list.status == 0) << list.status;
  EXPECT_EQ(list.ending, Ending::reset) << list.describe();
  // Of a short one nothing has left.
  for (const std::string path : {"/bench/10k", "/api/v1/namespaces/bench/configmaps/kb-20"}) {
    const Answer& answer = client->fetch({.path = path, .fields = bearer()});
    EXPECT_EQ(answer.status, 502) << path << ": " << answer.describe();
    EXPECT_TRUE(answer.whole());
  }
}

// Whoever watches from nothing would take a clean end for all that there is.
TEST_F(EndingsTest, AWatchThatItsBackendResetsEndsCleanlyWhereItsClientKnowsWhatIsMissing) {
  start();
  const auto client = connect(&credentials.alice);
  apisim->post("/servers/all/set?fail-truncated=1");
  EXPECT_EQ(client->fetch({.path = "/api/v1/pods?watch=1"}, 20s).ending, Ending::reset);
  const auto id = client->ask(
      {.path = "/api/v1/pods?watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&"
               "allowWatchBookmarks=true"});
  const Answer& answer = client->wait(id, 20s);
  // What the backend said before it gave up, perhaps half an event; client-go drops that part.
  ASSERT_EQ(answer.status, 200);
  EXPECT_EQ(answer.ending, Ending::end_stream) << answer.describe();
  EXPECT_GE(answer.ended_at - answer.last_byte_at, after_burst_min - client_clock_slack);
}

TEST_F(EndingsTest, GetsWithoutAnAnswerAreReplayed) {
  start();
  const auto client = connect(&credentials.alice);
  const auto other = connect();
  EXPECT_EQ(other->fetch({.path = std::string(object_path), .fields = bearer()}).status, 200);
  apisim->post("/servers/all/set?latency=700ms");
  std::vector<std::pair<Http2Client*, Http2Client::Id>> gets;
  for (int i = 0; i < 15; ++i) {
    gets.emplace_back(client.get(), client->ask({.path = std::string(object_path)}));
    gets.emplace_back(other.get(),
                      other->ask({.path = std::string(object_path), .fields = bearer()}));
  }
  ASSERT_TRUE(eventually([&] { return apisim->count(0, {"in_flight"}) > 4; }, 5s));
  kill(0);
  for (const auto& [who, id] : gets) {
    EXPECT_EQ(who->wait(id).status, 200) << who->answer(id).describe();
    EXPECT_TRUE(who->answer(id).whole());
  }
  EXPECT_GT(sluice->metric("sluice_replays_total", {"lost_before_answer"}), 4.0);
}

TEST_F(EndingsTest, AResumedWatchWithoutAnAnswerIsReplayed) {
  start({}, {"--pods=10"});
  const auto client = connect(&credentials.alice);
  apisim->post("/servers/all/set?latency=800ms");
  const auto id = client->ask({.path = "/api/v1/pods?watch=1&resourceVersion=" +
                                       apisim->get("/counters").find("revision")->to_string()});
  const auto server = busy_server({"requests", "pods", "watch"});
  ASSERT_TRUE(server.has_value());
  kill(*server);
  EXPECT_EQ(client->wait_head(id).status, 200) << client->answer(id).describe();
  EXPECT_FALSE(client->answer(id).over);
}

TEST_F(EndingsTest, ALostPostIsA502WithoutRetryAfter) {
  start({"--probe-timeout=10s"});
  const auto client = connect(&credentials.alice);
  apisim->post("/servers/all/set?latency=5s");
  const auto id = client->ask({.method = "POST",
                               .path = "/api/v1/namespaces/default/configmaps",
                               .fields = {{"content-type", "application/json"}},
                               .body = R"({"metadata":{"name":"lost"}})"});
  const auto server = busy_server({"requests", "configmaps", "create"});
  ASSERT_TRUE(server.has_value());
  kill(*server);
  const Answer& answer = client->wait(id, 5s);
  EXPECT_EQ(answer.status, 502) << answer.describe();
  EXPECT_TRUE(answer.whole());
  EXPECT_EQ(answer.field("retry-after"), "");
  EXPECT_TRUE(answer.body.contains(R"("kind":"Status")")) << answer.body;
  EXPECT_TRUE(answer.body.contains(R"("code":502)")) << answer.body;
  EXPECT_FALSE(answer.body.contains("retryAfterSeconds")) << answer.body;
  EXPECT_EQ(apisim->total({"requests", "configmaps", "create"}), 1U);
}

TEST_F(EndingsTest, ALostListIsA429WithRetryAfter) {
  start({"--probe-timeout=10s"});
  const auto client = connect(&credentials.alice);
  apisim->post("/servers/all/set?latency=5s");
  for (const std::string path :
       {"/api/v1/pods",
        "/api/v1/configmaps?watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan"}) {
    const auto id = client->ask({.path = path});
    const auto server = busy_server({"requests", path.contains("pods") ? "pods" : "configmaps",
                                     path.contains("watch") ? "watch" : "list"});
    ASSERT_TRUE(server.has_value());
    kill(*server);
    const Answer& answer = client->wait(id, 5s);
    EXPECT_EQ(answer.status, 429) << path << answer.describe();
    const int seconds = std::atoi(answer.field("retry-after").c_str());
    EXPECT_GE(seconds, 1);
    EXPECT_LE(seconds, 5);
    EXPECT_TRUE(answer.body.contains(R"("reason":"TooManyRequests")")) << answer.body;
  }
  // A query that may have killed one server was not handed to the next.
  EXPECT_EQ(apisim->total({"requests", "pods", "list"}), 1U);
}

TEST_F(EndingsTest, RefusedStreamsAreReplayedWhateverTheMethod) {
  start({}, {"--fail-refused=0=1"});
  const auto client = connect(&credentials.alice);
  std::size_t good = 0;
  run({client.get()},
      {.count = 90,
       .at_once = 3,
       .ask =
           [](std::size_t i) {
             if (i % 3 != 0) return Ask{.path = std::string(object_path)};
             return Ask{.method = "POST",
                        .path = "/api/v1/namespaces/default/configmaps",
                        .fields = {{"content-type", "application/json"}},
                        .body = fmt::format(R"({{"metadata":{{"name":"refused-{}"}}}})", i)};
           },
       .check =
           [&](std::size_t i, const Answer& answer) {
             const bool right = answer.status == (i % 3 == 0 ? 201 : 200) && answer.whole();
             good += right;
             if (!right) ADD_FAILURE() << answer.describe();
           }});
  EXPECT_EQ(good, 90U);
  EXPECT_GT(apisim->count(0, {"faults"}), 0U);
}

TEST_F(EndingsTest, WhereEveryServerRefusesStreamsARequestIsTriedAFewTimesAndToldSo) {
  start();
  const auto client = connect(&credentials.alice);
  EXPECT_EQ(client->fetch({.path = std::string(object_path)}).status, 200);
  apisim->post("/servers/all/set?fail-refused=1");
  const Ask read{.path = std::string(object_path)};
  const Ask write{.method = "POST",
                  .path = "/api/v1/namespaces/default/configmaps",
                  .fields = {{"content-type", "application/json"}},
                  .body = R"({"metadata":{"name":"refused"}})"};
  constexpr std::size_t requests = 6;
  for (std::size_t i = 0; i < requests; ++i) {
    const Answer answer = client->fetch(i % 2 == 0 ? read : write, 10s);
    EXPECT_EQ(answer.status, 503) << answer.describe();
    EXPECT_NE(answer.field("retry-after"), "");
    EXPECT_LE(answer.ended_at - answer.asked, 1s);
  }
  // A refusal is no try, as a GOAWAY is none, ten times; then three tries.
  EXPECT_GE(apisim->total({"faults"}), 3 * requests);
  EXPECT_LE(apisim->total({"faults"}), 13 * requests);
  apisim->post("/servers/all/set?fail-refused=0");
  EXPECT_EQ(client->fetch(read).status, 200);
  EXPECT_EQ(client->fetch(write).status, 201);  // not 409: nothing was executed
}

struct Drain {
  const char* name;
  const char* query;
};
class DrainedBackendTest : public EndingsTest, public testing::WithParamInterface<Drain> {};

TEST_P(DrainedBackendTest, CostsNoClientAnError) {
  start({}, {"--latency=5ms-30ms", "--pods=20"});
  const auto client = connect(&credentials.alice);
  const auto other = connect();
  std::vector<Http2Client::Id> watches = open_watches(*client, 12);
  std::size_t bad = 0;
  std::size_t seen = 0;
  bool drained = false;
  Clock::time_point began;
  run({client.get(), other.get()},
      {.count = 3000,
       .at_once = 12,
       .ask =
           [](std::size_t i) {
             const FieldList fields = i % 2 == 0 ? FieldList() : bearer();
             if (i % 5 != 0) return Ask{.path = std::string(object_path), .fields = fields};
             Ask post{.method = "POST",
                      .path = "/api/v1/namespaces/default/configmaps",
                      .fields = fields,
                      .body = fmt::format(R"({{"metadata":{{"name":"drain-{}"}}}})", i)};
             post.fields.emplace_back("content-type", "application/json");
             return post;
           },
       .check =
           [&](std::size_t i, const Answer& answer) {
             if (++seen == 600 && !std::exchange(drained, true)) {
               began = Clock::now();
               apisim->post(fmt::format("/servers/0/drain?{}", GetParam().query));
             }
             if (answer.status == (i % 5 == 0 ? 201 : 200) && answer.whole()) return;
             if (++bad < 5) ADD_FAILURE() << "number " << i << ": " << answer.describe();
           }});
  EXPECT_EQ(seen, 3000U);
  EXPECT_EQ(bad, 0U);
  EXPECT_TRUE(eventually([&] { return apisim->counters(0).text("state") == "stopped"; }));
  EXPECT_TRUE(eventually([&] {
    return std::ranges::count_if(watches, [&](auto id) { return client->answer(id).over; }) >= 1;
  }));
  loop->run_for(1s);
  for (const Http2Client::Id id : watches) {
    const Answer& answer = client->answer(id);
    if (!answer.over) continue;
    EXPECT_EQ(answer.ending, Ending::end_stream) << answer.describe();
    EXPECT_GE(answer.ended_at - answer.head_at, watch_end_min - client_clock_slack);
  }
  EXPECT_EQ(apisim->total({"lists"}), 0U);
}

INSTANTIATE_TEST_SUITE_P(All, DrainedBackendTest,
                         testing::Values(Drain{"RetryAfter", "retry-after=true"},
                                         Drain{"Unavailable", "retry-after=false"},
                                         Drain{"DelayThenRetryAfter", "delay=2s&retry-after=true"},
                                         Drain{"DelayThenUnavailable",
                                               "delay=2s&retry-after=false"}),
                         [](const auto& param_info) { return param_info.param.name; });

TEST_F(EndingsTest, WhenAllBackendsAreDownWatchesWaitAndReadsFailAndTheyComeBack) {
  start();
  const auto client = connect(&credentials.alice);
  EXPECT_EQ(client->fetch({.path = std::string(object_path)}).status, 200);
  apisim->post("/servers/all/kill");
  EXPECT_TRUE(sluice->wait_page("/readyz", 503, 10s));
  const Answer watch = client->fetch({.path = "/api/v1/pods?watch=1&resourceVersion=1"}, 10s);
  EXPECT_EQ(watch.status, 429) << watch.describe();
  EXPECT_NE(watch.field("retry-after"), "");
  const Answer get = client->fetch({.path = std::string(object_path)}, 10s);
  EXPECT_EQ(get.status, 503) << get.describe();
  EXPECT_NE(get.field("retry-after"), "");
  EXPECT_EQ(get.field("content-type"), "application/json");
  EXPECT_TRUE(get.body.contains(R"("reason":"ServiceUnavailable")")) << get.body;
  const Answer post = client->fetch(
      {.method = "POST", .path = "/api/v1/namespaces/default/configmaps", .body = "{}"}, 10s);
  EXPECT_EQ(post.status, 503) << post.describe();
  EXPECT_EQ(sluice->page("/livez").status, 200);
  apisim->post("/servers/all/restart");
  const Clock::time_point back = Clock::now();
  EXPECT_TRUE(sluice->wait_page("/readyz", 200, 15s));
  EXPECT_TRUE(eventually(
      [&] { return client->fetch({.path = std::string(object_path)}).status == 200; }, 10s));
  EXPECT_LE(Clock::now() - back, 10s);
}

TEST_F(EndingsTest, ABackendThatReturnsGetsItsShareAgain) {
  start();
  const auto client = connect(&credentials.alice);
  EXPECT_EQ(client->fetch({.path = std::string(object_path)}).status, 200);
  kill(1);
  EXPECT_TRUE(eventually([&] { return sluice->metric("sluice_backend_ready") == 2; }, 10s));
  for (int i = 0; i < 30; ++i)
    EXPECT_EQ(client->fetch({.path = std::string(object_path)}).status, 200);
  apisim->post("/servers/1/restart");
  EXPECT_TRUE(eventually([&] { return sluice->metric("sluice_backend_ready") == 3; }, 15s));
  apisim->post("/reset");
  EXPECT_TRUE(eventually(
      [&] {
        client->fetch({.path = std::string(object_path)});
        return apisim->count(1, {"requests", "configmaps", "get"}) > 0;
      },
      10s));
}

TEST_F(EndingsTest, AnEarlyAnswerToAnUploadIsPassedOnWhole) {
  start();
  const auto client = connect(&credentials.alice);
  const auto other = connect();
  for (int round = 0; round < 3; ++round) {
    for (Http2Client* who : {client.get(), other.get()}) {
      const auto id = who->ask({.method = "POST",
                                .path = "/api/v1/namespaces/default/configmaps",
                                .fields = who == client.get() ? FieldList() : bearer(),
                                .body = std::string(std::size_t{6} << 20, 'x')});
      const Answer& answer = who->wait(id);
      EXPECT_EQ(answer.status, 413) << answer.describe();
      EXPECT_TRUE(answer.whole()) << answer.describe();
      EXPECT_TRUE(answer.upload_stopped) << answer.describe();
    }
  }
  EXPECT_EQ(client->fetch({.path = std::string(object_path)}).status, 200);
}

TEST_F(EndingsTest, AClientThatGoesAwayFreesItsStreamsAtTheBackend) {
  start();
  auto client = connect(&credentials.alice);
  open_watches(*client, 30);
  EXPECT_EQ(apisim->total({"watches_open"}), 30U);
  const auto stays = connect(&credentials.alice);
  const auto kept = open_watches(*stays, 3);
  client.reset();
  EXPECT_TRUE(eventually([&] { return apisim->total({"watches_open"}) == 3; }, 5s));
  for (const Http2Client::Id id : kept) EXPECT_FALSE(stays->answer(id).over);
  EXPECT_TRUE(eventually([&] { return sluice->metric("sluice_exchanges") == 3; }, 5s));
}

TEST_F(EndingsTest, AFrozenBackendIsLeftAndItsGetsAreAnsweredByOthers) {
  start({"--backend-ping-interval=1s", "--backend-ping-timeout=1s", "--probe-timeout=500ms"});
  const auto client = connect(&credentials.alice);
  const auto watches = open_watches(*client, 9);
  for (int i = 0; i < 9; ++i)
    EXPECT_EQ(client->fetch({.path = std::string(object_path)}).status, 200);
  const std::uint64_t of_the_victim = apisim->count(2, {"watches_open"});
  apisim->post("/servers/2/freeze");
  std::vector<Http2Client::Id> gets;
  for (int i = 0; i < 30; ++i) gets.push_back(client->ask({.path = std::string(object_path)}));
  for (const Http2Client::Id id : gets)
    EXPECT_EQ(client->wait(id, 20s).status, 200) << client->answer(id).describe();
  // Its watches end cleanly: nothing will ever come on them.
  EXPECT_TRUE(eventually(
      [&] {
        return static_cast<std::uint64_t>(std::ranges::count_if(
                   watches, [&](auto id) { return client->answer(id).over; })) >= of_the_victim;
      },
      15s));
  for (const Http2Client::Id id : watches) {
    if (!client->answer(id).over) continue;
    EXPECT_EQ(client->answer(id).ending, Ending::end_stream);
  }
  EXPECT_TRUE(
      eventually([&] { return sluice->metric("sluice_backend_ping_timeouts_total") >= 1; }, 5s));
  apisim->post("/servers/2/thaw");
}

TEST_F(EndingsTest, AFrozenBackendCostsAGetSecondsAndItsWatchesEndWithTheUsualFlags) {
  start();
  const auto client = connect(&credentials.alice);
  const auto watches = open_watches(*client, 9);
  const std::uint64_t of_the_victim = apisim->count(2, {"watches_open"});
  ASSERT_GT(of_the_victim, 0U);
  const Clock::time_point frozen = Clock::now();
  apisim->post("/servers/2/freeze");
  std::vector<Http2Client::Id> gets;
  for (int i = 0; i < 30; ++i) gets.push_back(client->ask({.path = std::string(object_path)}));
  for (const Http2Client::Id id : gets) {
    const Answer& answer = client->wait(id, 20s);
    EXPECT_EQ(answer.status, 200) << answer.describe();
    EXPECT_LE(answer.ended_at - frozen, 6s);
  }
  const auto over = [&] {
    return static_cast<std::uint64_t>(
        std::ranges::count_if(watches, [&](auto id) { return client->answer(id).over; }));
  };
  EXPECT_TRUE(eventually([&] { return over() >= of_the_victim; }, 8s));
  EXPECT_LE(Clock::now() - frozen, 8s);
  loop->run_for(1s);
  EXPECT_EQ(over(), of_the_victim);
  apisim->post("/servers/2/thaw");
  EXPECT_TRUE(eventually([&] { return sluice->metric("sluice_backend_ready") == 3; }, 15s));
}

TEST_F(EndingsTest, WhenMostBackendsAnswerProbesLateAllAreUsed) {
  start();
  const auto client = connect(&credentials.alice);
  const auto slow = [&] {
    const std::string page = sluice->page("/backends").body;
    std::size_t count = 0;
    for (std::size_t at = 0; (at = page.find("\"slow\"", at)) != std::string::npos; ++at) ++count;
    return count;
  };
  for (const int server : {0, 1})
    apisim->post(fmt::format("/servers/{}/set?latency=1500ms", server));
  EXPECT_TRUE(eventually([&] { return slow() >= 2; }, 20s));
  apisim->post("/reset");
  run({client.get()},
      {.count = 300,
       .at_once = 30,
       .ask = [](std::size_t) { return Ask{.path = std::string(object_path)}; },
       .check = [](std::size_t,
                   const Answer& answer) { EXPECT_EQ(answer.status, 200) << answer.describe(); }});
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_GE(apisim->count(i, {"requests", "configmaps", "get"}), 20U) << i;
  }
  EXPECT_EQ(sluice->page("/readyz").status, 200);
  apisim->post("/servers/all/set?latency=0ms");
  EXPECT_TRUE(eventually([&] { return slow() == 0; }, 20s));
}

TEST_F(EndingsTest, RequestsThatNobodyAnswersEndWithTheirDeadline) {
  start({"--request-timeout=1s", "--backend-connect-timeout=500ms"});
  const auto client = connect(&credentials.alice);
  apisim->post("/servers/all/set?latency=20s");
  const Clock::time_point asked = Clock::now();
  const auto get = client->ask({.path = std::string(object_path)});
  const auto post = client->ask(
      {.method = "POST", .path = "/api/v1/namespaces/default/configmaps", .body = "{}"});
  const auto list = client->ask({.path = "/api/v1/pods"});
  const auto watch = client->ask({.path = "/api/v1/pods?watch=1"});
  EXPECT_EQ(client->wait(get, 5s).status, 504) << client->answer(get).describe();
  EXPECT_EQ(client->wait(post, 5s).status, 504) << client->answer(post).describe();
  EXPECT_EQ(client->wait(list, 5s).status, 504) << client->answer(list).describe();
  // client-go would ask ten times more.
  for (const auto id : {get, post, list}) EXPECT_EQ(client->answer(id).field("retry-after"), "");
  EXPECT_GE(Clock::now() - asked, 900ms);
  // A watch has no deadline.
  EXPECT_FALSE(client->answer(watch).over);
}

TEST_F(EndingsTest, AnswersOfEverySizeArriveByteForByte) {
  start();
  const auto direct = connect_directly(0, &credentials.alice);
  const auto client = connect(&credentials.alice);
  for (const std::string size :
       {"0", "1", "511", "4096", "16374", "16375", "16376", "65535", "65536", "65537", "1m"}) {
    const std::string path = "/bench/" + size;
    const Answer& expected = direct->fetch({.path = path});
    const Answer& answer = client->fetch({.path = path});
    EXPECT_EQ(answer.status, expected.status) << size;
    EXPECT_TRUE(answer.whole()) << size << answer.describe();
    EXPECT_EQ(answer.bytes, expected.bytes) << size;
    EXPECT_TRUE(answer.body == expected.body) << size;
    EXPECT_EQ(answer.field("content-type"), expected.field("content-type"));
    EXPECT_EQ(answer.field("content-length"), expected.field("content-length"));
  }
  const Answer& missing =
      client->fetch({.path = "/api/v1/namespaces/default/configmaps/no-such-object"});
  EXPECT_EQ(missing.status, 404);
  EXPECT_TRUE(missing.whole()) << missing.describe();
}

}  // namespace
}  // namespace sluice::test
