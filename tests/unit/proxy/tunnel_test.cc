// SPDX-License-Identifier: GPL-3.0-or-later
// An exchange that becomes a tunnel, between a client and backends that obey the test, on the
// simulated ring: when it may go elsewhere, how its directions end, and what it weighs.
#include <gtest/gtest.h>

#include <array>
#include <optional>

#include "simulation.h"
#include "sluice/proxy/proxy.h"
#include "upgrade_backend.h"

namespace sluice::proxy {
namespace {

using namespace std::chrono_literals;
using test::UpgradeBackend;

constexpr ClientStream stream{1};

// Takes what it is given at the end of each turn, unless told not to.
class Client final : public ClientSide {
 public:
  explicit Client(io::Reactor& reactor)
      : reactor_(reactor), pull_(io::TurnEnd::bind<&Client::pull>(this)) {
    facts_.address = "192.0.2.1";
    facts_.keys.connection = facts_.keys.network = 7;
    facts_.keys.user = 9;
  }

  const ClientFacts& facts() const override { return facts_; }
  void send_interim(ClientStream, const http::ResponseHead&) override {}
  void send_response(ClientStream, const http::ResponseHead& answer, bool) override {
    head = answer;
    resume_body(stream);
  }
  void be_patient(ClientStream) override { patient = true; }
  void resume_body(ClientStream) override {
    reactor_.at_turn_end(pull_, io::Reactor::Phase::flush);
  }
  void credit(ClientStream, std::size_t bytes) override { credited += bytes; }
  void grow_window(ClientStream, std::uint32_t) override { window_grown = true; }
  void on_proven() override { facts_.proven = true; }
  void cut(ClientStream, Cut) override { was_cut = true; }
  void stop_upload(ClientStream) override { upload_stopped = true; }

  void pull() {
    std::array<std::uint8_t, 16384> room;
    while (head.status != 0 && !ended && !was_cut && takes) {
      const http::BodyResult result = proxy->client_body_wanted(exchange, room);
      body += as_text(Bytes(room).first(result.bytes));
      if (result.status != http::BodyStatus::more) {
        ended = result.status;
      } else if (result.bytes == 0) {
        return;
      }
    }
  }

  Proxy* proxy = nullptr;
  SlotId exchange;
  http::ResponseHead head;
  std::string body;
  std::optional<http::BodyStatus> ended;
  bool takes = true;
  bool was_cut = false;
  bool upload_stopped = false;
  bool patient = false;
  bool window_grown = false;
  std::size_t credited = 0;
  ClientFacts facts_;

