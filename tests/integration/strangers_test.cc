// SPDX-License-Identifier: GPL-3.0-or-later
// What requests without a credential, and with one that nobody knows yet, cost others.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "harness.h"

namespace sluice::test {
namespace {

using namespace std::chrono_literals;

class StrangersTest : public IntegrationTest {
 protected:
  static constexpr std::size_t askers = 4;
  static constexpr std::size_t asks = 240;

  // Many requests on each of some connections.
  void ask(const std::function<Ask(std::size_t connection, std::size_t stream)>& next) {
    for (std::size_t i = 0; i < askers; ++i) {
      strangers_.push_back(connect());
      for (std::size_t k = 0; k < asks; ++k) {
        asked_.emplace_back(strangers_.back().get(), strangers_.back()->ask(next(i, k)));
      }
    }
  }
  std::size_t waiting() const {
    return static_cast<std::size_t>(std::ranges::count_if(
        asked_, [](const auto& each) { return !each.first->answer(each.second).over; }));
  }
  // By a token that is known, and may be new to the proxy.
  void fetch(Http2Client& client, int token) {
    const Answer& answer = client.fetch(
        {.path = std::string(object_path), .fields = bearer("token-" + std::to_string(token))});
    EXPECT_EQ(answer.status, 200) << answer.describe();
    slowest_ = std::max<Duration>(slowest_, answer.ended_at - answer.asked);
  }

