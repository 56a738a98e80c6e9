// SPDX-License-Identifier: GPL-3.0-or-later
// Upgrades (exec, attach, port-forward) between real sockets: who travels how, what goes through a
// tunnel and what never does, and how tunnels end.
#include <fmt/format.h>

#include <algorithm>

#include "harness.h"
#include "http1_client.h"

namespace sluice::test {
namespace {

constexpr std::string_view exec_path = "/api/v1/namespaces/default/pods/p/exec";

class TunnelTest : public IntegrationTest {
 protected:
  std::unique_ptr<Http1> connect_http1(const Certificate* certificate = nullptr) {
    auto client = std::make_unique<Http1>(sluice->address(), certificate);
    EXPECT_TRUE(client->raw().established());
    return client;
  }
  static std::string ask(std::string_view sim, std::string_view fields = "",
                         std::string_view protocol = "SPDY/3.1") {
    return fmt::format(
        "POST {}?command=sh&sim={} HTTP/1.1\r\nHost: kubernetes\r\nConnection: Upgrade\r\n"
        "Upgrade: {}\r\n{}\r\n",
        exec_path, sim, protocol, fields);
  }
  // A tunnel that is open.
  std::unique_ptr<Http1> open(std::string_view sim, const Certificate* certificate = nullptr,
                              std::string_view fields = "") {
    auto client =
        connect_http1(certificate == nullptr && fields.empty() ? &credentials.alice : certificate);
    client->raw().go_on_behind_close_notify();
    EXPECT_TRUE(client->send(ask(sim, fields)));
    const Reply reply = client->read_head_only();
    EXPECT_EQ(reply.status, 101);
    return client;
  }
  static bool receives(Http1& client, std::string_view text) {
    return client.raw().read_until([&] { return client.rest() == text; }, patience);
  }
  std::uint64_t tunnels(const std::string& what) { return apisim->total({"tunnels", what}); }
  bool comes_to(const std::string& what, std::uint64_t count) {
    return eventually([&] { return tunnels(what) == count; });
  }
};

// --- what goes through -----------------------------------------------------------------------

TEST_F(TunnelTest, BytesGoBothWaysAndEachEndIsPassedOn) {
  start();
  for (const std::string protocol : {"SPDY/3.1", "websocket", "foo"}) {
    const auto client = connect_http1(&credentials.alice);
    EXPECT_TRUE(client->send(ask("echo", "", protocol)));
    const Reply reply = client->read_head_only();
    EXPECT_EQ(reply.status, 101);
    EXPECT_EQ(reply.field("upgrade"), protocol);
    EXPECT_EQ(reply.field("connection"), "Upgrade");
    EXPECT_EQ(reply.field("x-stream-protocol-version"), "v4.channel.k8s.io");
    client->send("hello");
    EXPECT_TRUE(receives(*client, "hello")) << client->rest();
    client->send(" world\0\xff\r\n\r\nGET / HTTP/1.1\r\n\r\n");
    EXPECT_TRUE(receives(*client, "hello world\0\xff\r\n\r\nGET / HTTP/1.1\r\n\r\n"));
    client->raw().end_output();
    EXPECT_TRUE(client->ends());
    EXPECT_EQ(client->raw().end(), RawClient::End::close_notify);
  }
  EXPECT_TRUE(comes_to("ended", 3));
  EXPECT_EQ(tunnels("open"), 0U);
  EXPECT_EQ(tunnels("early"), 0U);
}

TEST_F(TunnelTest, EndsInTheOrderInWhichTheyAreMade) {
  start();
  const auto first = open("hello");
  EXPECT_TRUE(receives(*first, "hello"));
  EXPECT_TRUE(first->raw().wait_end());
  EXPECT_EQ(first->raw().end(), RawClient::End::close_notify);
  // The other direction goes on.
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(first->send(std::string(10'000, 'x')));
  EXPECT_TRUE(comes_to("bytes", 30'000));
  EXPECT_EQ(tunnels("ended"), 0U);
  first->raw().end_output();
  EXPECT_TRUE(comes_to("ended", 1));

  const auto second = open("sink");
  EXPECT_TRUE(second->send(std::string(1'234'567, 'x')));
  second->raw().end_output();
  EXPECT_TRUE(receives(*second, "1234567"));
  EXPECT_TRUE(second->raw().wait_end());
  EXPECT_EQ(second->raw().end(), RawClient::End::close_notify);
  EXPECT_TRUE(comes_to("ended", 2));
}

TEST_F(TunnelTest, AnEndThatNobodyHasSaidIsPassedOnAsSuch) {
  start();
  const auto client = open("cut");
  client->send("some words");
  EXPECT_TRUE(client->ends());
  EXPECT_EQ(client->rest(), "some words");
  EXPECT_EQ(client->raw().end(), RawClient::End::fin);
  const auto other = open("sink");
  other->send("words");
  other->raw().end_output(false);
  EXPECT_TRUE(receives(*other, "5"));
}

TEST_F(TunnelTest, MuchGoesBothWaysAtOnce) {
  start();
  const auto client = open("echo");
  std::string text;
  for (int i = 0; text.size() < 20'000'000; ++i) text += std::to_string(i) + ' ';
  EXPECT_TRUE(client->raw().send(text, 60s));
  client->raw().end_output();
  EXPECT_TRUE(client->raw().wait_end(60s));
  EXPECT_EQ(client->raw().end(), RawClient::End::close_notify);
  EXPECT_TRUE(client->rest() == text);
}

TEST_F(TunnelTest, TheBodyOfTheRequestGoesWithIt) {
  start();
  const auto client = connect_http1(&credentials.alice);
  client->send(ask("echo", "Content-Length: 300000\r\n") + std::string(300'000, 'b') + "early");
  EXPECT_EQ(client->read_head_only().status, 101);
  EXPECT_TRUE(receives(*client, "early"));
  EXPECT_EQ(tunnels("body"), 300'000U);
  EXPECT_EQ(tunnels("early"), 0U);
  const Reply chunked = connect_http1(&credentials.alice)
                            ->ask(ask("echo", "Transfer-Encoding: chunked\r\n") + "0\r\n\r\n");
  EXPECT_EQ(chunked.status, 400);
  EXPECT_TRUE(chunked.closes());
  EXPECT_EQ(tunnels("requests"), 1U);
}

// --- what never goes through -----------------------------------------------------------------

TEST_F(TunnelTest, WhatComesEarlyWaitsForThe101) {
  start();
  const auto client = connect_http1(&credentials.alice);
  const std::string early = "GET /api/v1/secrets HTTP/1.1\r\nHost: k\r\n\r\n";
  client->send(ask("late") + early);
  client->send(early);
  EXPECT_EQ(client->read_head_only().status, 101);
  EXPECT_TRUE(receives(*client, early + early));
  EXPECT_EQ(tunnels("early"), 0U);
  EXPECT_EQ(tunnels("requests"), 1U);
}

TEST_F(TunnelTest, NoMoreThanALittleIsTakenBeforeThe101) {
  start();
  const auto client = connect_http1(&credentials.alice);
  const std::size_t before = sluice->child().resident_bytes();
  client->send(ask("never"));
  EXPECT_FALSE(client->raw().send(std::string(50'000'000, 'x'), 2s, false));
  EXPECT_LE(sluice->child().resident_bytes(), before + allowance(4 << 20));
  EXPECT_EQ(tunnels("early"), 0U);
}

TEST_F(TunnelTest, AnyOtherAnswerIsPassedOnAndEndsBothConnections) {
  start();
  struct Case {
    const char* sim;
    int status;
    const char* body;
  };
  for (const auto& [sim, status, body] :
       {Case{"refuse", 400, "you must specify a container\n"}, Case{"chunks", 403, "firstsecond"},
        Case{"close", 500, "up to the end"}, Case{"twice", 400, "one\n"}}) {
    const auto client = connect_http1(&credentials.alice);
    client->send(ask(sim) + "GET /api/v1/secrets HTTP/1.1\r\nHost: k\r\n\r\n");
    const Reply reply = client->read();
    EXPECT_EQ(reply.status, status) << sim;
    EXPECT_EQ(reply.body, body) << sim;
    EXPECT_TRUE(reply.whole) << sim;
    EXPECT_TRUE(reply.closes()) << sim;
    EXPECT_TRUE(client->ends());
    EXPECT_EQ(client->raw().end(), RawClient::End::close_notify);
    EXPECT_EQ(client->rest(), "") << sim;
  }
  EXPECT_TRUE(eventually([&] { return sluice->metric("sluice_upgrade_connections") == 0.0; }));
  EXPECT_EQ(tunnels("early") + tunnels("late"), 0U);
  EXPECT_TRUE(apisim->seen("secrets").empty());
}

TEST_F(TunnelTest, AnAnswerThatIsNoneIsABadGatewayAndIsNotAskedForAgain) {
  start();
  for (const std::string sim : {"rubbish", "other", "leave"}) {
    const std::uint64_t before = tunnels("requests");
    const auto client = connect_http1(&credentials.alice);
    client->send(ask(sim) + "early");
    const Reply reply = client->read();
    EXPECT_EQ(reply.status, 502) << sim;
    EXPECT_TRUE(reply.body.contains("whether the request was executed is unknown")) << reply.body;
    EXPECT_TRUE(client->ends());
    EXPECT_EQ(tunnels("requests"), before + 1) << sim;
  }
  EXPECT_EQ(tunnels("early"), 0U);
}

TEST_F(TunnelTest, ListsOfTokensAndOldVersionsAskForNoTunnel) {
  start();
  for (const std::string text :
       {"GET /version HTTP/1.1\r\nHost: k\r\nConnection: Upgrade\r\nUpgrade: a, websocket\r\n\r\n",
        "GET /version HTTP/1.0\r\nHost: k\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        "GET /version HTTP/1.1\r\nHost: k\r\nUpgrade: websocket\r\n\r\n"}) {
    EXPECT_EQ(connect_http1(&credentials.alice)->ask(text).status, 200) << text;
  }
  EXPECT_EQ(tunnels("requests"), 0U);
}

// --- abrupt ends -----------------------------------------------------------------------------

TEST_F(TunnelTest, AnAbruptEndOfOneSideEndsTheOther) {
  start();
  const auto reset = open("reset");
  reset->send("x");
  EXPECT_TRUE(reset->ends());
  EXPECT_NE(reset->raw().end(), RawClient::End::close_notify);
  const auto gone = open("echo");
  gone->send("x");
  EXPECT_TRUE(receives(*gone, "x"));
  gone->raw().reset();
  EXPECT_TRUE(eventually([&] { return sluice->metric("sluice_tunnels") == 0.0; }));
  EXPECT_TRUE(comes_to("open", 0));
  const auto unanswered = connect_http1(&credentials.alice);
  unanswered->send(ask("never"));
  EXPECT_TRUE(comes_to("requests", 3));
  unanswered->raw().reset();
  EXPECT_TRUE(eventually([&] { return sluice->metric("sluice_upgrade_connections") == 0.0; }));
}

TEST_F(TunnelTest, AKilledBackendEndsItsTunnelsAndNewOnesGoElsewhere) {
  start();
  std::vector<std::unique_ptr<Http1>> clients;
  for (int i = 0; i < 9; ++i) clients.push_back(open("echo"));
  const std::uint64_t there = apisim->counts({"tunnels", "open"}).front();
  EXPECT_GE(there, 1U);  // mostly 3: by two draws each
  apisim->post("/servers/0/kill");
  std::uint64_t ended = 0;
  EXPECT_TRUE(eventually([&] {
    ended = 0;
    for (const auto& client : clients) {
      client->raw().wait_end(1ms);
      if (client->raw().end() != RawClient::End::open) ++ended;
    }
    return ended >= there;
  }));
  for (int i = 0; i < 6; ++i) open("echo");
  EXPECT_EQ(ended, there);
}

// --- who asks --------------------------------------------------------------------------------

TEST_F(TunnelTest, TravelWithTheSameIdentityAsStreams) {
  start();
  const std::string forged =
      "X-Remote-User: root\r\nX-Remote-Group: system:masters\r\nX_Remote_User: root\r\n"
      "X-Remote-Extra-A: b\r\nX-Forwarded-For: 1.2.3.4\r\nImpersonate-User: bob\r\n";
  open("echo", &credentials.alice, forged + "Authorization: Bearer token-0\r\n");
  open("echo", nullptr, forged + "Authorization: Bearer token-1\r\n");
  auto seen = apisim->seen("exec");
  ASSERT_EQ(seen.size(), 2U);
  std::ranges::sort(seen, {}, &Apisim::Seen::user);
  const auto& certificate = seen[0];
  const auto& token = seen[1];
  EXPECT_EQ(certificate.peer, "front-proxy");
  EXPECT_EQ(certificate.user, "alice");
  EXPECT_EQ(certificate.values("x-remote-user"), std::vector<std::string>{"alice"});
  EXPECT_TRUE(certificate.values("authorization").empty());
  EXPECT_TRUE(certificate.fields.back().first.starts_with("x-remote-"))
      << certificate.fields.back().first;
  EXPECT_EQ(token.peer, "none");
  EXPECT_EQ(token.user, "token-1");
  EXPECT_TRUE(token.values("x-remote-user").empty());
  for (const auto& one : seen) {
    EXPECT_TRUE(one.values("x_remote_user").empty());
    EXPECT_TRUE(one.values("x-remote-extra-a").empty());
    EXPECT_EQ(one.values("x-forwarded-for"), std::vector<std::string>{"127.0.0.1"});
    EXPECT_EQ(one.values("impersonate-user"), std::vector<std::string>{"bob"});
    EXPECT_EQ(one.values("connection"), std::vector<std::string>{"Upgrade"});
    EXPECT_EQ(one.values("host"), std::vector<std::string>{"kubernetes"});
  }
  const Reply nobody = connect_http1()->ask(ask("echo"));
  EXPECT_EQ(nobody.status, 403);
  const Reply wrong = connect_http1()->ask(ask("echo", "Authorization: Bearer wrong\r\n"));
  EXPECT_EQ(wrong.status, 401);
  EXPECT_EQ(wrong.body, "Unauthorized\n");
}

// As browsers send it, which can set no other field.
TEST_F(TunnelTest, ATokenInAWebSocketSubprotocolIsACredential) {
  start({"--access-log=-", "--log-level=debug"});
  // "token-2" in base64url
  const std::string protocols =
      "Sec-WebSocket-Protocol: base64url.bearer.authorization.k8s.io.dG9rZW4tMg, v4.channel.k8s.io"
      "\r\n";
  for (int i = 0; i < 2; ++i) {
    const auto client = connect_http1();
    client->send(ask("echo", protocols, "websocket"));
    EXPECT_EQ(client->read_head_only().status, 101);
  }
  const auto vouched = connect_http1(&credentials.alice);
  vouched->send(ask("echo", protocols, "websocket"));
  EXPECT_EQ(vouched->read_head_only().status, 101);
  auto seen = apisim->seen("exec");
  ASSERT_EQ(seen.size(), 3U);
  std::ranges::sort(seen, {}, &Apisim::Seen::user);
  EXPECT_EQ(seen[0].user, "alice");
  EXPECT_EQ(seen[0].values("sec-websocket-protocol"),
            std::vector<std::string>{"v4.channel.k8s.io"});
  EXPECT_EQ(seen[1].user, "token-2");
  EXPECT_EQ(seen[2].user, "token-2");
  // The first one was unproven, and the second one was not.
  const auto connects = [&](const char* pool, double count) {
    return eventually([&] {
      return sluice->metric("sluice_upgrade_connects_total", {fmt::format(R"(pool="{}")", pool)}) ==
             count;
    });
  };
  EXPECT_TRUE(connects("suspect", 1.0));
  EXPECT_TRUE(connects("bearer", 1.0));
  // And by another way it is the same token.
  EXPECT_EQ(connect_http1()->ask(ask("refuse", "Authorization: Bearer token-2\r\n")).status, 400);
  EXPECT_TRUE(connects("bearer", 2.0));
  EXPECT_FALSE(sluice->child().log().contains("dG9rZW4tMg"));
  EXPECT_FALSE(sluice->child().output().contains("dG9rZW4tMg"));
}

// --- limits ----------------------------------------------------------------------------------

TEST_F(TunnelTest, OneClientHasSoManyAndNoMore) {
  start({"--tunnels-per-client=5", "--workers=1"});
  std::vector<std::unique_ptr<Http1>> clients;
  for (int i = 0; i < 5; ++i) clients.push_back(open("echo"));
  const Reply refused = connect_http1(&credentials.alice)->ask(ask("echo"));
  EXPECT_EQ(refused.status, 429);
  EXPECT_FALSE(refused.field("retry-after").empty());
  EXPECT_EQ(sluice->metric("sluice_local_replies_total", {R"(reason="tunnel_share")"}), 1.0);
  open("echo", &credentials.bob);
  clients.pop_back();
  EXPECT_TRUE(eventually(
      [&] { return connect_http1(&credentials.alice)->ask(ask("refuse")).status == 400; }));
}

TEST_F(TunnelTest, StrangersUseUpNothingOfWhatOthersNeed) {
  start({"--workers=1"});
  open("echo");  // the pools are warm
  std::vector<std::unique_ptr<Http1>> strangers;
  for (int i = 0; i < 150; ++i) {
    strangers.push_back(connect_http1());
    strangers.back()->send(ask("never", "Authorization: Bearer token-3\r\n"));
  }
  for (int i = 0; i < 5; ++i) {
    const Clock::time_point begin = Clock::now();
    open("echo");
    EXPECT_LT(Clock::now() - begin, sanitized() ? 5s : 1s);
  }
  EXPECT_EQ(sluice->metric("sluice_local_replies_total", {R"(reason="tunnel_share")"}), 86.0);
}

// A tunnel that is stalled holds two buffers, and lives.
TEST_F(TunnelTest, WhoDoesNotReadMakesNobodyHoldMuch) {
  start({"--workers=1", "--client-stall-timeout=1s"});
  const std::size_t before = sluice->child().resident_bytes();
  std::vector<std::unique_ptr<Http1>> clients;
  constexpr int count = 20;
  for (int i = 0; i < count; ++i) {
    clients.push_back(open("flood&bytes=50000000"));
    clients.push_back(open("stall"));
    clients.back()->raw().send(std::string(20'000'000, 'x'), 200ms, false);
  }
  loop->run_for(3s);
  EXPECT_EQ(sluice->metric("sluice_tunnels"), 2.0 * count);
  EXPECT_LE(sluice->child().resident_bytes(), before + allowance(2 * count * 700'000));
  EXPECT_TRUE(clients.front()->raw().wait_end(60s));
  EXPECT_EQ(clients.front()->rest().size(), 50'000'000U);
}

TEST_F(TunnelTest, AreBalancedEachOnItsOwn) {
  start({"--workers=1"});
  std::vector<std::unique_ptr<Http1>> clients;
  for (int i = 0; i < 30; ++i) clients.push_back(open("echo"));
  for (const std::uint64_t open_tunnels : apisim->counts({"tunnels", "open"})) {
    EXPECT_GE(open_tunnels, 8U);
    EXPECT_LE(open_tunnels, 12U);
  }
}

// --- what is told ----------------------------------------------------------------------------

TEST_F(TunnelTest, IsCountedAndLoggedWithBothSums) {
  start({"--access-log=-", "--workers=1"});
  {
    const auto client = open("echo");
    client->send("hello");
    EXPECT_TRUE(receives(*client, "hello"));
    EXPECT_EQ(sluice->metric("sluice_client_connections", {R"(protocol="tunnel")"}), 1.0);
    EXPECT_EQ(sluice->metric("sluice_client_connections", {R"(protocol="http1")"}), 0.0);
    EXPECT_EQ(sluice->metric("sluice_client_requests_total", {R"(protocol="tunnel")"}), 1.0);
    EXPECT_EQ(sluice->metric("sluice_requests_total", {R"(class="upgrade")"}), 1.0);
    EXPECT_TRUE(eventually([&] { return sluice->metric("sluice_tunnels") == 1.0; }));
    EXPECT_TRUE(sluice->page("/backends").body.contains(R"("tunnels":1,)"));
    EXPECT_FALSE(sluice->child().output().contains("exec"));
    client->send(" and more");
    client->raw().end_output();
    EXPECT_TRUE(client->ends());
  }
  EXPECT_TRUE(eventually([&] { return sluice->child().output().contains("exec"); }));
  const std::string log = sluice->child().output();
  for (const std::string_view part :
       {R"("protocol":"tunnel")", R"("status":101)", R"("bytes_in":14)", R"("bytes_out":14)",
        R"("user":"alice")", R"("subresource":"exec")", R"("ended_by":"completed")"}) {
    EXPECT_TRUE(log.contains(part)) << part << " in " << log;
  }
  EXPECT_TRUE(eventually([&] { return sluice->metric("sluice_tunnels") == 0.0; }));
  EXPECT_EQ(sluice->metric("sluice_tunnel_bytes_total", {R"(direction="to_backend")"}), 14.0);
  EXPECT_EQ(sluice->metric("sluice_tunnel_bytes_total", {R"(direction="to_client")"}), 14.0);
  EXPECT_TRUE(
      eventually([&] { return !sluice->page("/backends").body.contains(R"("tunnels":1,)"); }));
}

// --- our own stop ----------------------------------------------------------------------------

TEST_F(TunnelTest, MayGoOnWhileTheProxyDrainsAndThenEndInOrder) {
  start({"--shutdown-delay-duration=0s", "--drain-timeout=1s", "--drain-timeout-tunnels=4s"});
  const auto ended = open("echo");
  const auto kept = open("echo");
  const Clock::time_point begin = Clock::now();
  sluice->child().signal(SIGTERM);
  for (int i = 1; Clock::now() - begin < 3s; ++i) {
    kept->send("x");
    EXPECT_TRUE(receives(*kept, std::string(static_cast<std::size_t>(i), 'x')));
    loop->run_for(100ms);
  }
  ended->raw().end_output();
  EXPECT_TRUE(ended->ends());
  EXPECT_EQ(ended->raw().end(), RawClient::End::close_notify);
  EXPECT_TRUE(kept->ends());
  EXPECT_EQ(kept->raw().end(), RawClient::End::close_notify);
  EXPECT_GE(Clock::now() - begin, 4s - client_clock_slack);
  EXPECT_TRUE(comes_to("ended", 2));
  kept->raw().end_output();
  EXPECT_TRUE(sluice->child().wait_exit(5s));
  EXPECT_EQ(sluice->child().exit_code(), 0);
}

TEST_F(TunnelTest, EndWithTheDrainWhereNothingElseIsSaid) {
  start({"--shutdown-delay-duration=0s", "--drain-timeout=2s"});
  const auto client = open("echo");
  const Clock::time_point begin = Clock::now();
  sluice->child().signal(SIGTERM);
  EXPECT_TRUE(client->ends());
  EXPECT_EQ(client->raw().end(), RawClient::End::close_notify);
  EXPECT_GE(Clock::now() - begin, 2s - client_clock_slack);
  client->raw().end_output();
  EXPECT_TRUE(sluice->child().wait_exit(6s));
  EXPECT_EQ(sluice->child().exit_code(), 0);
}

TEST_F(TunnelTest, AWrongWindowForTheDrainIsSaid) {
  start_apisim();
  const Finished checked = run_sluice({"--check", "--drain-timeout-tunnels=soon"});
  EXPECT_TRUE((checked.out + checked.err).contains("--drain-timeout-tunnels=\"soon\""))
      << checked.out << checked.err;
}

}  // namespace
}  // namespace sluice::test
