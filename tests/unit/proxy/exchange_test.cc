// SPDX-License-Identifier: GPL-3.0-or-later
// What a client gets when its backend refuses, drains, is lost or is to be left: another backend's
// answer, a clean end, or one that shows that something is missing. On the simulated ring.
#include "sluice/proxy/exchange.h"

#include <gmock/gmock.h>

#include <map>
#include <optional>
#include <set>

#include "scripted_backend.h"
#include "simulation.h"

namespace sluice::proxy {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::IsEmpty;
using Request = test::ScriptedBackend::Request;

// Positions in the tables of ProxyMetrics.
enum Cause : std::uint8_t { not_executed, lost_before_answer, drain_answer, identity_refused };

// A client's connection: takes what it is given at the end of each turn, unless told not to.
class Client final : public ClientSide {
 public:
  struct Answer {
    SlotId exchange;
    http::ResponseHead head;
    std::string body;
    std::optional<Instant> last_byte;
    std::optional<Instant> ended;  // END_STREAM
    std::optional<http2::ErrorCode> reset;
  };

  explicit Client(io::Reactor& reactor)
      : reactor_(reactor), pull_(io::TurnEnd::bind<&Client::pull>(this)) {
    facts_.address = "192.0.2.1";
    facts_.peer = "192.0.2.1:1234";
  }

  const ClientFacts& facts() const override { return facts_; }
  void send_interim(http2::StreamId, const http::ResponseHead&) override {}
  void send_response(http2::StreamId id, const http::ResponseHead& head, bool) override {
    EXPECT_EQ(answers[id].head.status, 0) << "one head for each request";
    answers[id].head = head;
  }
  void resume_body(http2::StreamId) override {
    reactor_.at_turn_end(pull_, io::Reactor::Phase::flush);
  }
  void consume(http2::StreamId, std::size_t) override {}
  void grow_window(http2::StreamId id, std::uint32_t bytes) override { windows[id] = bytes; }
  void reset(http2::StreamId id, http2::ErrorCode code) override { answers[id].reset = code; }
  void set_urgent(http2::StreamId) override {}

  void use(Proxy& proxy) { proxy_ = &proxy; }
  // Lets so many bytes of each answer pass from now on, in all.
  void take_at_most(std::size_t bytes) {
    allowance_ = bytes;
    resume_body(0);
  }
  ClientFacts& change_facts() { return facts_; }
  void leave() {
    for (auto& [id, answer] : answers) {
      if (Exchange* exchange = proxy_->find(answer.exchange)) exchange->client_gone();
    }
  }

  std::map<http2::StreamId, Answer> answers;
  std::map<http2::StreamId, std::uint32_t> windows;  // those that have grown

 private:
  void pull() {
    for (auto& [id, answer] : answers) {
      while (Exchange* exchange = proxy_->find(answer.exchange)) {
        if (answer.head.status == 0) break;
        std::array<std::uint8_t, 16384> all;
        const MutableBytes room =
            MutableBytes(all).first(std::min(all.size(), allowance_ - answer.body.size()));
        if (room.empty() || answer.reset) break;
        const http2::BodyResult result = exchange->on_client_body_wanted(room);
        answer.body += as_text(Bytes(room).first(result.bytes));
        if (result.bytes > 0) answer.last_byte = reactor_.now();
        if (result.status == http2::BodyStatus::finished) {
          answer.ended = reactor_.now();
          exchange->client_gone();
        } else if (result.bytes == 0) {
          break;
        }
      }
    }
  }

  io::Reactor& reactor_;
  Proxy* proxy_ = nullptr;
  ClientFacts facts_;
  std::size_t allowance_ = SIZE_MAX;
  io::TurnEnd pull_;
};

class ExchangeTest : public testing::Test, private ProxyEvents {
 protected:
  static io::Address address_of(std::size_t number) {
    return *io::Address::parse("10.0.0." + std::to_string(number + 1) + ":6443");
  }

