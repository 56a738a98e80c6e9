// SPDX-License-Identifier: GPL-3.0-or-later
// TCP connections without TLS, on the simulated ring: what a pause leaves where it is, what a close
// still says, and that every end is told once and leaves nothing behind.
#include "sluice/net/tcp_connection.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "simulation.h"
#include "sluice/io/socket.h"

namespace sluice::net {
namespace {

using namespace std::chrono_literals;
using State = TcpConnection::State;

// Records what its connection tells, and sends what it is given.
class End final : public TcpHandler {
 public:
  explicit End(Transport& transport) : connection(transport, *this) {}

  void on_connected() override { connected = true; }
  void on_receive(Bytes bytes) override {
    received += as_text(bytes);
    ++pieces;
    if (then) then();
  }
  Fill on_fill(MutableBytes room) override {
    const std::size_t n = std::min(room.size(), to_send.size() - filled);
    std::copy_n(to_send.data() + filled, n, room.begin());
    filled += n;
    if (at_fill) at_fill();
    return {n, filled < to_send.size()};
  }
  bool on_peer_ended() override { return ends; }
  void on_end(const Error& error) override {
    EXPECT_FALSE(end) << end->context << ", then " << error.context;
    EXPECT_FALSE(closed);
    end = error;
  }
  void on_closed() override {
    EXPECT_FALSE(closed);
    closed = true;
  }

  void send(std::string text) {
    to_send += text;
    connection.mark_dirty();
  }

  TcpConnection connection;
  bool connected = false;
  bool closed = false;
  std::string received;
  std::size_t pieces = 0;
  std::string to_send;
  std::size_t filled = 0;
  std::optional<Error> end;
  bool ends = false;           // the peer's end of stream is not ours
  std::function<void()> then;  // after each piece that was received
  std::function<void()> at_fill;
};

std::string text(std::size_t bytes) {
  std::string text(bytes, 'x');
  for (std::size_t i = 0; i < bytes; i += 100) text[i] = static_cast<char>('a' + i / 100 % 26);
  return text;
}

class TcpConnectionTest : public testing::Test {
 protected:
  static TransportOptions patient_options() {
    TransportOptions options;
    options.send_stall_timeout = options.close_linger = 1h;
    return options;
  }

  void TearDown() override {
    for (End* end : {near.get(), far.get()}) {
      if (end != nullptr && end->connection.state() != State::idle) end->connection.terminate();
    }
    simulation.settle();
    for (End* end : {near.get(), far.get()}) EXPECT_TRUE(end == nullptr || end->closed);
    near.reset();
    far.reset();
    EXPECT_EQ(simulation.transport().connections(), 0U);
    io::close_socket(listener);
  }

  // Both ends receive.
  void connect() {
    near = std::make_unique<End>(simulation.transport());
    far = std::make_unique<End>(patient);
    far->connection.connect(address);
    int descriptor = -1;
    while ((descriptor = io::accept_now(listener)) < 0) simulation.reactor().turn(false);
    near->connection.accept(descriptor);
    near->connection.receive();
    simulation.settle();
    ASSERT_TRUE(far->connected);
    far->connection.receive();
  }

