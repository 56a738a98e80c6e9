// SPDX-License-Identifier: GPL-3.0-or-later
// What a client gets when its backend refuses, drains, is lost or is to be left: another backend's
// answer, a clean end, or one that shows that something is missing. On the simulated ring.
#include <gmock/gmock.h>
#include <malloc.h>

#include <array>
#include <map>
#include <optional>
#include <set>

#include "exchange_state.h"
#include "expired_resources.h"
#include "mistake.h"
#include "scripted_backend.h"
#include "simulation.h"
#include "sluice/backend/api_version.h"
#include "sluice/proxy/proxy.h"
#include "write_affinity.h"

namespace sluice::proxy {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::IsEmpty;
using Request = test::ScriptedBackend::Request;

using Cause = ReplayCause;
using enum ReplayCause;

// How a client's stream was reset.
enum class Reset : std::uint8_t { truncated, stalled, upload_stopped };

// A client's connection: takes what it is given at the end of each turn, unless told not to.
class Client final : public ClientSide {
 public:
  struct Answer {
    SlotId exchange;
    http::ResponseHead head;
    Instant head_at{};
    bool has_body = true;
    std::string body;
    std::optional<Instant> last_byte;
    std::optional<Instant> ended;  // END_STREAM
    std::optional<Reset> reset;
    std::optional<Instant> reset_at;
    bool uploading = false;
    std::size_t credit = 0;
  };

  explicit Client(io::Reactor& reactor)
      : reactor_(reactor), pull_(io::TurnEnd::bind<&Client::pull>(this)) {
    facts_.address = "192.0.2.1";
    facts_.peer = "192.0.2.1:1234";
  }

  const ClientFacts& facts() const override { return facts_; }
  void send_interim(ClientStream, const http::ResponseHead&) override {}
  void send_response(ClientStream id, const http::ResponseHead& head, bool has_body) override {
    EXPECT_EQ(answers[id].head.status, 0) << "one head for each request";
    answers[id].head = head;
    answers[id].head_at = reactor_.now();
    answers[id].has_body = has_body;
    resume_body(id);
  }
  void resume_body(ClientStream) override {
    reactor_.at_turn_end(pull_, io::Reactor::Phase::flush);
  }
  void credit(ClientStream id, std::size_t bytes) override { answers[id].credit += bytes; }
  void grow_window(ClientStream id, std::uint32_t bytes) override { windows[id] = bytes; }
  void on_proven() override { facts_.proven = true; }
  void cut(ClientStream id, Cut how) override {
    reset(id, how == Cut::stalled ? Reset::stalled : Reset::truncated);
  }
  void stop_upload(ClientStream id) override { reset(id, Reset::upload_stopped); }

  void use(Proxy& proxy) { proxy_ = &proxy; }
  // Lets so many bytes of each answer pass from now on, in all.
  void take_at_most(std::size_t bytes) {
    allowance_ = bytes;
    resume_body({});
  }
  ClientFacts& change_facts() { return facts_; }
  void upload(Answer& answer, std::string_view bytes, bool last) {
    if (!bytes.empty()) {
      ASSERT_TRUE(proxy_->client_body(answer.exchange, as_bytes(bytes)));
    }
    if (!last) return;
    answer.uploading = false;
    proxy_->client_end(answer.exchange);
    if (answer.ended) proxy_->client_gone(answer.exchange);
  }
  void leave() {
    for (auto& [id, answer] : answers) proxy_->client_gone(answer.exchange);
    last_account().reset();
  }

  std::map<ClientStream, Answer> answers;
  std::map<ClientStream, std::uint32_t> windows;  // those that have grown