  void TearDown() override {
    client_.leave();
    simulation_.settle();
    proxy_.reset();
    if (set_) set_->terminate();
    for (const auto& backend : backends_) backend->stop();
    simulation_.settle();
    set_.reset();
    cells_.reset();
  }

  void start(std::size_t backends) {
    std::vector<backend::Endpoint> endpoints;
    std::vector<backend::BackendContexts> contexts;
    const test::ClusterKeys& keys = test::ClusterKeys::get();
    for (std::size_t i = 0; i < backends; ++i) {
      endpoints.push_back({address_of(i), "api-" + std::to_string(i)});
      contexts.push_back({keys.plain_context(), keys.identity_context()});
      backends_.push_back(
          std::make_unique<test::ScriptedBackend>(simulation_.transport(), address_of(i)));
    }
    cluster_.emplace(endpoints);
    board_.emplace(1, backends);
    metrics_.emplace(registry_, *cluster_);
    cells_.emplace(registry_);
    set_.emplace(simulation_.transport(), *cluster_, std::move(contexts), set_options_, 1,
                 [](auto&&...) {});
    options_.vouches_for_identity = true;
    proxy_.emplace(ProxyParts{simulation_.reactor(),
                              *set_,
                              *board_,
                              0,
                              identity_fields_,
                              *cells_,
                              *metrics_,
                              nullptr,
                              *this,
                              1,
                              {1, 2}},
                   options_);
    client_.use(*proxy_);
  }

