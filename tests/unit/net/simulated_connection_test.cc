// SPDX-License-Identifier: GPL-3.0-or-later
// Connections on the simulated ring: what waits, what a pause keeps, and how long an end may take.
#include <algorithm>
#include <functional>
#include <memory>
#include <vector>

#include "contexts.h"
#include "mistake.h"
#include "recorder.h"
#include "simulation.h"
#include "sluice/io/socket.h"
#include "sluice/tls/client_hello.h"

namespace sluice::net {
namespace {

using namespace std::chrono_literals;
using test::Simulation;

class SimulatedConnectionTest : public testing::Test {
 protected:
  struct Pair {
    std::unique_ptr<Recorder> client;
    std::unique_ptr<Recorder> server;
  };

  void make(Simulation::Handshakes handshakes = Simulation::Handshakes::all,
            const TransportOptions& options = {}) {
    simulation = std::make_unique<Simulation>(options, handshakes);
    TransportOptions patient;
    patient.handshake_time_per_turn = patient.handshake_timeout = 1h;
    clients = std::make_unique<Transport>(simulation->reactor(), patient);
    contexts = make_contexts();
    address = *io::Address::parse("10.0.0.1:6443");
    listener = io::listen_on(address, {}).value();
  }

  void TearDown() override {
    for (Pair& pair : pairs) {
      for (Recorder* end : {pair.client.get(), pair.server.get()}) {
        if (end->connection.state() != Connection::State::closed) end->connection.terminate();
      }
    }
    simulation->settle();
    pairs.clear();
    io::close_socket(listener);
    clients.reset();
    simulation.reset();
  }

  void turn_until(const std::function<bool()>& done) {
    for (int turn = 0; turn < 1000 && !done(); ++turn) simulation->reactor().turn(false);
    ASSERT_TRUE(done());
  }

  // Both ends, with the handshake not begun.
  Pair& connect(const balance::FairShare& turns = {}) {
    Pair& pair = pairs.emplace_back(std::make_unique<Recorder>(*clients),
                                    std::make_unique<Recorder>(simulation->transport()));
    pair.client->connection.connect(address, contexts.client, "localhost");
    int descriptor = -1;
    while ((descriptor = io::accept_now(listener)) < 0) simulation->reactor().turn(false);
    pair.server->connection.take_turns_of(turns);
    pair.server->connection.accept(descriptor,
                                   [this](std::string_view) { return contexts.server; });
    return pair;
  }

  Pair& establish() {
    Pair& pair = connect();
    simulation->settle();
    EXPECT_TRUE(pair.client->established && pair.server->established);
    return pair;
  }

  static std::string text(std::size_t bytes) {
    std::string text(bytes, 'x');
    for (std::size_t i = 0; i < bytes; i += 100) text[i] = static_cast<char>('a' + i / 100 % 26);
    return text;
  }

