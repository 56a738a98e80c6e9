// SPDX-License-Identifier: GPL-3.0-or-later
// Connections that are passed on untouched, on the simulated ring: what arrives where, who is
// chosen, how each direction ends, and what is held meanwhile.
#include <gmock/gmock.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "sluice/io/socket.h"
#include "sluice/net/tcp_connection.h"
#include "sluice/tls/engine.h"
#include "whole_server.h"

namespace sluice::server {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;
using testing::Not;
using Tcp = net::TcpConnection;

// A client or a target, without TLS: what it says is the test's, and it says its end itself.
class Peer final : public net::TcpHandler {
 public:
  explicit Peer(net::Transport& transport) : connection(transport, *this) {}

  void on_connected() override { connection.receive(); }
  void on_receive(Bytes bytes) override { received += as_text(bytes); }
  Fill on_fill(MutableBytes room) override {
    const std::size_t n = std::min(room.size(), to_send.size() - filled);
    std::copy_n(to_send.data() + filled, n, room.begin());
    filled += n;
    return {n, filled < to_send.size()};
  }
  bool on_peer_ended() override {
    peer_ended = true;
    return true;
  }
  void on_end(const Error& error) override { end = error.context; }
  void on_closed() override { closed = true; }

  void send(std::string_view text) {
    to_send += text;
    connection.mark_dirty();
  }
  bool over() const { return peer_ended || closed; }

  Tcp connection;
  std::string received;
  std::string to_send;
  std::size_t filled = 0;
  bool peer_ended = false;
  bool closed = false;
  std::string end;
};

std::string hello_for(const char* name) {
  tls::ClientOptions options;
  options.ca_pem = test::ClusterKeys::get().serving_ca.pem();
  const std::shared_ptr<const tls::ClientContext> context =
      std::move(*tls::ClientContext::create(options));
  const auto engine = std::move(*tls::Engine::client(context, name));
  (void)engine->handshake();
  std::vector<std::uint8_t> bytes(engine->pending_bytes());
  tls::RecordBuffer out{bytes.data(), 0, bytes.size()};
  engine->take_pending(out);
  return std::string(as_text(bytes));
}

std::string text(std::size_t bytes) {
  std::string text(bytes, 'x');
  for (std::size_t i = 0; i < bytes; i += 100) text[i] = static_cast<char>('a' + i / 100 % 26);
  return text;
}

class PassThroughTest : public testing::Test {
 protected:
  PassThroughTest() : patient_(simulation_.reactor(), patience()) {
    options_ = WholeServer::options(0, 1);
    ClusterOptions& cluster = options_.clusters[0];
    cluster.tls = {};
    for (std::size_t i = 0; i < 3; ++i) cluster.pass_through.push_back(address(i));
  }
  ~PassThroughTest() override {
    for (const auto& peer : peers_) {
      if (!peer->closed) peer->connection.terminate();
    }
    if (server_ != nullptr) {
      server_->stop();
      simulation_.advance(3s);
      EXPECT_TRUE(server_->stopped());
    }
    server_.reset();
    simulation_.settle();
    peers_.clear();
    for (const int listener : listeners_) {
      if (listener >= 0) io::close_socket(listener);
    }
  }

  static net::TransportOptions patience() {
    net::TransportOptions options;
    options.send_stall_timeout = options.close_linger = 24h;
    return options;
  }
  static io::Address address(std::size_t target) { return WholeServer::backend_address(target); }

  void listen(std::size_t target) {
    listeners_.resize(std::max(listeners_.size(), target + 1), -1);
    listeners_[target] = io::listen_on(address(target), {}).value();
  }
  void start(std::size_t listening = 3) {
    for (std::size_t i = 0; i < listening; ++i) listen(i);
    server_ = std::make_unique<WholeServer>(simulation_, options_);
    simulation_.settle();
    ASSERT_TRUE(server_->control().may_open());
    server_->open();
  }