  std::vector<std::unique_ptr<Http2Client>> strangers_;
  std::vector<std::pair<Http2Client*, Http2Client::Id>> asked_;
  Duration slowest_{};
};

// Each of theirs costs an API server's connection, so they come one by one; a service account's
// token is new every hour, and also has to prove itself on such a connection.
TEST_F(StrangersTest, AFreshTokenDoesNotWaitForAThousandRequestsWithoutCredential) {
  start({"--workers=1", "--anonymous-requests-per-address=4096"});
  ask([](std::size_t, std::size_t) { return Ask{.path = "/version"}; });
  const auto client = connect();
  for (int token = 0; token < 8; ++token) fetch(*client, token);
  EXPECT_GT(waiting(), askers * asks / 2);
  // Seconds when all wait in one line.
  EXPECT_LE(slowest_, 1s);
  RecordProperty("slowest_ms", std::to_string(slowest_ / 1ms));
}

TEST_F(StrangersTest, BeyondAShareRequestsWithoutACredentialAreRefusedAtOnce) {
  start({"--workers=1"});
  apisim->post("/servers/all/set?latency=3s");
  const auto stranger = connect();
  std::vector<Http2Client::Id> asked;
  for (int i = 0; i < 200; ++i) asked.push_back(stranger->ask({.path = "/version"}));
  const auto refused = [&] {
    return std::ranges::count_if(asked, [&](Http2Client::Id id) {
      const Answer& answer = stranger->answer(id);
      return answer.status == 429 && answer.fields.contains("retry-after");
    });
  };
  EXPECT_TRUE(eventually([&] { return refused() >= 72; }, 2500ms)) << refused();
  EXPECT_LE(refused(), 72);  // 128 wait
  EXPECT_EQ(sluice->metric("sluice_local_replies_total", {"anonymous_share"}), 72.0);
  // A balancer's look is not refused, nor who has a certificate.
  EXPECT_EQ(connect()->fetch({.path = "/readyz"}).status, 200);
  EXPECT_EQ(connect(&credentials.alice)->fetch({.path = std::string(object_path)}).status, 200);
}

// All of them come from one address, as behind a NAT.
TEST_F(StrangersTest, ATokenIsNotDelayedByMadeUpOnesOfItsAddress) {
  start({"--workers=1"});
  const auto known = connect();
  EXPECT_EQ(known->fetch({.path = std::string(object_path), .fields = bearer("token-0")}).status,
            200);
  ask([](std::size_t i, std::size_t k) {
    return Ask{.path = "/version", .fields = bearer(fmt::format("made-up-{}-{}", i, k))};
  });
  for (int token = 1; token < 4; ++token) fetch(*known, token);      // renewals
  for (int token = 4; token < 8; ++token) fetch(*connect(), token);  // newcomers
  EXPECT_GT(waiting(), askers * asks / 4);
  EXPECT_LE(slowest_, 1s);
  RecordProperty("slowest_ms", std::to_string(slowest_ / 1ms));
}

// Heads that the compression makes out of some bytes each; the answers, which are our own, are not
// taken.
TEST_F(StrangersTest, HeadsOfRequestsThatAreAnsweredAreNotKept) {
  start({"--workers=1"});
  const auto bystander = connect(&credentials.alice);
  EXPECT_EQ(bystander->fetch({.path = std::string(object_path)}).status, 200);
  const std::size_t before = sluice->child().resident_bytes();
  constexpr int connections = 8;
  constexpr std::uint32_t streams = 240;
  constexpr std::size_t value_bytes = 3500;
  constexpr int repeated = 60;
  std::vector<std::unique_ptr<RawClient>> strangers;
  for (int i = 0; i < connections; ++i) {
    strangers.push_back(connect_raw());
    ASSERT_TRUE(
        strangers[static_cast<std::size_t>(i)]->begin_http2({{frame::initial_window_size, 0}}));
    FrameWriter writer;
    for (std::uint32_t stream = 0; stream < streams; ++stream) {
      // A path that no server may be asked, and the first entry of the dynamic table again and
      // again (RFC 7541 section 6.1: index 62).
      std::string block = hpack_get("/%zz");
      if (stream == 0) {
        block += hpack_literal("x", std::string(value_bytes, 'v'), Indexing::incremental);
      }
      block += std::string(repeated, '\xbe');
      writer.headers(1 + 2 * stream, block);
    }
    ASSERT_TRUE(strangers.back()->send(writer.text(), 10s));
    ASSERT_TRUE(strangers.back()->read_until(
        [&] { return strangers.back()->count(frame::headers) == streams; }));
    EXPECT_EQ(bystander->fetch({.path = std::string(object_path)}).status, 200);
  }
  EXPECT_EQ(sluice->metric("sluice_local_replies_total", {"overloaded"}), 0.0);
  // 210 KB of each of 1920 requests would be 400 MB.
  EXPECT_LE(sluice->child().resident_bytes(), before + allowance(64 << 20));
}

// As after an outage in which all tokens have become old: as many as --full says, or 1000.
TEST_F(StrangersTest, FreshTokensOfManyClientsAreKnownSoonBesideMadeUpOnes) {
  const char* wanted = std::getenv("SLUICE_FRESH_TOKENS");
  const std::size_t tokens = wanted != nullptr ? std::strtoul(wanted, nullptr, 10) : 1000;
  std::string table;
  for (std::size_t i = 0; i < tokens; ++i) {
    table += fmt::format("fresh-{0},user-{0},uid-{0},\"developers\"\n", i);
  }
  const std::string file = credentials.file("fresh-tokens.csv");
  write_file(file, table);
  start({"--workers=2"}, {"--token-auth-file=" + file});
  std::vector<std::unique_ptr<Http2Client>> garbage;
  for (int i = 0; i < 4; ++i) garbage.push_back(connect());
  std::vector<std::unique_ptr<Http2Client>> honest;
  for (int i = 0; i < 200; ++i) honest.push_back(connect());
  std::map<const Http2Client*, std::size_t> open;
  const auto collect = [&](Http2Client& client, const std::function<void(const Answer&)>& check) {
    for (const Http2Client::Id id : client.take_over()) {
      check(client.answer(id));
      client.forget(id);
      --open[&client];
    }
  };
  std::size_t made_up = 0;
  std::size_t asked = 0;
  std::size_t proven = 0;
  const auto began = Clock::now();
  ASSERT_TRUE(eventually(
      [&] {
        for (const auto& client : garbage) {
          collect(*client, [](const Answer&) {});
          for (; open[client.get()] < 100 && client->can_ask(); ++open[client.get()]) {
            client->ask({.path = std::string(object_path),
                         .fields = bearer(fmt::format("made-up-{}", ++made_up))});
          }
        }
        for (const auto& client : honest) {
          collect(*client, [&](const Answer& answer) {
            EXPECT_EQ(answer.status, 200) << answer.describe();
            ++proven;
          });
          for (; open[client.get()] < 4 && asked < tokens; ++open[client.get()]) {
            client->ask({.path = std::string(object_path),
                         .fields = bearer(fmt::format("fresh-{}", asked++))});
          }
        }
        return proven == tokens;
      },
      120s));
  const Duration took = Clock::now() - began;
  // 50,000 within 30 s; much slower under a sanitizer.
  EXPECT_LE(took, (1s + tokens * 600us) * (sanitized() ? 10 : 1));
  EXPECT_GT(made_up, 100U);
  RecordProperty("took_ms", std::to_string(took / 1ms));
  std::printf("figure: %zu fresh tokens proven in %.2f s beside %zu made-up ones\n", proven,
              to_seconds(took), made_up);
}

// They are held as long as they may take; others are behind the same address.
TEST_F(StrangersTest, HeadsThatAreNeverCompleteAreBoundedByTheWorkersBytes) {
  start({"--workers=1", "--body-bytes-per-worker=16MiB", "--request-head-timeout=60s"});
  const auto bystander = connect(&credentials.alice);
  const auto ask = [&] {
    const Answer& answer = bystander->fetch({.path = std::string(object_path)});
    EXPECT_EQ(answer.status, 200) << answer.describe();
  };
  ask();
  // 210 KB out of 4 KB.
  const std::string block = hpack_get("/version") +
                            hpack_literal("x", std::string(3500, 'v'), Indexing::incremental) +
                            std::string(59, '\xbe');
  constexpr std::size_t connections = 200;
  std::vector<std::unique_ptr<RawClient>> strangers;
  for (std::size_t i = 0; i < connections; ++i) {
    strangers.push_back(connect_raw());
    ASSERT_TRUE(strangers.back()->begin_http2());
  }
  const std::size_t before = sluice->child().resident_bytes();
  std::size_t most = before;
  for (const auto& stranger : strangers) {
    if (!stranger->send(FrameWriter().headers(1, block, true, false).text(), 10s)) continue;
    ask();
    most = std::max(most, sluice->child().resident_bytes());
  }
  // All of them would be 42 MB.
  EXPECT_LE(most, before + allowance(std::size_t{20} << 20));
  EXPECT_GE(sluice->metric("sluice_requests_ended_for_room_total"), 50.0);
  EXPECT_EQ(sluice->metric("sluice_local_replies_total", {"overloaded"}), 0.0);
}

// Who is idle costs memory, too.
TEST_F(StrangersTest, ConnectionsThatRestMakeRoomForWhoIsProven) {
  start({"--workers=1", "--body-bytes-per-worker=8MiB", "--body-bytes-per-client=8MiB"});
  std::vector<std::unique_ptr<RawClient>> strangers;
  for (std::size_t i = 0; i < 400; ++i) {
    strangers.push_back(connect_raw());
    ASSERT_TRUE(strangers.back()->begin_http2());
  }
  EXPECT_EQ(sluice->metric("sluice_client_connections"), 400.0);
  // 64 KB of each.
  constexpr std::uint32_t lists = 56;
  const auto reader = connect_raw(&credentials.alice);
  ASSERT_TRUE(reader->begin_http2({{frame::initial_window_size, 0}}));
  FrameWriter writer;
  for (std::uint32_t i = 0; i < lists; ++i) {
    writer.headers(1 + 2 * i, hpack_get("/api/v1/namespaces/bench-10m/configmaps"));
  }
  ASSERT_TRUE(reader->send(writer.text()));
  EXPECT_TRUE(reader->read_until([&] { return reader->count(frame::headers) == lists; }, 20s));
  EXPECT_TRUE(
      eventually([&] { return sluice->metric("sluice_body_bytes") >= lists * 65536.0; }, 20s));
  EXPECT_EQ(connect(&credentials.bob)->fetch({.path = std::string(object_path)}).status, 200);
  EXPECT_TRUE(eventually(
      [&] { return sluice->metric("sluice_requests_ended_for_room_total") >= 20.0; }, 10s));
  EXPECT_TRUE(
      eventually([&] { return sluice->metric("sluice_client_connections") <= 382.0; }, 10s));
  EXPECT_EQ(sluice->metric("sluice_exchanges"), lists);
  EXPECT_EQ(sluice->metric("sluice_local_replies_total", {"overloaded"}), 0.0);
}

// What counts as too much is next to nothing here: whatever waits behind another request.
TEST_F(StrangersTest, WhoAsksForMoreThanAWorkerCanDoIsRefusedAndOthersAreNot) {
  start({"--workers=1", "--overload-wait=1us", "--overload-patience=200ms"});
  std::vector<std::unique_ptr<Http2Client>> busy;
  for (int i = 0; i < 4; ++i) busy.push_back(connect());
  std::map<const Http2Client*, std::size_t> open;
  const auto bystander = connect(&credentials.alice);
  const auto keep_asking = [&] {
    for (const auto& client : busy) {
      for (const Http2Client::Id id : client->take_over()) {
        client->forget(id);
        --open[client.get()];
      }
      while (open[client.get()] < 200 && client->can_ask()) {
        client->ask({.path = std::string(object_path), .fields = bearer("token-3")});
        ++open[client.get()];
      }
    }
  };
  const auto refused = [&] {
    return sluice->metric("sluice_local_replies_total", {"worker_busy"});
  };
  int asked = 0;
  EXPECT_TRUE(eventually(
      [&] {
        keep_asking();
        const Answer& answer = bystander->fetch({.path = std::string(object_path)});
        EXPECT_EQ(answer.status, 200) << answer.describe();
        return ++asked >= 100 && refused() >= 100;
      },
      30s));
  EXPECT_TRUE(sluice->child().log().contains("a worker is short of CPU time"));
}

}  // namespace
}  // namespace sluice::test
