// SPDX-License-Identifier: GPL-3.0-or-later
// Connections on the simulated ring whose directions end one after the other, and peers that may
// take their time.
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "contexts.h"
#include "recorder.h"
#include "simulation.h"
#include "sluice/io/socket.h"

namespace sluice::net {
namespace {

using namespace std::chrono_literals;
using test::Simulation;

// Goes on when its peer has ended.
class HalfOpen final : public ConnectionHandler {
 public:
  explicit HalfOpen(Transport& transport) : connection(transport, *this) {}

  void on_established() override {}
  void on_receive(Bytes plain) override { received += as_text(plain); }
  std::size_t on_collect(MutableBytes batch) override {
    const std::size_t n = std::min(batch.size(), to_send.size());
    std::copy_n(to_send.data(), n, batch.begin());
    to_send.erase(0, n);
    if (to_send.empty() && ends) connection.end_output(*ends);
    return n;
  }
  bool on_peer_ended(bool in_order) override {
    EXPECT_FALSE(peer_end.has_value());
    peer_end = in_order;
    return true;
  }
  void on_end(const Error& error) override { end = error; }
  bool still_watched(bool) override { return watches_on; }
  void on_closed() override { closed = true; }

  void send(std::string_view text) {
    to_send += text;
    connection.mark_dirty();
  }
  void end_output(bool in_order) {
    ends = in_order;
    connection.mark_dirty();
  }

  bool watches_on = true;
  Connection connection;
  std::string received;
  std::string to_send;
  std::optional<bool> ends;
  std::optional<bool> peer_end;
  std::optional<Error> end;
  bool closed = false;
};

class HalfCloseTest : public testing::Test {
 protected:
  HalfCloseTest() {
    listener = io::listen_on(address, {}).value();
    near.connection.connect(address, contexts.client, "localhost");
    int descriptor = -1;
    while ((descriptor = io::accept_now(listener)) < 0) simulation.reactor().turn(false);
    far.connection.accept(descriptor, [this](std::string_view) { return contexts.server; });
    simulation.settle();
    EXPECT_TRUE(near.connection.established() && far.connection.established());
  }
  ~HalfCloseTest() override {
    for (HalfOpen* end : {&near, &far}) {
      if (!end->closed) end->connection.terminate();
    }
    simulation.settle();
    io::close_socket(listener);
  }

  Simulation simulation;
  Contexts contexts = make_contexts();
  io::Address address = *io::Address::parse("10.0.0.1:6443");
  int listener = -1;
  HalfOpen near{simulation.transport()};
  HalfOpen far{simulation.transport()};
};

TEST_F(HalfCloseTest, OneDirectionEndsAndTheOtherGoesOn) {
  near.send("last");
  near.end_output(true);
  simulation.settle();
  EXPECT_EQ(far.received, "last");
  EXPECT_EQ(far.peer_end, true);
  for (int i = 0; i < 5; ++i) {
    far.send("words ");
    simulation.advance(10min);
  }
  EXPECT_EQ(near.received, "words words words words words ");
  far.end_output(true);
  simulation.settle();
  EXPECT_EQ(near.peer_end, true);
  EXPECT_FALSE(near.end || far.end);
  near.connection.close();
  far.connection.close();
  simulation.settle();
  EXPECT_TRUE(near.closed && far.closed);
  EXPECT_EQ(simulation.network().resets(), 0U);
}

TEST_F(HalfCloseTest, AnEndWithoutACloseNotifyIsToldApart) {
  far.send("last");
  far.end_output(false);
  simulation.settle();
  EXPECT_EQ(near.received, "last");
  EXPECT_EQ(near.peer_end, false);
  near.send("words");
  simulation.settle();
  EXPECT_EQ(far.received, "words");
}

TEST_F(HalfCloseTest, WhatIsLeftIsSentBeforeTheEndHoweverSmallThePieces) {
  simulation.network().send_in_pieces(1000);
  simulation.network().receive_in_pieces(700);
  const std::string text(300'000, 'x');
  near.send(text);
  near.end_output(true);
  simulation.settle();
  EXPECT_EQ(far.received.size(), text.size());
  EXPECT_EQ(far.peer_end, true);
}

TEST_F(HalfCloseTest, NothingMayComeBehindACloseNotify) {
  near.end_output(true);
  simulation.settle();
  EXPECT_EQ(far.peer_end, true);
  near.connection.close();
  simulation.settle();
  EXPECT_FALSE(far.end.has_value());
  far.connection.close();
  simulation.settle();
  EXPECT_TRUE(far.closed && near.closed);
}

// The peer's window is closed for days; acknowledgements of probes come all the while.
TEST_F(HalfCloseTest, AWatchedPeerMayTakeItsTime) {
  near.connection.watch_peer();
  simulation.network().bound_receive_buffers(10'000);
  far.connection.pause_receiving();
  near.send(std::string(1'000'000, 'x'));
  simulation.advance(48h);
  EXPECT_FALSE(near.end.has_value());
  EXPECT_TRUE(near.connection.send_in_flight());
  far.connection.resume_receiving();
  simulation.settle();
  EXPECT_EQ(far.received.size(), 1'000'000U);
}

TEST_F(HalfCloseTest, OneThatIsNotWatchedMayNot) {
  simulation.network().bound_receive_buffers(10'000);
  far.connection.pause_receiving();
  near.send(std::string(1'000'000, 'x'));
  simulation.advance(61s);
  ASSERT_TRUE(near.end.has_value());
  EXPECT_EQ(near.end->kind, ErrorKind::timeout);
}

// What it did not take while it was watched has its time from then on.
TEST_F(HalfCloseTest, OneThatIsNotWatchedAnyMoreMayNot) {
  simulation.network().bound_receive_buffers(10'000);
  far.connection.pause_receiving();
  near.connection.watch_peer(90s);
  near.send(std::string(1'000'000, 'x'));
  simulation.advance(10min);
  EXPECT_FALSE(near.end.has_value());
  near.watches_on = false;
  simulation.advance(59s);
  EXPECT_FALSE(near.end.has_value());
  simulation.advance(27s);
  ASSERT_TRUE(near.end.has_value());
  EXPECT_EQ(near.end->kind, ErrorKind::timeout);
  EXPECT_FALSE(near.connection.peer_vanished());
}

TEST_F(HalfCloseTest, AWatchedPeerThatVanishesIsGoneAfterAMinute) {
  for (HalfOpen* watcher : {&near, &far}) watcher->connection.watch_peer();
  simulation.advance(1h);
  simulation.network().vanish(address);
  simulation.advance(59s);
  EXPECT_FALSE(near.end || far.end);
  // With something to say now and then, too.
  for (int i = 0; i < 14; ++i) {
    far.send("x");
    simulation.advance(5s);
  }
  ASSERT_TRUE(near.end.has_value());
  ASSERT_TRUE(far.end.has_value());
  EXPECT_EQ(near.end->kind, ErrorKind::timeout);
  EXPECT_EQ(far.end->kind, ErrorKind::timeout);
  EXPECT_TRUE(near.connection.peer_vanished());
}

}  // namespace
}  // namespace sluice::net