 private:
  io::Reactor& reactor_;
  io::TurnEnd pull_;
};

class TunnelTest : public testing::Test, private ProxyEvents, private ResourcesEvents {
 protected:
  static io::Address address_of(std::size_t number) {
    return *io::Address::parse("10.0.0." + std::to_string(number + 1) + ":6443");
  }
  void TearDown() override {
    proxy_->client_gone(client_.exchange);
    client_.last_account().reset();
    simulation_.settle();
    proxy_.reset();
    resources_.reset();
    set_->terminate();
    set_->terminate();
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
      backends_.push_back(std::make_unique<UpgradeBackend>(simulation_.transport(), address_of(i)));
    }
    cluster_.emplace(endpoints);
    board_.emplace(1, backends);
    metrics_.emplace(registry_);
    resources_metrics_.emplace(registry_);
    cells_.emplace(registry_);
    const backend::BackendContexts contexts{
        keys.plain_context(),
        keys.identity_context(),
        {keys.plain_context("http/1.1"), keys.identity_context("http/1.1")}};
    set_.emplace(simulation_.transport(), *cluster_, contexts, backend::BackendSetOptions{}, 1,
                 [](auto&&...) {});
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
    client_.proxy = &*proxy_;
    client_.facts_.identity = kubernetes::Identity{"alice", {"dev"}, "", ""};
    client_.facts_.identity_not_after = WallTime(std::chrono::seconds(4'000'000'000));
  }
  void ask() {
    http::RequestHead head;
    head.method = "POST";
    head.scheme = "https";
    head.authority = "kubernetes";
    head.path = "/api/v1/namespaces/x/pods/p/exec";
    head.protocol = "SPDY/3.1";
    client_.exchange = proxy_->start(client_, stream, std::move(head), true);
    simulation_.settle();
  }
  // Those that were asked for a tunnel; the others are connections of the HTTP/2 pools, which these
  // backends do not serve.
  std::vector<UpgradeBackend::Connection*> asked() {
    std::vector<UpgradeBackend::Connection*> all;
    for (const auto& backend : backends_) {
      for (std::size_t i = 0; i < backend->accepted(); ++i) {
        if (backend->connection(i).received.starts_with("POST ")) {
          all.push_back(&backend->connection(i));
        }
      }
    }
    return all;
  }
  UpgradeBackend::Connection& open() {
    start(1);
    ask();
    UpgradeBackend::Connection& its = *asked().at(0);
    its.received.clear();
    its.send(UpgradeBackend::switched);
    simulation_.settle();
    EXPECT_EQ(client_.head.status, 101);
    return its;
  }
  void send(std::string_view bytes) {
    ASSERT_TRUE(proxy_->client_body(client_.exchange, as_bytes(bytes)));
    simulation_.settle();
  }
  void end(bool in_order = true) {
    proxy_->client_tunnel_end(client_.exchange, in_order);
    simulation_.settle();
  }

  ConnectionBytes connection_bytes() const override { return {}; }
  std::vector<ConnectionHolding*> holding_connections() override { return {}; }
  void on_token_change(const TokenChange& change) override { changes_.push_back(change); }
  void on_own_write(const OwnWrite&) override {}
  void on_sent(std::size_t, kubernetes::RequestClass) override {}
  void on_identity_refused(std::size_t) override {}
  void on_drain_answer(std::size_t) override {}

  test::Simulation simulation_;
  ResourcesOptions resources_options_;
  ProxyOptions options_;
  std::vector<std::unique_ptr<UpgradeBackend>> backends_;
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
  std::vector<TokenChange> changes_;
};

TEST_F(TunnelTest, GoesBothWaysAndEndsWithItsSecondDirection) {
  UpgradeBackend::Connection& its = open();
  EXPECT_TRUE(its.with_certificate);
  EXPECT_TRUE(client_.patient);
  send("to");
  its.send("from");
  simulation_.advance(1h);
  EXPECT_EQ(its.received, "to");
  EXPECT_EQ(client_.body, "from");
  EXPECT_EQ(client_.credited, 2U);
  end();
  EXPECT_EQ(its.peer_end, true);
  simulation_.advance(1h);
  EXPECT_EQ(proxy_->exchanges(), 1U);
  its.send(" last");
  its.end_output();
  simulation_.settle();
  EXPECT_EQ(client_.body, "from last");
  EXPECT_EQ(client_.ended, http::BodyStatus::finished);
  proxy_->client_gone(client_.exchange);
  simulation_.settle();
  EXPECT_EQ(proxy_->exchanges(), 0U);
  EXPECT_EQ(board_->total(0).tunnels, 0U);
}

TEST_F(TunnelTest, TheBackendMayEndFirst) {
  UpgradeBackend::Connection& its = open();
  its.send("all");
  its.end_output();
  simulation_.settle();
  EXPECT_EQ(client_.ended, http::BodyStatus::finished);
  send("more");
  EXPECT_EQ(its.received, "more");
  end();
  EXPECT_EQ(its.received, "more");
  EXPECT_EQ(its.peer_end, true);
  EXPECT_FALSE(client_.was_cut);
}

TEST_F(TunnelTest, AnEndThatNobodyHasSaidIsPassedOnAsSuch) {
  UpgradeBackend::Connection& its = open();
  send("last");
  end(false);
  EXPECT_EQ(its.received, "last");
  EXPECT_EQ(its.peer_end, false);
  its.end_output(false);
  simulation_.settle();
  EXPECT_EQ(client_.ended, http::BodyStatus::cut);
}

// Both directions are over at once: a client that leaves without a word, behind the backend's end.
TEST_F(TunnelTest, AnEndThatNobodyHasSaidIsPassedOnAsSuchAlsoByTheLastDirection) {
  UpgradeBackend::Connection& its = open();
  its.end_output();
  simulation_.settle();
  EXPECT_EQ(client_.ended, http::BodyStatus::finished);
  ASSERT_TRUE(proxy_->client_body(client_.exchange, as_bytes("last")));
  simulation_.settle();
  proxy_->client_tunnel_end(client_.exchange, false);
  proxy_->client_gone(client_.exchange);
  simulation_.settle();
  EXPECT_EQ(its.received, "last");
  EXPECT_EQ(its.peer_end, false);
  EXPECT_EQ(proxy_->exchanges(), 0U);
}

// What was said to its end arrives, also when the other direction breaks.
TEST_F(TunnelTest, ABackendThatIsGoneBehindItsEndHasSaidAll) {
  UpgradeBackend::Connection& its = open();
  client_.takes = false;
  its.send("all of it");
  its.end_output();
  simulation_.settle();
  simulation_.network().vanish(address_of(0));
  simulation_.advance(2min);
  client_.takes = true;
  client_.resume_body(stream);
  simulation_.settle();
  EXPECT_EQ(client_.body, "all of it");
  EXPECT_EQ(client_.ended, http::BodyStatus::finished);
  EXPECT_FALSE(client_.was_cut);
  simulation_.advance(1s);
  EXPECT_TRUE(client_.upload_stopped);
}

// An end that nobody has said; who does not end either is not waited for.
TEST_F(TunnelTest, ABackendThatIsGoneBeforeItsEndEndsTheClientsSideWithoutAWord) {
  open();
  simulation_.network().vanish(address_of(0));
  simulation_.advance(2min);
  EXPECT_EQ(client_.ended, http::BodyStatus::cut);
  EXPECT_FALSE(client_.was_cut);
  EXPECT_TRUE(client_.upload_stopped);
  EXPECT_EQ(board_->total(0).tunnels, 0U);
}

TEST_F(TunnelTest, WhatABackendHasSaidBeforeItsResetIsPassedOn) {
  simulation_.network().bound_receive_buffers(200'000);
  UpgradeBackend::Connection& its = open();
  its.pause();
  client_.takes = false;
  simulation_.settle();
  const std::string words(150'000, 'x');
  its.send(words);
  send("nobody reads this");
  simulation_.settle();
  EXPECT_EQ(its.unsent(), 0U);
  its.drop();
  simulation_.settle();
  ASSERT_TRUE(proxy_->client_body(client_.exchange, as_bytes("nor this")));
  simulation_.advance(1h);
  EXPECT_EQ(client_.body, "");
  client_.takes = true;
  client_.resume_body(stream);
  simulation_.settle();
  EXPECT_EQ(client_.body, words);
  EXPECT_EQ(client_.ended, http::BodyStatus::cut);
  EXPECT_FALSE(client_.was_cut);
}

TEST_F(TunnelTest, AClientThatIsGoneEndsTheBackendsSideAtOnce) {
  UpgradeBackend::Connection& its = open();
  send("word");
  proxy_->client_gone(client_.exchange);
  simulation_.settle();
  EXPECT_EQ(its.peer_end, false);
  EXPECT_EQ(proxy_->exchanges(), 0U);
}

TEST_F(TunnelTest, IsAskedForElsewhereAsLongAsNothingWasWritten) {
  start(3);
  backends_[0]->refuse();
  backends_[1]->refuse();
  simulation_.settle();
  ask();
  simulation_.advance(100ms);
  ASSERT_EQ(asked().size(), 1U);
  asked().at(0)->send(UpgradeBackend::switched);
  simulation_.settle();
  EXPECT_EQ(client_.head.status, 101);
}

TEST_F(TunnelTest, IsNeverAskedForAgainOnceItWasWritten) {
  start(3);
  ask();
  ASSERT_EQ(asked().size(), 1U);
  asked().at(0)->drop();
  simulation_.advance(1s);
  EXPECT_EQ(client_.head.status, 502);
  EXPECT_TRUE(client_.body.contains("whether the request was executed is unknown"));
  EXPECT_EQ(asked().size(), 1U);
}

TEST_F(TunnelTest, NoDeadlineEndsTheWaitForAnAnswer) {
  start(1);
  ask();
  simulation_.advance(1h);
  EXPECT_EQ(client_.head.status, 0);
  proxy_->client_gone(client_.exchange);
  simulation_.settle();
  EXPECT_TRUE(asked().at(0)->peer_end.has_value());
}

TEST_F(TunnelTest, AStalledSideCostsAWindowAndNoMore) {
  UpgradeBackend::Connection& its = open();
  client_.takes = false;
  simulation_.network().bound_receive_buffers(20'000);
  its.send(std::string(10'000'000, 'x'));
  simulation_.advance(1h);
  EXPECT_GT(its.unsent(), 9'500'000U);
  EXPECT_FALSE(client_.was_cut);
  client_.takes = true;
  client_.resume_body(stream);
  simulation_.settle();
  EXPECT_EQ(client_.body.size(), 10'000'000U);
  EXPECT_FALSE(client_.window_grown);
}

// All that is held of it is its client's.
TEST_F(TunnelTest, WhatABackendDoesNotTakeIsCharged) {
  simulation_.network().bound_receive_buffers(20'000);
  UpgradeBackend::Connection& its = open();
  its.pause();
  const ClientAccount* account = client_.last_account().get();
  ASSERT_NE(account, nullptr);
  const std::size_t idle = account->bytes;
  EXPECT_LE(idle, 4'000U);
  send(std::string(64'000, 'x'));
  simulation_.advance(1min);
  EXPECT_GE(account->bytes, 30'000U);
  EXPECT_LE(account->bytes, 150'000U);
  its.resume();
  simulation_.advance(1min);
  EXPECT_LE(account->bytes, idle);
}

TEST_F(TunnelTest, OurOwnStopEndsBothSidesInOrder) {
  UpgradeBackend::Connection& its = open();
  its.send("words");
  simulation_.settle();
  proxy_->end_tunnels();
  simulation_.settle();
  EXPECT_EQ(its.peer_end, true);
  EXPECT_EQ(client_.body, "words");
  EXPECT_EQ(client_.ended, http::BodyStatus::finished);
  EXPECT_FALSE(client_.was_cut);
  simulation_.advance(1s);
  EXPECT_TRUE(client_.upload_stopped);
}

TEST_F(TunnelTest, AnotherAnswerIsAnOrdinaryOne) {
  start(1);
  ask();
  asked().at(0)->send("HTTP/1.1 403 No\r\nContent-Length: 2\r\nUpgrade: a\r\n\r\nno");
  simulation_.settle();
  EXPECT_EQ(client_.head.status, 403);
  EXPECT_FALSE(client_.head.fields.contains("upgrade"));
  EXPECT_EQ(client_.body, "no");
  EXPECT_EQ(client_.ended, http::BodyStatus::finished);
  EXPECT_EQ(board_->total(0).tunnels, 0U);
}

TEST_F(TunnelTest, CountsAsATunnelAndAsNoWork) {
  start(1);
  ask();
  EXPECT_EQ(board_->total(0).tunnels, 1U);
  EXPECT_EQ(board_->total(0).work, 1U);
  asked().at(0)->send(UpgradeBackend::switched);
  simulation_.settle();
  EXPECT_EQ(board_->total(0).tunnels, 1U);
  EXPECT_EQ(board_->total(0).work, 0U);
  EXPECT_EQ(board_->total(0).watches, 0U);
}

}  // namespace
}  // namespace sluice::proxy