  Peer& add_peer() {
    peers_.push_back(std::make_unique<Peer>(patient_));
    return *peers_.back();
  }
  // Its ClientHello is said.
  Peer& call() {
    Peer& client = add_peer();
    client.connection.connect(WholeServer::address(0));
    simulation_.settle();
    client.send(hello_);
    simulation_.settle();
    return client;
  }
  // Null: nobody has connected there.
  Peer* accept(std::size_t target) {
    const int descriptor = io::accept_now(listeners_.at(target));
    if (descriptor < 0) return nullptr;
    Peer& peer = add_peer();
    peer.connection.accept(descriptor);
    peer.connection.receive();
    simulation_.settle();
    return &peer;
  }
  // Whoever has been connected to.
  Peer* accept_any() {
    for (std::size_t i = 0; i < listeners_.size(); ++i) {
      if (Peer* peer = accept(i)) return peer;
    }
    return nullptr;
  }
  std::size_t accepted(std::size_t target) {
    std::size_t count = 0;
    while (accept(target) != nullptr) ++count;
    return count;
  }
  void end_output(Peer& peer) {
    peer.connection.end_output();
    simulation_.settle();
  }

  std::string told() { return server_->worker(0).describe(64 * 1024); }
  std::string metrics() {
    server_->worker(0).publish();
    return server_->shared().render_metrics();
  }
  const PassTargets& targets() { return server_->shared().cluster(0).targets; }
  std::size_t open_connections() {
    std::size_t connections = 0;
    for (const auto& target : targets()) connections += target->connections;
    return connections;
  }

