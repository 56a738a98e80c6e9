// SPDX-License-Identifier: GPL-3.0-or-later
// Clients that abuse HTTP/2: their connection ends or their request is refused, the counter of that
// limit says so, and a bystander on the same backend connections sees nothing of it.
#include <fmt/format.h>

#include "harness.h"

namespace sluice::test {
namespace {

class LimitsTest : public IntegrationTest {
 protected:
  void begin(const Flags& flags = {}) {
    start(flags, {"--pods=10"});
    bystander = connect(&credentials.bob);
    watches = open_watches(*bystander, 6);
    for (int i = 0; i < 9; ++i)
      EXPECT_EQ(bystander->fetch({.path = std::string(object_path)}).status, 200);
    backend_connections = apisim->total({"connections", "front-proxy"});
    attacker = connect_raw(&credentials.alice);
    ASSERT_TRUE(attacker->begin_http2());
  }

  double exceeded(std::string_view limit) const {
    return sluice->metric("sluice_client_limit_exceeded_total",
                          {fmt::format("limit=\"{}\"", limit)});
  }
  static std::string line_of(std::string_view limit) {
    return fmt::format("user=alice limit={} ", limit);
  }
  double exceeded_any() const { return sluice->metric("sluice_client_limit_exceeded_total"); }

  // The attacker's connection has ended for this limit alone, with a word that says why; everybody
  // else goes on.
  void expect_ended(std::string_view limit) {
    EXPECT_TRUE(attacker->wait_end(10s));
    if (attacker->end() != RawClient::End::reset) {
      const Frame* goaway = attacker->find(frame::goaway);
      ASSERT_NE(goaway, nullptr);
      EXPECT_NE(goaway->number(4), 0U);
    }
    EXPECT_TRUE(eventually([&] { return exceeded_any() > 0; }, 5s));
    EXPECT_EQ(exceeded(limit), 1.0) << sluice->nonzero_metrics();
    EXPECT_EQ(exceeded_any(), 1.0);
    // One line says who, what, and how much went with it.
    EXPECT_TRUE(eventually([&] { return sluice->child().log().contains(line_of(limit)); }, 5s))
        << line_of(limit) << " is not in\n"
        << sluice->child().log();
    expect_unharmed();
    EXPECT_TRUE(eventually([&] { return sluice->metric("sluice_client_connections") == 1; }, 10s));
    EXPECT_TRUE(eventually([&] { return sluice->metric("sluice_exchanges") == 6; }, 10s));
  }

  // Streams that the proxy has to reset, until it ends the connection; never more at once than it
  // grants, which would be another limit.
  void provoke_resets(const std::function<void(FrameWriter&, std::uint32_t id)>& add) {
    // A stream that cannot be told why is not reset yet.
    attacker->send(FrameWriter().window_update(0, 1U << 30).text());
    std::uint32_t id = 1;
    const auto resets = [&] { return attacker->count(frame::rst_stream); };
    for (std::size_t asked = 50; asked <= 5000 && attacker->end() == RawClient::End::open;
         asked += 50) {
      FrameWriter writer;
      for (; id < 2 * asked; id += 2) add(writer, id);
      attacker->send(writer.text());
      attacker->read_until([&] { return resets() >= asked || attacker->find(frame::goaway); });
    }
    EXPECT_GE(resets(), 250U);
  }

  void expect_unharmed() {
    for (int i = 0; i < 20; ++i) {
      const Answer& answer = bystander->fetch({.path = std::string(object_path)});
      EXPECT_EQ(answer.status, 200) << answer.describe();
      EXPECT_LE(answer.ended_at - answer.asked, 2s);
    }
    for (const Http2Client::Id id : watches) EXPECT_FALSE(bystander->answer(id).over);
    // No backend connection was lost for it.
    EXPECT_EQ(sluice->metric("sluice_backend_connections_lost_total"), 0.0);
  }