  std::unique_ptr<Simulation> simulation;
  std::unique_ptr<Transport> clients;  // serves its handshakes at once, and waits for ever
  Contexts contexts;
  io::Address address;
  int listener = -1;
  std::vector<Pair> pairs;
};

// RFC 8446 lets a client send right behind its Finished, and RFC 9113 lets it fill a whole window
// before it has seen our SETTINGS.
TEST_F(SimulatedConnectionTest, WhatFollowsTheFinishedArrivesHoweverMuchAndInWhateverPieces) {
  make();
  for (const std::size_t piece : {std::size_t{16}, std::size_t{1000}, std::size_t{16384}}) {
    simulation->network().receive_in_pieces(piece);
    for (const std::size_t bytes :
         {0UL, 1UL, 16384UL, 65535UL, 65536UL, 70'000UL, 131'072UL, 204'800UL}) {
      Pair& pair = connect();
      pair.client->send(text(bytes));
      simulation->settle();
      EXPECT_TRUE(pair.server->established) << bytes << " in pieces of " << piece;
      EXPECT_EQ(pair.server->received, text(bytes)) << bytes << " in pieces of " << piece;
      EXPECT_FALSE(pair.server->end);
    }
  }
}

// A client without TLS, on the bare ring.
class PlainPeer {
 public:
  PlainPeer(io::Reactor& reactor, const io::Address& address, std::string request)
      : reactor_(reactor),
        request_(std::move(request)),
        connect_(io::Operation::bind<&PlainPeer::connected>(this)),
        send_(io::Operation::bind<&PlainPeer::sent>(this)),
        receive_(io::Operation::bind<&PlainPeer::got>(this)),
        descriptor_(io::open_stream(address.family()).value()) {
    reactor_.ring().connect(connect_, descriptor_, address);
  }
  ~PlainPeer() { io::close_socket(descriptor_); }
  PlainPeer(const PlainPeer&) = delete;
  PlainPeer& operator=(const PlainPeer&) = delete;

  std::string received;
  bool ended = false;

 private:
  void connected(const io::Completion& completion) {
    ASSERT_EQ(completion.result, 0);
    reactor_.ring().receive(receive_, descriptor_);
    send();
  }
  void send() { reactor_.ring().send(send_, descriptor_, as_bytes(request_)); }
  void sent(const io::Completion& completion) {
    if (completion.result <= 0) return;
    request_.erase(0, static_cast<std::size_t>(completion.result));
    if (!request_.empty()) send();
  }
  void got(const io::Completion& completion) {
    if (completion.result > 0) received += as_text(completion.bytes);
    ended |= completion.result == 0;
  }

  io::Reactor& reactor_;
  std::string request_;
  io::Operation connect_;
  io::Operation send_;
  io::Operation receive_;
  int descriptor_;
};

TEST_F(SimulatedConnectionTest, WhoSpeaksHttpWithoutTlsIsToldSoBeforeTheFin) {
  make();
  for (const std::size_t piece : {std::size_t{1}, std::size_t{16384}}) {
    simulation->network().receive_in_pieces(piece);
    simulation->network().send_in_pieces(piece);
    PlainPeer peer(simulation->reactor(), address, "GET /version HTTP/1.1\r\n\r\n");
    int descriptor = -1;
    while ((descriptor = io::accept_now(listener)) < 0) simulation->reactor().turn(false);
    Recorder server(simulation->transport());
    server.connection.accept(descriptor, [this](std::string_view) { return contexts.server; });
    simulation->settle();
    EXPECT_EQ(peer.received, tls::plain_http_answer) << piece;
    EXPECT_TRUE(peer.ended) << piece;
    ASSERT_TRUE(server.end);
    EXPECT_EQ(server.end->context, "an HTTP request without TLS");
    simulation->advance(10s);
    EXPECT_TRUE(server.closed) << piece;
  }
}

TEST_F(SimulatedConnectionTest, WhoWaitsForItsHandshakeLosesNothingThatItSendsMeanwhile) {
  make(Simulation::Handshakes::one_a_turn);
  constexpr std::size_t bytes = 200 * 1024;
  for (int i = 0; i < 40; ++i) connect().client->send(text(bytes));
  simulation->settle();
  for (const Pair& pair : pairs) {
    EXPECT_TRUE(pair.server->established);
    EXPECT_EQ(pair.server->received.size(), bytes);
    EXPECT_FALSE(pair.server->end);
  }
}

TEST_F(SimulatedConnectionTest, NothingIsTakenFromAPeerWhoseHandshakeWaits) {
  make(Simulation::Handshakes::one_a_turn);
  for (int i = 0; i < 20; ++i) connect().client->send(text(100'000));
  std::size_t most = 0;
  for (int turn = 0; turn < 200; ++turn) {
    simulation->reactor().turn(false);
    for (const Pair& pair : pairs) {
      most = std::max(most, pair.server->connection.held_bytes());
    }
  }
  // And what its own handshake sends.
  EXPECT_LE(most, 16 * 1024 + simulation->transport().options().send_buffer_bytes);
  EXPECT_EQ(pairs.back().server->received.size(), 100'000U);
}

// A send buffer is held as a whole, however little of it is left.
TEST_F(SimulatedConnectionTest, WhoTakesNothingHoldsAWholeSendBuffer) {
  make();
  Pair& pair = connect();
  simulation->settle();
  EXPECT_EQ(pair.server->connection.held_bytes(), 0U);
  EXPECT_GE(pair.server->connection.own_bytes(), 8U << 10);
  pair.client->connection.pause_receiving();
  pair.server->send(text(100));
  bool held = false;
  for (int turn = 0; turn < 20; ++turn) {
    simulation->reactor().turn(false);
    const std::size_t bytes = pair.server->connection.held_bytes();
    held = held || bytes >= simulation->transport().options().send_buffer_bytes;
  }
  EXPECT_TRUE(held);
  pair.client->connection.resume_receiving();
  simulation->settle();
  EXPECT_EQ(pair.server->connection.held_bytes(), 0U);
  pair.server->connection.close();
  EXPECT_EQ(pair.server->connection.own_bytes(), 0U);
  simulation->settle();
}

TEST_F(SimulatedConnectionTest, TimeInOurQueueIsNotThePeersTime) {
  make(Simulation::Handshakes::one_a_turn);
  for (int i = 0; i < 10; ++i) connect();
  for (int turn = 0; turn < 200; ++turn) {
    simulation->reactor().turn(false);
    simulation->network().pass(2s);  // each handshake takes a machine under load so long
  }
  for (const Pair& pair : pairs) EXPECT_TRUE(pair.server->established);
}

TEST_F(SimulatedConnectionTest, WhoLeavesTheQueueIsNotServed) {
  make(Simulation::Handshakes::one_a_turn);
  for (int i = 0; i < 10; ++i) connect();
  while (simulation->transport().counters().handshakes_finished == 0) {
    simulation->reactor().turn(false);
  }
  ASSERT_FALSE(pairs.back().server->established);
  pairs.back().client->connection.terminate();
  simulation->settle();
  EXPECT_TRUE(pairs.back().server->closed);
  ASSERT_TRUE(pairs.back().server->end);
  EXPECT_EQ(pairs.back().server->end->kind, ErrorKind::closed);
  EXPECT_TRUE(pairs.front().server->established);
}

// Turns are by name: a flood under one of them costs another one a turn for each of its own.
TEST_F(SimulatedConnectionTest, AHundredHandshakesOfOneDelayAnothersByOneForEachOfItsTurns) {
  make(Simulation::Handshakes::one_a_turn);
  for (int i = 0; i < 100; ++i) connect({.client = 1});
  ASSERT_GE(simulation->transport().handshakes_waiting(), 20U);
  const std::uint64_t before = simulation->transport().counters().handshakes_finished;
  const Pair& other = connect({.client = 2});
  turn_until([&] { return other.server->established; });
  EXPECT_LE(simulation->transport().counters().handshakes_finished - before, 5U);
  turn_until([&] { return simulation->transport().handshakes_waiting() == 0; });
  for (const Pair& pair : pairs) EXPECT_TRUE(pair.server->established);
}

TEST_F(SimulatedConnectionTest, ManyStrangersDelayAKnownClientsHandshakeByLittle) {
  make(Simulation::Handshakes::one_a_turn);
  for (std::uint64_t i = 0; i < 100; ++i) connect({.client = 100 + i});
  ASSERT_GE(simulation->transport().handshakes_waiting(), 20U);
  const std::uint64_t before = simulation->transport().counters().handshakes_finished;
  constexpr auto known = static_cast<std::size_t>(TurnLane::known);
  const Pair& other = connect({.client = 1, .lane = known});
  turn_until([&] { return other.server->established; });
  EXPECT_LE(simulation->transport().counters().handshakes_finished - before, 5U);
}

// They are strangers, all of them.
TEST_F(SimulatedConnectionTest, HoweverManyAddressesAskForOneClusterAnotherIsDelayedByLittle) {
  make(Simulation::Handshakes::one_a_turn);
  for (std::uint64_t i = 0; i < 100; ++i) connect({.client = 1, .part = 100 + i});
  ASSERT_GE(simulation->transport().handshakes_waiting(), 20U);
  const std::uint64_t before = simulation->transport().counters().handshakes_finished;
  const Pair& other = connect({.client = 2, .part = 100});
  turn_until([&] { return other.server->established; });
  EXPECT_LE(simulation->transport().counters().handshakes_finished - before, 5U);
  turn_until([&] { return simulation->transport().handshakes_waiting() == 0; });
}

TEST_F(SimulatedConnectionTest, WhoFillsTheQueueOfHandshakesGetsNoMoreInAndOthersDo) {
  constexpr std::size_t places = 20;
  make(Simulation::Handshakes::one_a_turn, {.handshake_queue_max = places});
  for (std::size_t i = 0; i < 3 * places; ++i) connect({.client = 1});
  const auto refused = [&] {
    return std::ranges::count_if(pairs, [](const Pair& pair) {
      return pair.server->end && pair.server->end->kind == ErrorKind::unavailable;
    });
  };
  turn_until([&] { return refused() > 0; });
  EXPECT_GE(simulation->transport().handshakes_waiting(), places - 10);
  EXPECT_FALSE(simulation->transport().handshake_queue_full());
  const std::size_t others = pairs.size();
  for (std::uint64_t i = 0; i < 5; ++i) connect({.client = 2 + i});
  turn_until([&] { return simulation->transport().handshakes_waiting() == 0; });
  for (std::size_t i = others; i < pairs.size(); ++i) EXPECT_TRUE(pairs[i].server->established);
}

TEST_F(SimulatedConnectionTest, WhoIsClosedBeforeItsFirstTurnEndsWithoutAWord) {
  make(Simulation::Handshakes::one_a_turn);
  for (int i = 0; i < 10; ++i) connect();
  turn_until([&] { return simulation->transport().handshakes_waiting() > 4; });
  Recorder& last = *pairs.back().server;
  ASSERT_EQ(last.connection.state(), Connection::State::handshaking);
  EXPECT_EQ(last.connection.engine(), nullptr);
  last.connection.close();
  simulation->settle();
  simulation->advance(5s);
  EXPECT_TRUE(last.closed);
  EXPECT_TRUE(pairs.front().server->established);
}

TEST_F(SimulatedConnectionTest, ASilentPeerStillLosesItsConnectionAtTheDeadline) {
  make();
  Recorder server(simulation->transport());
  const int descriptor = io::open_stream(0).value();
  simulation->network().connect(descriptor, address);
  server.connection.accept(io::accept_now(listener),
                           [this](std::string_view) { return contexts.server; });
  simulation->advance(9s);
  EXPECT_FALSE(server.closed);
  simulation->advance(2s);
  EXPECT_TRUE(server.closed);
  ASSERT_TRUE(server.end);
  EXPECT_EQ(server.end->kind, ErrorKind::timeout);
  io::close_socket(descriptor);
}

TEST_F(SimulatedConnectionTest, APauseLeavesTheRestToThePeersWindow) {
  make();
  simulation->network().bound_receive_buffers(100'000);
  Pair& pair = establish();
  pair.server->then = [&] { pair.server->connection.pause_receiving(); };
  pair.client->send(text(3'000'000));
  simulation->settle();
  EXPECT_TRUE(pair.server->connection.receiving_paused());
  EXPECT_LE(pair.server->received.size(), 16384U);  // what was handed over before the pause
  EXPECT_LE(pair.server->connection.held_bytes(), 32768U);
  EXPECT_TRUE(pair.client->connection.send_in_flight());
  // What either side holds is counted.
  net::Connection& sender = pair.client->connection;
  EXPECT_GT(sender.held_bytes(), 0U);
  EXPECT_EQ(sender.transport().held_bytes(), sender.held_bytes());
  pair.server->then = nullptr;
  pair.server->connection.resume_receiving();
  simulation->settle();
  EXPECT_EQ(pair.server->received, text(3'000'000));
  EXPECT_EQ(sender.transport().held_bytes(), 0U);
}

// Who is told to go takes its time, and may have sent a lot.
TEST_F(SimulatedConnectionTest, WhatAPauseKeptIsForgottenWithTheClose) {
  make();
  simulation->network().weather(address, {.in_pieces = 1}, 1);
  Pair& pair = establish();
  // What had come before the pause could be heard of is kept, if anything had.
  pair.server->then = [&] { pair.server->connection.pause_receiving(); };
  pair.client->send(text(1'000'000));
  for (int turn = 0; turn < 1000 && pair.server->connection.held_bytes() == 0; ++turn) {
    if (turn % 4 == 0) pair.server->connection.resume_receiving();
    simulation->reactor().turn(false);
  }
  ASSERT_GT(pair.server->connection.held_bytes(), 0U);
  pair.server->connection.close();
  EXPECT_EQ(pair.server->connection.held_bytes(), 0U);
}

TEST_F(SimulatedConnectionTest, PausesAtEveryPieceLoseAndReorderNothing) {
  make();
  for (const std::size_t piece : {std::size_t{700}, std::size_t{16384}}) {
    simulation->network().receive_in_pieces(piece);
    Pair& pair = establish();
    pair.server->then = [&] {
      pair.server->connection.pause_receiving();
      pair.server->connection.resume_receiving();
    };
    pair.client->send(text(300'000));
    simulation->settle();
    EXPECT_EQ(pair.server->received, text(300'000));
    pair.server->then = [&] { pair.server->connection.pause_receiving(); };
    pair.client->send(text(300'000));
    for (int i = 0; i < 2000 && pair.server->received.size() < 600'000; ++i) {
      simulation->settle();
      pair.server->connection.resume_receiving();
    }
    EXPECT_EQ(pair.server->received, text(300'000) + text(300'000));
  }
}

// Whatever is left for later takes turns by name, too.
TEST_F(SimulatedConnectionTest, FiftyThatAskForTurnsWithoutEndDelayAnothersByOneForEachOfItsTurns) {
  make(Simulation::Handshakes::all, {.input_time_per_turn = Duration::zero()});
  for (int i = 0; i < 50; ++i) {
    Recorder& one = *connect({.client = 1}).server;
    one.on_each_turn = [&one] { one.connection.ask_for_turn(); };
  }
  Recorder& other = *connect({.client = 2}).server;
  other.on_each_turn = [&other] { other.connection.ask_for_turn(); };
  simulation->settle();
  for (const Pair& pair : pairs) pair.server->connection.ask_for_turn();
  for (int turn = 0; turn < 20; ++turn) simulation->reactor().turn(false);
  EXPECT_GE(other.turns, 9);
  for (int turn = 0; turn < 100; ++turn) simulation->reactor().turn(false);
  for (const Pair& pair : pairs) EXPECT_GE(pair.server->turns, 1);
  for (const Pair& pair : pairs) pair.server->on_each_turn = nullptr;
}

// Flooding costs who floods: 2 ms for each of its pieces, and none of it before what others send.
TEST_F(SimulatedConnectionTest, WhoCausesMuchWaitsForItsTurnsWhileWorkWaitsAndAComponentNever) {
  make();
  simulation->network().receive_in_pieces(1000);
  for (std::uint64_t i = 0; i < 20; ++i) connect({.client = i});
  simulation->settle();
  std::vector<std::size_t> order;  // in which they are served in a turn
  const auto cost = [&](std::size_t of, Duration time) {
    pairs[of].server->then = [this, &order, of, time] {
      order.push_back(of);
      simulation->network().work(time);
    };
  };
  cost(0, 2ms);
  cost(1, 2ms);
  pairs[1].server->connection.never_put_off();
  for (std::size_t i = 2; i < pairs.size(); ++i) cost(i, 10us);
  std::size_t first_behind_all = 0;
  std::size_t second_behind_all = 0;
  for (int turn = 0; turn < 500; ++turn) {
    for (const Pair& pair : pairs) pair.client->send(std::string(500, 'x'));
    order.clear();
    simulation->reactor().turn(false);
    if (order.size() < pairs.size()) continue;
    first_behind_all += order.back() == 0 ? 1U : 0U;
    second_behind_all += order.back() == 1 ? 1U : 0U;
  }
  EXPECT_GT(first_behind_all, 200U);
  EXPECT_EQ(second_behind_all, 0U);
  for (const Pair& pair : pairs) pair.server->then = nullptr;
  simulation->settle();
  for (const Pair& pair : pairs) EXPECT_EQ(pair.server->received, std::string(250'000, 'x'));
}

TEST_F(SimulatedConnectionTest, ATurnThatWasAskedForComesOnceAndAlsoDuringAPause) {
  make();
  Pair& pair = establish();
  pair.server->connection.pause_receiving();
  pair.server->connection.ask_for_turn();
  pair.server->connection.ask_for_turn();
  simulation->settle();
  EXPECT_EQ(pair.server->turns, 1);
  pair.server->connection.ask_for_turn();
  pair.server->connection.terminate();
  simulation->settle();
  EXPECT_EQ(pair.server->turns, 1);
}

TEST_F(SimulatedConnectionTest, ThePeersEndIsToldAfterThePause) {
  make();
  Pair& pair = establish();
  pair.server->then = [&] { pair.server->connection.pause_receiving(); };
  pair.client->send(text(100'000));
  pair.client->connection.close();
  simulation->settle();
  EXPECT_FALSE(pair.server->end);
  pair.server->then = nullptr;
  pair.server->connection.resume_receiving();
  simulation->settle();
  EXPECT_EQ(pair.server->received, text(100'000));
  ASSERT_TRUE(pair.server->end);
  EXPECT_EQ(pair.server->end->kind, ErrorKind::closed);
}

TEST_F(SimulatedConnectionTest, EveryCollectedByteArrivesBeforeTheFin) {
  make();
  simulation->network().bound_receive_buffers(50'000);
  for (const std::size_t pieces : {std::size_t{999}, SIZE_MAX}) {
    simulation->network().send_in_pieces(pieces);
    Pair& pair = establish();
    pair.client->then = [&] { pair.client->connection.pause_receiving(); };
    pair.server->send(text(1'000'000));
    simulation->settle();
    pair.server->connection.close();
    // A reader of 16 KB a second: far longer than the linger.
    for (int second = 0; second < 100 && !pair.client->end; ++second) {
      simulation->advance(1s);
      pair.client->connection.resume_receiving();
    }
    EXPECT_EQ(pair.client->received, text(1'000'000));
    ASSERT_TRUE(pair.client->end);
    EXPECT_EQ(pair.client->end->kind, ErrorKind::closed);
  }
}

TEST_F(SimulatedConnectionTest, APeerThatTakesNothingIsGivenUpAfterTheStallTimeout) {
  make();
  simulation->network().bound_receive_buffers(50'000);
  Pair& pair = establish();
  pair.client->then = [&] { pair.client->connection.pause_receiving(); };
  pair.server->send(text(1'000'000));
  simulation->settle();
  pair.server->connection.close();
  simulation->advance(55s);
  EXPECT_FALSE(pair.server->closed);
  simulation->advance(10s);
  EXPECT_TRUE(pair.server->closed);
}

TEST_F(SimulatedConnectionTest, ALingerEndsWhenThePeerAcknowledgesNothingMore) {
  make();
  Pair& pair = establish();
  pair.client->then = [&] { pair.client->connection.pause_receiving(); };
  pair.server->send(text(1'000'000));
  pair.server->connection.close();
  simulation->settle();  // the kernel holds all of it
  EXPECT_FALSE(pair.server->closed);
  simulation->advance(3s);
  EXPECT_TRUE(pair.server->closed);
}

// After our last word input is read only so that what was sent is not lost by a reset.
TEST_F(SimulatedConnectionTest, WhoFloodsAfterOurLastWordIsNotReadForLong) {
  make();
  simulation->network().bound_receive_buffers(100'000);
  PlainPeer peer(simulation->reactor(), address, "GET /version HTTP/1.1\r\n\r\n" + text(3'000'000));
  int descriptor = -1;
  while ((descriptor = io::accept_now(listener)) < 0) simulation->reactor().turn(false);
  Recorder server(simulation->transport());
  server.connection.accept(descriptor, [this](std::string_view) { return contexts.server; });
  simulation->settle();
  EXPECT_EQ(peer.received, tls::plain_http_answer);
  const std::uint64_t taken = simulation->transport().counters().bytes_received;
  EXPECT_GE(taken, 256U * 1024U);
  EXPECT_LE(taken, 400'000U);
  simulation->advance(10s);
  EXPECT_TRUE(server.closed);
}

// --- mistakes of ours --------------------------------------------------------------------------

TEST_F(SimulatedConnectionTest, AMistakeOfOursCostsThatConnectionAlone) {
  // By their positions in the enumerations.
  const std::pair<std::string_view, std::uint32_t> steps[] = {{"TCP connection", 1U << 2U},
                                                              {"TLS", 1U << 2U}};
  for (const auto& [machine, into] : steps) {
    SCOPED_TRACE(machine);
    make();
    Pair& other = establish();
    const std::size_t alive = simulation->transport().connections() + clients->connections();
    {
      test::Mistake mistake(machine, into);
      Pair& lost = connect();
      simulation->settle();
      EXPECT_TRUE(mistake.made());
      EXPECT_TRUE(lost.client->closed);
      EXPECT_TRUE(lost.server->closed);
      EXPECT_TRUE(
          mistake.log_text().contains("a connection is ended by a mistake of this program"));
    }
    EXPECT_EQ(simulation->transport().connections() + clients->connections(), alive);
    pairs.front().client->send("still here");
    simulation->settle();
    EXPECT_EQ(pairs.front().server->received, "still here");
    (void)other;
    TearDown();
  }
  make();
  establish();
}

}  // namespace
}  // namespace sluice::net