 private:
  void reset(ClientStream id, Reset how) {
    answers[id].reset = how;
    answers[id].reset_at = reactor_.now();
  }
  void pull() {
    for (auto& [id, answer] : answers) {
      while (answer.head.status != 0 && !answer.ended) {
        if (!answer.has_body) {
          answer.ended = reactor_.now();
          if (!answer.uploading) proxy_->client_gone(answer.exchange);
          break;
        }
        std::array<std::uint8_t, 16384> all;
        const MutableBytes room =
            MutableBytes(all).first(std::min(all.size(), allowance_ - answer.body.size()));
        if (room.empty() || answer.reset) break;
        const http::BodyResult result = proxy_->client_body_wanted(answer.exchange, room);
        answer.body += as_text(Bytes(room).first(result.bytes));
        if (result.bytes > 0) answer.last_byte = reactor_.now();
        if (result.status == http::BodyStatus::finished) {
          answer.ended = reactor_.now();
          if (!answer.uploading) proxy_->client_gone(answer.exchange);
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

class ExchangeTest : public testing::Test, private ProxyEvents, private ResourcesEvents {
 protected:
  static io::Address address_of(std::size_t number) {
    return *io::Address::parse("10.0.0." + std::to_string(number + 1) + ":6443");
  }

  void TearDown() override {
    client_.leave();
    simulation_.settle();
    proxy_.reset();
    resources_.reset();
    if (set_) set_->terminate();
    for (const auto& backend : backends_) backend->stop();
    simulation_.settle();
    set_.reset();
    cells_.reset();
  }

  void start(std::size_t backends) {
    std::vector<backend::Endpoint> endpoints;
    const test::ClusterKeys& keys = test::ClusterKeys::get();
    for (std::size_t i = 0; i < backends; ++i) {
      endpoints.push_back({address_of(i), "api-" + std::to_string(i), "backend"});
      backends_.push_back(
          std::make_unique<test::ScriptedBackend>(simulation_.transport(), address_of(i)));
    }
    cluster_.emplace(endpoints);
    board_.emplace(1, backends);
    metrics_.emplace(registry_);
    resources_metrics_.emplace(registry_);
    cells_.emplace(registry_);
    set_.emplace(simulation_.transport(), *cluster_,
                 backend::BackendContexts{keys.plain_context(), keys.identity_context()},
                 set_options_, 1, [](auto&&...) {});
    options_.vouches_for_identity = true;
    resources_.emplace(
        ResourcesParts{simulation_.reactor(), 0, *cells_, *resources_metrics_, *this, {1, 2}},
        resources_options_);
    proxy_.emplace(ProxyParts{simulation_.reactor(),
                              *resources_,
                              *set_,
                              *board_,
                              0,
                              identity_fields_,
                              *cells_,
                              *metrics_,
                              {},
                              nullptr,
                              *this,
                              1,
                              {1, 2}},
                   options_);
    client_.use(*proxy_);
  }

  ClientStream new_stream() { return ClientStream{std::exchange(next_id_, next_id_ + 2)}; }
  void be_alice() {
    client_.change_facts().identity = kubernetes::Identity{"alice", {"dev"}, "", ""};
    client_.change_facts().identity_not_after = WallTime(std::chrono::seconds(4'000'000'000));
  }

  Client::Answer& ask(std::string_view path, std::string_view method = "GET",
                      bool uploading = false) {
    http::RequestHead head;
    head.method = method;
    head.scheme = "https";
    head.authority = "kubernetes";
    head.path = path;
    if (!client_.facts().identity && !authorization_.empty()) {
      head.fields.add("authorization", authorization_);
    }
    const ClientStream id = new_stream();
    Client::Answer& answer = client_.answers[id];
    answer.uploading = uploading;
    answer.exchange = proxy_->start(client_, id, std::move(head), !uploading);
    simulation_.settle();
    return answer;
  }
  // A POST whose body has not ended.
  Client::Answer& upload(std::string_view begin) {
    Client::Answer& answer = ask("/api/v1/namespaces/default/pods", "POST", true);
    client_.upload(answer, begin, false);
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
  Client::Answer& established_watch(std::string_view path = watch) {
    Client::Answer& answer = ask(path);
    Request& streaming = *running().back();
    streaming.begin(200);
    streaming.send("{event}");
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
           replays(identity_refused) + replays(no_history);
  }
  std::uint64_t replies(ReplyReason reason) {
    return registry_.total(metrics_->local_replies.at(static_cast<std::size_t>(reason)));
  }
  std::uint64_t ended(WatchEnd why) {
    return registry_.total(metrics_->watches_ended.at(static_cast<std::size_t>(why)));
  }

  ConnectionBytes connection_bytes() const override { return {}; }
  std::vector<ConnectionHolding*> holding_connections() override { return {}; }
  void on_token_change(const TokenChange& change) override { changes_.push_back(change); }
  void on_own_write(const OwnWrite& write) override { writes_.push_back(write); }
  void on_sent(std::size_t, kubernetes::RequestClass) override {}
  void on_identity_refused(std::size_t backend) override { refused_by_.push_back(backend); }
  void on_drain_answer(std::size_t backend) override { drained_by_.push_back(backend); }

  std::vector<TokenChange> changes_;
  std::vector<OwnWrite> writes_;
  test::Simulation simulation_;
  ResourcesOptions resources_options_;
  ProxyOptions options_;
  backend::BackendSetOptions set_options_;
  std::vector<std::unique_ptr<test::ScriptedBackend>> backends_;
  std::optional<backend::Cluster> cluster_;
  std::optional<balance::LoadBoard> board_;
  metrics::Registry registry_;
  std::optional<ProxyMetrics> metrics_;
  std::optional<ResourcesMetrics> resources_metrics_;
  std::optional<metrics::Cells> cells_;
  kubernetes::IdentityFields identity_fields_ = *kubernetes::IdentityFields::make({});
  std::optional<backend::BackendSet> set_;
  std::optional<Resources> resources_;
  std::optional<Proxy> proxy_;
  Client client_{simulation_.reactor()};
  std::vector<std::size_t> refused_by_;
  std::vector<std::size_t> drained_by_;
  std::string authorization_ = "Bearer abc";
  std::int64_t next_id_ = 1;
};

// --- memory ----------------------------------------------------------------------------------

// The address sanitizer keeps what was freed.
#if !defined(__SANITIZE_ADDRESS__)
TEST_F(ExchangeTest, LargeHeadsLeaveNoMemoryBehind) {
  start(1);
  be_alice();
  const auto several_at_once = [&](std::size_t bytes) {
    for (int i = 0; i < 40; ++i) {
      http::RequestHead head;
      head.method = "GET";
      head.scheme = "https";
      head.authority = "kubernetes";
      head.path = pod;
      head.fields.add("x-remote-user", std::string(bytes, 'x'));  // goes no further than this
      const ClientStream id = new_stream();
      client_.answers[id].exchange = proxy_->start(client_, id, std::move(head), true);
    }
    simulation_.settle();
    for (Request* request : running()) request->answer(200);
    simulation_.settle();
    client_.answers.clear();
  };
  several_at_once(100);
  const std::size_t before = mallinfo2().uordblks;
  several_at_once(200'000);
  EXPECT_EQ(proxy_->exchanges(), 0U);
  EXPECT_LT(mallinfo2().uordblks, before + 1'000'000);
}
#endif

// --- reasons -----------------------------------------------------------------------------------

TEST_F(ExchangeTest, WhoWaitsInVainForAPlaceIsToldSoAndNotOfALostConnection) {
  set_options_.pool.streams_per_connection_max = 1;
  set_options_.pool.connections_max = 1;
  set_options_.suspect_streams_per_connection = 1;
  start(1);
  be_alice();
  ask(pod);
  const Client::Answer& second = ask(pod);
  simulation_.advance(set_options_.pool.wait_timeout + 1s);
  EXPECT_EQ(second.head.status, 503);
  EXPECT_EQ(replies(ReplyReason::no_place), 1U);
  EXPECT_EQ(replies(ReplyReason::backend_lost), 0U);
}

TEST_F(ExchangeTest, ABackendThatCannotBeReachedIsNoLostConnection) {
  start(1);
  be_alice();
  backends_[0]->stop();
  simulation_.settle();
  const Client::Answer& answer = ask(pod);
  simulation_.advance(10s);
  EXPECT_EQ(answer.head.status, 503);
  EXPECT_EQ(replies(ReplyReason::no_backend), 1U);
  EXPECT_EQ(replies(ReplyReason::backend_lost), 0U);
}

// --- the choice ------------------------------------------------------------------------------

TEST_F(ExchangeTest, ABackendWithoutAPlaceIsNotPickedWhileAnotherHasOne) {
  set_options_.pool.streams_per_connection_max = 1;
  set_options_.pool.connections_max = 1;
  options_.picker.policy = balance::Policy::random;
  start(3);
  be_alice();
  for (int round = 0; round < 20; ++round) {
    for (int i = 0; i < 3; ++i) ask(pod);
    const auto all = running();
    ASSERT_EQ(all.size(), 3U) << round;  // nobody waits
    for (Request* request : all) request->answer(200);
    simulation_.settle();
  }
}

TEST_F(ExchangeTest, AnAnswerThatNobodyTakesGivesItsPlaceToWhoWaitsForIt) {
  set_options_.pool.streams_per_connection_max = 4;
  set_options_.pool.connections_max = 1;
  start(1);
  be_alice();
  client_.change_facts().keys.user = 1;
  client_.take_at_most(1000);
  std::vector<const Client::Answer*> unread;
  for (int i = 0; i < 4; ++i) {
    unread.push_back(&ask("/api/v1/pods"));
    running().back()->begin(200);
    running().back()->send(std::string(30'000, 'x'));
    simulation_.settle();
  }
  ASSERT_EQ(running().size(), 4U);
  client_.change_facts().keys.user = 2;
  Client::Answer& newcomer = ask(pod);
  EXPECT_EQ(running().size(), 4U);
  simulation_.advance(3500ms);  // looked at twice, and the place of a cancelled stream held
  EXPECT_EQ(std::ranges::count_if(unread, [](auto* answer) { return answer->reset.has_value(); }),
            1);
  ASSERT_EQ(running().size(), 4U);
  answer(*running().back(), 200, "{}");
  EXPECT_EQ(newcomer.head.status, 200);
}

TEST_F(ExchangeTest, AnAnswerThatIsTakenKeepsItsPlaceWhoeverWaits) {
  set_options_.pool.streams_per_connection_max = 4;
  set_options_.pool.connections_max = 1;
  set_options_.pool.wait_timeout = 20s;
  start(1);
  be_alice();
  client_.change_facts().keys.user = 1;
  std::vector<const Client::Answer*> lists;
  for (int i = 0; i < 4; ++i) {
    lists.push_back(&ask("/api/v1/pods"));
    running().back()->begin(200);
  }
  client_.change_facts().keys.user = 2;
  Client::Answer& newcomer = ask(pod);
  for (int i = 0; i < 20; ++i) {
    for (Request* request : running()) request->send(std::string(3000, 'x'));
    simulation_.advance(300ms);
  }
  for (const Client::Answer* list : lists) EXPECT_FALSE(list->reset.has_value());
  EXPECT_EQ(newcomer.head.status, 0);
}

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

// A server would see another user in the certificate than the token names.
TEST_F(ExchangeTest, ACertificateThatIsRefusedIsA401WhateverComesAlong) {
  start(1);
  client_.change_facts().why_not = kubernetes::NoIdentity::outer_space;
  client_.change_facts().refusal = "Unauthorized: a name begins with a space";
  for (const std::string token : {"Bearer abc", ""}) {
    authorization_ = token;
    const Client::Answer& client = ask(pod);
    EXPECT_EQ(client.head.status, 401);
    EXPECT_TRUE(client.body.contains("a name begins with a space")) << client.body;
    EXPECT_TRUE(client.ended);
  }
  EXPECT_TRUE(running().empty());
  EXPECT_EQ(replies(ReplyReason::certificate_refused), 2U);
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

TEST_F(ExchangeTest, AServerThatReturnsGetsItsShareAndNotEveryTie) {
  start(3);
  be_alice();
  const auto shares = [&](int requests) {
    std::array<int, 3> before{};
    for (std::size_t i = 0; i < 3; ++i)
      before[i] = static_cast<int>(backends_[i]->requests().size());
    for (int i = 0; i < requests; ++i) {
      ask(pod);
      answer(request(), 200);
    }
    for (std::size_t i = 0; i < 3; ++i) {
      before[i] = static_cast<int>(backends_[i]->requests().size()) - before[i];
    }
    return before;
  };
  cluster_->backends[0]->health.store(backend::Health::not_ready);
  EXPECT_EQ(shares(300)[0], 0);
  cluster_->backends[0]->health.store(backend::Health::ready);
  const auto returned = shares(300);
  for (const int share : returned) {
    EXPECT_GT(share, 85);
    EXPECT_LT(share, 115);
  }
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
  answer(request(), 500);
  // Each was told once.
  ASSERT_EQ(changes_.size(), 2U);
  EXPECT_TRUE(changes_[0].proven);
  EXPECT_FALSE(changes_[1].proven);
  EXPECT_EQ(changes_[0].token, changes_[1].token);
}

TEST_F(ExchangeTest, WhatAnotherWorkerHasLearnedOfATokenCountsHere) {
  set_options_.suspect_connect_spacing = Duration::zero();
  start(1);
  ask(pod);
  answer(request(), 200);
  ASSERT_EQ(changes_.size(), 1U);
  const auto shared = [&] {
    ask(pod);
    ask(pod);
    const auto both = running();
    EXPECT_EQ(both.size(), 2U);
    const bool same = both.at(0)->connection == both.at(1)->connection;
    for (Request* request : both) answer(*request, 500);
    return same;
  };
  EXPECT_TRUE(shared());
  proxy_->learn({changes_[0].token});
  EXPECT_FALSE(shared());
  proxy_->learn(changes_[0]);
  EXPECT_TRUE(shared());
  EXPECT_EQ(changes_.size(), 1U);  // nobody is told what was heard
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

// What an exchange notes of its backend for those who compare backends.
class EvidenceOfExchangesTest : public ExchangeTest {
 protected:
  void SetUp() override {
    start(1);
    be_alice();
  }
  balance::Answers::Kind seen(balance::AnswerKind kind = balance::AnswerKind::read) const {
    return board_->answers(0).kinds[static_cast<std::size_t>(kind)];
  }
  // The answer to what was asked last comes so late.
  void answer_after(Duration time, int status = 200, std::string body = {}) {
    simulation_.advance(time);
    answer(request(), status, std::move(body));
  }
};

TEST_F(EvidenceOfExchangesTest, AnAnswerIsNotedOnceAndByHowLateItBegins) {
  ask(pod);
  answer_after(2ms);
  EXPECT_EQ(seen().answers, 1U);
  EXPECT_EQ(seen().slowness, 0U);
  EXPECT_EQ(board_->answers(0).completed, 1U);
  ask(pod);
  answer_after(525ms);
  EXPECT_EQ(seen().answers, 2U);
  EXPECT_EQ(seen().slowness, 5 * balance::slowness_steps);
  EXPECT_EQ(seen().failures, 0U);
}

TEST_F(EvidenceOfExchangesTest, AClientThatUploadsSlowlyDoesNotMakeItsBackendSlow) {
  Client::Answer& client = upload("half");
  simulation_.advance(5s);
  client_.upload(client, "whole", true);
  answer_after(2ms, 201);
  EXPECT_EQ(seen(balance::AnswerKind::write).answers, 1U);
  EXPECT_EQ(seen(balance::AnswerKind::write).slowness, 0U);
}

TEST_F(EvidenceOfExchangesTest, AnAnswerThatComesByDropsIsALateOneUnlessItIsLong) {
  for (const bool brief : {true, false}) {
    const std::uint64_t before = seen().slowness;
    ask(pod);
    Request& dripping = request();
    dripping.begin(200);
    simulation_.settle();
    simulation_.advance(4s);
    dripping.send(std::string(brief ? 1000 : 60'000, 'x'));
    dripping.finish();
    simulation_.settle();
    EXPECT_EQ(seen().slowness > before, brief);
  }
}

TEST_F(EvidenceOfExchangesTest, WhoGivesUpWaitingHasSeenALateBackend) {
  const auto leave = [&](Client::Answer& answer) {
    proxy_->client_gone(answer.exchange);
    simulation_.advance(2s);  // its place is held for a while
  };
  Client::Answer& hasty = ask(pod);
  simulation_.advance(100ms);
  leave(hasty);
  EXPECT_EQ(seen().answers, 0U);
  Client::Answer& waits = ask(pod);
  simulation_.advance(5s);
  leave(waits);
  EXPECT_EQ(seen().answers, 1U);
  EXPECT_GT(seen().slowness, 8 * balance::slowness_steps);
  // It has begun, and does not go on.
  Client::Answer& hangs = ask(pod);
  running().back()->begin(200);
  simulation_.advance(5s);
  leave(hangs);
  EXPECT_EQ(seen().answers, 3U);
}

TEST_F(EvidenceOfExchangesTest, FailuresAndLossesAreNotedAndOurOwnAnswersAreNot) {
  ask(pod);
  answer_after(2ms, 500);
  EXPECT_EQ(seen().failures, 1U);
  ask(pod, "POST");
  drop(request());
  EXPECT_EQ(seen(balance::AnswerKind::write).failures, 1U);
  EXPECT_EQ(seen(balance::AnswerKind::write).answers, 1U);
  EXPECT_EQ(board_->answers(0).completed, 1U);
}

TEST_F(EvidenceOfExchangesTest, StrangersSayNothing) {
  client_.change_facts().identity.reset();
  authorization_.clear();
  options_.anonymous_requests = true;
  ask(pod);
  simulation_.advance(5s);
  answer(*running().back(), 500);
  EXPECT_EQ(seen().answers, 0U);
}

class DrainAnswerTest : public ExchangeTest {
 protected:
  // As k8s.io/apiserver pkg/server/filters/with_retry_after.go.
  void answer_drain() {
    request().answer(drain_head(), "The apiserver is shutting down, please try again later.\n");
    simulation_.settle();
  }
  std::size_t backend_of(const Request& asked) const {
    for (std::size_t i = 0; i < backends_.size(); ++i) {
      const std::vector<Request*> requests = backends_[i]->requests();
      if (std::ranges::find(requests, &asked) != requests.end()) return i;
    }
    ADD_FAILURE() << "nobody was asked";
    return 0;
  }
  // How many of so many requests, one after the other, go to this one.
  std::size_t asked_of(std::size_t backend, int requests) {
    const std::size_t before = backends_[backend]->requests().size();
    for (int i = 0; i < requests; ++i) {
      ask(pod);
      answer(request(), 200);
    }
    return backends_[backend]->requests().size() - before;
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

TEST_F(DrainAnswerTest, WhoeverSaysThatItShutsDownIsAvoidedAtOnce) {
  start(3);
  be_alice();
  ask(pod);
  const std::size_t drains = backend_of(request());
  answer_drain();
  answer(request(), 200);
  EXPECT_EQ(asked_of(drains, 60), 0U);
  simulation_.advance(balance::LoadBoard::drain_heeded);
  EXPECT_GT(asked_of(drains, 60), 10U);  // nobody has confirmed it
}

TEST_F(DrainAnswerTest, AProbeThatWasAskedLaterTakesItBack) {
  start(3);
  be_alice();
  ask(pod);
  const std::size_t drains = backend_of(request());
  answer_drain();
  answer(request(), 200);
  const Instant said = board_->drained_at(drains);
  const auto ready_as_of = [&](Instant asked) {
    cluster_->backends[drains]->ready_as_of.store(asked.time_since_epoch().count());
  };
  ready_as_of(said - 1ms);
  EXPECT_EQ(asked_of(drains, 30), 0U);
  ready_as_of(said);
  EXPECT_GT(asked_of(drains, 60), 10U);
}

TEST_F(DrainAnswerTest, NeverMoreThanHalfAreAvoidedForWhatTheySay) {
  start(2);
  be_alice();
  ask(pod);
  const std::size_t first = backend_of(request());
  answer_drain();
  answer_drain();  // the other one
  EXPECT_EQ(drained_by_.size(), 2U);
  const std::size_t asked = asked_of(first, 60);
  EXPECT_GT(asked, 20U);
  EXPECT_LT(asked, 40U);
}

// An aggregated API's server can say whatever it likes, in the API server's name.
TEST_F(DrainAnswerTest, WhatAnotherServerMayHaveSaidIsReplayedAndAvoidsNobody) {
  start(3);
  be_alice();
  ask("/apis/wardle.example.com/v1/namespaces/default/flunders/a");
  const std::size_t drains = backend_of(request());
  answer_drain();
  EXPECT_EQ(replays(drain_answer), 1U);
  EXPECT_EQ(drained_by_.size(), 1U);
  answer(request(), 200);
  EXPECT_GT(asked_of(drains, 60), 10U);
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
  static constexpr std::string_view resuming =
      "/api/v1/pods?watch=1&resourceVersion=5&allowWatchBookmarks=true&timeoutSeconds=300";
  static constexpr std::string_view watch_list =
      "/api/v1/pods?watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&"
      "allowWatchBookmarks=true&timeoutSeconds=300";

  // What the wheel and the end of a turn add.
  static constexpr Duration slack = 3 * io::TimerWheel::tick;

  void expect_a_clean_end_between(const Client::Answer& client, Instant first, Instant last) {
    if (first - 5ms > simulation_.now()) simulation_.advance(first - 5ms - simulation_.now());
    EXPECT_FALSE(client.ended || client.reset);
    if (last + slack > simulation_.now()) simulation_.advance(last + slack - simulation_.now());
    EXPECT_FALSE(client.reset);
    ASSERT_TRUE(client.ended);
    EXPECT_GE(*client.ended, first);
    EXPECT_LE(*client.ended, last + slack);
  }
  const WatchEndOptions& rule() const { return options_.watch_end; }
  std::uint32_t work() const {
    std::uint32_t sum = 0;
    for (std::size_t i = 0; i < board_->backends(); ++i) sum += board_->total(i).work;
    return sum;
  }
  // Pieces of the first burst, closer to each other than a pause, for so long.
  void burst(Request& streaming, Duration length) {
    for (Duration sent{}; sent < length; sent += 400ms) {
      streaming.send("{object}");
      simulation_.advance(400ms);
    }
    streaming.send("{object}");
    simulation_.settle();
  }
};

TEST_F(WatchEndTest, AYoungWatchThatIsLostEndsTwoSecondsAfterItsHead) {
  start(2);
  be_alice();
  const Client::Answer& client = established_watch();
  simulation_.advance(700ms);
  drop(request());
  expect_a_clean_end_between(client, client.head_at + 2s, client.head_at + 2s + rule().jitter);
  EXPECT_EQ(ended(WatchEnd::backend_lost), 1U);
}

TEST_F(WatchEndTest, AnOldWatchThatIsLostEndsAtOnceAlsoRightAfterAnEvent) {
  start(2);
  be_alice();
  const Client::Answer& client = established_watch();
  simulation_.advance(1min);
  request().send("{event}");
  simulation_.settle();
  const Instant lost = simulation_.now();
  drop(request());
  expect_a_clean_end_between(client, lost, lost + rule().jitter);
  EXPECT_EQ(ended(WatchEnd::backend_lost), 1U);
}

TEST_F(WatchEndTest, TheBackendsOwnEndOfAYoungWatchIsHeldBack) {
  start(2);
  be_alice();
  const Client::Answer& client = established_watch();
  request().finish();
  simulation_.settle();
  expect_a_clean_end_between(client, client.head_at + 2s, client.head_at + 2s);
  EXPECT_EQ(ended(WatchEnd::backend_ended), 1U);
}

TEST_F(WatchEndTest, TheBackendsOwnEndOfAnOldWatchPassesAtOnce) {
  start(2);
  be_alice();
  const Client::Answer& client = established_watch();
  simulation_.advance(2s);
  request().send("{bookmark}");
  request().finish();
  simulation_.settle();
  EXPECT_EQ(client.body, "{event}{bookmark}");
  EXPECT_TRUE(client.ended);
}

// --- first bursts ------------------------------------------------------------------------------

TEST_F(WatchEndTest, AWatchIsWorkUntilItsFirstBurstIsOverHoweverItIsEncoded) {
  start(1);
  be_alice();
  for (const std::string_view path :
       {watch_list, std::string_view("/api/v1/pods?watch=1&resourceVersion=0"),
        std::string_view("/api/v1/pods?watch=1")}) {
    for (const bool encoded : {false, true}) {
      ask(path);
      Request& streaming = *running().back();
      http::ResponseHead head;
      head.status = 200;
      if (encoded) head.fields.add("content-encoding", "gzip");
      streaming.begin(head);
      burst(streaming, 3s);
      EXPECT_GT(work(), 0U) << path;
      simulation_.advance(rule().burst_pause + slack);
      EXPECT_EQ(work(), 0U) << path;
    }
  }
  EXPECT_EQ(board_->total(0).watches, 6U);
}

TEST_F(WatchEndTest, AResumedWatchIsNoWorkFromItsHeadOn) {
  start(1);
  be_alice();
  ask(watch);
  EXPECT_EQ(work(), 1U);
  request().begin(200);
  simulation_.settle();
  EXPECT_EQ(work(), 0U);
}

TEST_F(WatchEndTest, AWatchThatIsLostInItsFirstBurstEndsFourSecondsAfterItsLastByte) {
  start(2);
  be_alice();
  const Client::Answer& client = ask(watch_list);
  request().begin(200);
  burst(request(), 2s);
  drop(request());
  expect_a_clean_end_between(client, *client.last_byte + 4s,
                             *client.last_byte + 4s + rule().jitter + 1ms);
}

// A clean end would look as if that had been all: nothing marks the end of what exists.
TEST_F(WatchEndTest, AWatchFromNothingThatIsLostInItsFirstBurstIsCut) {
  start(2);
  be_alice();
  for (const char* path : {"/api/v1/pods?watch=1", "/api/v1/pods?watch=1&resourceVersion=0"}) {
    const Client::Answer& client = ask(path);
    request().begin(200);
    burst(request(), 1s);
    drop(request());
    EXPECT_EQ(client.reset, Reset::truncated) << path;
    EXPECT_FALSE(client.ended);
  }
  const Client::Answer& whole = ask("/api/v1/pods?watch=1");
  request().begin(200);
  burst(request(), 1s);
  simulation_.advance(rule().burst_pause + 5s);
  const Instant lost = simulation_.now();
  drop(request());
  expect_a_clean_end_between(whole, lost, lost + rule().jitter);
}

TEST_F(WatchEndTest, AWatchThatEndsWhenItsClientWantedItIsHeldBackByNobody) {
  start(2);
  be_alice();
  const Client::Answer& asked =
      established_watch("/api/v1/pods?watch=1&timeoutSeconds=1&resourceVersion=5");
  simulation_.advance(900ms);
  request().finish();
  simulation_.settle();
  EXPECT_TRUE(asked.ended);
  const Client::Answer& early =
      established_watch("/api/v1/pods?watch=1&timeoutSeconds=2&resourceVersion=5");
  simulation_.advance(900ms);
  request().finish();
  simulation_.settle();
  expect_a_clean_end_between(early, early.head_at + 2s, early.head_at + 2s);
}

TEST_F(WatchEndTest, WhatOfAFirstBurstReachesItsClientLateDelaysTheEnd) {
  start(2);
  be_alice();
  client_.take_at_most(10);
  const Client::Answer& client = ask(watch_list);
  request().begin(200);
  request().send(std::string(30'000, 'e'));
  simulation_.settle();
  drop(request());
  simulation_.advance(20s);
  EXPECT_FALSE(client.ended);
  client_.take_at_most(SIZE_MAX);
  simulation_.settle();
  EXPECT_EQ(client.body.size(), 30'000U);
  expect_a_clean_end_between(client, *client.last_byte + 4s, *client.last_byte + 4s + 10ms);
}

TEST_F(WatchEndTest, AWatchIsNotMovedInItsFirstBurstAndSoonAfterIt) {
  set_options_.pool.draining_max = 0;
  start(1);
  be_alice();
  const Client::Answer& client = ask(watch_list);
  Request& streaming = request();
  streaming.begin(200);
  streaming.send("{object}");
  streaming.connection->goaway();
  burst(streaming, 20s);
  EXPECT_FALSE(client.ended || client.reset);
  const Instant last = *client.last_byte;
  expect_a_clean_end_between(client, last + 4s, last + 4s + rule().jitter + rule().burst_pause);
  EXPECT_EQ(ended(WatchEnd::retired), 1U);
}

// --- ends that we choose -----------------------------------------------------------------------

TEST_F(WatchEndTest, WhenTooManyConnectionsDrainWatchesMoveThoseThatResumeFirst) {
  set_options_.pool.draining_max = 2;
  start(1);
  be_alice();
  const auto on_a_draining_connection = [&](std::string_view path) -> const Client::Answer& {
    const Client::Answer& client = established_watch(path);
    running().back()->connection->goaway();
    simulation_.advance(3s);
    return client;
  };
  const Client::Answer& oldest = on_a_draining_connection(watch);
  const Client::Answer& second = on_a_draining_connection(resuming);
  EXPECT_EQ(ended(WatchEnd::retired), 0U);
  const Client::Answer& third = on_a_draining_connection(watch);
  EXPECT_TRUE(second.ended);
  EXPECT_FALSE(oldest.ended || third.ended);
  const Client::Answer& fourth = on_a_draining_connection(watch);
  EXPECT_TRUE(oldest.ended);
  EXPECT_FALSE(third.ended || fourth.ended);
  EXPECT_EQ(ended(WatchEnd::retired), 2U);
}

TEST_F(WatchEndTest, EventsAreForwardedUntilTheEndThatWeChose) {
  start(1);
  be_alice();
  const Client::Answer& client = established_watch();
  Request& streaming = request();
  simulation_.advance(5s);
  proxy_->end_watches(simulation_.now() + 40s);
  std::string sent = "{event}";
  Instant last_sent{};
  for (int i = 0; !client.ended && i < 1000; ++i) {
    ASSERT_FALSE(streaming.reset) << "the backend's stream ends after the client's";
    ASSERT_EQ(client.body, sent);
    sent += std::to_string(i) + ",";
    last_sent = simulation_.now();
    streaming.send(std::to_string(i) + ",");
    simulation_.settle();
    EXPECT_EQ(client.body, sent);
    simulation_.advance(100ms);
  }
  ASSERT_TRUE(client.ended);
  EXPECT_LE(*client.ended - last_sent, 100ms);
  EXPECT_EQ(client.body, sent);
  EXPECT_TRUE(streaming.reset);
  EXPECT_EQ(ended(WatchEnd::drain), 1U);
}

TEST_F(WatchEndTest, WhoNeverCatchesUpWithItsEventsStillSeesTheEnd) {
  start(1);
  be_alice();
  const Client::Answer& client = established_watch();
  Request& streaming = request();
  simulation_.advance(5s);
  const Instant until = simulation_.now() + 4s;
  proxy_->end_watches(until);
  for (std::size_t taken = 10; simulation_.now() < until + 6s; taken += 10) {
    client_.take_at_most(taken);
    if (!streaming.reset) streaming.send("{an event that is longer than what is taken}");
    simulation_.advance(100ms);
  }
  EXPECT_TRUE(streaming.reset);
  EXPECT_FALSE(client.ended);
  client_.take_at_most(SIZE_MAX);
  simulation_.settle();
  EXPECT_TRUE(client.ended);
  EXPECT_THAT(client.body, testing::EndsWith("taken}"));
}

TEST_F(WatchEndTest, InADrainWatchesEndOverTheWindowThoseThatResumeFirst) {
  start(1);
  be_alice();
  std::vector<const Client::Answer*> first;
  std::vector<const Client::Answer*> last;
  for (int i = 0; i < 20; ++i) {
    first.push_back(&established_watch(resuming));
    last.push_back(&established_watch(watch));
  }
  simulation_.advance(5s);
  const Instant from = simulation_.now();
  proxy_->end_watches(from + 40s);
  simulation_.advance(20s + slack);
  for (const auto* answer : first) EXPECT_TRUE(answer->ended);
  for (const auto* answer : last) EXPECT_FALSE(answer->ended || answer->reset);
  simulation_.advance(20s + slack);
  for (const auto* answer : last) EXPECT_TRUE(answer->ended);
  for (const auto& group : {first, last}) {
    const auto [begun, over] = std::ranges::minmax(
        group, {}, [](const auto* answer) { return answer->ended.value_or(Instant{}); });
    EXPECT_GT(*over->ended - *begun->ended, 10s);
  }
  EXPECT_EQ(ended(WatchEnd::drain), 40U);
}

TEST_F(WatchEndTest, AWatchWhoseBackendIsLostInADrainDoesNotWaitForItsTurn) {
  start(1);
  be_alice();
  const Client::Answer& client = established_watch();
  simulation_.advance(5s);
  proxy_->end_watches(simulation_.now() + 1h);
  const Instant lost = simulation_.now();
  drop(request());
  expect_a_clean_end_between(client, lost, lost + rule().jitter);
  EXPECT_EQ(ended(WatchEnd::backend_lost), 1U);
  EXPECT_EQ(ended(WatchEnd::drain), 0U);
}

TEST_F(WatchEndTest, InADrainAWatchInItsFirstBurstGoesLastAndIsCutWhenTheWindowIsOver) {
  start(1);
  be_alice();
  const Client::Answer& endless = ask(watch_list);
  Request& streaming = request();
  streaming.begin(200);
  const Client::Answer& synced = ask(watch_list);
  Request& quiet = *running().back();
  quiet.begin(200);
  quiet.send("{object}");
  simulation_.settle();
  proxy_->end_watches(simulation_.now() + 10s);
  const Client::Answer& late = established_watch();  // begun in the drain, planned as well
  burst(streaming, 10s);
  EXPECT_TRUE(late.ended);
  EXPECT_TRUE(synced.ended);
  EXPECT_GE(*synced.ended, *synced.last_byte + 4s);
  EXPECT_FALSE(endless.ended || endless.reset);
  proxy_->cut_first_bursts();
  simulation_.settle();
  EXPECT_EQ(endless.reset, Reset::truncated);
  EXPECT_EQ(registry_.total(metrics_->watches_cut), 1U);
  EXPECT_EQ(ended(WatchEnd::drain), 2U);
}

TEST_F(WatchEndTest, AnyOtherAnswerThatIsLostIsCutOff) {
  start(2);
  be_alice();
  for (const bool is_long : {false, true}) {
    const Client::Answer& client = ask(is_long ? pod : "/api/v1/pods");
    Request& streaming = request();
    streaming.begin(200);
    const std::string part(is_long ? 32 * 1024 + 1 : 10, 'h');
    streaming.send(part);
    simulation_.settle();
    EXPECT_EQ(client.body, part);
    drop(streaming);
    simulation_.advance(10s);
    EXPECT_EQ(client.reset, Reset::truncated);
    EXPECT_FALSE(client.ended);
    client_.leave();
  }
}

// --- short answers -----------------------------------------------------------------------------

class ShortAnswerTest : public ExchangeTest {
 protected:
  void SetUp() override {
    start(2);
    be_alice();
  }
  // Lost behind its head and some of its body.
  Client::Answer& lose_half(const http::ResponseHead& head, std::string_view path,
                            std::string_view method = "GET") {
    Client::Answer& answer = ask(path, method);
    Request& half = request();
    half.begin(head);
    half.send("half");
    simulation_.settle();
    drop(half);
    return answer;
  }
  void answer_rest(Request& request, std::string body) {
    request.send(std::move(body));
    request.finish();
    simulation_.settle();
  }
  static http::ResponseHead head_of(int status, std::string_view length = {}) {
    http::ResponseHead head;
    head.status = status;
    if (!length.empty()) head.fields.add("content-length", std::string(length));
    return head;
  }
  static constexpr std::string_view aggregated = "/apis/metrics.example.io/v1/nodes/one";
};

TEST_F(ShortAnswerTest, AReadThatIsCutBehindItsHeadIsAskedOfAnother) {
  for (const auto& [length, path] : {std::pair{"", pod}, std::pair{"32768", aggregated}}) {
    const Client::Answer& client = lose_half(head_of(200, length), path);
    answer(request(), 200, "whole");
    EXPECT_EQ(client.body, "whole") << path;
    EXPECT_TRUE(client.ended);
    EXPECT_FALSE(client.reset);
  }
}

TEST_F(ShortAnswerTest, AWriteThatIsCutBehindItsHeadHasAnUnknownOutcome) {
  const Client::Answer& client = lose_half(head_of(201), pod, "PUT");
  simulation_.settle();
  EXPECT_EQ(client.head.status, 502);
  EXPECT_TRUE(client.ended);
  EXPECT_TRUE(running().empty());
}

TEST_F(ShortAnswerTest, OneWhoseRestIsLateIsPassedOn) {
  Client::Answer& late = ask(pod);
  request().begin(200);
  simulation_.advance(190ms);
  EXPECT_EQ(late.head.status, 0);
  simulation_.advance(20ms);
  EXPECT_EQ(late.head.status, 200);
  answer_rest(request(), "late");
  EXPECT_EQ(late.body, "late");
  EXPECT_TRUE(late.ended);
}

// Its head and the cut would leave together, and the cut alone would arrive.
TEST_F(ShortAnswerTest, OneThatItsServerBreaksIsAStatusAndIsNotAskedAgain) {
  for (const char* method : {"GET", "PUT"}) {
    const Client::Answer& broken = ask(pod, method);
    request().begin(head_of(200, "10"));
    request().send("too short");
    request().finish();
    simulation_.settle();
    EXPECT_EQ(broken.head.status, 502) << method;
    EXPECT_TRUE(broken.ended);
    EXPECT_FALSE(broken.reset);
    EXPECT_TRUE(running().empty());
  }
}

class SmallWindowTest : public ExchangeTest {
 protected:
  void SetUp() override {
    options_.stream_window_bytes = 16 * 1024;
    start(1);
    be_alice();
  }
};

TEST_F(SmallWindowTest, AnAnswerThatFillsItIsPassedOnAtOnce) {
  const Client::Answer& client = ask(pod);
  request().begin(200);
  request().send(std::string(options_.stream_window_bytes - 1, 'a'));
  simulation_.settle();
  EXPECT_EQ(client.head.status, 0);
  request().send("a");
  simulation_.settle();
  EXPECT_EQ(client.body.size(), options_.stream_window_bytes);
}

// Of what others answer it is not known whether it comes bit by bit.
TEST_F(ShortAnswerTest, WhatMayBeAStreamIsPassedOnAtOnce) {
  for (const auto& [length, path] : {std::pair{"", aggregated}, std::pair{"32769", pod}}) {
    const Client::Answer& client = lose_half(head_of(200, length), path);
    EXPECT_EQ(client.body, "half") << path;
    EXPECT_EQ(client.reset, Reset::truncated);
    client_.leave();
  }
}

// --- early answers -----------------------------------------------------------------------------

class EarlyAnswerTest : public ExchangeTest {
 protected:
  // Answered by ourselves, before the body has come.
  Client::Answer& refused(std::string_view begin) {
    Client::Answer& answer = ask("/api/v1/../secrets\\", "POST", true);
    client_.upload(answer, begin, false);
    simulation_.settle();
    EXPECT_EQ(answer.head.status, 400);
    EXPECT_TRUE(answer.ended);
    return answer;
  }
  std::string upload_of(std::size_t bytes) { return std::string(bytes, 'u'); }
};

TEST_F(EarlyAnswerTest, AClientThatEndsItsUploadInTimeIsNotReset) {
  start(1);
  Client::Answer& client = refused("{");
  simulation_.advance(90ms);
  EXPECT_FALSE(client.reset);
  client_.upload(client, "}", true);
  simulation_.advance(1s);
  EXPECT_FALSE(client.reset);
  EXPECT_EQ(proxy_->exchanges(), 0U);
}

TEST_F(EarlyAnswerTest, AnUploadIsStoppedATenthOfASecondAfterItsAnswer) {
  start(1);
  const Client::Answer& client = refused("{");
  simulation_.advance(1s);
  ASSERT_EQ(client.reset, Reset::upload_stopped);
  EXPECT_GE(*client.reset_at - *client.ended, 100ms);
  EXPECT_LE(*client.reset_at - *client.ended, 100ms + 2 * io::TimerWheel::tick);
}

TEST_F(EarlyAnswerTest, AnUploadIsStoppedAfter64KilobytesThatNobodyWants) {
  start(1);
  Client::Answer& client = refused("");
  client_.upload(client, upload_of(64 * 1024), false);
  EXPECT_FALSE(client.reset);
  client_.upload(client, "u", false);
  EXPECT_EQ(client.reset, Reset::upload_stopped);
  EXPECT_EQ(client.credit, 64U * 1024 + 1);  // the window stays open meanwhile
}

TEST_F(EarlyAnswerTest, ABackendsEarlyAnswerLeavesTheSameTimeAndReturnsWhatItDidNotTake) {
  start(1);
  be_alice();
  Client::Answer& client = upload(upload_of(10'000));
  client_.upload(client, upload_of(20'000), false);
  answer(request(), 413, "too much");
  EXPECT_EQ(client.head.status, 413);
  EXPECT_TRUE(client.ended);
  EXPECT_FALSE(client.reset);
  EXPECT_EQ(client.credit, 30'000U);
  client_.upload(client, "", true);
  simulation_.advance(1s);
  EXPECT_FALSE(client.reset);
}

// curl 7.88 ends its upload when it sees the head of an error.
TEST_F(EarlyAnswerTest, AnAnswerThatHasBegunGoesOnWhenItsUploadBreaksARuleWhoseEndNobodySees) {
  start(1);
  be_alice();
  for (const bool ends : {true, false}) {
    Client::Answer& client = upload("be");
    const std::size_t open = proxy_->exchanges();
    Request& asked = request();
    asked.begin(415);
    const std::string part(40'000, 'u');  // no short answer
    asked.send(part);
    simulation_.settle();
    EXPECT_EQ(client.body, part);
    proxy_->client_malformed(client.exchange, "the body is not as long as was said");
    EXPECT_TRUE(proxy_->client_body(client.exchange, as_bytes(std::string_view("hidden"))));
    if (ends) client_.upload(client, "", true);
    simulation_.settle();
    EXPECT_EQ(asked.body, "be");
    EXPECT_FALSE(asked.complete);
    asked.send("supported");
    asked.finish();
    simulation_.settle();
    EXPECT_EQ(client.body, part + "supported");
    EXPECT_TRUE(client.ended);
    EXPECT_FALSE(client.reset);
    EXPECT_TRUE(asked.reset);
    simulation_.advance(1s);
    if (!ends) {
      EXPECT_EQ(client.reset, Reset::upload_stopped);
      client_.upload(client, "", true);
      simulation_.settle();
    }
    EXPECT_EQ(proxy_->exchanges(), open - 1);
  }
}

// --- empty answers -----------------------------------------------------------------------------

TEST_F(ExchangeTest, AnEndOfStreamOnTheHeadStaysThere) {
  start(1);
  be_alice();
  for (const int status : {200, 204, 304, 404}) {
    const Client::Answer& client = ask(pod);
    request().answer_head(status);
    simulation_.settle();
    EXPECT_EQ(client.head.status, status);
    EXPECT_FALSE(client.has_body) << status;
    EXPECT_TRUE(client.ended);
  }
  EXPECT_EQ(proxy_->exchanges(), 0U);
}

TEST_F(ExchangeTest, AnEmptyBodyThatFollowsItsHeadFollowsItHere) {
  start(1);
  be_alice();
  const Client::Answer& client = ask(pod);
  request().begin(200);
  request().finish();
  simulation_.settle();
  EXPECT_TRUE(client.has_body);
  EXPECT_TRUE(client.ended);
}

TEST_F(ExchangeTest, OurOwnAnswerToHeadHasNoBody) {
  start(1);
  const Client::Answer& get = ask("/\\");
  const Client::Answer& head = ask("/\\", "HEAD");
  EXPECT_EQ(head.head.status, 400);
  EXPECT_FALSE(head.has_body);
  EXPECT_TRUE(head.ended);
  EXPECT_EQ(head.head.fields.find("content-length"), std::to_string(get.body.size()));
}

TEST_F(ExchangeTest, AnEarlyAnswerWithoutABodyStopsItsUploadToo) {
  start(1);
  be_alice();
  const Client::Answer& client = upload("u");
  request().answer_head(403);
  simulation_.settle();
  EXPECT_FALSE(client.has_body);
  EXPECT_FALSE(client.reset);
  simulation_.advance(1s);
  EXPECT_EQ(client.reset, Reset::upload_stopped);
}

// --- deadlines ---------------------------------------------------------------------------------

TEST_F(ExchangeTest, TheTimeForAnAnswerCountsFromTheEndOfTheUpload) {
  start(1);
  be_alice();
  Client::Answer& client = upload("first");
  for (int i = 0; i < 4; ++i) {
    simulation_.advance(options_.request_timeout / 2);
    client_.upload(client, "more", i == 3);
  }
  simulation_.advance(options_.request_timeout - 1s);
  EXPECT_EQ(client.head.status, 0);
  simulation_.advance(2s);
  EXPECT_EQ(client.head.status, 504);
  EXPECT_FALSE(client.head.fields.contains("retry-after"));
}

TEST_F(ExchangeTest, AnUploadThatStandsStillHasTheSameTime) {
  start(1);
  be_alice();
  const Client::Answer& client = upload("first");
  simulation_.advance(options_.request_timeout + 1s);
  EXPECT_EQ(client.head.status, 504);
}

TEST_F(ExchangeTest, AnAnswerThatHasBegunHasNoDeadline) {
  start(1);
  be_alice();
  const Client::Answer& client = ask("/api/v1/pods");
  request().begin(200);
  request().send("half");
  simulation_.advance(options_.request_timeout * 3);
  EXPECT_FALSE(client.reset);
  request().send(" and half");
  request().finish();
  simulation_.settle();
  EXPECT_EQ(client.body, "half and half");
  EXPECT_TRUE(client.ended);
}

TEST_F(ExchangeTest, AListAboveItsTimeIsNotAskedForAgain) {
  start(2);
  be_alice();
  const Client::Answer& client = ask("/api/v1/pods");
  simulation_.advance(options_.request_timeout + 1s);
  EXPECT_EQ(client.head.status, 504);
  EXPECT_FALSE(client.head.fields.contains("retry-after"));
  EXPECT_EQ(client.body.find("retryAfterSeconds"), std::string::npos);
  EXPECT_EQ(replies(ReplyReason::timeout), 1U);
  EXPECT_EQ(replies(ReplyReason::backend_lost), 0U);
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
  EXPECT_EQ(client.reset, Reset::stalled);
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
  resources_options_.body_bytes_per_worker = 1024 * 1024;
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

// --- uploads -----------------------------------------------------------------------------------

class UploadTest : public ExchangeTest {
 protected:
  void SetUp() override { be_alice(); }
  std::int64_t gauge(metrics::GaugeId id) {
    resources_->publish();
    return registry_.total(id);
  }
  void upload_more(Client::Answer& client, std::string_view bytes, bool last = false) {
    client_.upload(client, bytes, last);
    simulation_.settle();
  }
  static std::string body_of(std::size_t bytes) { return std::string(bytes, 'u'); }
};

TEST_F(UploadTest, EachByteIsCreditedOnceAlsoWhenItIsSentAgain) {
  start(2);
  Client::Answer& client = upload(body_of(10'000));
  EXPECT_EQ(request().body, body_of(10'000));
  EXPECT_EQ(client.credit, 10'000U);
  request().refuse();
  simulation_.settle();
  Request& second = request();
  EXPECT_EQ(second.body, body_of(10'000));
  EXPECT_EQ(client.credit, 10'000U);
  upload_more(client, "the rest", true);
  EXPECT_EQ(second.body, body_of(10'000) + "the rest");
  EXPECT_TRUE(second.complete);
  EXPECT_EQ(client.credit, 10'008U);
  answer(second, 201);
  EXPECT_EQ(client.head.status, 201);
  EXPECT_EQ(client.credit, 10'008U);
  EXPECT_EQ(replays(not_executed), 1U);
}

TEST_F(UploadTest, OneThatIsTooLongToBeKeptIsNotSentAgain) {
  options_.replay_body_bytes = 9'999;
  start(2);
  const Client::Answer& client = upload(body_of(10'000));
  request().refuse();
  simulation_.settle();
  EXPECT_EQ(client.head.status, 503);
  EXPECT_TRUE(client.head.fields.contains("retry-after"));  // it was not executed
  EXPECT_TRUE(running().empty());
  EXPECT_EQ(all_replays(), 0U);
}

TEST_F(UploadTest, OneThatIsTakenQuicklyGrowsItsWindowAndPaysItBack) {
  start(1);
  Client::Answer& client = upload("");
  for (int i = 0; i < 40; ++i) upload_more(client, body_of(50'000));
  EXPECT_EQ(request().body.size(), 2'000'000U);
  EXPECT_EQ(client.credit, 2'000'000U);
  ASSERT_EQ(client_.windows.size(), 1U);
  EXPECT_EQ(client_.windows.begin()->second, options_.stream_window_bytes_max);
  EXPECT_EQ(gauge(resources_metrics_->window_bytes),
            options_.stream_window_bytes_max - options_.stream_window_bytes);
  upload_more(client, "", true);
  answer(request(), 201);
  EXPECT_TRUE(client.ended);
  EXPECT_EQ(gauge(resources_metrics_->window_bytes), 0);
}

TEST_F(UploadTest, OneThatItsBackendDoesNotTakeWaitsHereWithoutCreditUntilItsClientGoes) {
  start(1);
  Client::Answer& client = upload("u");
  backends_[0]->mute = true;
  for (int i = 0; i < 10; ++i) upload_more(client, body_of(10'000));
  EXPECT_EQ(client.credit, options_.stream_window_bytes);  // as much as the backend granted
  EXPECT_TRUE(client_.windows.empty());
  EXPECT_GT(gauge(resources_metrics_->body_bytes), 30'000);
  proxy_->client_gone(client.exchange);
  simulation_.settle();
  EXPECT_EQ(proxy_->exchanges(), 0U);
  EXPECT_EQ(gauge(resources_metrics_->body_bytes), 0);
}

TEST_F(UploadTest, OneWhoseClientGoesIsResetAtTheBackend) {
  start(1);
  const Client::Answer& client = upload(body_of(1000));
  Request& half = request();
  proxy_->client_gone(client.exchange);
  simulation_.settle();
  EXPECT_TRUE(half.reset);
  EXPECT_FALSE(half.complete);
  EXPECT_EQ(half.body, body_of(1000));
  EXPECT_EQ(proxy_->exchanges(), 0U);
  EXPECT_EQ(all_replays(), 0U);
  EXPECT_TRUE(running().empty());
}

// --- windows -----------------------------------------------------------------------------------

TEST_F(ExchangeTest, AnAnsweredRequestHoldsNoHead) {
  resources_options_.body_bytes_per_worker = 1024 * 1024;
  options_.body_bytes_per_client = 1024 * 1024;
  start(1);
  client_.take_at_most(0);
  // Ours and a backend's; none is taken.
  for (int i = 0; i < 40; ++i) {
    http::RequestHead head;
    head.method = "GET";
    head.scheme = "https";
    head.authority = "kubernetes";
    head.path =
        i % 2 == 0 ? std::string("/%zz") : std::string(pod) + "?" + std::string(50'000, 'q');
    head.fields.add("authorization", "Bearer x");
    head.fields.add("x-large", std::string(100'000, 'x'));
    const ClientStream id = new_stream();
    Client::Answer& answer = client_.answers[id];
    answer.exchange = proxy_->start(client_, id, std::move(head), true);
    simulation_.settle();
    for (Request* request : running()) {
      http::ResponseHead large;
      large.status = 200;
      large.fields.add("x-large", std::string(50'000, 'x'));
      request->answer(large, "{}");
    }
    simulation_.settle();
    EXPECT_EQ(answer.head.status, i % 2 == 0 ? 400 : 200);
  }
  EXPECT_EQ(replies(ReplyReason::overloaded), 0U);
  EXPECT_EQ(replies(ReplyReason::client_overloads), 0U);
}

TEST_F(ExchangeTest, AClientAboveItsShareIsRefusedAndOthersAreServed) {
  options_.body_bytes_per_client = 200 * 1024;
  start(1);
  be_alice();
  client_.change_facts().keys.user = 1;
  client_.take_at_most(0);
  for (int i = 0; i < 4; ++i) {
    ask("/api/v1/pods");
    running().back()->answer(200, std::string(60'000, 'x'));
    simulation_.settle();
  }
  EXPECT_EQ(ask(pod).head.status, 429);
  EXPECT_EQ(ask(pod, "DELETE").head.status, 429);
  EXPECT_EQ(replies(ReplyReason::client_overloads), 2U);
  // What a cluster falls apart without is served on.
  Client::Answer& lease = ask("/apis/coordination.k8s.io/v1/namespaces/a/leases/b");
  answer(*running().back(), 200, "{}");
  EXPECT_EQ(lease.head.status, 200);
  client_.change_facts().keys.user = 2;
  Client::Answer& other = ask(pod);
  answer(*running().back(), 200, "{}");
  EXPECT_EQ(other.head.status, 200);
  // When it has taken what waits for it, it is served again.
  client_.change_facts().keys.user = 1;
  client_.take_at_most(SIZE_MAX);
  simulation_.settle();
  Client::Answer& again = ask(pod);
  answer(*running().back(), 200, "{}");
  EXPECT_EQ(again.head.status, 200);
}

// Four of them would use up everything, and each holds no more than it may.
TEST_F(ExchangeTest, WhoHoldsMostMakesRoomWhenTheWorkersBytesAreUsedUp) {
  resources_options_.body_bytes_per_worker = 1024 * 1024;
  options_.body_bytes_per_client = 600 * 1024;
  start(1);
  be_alice();
  client_.take_at_most(0);
  std::vector<const Client::Answer*> of_large, of_small;
  const auto hold = [&](std::uint64_t user, std::size_t bytes, std::string_view path) {
    client_.change_facts().keys.user = user;
    const Client::Answer& answer = ask(path);
    running().back()->answer(200, std::string(bytes, 'x'));
    simulation_.settle();
    return &answer;
  };
  for (int i = 0; i < 10; ++i) of_large.push_back(hold(1, 60'000, "/api/v1/pods"));
  for (std::uint64_t user = 2; user < 12; ++user) {
    of_small.push_back(hold(user, 50'000, "/api/v1/pods"));
  }
  client_.change_facts().keys.user = 50;
  const Client::Answer& newcomer = ask(pod);
  ASSERT_EQ(running().size(), 1U);
  answer(*running().back(), 200, "{}");
  EXPECT_EQ(newcomer.head.status, 200);
  EXPECT_EQ(replies(ReplyReason::overloaded), 0U);
  const auto is_cut = [](const Client::Answer* answer) { return answer->reset.has_value(); };
  EXPECT_GE(std::ranges::count_if(of_large, is_cut), 4);
  EXPECT_LE(std::ranges::count_if(of_large, is_cut), 6);
  EXPECT_EQ(std::ranges::count_if(of_small, is_cut), 0);
  EXPECT_EQ(registry_.total(metrics_->made_room),
            static_cast<std::uint64_t>(std::ranges::count_if(of_large, is_cut)));
}

// Many answers that come at once may be far above the budget: half of them would not be enough.
TEST_F(ExchangeTest, WhoHoldsFarTooMuchMakesAsMuchRoomAsIsMissing) {
  resources_options_.body_bytes_per_worker = 300 * 1024;
  options_.body_bytes_per_client = 1024 * 1024;
  start(1);
  be_alice();
  client_.take_at_most(0);
  client_.change_facts().keys.user = 1;
  std::vector<const Client::Answer*> burst;
  for (int i = 0; i < 15; ++i) burst.push_back(&ask("/api/v1/pods"));
  const auto asked = running();
  for (auto* request : asked) request->answer(200, std::string(60'000, 'x'));
  simulation_.settle();
  client_.change_facts().keys.user = 50;
  Client::Answer& newcomer = ask(pod);
  ASSERT_GT(running().size(), 0U);
  answer(*running().back(), 200, "{}");
  EXPECT_EQ(newcomer.head.status, 200);
  EXPECT_EQ(replies(ReplyReason::overloaded), 0U);
  // What fits stays.
  EXPECT_GE(std::ranges::count_if(burst, [](auto* one) { return !one->reset; }), 3);
}

// What is refused before it is known who asks is its connection's.
TEST_F(ExchangeTest, WhoTakesNoRefusalsMakesRoomBeforeAnybodyElse) {
  resources_options_.body_bytes_per_worker = 600 * 1024;
  options_.body_bytes_per_client = 600 * 1024;
  start(1);
  be_alice();
  client_.take_at_most(0);
  const Client::Answer& list = ask("/api/v1/pods");
  answer(*running().back(), 200, std::string(50'000, 'x'));
  const ClientFacts alice = client_.facts();
  ClientFacts& facts = client_.change_facts();
  facts = {};
  facts.keys = {.network = 77, .user = 78, .connection = 79};
  std::vector<const Client::Answer*> refused;
  for (int i = 0; i < 400; ++i) {
    refused.push_back(&ask("/%zz"));
    simulation_.advance(5ms);
  }
  facts = alice;
  facts.keys.user = 50;
  const Client::Answer& newcomer = ask(pod);
  ASSERT_EQ(newcomer.head.status, 0) << newcomer.body;
  answer(*running().back(), 200, "{}");
  EXPECT_EQ(newcomer.head.status, 200);
  EXPECT_FALSE(list.reset.has_value());
  EXPECT_EQ(replies(ReplyReason::overloaded), 0U);
  EXPECT_GE(std::ranges::count_if(refused, [](auto* one) { return one->reset.has_value(); }), 50);
}

// Whoever holds an equal share has done nothing wrong, and leases are never ended.
TEST_F(ExchangeTest, NobodyMakesRoomWhereAllHoldTheSameAndWhatMustBeServedStays) {
  resources_options_.body_bytes_per_worker =
      700 * 1024;  // less than eleven answers and their requests
  options_.body_bytes_per_client = 600 * 1024;
  start(1);
  be_alice();
  client_.take_at_most(0);
  std::vector<const Client::Answer*> all;
  for (std::uint64_t user = 1; user < 12; ++user) {
    client_.change_facts().keys.user = user;
    all.push_back(&ask(user == 1 ? "/apis/coordination.k8s.io/v1/leases" : "/api/v1/pods"));
    // The lease's client holds most, of which nothing may go.
    running().back()->answer(200, std::string(user == 1 ? 90'000 : 60'000, 'x'));
    simulation_.settle();
  }
  EXPECT_EQ(ask(pod).head.status, 503);
  // Who holds nothing is served all the same, as long as a twentieth more is not in use.
  client_.change_facts().keys.user = 50;
  Client::Answer& newcomer = ask(pod);
  running().back()->answer(200, "{}");
  simulation_.settle();
  EXPECT_EQ(newcomer.head.status, 200);
  for (const Client::Answer* answer : all) EXPECT_FALSE(answer->reset.has_value());
  // What a cluster falls apart without has a tenth more.
  constexpr std::string_view lease = "/apis/coordination.k8s.io/v1/namespaces/a/leases/b";
  Client::Answer& renewal = ask(lease);
  EXPECT_EQ(renewal.head.status, 0);
  running().back()->answer(200, std::string(90'000, 'x'));
  simulation_.settle();
  EXPECT_EQ(renewal.head.status, 200);
  EXPECT_EQ(ask(lease).head.status, 503);
}

TEST_F(ExchangeTest, RequestsWithoutACredentialBeyondAShareAreRefusedAtOnce) {
  options_.anonymous_requests_per_address = 3;
  set_options_.suspect_connect_spacing = Duration::zero();
  start(1);
  authorization_.clear();
  for (int i = 0; i < 3; ++i) ask("/version");
  const Client::Answer& fourth = ask("/version");
  EXPECT_EQ(fourth.head.status, 429);
  EXPECT_TRUE(fourth.head.fields.contains("retry-after"));
  EXPECT_EQ(replies(ReplyReason::anonymous_share), 1U);
  // Neither is a probe refused, nor another address, nor who has a token.
  const std::size_t before = running().size();
  ask("/readyz");
  authorization_ = "Bearer new";
  ask("/version");
  authorization_.clear();
  client_.change_facts().keys.network = 77;
  ask("/version");
  EXPECT_EQ(replies(ReplyReason::anonymous_share), 1U);
  EXPECT_EQ(running().size(), before + 3);
  // Nor whose network is not counted.
  client_.change_facts().keys.network = 0;
  client_.change_facts().exempt = true;
  ask("/version");
  EXPECT_EQ(running().size(), before + 4);
  client_.change_facts().exempt = false;
  EXPECT_EQ(ask("/version").head.status, 429);
  // An answer makes room, though it is not taken.
  client_.change_facts().keys.network = 0;
  client_.take_at_most(0);
  for (Request* request : running()) request->answer(200, "{}");
  simulation_.settle();
  EXPECT_NE(ask("/version").head.status, 429);
}

// One client asks twenty times in each turn and another twice; each request that is served takes
// 8 ms of the next turn.
class BusyWorkerTest : public ExchangeTest {
 protected:
  enum class Who : bool { worker, neighbour };

  void be_busy(Who who, int turns) {
    for (int i = 0; i < turns; ++i) {
      std::vector<Request*> fresh;
      for (Request* request : running()) {
        if (answered_.insert(request).second) fresh.push_back(request);
      }
      const Duration turn = 8ms * fresh.size();
      if (who == Who::worker) {
        simulation_.network().work(turn);
      } else {
        simulation_.network().pass(turn);
      }
      simulation_.reactor().turn(false);
      for (Request* request : fresh) request->answer(200, "{}");
      for (int k = 0; k < 20; ++k) begin(1, pod);
      begin(2, pod);
      begin(2, "/apis/coordination.k8s.io/v1/namespaces/a/leases/b");
      begin(1, "/apis/coordination.k8s.io/v1/namespaces/a/leases/b");
    }
    simulation_.settle();
  }
  int refused(std::uint64_t user) {
    int count = 0;
    for (const ClientStream id : asked_[user]) {
      if (client_.answers[id].head.status == 429) ++count;
    }
    return count;
  }

 private:
  void begin(std::uint64_t user, std::string_view path) {
    client_.change_facts().keys.user = user;
    http::RequestHead head;
    head.method = "GET";
    head.scheme = "https";
    head.authority = "kubernetes";
    head.path = path;
    const ClientStream id = new_stream();
    client_.answers[id].exchange = proxy_->start(client_, id, std::move(head), true);
    asked_[user].push_back(id);
  }

  std::map<std::uint64_t, std::vector<ClientStream>> asked_;
  std::set<const Request*> answered_;
};

TEST_F(BusyWorkerTest, RefusesWhoCausesMostOfTheWorkAndNobodyElse) {
  start(3);
  be_alice();
  be_busy(Who::worker, 100);
  EXPECT_GT(refused(1), 300);
  EXPECT_EQ(refused(2), 0);
  EXPECT_EQ(replies(ReplyReason::worker_busy), static_cast<std::uint64_t>(refused(1)));
  resources_->publish();
  EXPECT_EQ(registry_.total(resources_metrics_->shedding), 1U);
  // The rest was served: what must always be, and a part.
  EXPECT_LT(refused(1), 1500);
}

TEST_F(BusyWorkerTest, RefusesNothingForABusyNeighbour) {
  start(3);
  be_alice();
  be_busy(Who::neighbour, 100);
  EXPECT_EQ(refused(1), 0);
  EXPECT_EQ(replies(ReplyReason::worker_busy), 0U);
  resources_->publish();
  EXPECT_EQ(registry_.total(resources_metrics_->shedding), 0U);
}

TEST_F(ExchangeTest, UnknownTokensBeyondAShareAreRefusedButNotWhereOneWasProven) {
  options_.unproven_requests_per_address = 2;
  set_options_.suspect_connect_spacing = Duration::zero();
  start(1);
  const auto ask_with = [&](const std::string& token) -> Client::Answer& {
    authorization_ = "Bearer " + token;
    return ask(pod);
  };
  ask_with("a");
  ask_with("b");
  EXPECT_EQ(ask_with("c").head.status, 429);
  EXPECT_EQ(replies(ReplyReason::unproven_share), 1U);
  // One of them is good: what comes on this connection now has a share of its own.
  client_.change_facts().keys.connection = 5;
  running().front()->answer(200, "{}");
  simulation_.settle();
  Client::Answer& renewed = ask_with("d");
  EXPECT_EQ(renewed.head.status, 0);
  ask_with("e");
  EXPECT_EQ(ask_with("f").head.status, 429);
}

TEST_F(ExchangeTest, ALongAnswerThatIsTakenQuicklyGrowsItsWindowAndPaysItBack) {
  start(1);
  be_alice();
  const auto lent = [&] {
    resources_->publish();
    return registry_.total(resources_metrics_->window_bytes);
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

// --- history of watches ------------------------------------------------------------------------

class WatchHistoryTest : public ExchangeTest {
 protected:
  static constexpr std::string_view gone =
      R"({"type":"ERROR","object":{"kind":"Status","code":410,"reason":"Expired"}})"
      "\n";
  static constexpr std::string_view added = R"({"type":"ADDED","object":{}})"
                                            "\n";

  // The first ones have run for so long, and the others for ever.
  void start_young(std::size_t backends, std::vector<Duration> ages) {
    options_.watch_history.steer_age = Duration::zero();
    options_.picker.policy = balance::Policy::least;
    start(backends);
    be_alice();
    for (std::size_t i = 0; i < ages.size(); ++i) set_age(i, ages[i]);
  }
  void set_age(std::size_t backend, Duration age) {
    cluster_->backends[backend]->started.store(simulation_.now() - age);
  }
  // Those that are taken from now on.
  void only(std::initializer_list<std::size_t> usable) {
    for (std::size_t i = 0; i < cluster_->backends.size(); ++i) {
      const bool good = std::ranges::find(usable, i) != usable.end();
      cluster_->backends[i]->health.store(good ? backend::Health::ready
                                               : backend::Health::not_ready);
    }
  }
  void all_usable() {
    for (const auto& backend : cluster_->backends) backend->health.store(backend::Health::ready);
  }
  // A watch that is sent to this backend, while the others are usable, too.
  Client::Answer& ask_at(std::size_t backend, std::string_view path = watch) {
    only({backend});
    Client::Answer& answer = ask(path);
    all_usable();
    EXPECT_EQ(open_at(backend), 1U);
    return answer;
  }
  std::size_t open_at(std::size_t backend) {
    return static_cast<std::size_t>(std::ranges::count_if(running(), [&](Request* request) {
      const auto its = backends_[backend]->requests();
      return std::ranges::find(its, request) != its.end();
    }));
  }
  Request& request_at(std::size_t backend) {
    for (Request* request : running()) {
      const auto its = backends_[backend]->requests();
      if (std::ranges::find(its, request) != its.end()) return *request;
    }
    ADD_FAILURE() << "nothing is open at backend " << backend;
    return *running().at(0);
  }
  static http::ResponseHead watch_head(std::string_view type = "application/json") {
    http::ResponseHead head;
    head.status = 200;
    head.fields.add("content-type", type);
    return head;
  }
  void begin(std::size_t backend) {
    request_at(backend).begin(watch_head());
    simulation_.settle();
  }
  void send(std::size_t backend, std::string_view bytes) {
    request_at(backend).send(std::string(bytes));
    simulation_.settle();
  }
  void answer_gone(std::size_t backend) {
    begin(backend);
    send(backend, gone);
  }
  std::uint64_t held() { return registry_.total(metrics_->watches_held); }
  std::uint64_t expired() { return registry_.total(metrics_->watches_expired); }
};

TEST_F(WatchHistoryTest, A410OfAYoungBackendMovesTheWatchToAnOldOne) {
  start_young(2, {1min});
  const Client::Answer& client = ask_at(0);
  answer_gone(0);
  EXPECT_EQ(client.head.status, 0);
  EXPECT_EQ(open_at(0), 0U);
  ASSERT_EQ(open_at(1), 1U);
  EXPECT_EQ(request_at(1).head.path, watch);
  begin(1);
  send(1, added);
  EXPECT_EQ(client.head.status, 200);
  EXPECT_EQ(client.body, added);
  EXPECT_EQ(held(), 2U);
  EXPECT_EQ(replays(no_history), 1U);
  EXPECT_EQ(expired(), 0U);
  EXPECT_EQ(board_->total(0).watches, 0U);
  EXPECT_EQ(board_->total(1).watches, 1U);
}

TEST_F(WatchHistoryTest, A410InPiecesIsSeenToo) {
  start_young(2, {1min});
  const Client::Answer& client = ask_at(0);
  begin(0);
  for (const char c : gone.substr(0, gone.size() - 1)) {
    ASSERT_EQ(client.head.status, 0);
    ASSERT_EQ(open_at(0), 1U);
    send(0, {&c, 1});
  }
  EXPECT_EQ(client.head.status, 0);
  EXPECT_EQ(open_at(1), 1U);
}

TEST_F(WatchHistoryTest, A410ThatIsTheAnswersStatusMovesItToo) {
  start_young(2, {1min});
  const Client::Answer& client = ask_at(0);
  answer(request_at(0), 410, "{}");
  EXPECT_EQ(client.head.status, 0);
  begin(1);
  send(1, added);
  EXPECT_EQ(client.head.status, 200);
  EXPECT_EQ(replays(no_history), 1U);
}

TEST_F(WatchHistoryTest, AnyOtherFirstEventGoesOnAtOnce) {
  start_young(2, {1min});
  const Client::Answer& client = ask_at(0);
  begin(0);
  EXPECT_EQ(client.head.status, 0);
  EXPECT_TRUE(proxy_->describe(client.exchange).contains("state=holding"));
  const Instant now = simulation_.now();
  send(0, R"({"type":"A)");
  EXPECT_EQ(client.head.status, 200);
  EXPECT_EQ(client.head_at, now);
  EXPECT_EQ(client.body, R"({"type":"A)");
  send(0, gone);
  EXPECT_TRUE(client.body.ends_with(gone));
  EXPECT_EQ(all_replays(), 0U);
}

TEST_F(WatchHistoryTest, AQuietWatchWaitsForItsTimeAndNoLonger) {
  start_young(2, {1min});
  const Client::Answer& client = ask_at(0);
  begin(0);
  const Instant began = simulation_.now();
  simulation_.advance(options_.watch_history.hold - 10ms);
  EXPECT_EQ(client.head.status, 0);
  simulation_.advance(15ms);
  EXPECT_EQ(client.head.status, 200);
  EXPECT_GE(client.head_at, began + options_.watch_history.hold);
  send(0, gone);  // it is the client's now
  EXPECT_EQ(client.body, gone);
  EXPECT_EQ(board_->total(0).work, 0U);
  EXPECT_EQ(board_->total(0).watches, 1U);
}

TEST_F(WatchHistoryTest, OldBackendsAndOtherRequestsAreNotHeld) {
  start_young(3, {1min, options_.watch_history.hold_age});
  const Client::Answer& old = ask_at(1);
  begin(1);
  EXPECT_EQ(old.head.status, 200);
  for (const std::string_view path :
       {"/api/v1/pods?watch=1", "/api/v1/pods?watch=1&resourceVersion=0",
        "/api/v1/pods?watch=1&resourceVersion=5&sendInitialEvents=true",
        "/api/v1/pods?watch=1&sendInitialEvents=false", "/api/v1/pods?resourceVersion=5"}) {
    const Client::Answer& client = ask_at(0, path);
    begin(0);
    EXPECT_EQ(client.head.status, 200) << path;
    client_.leave();
    simulation_.settle();
  }
  EXPECT_EQ(held(), 0U);
}

TEST_F(WatchHistoryTest, NothingIsHeldWhereNobodyKnowsMore) {
  start_young(3, {1min, 30s, 45s});
  const Client::Answer& client = ask_at(0);
  begin(0);
  EXPECT_EQ(client.head.status, 200) << "it is the oldest";
  EXPECT_EQ(held(), 0U);
}

TEST_F(WatchHistoryTest, OfYoungOnesTheOldestIsAsked) {
  start_young(3, {30s, 2min, 1min});
  ask_at(0);
  answer_gone(0);
  EXPECT_EQ(open_at(1), 1U);
  EXPECT_EQ(replays(no_history), 1U);
}

TEST_F(WatchHistoryTest, A410OfTheOldOneIsTheClients) {
  start_young(2, {1min});
  const Client::Answer& client = ask_at(0);
  answer_gone(0);
  answer_gone(1);
  EXPECT_EQ(client.head.status, 200);
  EXPECT_EQ(client.body, gone);
  EXPECT_EQ(expired(), 1U);
  EXPECT_EQ(replays(no_history), 1U);
  EXPECT_EQ(running().size(), 1U);
}

TEST_F(WatchHistoryTest, AResourceThatIsGoneEverywhereIsNotHeldForAWhile) {
  start_young(2, {1min});
  ask_at(0);
  answer_gone(0);
  answer_gone(1);
  client_.leave();
  simulation_.settle();

  const Client::Answer& again = ask_at(0);
  begin(0);
  EXPECT_EQ(again.head.status, 200);
  client_.leave();
  simulation_.settle();
  const Client::Answer& secrets = ask_at(0, "/api/v1/secrets?watch=1&resourceVersion=5");
  begin(0);
  EXPECT_EQ(secrets.head.status, 0) << "another resource";
  client_.leave();
  simulation_.settle();

  simulation_.advance(ExpiredResources::kept);
  const Client::Answer& later = ask_at(0);
  begin(0);
  EXPECT_EQ(later.head.status, 0);
}

TEST_F(WatchHistoryTest, AClientWithAnOldVersionEndsTheHoldingForNobodyElse) {
  start_young(2, {1min});
  ask_at(0, "/api/v1/pods?watch=1&resourceVersion=1");
  answer_gone(0);
  answer_gone(1);
  client_.leave();
  simulation_.settle();
  const Client::Answer& honest = ask_at(0, "/api/v1/pods?watch=1&resourceVersion=4000");
  begin(0);
  EXPECT_EQ(honest.head.status, 0) << "held";
}

TEST_F(WatchHistoryTest, AYoungOnesSecond410TeachesNothing) {
  start_young(2, {30s, 1min});
  ask_at(0);
  answer_gone(0);
  answer_gone(1);
  EXPECT_EQ(expired(), 1U);
  client_.leave();
  simulation_.settle();
  const Client::Answer& again = ask_at(0);
  begin(0);
  EXPECT_EQ(again.head.status, 0);
}

TEST_F(WatchHistoryTest, MovingNeedsNoBudgetForReplays) {
  options_.replay_budget_percent = 0;
  options_.tries_max = 1;
  start_young(2, {1min});
  ask_at(0);
  answer_gone(0);
  EXPECT_EQ(open_at(1), 1U);
}

TEST_F(WatchHistoryTest, WhatIsHeldIsGoneWithItsClient) {
  start_young(2, {1min});
  ask_at(0);
  begin(0);
  send(0, gone.substr(0, 20));
  client_.leave();
  simulation_.settle();
  EXPECT_EQ(proxy_->exchanges(), 0U);
  EXPECT_TRUE(running().empty());
  EXPECT_EQ(board_->total(0).watches, 0U);
  simulation_.advance(1s);  // nothing is due any more
}

TEST_F(WatchHistoryTest, ALostBackendEndsAHeldWatchCleanly) {
  start_young(2, {1min});
  const Client::Answer& client = ask_at(0);
  begin(0);
  drop(request_at(0));
  EXPECT_EQ(client.head.status, 200);
  simulation_.advance(5s);
  EXPECT_TRUE(client.ended);
  EXPECT_FALSE(client.reset);
  EXPECT_EQ(ended(WatchEnd::backend_lost), 1U);
}

TEST_F(WatchHistoryTest, ABackendsOwnEndOfAHeldWatchIsPassedOn) {
  start_young(2, {1min});
  const Client::Answer& client = ask_at(0);
  begin(0);
  request_at(0).finish();
  simulation_.settle();
  EXPECT_EQ(client.head.status, 200);
  simulation_.advance(5s);
  EXPECT_TRUE(client.ended);
  EXPECT_EQ(ended(WatchEnd::backend_ended), 1U);
}

TEST_F(WatchHistoryTest, A410AndItsEndAtOnceMoveItAllTheSame) {
  start_young(2, {1min});
  const Client::Answer& client = ask_at(0);
  Request& expiring = request_at(0);
  expiring.begin(watch_head());
  expiring.send(std::string(gone));
  expiring.finish();
  simulation_.settle();
  EXPECT_EQ(client.head.status, 0);
  EXPECT_EQ(open_at(1), 1U);
}

TEST_F(WatchHistoryTest, OurDrainEndsAHeldWatchWhenItsHeadIsOut) {
  start_young(2, {1min});
  const Client::Answer& client = ask_at(0);
  begin(0);
  proxy_->end_watches(simulation_.now() + 10s);
  simulation_.settle();
  EXPECT_EQ(client.head.status, 0);
  simulation_.advance(11s);
  EXPECT_EQ(client.head.status, 200);
  EXPECT_TRUE(client.ended);
  EXPECT_EQ(ended(WatchEnd::drain), 1U);
}

TEST_F(WatchHistoryTest, ALongFirstEventIsForwardedAsItComes) {
  start_young(2, {1min});
  const Client::Answer& client = ask_at(0);
  begin(0);
  const std::string large = std::string(gone.substr(0, 40)) + std::string(5000, 'x');
  send(0, large);
  EXPECT_EQ(client.head.status, 200);
  EXPECT_EQ(client.body, large);
}

TEST_F(WatchHistoryTest, EachPartOfItCanBeTurnedOff) {
  options_.watch_history.hold = Duration::zero();
  start_young(2, {1min});
  const Client::Answer& client = ask_at(0);
  begin(0);
  EXPECT_EQ(client.head.status, 200);
  client_.leave();
  simulation_.settle();
  options_.watch_history = {.hold_age = Duration::zero()};
  proxy_->update(options_, identity_fields_);
  const Client::Answer& another = ask_at(0);
  begin(0);
  EXPECT_EQ(another.head.status, 200);
  EXPECT_EQ(held(), 0U);
}

TEST_F(WatchHistoryTest, WatchesThatGoOnAreSteeredToOldBackendsWithinTheirShare) {
  options_.watch_history.steer_age = 3min;
  options_.picker.policy = balance::Policy::power_of_two;
  start(3);
  be_alice();
  set_age(2, 1min);
  for (int i = 0; i < 30; ++i) ask(watch);
  const auto share = [&](std::size_t i) { return open_at(i); };
  EXPECT_GE(share(0) + share(1), 25U);  // 1.3 of a third each
  EXPECT_LE(share(0), 14U);
  EXPECT_LE(share(1), 14U);
  EXPECT_GE(share(2), 3U);
}

TEST_F(WatchHistoryTest, NewWatchesAndRequestsAreNotSteered) {
  options_.watch_history.steer_age = 3min;
  options_.picker.policy = balance::Policy::power_of_two;
  start(3);
  be_alice();
  set_age(2, 1min);
  for (int i = 0; i < 30; ++i) ask("/api/v1/pods?watch=1");
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_GE(open_at(i), 9U);
    EXPECT_LE(open_at(i), 11U);
  }
}

// --- mistakes of ours --------------------------------------------------------------------------

// A transition that the table does not allow costs one exchange, and no other one.
class ExchangeMistakeTest : public ExchangeTest {
 protected:
  using State = ExchangeState;

  static constexpr std::string_view other = "/version";

  // Two exchanges; the second one makes the mistake on its way into `into`.
  Client::Answer& begin(State into, std::string_view path = pod) {
    start(2);
    be_alice();
    bystander_ = &ask(other);
    mistake_.emplace("exchange", states(into));
    return ask(path);
  }
  Request& second() {
    const auto all = running();
    EXPECT_EQ(all.size(), 2U);
    return *all.at(all.at(0)->head.path == other ? 1 : 0);
  }

  void make_young(const Request& request) {
    for (std::size_t i = 0; i < backends_.size(); ++i) {
      const auto its = backends_[i]->requests();
      if (std::ranges::find(its, &request) == its.end()) continue;
      cluster_->backends[i]->started.store(simulation_.now());
    }
  }

  void expect_one_lost(const Client::Answer& lost) {
    EXPECT_TRUE(mistake_->made());
    EXPECT_TRUE(lost.reset || lost.head.status == 0);
    EXPECT_EQ(proxy_->exchanges(), 1U);
    EXPECT_GE(registry_.total(resources_metrics_->wrong_transitions.at(Mistake::exchange)), 1U);
    EXPECT_TRUE(mistake_->log_text().contains("an exchange is ended by a mistake of this program"));
    mistake_.reset();
    EXPECT_EQ(running().size(), 1U) << "the backend of the lost one is told, too";
    answer(request(), 200, "whole");
    EXPECT_EQ(bystander_->head.status, 200);
    EXPECT_EQ(bystander_->body, "whole");
    EXPECT_TRUE(bystander_->ended);
    EXPECT_FALSE(bystander_->reset);
    const Client::Answer& next = ask(pod);  // perhaps in the slot and the memory of the lost one
    answer(request(), 200, "next");
    EXPECT_EQ(next.body, "next");
    EXPECT_TRUE(next.ended);
    EXPECT_EQ(proxy_->exchanges(), 0U);
  }

  const Client::Answer* bystander_ = nullptr;
  std::optional<test::Mistake> mistake_;
};

TEST_F(ExchangeMistakeTest, OnTheWayToWaiting) {
  const Client::Answer& lost = begin(State::waiting);
  EXPECT_TRUE(lost.reset);
  expect_one_lost(lost);
}

TEST_F(ExchangeMistakeTest, OnTheWayToAnotherBackend) {
  start(2);
  be_alice();
  bystander_ = &ask(other);
  const Client::Answer& lost = ask(pod);
  mistake_.emplace("exchange", states(State::waiting));
  second().refuse();
  simulation_.settle();
  EXPECT_TRUE(lost.reset);
  expect_one_lost(lost);
}

TEST_F(ExchangeMistakeTest, OnTheWayToJudging) {
  const Client::Answer& lost = begin(State::judging);
  second().begin(drain_head());
  simulation_.settle();
  EXPECT_TRUE(lost.reset);
  expect_one_lost(lost);
}

// Whichever backend has it, the other one has run for longer.
TEST_F(ExchangeMistakeTest, OnTheWayToHolding) {
  const Client::Answer& lost = begin(State::holding, watch);
  make_young(second());
  second().begin(200);
  simulation_.settle();
  EXPECT_TRUE(lost.reset);
  expect_one_lost(lost);
}

TEST_F(ExchangeMistakeTest, OnTheWayToHoldingA410) {
  const Client::Answer& lost = begin(State::holding, watch);
  make_young(second());
  second().begin(410);
  simulation_.settle();
  EXPECT_TRUE(lost.reset);
  expect_one_lost(lost);
}

TEST_F(ExchangeMistakeTest, OnTheWayToForwarding) {
  const Client::Answer& lost = begin(State::forwarding, "/api/v1/pods");
  second().begin(200);
  second().send("half");
  simulation_.settle();
  EXPECT_TRUE(lost.reset);
  expect_one_lost(lost);
}

TEST_F(ExchangeMistakeTest, OnTheWayToEnding) {
  const Client::Answer& lost = begin(State::ending, watch);
  second().begin(200);
  second().send("{event}");
  second().finish();
  simulation_.settle();
  EXPECT_TRUE(lost.reset);
  expect_one_lost(lost);
}

TEST_F(ExchangeMistakeTest, OnTheWayToFinishing) {
  const Client::Answer& lost = begin(State::finishing);
  second().answer(200, "whole, but who knows");
  simulation_.settle();
  EXPECT_TRUE(lost.reset);
  expect_one_lost(lost);
}

// --- what the client has seen ------------------------------------------------------------------

class AffinityTest : public ExchangeTest {
 protected:
  static constexpr std::string_view bindings =
      "/apis/rbac.authorization.k8s.io/v1/namespaces/a/rolebindings";
  static constexpr std::string_view config_maps = "/api/v1/namespaces/a/configmaps";

  void begin(std::size_t backends) {
    options_.picker.policy = balance::Policy::random;
    start(backends);
    be_alice();
    client_.change_facts().keys.user = 5;
  }
  // Where the only request is that runs.
  std::size_t place_of(const Request& request) const {
    for (std::size_t i = 0; i < backends_.size(); ++i) {
      for (const Request* each : backends_[i]->requests()) {
        if (each == &request) return i;
      }
    }
    return SIZE_MAX;
  }
  // Asks, answers, and says which backend that was.
  std::size_t ask_and_answer(std::string_view path, std::string_view method = "GET",
                             int status = 200) {
    ask(path, method);
    Request& asked = request();
    const std::size_t place = place_of(asked);
    answer(asked, status, "{}");
    return place;
  }
  // Of so many requests, how many went to that backend.
  int count_at(std::size_t backend, std::string_view path, int requests = 30) {
    int there = 0;
    for (int i = 0; i < requests; ++i) {
      if (ask_and_answer(path) == backend) ++there;
    }
    return there;
  }
  std::uint64_t preferred(Preference why) { return registry_.total(metrics_->preferred.at(why)); }
};

TEST_F(AffinityTest, WhoHasWrittenWhatServersActByGoesThereForAWhile) {
  begin(3);
  const std::size_t written = ask_and_answer(bindings, "POST", 201);
  EXPECT_EQ(count_at(written, pod), 30);
  EXPECT_EQ(ask_and_answer(watch), written);
  EXPECT_EQ(ask_and_answer("/apis/example.com/v1", "GET", 404), written);
  EXPECT_EQ(preferred(Preference::client_wrote), 32U);
  simulation_.advance(options_.write_affinity);
  EXPECT_LT(count_at(written, pod), 30);
  EXPECT_EQ(preferred(Preference::client_wrote), 32U);
}

TEST_F(AffinityTest, AWriteThatWasRefusedBindsNobody) {
  begin(3);
  const std::size_t refused = ask_and_answer(bindings, "POST", 403);
  EXPECT_LT(count_at(refused, pod), 30);
  EXPECT_THAT(writes_, IsEmpty());
}

TEST_F(AffinityTest, ItsOtherConnectionsGoThereToo) {
  begin(3);
  const std::size_t written = ask_and_answer(bindings, "POST", 201);
  client_.leave();
  client_.change_facts().keys.connection = 9;
  EXPECT_EQ(count_at(written, pod), 30);
}

TEST_F(AffinityTest, AnotherIdentityOrAddressIsNotBound) {
  begin(3);
  const std::size_t written = ask_and_answer(bindings, "POST", 201);
  client_.change_facts().keys.user = 6;
  EXPECT_LT(count_at(written, pod), 30);
}

TEST_F(AffinityTest, ATokenIsBoundByTheWriteThatProvesIt) {
  options_.picker.policy = balance::Policy::random;
  start(3);
  const std::size_t written = ask_and_answer(bindings, "POST", 201);
  EXPECT_EQ(count_at(written, pod), 30);
  authorization_ = "Bearer other";
  EXPECT_LT(count_at(written, pod), 30);
}

TEST_F(AffinityTest, OtherWorkersAreToldAndWhatTheySayCounts) {
  begin(3);
  ask_and_answer(bindings, "POST", 201);
  ASSERT_EQ(writes_.size(), 1U);
  EXPECT_EQ(writes_[0].client, 5U);
  client_.change_facts().keys.user = 6;
  proxy_->learn(OwnWrite{6, 2});
  EXPECT_EQ(count_at(2, pod), 30);
  EXPECT_EQ(writes_.size(), 1U) << "nobody is told what others said";
}

TEST_F(AffinityTest, AnIdentityWithManyConnectionsIsNotBound) {
  begin(3);
  std::vector<std::unique_ptr<Client>> others;
  for (std::uint32_t i = 0; i < WriteAffinity::connections_max; ++i) {
    auto& other = *others.emplace_back(std::make_unique<Client>(simulation_.reactor()));
    other.use(*proxy_);
    other.change_facts() = client_.facts();
    http::RequestHead head;
    head.method = "GET";
    head.scheme = "https";
    head.authority = "kubernetes";
    head.path = pod;
    const ClientStream id = new_stream();
    other.answers[id].exchange = proxy_->start(other, id, std::move(head), true);
    simulation_.settle();
    answer(request(), 200);
  }
  const std::size_t written = ask_and_answer(bindings, "POST", 201);
  EXPECT_LT(count_at(written, pod), 30);
  EXPECT_THAT(writes_, IsEmpty());
  for (const auto& other : others) other->leave();
}

TEST_F(AffinityTest, ABackendWithoutAPlaceIsNotWaitedFor) {
  set_options_.pool.streams_per_connection_max = 1;
  set_options_.pool.connections_max = 1;
  begin(2);
  const std::size_t written = ask_and_answer(bindings, "POST", 201);
  ask(pod);
  EXPECT_EQ(place_of(request()), written);
  ask(pod);
  ASSERT_EQ(running().size(), 2U);
  EXPECT_NE(place_of(*running()[0]), place_of(*running()[1]));
}

TEST_F(AffinityTest, ABackendThatIsNotUsableIsNotWaitedFor) {
  begin(2);
  const std::size_t written = ask_and_answer(bindings, "POST", 201);
  cluster_->backends[written]->health.store(backend::Health::not_ready);
  EXPECT_EQ(ask_and_answer(pod), 1 - written);
}

TEST_F(AffinityTest, ReadsThatMayBeOldGoToWhereTheirConnectionHasWritten) {
  begin(3);
  const std::string old = std::string(config_maps) + "?resourceVersion=0";
  const std::string old_one = std::string(config_maps) + "/name?resourceVersion=0";
  const std::size_t written = ask_and_answer(config_maps, "POST", 201);
  EXPECT_EQ(count_at(written, old), 30);
  EXPECT_EQ(count_at(written, old_one), 30);
  EXPECT_EQ(ask_and_answer(std::string(config_maps) + "?watch=1", "GET", 403), written);
  EXPECT_EQ(preferred(Preference::resource_wrote), 61U);
  EXPECT_LT(count_at(written, config_maps), 30) << "servers answer that with what is newest";
  EXPECT_LT(count_at(written, "/api/v1/pods?resourceVersion=0"), 30);
  EXPECT_THAT(writes_, IsEmpty());
  simulation_.advance(options_.write_affinity);
  EXPECT_LT(count_at(written, old), 30);
}

TEST_F(AffinityTest, IsOffWithoutATime) {
  options_.write_affinity = Duration::zero();
  begin(3);
  const std::size_t written = ask_and_answer(bindings, "POST", 201);
  EXPECT_LT(count_at(written, pod), 30);
  EXPECT_LT(count_at(written, std::string(bindings) + "?resourceVersion=0"), 30);
  EXPECT_THAT(writes_, IsEmpty());
}

class LagTest : public AffinityTest {
 protected:
  static constexpr std::string_view pods = "/api/v1/pods";
  static constexpr std::string_view pods_since = "/api/v1/pods?resourceVersion=900";

  void answer_status(Request& request, int status, std::string body) {
    http::ResponseHead head;
    head.status = status;
    head.fields.add("content-type", "application/json");
    head.fields.add("x-kubernetes-pf-flowschema-uid", "1");
    request.answer(head, std::move(body));
    simulation_.settle();
  }
  void answer_stale(Request& request) {
    answer_status(request, 504,
                  R"({"kind":"Status","message":"Timeout: Too large resource version: 900",)"
                  R"("details":{"causes":[{"reason":"ResourceVersionTooLarge"}]},"code":504})");
  }
  void answer_initializing(Request& request) {
    answer_status(request, 429, R"({"kind":"Status","message":"storage is (re)initializing"})");
  }
  // Asks until that backend is not the one that was chosen; others get a whole answer.
  Client::Answer& ask_elsewhere(std::size_t backend, std::string_view path) {
    for (int i = 0; i < 100; ++i) {
      Client::Answer& asked = ask(path);
      if (place_of(request()) != backend) return asked;
      answer(request(), 200, "{}");
    }
    ADD_FAILURE() << "always the same backend";
    return ask(path);
  }
  std::uint64_t in_vain(Cause cause) {
    return registry_.total(metrics_->replays_in_vain.at(cause));
  }
};

TEST_F(LagTest, AListOfWhatAServerHasNotSeenGoesToWhereTheNewestListCameFrom) {
  begin(3);
  const std::size_t newest = ask_and_answer(pods);
  const Client::Answer& client = ask_elsewhere(newest, pods_since);
  answer_stale(request());
  EXPECT_EQ(client.head.status, 0);
  EXPECT_EQ(place_of(request()), newest);
  answer(request(), 200, "list");
  EXPECT_EQ(client.head.status, 200);
  EXPECT_EQ(client.body, "list");
  EXPECT_EQ(replays(Cause::stale_cache), 1U);
  EXPECT_EQ(in_vain(Cause::stale_cache), 0U);
}

TEST_F(LagTest, AWatchThatHasEndedIsWhereTheNewestCameFrom) {
  begin(2);
  ask(watch);
  Request& watching = request();
  const std::size_t newest = place_of(watching);
  watching.begin(200);
  watching.send("{event}");
  simulation_.settle();
  simulation_.advance(5min);
  watching.finish();
  simulation_.settle();
  ask_elsewhere(newest, pods_since);
  answer_stale(request());
  EXPECT_EQ(place_of(request()), newest);
}

TEST_F(LagTest, WithoutAListOfItAnswersOfAServerThatLagsAreTheClients) {
  begin(3);
  ask_and_answer("/api/v1/nodes");
  const Client::Answer& client = ask(pods_since);
  answer_stale(request());
  EXPECT_EQ(client.head.status, 504);
  EXPECT_TRUE(client.ended);
  EXPECT_EQ(all_replays() + replays(Cause::stale_cache), 0U);
}

TEST_F(LagTest, AnOldListDoesNotSayWhoIsFresh) {
  begin(2);
  const std::size_t newest = ask_and_answer(pods);
  simulation_.advance(30s);
  const Client::Answer& client = ask(pods_since);
  answer_stale(request());
  EXPECT_EQ(client.head.status, 504) << newest;
}

TEST_F(LagTest, WhoIsStaleThereTooIsToldSo) {
  begin(2);
  const std::size_t newest = ask_and_answer(pods);
  const Client::Answer& client = ask_elsewhere(newest, pods_since);
  answer_stale(request());
  answer_stale(request());
  EXPECT_EQ(client.head.status, 504);
  EXPECT_TRUE(client.body.contains("Too large resource version"));
  EXPECT_EQ(replays(Cause::stale_cache), 1U);
  EXPECT_EQ(in_vain(Cause::stale_cache), 1U);
}

TEST_F(LagTest, AListThatAServerCannotServeYetGoesToAnotherOnce) {
  begin(3);
  for (const std::string_view path : {pods, watch}) {
    const Client::Answer& client = ask(path);
    const std::size_t first = place_of(request());
    answer_initializing(request());
    EXPECT_EQ(client.head.status, 0);
    EXPECT_NE(place_of(request()), first);
    answer(request(), 200);
    EXPECT_EQ(client.head.status, 200);
  }
  EXPECT_EQ(replays(Cause::initializing), 2U);
  const Client::Answer& client = ask(pods);
  answer_initializing(request());
  answer_initializing(request());
  EXPECT_EQ(client.head.status, 429);
  EXPECT_EQ(in_vain(Cause::initializing), 1U);
}

TEST_F(LagTest, TheOnlyServersAnswerIsTheClients) {
  begin(1);
  const Client::Answer& client = ask(pods);
  answer_initializing(request());
  EXPECT_EQ(client.head.status, 429);
  EXPECT_TRUE(client.ended);
}

TEST_F(LagTest, AnAnswerThatIsTooLongIsTheClients) {
  begin(2);
  const Client::Answer& client = ask(pods);
  answer_status(request(), 429, "storage is (re)initializing" + std::string(5000, ' '));
  EXPECT_EQ(client.head.status, 429);
  EXPECT_EQ(client.body.size(), 5027U);
  EXPECT_TRUE(client.ended);
}

TEST_F(LagTest, WhatIsMovedHasABudgetOfItsOwn) {
  begin(2);
  std::uint64_t moved = 0;
  for (int i = 0; i < 200; ++i) {
    ask(pods);
    answer_initializing(request());
    if (running().empty()) break;
    ++moved;
    answer_initializing(request());
  }
  EXPECT_LT(moved, 100U);
  EXPECT_EQ(replays(Cause::initializing), moved);
  const Client::Answer& client = ask(pod);
  drop(request());
  answer(request(), 200);
  EXPECT_EQ(client.head.status, 200) << "what is for backends that fail is still there";
}

class VersionSkewTest : public AffinityTest {
 protected:
  static constexpr std::string_view newer = "/apis/resource.k8s.io/v1/resourceslices";

  void begin_with(const std::vector<std::uint16_t>& minors) {
    begin(minors.size());
    for (std::size_t i = 0; i < minors.size(); ++i) set_version(i, minors[i]);
  }
  void set_version(std::size_t backend, std::uint16_t minor) {
    cluster_->backends[backend]->version = backend::ApiVersion{1, minor}.number();
  }
  // What k8s.io/apiserver pkg/util/notfoundhandler answers.
  static http::ResponseHead unknown_path() {
    http::ResponseHead head;
    head.status = 404;
    head.fields.add("content-type", "text/plain; charset=utf-8");
    head.fields.add("x-content-type-options", "nosniff");
    head.fields.add("content-length", "19");
    return head;
  }
  void answer_unknown_path(Request& request) {
    request.answer(unknown_path(), "404 page not found\n");
    simulation_.settle();
  }
};

TEST_F(VersionSkewTest, WhatServersServeIsAskedOfTheLowestVersionWhileTheyDiffer) {
  begin_with({37, 36, 37, 36});
  for (const char* path : {"/apis", "/api/v1", "/apis/apps/v1", "/openapi/v3", "/version"}) {
    for (int i = 0; i < 20; ++i) EXPECT_EQ(ask_and_answer(path) % 2, 1U) << path;
  }
  EXPECT_EQ(preferred(Preference::lowest_version), 100U);
  EXPECT_LT(count_at(1, pod) + count_at(3, pod), 60);
}

// Another version came between the head of an answer and its end.
TEST_F(VersionSkewTest, WhoIsAskedInsteadHasAsLongAsTheFirst) {
  begin_with({37, 37});
  const Client::Answer& client = ask(std::string(newer) + "/one");
  Request& first = request();
  first.begin(unknown_path());
  simulation_.settle();
  set_version(1 - place_of(first), 36);
  first.send("404 page not found\n");
  first.finish();
  simulation_.advance(5s);
  EXPECT_EQ(client.head.status, 0);
  answer(request(), 200, "late");
  EXPECT_EQ(client.body, "late");
}

TEST_F(VersionSkewTest, TheLowestIsThatOfThoseThatAreUsable) {
  begin_with({38, 36, 37, 36});
  cluster_->backends[1]->health = backend::Health::not_ready;
  cluster_->backends[3]->health = backend::Health::not_ready;
  EXPECT_EQ(count_at(2, "/apis"), 30);
}

TEST_F(VersionSkewTest, OfOneVersionAnyServerIsAsked) {
  begin_with({37, 37, 37});
  EXPECT_LT(count_at(0, "/apis"), 30);
  EXPECT_EQ(preferred(Preference::lowest_version), 0U);
}

TEST_F(VersionSkewTest, WhoseVersionIsNotKnownIsAskedLast) {
  begin(3);
  EXPECT_LT(count_at(0, "/apis"), 30);
  set_version(0, 37);
  EXPECT_EQ(count_at(0, "/apis"), 30);
}

TEST_F(VersionSkewTest, WhatTheClientHasWrittenItFindsWhateverTheVersions) {
  begin_with({37, 36});
  std::size_t written = 1;
  for (int i = 0; i < 100 && written == 1; ++i) {
    client_.change_facts().keys.user = static_cast<std::uint64_t>(100 + i);
    written = ask_and_answer(bindings, "POST", 201);
  }
  ASSERT_EQ(written, 0U);
  EXPECT_EQ(count_at(0, "/apis"), 30);
}

TEST_F(VersionSkewTest, APathThatOneVersionDoesNotKnowMovesToAnotherOnceWhateverTheMethod) {
  begin_with({37, 36, 36});
  std::uint64_t moved = 0;
  for (const char* method : {"GET", "POST", "PATCH", "DELETE"}) {
    for (int i = 0; i < 10; ++i) {
      const Client::Answer& client = ask(newer, method);
      if (place_of(request()) != 0) {
        answer_unknown_path(request());
        EXPECT_EQ(client.head.status, 0) << method;
        EXPECT_EQ(replays(Cause::unknown_path), ++moved);
      }
      EXPECT_EQ(place_of(request()), 0U) << method;
      answer(request(), 200);
      EXPECT_EQ(client.head.status, 200) << method;
    }
  }
  EXPECT_GT(moved, 5U);
}

TEST_F(VersionSkewTest, WhatNobodyKnowsIsNotFoundAfterOneMove) {
  begin_with({37, 36, 36});
  const Client::Answer& client = ask("/apis/apps/v9/things");
  answer_unknown_path(request());
  answer_unknown_path(request());
  EXPECT_EQ(client.head.status, 404);
  EXPECT_EQ(client.body, "404 page not found\n");
  EXPECT_EQ(registry_.total(metrics_->replays_in_vain.at(Cause::unknown_path)), 1U);
}

TEST_F(VersionSkewTest, AMissingObjectIsTheServersWordAndOfOneVersionSoIsAPath) {
  begin_with({37, 36});
  const Client::Answer& missing = ask(pod);
  http::ResponseHead head;
  head.status = 404;
  head.fields.add("content-type", "application/json");
  request().answer(head, R"({"kind":"Status","reason":"NotFound","code":404})");
  simulation_.settle();
  EXPECT_EQ(missing.head.status, 404);
  const Client::Answer& foreign = ask("/apis/example.com/v1/things");
  answer_unknown_path(request());
  EXPECT_EQ(foreign.head.status, 404) << "it may be another server's answer";
  set_version(1, 37);
  const Client::Answer& path = ask(newer);
  answer_unknown_path(request());
  EXPECT_EQ(path.head.status, 404);
  EXPECT_EQ(replays(Cause::unknown_path), 0U);
}

TEST_F(VersionSkewTest, AnUploadThatIsNotWholeAnyMoreIsNotMoved) {
  options_.replay_body_bytes = 10;
  begin_with({37, 36});
  Client::Answer& client = upload("more than ten bytes");
  client_.upload(client, "", true);
  simulation_.settle();
  answer_unknown_path(request());
  EXPECT_EQ(client.head.status, 404);
  EXPECT_EQ(replays(Cause::unknown_path), 0U);
}

}  // namespace
}  // namespace sluice::proxy