  std::unique_ptr<Http2Client> bystander;
  std::vector<Http2Client::Id> watches;
  std::uint64_t backend_connections = 0;
  std::unique_ptr<RawClient> attacker;
};

TEST_F(LimitsTest, RapidResetEndsTheConnectionAndReachesBackendsHardly) {
  begin();
  const std::uint64_t before = apisim->total({"requests_total"});
  FrameWriter writer;
  for (std::uint32_t i = 0; i < 5000; ++i) {
    writer.headers(1 + 2 * i, hpack_get(object_path)).rst_stream(1 + 2 * i, 8);
  }
  attacker->send(writer.text());
  expect_ended("resets");
  // 29 of them are the bystander's.
  EXPECT_LE(apisim->total({"requests", "configmaps", "get"}), 9U + 20U + 400U);
  EXPECT_LE(apisim->total({"requests_total"}) - before, 1000U);
}

// Its next connection does not begin with nothing on its account. Who comes from elsewhere does.
TEST_F(LimitsTest, WhoBreaksALimitAgainAndAgainMayDoLessOnTheNextConnection) {
  start({}, {"--pods=10"});
  FrameWriter writer;
  for (std::uint32_t id = 1; id < 4000; id += 2) {
    writer.headers(id, hpack_get(object_path)).rst_stream(id, 8);
  }
  const auto requests_until_the_end = [&](std::string_view source) {
    const double before = sluice->metric("sluice_client_requests_total");
    const double ended = exceeded("resets");
    attacker = connect_raw(&credentials.alice, source);
    EXPECT_TRUE(attacker->begin_http2());
    attacker->send(writer.text());
    EXPECT_TRUE(attacker->wait_end(10s));
    EXPECT_TRUE(eventually([&] { return exceeded("resets") == ended + 1; }, 5s));
    return sluice->metric("sluice_client_requests_total") - before;
  };
  for (int i = 0; i < 3; ++i) EXPECT_GE(requests_until_the_end("127.0.0.1"), 400);
  EXPECT_LE(requests_until_the_end("127.0.0.1"), 150);
  EXPECT_GE(requests_until_the_end("127.0.0.2"), 400);
}

TEST_F(LimitsTest, ResetsThatWeAreMadeToSendCountAlike) {
  begin();
  provoke_resets([](FrameWriter& writer, std::uint32_t id) {
    // A content-length that is not kept: the stream's error, not the connection's.
    writer
        .headers(id,
                 hpack_post("/api/v1/namespaces/default/configmaps") +
                     hpack_literal("content-length", "5"),
                 false)
        .data(id, "123456789", true);
  });
  expect_ended("resets");
}

TEST_F(LimitsTest, MalformedHeadsCountAlike) {
  begin();
  provoke_resets([](FrameWriter& writer, std::uint32_t id) {
    writer.headers(id, hpack_get(object_path) + hpack_literal("connection", "close"));
  });
  expect_ended("resets");
}

TEST_F(LimitsTest, AWindowUpdateOfZeroEndsTheConnection) {
  begin();
  attacker->send(FrameWriter()
                     .headers(1, hpack_post("/api/v1/namespaces/default/configmaps"), false)
                     .window_update(1, 0)
                     .text());
  expect_ended("protocol");
}

TEST_F(LimitsTest, PingFloodEndsTheConnectionWithoutMemory) {
  begin();
  const std::size_t before = sluice->child().resident_bytes();
  FrameWriter writer;
  for (std::uint64_t i = 0; i < 1000; ++i) writer.ping(i);
  // Not read, so that every answer is owed.
  for (int i = 0; i < 100 && attacker->send(writer.text(), 2s, false); ++i) {
  }
  EXPECT_LE(sluice->child().resident_bytes(), before + allowance(8U << 20));
  expect_ended("control_frames");
}

TEST_F(LimitsTest, SettingsFloodEndsTheConnection) {
  begin();
  FrameWriter writer;
  for (std::uint32_t i = 0; i < 20'000; ++i) writer.settings({{frame::initial_window_size, i}});
  attacker->send(writer.text());
  expect_ended("control_frames");
}

TEST_F(LimitsTest, EmptyDataFloodEndsTheConnection) {
  begin();
  FrameWriter writer;
  writer.headers(1, hpack_post("/api/v1/namespaces/default/configmaps"), false);
  for (int i = 0; i < 20'000; ++i) writer.data(1, "");
  attacker->send(writer.text());
  expect_ended("control_frames");
}

TEST_F(LimitsTest, PriorityAndUnknownFramesEndTheConnection) {
  begin();
  FrameWriter writer;
  for (std::uint32_t i = 0; i < 10'000; ++i)
    writer.priority(1 + 2 * i).frame(frame::unknown, 0, 0, "12345678");
  attacker->send(writer.text());
  expect_ended("control_frames");
}

TEST_F(LimitsTest, HeadsOnClosedStreamsEndTheConnection) {
  begin();
  // The first one skips all streams below it, and closes them by that.
  attacker->send(FrameWriter().headers(30'001, hpack_get(object_path)).text());
  ASSERT_TRUE(attacker->read_until([&] { return attacker->count(frame::data) > 0; }));
  FrameWriter writer;
  for (std::uint32_t i = 0; i < 15'000; ++i) writer.headers(1 + 2 * i, hpack_get(object_path));
  attacker->send(writer.text());
  expect_ended("control_frames");
  EXPECT_EQ(apisim->seen("kb-1", 100).size(), 9U + 1U + 20U);
}

TEST_F(LimitsTest, DataOnClosedStreamsCostsLittleAndHurtsNobody) {
  begin();
  const std::size_t before = sluice->child().resident_bytes();
  const double cpu = sluice->child().cpu_seconds();
  attacker->send(FrameWriter().headers(1, hpack_get(object_path)).text());
  ASSERT_TRUE(attacker->read_until([&] { return attacker->count(frame::data) > 0; }));
  FrameWriter writer;
  // More than the connection's window in all: what is dropped must be credited.
  for (int i = 0; i < 100'000; ++i) writer.data(1, "x");
  for (int i = 0; i < 1500; ++i) writer.data(1, std::string(16'384, 'x'));
  ASSERT_TRUE(attacker->send(writer.text()));
  attacker->send(FrameWriter().headers(3, hpack_get(object_path)).text());
  EXPECT_TRUE(attacker->read_until([&] { return attacker->count(frame::headers) == 2; }));
  EXPECT_LE(sluice->child().cpu_seconds() - cpu, sanitized() ? 20 : 1);
  EXPECT_LE(sluice->child().resident_bytes(), before + allowance(8U << 20));
  attacker.reset();
  expect_unharmed();
}

TEST_F(LimitsTest, ContinuationFloodEndsTheConnectionEarly) {
  begin();
  const std::size_t before = sluice->child().resident_bytes();
  std::string head = hpack_get(object_path);
  attacker->send(FrameWriter().headers(1, head, true, false).text());
  std::string fields;
  for (int i = 0; i < 300; ++i)
    fields += hpack_literal(fmt::format("x-field-{}", i), "0123456789012345678901234567890");
  FrameWriter more;
  more.continuation(1, std::string_view(fields).substr(0, 16'000), false);
  std::size_t sent = 0;
  while (sent < (std::size_t{64} << 20) && attacker->send(more.text(), 5s))
    sent += more.text().size();
  EXPECT_LE(sent, std::size_t{16} << 20);
  EXPECT_LE(sluice->child().resident_bytes(), before + allowance(8U << 20));
  expect_ended("continuation");
  for (const Apisim::Seen& seen : apisim->seen("kb-1")) EXPECT_EQ(seen.user, "bob");
}

TEST_F(LimitsTest, EmptyContinuationsEndTheConnection) {
  begin();
  FrameWriter writer;
  writer.headers(1, hpack_get(object_path), true, false);
  for (int i = 0; i < 20'000; ++i) writer.continuation(1, "", false);
  attacker->send(writer.text());
  expect_ended("continuation");
}

TEST_F(LimitsTest, TooManyFieldsAreA431AndTooManyTimesTheEnd) {
  begin({"--request-head-fields-max=100"});
  const auto client = connect(&credentials.alice);
  Ask ask{.path = std::string(object_path)};
  for (int i = 0; i < 90; ++i) ask.fields.emplace_back(fmt::format("x-field-{}", i), "value");
  EXPECT_EQ(client->fetch(ask).status, 200);
  for (int i = 0; i < 20; ++i) ask.fields.emplace_back(fmt::format("x-more-{}", i), "value");
  const Answer& refused = client->fetch(ask);
  EXPECT_EQ(refused.status, 431) << refused.describe();
  EXPECT_TRUE(refused.body.contains(R"("kind":"Status")")) << refused.body;
  EXPECT_GE(sluice->metric("sluice_local_replies_total", {"head_too_large"}), 1.0);
  EXPECT_EQ(client->fetch({.path = std::string(object_path)}).status, 200);
  int answered = 0;
  while (answered < 500 && client->fetch(ask).status == 431) ++answered;
  EXPECT_LT(answered, 500);
  EXPECT_TRUE(client->ended());
  EXPECT_EQ(exceeded("header_block"), 1.0);
  EXPECT_EQ(exceeded_any(), 1.0);
  attacker.reset();
  expect_unharmed();
}

TEST_F(LimitsTest, HeadsAreServedUpToTheirLimitAndBeyondItA431) {
  begin();
  const auto client = connect(&credentials.alice);
  // Impersonation of somebody in thousands of groups is real.
  Ask ask{.path = std::string(object_path), .fields = {{"impersonate-user", "bob"}}};
  for (int i = 0; i < 3500; ++i)
    ask.fields.emplace_back("impersonate-group", fmt::format("group-{:04}", i));
  EXPECT_EQ(client->fetch(ask).status, 200) << client->answer(1).describe();
  const std::vector<Apisim::Seen> seen = apisim->seen("kb-1", 1);
  bool whole = false;
  for (const Apisim::Seen& each : seen)
    whole = whole || each.values("impersonate-group").size() == 3500;
  EXPECT_TRUE(whole);
  EXPECT_EQ(client
                ->fetch({.path = std::string(object_path),
                         .fields = {{"x-large", std::string(60'000, 'x')}}})
                .status,
            200);
  Ask too_large{.path = std::string(object_path)};
  for (int i = 0; i < 10; ++i) too_large.fields.emplace_back("x-large", std::string(30'000, 'x'));
  EXPECT_EQ(client->fetch(too_large).status, 431);
  EXPECT_EQ(client->fetch({.path = std::string(object_path)}).status, 200);
  attacker.reset();
  expect_unharmed();
}

TEST_F(LimitsTest, OneLongFieldIsServedUpToTheLimitOfTheHeadAndBeyondItA431) {
  begin();
  const auto client = connect(&credentials.alice);
  const auto status_with = [&](std::size_t bytes) {
    return client
        ->fetch(
            {.path = std::string(object_path), .fields = {{"x-large", std::string(bytes, '^')}}})
        .status;
  };
  EXPECT_EQ(status_with(200'000), 200);
  // '^' takes 14 bits on the wire: more than the codec keeps of one string.
  EXPECT_EQ(status_with(300'000), 431);
  EXPECT_EQ(status_with(100), 200);
  attacker.reset();
  expect_unharmed();
}

TEST_F(LimitsTest, ZeroWindowsHoldLittleMemoryAndHurtNobody) {
  begin();
  attacker = connect_raw(&credentials.alice);
  ASSERT_TRUE(attacker->begin_http2({{frame::initial_window_size, 0}}));
  const std::size_t before = sluice->child().resident_bytes();
  FrameWriter writer;
  for (std::uint32_t i = 0; i < 200; ++i)
    writer.headers(1 + 2 * i, hpack_get("/api/v1/namespaces/bench-10m/configmaps"));
  ASSERT_TRUE(attacker->send(writer.text()));
  EXPECT_TRUE(attacker->read_until([&] { return attacker->count(frame::headers) == 200; }, 20s));
  EXPECT_EQ(attacker->count(frame::data), 0U);
  loop->run_for(500ms);
  // 64 KB of each stream.
  EXPECT_LE(sluice->child().resident_bytes(), before + allowance(32U << 20));
  expect_unharmed();
  attacker.reset();
  EXPECT_TRUE(eventually([&] { return sluice->metric("sluice_exchanges") == 6; }, 10s));
}

TEST_F(LimitsTest, MoreStreamsThanAdvertisedEndTheConnection) {
  begin({"--http2-max-streams-per-connection=20"});
  FrameWriter writer;
  for (std::uint32_t i = 0; i < 30; ++i)
    writer.headers(1 + 2 * i, hpack_get("/api/v1/pods?watch=1&resourceVersion=1"));
  attacker->send(writer.text());
  // RFC 9113 section 5.1.2: who exceeds a limit that it has acknowledged breaks the protocol.
  expect_ended("protocol");
  EXPECT_LE(apisim->total({"watches_started"}), 6U + 20U);
}

TEST_F(LimitsTest, HalfARequestHeadTimesOut) {
  begin({"--request-head-timeout=1s"});
  const Clock::time_point began = Clock::now();
  attacker->send(FrameWriter().headers(1, hpack_get(object_path), true, false).text());
  EXPECT_TRUE(attacker->wait_end(8s));
  EXPECT_GE(Clock::now() - began, 800ms);
  expect_unharmed();
}

// The deadline is each head's own: one that begins with the last bytes of another has its time.
TEST_F(LimitsTest, HeadsThatFollowEachOtherInPiecesAreServed) {
  begin({"--request-head-timeout=1s"});
  std::uint32_t id = 1;
  const auto head = [&] {
    const std::string text = FrameWriter().headers(id, hpack_get(object_path)).text();
    id += 2;
    return text;
  };
  std::string next = head();
  const Clock::time_point began = Clock::now();
  attacker->send(next.substr(0, next.size() / 2));
  while (Clock::now() - began < 2500ms) {
    const std::string rest = next.substr(next.size() / 2);
    next = head();
    ASSERT_TRUE(attacker->send(rest + next.substr(0, next.size() / 2)));
    attacker->read_until([] { return false; }, 100ms);
    ASSERT_EQ(attacker->end(), RawClient::End::open);
  }
  EXPECT_GE(attacker->count(frame::headers), (id - 3) / 2 - 1);
}

TEST_F(LimitsTest, ConnectIsNotServedAndGarbageFramesEndTheConnection) {
  begin();
  const auto client = connect_raw(&credentials.alice);
  ASSERT_TRUE(client->begin_http2());
  client->send(
      FrameWriter()
          .headers(1, hpack_block({{":method", "CONNECT"}, {":authority", "example:443"}}), false)
          .text());
  EXPECT_TRUE(client->read_until([&] {
    return client->find(frame::headers) != nullptr || client->find(frame::rst_stream) != nullptr;
  }));
  attacker->send(FrameWriter().frame(frame::data, 0, 0, "on stream zero").text());
  EXPECT_TRUE(attacker->wait_end());
  ASSERT_NE(attacker->find(frame::goaway), nullptr);
  EXPECT_EQ(attacker->find(frame::goaway)->number(4), 1U);  // PROTOCOL_ERROR
  EXPECT_TRUE(eventually([&] { return exceeded("protocol") == 1; }, 5s));
  EXPECT_EQ(exceeded_any(), 1.0);
  expect_unharmed();
}

TEST_F(LimitsTest, CancelledRequestsNeverPileUpOnASharedBackendConnection) {
  begin();
  apisim->post("/servers/all/set?latency=2s");
  // Within its own budget; at the backend each one runs on for a while.
  const auto hasty = connect(&credentials.alice);
  for (int round = 0; round < 3; ++round) {
    std::vector<Http2Client::Id> asked;
    for (int i = 0; i < 60; ++i) asked.push_back(hasty->ask({.path = std::string(object_path)}));
    loop->run_for(50ms);
    for (const Http2Client::Id id : asked) hasty->reset(id);
    loop->run_for(50ms);
  }
  EXPECT_FALSE(hasty->ended());
  apisim->post("/servers/all/set?latency=0");
  loop->run_for(600ms);
  attacker.reset();
  expect_unharmed();
  EXPECT_EQ(sluice->metric("sluice_backend_streams_refused_total"), 0.0);
  EXPECT_TRUE(eventually([&] { return sluice->metric("sluice_exchanges") == 6; }, 5s));
}

}  // namespace
}  // namespace sluice::test
