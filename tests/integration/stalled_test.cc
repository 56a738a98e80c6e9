// SPDX-License-Identifier: GPL-3.0-or-later
// Clients that do not read cost memory within a budget and nobody else anything.
#include <fmt/format.h>

#include <algorithm>

#include "harness.h"

namespace sluice::test {
namespace {

class StalledClientTest : public IntegrationTest {
 protected:
  // Sixty, of a megabyte each; true when every one is in its body.
  bool ask_for_lists_unread(Http2Client& client) {
    std::vector<Http2Client::Id> lists;
    for (int i = 0; i < 60; ++i) {
      lists.push_back(
          client.ask({.path = "/api/v1/namespaces/bench-1m/configmaps", .reads = false}));
    }
    return loop->run_until([&] {
      return std::ranges::all_of(lists, [&](auto id) { return client.answer(id).bytes > 0; });
    });
  }
};

constexpr std::size_t mib = std::size_t{1} << 20;

TEST_F(StalledClientTest, AHundredUnreadListsDoNotTouchABystanderOfTheSameConnections) {
  start({}, {"--pods=10"});
  const auto bystander = connect(&credentials.bob);
  const auto watches = open_watches(*bystander, 6);
  for (int i = 0; i < 30; ++i)
    EXPECT_EQ(bystander->fetch({.path = std::string(object_path)}).status, 200);
  const std::uint64_t connections_before = apisim->total({"connections", "front-proxy"});
  const std::size_t before = sluice->child().resident_bytes();

  const auto stalled = connect(&credentials.alice);
  std::vector<Http2Client::Id> lists;
  for (int i = 0; i < 100; ++i) {
    lists.push_back(
        stalled->ask({.path = "/api/v1/namespaces/bench-10m/configmaps", .reads = false}));
  }
  // Every one is in its body, and stuck.
  EXPECT_TRUE(loop->run_until([&] {
    return std::ranges::all_of(lists, [&](auto id) { return stalled->answer(id).bytes >= 60'000; });
  }));
  std::size_t most = 0;
  Duration slowest{};
  for (int i = 0; i < 400; ++i) {
    const Answer& answer = bystander->fetch({.path = std::string(object_path)});
    EXPECT_EQ(answer.status, 200) << answer.describe();
    slowest = std::max<Duration>(slowest, answer.ended_at - answer.asked);
    if (i % 20 == 0) most = std::max(most, sluice->child().resident_bytes());
  }
  EXPECT_LE(slowest, 1s);
  apisim->post("/events?count=60");
  EXPECT_TRUE(eventually(
      [&] {
        return std::ranges::all_of(watches,
                                   [&](auto id) { return bystander->answer(id).bytes > 1000; });
      },
      5s));
  for (const Http2Client::Id id : watches) EXPECT_FALSE(bystander->answer(id).over);
  // A window of each stream on each side, and what it takes to hold them.
  EXPECT_LE(most, before + allowance(40 * mib)) << (most - before) / 1024 << " KB more";
  RecordProperty("resident_kilobytes_more", static_cast<int>((most - before) / 1024));
  // They share connections with the bystander: a few more than there were.
  EXPECT_LE(apisim->total({"connections", "front-proxy"}), connections_before + 9);

  // Who reads after all gets everything.
  for (std::size_t i = 0; i < 3; ++i) {
    stalled->read(lists[i]);
    const Answer& answer = stalled->wait(lists[i]);
    EXPECT_TRUE(answer.whole()) << answer.describe();
    EXPECT_EQ(answer.bytes, 10 * mib);
  }
  stalled->terminate();
  EXPECT_TRUE(eventually([&] { return sluice->metric("sluice_exchanges") == 6; }, 10s));
  EXPECT_TRUE(eventually([&] { return sluice->metric("sluice_body_bytes") < 1e6; }, 10s));
}

// However few hold all of it: one more asks.
TEST_F(StalledClientTest, WhoHoldsAllOfAWorkersBytesMakesRoomForOthers) {
  start({"--workers=1", "--body-bytes-per-worker=2MiB", "--body-bytes-per-client=2MiB"});
  const auto stalled = connect(&credentials.alice);
  ASSERT_TRUE(ask_for_lists_unread(*stalled));
  EXPECT_TRUE(eventually([&] { return sluice->metric("sluice_body_bytes") > 1.9 * mib; }, 10s));
  const auto other = connect(&credentials.bob);
  for (int i = 0; i < 50; ++i) {
    const Answer& answer = other->fetch({.path = std::string(object_path)});
    EXPECT_EQ(answer.status, 200) << answer.describe();
  }
  EXPECT_GT(sluice->metric("sluice_requests_ended_for_room_total"), 0.0);
  EXPECT_EQ(sluice->metric("sluice_local_replies_total", {"overloaded"}), 0.0);
}

TEST_F(StalledClientTest, AboveItsShareOneClientIsRefusedAndOthersAreServed) {
  start({"--body-bytes-per-worker=8MiB"});
  const auto stalled = connect(&credentials.alice);
  ASSERT_TRUE(ask_for_lists_unread(*stalled));
  // Over another connection, too.
  const auto again = connect(&credentials.alice);
  EXPECT_TRUE(eventually(
      [&] { return again->fetch({.path = std::string(object_path)}).status == 429; }, 10s));
  const Answer& refused = again->fetch({.path = std::string(object_path)});
  EXPECT_EQ(refused.status, 429) << refused.describe();
  EXPECT_NE(refused.field("retry-after"), "") << refused.describe();
  EXPECT_GT(sluice->metric("sluice_local_replies_total", {"client_overloads"}), 0.0);
  EXPECT_EQ(sluice->metric("sluice_local_replies_total", {"overloaded"}), 0.0);
  EXPECT_EQ(again->fetch({.path = "/apis/coordination.k8s.io/v1/namespaces/a/leases/b"})
                .field("retry-after"),
            "");
  const auto other = connect(&credentials.bob);
  for (int i = 0; i < 50; ++i) {
    EXPECT_EQ(other->fetch({.path = std::string(object_path)}).status, 200);
  }
  stalled->terminate();
  EXPECT_TRUE(eventually(
      [&] { return again->fetch({.path = std::string(object_path)}).status == 200; }, 10s));
}

TEST_F(StalledClientTest, OneThatTakesNoBytesFromItsSocketIsClosed) {
  start({"--client-stall-timeout=1s"});
  const auto bystander = connect(&credentials.bob);
  const auto client = connect_raw(&credentials.alice);
  // Windows without end; the socket is not read.
  ASSERT_TRUE(client->begin_http2({{frame::initial_window_size, 0x7fffffff}}));
  FrameWriter writer;
  writer.window_update(0, 0x7fff0000);
  for (std::uint32_t i = 0; i < 8; ++i) {
    writer.headers(1 + 2 * i, hpack_get("/api/v1/namespaces/bench-10m/configmaps"));
  }
  ASSERT_TRUE(client->send(writer.text(), 5s, false));
  EXPECT_TRUE(eventually([&] { return sluice->metric("sluice_client_connections") == 1; }, 15s));
  EXPECT_EQ(bystander->fetch({.path = std::string(object_path)}).status, 200);
}

TEST_F(StalledClientTest, UploadsThatDripByteByByteArriveWholeAndTouchNobody) {
  start({}, {"--pods=10"});
  const auto bystander = connect(&credentials.bob);
  const auto watches = open_watches(*bystander, 3);
  for (int i = 0; i < 9; ++i)
    EXPECT_EQ(bystander->fetch({.path = std::string(object_path)}).status, 200);
  const std::uint64_t created = apisim->total({"statuses", "201"});  // by probes
  const std::size_t before = sluice->child().resident_bytes();
  const auto client = connect_raw(&credentials.alice);
  ASSERT_TRUE(client->begin_http2());
  constexpr std::uint32_t uploads = 100;
  constexpr std::size_t bytes = 300;
  const auto id_of = [](std::uint32_t upload) { return 1 + 2 * upload; };
  FrameWriter writer;
  std::vector<std::string> bodies;
  for (std::uint32_t i = 0; i < uploads; ++i) {
    writer.headers(id_of(i), hpack_post("/api/v1/namespaces/default/configmaps"), false);
    bodies.push_back(fmt::format(R"({{"metadata":{{"name":"drip-{}"}}}})", i));
    bodies.back().resize(bytes, ' ');
  }
  ASSERT_TRUE(client->send(writer.text()));
  Duration slowest{};
  for (std::size_t at = 0; at < bytes; ++at) {
    // Each byte of each upload is a frame and a TLS record of its own.
    for (std::uint32_t i = 0; i < uploads; ++i) {
      ASSERT_TRUE(client->send(
          FrameWriter().data(id_of(i), bodies[i].substr(at, 1), at + 1 == bytes).text()));
    }
    if (at % 10 != 0) continue;
    const Answer& answer = bystander->fetch({.path = std::string(object_path)});
    EXPECT_EQ(answer.status, 200) << answer.describe();
    slowest = std::max<Duration>(slowest, answer.ended_at - answer.asked);
  }
  EXPECT_LE(slowest, 1s);
  EXPECT_LE(sluice->child().resident_bytes(), before + allowance(8 * mib));
  EXPECT_TRUE(client->read_until([&] { return client->count(frame::headers) == uploads; }));
  EXPECT_EQ(apisim->total({"requests", "configmaps", "create"}), uploads);
  EXPECT_EQ(apisim->total({"statuses", "201"}), created + uploads);
  for (const Http2Client::Id id : watches) EXPECT_FALSE(bystander->answer(id).over);
}

TEST_F(StalledClientTest, BytesOneByOneTakeNoMoreMemoryThanTheirWindow) {
  start();
  const auto bystander = connect(&credentials.bob);
  EXPECT_EQ(bystander->fetch({.path = std::string(object_path)}).status, 200);
  for (int server = 0; server < 3; ++server)
    apisim->post(fmt::format("/servers/{}/freeze", server));
  const std::size_t before = sluice->child().resident_bytes();
  const auto client = connect_raw(&credentials.alice);
  ASSERT_TRUE(client->begin_http2());
  constexpr std::uint32_t uploads = 20;
  constexpr std::size_t window = 65'535;
  FrameWriter writer;
  for (std::uint32_t i = 0; i < uploads; ++i) {
    writer.headers(1 + 2 * i, hpack_post("/api/v1/namespaces/default/configmaps"), false);
  }
  ASSERT_TRUE(client->send(writer.text()));
  for (std::uint32_t i = 0; i < uploads; ++i) {
    writer.clear();
    for (std::size_t sent = 0; sent < window; ++sent) writer.data(1 + 2 * i, "x");
    ASSERT_TRUE(client->send(writer.text()));
  }
  // An answered PING says that all before it has been taken in.
  const std::size_t answered = client->count(frame::ping);
  ASSERT_TRUE(client->send(FrameWriter().ping(1).text()));
  ASSERT_TRUE(client->read_until([&] { return client->count(frame::ping) > answered; }));
  EXPECT_LE(sluice->child().resident_bytes(), before + allowance(8 * mib));
  EXPECT_EQ(client->end(), RawClient::End::open);
  for (int server = 0; server < 3; ++server) apisim->post(fmt::format("/servers/{}/thaw", server));
}

TEST_F(StalledClientTest, AnUploadThatNobodyReadsStaysWithinItsWindowUntilSomebodyDoes) {
  constexpr std::size_t window = 65'536;
  constexpr std::size_t backend_window = 4 * window;
  start({fmt::format("--http2-stream-window-bytes-max={}", window)});
  const auto client = connect(&credentials.alice);
  // Every backend has a connection.
  for (int i = 0; i < 30; ++i)
    EXPECT_EQ(client->fetch({.path = std::string(object_path)}).status, 200);
  const std::size_t before = sluice->child().resident_bytes();
  apisim->child().signal(SIGSTOP);
  std::vector<Http2Client::Id> uploads;
  for (int i = 0; i < 20; ++i) {
    uploads.push_back(client->ask(
        {.method = "POST",
         .path = "/api/v1/namespaces/default/configmaps",
         .fields = {{"content-type", "application/json"}},
         .body = fmt::format(R"({{"metadata":{{"name":"upload-{}"}},"data":{{"filling":"{}"}}}})",
                             i, std::string(2 * mib, 'x'))}));
  }
  const auto uploaded = [&] {
    std::vector<std::size_t> bytes;
    for (const Http2Client::Id id : uploads) bytes.push_back(client->uploaded(id));
    return bytes;
  };
  EXPECT_TRUE(loop->run_until([&] { return std::ranges::min(uploaded()) >= window; }, 5s));
  loop->run_for(300ms);
  const std::vector<std::size_t> then = uploaded();
  loop->run_for(500ms);
  EXPECT_EQ(uploaded(), then);
  // What the backend granted at first, and what waits here.
  EXPECT_LE(std::ranges::max(then), backend_window + window);
  EXPECT_LE(sluice->child().resident_bytes(), before + allowance(16 * mib));
  apisim->child().signal(SIGCONT);
  for (const Http2Client::Id id : uploads) {
    const Answer& answer = client->wait(id);
    EXPECT_EQ(answer.status, 201) << answer.describe();
    EXPECT_TRUE(answer.whole()) << answer.describe();
  }
}

TEST_F(StalledClientTest, AStreamThatTakesNothingIsResetUnlessItIsAWatch) {
  start({"--client-stall-timeout=1s"});
  const auto client = connect_raw(&credentials.alice);
  ASSERT_TRUE(client->begin_http2({{frame::initial_window_size, 0}}));
  ASSERT_TRUE(client->send(FrameWriter()
                               .headers(1, hpack_get(object_path))
                               .headers(3, hpack_get("/api/v1/pods?watch=1"))
                               .text()));
  ASSERT_TRUE(client->read_until([&] { return client->count(frame::headers) == 2; }));
  apisim->post("/events?count=20");
  ASSERT_TRUE(client->read_until([&] { return client->count(frame::rst_stream) > 0; }));
  const Frame* reset = client->find(frame::rst_stream);
  EXPECT_EQ(reset->id, 1U);
  EXPECT_EQ(reset->number(0), static_cast<std::uint32_t>(http2::ErrorCode::enhance_your_calm));
  EXPECT_TRUE(eventually(
      [&] {
        return sluice->metric("sluice_stalled_streams_ended_total", {"ordinary"}) == 1 &&
               sluice->metric("sluice_stalled_streams") == 1;
      },
      10s));
  EXPECT_EQ(sluice->metric("sluice_stalled_streams_ended_total", {"long_running"}), 0.0);
  // Whoever held the pager reads on.
  ASSERT_TRUE(client->send(FrameWriter().window_update(3, 60'000).text()));
  EXPECT_TRUE(client->read_until([&] { return client->count(frame::data) > 0; }));
  EXPECT_EQ(client->find(frame::data)->id, 3U);
}

TEST_F(StalledClientTest, AStreamThatTakesAByteNowAndThenIsReset) {
  start({"--client-stall-timeout=1s"});
  const auto client = connect_raw(&credentials.alice);
  ASSERT_TRUE(client->begin_http2({{frame::initial_window_size, 0}}));
  ASSERT_TRUE(client->send(FrameWriter().headers(1, hpack_get(object_path)).text()));
  EXPECT_TRUE(eventually(
      [&] {
        client->send(FrameWriter().window_update(1, 1).text());
        return client->count(frame::rst_stream) > 0;
      },
      15s));
  EXPECT_GT(client->count(frame::data), 5U);
}

TEST_F(StalledClientTest, WatchesThatNobodyReadsGoWhenMemoryIsShort) {
  start({"--client-stall-timeout=1s", "--body-bytes-per-worker=1MiB"},
        {"--pods=10", "--pod-bytes=8k"});
  const auto client = connect_raw(&credentials.alice);
  ASSERT_TRUE(client->begin_http2({{frame::initial_window_size, 0}}));
  constexpr std::uint32_t watches = 30;
  FrameWriter writer;
  for (std::uint32_t i = 0; i < watches; ++i)
    writer.headers(1 + 2 * i, hpack_get("/api/v1/pods?watch=1"));
  ASSERT_TRUE(client->send(writer.text()));
  ASSERT_TRUE(client->read_until([&] { return client->count(frame::headers) == watches; }));
  apisim->post("/events?count=20");
  EXPECT_TRUE(client->read_until([&] { return client->count(frame::rst_stream) > 0; }));
  const auto other = connect(&credentials.bob);
  EXPECT_TRUE(eventually(
      [&] { return other->fetch({.path = std::string(object_path)}).status == 200; }, 10s));
  EXPECT_TRUE(eventually([&] { return sluice->metric("sluice_body_bytes") <= mib / 4 * 3; }, 10s));
  const double ended = sluice->metric("sluice_stalled_streams_ended_total", {"long_running"});
  EXPECT_GT(ended, 0.0);
  EXPECT_LT(ended, watches);  // no more than it took
}

struct Loan {
  std::string_view budget;
  std::size_t most;  // that may be lent
};

class WindowGrowthTest : public IntegrationTest, public testing::WithParamInterface<Loan> {};

TEST_P(WindowGrowthTest, ServesAQuickReaderWithinTheBudgetAndIsPaidBack) {
  start({fmt::format("--body-bytes-per-worker={}", GetParam().budget),
         fmt::format("--body-bytes-per-client={}", GetParam().budget)});
  const auto lent = [&] { return sluice->metric("sluice_stream_window_lent_bytes"); };
  const auto client = connect(&credentials.alice, {.stream_window_bytes = 4 * mib});
  EXPECT_EQ(lent(), 0.0);
  const auto list =
      client->ask({.path = "/api/v1/namespaces/bench-10m/configmaps", .reads = false});
  // It takes four megabytes as they come, then stands still.
  EXPECT_TRUE(loop->run_until([&] { return client->answer(list).bytes == 4 * mib; }));
  EXPECT_TRUE(eventually([&] { return lent() >= 65536; }, 5s));
  EXPECT_LE(lent(), static_cast<double>(GetParam().most));
  client->read(list);
  EXPECT_TRUE(client->wait(list).whole());
  EXPECT_EQ(client->answer(list).bytes, 10 * mib);
  EXPECT_TRUE(eventually([&] { return lent() == 0; }, 5s));
}

INSTANTIATE_TEST_SUITE_P(StalledClientTest, WindowGrowthTest,
                         testing::Values(Loan{"256MiB", mib - 65536}, Loan{"1MiB", mib / 2}));

TEST_F(StalledClientTest, AnUploadThatIsTakenQuicklyMayRunFurtherAhead) {
  start({});
  const auto client = connect_raw(&credentials.alice);
  ASSERT_TRUE(client->begin_http2());
  FrameWriter writer;
  writer.headers(1, hpack_post("/api/v1/namespaces/default/configmaps"), false);
  for (int i = 0; i < 4; ++i) writer.data(1, std::string(16384, 'x'));
  ASSERT_TRUE(client->send(writer.text()));
  const auto credit = [&] {
    std::uint64_t bytes = 0;
    for (const Frame& frame : client->frames()) {
      if (frame.type == frame::window_update && frame.id == 1) bytes += frame.number(0);
    }
    return bytes;
  };
  // More than what was taken.
  EXPECT_TRUE(client->read_until([&] { return credit() > 65536; })) << credit();
}

}  // namespace
}  // namespace sluice::test
