// SPDX-License-Identifier: GPL-3.0-or-later
// TLS connections over loopback: that every byte arrives, how they end, and what hostile peers get.
#include "sluice/net/connection.h"

#include "pair.h"

namespace sluice::net {
namespace {

using ConnectionTest = NetTest;

TEST_F(ConnectionTest, CarriesBytesBothWays) {
  establish();
  client->send("from the client");
  server->send("from the server");
  EXPECT_TRUE(until([&] {
    return server->received == "from the client" && client->received == "from the server";
  }));
  EXPECT_EQ(client->connection.engine()->alpn(), "h2");
  EXPECT_EQ(server->connection.server_name(), "localhost");
}

TEST_F(ConnectionTest, WhoAsksForANameThatNobodyHasIsToldSoByAnAlert) {
  contexts.server = nullptr;
  connect("nobody.example");
  EXPECT_TRUE(until([&] { return client->closed && server->closed; }));
  ASSERT_TRUE(client->end);
  EXPECT_EQ(client->end->context, "the peer sent the TLS alert unrecognized_name (112)");
  ASSERT_TRUE(server->end);
  EXPECT_EQ(server->end->kind, ErrorKind::tls);
  EXPECT_EQ(server->connection.engine(), nullptr);
  EXPECT_EQ(transport->counters().handshakes_failed, 2U);
}

TEST_F(ConnectionTest, CarriesMoreThanAnyBufferHolds) {
  establish();
  std::string large(5'000'000, 'x');
  for (std::size_t i = 0; i < large.size(); i += 1000)
    large[i] = static_cast<char>('a' + i / 1000 % 26);
  server->send(large);
  EXPECT_TRUE(until([&] { return client->received.size() >= large.size(); }));
  EXPECT_EQ(client->received, large);
}

TEST_F(ConnectionTest, AnOrderlyCloseLosesNothingThoughInputIsUnread) {
  establish();
  const std::string last(3'000'000, 'l');
  client->send("never looked at");
  server->send(last);
  server->connection.close();
  EXPECT_TRUE(until([&] { return server->closed && client->closed; }));
  EXPECT_EQ(client->received, last);
  ASSERT_TRUE(client->end);
  EXPECT_EQ(client->end->kind, ErrorKind::closed);
  EXPECT_FALSE(server->end);  // who closes is not told that it ended
}

TEST_F(ConnectionTest, ThePeersEndIsReportedOnceAndEndsTheConnection) {
  establish();
  client->connection.close();
  EXPECT_TRUE(until([&] { return server->closed; }));
  ASSERT_TRUE(server->end);
  EXPECT_EQ(server->end->kind, ErrorKind::closed);
}

TEST_F(ConnectionTest, TerminateEndsAtOnceWithoutAReport) {
  establish();
  server->send(std::string(5'000'000, 'x'));
  until([&] { return server->connection.send_in_flight(); });
  server->connection.terminate();
  EXPECT_TRUE(until([&] { return server->closed; }));
  EXPECT_FALSE(server->end);
}

TEST_F(ConnectionTest, ARefusedConnectIsReportedAsNotExecuted) {
  io::close_socket(listener);  // the port is free from here on
  client = std::make_unique<Recorder>(*transport);
  client->connection.connect(address, contexts.client, "localhost");
  EXPECT_TRUE(until([&] { return client->closed; }));
  ASSERT_TRUE(client->end);
  EXPECT_EQ(client->end->kind, ErrorKind::refused);
  EXPECT_EQ(client->end->retry, Retry::not_executed);
  listener = io::listen_on(*io::Address::parse("127.0.0.1:0"), {}).value();
}

class WrongServerTest : public NetTest {
 protected:
  void expect_that_nothing_is_said_to(std::string_view name) {
    connect(name);
    client->send("secret");
    EXPECT_TRUE(until([&] { return client->closed && server->closed; }));
    EXPECT_FALSE(client->established);
    EXPECT_EQ(server->received, "");
    ASSERT_TRUE(client->end);
    EXPECT_EQ(client->end->kind, ErrorKind::tls);
  }
};

TEST_F(WrongServerTest, OneOfAnotherNameIsNotTalkedTo) {
  expect_that_nothing_is_said_to("other.example");
}

TEST_F(WrongServerTest, OneOfAnotherAuthorityIsNotTalkedTo) {
  contexts.client = client_that_trusts(test::make_ca("other-ca"));
  expect_that_nothing_is_said_to("localhost");
}

// A peer of raw bytes.
class RawPeer {
 public:
  RawPeer(io::Reactor& reactor, const io::Address& address)
      : reactor_(reactor),
        descriptor_(io::open_stream(address.family()).value()),
        connect_(this,
                 [](void* self, const io::Completion&) {
                   static_cast<RawPeer*>(self)->connected = true;
                 }),
        send_(this, [](void*, const io::Completion&) {}) {
    reactor_.ring().connect(connect_, descriptor_, address);
  }
  ~RawPeer() { io::close_socket(descriptor_); }
  void send(std::string_view bytes) { reactor_.ring().send(send_, descriptor_, as_bytes(bytes)); }
  bool idle() const { return !connect_.in_flight() && !send_.in_flight(); }
  bool connected = false;

 private:
  io::Reactor& reactor_;
  int descriptor_;
  io::Operation connect_;
  io::Operation send_;
};

TEST_F(ConnectionTest, GarbageInsteadOfAClientHelloEndsTheConnection) {
  server = std::make_unique<Recorder>(*transport);
  RawPeer peer(*reactor, address);
  accept();
  ASSERT_TRUE(until([&] { return peer.connected; }));
  peer.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_TRUE(until([&] { return server->closed && peer.idle(); }));
  ASSERT_TRUE(server->end);
  EXPECT_EQ(server->end->kind, ErrorKind::tls);
}

TEST_F(ConnectionTest, ASilentPeerLosesItsConnectionAfterTheHandshakeTimeout) {
  server = std::make_unique<Recorder>(*transport);
  RawPeer peer(*reactor, address);
  accept();
  EXPECT_TRUE(until([&] { return server->closed && peer.idle(); }));
  ASSERT_TRUE(server->end);
  EXPECT_EQ(server->end->kind, ErrorKind::timeout);
}

TEST_F(ConnectionTest, AnUnknownServerNameIsRefused) {
  client = std::make_unique<Recorder>(*transport);
  server = std::make_unique<Recorder>(*transport);
  client->connection.connect(address, contexts.client, "localhost");
  int descriptor = -1;
  ASSERT_TRUE(until([&] { return (descriptor = io::accept_now(listener)) >= 0; }));
  server->connection.accept(descriptor, [](std::string_view) { return nullptr; });
  EXPECT_TRUE(until([&] { return server->closed && client->closed; }));
  EXPECT_FALSE(client->established);
}

}  // namespace
}  // namespace sluice::net