  void be_alice() {
    client_.change_facts().identity = kubernetes::Identity{"alice", {"dev"}, "", ""};
    client_.change_facts().identity_not_after = WallTime(std::chrono::seconds(4'000'000'000));
  }

  Client::Answer& ask(std::string_view path, std::string_view method = "GET") {
    http::RequestHead head;
    head.method = method;
    head.scheme = "https";
    head.authority = "kubernetes";
    head.path = path;
    if (!client_.facts().identity && !authorization_.empty()) {
      head.fields.add("authorization", authorization_);
    }
    const http2::StreamId id = next_id_;
    next_id_ += 2;
    Client::Answer& answer = client_.answers[id];
    answer.exchange = proxy_->start(client_, id, std::move(head), true);
    simulation_.settle();
    return answer;
  }
  static constexpr std::string_view pod = "/api/v1/namespaces/default/pods/web";
  static constexpr std::string_view watch = "/api/v1/pods?watch=1&resourceVersion=5";

  static http::ResponseHead drain_head() {
    http::ResponseHead head;
    head.status = 429;
    head.fields.add("content-type", "text/plain; charset=utf-8");
    head.fields.add("retry-after", "5");
    head.fields.add("x-content-type-options", "nosniff");
    head.fields.add("content-length", "56");
    return head;
  }

  // The requests whose streams are open.
  std::vector<Request*> running() {
    std::vector<Request*> all;
    for (const auto& backend : backends_) {
      for (Request* request : backend->requests()) {
        if (!request->closed && !request->connection->ended()) all.push_back(request);
      }
    }
    return all;
  }
  Request& request() {
    const auto all = running();
    EXPECT_EQ(all.size(), 1U);
    return *all.at(0);
  }
  void answer(Request& request, int status, std::string body = {}) {
    request.answer(status, std::move(body));
    simulation_.settle();
  }
  // A watch that runs and has had an event.
  Client::Answer& established_watch() {
    Client::Answer& answer = ask(watch);
    request().begin(200);
    request().send("{event}");
    simulation_.settle();
    EXPECT_EQ(answer.head.status, 200);
    EXPECT_EQ(answer.body, "{event}");
    return answer;
  }
  void drop(Request& request) {
    request.connection->drop();
    simulation_.settle();
  }
  std::uint64_t replays(Cause cause) { return registry_.total(metrics_->replays.at(cause)); }
  std::uint64_t all_replays() {
    return replays(not_executed) + replays(lost_before_answer) + replays(drain_answer) +
           replays(identity_refused);
  }
  std::uint64_t replies(ReplyReason reason) {
    return registry_.total(metrics_->local_replies.at(static_cast<std::size_t>(reason)));
  }
  std::uint64_t ended(WatchEnd why) {
    return registry_.total(metrics_->watches_ended.at(static_cast<std::size_t>(why)));
  }

  // As a worker does.
  void on_identity_refused(std::size_t backend) override {
    cluster_->backends[backend]->trusts_identity.store(false);
    refused_by_.push_back(backend);
  }
  void on_drain_answer(std::size_t backend) override { drained_by_.push_back(backend); }

  test::Simulation simulation_;
  ProxyOptions options_;
  backend::BackendSetOptions set_options_;
  std::vector<std::unique_ptr<test::ScriptedBackend>> backends_;
  std::optional<backend::Cluster> cluster_;
  std::optional<balance::LoadBoard> board_;
  metrics::Registry registry_;
  std::optional<ProxyMetrics> metrics_;
  std::optional<metrics::Cells> cells_;
  kubernetes::IdentityFields identity_fields_ = *kubernetes::IdentityFields::make({});
  std::optional<backend::BackendSet> set_;
  std::optional<Proxy> proxy_;
  Client client_{simulation_.reactor()};
  std::vector<std::size_t> refused_by_;
  std::vector<std::size_t> drained_by_;
  std::string authorization_ = "Bearer abc";
  http2::StreamId next_id_ = 1;
};

// --- replays ---------------------------------------------------------------------------------

TEST_F(ExchangeTest, ARefusedIdentityIsTriedOnAnotherBackend) {
  start(2);
  be_alice();
  const Client::Answer& client = ask(pod);
  Request& first = request();
  EXPECT_EQ(first.field("x-remote-user"), "alice");
  answer(first, 401);
  EXPECT_EQ(client.head.status, 0);
  Request& second = request();
  EXPECT_NE(second.connection, first.connection);
  answer(second, 200, "pod");
  EXPECT_EQ(client.head.status, 200);
  EXPECT_EQ(client.body, "pod");
  EXPECT_EQ(refused_by_.size(), 1U);
  EXPECT_EQ(replays(identity_refused), 1U);
  EXPECT_EQ(all_replays(), 1U);
}

TEST_F(ExchangeTest, ARefusedIdentityWithoutAnotherBackendIsNoReplay) {
  start(1);
  be_alice();
  const Client::Answer& client = ask(pod);
  answer(request(), 401);
  EXPECT_EQ(client.head.status, 503);
  EXPECT_TRUE(client.ended);
  EXPECT_THAT(refused_by_, ElementsAre(0U));
  EXPECT_EQ(all_replays(), 0U);
  EXPECT_EQ(replies(ReplyReason::identity_refused), 1U);
}

TEST_F(ExchangeTest, AnIdentityThatEachRefusesIsReplayedOnceLessThanThereAreBackends) {
  start(3);
  be_alice();
  const Client::Answer& client = ask(pod);
  for (int i = 0; i < 3; ++i) answer(request(), 401);
  EXPECT_EQ(client.head.status, 503);
  EXPECT_EQ(refused_by_.size(), 3U);
  EXPECT_EQ(replays(identity_refused), 2U);
  EXPECT_EQ(replies(ReplyReason::identity_refused), 1U);
}

TEST_F(ExchangeTest, A401ToATokenIsTheClients) {
  start(2);
  const Client::Answer& client = ask(pod);
  answer(request(), 401);
  EXPECT_EQ(client.head.status, 401);
  EXPECT_THAT(refused_by_, IsEmpty());
  EXPECT_EQ(all_replays(), 0U);
}

TEST_F(ExchangeTest, ALostReadIsReplayedElsewhereAndALostWriteIsNot) {
  start(2);
  be_alice();
  const Client::Answer& read = ask(pod);
  drop(request());
  answer(request(), 200);
  EXPECT_EQ(read.head.status, 200);
  EXPECT_EQ(replays(lost_before_answer), 1U);

  const Client::Answer& write = ask(pod, "DELETE");
  drop(request());
  EXPECT_EQ(write.head.status, 502);
  EXPECT_FALSE(write.head.fields.contains("retry-after"));  // the outcome is unknown
  EXPECT_EQ(all_replays(), 1U);
}

TEST_F(ExchangeTest, ALostReadWithoutAnotherBackendIsNoReplay) {
  start(1);
  be_alice();
  const Client::Answer& client = ask(pod);
  drop(request());
  EXPECT_EQ(client.head.status, 503);
  EXPECT_TRUE(client.head.fields.contains("retry-after"));
  EXPECT_EQ(all_replays(), 0U);
}

TEST_F(ExchangeTest, ARefusedStreamIsReplayedWhateverItsMethodAlsoOnTheSameBackend) {
  start(1);
  be_alice();
  const Client::Answer& client = ask(pod, "DELETE");
  request().refuse();
  simulation_.settle();
  answer(request(), 200);
  EXPECT_EQ(client.head.status, 200);
  EXPECT_EQ(replays(not_executed), 1U);
}

// --- kinds of connections --------------------------------------------------------------------

TEST_F(ExchangeTest, ATokenSharesAConnectionOnlyOnceItHasEarnedAnAnswer) {
  set_options_.suspect_connect_spacing = Duration::zero();
  start(1);
  ask(pod);
  ask(pod);
  const auto unproven = running();
  ASSERT_EQ(unproven.size(), 2U);
  EXPECT_NE(unproven[0]->connection, unproven[1]->connection);
  answer(*unproven[0], 403);  // authenticated, at least
  answer(*unproven[1], 200);

  ask(pod);
  ask(pod);
  const auto proven = running();
  ASSERT_EQ(proven.size(), 2U);
  EXPECT_EQ(proven[0]->connection, proven[1]->connection);
  EXPECT_NE(proven[0]->connection, unproven[0]->connection);
  answer(*proven[0], 401);  // revoked
  answer(*proven[1], 401);

  ask(pod);
  EXPECT_NE(request().connection, proven[0]->connection);
}

TEST_F(ExchangeTest, ATroubledServersAnswerProvesNoToken) {
  start(1);
  for (const int status : {429, 500, 503}) {
    authorization_ = "Bearer " + std::to_string(status);
    ask(pod);
    const auto* first = request().connection;
    answer(request(), status);
    ask(pod);
    EXPECT_EQ(request().connection, first) << status;  // a suspect's, still
  }
}

TEST_F(ExchangeTest, WithoutACredentialARequestIsTheLastOnItsConnection) {
  set_options_.suspect_connect_spacing = Duration::zero();
  start(1);
  authorization_.clear();
  ask(pod);
  const auto* first = request().connection;
  answer(request(), 200);
  EXPECT_TRUE(first->ended());
  ask(pod);
  EXPECT_NE(request().connection, first);
}

class DrainAnswerTest : public ExchangeTest {
 protected:
  // As k8s.io/apiserver pkg/server/filters/with_retry_after.go.
  void answer_drain() {
    request().answer(drain_head(), "The apiserver is shutting down, please try again later.\n");
    simulation_.settle();
  }
};

TEST_F(DrainAnswerTest, ADrainAnswerIsReplayedAndAsksForAProbe) {
  start(2);
  be_alice();
  const Client::Answer& client = ask(pod, "DELETE");
  answer_drain();
  EXPECT_EQ(drained_by_.size(), 1U);
  EXPECT_EQ(replays(drain_answer), 1U);
  answer(request(), 200);
  EXPECT_EQ(client.head.status, 200);
}

TEST_F(DrainAnswerTest, WithoutAnotherBackendADrainAnswerIsPassedOn) {
  start(1);
  be_alice();
  const Client::Answer& client = ask(pod, "DELETE");
  answer_drain();
  EXPECT_EQ(client.head.status, 429);
  EXPECT_EQ(client.body.size(), 56U);
  EXPECT_TRUE(client.ended);
  EXPECT_THAT(drained_by_, ElementsAre(0U));
  EXPECT_EQ(all_replays(), 0U);
}

// --- ends of watches -------------------------------------------------------------------------

class WatchEndTest : public ExchangeTest {
 protected:
  void expect_a_clean_end(const Client::Answer& client, Duration most) {
    simulation_.advance(options_.watch_end_delay - 20ms);
    EXPECT_FALSE(client.ended);
    simulation_.advance(10s);
    ASSERT_TRUE(client.ended);
    EXPECT_FALSE(client.reset);
    EXPECT_GE(*client.ended - *client.last_byte, options_.watch_end_delay);
    EXPECT_LE(*client.ended - *client.last_byte, most + 2 * io::TimerWheel::tick);
  }
};

TEST_F(WatchEndTest, WhenTooManyConnectionsDrainTheOldestOnesWatchesEndCleanly) {
  set_options_.pool.draining_max = 1;
  start(1);
  be_alice();
  const Client::Answer& oldest = established_watch();
  request().connection->goaway();
  simulation_.settle();
  const Client::Answer& next = ask(watch);
  Request& streaming = *running().back();
  streaming.begin(200);
  streaming.send("{event}");
  simulation_.settle();
  EXPECT_EQ(ended(WatchEnd::retired), 0U);
  streaming.connection->goaway();
  simulation_.settle();
  expect_a_clean_end(oldest, options_.watch_end_delay + options_.watch_end_jitter);
  EXPECT_EQ(ended(WatchEnd::retired), 1U);
  EXPECT_FALSE(next.ended || next.reset);
}

TEST_F(WatchEndTest, AWatchListInItsInitialEventsIsNotEndedByChoice) {
  set_options_.pool.draining_max = 0;
  start(1);
  be_alice();
  const Client::Answer& client =
      ask("/api/v1/pods?watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&"
          "allowWatchBookmarks=true");
  Request& streaming = request();
  streaming.begin(200);
  streaming.send("{initial event}");
  streaming.connection->goaway();
  simulation_.advance(1min);
  EXPECT_FALSE(client.ended || client.reset);
}

TEST_F(WatchEndTest, ALostWatchEndsCleanlyAndNotAtOnce) {
  start(2);
  be_alice();
  const Client::Answer& client = established_watch();
  drop(request());
  expect_a_clean_end(client, options_.watch_end_delay + options_.watch_end_jitter);
  EXPECT_EQ(ended(WatchEnd::backend_lost), 1U);
}

TEST_F(WatchEndTest, TheBackendsOwnEndOfAWatchIsHeldBack) {
  start(2);
  be_alice();
  const Client::Answer& client = established_watch();
  request().finish();
  simulation_.settle();
  expect_a_clean_end(client, options_.watch_end_delay);
  EXPECT_EQ(ended(WatchEnd::backend_ended), 1U);
}

TEST_F(WatchEndTest, AnyOtherAnswerThatIsLostIsCutOff) {
  start(2);
  be_alice();
  const Client::Answer& client = ask(pod);
  Request& streaming = request();
  streaming.begin(200);
  streaming.send("half of a po");
  simulation_.settle();
  EXPECT_EQ(client.body, "half of a po");
  drop(streaming);
  simulation_.advance(10s);
  EXPECT_EQ(client.reset, http2::ErrorCode::internal_error);
  EXPECT_FALSE(client.ended);
}

// --- clients that do not read ------------------------------------------------------------------

class StallTest : public ExchangeTest {
 protected:
  std::uint64_t stalled_ended(std::size_t position) {
    return registry_.total(metrics_->stalled_ended.at(position));
  }
  std::uint64_t ordinary() { return stalled_ended(0); }
  std::uint64_t long_running() { return stalled_ended(1); }
  // From one look for stalled streams to the next.
  Duration between_looks() const { return options_.client_stall_timeout / 4; }
};

TEST_F(StallTest, AnAnswerThatNobodyTakesIsResetWhenItsTimeIsOver) {
  start(1);
  be_alice();
  client_.take_at_most(0);
  const Client::Answer& client = ask(pod);
  answer(request(), 200, std::string(5000, 'x'));
  EXPECT_EQ(client.head.status, 200);
  simulation_.advance(options_.client_stall_timeout - 1s);
  EXPECT_FALSE(client.reset);
  simulation_.advance(2 * between_looks());
  EXPECT_EQ(client.reset, http2::ErrorCode::enhance_your_calm);
  EXPECT_EQ(ordinary(), 1U);
  EXPECT_EQ(long_running(), 0U);
}

TEST_F(StallTest, AKilobyteInTimeIsProgressAndLessIsNot) {
  start(1);
  be_alice();
  client_.take_at_most(0);
  const Client::Answer& client = ask(pod);
  answer(request(), 200, std::string(20'000, 'x'));
  std::size_t taken = 0;
  for (int i = 0; i < 10; ++i) {
    simulation_.advance(options_.client_stall_timeout / 2);
    client_.take_at_most(taken += 1024);
    simulation_.settle();
    ASSERT_FALSE(client.reset);
  }
  for (int i = 0; i < 10 && !client.reset; ++i) {
    simulation_.advance(between_looks());
    client_.take_at_most(taken += 100);
    simulation_.settle();
  }
  EXPECT_TRUE(client.reset);
  EXPECT_EQ(ordinary(), 1U);
}

TEST_F(StallTest, AWatchThatNobodyReadsStandsStillUntilMemoryIsShort) {
  options_.body_bytes_per_worker = 1024 * 1024;
  start(1);
  be_alice();
  client_.take_at_most(0);
  constexpr std::size_t watches = 16;
  std::vector<const Client::Answer*> answers;
  std::set<Request*> begun;
  const auto stand = [&](std::size_t count) {
    while (answers.size() < count) {
      answers.push_back(&ask(watch));
      for (Request* streaming : running()) {
        if (!begun.insert(streaming).second) continue;
        streaming->begin(200);
        streaming->send(std::string(60'000, 'e'));
      }
      simulation_.settle();
    }
    ASSERT_EQ(begun.size(), count);
  };
  stand(5);
  simulation_.advance(1h);
  EXPECT_EQ(long_running(), 0U);
  stand(watches);
  simulation_.advance(options_.client_stall_timeout * 2);
  const auto resets = static_cast<std::size_t>(
      std::ranges::count_if(answers, [](const auto* answer) { return answer->reset.has_value(); }));
  EXPECT_GT(resets, 0U);
  EXPECT_LT(resets, watches / 2);  // no more than it takes
  EXPECT_EQ(long_running(), resets);
  EXPECT_EQ(ordinary(), 0U);
  client_.take_at_most(SIZE_MAX);
}

TEST_F(StallTest, AnAnswerThatTheProxyItselfHoldsBackIsNoStall) {
  options_.request_timeout = options_.client_stall_timeout * 3;
  start(1);
  be_alice();
  const Client::Answer& client = ask(pod);
  Request& draining = request();
  draining.begin(drain_head());
  draining.send("The apiserver is ");  // and nothing more
  simulation_.advance(options_.client_stall_timeout * 2);
  EXPECT_EQ(client.head.status, 0);
  EXPECT_FALSE(client.reset);
  EXPECT_EQ(ordinary(), 0U);
  simulation_.advance(options_.client_stall_timeout);
  EXPECT_EQ(client.head.status, 504);
}

// --- windows -----------------------------------------------------------------------------------

TEST_F(ExchangeTest, ALongAnswerThatIsTakenQuicklyGrowsItsWindowAndPaysItBack) {
  start(1);
  be_alice();
  const auto lent = [&] {
    proxy_->publish();
    return registry_.total(metrics_->window_bytes);
  };
  const Client::Answer& client = ask("/api/v1/pods");
  Request& listing = request();
  listing.begin(200);
  for (int i = 0; i < 40; ++i) {
    listing.send(std::string(50'000, 'x'));
    simulation_.settle();
  }
  EXPECT_EQ(client.body.size(), 2'000'000U);
  EXPECT_EQ(lent(), options_.stream_window_bytes_max - options_.stream_window_bytes);
  listing.finish();
  simulation_.settle();
  EXPECT_TRUE(client.ended);
  EXPECT_EQ(lent(), 0);
}

}  // namespace
}  // namespace sluice::proxy