  test::Simulation simulation_;
  net::Transport patient_;
  const std::string hello_ = hello_for("one.example");
  ServerOptions options_;
  std::vector<int> listeners_;
  std::unique_ptr<WholeServer> server_;
  std::vector<std::unique_ptr<Peer>> peers_;
};

TEST_F(PassThroughTest, WhatAClientSaysArrivesAsItIsFromTheFirstByteAndTheAnswerToo) {
  start();
  Peer& client = call();
  Peer* target = accept_any();
  ASSERT_NE(target, nullptr);
  EXPECT_EQ(target->received, hello_);
  target->send("an answer");
  simulation_.settle();
  EXPECT_EQ(client.received, "an answer");
  client.send(text(300'000));
  target->send(text(200'000));
  simulation_.settle();
  EXPECT_EQ(target->received, hello_ + text(300'000));
  EXPECT_EQ(client.received, "an answer" + text(200'000));
  EXPECT_THAT(told(), HasSubstr("passed state=open target=10.0.0."));
  EXPECT_THAT(metrics(), HasSubstr("sluice_pass_through_bytes_total{way=\"to_client\"} 200009\n"));
  EXPECT_THAT(metrics(), HasSubstr("sluice_client_connections{protocol=\"pass_through\"} 1\n"));
  EXPECT_THAT(metrics(), HasSubstr("sluice_tls_handshakes_failed_total 0\n"));
}

TEST_F(PassThroughTest, EachGoesToTheTargetThatHasTheFewest) {
  start();
  Peer& first = call();
  for (int i = 0; i < 5; ++i) call();
  for (const auto& target : targets()) EXPECT_EQ(target->connections, 2U);
  for (std::size_t i = 0; i < 3; ++i) EXPECT_EQ(accepted(i), 2U);
  // One leaves, and its target ends what is left of it.
  first.connection.terminate();
  simulation_.settle();
  for (const auto& peer : peers_) {
    if (peer->peer_ended) end_output(*peer);
  }
  EXPECT_EQ(open_connections(), 5U);
  call();
  for (const auto& target : targets()) EXPECT_EQ(target->connections, 2U);
}

TEST_F(PassThroughTest, OneThatRefusesIsPassedOverUntilItDoesNot) {
  start(1);
  for (int i = 0; i < 10; ++i) {
    Peer& client = call();
    Peer* target = accept(0);
    ASSERT_NE(target, nullptr) << i;
    EXPECT_EQ(target->received, hello_);
    EXPECT_FALSE(client.over());
  }
  EXPECT_EQ(targets()[0]->connections, 10U);
  EXPECT_TRUE(targets()[1]->refuses);
  EXPECT_TRUE(targets()[2]->refuses);
  // Each cost one client one try, at most.
  for (const char* name : {"10.0.0.2:6443", "10.0.0.3:6443"}) {
    EXPECT_THAT(metrics(), HasSubstr(std::string("sluice_pass_through_connect_failures_total{"
                                                 "target=\"") +
                                     name + "\"} 1\n"));
    EXPECT_THAT(metrics(), HasSubstr(std::string("sluice_pass_through_target_usable{target=\"") +
                                     name + "\"} 0\n"));
  }
  listen(1);
  simulation_.advance(20s);
  EXPECT_FALSE(targets()[1]->refuses);
  EXPECT_TRUE(targets()[2]->refuses);
  while (accept(1) != nullptr) continue;  // who has looked
  call();
  EXPECT_EQ(targets()[1]->connections, 1U);
  EXPECT_NE(accept(1), nullptr);
}

TEST_F(PassThroughTest, AClientForWhomNobodyIsThereIsTurnedAwayAndServedLater) {
  start(0);
  EXPECT_TRUE(server_->shared().cluster(0).usable());
  Peer& client = call();
  EXPECT_TRUE(client.over());
  EXPECT_EQ(client.received, "");
  EXPECT_THAT(metrics(), HasSubstr("sluice_pass_through_unreachable_total 1\n"));
  EXPECT_FALSE(server_->shared().cluster(0).usable());
  EXPECT_EQ(open_connections(), 0U);
  // Who comes next does not have to wait until somebody has looked.
  listen(2);
  Peer& next = call();
  EXPECT_NE(accept(2), nullptr);
  EXPECT_FALSE(next.over());
  EXPECT_TRUE(server_->shared().cluster(0).usable());
}

TEST_F(PassThroughTest, OneThatDoesNotAnswerIsGivenUpAndTheNextIsTried) {
  for (const std::size_t target : {0U, 1U}) simulation_.network().swallow(address(target));
  start();
  Peer& client = call();
  client.send("early");
  simulation_.advance(7s);
  Peer* target = accept(2);
  ASSERT_NE(target, nullptr);
  EXPECT_EQ(target->received, hello_ + "early");
}

TEST_F(PassThroughTest, OneThatAnswersNowAndThenIsTriedOnceAtATime) {
  options_.clusters[0].pass_through = {address(0)};
  simulation_.network().swallow(address(0));
  start(1);
  call();
  simulation_.advance(1500ms);
  call();
  simulation_.advance(2700ms);
  ASSERT_TRUE(targets()[0]->refuses) << "the first was given up, and we have begun to look";
  targets()[0]->refuses = false;  // another worker has reached it
  simulation_.advance(400ms);
  ASSERT_TRUE(targets()[0]->refuses) << "the second was given up, too";
  simulation_.advance(20s);
  EXPECT_TRUE(targets()[0]->refuses);
}

TEST_F(PassThroughTest, EachDirectionEndsWhenItsSenderHasEndedIt) {
  start();
  Peer& client = call();
  Peer* target = accept_any();
  ASSERT_NE(target, nullptr);
  client.send("last words");
  end_output(client);
  EXPECT_EQ(target->received, hello_ + "last words");
  EXPECT_TRUE(target->peer_ended);
  EXPECT_FALSE(client.over());
  target->send(text(500'000));
  simulation_.settle();
  EXPECT_EQ(client.received, text(500'000));
  EXPECT_EQ(open_connections(), 1U);
  end_output(*target);
  simulation_.settle();
  EXPECT_TRUE(client.peer_ended);
  EXPECT_EQ(client.end, "");
  EXPECT_EQ(open_connections(), 0U);
  EXPECT_THAT(told(), Not(HasSubstr("passed ")));
}

TEST_F(PassThroughTest, TheTargetMayEndFirst) {
  start();
  Peer& client = call();
  Peer* target = accept_any();
  ASSERT_NE(target, nullptr);
  target->send("answer");
  end_output(*target);
  EXPECT_EQ(client.received, "answer");
  EXPECT_TRUE(client.peer_ended);
  client.send(text(100'000));
  simulation_.settle();
  EXPECT_EQ(target->received, hello_ + text(100'000));
  end_output(client);
  EXPECT_TRUE(target->peer_ended);
  EXPECT_EQ(open_connections(), 0U);
}

TEST_F(PassThroughTest, WhoIsLostHasSaidAllThatItHadToSay) {
  start();
  Peer& client = call();
  Peer* target = accept_any();
  ASSERT_NE(target, nullptr);
  target->connection.pause_receiving();
  target->send("answer");
  client.send("what nobody reads");
  simulation_.settle();
  target->connection.terminate();
  simulation_.settle();
  EXPECT_EQ(client.received, "answer");
  EXPECT_TRUE(client.over());
  EXPECT_EQ(open_connections(), 0U);
  Peer& other = call();
  Peer* its = accept_any();
  ASSERT_NE(its, nullptr);
  other.connection.pause_receiving();
  other.send("last words");
  its->send("what nobody reads");
  simulation_.settle();
  other.connection.terminate();
  simulation_.settle();
  EXPECT_EQ(its->received, hello_ + "last words");
  EXPECT_TRUE(its->over());
}

// A client that has ended its direction may be waiting, or be gone.
TEST_F(PassThroughTest, WhoIsGoneBehindItsEndIsFoundToo) {
  start();
  Peer& client = call();
  Peer* target = accept_any();
  ASSERT_NE(target, nullptr);
  client.connection.pause_receiving();
  end_output(client);
  target->send("what nobody reads");
  simulation_.settle();
  simulation_.advance(10min);
  EXPECT_EQ(open_connections(), 1U);
  client.connection.terminate();
  simulation_.advance(10min);
  EXPECT_TRUE(target->over());
  end_output(*target);
  simulation_.advance(5s);
  EXPECT_EQ(open_connections(), 0U);
}

TEST_F(PassThroughTest, WhoDoesNotReadMakesNobodyHoldMuch) {
  simulation_.network().bound_receive_buffers(50'000);
  start();
  Peer& client = call();
  Peer* target = accept_any();
  ASSERT_NE(target, nullptr);
  for (const bool up : {true, false}) {
    Peer& sender = up ? client : *target;
    Peer& receiver = up ? *target : client;
    receiver.connection.pause_receiving();
    const std::size_t before = receiver.received.size();
    sender.send(text(3'000'000));
    simulation_.settle();
    // A queue, a send buffer, and what sockets hold.
    EXPECT_LE(sender.filled - before, 500'000U);
    EXPECT_THAT(metrics(), HasSubstr("sluice_connection_held_bytes "));
    // As slowly as it likes.
    simulation_.advance(3h);
    EXPECT_FALSE(receiver.closed);
    receiver.connection.receive();
    simulation_.settle();
    EXPECT_EQ(receiver.received.size() - before, 3'000'000U);
  }
}

TEST_F(PassThroughTest, AVanishedPeerIsFoundAndTheOtherIsTold) {
  options_.clusters[0].pass_through.resize(1);
  start(1);
  Peer& client = call();
  Peer* target = accept_any();
  ASSERT_NE(target, nullptr);
  // Silence alone is none of its signs.
  simulation_.advance(2h);
  EXPECT_FALSE(client.over());
  simulation_.network().vanish(address(0));
  client.send("is anybody there?");
  simulation_.advance(10min);
  EXPECT_TRUE(client.over());
  EXPECT_EQ(open_connections(), 0U);
}

TEST_F(PassThroughTest, ADrainWaitsForTheWindowOfTunnelsAndThenEndsInOrder) {
  start();
  Peer& client = call();
  Peer* target = accept_any();
  ASSERT_NE(target, nullptr);
  server_->worker(0).drain(2s, 20s);
  simulation_.advance(19s);
  EXPECT_FALSE(client.over());
  client.send("still");
  target->send("here");
  simulation_.settle();
  EXPECT_EQ(target->received, hello_ + "still");
  EXPECT_EQ(client.received, "here");
  simulation_.advance(2s);
  EXPECT_TRUE(client.peer_ended);
  EXPECT_EQ(client.end, "");
  EXPECT_TRUE(target->peer_ended);
}

TEST_F(PassThroughTest, ADrainIsOverWhenTheyHaveEndedByThemselves) {
  start();
  Peer& client = call();
  Peer* target = accept_any();
  ASSERT_NE(target, nullptr);
  server_->worker(0).drain(60s, 60s);
  end_output(client);
  end_output(*target);
  for (Peer* peer : {&client, target}) peer->connection.close();
  simulation_.advance(5s);
  EXPECT_TRUE(server_->worker(0).stopped());
}

TEST_F(PassThroughTest, OneOnWhichNothingMovesRestsAndMakesRoomForNewcomers) {
  options_.client_connections_max = 4;
  start();
  std::vector<Peer*> clients;
  for (int i = 0; i < 3; ++i) clients.push_back(&call());
  for (std::size_t i = 0; i < 3; ++i) accepted(i);
  simulation_.advance(3min);
  clients[0]->send("alive");
  clients[1]->send("alive");
  simulation_.settle();
  call();
  simulation_.advance(5s);
  EXPECT_FALSE(clients[0]->over());
  EXPECT_FALSE(clients[1]->over());
  EXPECT_TRUE(clients[2]->over());
}

TEST_F(PassThroughTest, WhatIsNoTlsIsNotPassedOn) {
  start();
  Peer& client = add_peer();
  client.connection.connect(WholeServer::address(0));
  simulation_.settle();
  client.send("GET / HTTP/1.1\r\n\r\n");
  simulation_.settle();
  EXPECT_THAT(client.received, HasSubstr("Client sent an HTTP request to an HTTPS server."));
  EXPECT_EQ(accept_any(), nullptr);
}

TEST_F(PassThroughTest, WhateverBreaksNothingIsLeft) {
  test::Weather weather;
  weather.buffer_bytes_min = 1000;
  weather.buffer_bytes_max = 100'000;
  weather.in_pieces = 0.5;
  weather.slow = 0.3;
  weather.stalls = 0.2;
  weather.resets = 0.3;
  weather.fault_bytes_bits = 17;
  for (std::size_t i = 0; i < 3; ++i) {
    simulation_.network().weather(address(i), weather, 7 + i);
  }
  simulation_.network().weather(WholeServer::address(0), weather, 1);
  start();
  for (int round = 0; round < 40; ++round) {
    Peer& client = call();
    client.send(text(1000 * static_cast<std::size_t>(round)));
    simulation_.advance(100ms);
    Peer* target = accept_any();
    if (target != nullptr) {
      target->send(text(2000 * static_cast<std::size_t>(40 - round)));
      if (round % 3 == 0) target->connection.end_output();
      if (round % 5 == 0) target->connection.terminate();
    }
    if (round % 2 == 0) client.connection.end_output();
    if (round % 7 == 0) client.connection.terminate();
    simulation_.advance(1s);
  }
  for (const auto& peer : peers_) {
    if (!peer->closed) peer->connection.terminate();
  }
  simulation_.advance(5min);
  EXPECT_EQ(open_connections(), 0U);
  EXPECT_THAT(told(), Not(HasSubstr("passed ")));
  EXPECT_THAT(metrics(), HasSubstr("sluice_connection_held_bytes 0\n"));
}

}  // namespace
}  // namespace sluice::server
