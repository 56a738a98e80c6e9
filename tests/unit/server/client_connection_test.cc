// SPDX-License-Identifier: GPL-3.0-or-later
// A client's connection on the simulated ring, with a real client before it and an API server
// behind: how it leaves, whatever arrives meanwhile, and how it ends a client that goes too far.
#include "client_connection.h"

#include <gmock/gmock.h>

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <vector>

#include "mistake.h"
#include "scripted_backend.h"
#include "simulation.h"
#include "sluice/io/socket.h"

namespace sluice::server {
namespace {

using namespace std::chrono_literals;
using test::Simulation;
using testing::HasSubstr;

// A client that notes all it is told, and reads only while it wants to.
class Client final : public net::ConnectionHandler, public http2::SessionHandler {
 public:
  struct Answer {
    int status = 0;
    std::size_t bytes = 0;
    bool complete = false;
    std::optional<http2::ErrorCode> reset;
  };

  Client(net::Transport& transport, const io::Address& address,
         std::shared_ptr<const tls::ClientContext> tls)
      : connection(transport, *this), session_(*this, session_options(), Instant{}) {
    connection.connect(address, std::move(tls), "backend");
  }

  http2::StreamId ask(std::string_view path, std::string_view method = "GET") {
    http::RequestHead head;
    head.method = method;
    head.scheme = "https";
    head.authority = "kubernetes";
    head.path = path;
    head.fields.add("authorization", "Bearer x");
    const auto id = session_.submit_request(head, false, 0);
    if (!id) return 0;
    answers[*id];
    connection.mark_dirty();
    return *id;
  }
  void cancel(http2::StreamId id) {
    session_.reset_stream(id, http2::ErrorCode::cancel);
    connection.mark_dirty();
  }
  bool may_ask() const { return connection.established() && session_.can_open_stream(); }
  // What the last GOAWAY promises to have served at most.
  http2::StreamId last_served() const { return goaways.empty() ? INT32_MAX : goaways.back().first; }

  void on_established() override { connection.mark_dirty(); }
  void on_receive(Bytes plain) override {
    ++receives;
    (void)session_.feed(plain, Instant{});
    connection.mark_dirty();
  }
  std::size_t on_collect(MutableBytes batch) override { return session_.collect(batch); }
  void on_end(const Error& error) override { end = error.kind; }
  void on_closed() override { closed = true; }
  void on_response(http2::StreamRef ref, http::ResponseHead&& head, bool) override {
    answers[ref.id].status = head.status;
  }
  void on_data(http2::StreamRef ref, Bytes bytes) override {
    answers[ref.id].bytes += bytes.size();
    session_.consume(ref.id, bytes.size());
  }
  void on_end_of_stream(http2::StreamRef ref) override { answers[ref.id].complete = true; }
  void on_stream_closed(http2::StreamRef ref, http2::ErrorCode code, bool by_peer) override {
    if (by_peer && !answers[ref.id].complete) answers[ref.id].reset = code;
  }
  http2::BodyResult on_body_wanted(http2::StreamRef, MutableBytes) override {
    return {0, http2::BodyStatus::finished};
  }
  void on_goaway(http2::StreamId last, http2::ErrorCode code) override {
    goaways.emplace_back(last, code);
  }
  void on_output_ready() override { connection.mark_dirty(); }

  net::Connection connection;
  int receives = 0;
  std::map<http2::StreamId, Answer> answers;
  std::vector<std::pair<http2::StreamId, http2::ErrorCode>> goaways;
  std::optional<ErrorKind> end;
  bool closed = false;

