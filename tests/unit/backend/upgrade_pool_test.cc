// SPDX-License-Identifier: GPL-3.0-or-later
// Connections for one request each: what reaches the backend and when, how tunnels end, who has to
// wait, and what is known of requests that came to nothing.
#include "sluice/backend/upgrade_pool.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <deque>

#include "backend_fixture.h"
#include "upgrade_backend.h"

namespace sluice::backend {
namespace {

using test::UpgradeBackend;

http::RequestHead exec() {
  http::RequestHead head = get("/api/v1/namespaces/x/pods/p/exec");
  head.protocol = "SPDY/3.1";
  head.fields.add("x-remote-user", "alice");
  return head;
}

constexpr std::string_view exec_text =
    "GET /api/v1/namespaces/x/pods/p/exec HTTP/1.1\r\nhost: kubernetes\r\nconnection: Upgrade\r\n"
    "upgrade: SPDY/3.1\r\nx-remote-user: alice\r\n\r\n";

// What an exchange is to its stream.
class Exchange final : public StreamHandler {
 public:
  explicit Exchange(http::RequestHead its_head = exec()) : head(std::move(its_head)) {}

  const http::RequestHead& request_head() override { return head; }
  void on_response(http::ResponseHead&& answer, bool end_of_stream) override {
    statuses.push_back(answer.status);
    whole = end_of_stream;
  }
  void on_response_body(Bytes bytes) override {
    body += as_text(bytes);
    if (consumes) {
      stream.consume(bytes.size());
    } else {
      unconsumed += bytes.size();
    }
  }
  void on_response_trailers(http::Fields&&) override {}
  void on_tunnel_half_ended(bool in_order) override { half_end = in_order; }
  http::BodyResult on_request_body_wanted(MutableBytes room) override {
    const std::size_t n = std::min(room.size(), to_send.size());
    std::memcpy(room.data(), to_send.data(), n);
    to_send.erase(0, n);
    return {n, to_send.empty() ? how : http::BodyStatus::more};
  }
  void on_stream_ended(const StreamEnd& how_it_ended) override {
    EXPECT_FALSE(end.has_value()) << "a stream ends once";
    end = how_it_ended;
  }
  bool on_connection_retiring(Retiring) override { return false; }

  void send(std::string_view text) {
    to_send += text;
    stream.resume_body();
  }
  void finish(http::BodyStatus status = http::BodyStatus::finished) {
    how = status;
    stream.resume_body();
  }
  int status() const { return statuses.empty() ? 0 : statuses.back(); }

  http::RequestHead head;
  std::vector<int> statuses;
  bool whole = false;
  std::string body;
  std::string to_send;
  http::BodyStatus how = http::BodyStatus::more;
  bool consumes = true;
  std::size_t unconsumed = 0;
  std::optional<bool> half_end;
  std::optional<StreamEnd> end;
  BackendStream stream{*this};
};

class UpgradePoolTest : public testing::Test {
 protected:
  UpgradePoolTest() : backend(simulation.transport(), address_of(1)) {
    options.connect_spacing = 0s;
  }
  void TearDown() override {
    exchanges.clear();
    if (pool) {
      pool->terminate();
      pool->terminate();
    }
    backend.stop();
    simulation.settle();
    EXPECT_TRUE(!pool || pool->terminated());
  }

  void make_pool() {
    pool = std::make_unique<UpgradePool>(
        simulation.transport(), Endpoint{address_of(1), "api-1", "backend"}, options,
        test::ClusterKeys::get().plain_context("http/1.1"),
        [this](PoolEvent event, const std::string&) { events.push_back(event); });
  }
  Exchange& open(Exchange* exchange = new Exchange(), const OpenRequest& request = {}) {
    if (!pool) make_pool();
    exchanges.emplace_back(exchange);
    pool->open(exchange->stream, request);
    return *exchange;
  }
  // A tunnel on the simulation's first connection.
  Exchange& open_tunnel() {
    Exchange& exchange = open();
    simulation.settle();
    backend.connection(0).send(UpgradeBackend::switched);
    simulation.settle();
    EXPECT_EQ(exchange.status(), 101);
    return exchange;
  }
  std::string received() { return backend.connection(0).received; }

