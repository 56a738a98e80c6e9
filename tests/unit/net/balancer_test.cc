// SPDX-License-Identifier: GPL-3.0-or-later
// Connections behind balancers, on the simulated ring: whose header is believed, when it must be
// there, and that nothing behind it is lost.
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "balancer_fixture.h"
#include "mistake.h"
#include "proxy_header.h"
#include "sluice/tls/client_hello.h"

namespace sluice::net {
namespace {

using namespace std::chrono_literals;

TEST_F(BalancerTest, TheHeadersSourceIsWhoCallsAndTlsFollows) {
  for (const auto& [header, source] : std::vector<std::pair<std::string, std::string_view>>{
           {std::string(test::ipv4_line), "192.0.2.7:56324"},
           {test::ipv4_block().text(), "192.0.2.7:56324"},
           {test::ipv4_block().text_with_checksum(), "192.0.2.7:56324"},
           {test::ipv6_block().text(), "[2001:db8::7]:56324"}}) {
    Pair& pair = connect();
    const io::Address balancer = pair.server->connection.peer();
    pair.caller->send(header);
    simulation.settle();
    EXPECT_EQ(pair.server->connection.peer().to_string(), source);
    EXPECT_FALSE(pair.server->connection.health_check());
    pair.caller->begin_tls(contexts.client);
    simulation.settle();
    EXPECT_TRUE(pair.server->established);
    EXPECT_TRUE(pair.caller->established());
    pair.caller->say("hello");
    simulation.settle();
    EXPECT_EQ(pair.server->received, "hello");
    EXPECT_EQ(pair.server->connection.peer().to_string(), source);
    const std::string described = pair.server->connection.describe();
    EXPECT_TRUE(described.contains("peer=" + balancer.to_string())) << described;
    EXPECT_TRUE(described.contains(" client=" + std::string(source))) << described;
  }
  EXPECT_EQ(failed(), 0U);
}

TEST_F(BalancerTest, TheNameInTheHeaderGoesBeforeThatOfTheHello) {
  test::ProxyBlock named = test::ipv4_block();
  named.values = test::proxy_value(2, "One.Example");
  test::ProxyBlock empty = test::ipv4_block();
  empty.values = test::proxy_value(2, "");
  for (const std::string& header :
       {named.text(), empty.text(), std::string(test::ipv4_line), test::local_block().text()}) {
    Pair& pair = connect();
    pair.caller->send(header);
    pair.caller->begin_tls(contexts.client);
    simulation.settle();
    EXPECT_TRUE(pair.server->established);
  }
  ASSERT_EQ(asked_for.size(), 4U);
  EXPECT_EQ(asked_for[0], "One.Example");
  EXPECT_EQ(asked_for[1], asked_for[2]);
  EXPECT_EQ(asked_for[2], asked_for[3]);
  EXPECT_EQ(asked_for[1], pairs[1].server->connection.server_name());
  EXPECT_NE(asked_for[1], "");
}

TEST_F(BalancerTest, WhatComesInOneSegmentWithTheHeaderIsNotLost) {
  for (const std::string& header : {std::string(test::ipv4_line), test::ipv6_block().text(),
                                    std::string(test::unknown_line), test::local_block().text()}) {
    Pair& pair = connect();
    pair.caller->send(header);
    pair.caller->begin_tls(contexts.client);
    simulation.settle();
    EXPECT_TRUE(pair.server->established);
    pair.caller->say("hello");
    simulation.settle();
    EXPECT_EQ(pair.server->received, "hello");
  }
  EXPECT_EQ(failed(), 0U);
}

TEST_F(BalancerTest, TheHeaderMayComeInAnyPieces) {
  test::ProxyBlock padded = test::ipv4_block();
  padded.values = test::proxy_value(4, std::string(2000, '\0'));
  for (const std::size_t piece : {1U, 2U, 3U, 7U, 16U, 17U, 50U, 107U}) {
    simulation.network().receive_in_pieces(piece);
    for (const std::string& header :
         {std::string(test::ipv4_line), test::ipv6_block().text(), padded.text_with_checksum(),
          std::string(test::unknown_line)}) {
      Pair& pair = connect();
      pair.caller->send(header);
      pair.caller->begin_tls(contexts.client);
      simulation.settle();
      EXPECT_TRUE(pair.server->established) << piece;
    }
  }
}

TEST_F(BalancerTest, AHeaderThatNamesNobodyLeavesTheConnectionItsOwnAddress) {
  for (const std::string& header : {std::string(test::unknown_line), test::local_block().text()}) {
    Pair& pair = connect();
    const std::string before = pair.server->connection.peer().to_string();
    pair.caller->send(header);
    simulation.settle();
    EXPECT_TRUE(pair.server->connection.health_check());
    pair.caller->begin_tls(contexts.client);
    simulation.settle();
    EXPECT_TRUE(pair.server->established);
    EXPECT_FALSE(pair.server->connection.health_check());
    EXPECT_EQ(pair.server->connection.peer().to_string(), before);
  }
}

// --- what is refused ---------------------------------------------------------------------------

TEST_F(BalancerTest, WhatIsNoHeaderEndsTheConnectionWithoutAWord) {
  for (const std::string& text :
       {std::string("GET /healthz HTTP/1.1\r\n\r\n"), std::string("\x16\x03\x01\x02\x00\x01"),
        std::string("PROXY TCP4 192.0.2.7 198.51.100.1 056324 443\r\n"),
        test::ProxyBlock{.length = 2049}.text()}) {
    Pair& pair = connect();
    pair.caller->send(text);
    simulation.settle();
    EXPECT_TRUE(pair.server->closed);
    EXPECT_TRUE(pair.caller->ended);
    EXPECT_EQ(pair.caller->received, "");
    EXPECT_TRUE(pair.server->connection.proxy_header_refused());
    ASSERT_TRUE(pair.server->end);
    EXPECT_EQ(pair.server->end->kind, ErrorKind::protocol);
    EXPECT_TRUE(pair.server->end->context.starts_with("no PROXY header: "));
  }
  // No TLS handshake was begun.
  EXPECT_EQ(failed(), 0U);
}

TEST_F(BalancerTest, ATlsClientInANetworkOfBalancersIsNotServedWithoutAHeader) {
  Pair& pair = connect();
  pair.caller->begin_tls(contexts.client);
  simulation.settle();
  EXPECT_TRUE(pair.server->closed);
  EXPECT_FALSE(pair.server->established);
  EXPECT_TRUE(pair.server->connection.proxy_header_refused());
}

TEST_F(BalancerTest, AHeaderThatIsNotWholeAfterTwoSecondsIsNotWaitedFor) {
  const std::string line(test::ipv4_line);
  for (const std::string& part :
       {std::string(), line.substr(0, line.size() - 1), test::ipv4_block().text().substr(0, 27)}) {
    Pair& pair = connect();
    pair.caller->send(part);
    simulation.advance(1900ms);
    EXPECT_FALSE(pair.server->closed);
    simulation.advance(200ms);
    EXPECT_TRUE(pair.server->closed);
    EXPECT_TRUE(pair.server->connection.proxy_header_refused());
    ASSERT_TRUE(pair.server->end);
    EXPECT_EQ(pair.server->end->kind, ErrorKind::timeout);
    EXPECT_EQ(pair.server->end->context, "no whole PROXY header in time");
  }
  EXPECT_EQ(failed(), 0U);
}

// However often something comes.
TEST_F(BalancerTest, AByteNowAndThenDoesNotMoveTheDeadline) {
  Pair& pair = connect();
  for (int i = 0; i < 30; ++i) {
    pair.caller->send(test::ipv4_line.substr(static_cast<std::size_t>(i), 1));
    simulation.advance(100ms);
  }
  EXPECT_TRUE(pair.server->closed);
  EXPECT_TRUE(pair.server->connection.proxy_header_refused());
}

TEST_F(BalancerTest, TheHandshakesTimeIsCountedFromTheBeginningAsWithoutAHeader) {
  Pair& pair = connect();
  simulation.advance(1900ms);
  pair.caller->send(test::ipv4_line);
  simulation.advance(8s);
  EXPECT_FALSE(pair.server->closed);
  simulation.advance(200ms);
  EXPECT_TRUE(pair.server->closed);
  EXPECT_FALSE(pair.server->connection.proxy_header_refused());
  ASSERT_TRUE(pair.server->end);
  EXPECT_EQ(pair.server->end->context, "no TLS handshake with 192.0.2.7:56324 in time");
  EXPECT_EQ(failed(), 1U);
}

TEST_F(BalancerTest, AnEndWithinTheHeaderIsARefusalAndOneBeforeItIsNone) {
  for (const std::string_view part : {std::string_view(), test::ipv4_line.substr(0, 20)}) {
    Pair& pair = connect();
    pair.caller->send(part);
    simulation.settle();
    pair.caller->leave();
    simulation.settle();
    EXPECT_TRUE(pair.server->closed);
    EXPECT_EQ(pair.server->connection.proxy_header_refused(), !part.empty());
    ASSERT_TRUE(pair.server->end);
    EXPECT_EQ(pair.server->end->kind, ErrorKind::closed);
  }
  EXPECT_EQ(failed(), 0U);
}

// --- whom nothing is believed --------------------------------------------------------------------

TEST_F(BalancerTest, AHeaderFromAnybodyElseIsNoTlsAndNotBelieved) {
  for (const std::vector<io::Network>& networks :
       {std::vector<io::Network>{},
        {io::Network::parse("192.0.2.0/24").value(), io::Network::parse("::/0").value()}}) {
    balancers = networks;
    for (const std::string& header :
         {std::string(test::ipv4_line), test::ipv4_block().text(), test::local_block().text()}) {
      Pair& pair = connect();
      const std::string before = pair.server->connection.peer().to_string();
      const std::uint64_t failures = failed();
      pair.caller->send(header);
      pair.caller->begin_tls(contexts.client);
      simulation.settle();
      EXPECT_TRUE(pair.server->closed);
      EXPECT_FALSE(pair.server->established);
      EXPECT_FALSE(pair.server->connection.proxy_header_refused());
      EXPECT_EQ(pair.server->connection.peer().to_string(), before);
      ASSERT_TRUE(pair.server->end);
      EXPECT_EQ(pair.server->end->kind, ErrorKind::tls);
      EXPECT_EQ(pair.server->end->context, "a PROXY header that nobody has asked for");
      EXPECT_EQ(failed(), failures + 1);
    }
    Pair& direct = connect();
    direct.caller->begin_tls(contexts.client);
    simulation.settle();
    EXPECT_TRUE(direct.server->established);
  }
}

TEST_F(BalancerTest, ASecondHeaderIsTheClientsAndNotBelieved) {
  Pair& pair = connect();
  pair.caller->send(test::ipv4_line);
  pair.caller->send(test::ipv6_block().text());
  pair.caller->begin_tls(contexts.client);
  simulation.settle();
  EXPECT_TRUE(pair.server->closed);
  EXPECT_EQ(pair.server->connection.peer().to_string(), "192.0.2.7:56324");
  ASSERT_TRUE(pair.server->end);
  EXPECT_EQ(pair.server->end->kind, ErrorKind::tls);
}

TEST_F(BalancerTest, WhoSpeaksHttpBehindAHeaderIsToldSo) {
  Pair& pair = connect();
  pair.caller->send(std::string(test::unknown_line) + "GET / HTTP/1.1\r\n\r\n");
  simulation.settle();
  EXPECT_EQ(pair.caller->received, tls::plain_http_answer);
  EXPECT_FALSE(pair.server->connection.health_check());
  EXPECT_EQ(failed(), 1U);
}

// --- health checks -------------------------------------------------------------------------------

TEST_F(BalancerTest, AnEndBehindAHeaderThatNamesNobodyIsNoFailedHandshake) {
  test::ProxyBlock other;  // of a protocol that is none of ours
  other.family_and_protocol = 0x31;
  other.addresses = std::string(216, '\0');
  for (const std::string& header :
       {std::string(test::unknown_line), test::local_block().text(), other.text(),
        test::ProxyBlock{.family_and_protocol = 0}.text()}) {
    Pair& pair = connect();
    pair.caller->send(header);
    simulation.settle();
    EXPECT_FALSE(pair.server->closed);
    pair.caller->leave();
    simulation.settle();
    EXPECT_TRUE(pair.server->closed);
    EXPECT_TRUE(pair.server->connection.health_check());
    ASSERT_TRUE(pair.server->end);
    EXPECT_EQ(pair.server->end->kind, ErrorKind::closed);
    // One that stays is not kept for longer than a handshake may take.
    Pair& lasting = connect();
    lasting.caller->send(header);
    simulation.advance(9s);
    EXPECT_FALSE(lasting.server->closed);
    simulation.advance(2s);
    EXPECT_TRUE(lasting.server->closed);
    EXPECT_TRUE(lasting.server->connection.health_check());
  }
  EXPECT_EQ(failed(), 0U);
}

TEST_F(BalancerTest, AClientThatWasNamedAndLeavesHasFailedItsHandshake) {
  Pair& pair = connect();
  pair.caller->send(test::ipv4_line);
  simulation.settle();
  pair.caller->leave();
  simulation.settle();
  EXPECT_TRUE(pair.server->closed);
  EXPECT_FALSE(pair.server->connection.health_check());
  EXPECT_EQ(failed(), 1U);
}

TEST_F(BalancerTest, OurOwnStopNeitherWaitsForAHeaderNorForWhatFollows) {
  for (const std::string_view text : {std::string_view(), test::unknown_line, test::ipv4_line}) {
    Pair& pair = connect();
    pair.caller->send(text);
    simulation.settle();
    pair.server->connection.close();
    simulation.settle();
    EXPECT_TRUE(pair.server->closed);
    EXPECT_FALSE(pair.server->end);
  }
}

// --- mistakes of ours ----------------------------------------------------------------------------

TEST_F(BalancerTest, AMistakeOfOursCostsThatConnectionAlone) {
  Pair& other = connect();
  other.caller->send(test::ipv4_line);
  other.caller->begin_tls(contexts.client);
  simulation.settle();
  ASSERT_TRUE(other.server->established);
  // By their positions: opening, proxy header, unnamed, refused.
  for (const unsigned into : {0U, 5U, 6U, 7U}) {
    SCOPED_TRACE(into);
    test::Mistake mistake("TLS", 1U << into);
    Pair& lost = connect();
    lost.caller->send(into == 0 ? test::ipv4_line : into == 7 ? "nonsense" : test::unknown_line);
    simulation.settle();
    EXPECT_TRUE(mistake.made());
    EXPECT_TRUE(lost.server->closed);
    EXPECT_TRUE(mistake.log_text().contains("is ended by a mistake of this program"));
  }
  pairs.front().caller->say("still here");
  simulation.settle();
  EXPECT_EQ(pairs.front().server->received, "still here");
}

}  // namespace
}  // namespace sluice::net