 private:
  static http2::SessionOptions session_options() {
    http2::SessionOptions options;
    options.server = false;
    options.stream_window_bytes = 32 * 1024 * 1024;
    options.connection_window_bytes = 64 * 1024 * 1024;
    return options;
  }
  http2::Session session_;
};

class ClientConnectionTest : public testing::Test,
                             private proxy::ProxyEvents,
                             private proxy::ResourcesEvents {
 protected:
  void SetUp() override {
    const test::ClusterKeys& keys = test::ClusterKeys::get();
    const io::Address address = *io::Address::parse("10.0.0.1:6443");
    backend_ = std::make_unique<test::ScriptedBackend>(transport(), address);
    cluster_.emplace(std::vector<backend::Endpoint>{{address, "api-0", "backend"}});
    board_.emplace(1, 1);
    proxy_metrics_.emplace(registry_);
    resources_metrics_.emplace(registry_);
    client_metrics_.emplace(registry_);
    cells_.emplace(registry_);
    set_.emplace(transport(), *cluster_,
                 backend::BackendContexts{keys.plain_context(), keys.identity_context()},
                 backend::BackendSetOptions{}, 1, [](auto&&...) {});
    resources_.emplace(
        proxy::ResourcesParts{
            simulation_.reactor(), 0, *cells_, *resources_metrics_, *this, {1, 2}},
        proxy::ResourcesOptions{});
    proxy_.emplace(proxy::ProxyParts{simulation_.reactor(),
                                     *resources_,
                                     *set_,
                                     *board_,
                                     0,
                                     identity_fields_,
                                     *cells_,
                                     *proxy_metrics_,
                                     {},
                                     nullptr,
                                     *this,
                                     1,
                                     {1, 2}},
                   proxy::ProxyOptions{});
    shares_.emplace(charges_, admission_, options_, *cells_, *client_metrics_);
    cluster_of_all_.emplace(keys.server_context(), *proxy_);
    client_tls_ = keys.plain_context();
    listener_ = io::listen_on(address_, {}).value();
  }

  void TearDown() override {
    for (const auto& client : clients_) {
      if (!client->closed) client->connection.terminate();
    }
    simulation_.settle();
    for (const auto& [key, connection] : connections_) connection->terminate();
    simulation_.settle();
    EXPECT_TRUE(connections_.empty());
    clients_.clear();
    io::close_socket(listener_);
    cluster_of_all_.reset();
    proxy_.reset();
    resources_.reset();
    set_->terminate();
    backend_->stop();
    simulation_.settle();
    set_.reset();
    EXPECT_EQ(charges_.held(), 0U);
    shares_.reset();
    cells_.reset();
  }

  net::Transport& transport() { return simulation_.transport(); }

  // A connection of which nothing has been said yet.
  Client& connect() {
    clients_.push_back(std::make_unique<Client>(transport(), address_, client_tls_));
    int descriptor = -1;
    while ((descriptor = io::accept_now(listener_)) < 0) simulation_.reactor().turn(false);
    accept(descriptor);
    return *clients_.back();
  }

  void accept(int descriptor) {
    auto connection = std::make_unique<ClientConnection>(
        transport(), *resources_, *shares_, options_, *cells_, *client_metrics_,
        [this](ClientConnection& closed) { connections_.erase(&closed); });
    newest_ = connection.get();
    connections_.emplace(newest_, std::move(connection));
    newest_->accept(descriptor, finder_);
  }

  // Everything that waits at the API server is answered.
  void serve(const std::string& body = "{}") {
    for (test::ScriptedBackend::Request* request : backend_->requests()) {
      if (request->closed || request->complete == false) continue;
      if (request->head.path.contains("watch=1")) {
        if (started_.insert(request).second) {
          request->begin(200);
          request->send("{event}");
        }
      } else if (started_.insert(request).second) {
        request->answer(200, body);
      }
    }
  }
  void settle() {
    simulation_.settle();
    serve();
    simulation_.settle();
  }

  std::size_t executed(std::string_view path) {
    std::size_t count = 0;
    for (const test::ScriptedBackend::Request* request : backend_->requests()) {
      count += request->head.path == path;
    }
    return count;
  }

  proxy::ConnectionBytes connection_bytes() const override { return {}; }
  std::vector<proxy::ConnectionHolding*> holding_connections() override { return {}; }
  void on_token_change(const proxy::TokenChange&) override {}
  void on_own_write(const proxy::OwnWrite&) override {}
  void on_sent(std::size_t, kubernetes::RequestClass) override {}
  void on_identity_refused(std::size_t) override {}
  void on_drain_answer(std::size_t) override {}

  Simulation simulation_;
  io::Address address_ = *io::Address::parse("10.0.1.1:443");
  int listener_ = -1;
  ClientOptions options_;
  metrics::Registry registry_;
  kubernetes::IdentityFields identity_fields_ = *kubernetes::IdentityFields::make({});
  std::unique_ptr<test::ScriptedBackend> backend_;
  std::optional<backend::Cluster> cluster_;
  std::optional<balance::LoadBoard> board_;
  std::optional<proxy::ProxyMetrics> proxy_metrics_;
  std::optional<ClientMetrics> client_metrics_;
  std::optional<metrics::Cells> cells_;
  std::optional<backend::BackendSet> set_;
  std::optional<proxy::ResourcesMetrics> resources_metrics_;
  std::optional<proxy::Resources> resources_;
  std::optional<proxy::Proxy> proxy_;
  balance::ChargeTable charges_;
  net::AdmissionBudget admission_{1000};
  std::optional<ClientShares> shares_;
  std::optional<ServedCluster> cluster_of_all_;
  struct Finder final : ClusterFinder {
    explicit Finder(std::optional<ServedCluster>& its_cluster) : cluster(its_cluster) {}
    bool may_call(const ClientOrigin&) override { return true; }
    ServedCluster* find(const ClientOrigin&, std::string_view) override { return &*cluster; }
    std::optional<ServedCluster>& cluster;
  };
  Finder finder_{cluster_of_all_};
  std::shared_ptr<const tls::ClientContext> client_tls_;
  std::vector<std::unique_ptr<Client>> clients_;
  std::map<ClientConnection*, std::unique_ptr<ClientConnection>> connections_;
  ClientConnection* newest_ = nullptr;
  std::set<test::ScriptedBackend::Request*> started_;
};

// A request that was executed is named by the last GOAWAY, whatever was on its way at that moment:
// else the client sends it again, and a write happens twice.
TEST_F(ClientConnectionTest, WhatIsExecutedIsNamedByTheLastGoawayAtEveryStepOfADrain) {
  simulation_.network().bound_receive_buffers(64 * 1024);
  for (const bool stalled : {false, true}) {
    for (int step = 0; step < 40; ++step) {
      SCOPED_TRACE(std::to_string(step) + (stalled ? " stalled" : ""));
      Client& client = connect();
      ClientConnection& connection = *newest_;
      settle();
      ASSERT_TRUE(client.may_ask());
      // It keeps the client's session reading to the end.
      const http2::StreamId watch = client.ask("/api/v1/pods?watch=1&resourceVersion=5");
      settle();
      const http2::StreamId large = client.ask("/large");
      simulation_.settle();
      if (stalled) client.connection.pause_receiving();
      serve(std::string(2'000'000, 'x'));
      simulation_.settle();
      connection.leave(1s);
      const std::string path = "/write-" + std::to_string(step) + (stalled ? "s" : "");
      std::vector<http2::StreamId> writes;
      for (int i = 0; i < 40; ++i) {
        if (i == step && client.may_ask()) writes.push_back(client.ask(path, "POST"));
        simulation_.reactor().turn(false);
        if (i == 20) simulation_.network().pass(1100ms);  // the last word is due
        serve();
      }
      client.connection.resume_receiving();
      settle();
      client.cancel(watch);
      settle();
      ASSERT_EQ(client.goaways.size(), 2U);
      EXPECT_EQ(client.goaways.front().first, INT32_MAX);
      EXPECT_EQ(client.answers[large].bytes, 2'000'000U);
      std::size_t named = 0;
      for (const http2::StreamId id : writes) {
        const Client::Answer& answer = client.answers[id];
        if (id <= client.last_served()) {
          ++named;
          EXPECT_EQ(answer.status, 200);
        } else {
          EXPECT_EQ(answer.reset, http2::ErrorCode::refused_stream);
        }
      }
      EXPECT_EQ(executed(path), named);
      EXPECT_TRUE(client.closed);
      EXPECT_EQ(client.end, ErrorKind::closed);
    }
  }
}

TEST_F(ClientConnectionTest, WhoIsInItsHandshakeWhenTheStopBeginsIsServedAndToldTwice) {
  for (int step = 0; step < 12; ++step) {
    Client& client = connect();
    ClientConnection& connection = *newest_;
    const http2::StreamId watch = client.ask("/api/v1/pods?watch=1&resourceVersion=5");
    for (int i = 0; i < step; ++i) simulation_.reactor().turn(false);
    connection.leave(1s);
    settle();
    ASSERT_TRUE(client.connection.established()) << step;
    ASSERT_EQ(client.goaways.size(), 1U) << step;
    EXPECT_EQ(client.goaways[0].first, INT32_MAX);
    simulation_.advance(1100ms);
    ASSERT_EQ(client.goaways.size(), 2U) << step;
    EXPECT_EQ(client.goaways[1].first, watch);
    EXPECT_EQ(client.answers[watch].status, 200) << step;
    EXPECT_FALSE(client.closed) << step;
    client.cancel(watch);
    settle();
    EXPECT_TRUE(client.closed) << step;
  }
}

TEST_F(ClientConnectionTest, WhoArrivesAfterTheEndIsClosedAtOnce) {
  Client& client = connect();
  newest_->close_now();
  simulation_.settle();
  EXPECT_TRUE(connections_.empty());
  EXPECT_TRUE(client.closed);
}

// A controller that stops cancels all that it has asked for.
TEST_F(ClientConnectionTest, AClientMayCancelAllStreamsThatItWasGranted) {
  Client& client = connect();
  settle();
  const http2::StreamId watch = client.ask("/api/v1/pods?watch=1&resourceVersion=5");
  settle();
  ASSERT_EQ(client.answers[watch].status, 200);
  for (int round = 0; round < 2; ++round) {
    std::vector<http2::StreamId> lists;
    while (client.may_ask()) lists.push_back(client.ask("/api/v1/pods"));
    EXPECT_EQ(lists.size(), options_.session.max_concurrent_streams - 1);
    simulation_.settle();
    for (const http2::StreamId id : lists) client.cancel(id);
    simulation_.settle();
  }
  EXPECT_TRUE(client.goaways.empty());
  EXPECT_FALSE(client.answers[watch].complete);
  simulation_.advance(2s);  // places on the backend's connection are held for a second
  const http2::StreamId get = client.ask("/api/v1/pods/web");
  settle();
  EXPECT_EQ(client.answers[get].status, 200);
}

TEST_F(ClientConnectionTest,
       WhoCancelsWithoutEndLosesItsConnectionWithinSecondsAndItsWatchesEndCleanly) {
  Client& client = connect();
  settle();
  const http2::StreamId watch = client.ask("/api/v1/pods?watch=1&resourceVersion=5");
  settle();
  simulation_.advance(3s);
  http2::StreamId last = 0;
  for (int i = 0; i < 2000 && client.may_ask(); ++i) {
    last = client.ask("/api/v1/pods");
    simulation_.reactor().turn(false);
    client.cancel(last);
    simulation_.reactor().turn(false);
  }
  settle();
  ASSERT_EQ(client.goaways.size(), 1U);
  EXPECT_EQ(client.goaways[0].second, http2::ErrorCode::enhance_your_calm);
  EXPECT_GT(last / 2, 500);
  EXPECT_LT(last / 2, 600);
  EXPECT_FALSE(client.closed);
  simulation_.advance(5s);
  EXPECT_TRUE(client.answers[watch].complete);
  EXPECT_FALSE(client.answers[watch].reset);
  EXPECT_TRUE(client.closed);
  EXPECT_EQ(registry_.total(client_metrics_->abuse.at(http2::AbuseKind::resets)), 1U);
}

TEST_F(ClientConnectionTest, WhoGoesTooFarAndReadsNothingIsGoneWithinSecondsToo) {
  simulation_.network().bound_receive_buffers(64 * 1024);
  Client& client = connect();
  settle();
  client.ask("/large");
  simulation_.settle();
  client.connection.pause_receiving();
  serve(std::string(2'000'000, 'x'));
  simulation_.settle();
  for (int i = 0; i < 2000; ++i) {
    const http2::StreamId id = client.ask("/api/v1/pods");
    simulation_.reactor().turn(false);
    if (id != 0) client.cancel(id);
    simulation_.reactor().turn(false);
  }
  ASSERT_EQ(registry_.total(client_metrics_->abuse.at(http2::AbuseKind::resets)), 1U);
  EXPECT_FALSE(connections_.empty());
  simulation_.advance(7s);
  EXPECT_TRUE(connections_.empty());
}

TEST_F(ClientConnectionTest, NothingMoreIsReadOfAClientThatHasGoneTooFar) {
  Client& client = connect();
  settle();
  const http2::StreamId watch = client.ask("/api/v1/pods?watch=1&resourceVersion=5");
  settle();
  ASSERT_EQ(client.answers[watch].status, 200);
  const std::uint64_t before = transport().counters().bytes_received;
  for (int i = 0; i < 5000 && !client.closed; ++i) {
    const http2::StreamId id = client.ask("/api/v1/pods");
    if (id != 0) client.cancel(id);
    simulation_.reactor().turn(false);
  }
  // The client's own receipts count here, too: a few bytes for each reset that it was sent.
  EXPECT_LT(transport().counters().bytes_received - before, 300'000U);
}

// --- mistakes of ours --------------------------------------------------------------------------

TEST_F(ClientConnectionTest, AboveTheShareOfAnAddressNothingIsReadOfAConnection) {
  options_.connections_per_address = 2;
  Client& first = connect();
  connect();
  settle();
  Client& refused = connect();
  settle();
  EXPECT_TRUE(refused.closed);
  EXPECT_EQ(registry_.total(client_metrics_->handshakes.at(Protocol::h2)), 2U);
  EXPECT_EQ(registry_.total(client_metrics_->shares.at(Share::address)), 1U);
  // Others are let in, and so is this address when it holds less.
  simulation_.network().connect_from("10.9.9.9");
  EXPECT_FALSE(connect().closed);
  simulation_.network().connect_from("");
  first.connection.terminate();
  settle();
  Client& later = connect();
  settle();
  EXPECT_TRUE(later.connection.established());
}

TEST_F(ClientConnectionTest, WhoIsIdleIsToldBeforeItMakesRoomAndStrangersInTheirHandshakeEnd) {
  Client& idle = connect();
  settle();
  ClientConnection& its = *newest_;
  idle.ask("/api/v1/namespaces/a/pods/b");
  EXPECT_TRUE(its.rests());
  simulation_.reactor().turn(false);
  simulation_.settle();
  EXPECT_FALSE(its.rests());
  settle();
  EXPECT_TRUE(its.rests());
  admission_.leaving.store(2);
  its.make_room(1s);
  simulation_.settle();
  ASSERT_EQ(idle.goaways.size(), 1U);
  EXPECT_EQ(idle.goaways[0].second, http2::ErrorCode::no_error);
  EXPECT_TRUE(idle.closed);
  EXPECT_EQ(admission_.leaving.load(), 1U);

  const int silent = io::open_stream(0).value();
  simulation_.network().connect(silent, address_);
  accept(io::accept_now(listener_));
  settle();
  newest_->make_room(1s);
  settle();
  EXPECT_TRUE(connections_.empty());
  EXPECT_EQ(admission_.leaving.load(), 0U);
  io::close_socket(silent);
}

TEST_F(ClientConnectionTest, WhoDoesNotListenMakesRoomAllTheSame) {
  Client& deaf = connect();
  settle();
  deaf.connection.pause_receiving();
  settle();
  admission_.leaving.store(1);
  newest_->make_room(1s);
  settle();
  EXPECT_EQ(connections_.size(), 1U);
  simulation_.advance(1100ms);
  EXPECT_TRUE(connections_.empty());
}

TEST_F(ClientConnectionTest, AStrangerThatRestsHoldsItsConnectionUntilItIsProven) {
  Client& client = connect();
  settle();
  EXPECT_GE(newest_->resting_bytes(), 8U << 10);
  client.ask("/api/v1/namespaces/a/pods/b");
  simulation_.reactor().turn(false);
  simulation_.settle();
  EXPECT_EQ(newest_->resting_bytes(), 0U);
  settle();
  EXPECT_TRUE(newest_->rests());
  EXPECT_TRUE(newest_->facts().proven);
  EXPECT_EQ(newest_->resting_bytes(), 0U);
}

// Or whoever holds most would go for those who cannot.
TEST_F(ClientConnectionTest, ConnectionsThatAreProvenAreNoReasonToMakeRoom) {
  constexpr std::size_t count = 10;
  const std::size_t before = simulation_.transport().own_bytes();
  std::vector<Client*> clients;
  for (std::size_t i = 0; i < count; ++i) clients.push_back(&connect());
  settle();
  EXPECT_GE(simulation_.transport().own_bytes() - before, count * (8U << 10));
  for (Client* client : clients) client->ask("/api/v1/namespaces/a/pods/b");
  // A token that is not proven yet is asked about once at a time.
  for (std::size_t i = 0; i < count; ++i) settle();
  EXPECT_EQ(connections_.size(), count);
  for (const auto& [connection, owned] : connections_) EXPECT_TRUE(connection->facts().proven);
  // That of the backend's side of the simulation.
  EXPECT_LE(simulation_.transport().own_bytes() - before, 16U << 10);
}

TEST_F(ClientConnectionTest, AStrangerThatRestsIsToldThatItMakesRoom) {
  Client& idle = connect();
  settle();
  newest_->end_for_room();
  simulation_.settle();
  ASSERT_EQ(idle.goaways.size(), 1U);
  EXPECT_EQ(idle.goaways[0].second, http2::ErrorCode::no_error);
  EXPECT_TRUE(idle.closed);

  Client& deaf = connect();
  settle();
  deaf.connection.pause_receiving();
  settle();
  newest_->end_for_room();
  settle();
  EXPECT_EQ(newest_->resting_bytes(), 0U);
  simulation_.advance(1100ms);
  EXPECT_TRUE(connections_.empty());
}

// By their positions in ClientConnection::State.
constexpr std::uint32_t into_serving = 1U << 1U;
constexpr std::uint32_t into_leaving = 1U << 2U;

TEST_F(ClientConnectionTest, AClientThatVanishesIsGoneIn90SecondsAndItsWatchesAreCancelled) {
  for (const bool events : {false, true}) {
    SCOPED_TRACE(events);
    Client& client = connect();
    settle();
    client.ask("/api/v1/pods?watch=1&resourceVersion=5");
    settle();
    ASSERT_EQ(connections_.size(), 1U);
    test::ScriptedBackend::Request& watch = *backend_->requests().back();
    simulation_.advance(10min);
    EXPECT_EQ(connections_.size(), 1U);
    client.connection.pause_receiving();
    simulation_.network().vanish(address_);
    for (int second = 0; second < 89; ++second) {
      if (events) watch.send("{event}");
      simulation_.advance(1s);
    }
    EXPECT_EQ(connections_.size(), 1U);
    EXPECT_FALSE(watch.closed);
    simulation_.advance(7s);
    EXPECT_EQ(connections_.size(), 0U);
    EXPECT_TRUE(watch.closed);
    client.connection.terminate();
    simulation_.settle();
    simulation_.network().come_back(address_);
  }
  EXPECT_THAT(registry_.render(),
              HasSubstr("sluice_client_connections_ended_total{reason=\"vanished\"} 2\n"));
}

// The kernel of who is stopped in a debugger acknowledges, and closes the window.
TEST_F(ClientConnectionTest, WhoStandsStillWithAWatchAndLivesIsNotEnded) {
  simulation_.network().bound_receive_buffers(16 * 1024);
  Client& client = connect();
  settle();
  const http2::StreamId watch = client.ask("/api/v1/pods?watch=1&resourceVersion=5");
  settle();
  test::ScriptedBackend::Request& request = *backend_->requests().back();
  client.connection.pause_receiving();
  request.send(std::string(200'000, 'e'));
  simulation_.advance(1h);
  ASSERT_EQ(connections_.size(), 1U);
  client.connection.resume_receiving();
  settle();
  EXPECT_GE(client.answers[watch].bytes, 200'000U);
  EXPECT_FALSE(client.end.has_value());
  // Without a watch it is nobody that may stand still.
  client.cancel(watch);
  settle();
  simulation_.advance(1min);
  client.ask("/large");
  simulation_.settle();
  client.connection.pause_receiving();
  serve(std::string(200'000, 'x'));
  simulation_.advance(3min);
  EXPECT_EQ(connections_.size(), 0U);
}

TEST_F(ClientConnectionTest, AQuietWatchIsAskedTwiceAMinuteAndARestingConnectionNever) {
  Client& client = connect();
  settle();
  const http2::StreamId watch = client.ask("/api/v1/pods?watch=1&resourceVersion=5");
  settle();
  const int before = client.receives;
  simulation_.advance(10min);
  EXPECT_GE(client.receives - before, 20);
  EXPECT_LE(client.receives - before, 24);
  client.cancel(watch);
  settle();
  simulation_.advance(30s);
  const int after = client.receives;
  simulation_.advance(options_.idle_timeout - 31s);
  EXPECT_EQ(client.receives, after);
  EXPECT_TRUE(client.goaways.empty());
  simulation_.advance(3s);
  EXPECT_TRUE(client.closed);
}

TEST_F(ClientConnectionTest, WhoseSilenceDoesNotCountIsAskedAndStays) {
  options_.silence_timeout = Duration::zero();
  Client& client = connect();
  settle();
  client.ask("/api/v1/pods?watch=1&resourceVersion=5");
  settle();
  simulation_.network().vanish(address_);
  simulation_.advance(1h);
  EXPECT_EQ(connections_.size(), 1U);
}

TEST_F(ClientConnectionTest, AMistakeOfOursOnTheWayToServingCostsThatConnectionAlone) {
  Client& other = connect();
  settle();
  test::Mistake mistake("client connection", into_serving);
  const std::uint64_t before = registry_.total(client_metrics_->ended.at(EndReason::other));
  Client& lost = connect();
  settle();
  EXPECT_TRUE(mistake.made());
  EXPECT_TRUE(lost.closed || lost.end);
  EXPECT_EQ(connections_.size(), 1U);
  EXPECT_GT(registry_.total(client_metrics_->ended.at(EndReason::other)), before);
  EXPECT_TRUE(
      mistake.log_text().contains("a client connection is ended by a mistake of this program"));
  const http2::StreamId id = other.ask("/version");
  settle();
  EXPECT_TRUE(other.answers[id].complete);
}

TEST_F(ClientConnectionTest, AMistakeOfOursOnTheWayToLeavingCostsThatConnectionAlone) {
  Client& other = connect();
  settle();
  Client& lost = connect();
  settle();
  const http2::StreamId id = lost.ask("/api/v1/pods?watch=1&resourceVersion=5");
  settle();
  test::Mistake mistake("client connection", into_leaving);
  newest_->leave(1s);
  simulation_.advance(2s);
  EXPECT_TRUE(mistake.made());
  EXPECT_TRUE(lost.closed || lost.end);
  EXPECT_FALSE(lost.answers[id].complete);
  EXPECT_EQ(connections_.size(), 1U);
  EXPECT_EQ(proxy_->exchanges(), 0U);
  EXPECT_TRUE(
      mistake.log_text().contains("a client connection is ended by a mistake of this program"));
  const http2::StreamId next = other.ask("/version");
  settle();
  EXPECT_TRUE(other.answers[next].complete);
}

}  // namespace
}  // namespace sluice::server