  // `far` does not read, and `near` has said more than there is room for.
  void stall() {
    simulation.network().bound_receive_buffers(50'000);
    connect();
    far->connection.pause_receiving();
    near->send(text(1'000'000));
    simulation.settle();
    ASSERT_TRUE(near->connection.send_in_flight());
  }

  // `far` takes a piece of 16 KB a second until its end of stream, which is no more than `pieces`
  // away.
  void read_slowly(int pieces) {
    for (int i = 0; i < pieces && !far->end; ++i) {
      simulation.advance(1s);
      far->connection.receive_once();
      simulation.settle();
    }
  }

  test::Simulation simulation;
  Transport patient{simulation.reactor(), patient_options()};
  io::Address address = *io::Address::parse("10.0.0.1:6443");
  int listener = io::listen_on(address, {}).value();
  std::unique_ptr<End> near;  // what is tested: accepted, with the usual deadlines
  std::unique_ptr<End> far;
};

// --- Bytes

TEST_F(TcpConnectionTest, CarriesBytesBothWaysInWhateverPieces) {
  for (const std::size_t piece : {std::size_t{7}, std::size_t{1000}, std::size_t{100'000}}) {
    simulation.network().receive_in_pieces(piece);
    simulation.network().send_in_pieces(piece);
    connect();
    near->send(text(150'000));
    far->send(text(70'000));
    simulation.settle();
    EXPECT_EQ(far->received, text(150'000)) << piece;
    EXPECT_EQ(near->received, text(70'000)) << piece;
    near->connection.terminate();
    far->connection.terminate();
    simulation.settle();
  }
}

TEST_F(TcpConnectionTest, WhatIsMarkedDuringASendFollowsItInOne) {
  simulation.network().bound_receive_buffers(50'000);
  connect();
  far->connection.pause_receiving();
  near->send(text(60'000));  // all of it is on its way
  simulation.settle();
  ASSERT_TRUE(near->connection.send_in_flight());
  for (int i = 0; i < 10; ++i) near->send("more");
  far->connection.receive();
  simulation.settle();
  EXPECT_EQ(far->received, near->to_send);
  EXPECT_EQ(simulation.transport().counters().sends, 2U);
}

TEST_F(TcpConnectionTest, WhatAFillHasNoRoomForFollowsInFullBuffers) {
  stall();
  far->connection.receive();
  simulation.settle();
  EXPECT_EQ(far->received, text(1'000'000));
  EXPECT_EQ(simulation.transport().counters().sends, 1'000'000U / (64U * 1024U) + 1);
}

TEST_F(TcpConnectionTest, NothingIsReceivedUnasked) {
  connect();
  far->connection.pause_receiving();
  simulation.settle();
  near->send(text(100'000));
  simulation.settle();
  EXPECT_EQ(far->pieces, 0U);
  far->connection.receive_once();
  simulation.settle();
  EXPECT_EQ(far->pieces, 1U);
  far->connection.receive();
  simulation.settle();
  EXPECT_EQ(far->received, text(100'000));
}

// --- Pauses

TEST_F(TcpConnectionTest, APauseLeavesTheRestInTheSocket) {
  simulation.network().bound_receive_buffers(100'000);
  connect();
  near->then = [&] { near->connection.pause_receiving(); };
  far->send(text(3'000'000));
  simulation.settle();
  EXPECT_LE(near->pieces, 2U);  // one may have been on its way
  EXPECT_TRUE(far->connection.send_in_flight());
  near->then = nullptr;
  near->connection.receive();
  simulation.settle();
  EXPECT_EQ(near->received, text(3'000'000));
}

TEST_F(TcpConnectionTest, PausesAtEveryPieceLoseAndReorderNothing) {
  simulation.network().receive_in_pieces(700);
  connect();
  near->then = [&] {
    near->connection.pause_receiving();
    near->connection.receive();  // before the first receive has come back
  };
  far->send(text(300'000));
  simulation.settle();
  EXPECT_EQ(near->received, text(300'000));
}

TEST_F(TcpConnectionTest, ThePeersEndWaitsBehindAPause) {
  connect();
  near->then = [&] { near->connection.pause_receiving(); };
  far->send(text(100'000));
  far->connection.close();
  simulation.settle();
  near->connection.pause_receiving();
  simulation.advance(1min);
  EXPECT_FALSE(near->end);
  near->then = nullptr;
  near->connection.receive();
  simulation.settle();
  EXPECT_EQ(near->received, text(100'000));
  ASSERT_TRUE(near->end);
  EXPECT_EQ(near->end->kind, ErrorKind::closed);
  EXPECT_TRUE(near->closed);
  EXPECT_TRUE(far->closed);
}

// It is among the turn's completions when somebody else's pauses this connection.
TEST_F(TcpConnectionTest, AnEndThatIsFoundInAPauseIsToldAfterIt) {
  connect();
  near->connection.pause_receiving();
  simulation.settle();
  near->connection.receive();  // comes after the other's
  far->then = [&] { near->connection.pause_receiving(); };
  near->send("a word");
  simulation.reactor().turn(false);  // begins to send
  simulation.reactor().turn(false);  // it is sent
  io::shutdown_send(far->connection.descriptor());
  simulation.advance(1min);
  EXPECT_EQ(far->received, "a word");
  EXPECT_FALSE(near->end);
  near->connection.receive();
  simulation.settle();
  ASSERT_TRUE(near->end);
  EXPECT_EQ(near->end->kind, ErrorKind::closed);
}

TEST_F(TcpConnectionTest, AnEndThatComesDuringAShortPauseIsTold) {
  connect();
  io::shutdown_send(far->connection.descriptor());
  near->connection.pause_receiving();
  near->connection.receive();
  simulation.settle();
  ASSERT_TRUE(near->end);
  EXPECT_EQ(near->end->kind, ErrorKind::closed);
}

// --- The peer's end

TEST_F(TcpConnectionTest, AnEndOfStreamEndsAnOpenConnection) {
  connect();
  io::shutdown_send(far->connection.descriptor());
  simulation.settle();
  ASSERT_TRUE(near->end);
  EXPECT_EQ(near->end->kind, ErrorKind::closed);
  EXPECT_TRUE(near->closed);
}

TEST_F(TcpConnectionTest, APeerThatHasEndedItsDirectionStillGetsAllThatIsLeft) {
  stall();
  near->connection.close();
  io::shutdown_send(far->connection.descriptor());
  simulation.settle();
  EXPECT_FALSE(near->closed);
  far->connection.receive();
  simulation.settle();
  EXPECT_EQ(far->received, text(1'000'000));
  ASSERT_TRUE(far->end);
  EXPECT_EQ(far->end->kind, ErrorKind::closed);
  EXPECT_TRUE(near->closed);  // both have ended: nothing to linger for
  EXPECT_FALSE(near->end);
}

TEST_F(TcpConnectionTest, AResetIsToldAsOne) {
  connect();
  far->connection.pause_receiving();
  simulation.settle();
  near->send("never read");
  simulation.settle();
  far->connection.terminate();
  simulation.settle();
  ASSERT_TRUE(near->end);
  EXPECT_EQ(near->end->kind, ErrorKind::reset);
  EXPECT_TRUE(near->closed);
}

TEST_F(TcpConnectionTest, AResetIsFoundBySending) {
  connect();
  near->connection.pause_receiving();
  simulation.settle();
  far->connection.terminate();
  simulation.settle();
  EXPECT_FALSE(near->end);
  near->send("nobody takes it");
  simulation.settle();
  ASSERT_TRUE(near->end);
  EXPECT_EQ(near->end->kind, ErrorKind::reset);
  EXPECT_TRUE(near->closed);
}

// Whoever resets has said all that it had to say: a send that fails takes nothing of that away.
TEST_F(TcpConnectionTest, AResetThatASendFindsIsToldBehindWhatCameBeforeIt) {
  stall();
  near->connection.hear_out();
  near->connection.pause_receiving();
  simulation.settle();
  far->send(text(40'000));
  simulation.settle();
  far->connection.terminate();
  simulation.advance(1h);
  EXPECT_FALSE(near->end);
  EXPECT_FALSE(near->connection.send_in_flight());
  near->send("nobody takes it");
  simulation.settle();
  near->connection.receive();
  simulation.settle();
  EXPECT_EQ(near->received, text(40'000));
  ASSERT_TRUE(near->end);
  EXPECT_EQ(near->end->kind, ErrorKind::reset);
  EXPECT_TRUE(near->closed);
}

TEST_F(TcpConnectionTest, AResetThatASendFindsIsToldAtOnceWhereThePeerHadEnded) {
  stall();
  near->ends = true;
  near->connection.hear_out();
  far->send("all");
  far->connection.end_output();
  simulation.settle();
  EXPECT_EQ(near->received, "all");
  far->connection.terminate();
  simulation.settle();
  ASSERT_TRUE(near->end);
  EXPECT_EQ(near->end->kind, ErrorKind::reset);
  EXPECT_TRUE(near->closed);
}

TEST_F(TcpConnectionTest, AClosePutsUpWithAResetThatWasFound) {
  stall();
  near->connection.hear_out();
  near->connection.pause_receiving();
  simulation.settle();
  far->send("unheard");
  simulation.settle();
  far->connection.terminate();
  simulation.settle();
  near->connection.close();
  simulation.settle();
  EXPECT_TRUE(near->closed);
  EXPECT_FALSE(near->end);
}

TEST_F(TcpConnectionTest, AResetEndsACloseWithoutAWord) {
  stall();
  near->connection.close();
  simulation.settle();
  far->connection.terminate();
  simulation.settle();
  EXPECT_TRUE(near->closed);
  EXPECT_FALSE(near->end);
}

// --- Deadlines

TEST_F(TcpConnectionTest, ASendThatMakesNoProgressEndsTheConnection) {
  stall();
  simulation.advance(59s);
  EXPECT_FALSE(near->end);
  simulation.advance(2s);
  ASSERT_TRUE(near->end);
  EXPECT_EQ(near->end->kind, ErrorKind::timeout);
  EXPECT_TRUE(near->closed);
}

TEST_F(TcpConnectionTest, ASilentConnectionStaysOpen) {
  connect();
  near->send("a word");
  simulation.advance(1h);
  EXPECT_EQ(near->connection.state(), State::open);
}

TEST_F(TcpConnectionTest, EveryByteIsSentBeforeTheFinHoweverSlowlyItIsRead) {
  stall();
  near->connection.close();
  read_slowly(100);
  EXPECT_EQ(far->received, text(1'000'000));
  ASSERT_TRUE(far->end);
  EXPECT_EQ(far->end->kind, ErrorKind::closed);
  EXPECT_FALSE(near->end);
}

TEST_F(TcpConnectionTest, ACloseThatNobodyTakesEndsAfterTheStallTimeout) {
  stall();
  simulation.advance(30s);
  near->connection.close();  // the last words have all of the time
  simulation.advance(59s);
  EXPECT_FALSE(near->closed);
  simulation.advance(2s);
  EXPECT_TRUE(near->closed);
  EXPECT_FALSE(near->end);
}

TEST_F(TcpConnectionTest, ALingerEndsWhenThePeerAcknowledgesNothingMore) {
  connect();
  far->connection.pause_receiving();
  near->send(text(1'000'000));
  near->connection.close();
  simulation.settle();  // the kernel holds all of it
  EXPECT_EQ(near->connection.state(), State::lingering);
  read_slowly(20);
  EXPECT_EQ(near->connection.state(), State::lingering);
  simulation.advance(5s);
  EXPECT_TRUE(near->closed);
}

TEST_F(TcpConnectionTest, ACloseTakesWhatAPauseHasLeft) {
  connect();
  near->connection.pause_receiving();
  simulation.settle();
  far->send(text(100'000));
  near->send("the last word");
  near->connection.close();
  simulation.settle();
  EXPECT_EQ(far->received, "the last word");
  ASSERT_TRUE(far->end);
  EXPECT_EQ(far->end->kind, ErrorKind::closed);  // and no reset
  EXPECT_TRUE(near->closed);
  EXPECT_EQ(near->pieces, 0U);
  EXPECT_EQ(simulation.transport().counters().bytes_received, 100'000U);
}

// Input is read only so that what was sent is not lost by a reset.
TEST_F(TcpConnectionTest, WhoFloodsAfterTheLastWordIsNotReadForLong) {
  simulation.network().bound_receive_buffers(100'000);
  connect();
  far->connection.pause_receiving();
  simulation.settle();
  far->connection.receive_once();
  near->to_send = "the last word";
  near->then = [&] { near->connection.close(); };
  far->send(text(3'000'000));
  simulation.settle();
  EXPECT_EQ(near->pieces, 1U);
  EXPECT_EQ(far->received, "the last word");
  const std::uint64_t taken = simulation.transport().counters().bytes_received;
  EXPECT_GE(taken, 256U * 1024U);
  EXPECT_LE(taken, 300'000U);
  EXPECT_FALSE(near->closed);
  simulation.advance(5s);
  EXPECT_TRUE(near->closed);
}

// --- Connecting

class ConnectingTest : public TcpConnectionTest {
 protected:
  // To somebody who does not answer.
  void connect_in_vain() {
    simulation.network().swallow(address);
    near = std::make_unique<End>(simulation.transport());
    near->connection.connect(address);
    simulation.settle();
    ASSERT_EQ(near->connection.state(), State::connecting);
  }
};

TEST_F(ConnectingTest, ARefusalIsToldAsNotExecuted) {
  near = std::make_unique<End>(simulation.transport());
  near->connection.connect(*io::Address::parse("10.0.0.1:1"));
  simulation.settle();
  ASSERT_TRUE(near->end);
  EXPECT_EQ(near->end->kind, ErrorKind::refused);
  EXPECT_EQ(near->end->retry, Retry::not_executed);
  EXPECT_TRUE(near->closed);
  EXPECT_FALSE(near->connected);
}

TEST_F(ConnectingTest, NoAnswerIsToldAtTheDeadline) {
  connect_in_vain();
  simulation.advance(2900ms);
  EXPECT_FALSE(near->end);
  simulation.advance(200ms);
  ASSERT_TRUE(near->end);
  EXPECT_EQ(near->end->kind, ErrorKind::timeout);
  EXPECT_EQ(near->end->retry, Retry::not_executed);
  EXPECT_TRUE(near->closed);
}

TEST_F(ConnectingTest, ACloseEndsItWithoutAWord) {
  connect_in_vain();
  near->send("in vain");
  near->connection.close();
  simulation.settle();
  EXPECT_TRUE(near->closed);
  EXPECT_FALSE(near->end);
}

// --- Ending it

TEST_F(TcpConnectionTest, AFailureIsToldAtTheEndOfTheTurnAndOnce) {
  connect();
  near->connection.fail({ErrorKind::protocol, Side::self, Retry::never, "the first"});
  near->connection.fail({ErrorKind::protocol, Side::self, Retry::never, "the second"});
  near->connection.close();
  EXPECT_FALSE(near->end);
  simulation.settle();
  ASSERT_TRUE(near->end);
  EXPECT_EQ(near->end->context, "the first");
  EXPECT_TRUE(near->closed);
}

TEST_F(TcpConnectionTest, ACloseAfterAnErrorSaysWhatIsLeftAndTellsTheError) {
  stall();
  near->connection.close_after({ErrorKind::protocol, Side::self, Retry::never, "why"});
  simulation.settle();
  ASSERT_TRUE(near->end);
  EXPECT_EQ(near->end->context, "why");
  far->connection.receive();
  simulation.settle();
  EXPECT_EQ(far->received, text(1'000'000));
  ASSERT_TRUE(far->end);
  EXPECT_EQ(far->end->kind, ErrorKind::closed);
}

TEST_F(TcpConnectionTest, ACloseWithinTheLastFillIsFollowedByTheFin) {
  connect();
  near->at_fill = [&] { near->connection.close(); };
  near->send("the last word");
  simulation.settle();
  EXPECT_EQ(far->received, "the last word");
  ASSERT_TRUE(far->end);
  EXPECT_EQ(far->end->kind, ErrorKind::closed);
  EXPECT_TRUE(near->closed);
}

TEST_F(TcpConnectionTest, WhoHasClosedHearsOfNoFailure) {
  stall();
  near->connection.close();
  near->connection.fail({ErrorKind::protocol, Side::self, Retry::never, "too late"});
  simulation.settle();
  EXPECT_TRUE(near->closed);
  EXPECT_FALSE(near->end);
}

TEST_F(TcpConnectionTest, AMistakeOfOursCostsOneConnection) {
  connect();
  near->connection.terminate_by_mistake("one", "another");
  simulation.settle();
  EXPECT_TRUE(near->closed);
  EXPECT_FALSE(near->end);
}

// From each state that has one: the end comes at once, without a word.
class TerminateTest : public ConnectingTest {
 protected:
  void terminate_in(State state) {
    ASSERT_EQ(near->connection.state(), state);
    near->connection.terminate();
    EXPECT_EQ(near->connection.state(), State::terminating);
    EXPECT_FALSE(near->closed);
    near->connection.close();
    near->connection.terminate();
    simulation.settle();
    EXPECT_TRUE(near->closed);
    EXPECT_FALSE(near->end);
    EXPECT_EQ(near->connection.state(), State::closed);
    EXPECT_EQ(near->connection.descriptor(), -1);
    near->connection.terminate();
    simulation.settle();
  }
};

TEST_F(TerminateTest, Connecting) {
  connect_in_vain();
  terminate_in(State::connecting);
}

TEST_F(TerminateTest, Open) {
  connect();
  terminate_in(State::open);
}

TEST_F(TerminateTest, OpenAndDirty) {
  connect();
  near->send("never said");
  terminate_in(State::open);
  EXPECT_EQ(near->filled, 0U);
}

TEST_F(TerminateTest, Paused) {
  connect();
  near->connection.pause_receiving();
  simulation.settle();
  terminate_in(State::open);
}

TEST_F(TerminateTest, AtTheBeginningOfAPause) {
  connect();
  near->connection.pause_receiving();
  terminate_in(State::open);
}

TEST_F(TerminateTest, Sending) {
  stall();
  terminate_in(State::open);
}

TEST_F(TerminateTest, Closing) {
  stall();
  near->connection.close();
  simulation.settle();
  terminate_in(State::closing);
}

TEST_F(TerminateTest, Lingering) {
  connect();
  near->connection.close();
  far->connection.pause_receiving();
  simulation.settle();
  terminate_in(State::lingering);
}

TEST_F(TerminateTest, WithinAFill) {
  connect();
  near->at_fill = [&] { near->connection.terminate(); };
  near->send("never said");
  simulation.settle();
  EXPECT_TRUE(near->closed);
  EXPECT_FALSE(near->end);
  EXPECT_EQ(far->received, "");
}

// The last call is where the owner may go.
class Passing final : public TcpHandler {
 public:
  Passing(Transport& transport, int descriptor, std::unique_ptr<Passing>& self)
      : connection(transport, *this), self_(self) {
    connection.accept(descriptor);
  }
  void on_receive(Bytes) override {}
  Fill on_fill(MutableBytes) override { return {}; }
  void on_end(const Error&) override {}
  void on_closed() override { self_.reset(); }
  TcpConnection connection;

 private:
  std::unique_ptr<Passing>& self_;
};

TEST_F(TcpConnectionTest, ItsOwnerMayDestroyItWhenItIsClosed) {
  const int descriptor = io::open_stream(0).value();
  simulation.network().connect(descriptor, address);
  std::unique_ptr<Passing> passing;
  passing = std::make_unique<Passing>(simulation.transport(), io::accept_now(listener), passing);
  passing->connection.terminate();
  EXPECT_NE(passing, nullptr);
  simulation.settle();
  EXPECT_EQ(passing, nullptr);
  io::close_socket(descriptor);
}

TEST_F(TcpConnectionTest, AResetBehindTheEndOfStreamIsFoundByWhoWatches) {
  connect();
  near->ends = true;
  near->connection.hear_out();
  near->connection.watch_peer();
  far->connection.pause_receiving();
  far->connection.end_output();
  simulation.settle();
  near->send("what nobody reads");
  simulation.advance(10min);
  EXPECT_FALSE(near->end);
  far->connection.terminate();
  simulation.advance(3min);
  EXPECT_TRUE(near->end);
}

}  // namespace
}  // namespace sluice::net