  test::Simulation simulation;
  UpgradeBackend backend;
  UpgradeOptions options;
  std::unique_ptr<UpgradePool> pool;
  std::vector<PoolEvent> events;
  std::deque<std::unique_ptr<Exchange>> exchanges;
};

// --- tunnels -----------------------------------------------------------------------------------

TEST_F(UpgradePoolTest, ATunnelCarriesBytesBothWaysForAsLongAsItLikes) {
  Exchange& exchange = open_tunnel();
  EXPECT_EQ(received(), exec_text);
  for (int day = 0; day < 3; ++day) {
    exchange.send("to ");
    backend.connection(0).send("from ");
    simulation.advance(24h);
  }
  EXPECT_EQ(received(), std::string(exec_text) + "to to to ");
  EXPECT_EQ(exchange.body, "from from from ");
  EXPECT_FALSE(exchange.end.has_value());
}

TEST_F(UpgradePoolTest, NothingGoesOutBeforeTheAnswerHoweverLateItIs) {
  Exchange& exchange = open();
  simulation.settle();
  exchange.send("GET /secrets HTTP/1.1\r\n\r\n");
  simulation.advance(2h);
  EXPECT_EQ(received(), exec_text);
  backend.connection(0).send("HTTP/1.1 100 Continue\r\n\r\n");
  simulation.settle();
  EXPECT_EQ(received(), exec_text);
  backend.connection(0).send(UpgradeBackend::switched);
  simulation.settle();
  EXPECT_EQ(received(), std::string(exec_text) + "GET /secrets HTTP/1.1\r\n\r\n");
  EXPECT_EQ(exchange.statuses, (std::vector<int>{100, 101}));
}

TEST_F(UpgradePoolTest, TheBodyOfTheRequestGoesWithIt) {
  auto* exchange = new Exchange();
  exchange->head.fields.add("content-length", "5");
  exchange->to_send = "hello";
  exchange->how = http::BodyStatus::finished;
  open(exchange, {.has_body = true});
  simulation.settle();
  EXPECT_TRUE(received().ends_with("content-length: 5\r\n\r\nhello")) << received();
}

TEST_F(UpgradePoolTest, EachDirectionEndsOnItsOwn) {
  for (const bool ours_first : {true, false}) {
    Exchange& exchange = open();
    simulation.settle();
    UpgradeBackend::Connection& its = backend.connection(backend.accepted() - 1);
    its.send(UpgradeBackend::switched);
    simulation.settle();
    const auto end_ours = [&] {
      exchange.send("last");
      exchange.finish();
      simulation.settle();
      EXPECT_EQ(its.peer_end, true);
    };
    const auto end_theirs = [&] {
      its.send("words");
      its.end_output();
      simulation.settle();
      EXPECT_EQ(exchange.half_end, true);
    };
    ours_first ? end_ours() : end_theirs();
    simulation.advance(24h);
    EXPECT_FALSE(exchange.end.has_value());
    ours_first ? end_theirs() : end_ours();
    ASSERT_TRUE(exchange.end.has_value());
    EXPECT_EQ(exchange.end->cause, StreamEnd::Cause::completed);
    EXPECT_EQ(exchange.body, "words");
    EXPECT_TRUE(its.received.ends_with("last"));
    its.close();
    simulation.settle();
    EXPECT_EQ(pool->connections(), std::size_t{0});
    EXPECT_FALSE(its.end.has_value());
  }
  EXPECT_EQ(simulation.network().resets(), 0U);
}

TEST_F(UpgradePoolTest, AnEndThatNobodyHasSaidIsPassedOnAsSuch) {
  Exchange& exchange = open_tunnel();
  exchange.send("last");
  exchange.finish(http::BodyStatus::cut);
  simulation.settle();
  EXPECT_EQ(backend.connection(0).peer_end, false);
  EXPECT_TRUE(received().ends_with("last"));
  backend.connection(0).end_output(false);
  simulation.settle();
  EXPECT_EQ(exchange.half_end, false);
}

TEST_F(UpgradePoolTest, AnAbruptEndEndsTheStream) {
  Exchange& exchange = open_tunnel();
  backend.connection(0).pause();
  exchange.send("unread");
  simulation.settle();
  backend.connection(0).drop();
  simulation.settle();
  ASSERT_TRUE(exchange.end || exchange.half_end == false);
  exchange.send("more");
  simulation.settle();
  EXPECT_TRUE(exchange.end || exchange.half_end == false);
}

TEST_F(UpgradePoolTest, ACancelledOneEndsAtOnceAndAConcludedOneAsItIsTold) {
  Exchange& cancelled = open_tunnel();
  cancelled.stream.cancel();
  simulation.settle();
  EXPECT_EQ(backend.connection(0).peer_end, false);
  std::size_t number = 1;
  for (const bool in_order : {true, false}) {
    Exchange& concluded = open();
    simulation.settle();
    backend.connection(number).send(UpgradeBackend::switched);
    simulation.settle();
    concluded.send("last");
    concluded.stream.conclude(in_order);
    simulation.settle();
    EXPECT_EQ(backend.connection(number).peer_end, in_order);
    EXPECT_FALSE(cancelled.end || concluded.end);
    ++number;
  }
}

TEST_F(UpgradePoolTest, AClientThatDoesNotReadKeepsTheBackendFromSending) {
  simulation.network().bound_receive_buffers(20'000);
  Exchange& exchange = open_tunnel();
  exchange.consumes = false;
  backend.connection(0).send(std::string(10'000'000, 'x'));
  simulation.advance(48h);
  EXPECT_GE(exchange.unconsumed, options.window_bytes);
  EXPECT_LE(exchange.unconsumed, options.window_bytes + 32 * 1024);
  EXPECT_FALSE(exchange.end.has_value());
  exchange.consumes = true;
  exchange.stream.consume(std::exchange(exchange.unconsumed, 0));
  simulation.settle();
  EXPECT_EQ(exchange.body.size(), 10'000'000U);
}

TEST_F(UpgradePoolTest, ABackendThatDoesNotReadIsWaitedFor) {
  simulation.network().bound_receive_buffers(20'000);
  Exchange& exchange = open_tunnel();
  backend.connection(0).pause();
  exchange.to_send = std::string(1'000'000, 'x');
  exchange.stream.resume_body();
  simulation.advance(48h);
  EXPECT_GT(exchange.to_send.size(), 800'000U);
  EXPECT_GT(exchange.stream.held_bytes(), 0U);
  EXPECT_LE(exchange.stream.held_bytes(), 80'000U);
  backend.connection(0).resume();
  simulation.settle();
  EXPECT_EQ(received().size(), exec_text.size() + 1'000'000);
}

TEST_F(UpgradePoolTest, ShortSendsAndReceivesChangeNothing) {
  simulation.network().send_in_pieces(100);
  simulation.network().receive_in_pieces(77);
  Exchange& exchange = open_tunnel();
  std::string text;
  for (int i = 0; i < 20'000; ++i) text += std::to_string(i);
  exchange.send(text);
  backend.connection(0).send(text);
  simulation.settle();
  EXPECT_EQ(received(), std::string(exec_text) + text);
  EXPECT_EQ(exchange.body, text);
}

TEST_F(UpgradePoolTest, AVanishedBackendIsGoneAfterAMinute) {
  Exchange& exchange = open_tunnel();
  simulation.network().vanish(address_of(1));
  simulation.advance(59s);
  EXPECT_FALSE(exchange.end.has_value());
  simulation.advance(12s);
  ASSERT_TRUE(exchange.end.has_value());
  EXPECT_EQ(exchange.end->cause, StreamEnd::Cause::connection_lost);
}

// --- other answers -----------------------------------------------------------------------------

TEST_F(UpgradePoolTest, AnyOtherAnswerEndsTheConnectionAndNothingElseIsSent) {
  for (const std::string answer : {"HTTP/1.1 400 Bad\r\nContent-Length: 3\r\n\r\nbad",
                                   "HTTP/1.1 400 Bad\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nbad"
                                   "\r\n0\r\n\r\n"}) {
    Exchange& exchange = open();
    simulation.settle();
    exchange.send("GET /secrets HTTP/1.1\r\n\r\n");
    UpgradeBackend::Connection& its = backend.connection(backend.accepted() - 1);
    its.send(answer + "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecond");
    simulation.settle();
    EXPECT_EQ(exchange.statuses, (std::vector<int>{400}));
    EXPECT_EQ(exchange.body, "bad");
    ASSERT_TRUE(exchange.end.has_value());
    EXPECT_EQ(exchange.end->cause, StreamEnd::Cause::completed);
    EXPECT_EQ(its.received, exec_text);
    EXPECT_EQ(its.peer_end, true);
    its.close();
    simulation.settle();
    EXPECT_EQ(pool->connections(), std::size_t{0});
  }
}

TEST_F(UpgradePoolTest, AnAnswerToTheEndOfTheConnectionIsWholeOnlyWhenThatIsInOrder) {
  for (const bool in_order : {true, false}) {
    Exchange& exchange = open();
    simulation.settle();
    UpgradeBackend::Connection& its = backend.connection(backend.accepted() - 1);
    its.send("HTTP/1.1 500 No\r\n\r\nall of it");
    its.end_output(in_order);
    simulation.settle();
    EXPECT_EQ(exchange.body, "all of it");
    ASSERT_TRUE(exchange.end.has_value());
    EXPECT_EQ(exchange.end->cause == StreamEnd::Cause::completed, in_order);
  }
}

TEST_F(UpgradePoolTest, RubbishEndsTheStreamAndIsNeverSentAgain) {
  for (const std::string_view rubbish :
       {"SSH-2.0-OpenSSH\r\n", "\0\0\4",
        "HTTP/1.1 101 S\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"}) {
    Exchange& exchange = open();
    simulation.settle();
    exchange.send("early");
    UpgradeBackend::Connection& its = backend.connection(backend.accepted() - 1);
    its.send(rubbish);
    its.end_output();
    simulation.settle();
    ASSERT_TRUE(exchange.end.has_value()) << rubbish;
    EXPECT_EQ(exchange.end->retry, Retry::never);
    EXPECT_TRUE(exchange.statuses.empty());
    EXPECT_EQ(its.received, exec_text);
  }
}

TEST_F(UpgradePoolTest, AConnectionLostBehindTheRequestIsNeverTriedAgain) {
  Exchange& exchange = open();
  simulation.settle();
  backend.connection(0).drop();
  simulation.settle();
  ASSERT_TRUE(exchange.end.has_value());
  EXPECT_EQ(exchange.end->cause, StreamEnd::Cause::connection_lost);
  EXPECT_EQ(exchange.end->retry, Retry::never);
  EXPECT_EQ(events.back(), PoolEvent::connection_lost);
}

TEST_F(UpgradePoolTest, AHeadThatCouldBeReadInTwoWaysIsNotSent) {
  auto* exchange = new Exchange();
  exchange->head.path = "/a HTTP/1.1\r\nx-remote-user: root";
  open(exchange);
  simulation.settle();
  ASSERT_TRUE(exchange->end.has_value());
  EXPECT_EQ(exchange->end->retry, Retry::never);
  EXPECT_EQ(received(), "");
}

// --- connecting --------------------------------------------------------------------------------

TEST_F(UpgradePoolTest, ABackendThatCannotBeReachedHasNotExecutedAnything) {
  backend.refuse();
  simulation.settle();
  Exchange& exchange = open();
  simulation.settle();
  ASSERT_TRUE(exchange.end.has_value());
  EXPECT_EQ(exchange.end->cause, StreamEnd::Cause::not_connected);
  EXPECT_EQ(exchange.end->retry, Retry::not_executed);
  EXPECT_EQ(events, (std::vector{PoolEvent::connect_failed}));
  EXPECT_EQ(pool->counters().connect_failures, 1U);
}

TEST_F(UpgradePoolTest, WhoSpeaksHttp2AloneIsNotSpokenTo) {
  backend.listen("h2");
  Exchange& exchange = open();
  simulation.settle();
  ASSERT_TRUE(exchange.end.has_value());
  EXPECT_EQ(exchange.end->cause, StreamEnd::Cause::not_connected);
  EXPECT_EQ(exchange.end->retry, Retry::not_executed);
}

TEST_F(UpgradePoolTest, EachHasAConnectionOfItsOwn) {
  for (int i = 0; i < 50; ++i) open();
  simulation.settle();
  EXPECT_EQ(backend.accepted(), std::size_t{50});
  for (std::size_t i = 0; i < 50; ++i) EXPECT_EQ(backend.connection(i).received, exec_text);
}

TEST_F(UpgradePoolTest, HandshakesArePaced) {
  options.connecting_max = 1;
  options.connect_spacing = 20ms;
  for (int i = 0; i < 10; ++i) open();
  simulation.settle();
  EXPECT_EQ(backend.accepted(), std::size_t{1});
  simulation.advance(100ms);
  EXPECT_GE(backend.accepted(), std::size_t{5});
  EXPECT_LE(backend.accepted(), std::size_t{6});
  simulation.advance(1s);
  EXPECT_EQ(backend.accepted(), std::size_t{10});
}

// A client with a thousand delays another one's by one.
TEST_F(UpgradePoolTest, ClientsTakeTurns) {
  options.connecting_max = 1;
  options.connect_spacing = 20ms;
  for (int i = 0; i < 100; ++i) open(new Exchange(), {.client = 1});
  Exchange& other = open(new Exchange(), {.client = 2});
  simulation.advance(70ms);
  EXPECT_EQ(other.stream.state(), BackendStream::State::open);
  EXPECT_LE(backend.accepted(), std::size_t{5});
}

TEST_F(UpgradePoolTest, WhoFindsNoPlaceWaitsForATimeAndMayGoElsewhere) {
  options.connections_max = 2;
  open();
  open();
  Exchange& third = open();
  Exchange& fourth = open();
  simulation.advance(1s);
  EXPECT_EQ(backend.accepted(), std::size_t{2});
  exchanges.front()->stream.cancel();
  simulation.advance(1s);
  EXPECT_EQ(third.stream.state(), BackendStream::State::open);
  simulation.advance(4s);
  ASSERT_TRUE(fourth.end.has_value());
  EXPECT_EQ(fourth.end->cause, StreamEnd::Cause::no_place);
  EXPECT_EQ(fourth.end->retry, Retry::not_executed);
}

TEST_F(UpgradePoolTest, WhoLeavesWhileItWaitsOrConnectsIsForgotten) {
  options.connecting_max = 1;
  Exchange& connecting = open();
  Exchange& waiting = open();
  waiting.stream.cancel();
  connecting.stream.cancel();
  Exchange& next = open();
  simulation.advance(1s);
  EXPECT_EQ(next.stream.state(), BackendStream::State::open);
  EXPECT_EQ(pool->connections(), std::size_t{1});
}

TEST_F(UpgradePoolTest, AStopEndsWhatWaitsAndWhatRunsAndLetsGoOnWhatEndsInOrder) {
  options.connections_max = 2;
  Exchange& running = open_tunnel();
  Exchange& ending = open();
  simulation.settle();
  Exchange& waiting = open();
  backend.connection(1).send(UpgradeBackend::switched);
  simulation.settle();
  ending.stream.conclude(true);
  pool->terminate();
  simulation.settle();
  EXPECT_EQ(running.end->cause, StreamEnd::Cause::connection_lost);
  EXPECT_EQ(waiting.end->cause, StreamEnd::Cause::not_connected);
  EXPECT_EQ(backend.connection(1).peer_end, true);
}

}  // namespace
}  // namespace sluice::backend
