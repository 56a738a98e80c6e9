// SPDX-License-Identifier: GPL-3.0-or-later
// Clients without HTTP/2 are served as those with it: by the same exchanges, balanced request by
// request, and by one strict reading of what they send.
#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "frame_backend.h"
#include "harness.h"
#include "http1_client.h"

namespace sluice::test {
namespace {

constexpr std::string_view token = "Authorization: Bearer token-0\r\n";

class Http1Test : public IntegrationTest {
 protected:
  std::unique_ptr<Http1> connect_http1(const Certificate* certificate = nullptr) {
    auto client = std::make_unique<Http1>(sluice->address(), certificate);
    EXPECT_TRUE(client->raw().established());
    EXPECT_EQ(client->raw().alpn(), "http/1.1");
    return client;
  }
  static std::string post(std::string_view path, std::string_view fields, std::string_view body) {
    return fmt::format("POST {} HTTP/1.1\r\nHost: kubernetes\r\n{}\r\n{}", path, fields, body);
  }
  static std::string user_of(const Reply& review) {
    const auto json = Json::parse(review.body);
    const Json* status = json ? json->find("status") : nullptr;
    return status != nullptr && status->is_object() ? status->to_string() : "";
  }
};

// --- what is served --------------------------------------------------------------------------

TEST_F(Http1Test, ReadsOnOneConnectionAreAnsweredAsOverHttp2) {
  start({}, {"--pods=300"});
  const auto http2 = connect(&credentials.alice);
  const auto client = connect_http1(&credentials.alice);
  for (const std::string& path :
       {std::string(object_path), std::string("/version"), std::string("/api/v1/pods"),
        std::string("/bench/0"), std::string("/bench/1000000"),
        std::string("/api/v1/namespaces/bench-1m/configmaps"), std::string("/api/v1/nothing")}) {
    const Answer& expected = http2->fetch({.path = path});
    const Reply reply = client->get(path);
    EXPECT_EQ(reply.status, expected.status) << path;
    EXPECT_TRUE(reply.whole) << path;
    EXPECT_TRUE(reply.body == expected.body || expected.bytes > expected.body.size()) << path;
    EXPECT_EQ(reply.body.size(), expected.bytes) << path;
    EXPECT_EQ(reply.field("content-type"), expected.field("content-type"));
    EXPECT_EQ(reply.field("connection"), "");
    const Reply head =
        client->ask(fmt::format("HEAD {} HTTP/1.1\r\nHost: kubernetes\r\n\r\n", path), true);
    EXPECT_EQ(head.status, http2->fetch({.method = "HEAD", .path = path}).status) << path;
  }
  EXPECT_EQ(client->rest(), "");
  EXPECT_EQ(sluice->metric("sluice_client_handshakes_total", {R"(protocol="http1")"}), 1.0);
  EXPECT_EQ(sluice->metric("sluice_client_connections", {R"(protocol="http1")"}), 1.0);
  EXPECT_EQ(sluice->metric("sluice_client_requests_total", {R"(protocol="http1")"}), 14.0);
}

TEST_F(Http1Test, EveryRequestOfAConnectionIsBalanced) {
  start();
  const auto client = connect_http1(&credentials.alice);
  for (int i = 0; i < 300; ++i) EXPECT_EQ(client->get(object_path).status, 200);
  const std::vector<std::uint64_t> shares = apisim->counts({"requests", "configmaps", "get"});
  EXPECT_EQ(shares[0] + shares[1] + shares[2], 300U);
  EXPECT_LE(max_over_mean(shares), 1.1) << fmt::format("{}", fmt::join(shares, " "));
}

TEST_F(Http1Test, BodiesComeByLengthAndInChunks) {
  start();
  const auto client = connect_http1(&credentials.alice);
  const std::string data(300'000, 'd');
  for (const bool in_chunks : {false, true}) {
    const std::string body = fmt::format(
        R"({{"kind":"ConfigMap","apiVersion":"v1","metadata":{{"name":"big-{}"}},"data":{{"a":"{}"}}}})",
        in_chunks ? "c" : "l", data);
    std::string framed = body;
    if (in_chunks) {
      framed.clear();
      for (std::size_t at = 0; at < body.size(); at += 9999) {
        const std::string chunk = body.substr(at, 9999);
        framed += fmt::format("{:x}\r\n{}\r\n", chunk.size(), chunk);
      }
      framed += "0\r\nX-Checksum: 1\r\nX-Remote-User: forged\r\n\r\n";
    }
    const std::string length = fmt::format("Content-Length: {}\r\n", body.size());
    const Reply reply =
        client->ask(post("/api/v1/namespaces/default/configmaps",
                         "Content-Type: application/json\r\n" +
                             (in_chunks ? "Transfer-Encoding: chunked\r\n" : length),
                         framed));
    EXPECT_EQ(reply.status, 201) << reply.body.substr(0, 500);
    EXPECT_EQ(reply.field("connection"), "");
  }
  for (const std::string name : {"big-l", "big-c"}) {
    const Reply reply = client->get("/api/v1/namespaces/default/configmaps/" + name);
    EXPECT_TRUE(reply.body.contains(data)) << name;
  }
  for (const auto& seen : apisim->seen("configmaps")) {
    EXPECT_TRUE(seen.trailers.empty());
    EXPECT_TRUE(seen.values("transfer-encoding").empty());
  }
}

TEST_F(Http1Test, AWatchGoesInChunksAndItsConnectionLivesOn) {
  start({}, {"--pods=5"});
  const auto client = connect_http1(&credentials.alice);
  client->send(
      "GET /api/v1/pods?watch=1&timeoutSeconds=4&resourceVersion=0 HTTP/1.1\r\nHost: k\r\n\r\n");
  Reply watch = client->read_head_only();
  EXPECT_EQ(watch.status, 200);
  EXPECT_EQ(watch.field("transfer-encoding"), "chunked");
  while (std::ranges::count(watch.body, '\n') < 5) ASSERT_TRUE(client->read_chunk(watch));
  apisim->post("/events?count=3");
  while (std::ranges::count(watch.body, '\n') < 8) ASSERT_TRUE(client->read_chunk(watch));
  while (client->read_chunk(watch)) continue;
  EXPECT_TRUE(watch.whole);
  EXPECT_EQ(client->get(object_path).status, 200);
}

// A pager before `kubectl get --watch`: its window is closed for longer than a send may stall.
TEST_F(Http1Test, AWatchThatNobodyReadsStandsStillAndGoesOn) {
  start({"--client-stall-timeout=1s"}, {"--pods=5000", "--pod-bytes=4000"});
  const auto client = connect_http1(&credentials.alice);
  client->send(
      "GET /api/v1/pods?watch=1&timeoutSeconds=60&resourceVersion=0 HTTP/1.1\r\nHost: k\r\n\r\n");
  loop->run_for(5s);
  Reply watch = client->read_head_only();
  EXPECT_EQ(watch.status, 200);
  std::size_t bytes = 0;
  while (bytes < 20'000'000) {
    ASSERT_TRUE(client->read_chunk(watch));
    bytes += std::exchange(watch.body, {}).size();
  }
}

TEST_F(Http1Test, PipelinedRequestsAreAnsweredInOrder) {
  start();
  apisim->post("/servers/0/set?latency=20ms");
  const auto client = connect_http1(&credentials.alice);
  std::string all;
  for (int i = 0; i < 20; ++i) {
    const std::string body = fmt::format("{{\"n\":{}}}", i);
    all += i % 4 == 3 ? post(review_path, fmt::format("Content-Length: {}\r\n", body.size()), body)
                      : fmt::format("GET /bench/{} HTTP/1.1\r\nHost: k\r\n\r\n", 100 + i);
  }
  client->send(all);
  for (int i = 0; i < 20; ++i) {
    const Reply reply = client->read();
    if (i % 4 == 3) {
      EXPECT_EQ(reply.status, 201) << i;
    } else {
      EXPECT_EQ(reply.status, 200) << i;
      EXPECT_EQ(reply.body.size(), static_cast<std::size_t>(100 + i));
    }
  }
  EXPECT_EQ(client->rest(), "");
}

// Of what comes faster than it can be answered no more is taken than a few records.
TEST_F(Http1Test, APipelineWithoutAnEndIsNotTakenIn) {
  start();
  const auto bystander = connect(&credentials.alice);
  apisim->post("/servers/all/set?latency=200ms");
  const auto client = connect_http1(&credentials.alice);
  std::string many;
  for (int i = 0; i < 400'000; ++i) many += "GET /version HTTP/1.1\r\nHost: k\r\n\r\n";
  const std::size_t before = sluice->child().resident_bytes();
  EXPECT_FALSE(client->raw().send(many, 2s, false));
  EXPECT_LE(sluice->child().resident_bytes(), before + allowance(4 << 20));
  EXPECT_EQ(bystander->fetch({.path = std::string(object_path)}).status, 200);
}

// An API server whose frames are the test's.
class Http1FrameTest : public Http1Test {
 protected:
  Http1FrameTest()
      : backend(*loop, tls::ServerOptions{
                           .certificate_chain_pem = read_file(credentials.file("apiserver.crt")),
                           .private_key_pem = read_file(credentials.file("apiserver.key")),
                           .client_ca_pem = credentials.front_proxy_ca.pem()}) {
    sluice.emplace(std::vector<io::Address>{backend.address()}, Sluice::Plan{.wait_ready = false});
    EXPECT_TRUE(eventually([&] { return sluice->page("/readyz").status == 200; }));
  }
  // The backend answers meanwhile.
  bool arrives(Http1& client, const std::function<bool()>& done) {
    return loop->run_until([&] { return client.raw().read_until(done, 1ms); }, 10s);
  }

  FrameBackend backend;
};

TEST_F(Http1FrameTest, AnAnswerWithALengthThatIsResetIsNotWhole) {
  backend.on("/short", [](std::uint32_t id) {
    return FrameWriter()
        .long_headers(id, hpack_block({{":status", "200"}, {"content-length", "1000"}}), false)
        .data(id, std::string(100, 'x'), false)
        .text();
  });
  const auto client = connect_http1(&credentials.alice);
  client->send("GET /short HTTP/1.1\r\nHost: k\r\n\r\n");
  EXPECT_TRUE(arrives(*client, [&] { return client->rest().ends_with(std::string(100, 'x')); }));
  EXPECT_TRUE(client->rest().contains("\r\ncontent-length: 1000\r\n")) << client->rest();
  EXPECT_TRUE(backend.send(
      "/short", [](std::uint32_t id) { return FrameWriter().rst_stream(id, 2).text(); }));
  EXPECT_TRUE(arrives(*client, [&] { return client->raw().end() != RawClient::End::open; }));
  EXPECT_TRUE(client->rest().ends_with("\r\n\r\n" + std::string(100, 'x')));
}

// API servers tell a client to go on when they begin to read what it has; nobody else does.
TEST_F(Http1FrameTest, WhoExpectsToBeToldToGoOnIsToldByTheBackend) {
  backend.on("/upload", [](std::uint32_t id) {
    return FrameWriter().long_headers(id, hpack_block({{":status", "100"}}), false).text();
  });
  const auto client = connect_http1(&credentials.alice);
  client->send(post("/upload", "Expect: 100-continue\r\nContent-Length: 5\r\n", ""));
  const auto received = [&](std::string_view text) {
    return arrives(*client, [&] { return client->rest() == text; });
  };
  EXPECT_TRUE(received("HTTP/1.1 100 Continue\r\n\r\n")) << client->rest();
  client->send("hello");
  EXPECT_TRUE(loop->run_until([&] { return backend.seen("/upload")->complete; }));
  EXPECT_EQ(backend.seen("/upload")->body_bytes, 5U);
  EXPECT_EQ(backend.seen("/upload")->head.fields.find("expect"), "100-continue");
  EXPECT_TRUE(backend.send("/upload", [](std::uint32_t id) {
    return FrameWriter().long_headers(id, hpack_block({{":status", "204"}}), true).text();
  }));
  EXPECT_TRUE(received("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n"));
}

TEST_F(Http1Test, VersionOneZeroIsAnsweredAndClosed) {
  start({}, {"--pods=5"});
  Http1 client(sluice->address(), &credentials.alice, {});  // nor does it know ALPN
  EXPECT_TRUE(client.raw().established());
  const Reply reply =
      client.ask(fmt::format("GET {} HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", object_path));
  EXPECT_EQ(reply.status, 200);
  EXPECT_TRUE(reply.whole);
  EXPECT_TRUE(reply.closes());
  EXPECT_TRUE(client.ends());
  EXPECT_EQ(client.raw().end(), RawClient::End::close_notify);
  // A watch has no length: its end is that of the connection.
  Http1 watcher(sluice->address(), &credentials.alice, {});
  const Reply watch =
      watcher.ask("GET /api/v1/pods?watch=1&timeoutSeconds=2&resourceVersion=0 HTTP/1.0\r\n\r\n");
  EXPECT_EQ(watch.field("transfer-encoding"), "");
  EXPECT_TRUE(watch.whole);
  EXPECT_GE(std::ranges::count(watch.body, '\n'), 5);
}

TEST_F(Http1Test, AnAnswerBeforeTheEndOfALongUploadEndsTheConnectionInOrder) {
  start();
  const auto client = connect_http1(&credentials.ca_leaf);
  client->send(post("/api/v1/namespaces/default/configmaps", "Content-Length: 50000000\r\n",
                    std::string(10'000, 'x')));
  const Reply reply = client->read();
  EXPECT_EQ(reply.status, 401);
  EXPECT_TRUE(reply.whole);
  EXPECT_TRUE(reply.closes());
  EXPECT_TRUE(client->ends());
  EXPECT_EQ(client->raw().end(), RawClient::End::close_notify);
  // A short rest is waited for.
  const auto other = connect_http1(&credentials.ca_leaf);
  other->send(post("/api/v1/namespaces/default/configmaps", "Content-Length: 20000\r\n",
                   std::string(10'000, 'x')));
  const Reply early = other->read();
  EXPECT_EQ(early.status, 401);
  EXPECT_FALSE(early.closes());
  other->send(std::string(10'000, 'x'));
  EXPECT_EQ(other->get("/version").status, 401);
}

// --- who the client is -----------------------------------------------------------------------

TEST_F(Http1Test, CertificatesAndTokensAreWhoTheyAreOverHttp2) {
  start();
  const auto by_certificate = connect_http1(&credentials.alice);
  EXPECT_TRUE(user_of(by_certificate->ask(post(review_path, "Content-Length: 2\r\n", "{}")))
                  .contains(R"("username":"alice")"));
  const auto by_token = connect_http1();
  for (const std::string who : {"token-0", "token-1"}) {
    const std::string fields = fmt::format("authorization:bearer {}\r\nContent-Length: 2\r\n", who);
    EXPECT_TRUE(user_of(by_token->ask(post(review_path, fields, "{}")))
                    .contains(fmt::format(R"("username":"{}")", who)));
  }
  EXPECT_EQ(by_token->get(object_path, "Authorization: Bearer made-up\r\n").status, 401);
}

TEST_F(Http1Test, ForgedIdentityFieldsNeverReachABackendInAnySpelling) {
  start();
  const std::vector<std::string> names = {
      "X-Remote-User",   "x-remote-user",    "X-REMOTE-USER",      "X_Remote_User",
      "X-Remote_Group",  "x_remote_uid",     "X-Remote-Extra-Foo", "X%2DRemote%2DUser",
      "%58-Remote-User", "X-Remote-Anything"};
  const auto by_certificate = connect_http1(&credentials.alice);
  const auto by_token = connect_http1();
  for (const std::string& name : names) {
    const std::string forged =
        fmt::format("{}: forged\r\nAccept: */*\r\n{}:forged\r\n", name, name);
    EXPECT_EQ(by_certificate->get(object_path, forged).status, 200) << name;
    EXPECT_EQ(by_token->get(object_path, forged + std::string(token)).status, 200) << name;
    // Ours are not to be nominated away, nor is anything brought in by it.
    const std::string nominated = fmt::format(
        "Connection: {}, X-Remote-User, X-Remote-Group, X-Forwarded-For\r\n{}", name, forged);
    EXPECT_EQ(by_certificate->get(object_path, nominated).status, 200) << name;
    EXPECT_EQ(by_token->get(object_path, nominated + std::string(token)).status, 200) << name;
  }
  // Whoever impersonates is not to be made to ask for itself.
  for (const std::string_view option :
       {"Impersonate-User", "x, impersonate-group", "Authorization"}) {
    EXPECT_EQ(
        connect_http1(&credentials.alice)
            ->get(object_path, fmt::format("Impersonate-User: bob\r\nConnection: {}\r\n", option))
            .status,
        400)
        << option;
  }
  EXPECT_EQ(by_certificate
                ->get(object_path,
                      "X-Forwarded-For: 192.0.2.1\r\nForwarded: for=192.0.2.1\r\nX-Real-Ip: "
                      "192.0.2.1\r\nKeep-Alive: 5\r\nProxy-Connection: x\r\nTE: trailers\r\n")
                .status,
            200);
  std::set<std::string> users;
  for (const Apisim::Seen& seen : apisim->seen("kb-1")) {
    users.insert(seen.user);
    EXPECT_EQ(seen.values("x-remote-user").size(), seen.peer == "front-proxy" ? 1U : 0U);
    EXPECT_EQ(seen.values("x-forwarded-for"), (std::vector<std::string>{"127.0.0.1"}));
    for (const auto& [name, value] : seen.fields) {
      EXPECT_FALSE(value.contains("forged")) << name;
      EXPECT_FALSE(value.contains("192.0.2.1")) << name;
      EXPECT_FALSE(name == "connection" || name == "keep-alive" || name == "te" ||
                   name == "proxy-connection" || name == "host" || name == "upgrade")
          << name;
    }
  }
  EXPECT_EQ(users, (std::set<std::string>{"alice", "token-0"}));
}

// --- what is refused -------------------------------------------------------------------------

// Requests that two readers could end at different places, each followed by one that must not be
// taken for what it is not: with another's identity, twice, or at all.
TEST_F(Http1Test, NothingIsSmuggledBehindARequest) {
  start();
  const std::vector<std::string> odd = {
      "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
      "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
      "Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
      "Content-Length: 0\r\nContent-Length: 5\r\n\r\n",
      "Content-Length: 5, 5\r\n\r\nhello",
      "Content-Length: +5\r\n\r\nhello",
      "Content-Length: -0\r\n\r\n",
      "Content-Length: 05\r\n\r\nhello",
      "Content-Length: 0x5\r\n\r\nhello",
      "Content-Length: 5 \r\n\r\nhello",
      "Content-Length: 18446744073709551616\r\n\r\n",
      "Content-Length:\r\n\r\n",
      "Content-Length : 5\r\n\r\nhello",
      "Content_Length: 5\r\n\r\nhello",
      "Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
      "Transfer-Encoding: identity\r\n\r\n",
      "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
      "Transfer-Encoding: chunked;a=b\r\n\r\n0\r\n\r\n",
      "Transfer-Encoding: ,chunked\r\n\r\n0\r\n\r\n",
      "Transfer-Encoding: \x0b"
      "chunked\r\n\r\n0\r\n\r\n",
      "Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
      "Transfer_Encoding: chunked\r\n\r\n0\r\n\r\n",
      "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
      "X: y\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
      "X: y\rTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
      "Transfer-Encoding: chunked\r\n\r\n+0\r\n\r\n",
      "Transfer-Encoding: chunked\r\n\r\n0x0\r\n\r\n",
      "Transfer-Encoding: chunked\r\n\r\n 0\r\n\r\n",
      "Transfer-Encoding: chunked\r\n\r\n5 \r\nhello\r\n0\r\n\r\n",
      "Transfer-Encoding: chunked\r\n\r\n5\nhello\r\n0\r\n\r\n",
      "Transfer-Encoding: chunked\r\n\r\n5\r\nhello0\r\n\r\n",
      "Transfer-Encoding: chunked\r\n\r\n5;\r\nhello\r\n0\r\n\r\n",
      "Transfer-Encoding: chunked\r\n\r\n5;a\nx\r\nhello\r\n0\r\n\r\n",
      "Transfer-Encoding: chunked\r\n\r\n10000000000000005\r\nhello\r\n0\r\n\r\n",
      "Transfer-Encoding: chunked\r\n\r\n0\r\nContent-Length: 5\r\n\r\n",
      "Transfer-Encoding: chunked\r\n\r\n0\r\n\n",
      "Host: other\r\n\r\n",
      "Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMA\r\n\r\n",
      "Expect: 200-ok\r\nContent-Length: 5\r\n\r\nhello",
  };
  std::size_t number = 0;
  for (const std::string& each : odd) {
    const auto client = connect_http1(&credentials.alice);
    const std::string marker = fmt::format("/version?marker={}", number++);
    client->send("POST /version HTTP/1.1\r\nHost: k\r\n" + each + "GET " + marker +
                 " HTTP/1.1\r\nHost: k\r\nX-Remote-User: forged\r\n\r\n");
    const Reply reply = client->read();
    EXPECT_GE(reply.status, 400) << each;
    EXPECT_LE(reply.status, 417) << each;
    EXPECT_TRUE(reply.closes()) << each;
    EXPECT_TRUE(client->ends()) << each;
    EXPECT_EQ(client->rest(), "") << each;
  }
  EXPECT_TRUE(apisim->seen("marker").empty());
  EXPECT_EQ(sluice->metric("sluice_client_http1_refused_total"), static_cast<double>(odd.size()));
  // And where a body ends as it says, what follows is its own request, once, by the same client.
  const std::string inside = "GET /version?marker=inside HTTP/1.1\r\nHost: k\r\n\r\n";
  const std::vector<std::string> plain = {
      "Content-Length: 5\r\n\r\nhello",
      "Content-Length: 0\r\n\r\n",
      "\r\n",
      "Transfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\nX: y\r\n\r\n",
      "Expect: 100-continue\r\nContent-Length: 5\r\n\r\nhello",
      fmt::format("Content-Length: {}\r\n\r\n{}", inside.size(), inside),
  };
  for (const std::string method : {"GET", "POST", "DELETE", "OPTIONS", "HEAD"}) {
    for (const std::string& each : plain) {
      const auto client = connect_http1(&credentials.alice);
      const std::string marker = fmt::format("/version?marker={}", number++);
      client->send(method + " /version HTTP/1.1\r\nHost: k\r\n" + each + "GET " + marker +
                   " HTTP/1.1\r\nHost: k\r\nX-Remote-User: forged\r\n\r\n");
      client->read(method == "HEAD");
      const Reply second = client->read();
      const auto seen = apisim->seen(marker);
      // Or the first answer was the connection's last: then nothing of it was read.
      EXPECT_EQ(seen.size(), second.status == 200 ? 1U : 0U) << method << each;
      EXPECT_TRUE(second.status == 200 || each.starts_with("Expect")) << method << each;
      for (const auto& request : seen) EXPECT_EQ(request.user, "alice");
    }
  }
  EXPECT_TRUE(apisim->seen("inside").empty());
}

TEST_F(Http1Test, TheOtherProtocolThanTheAgreedOneIsNotSpoken) {
  start();
  const auto client = connect_http1(&credentials.alice);
  client->send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
  EXPECT_EQ(client->read().status, 505);
  EXPECT_TRUE(client->ends());
  EXPECT_EQ(sluice->metric("sluice_client_http1_refused_total", {R"(reason="http2")"}), 1.0);
  Http1 other(sluice->address(), &credentials.alice, {"h2"});
  EXPECT_EQ(other.raw().alpn(), "h2");
  other.send("GET /version HTTP/1.1\r\nHost: k\r\n\r\n");
  EXPECT_TRUE(other.ends());
  EXPECT_FALSE(other.rest().contains("HTTP/1.1"));
  EXPECT_EQ(sluice->metric("sluice_client_limit_exceeded_total", {R"(limit="protocol")"}), 1.0);
  EXPECT_EQ(apisim->total({"requests", "version", "get"}), 0U);
}

TEST_F(Http1Test, HeadsHaveTheLimitsOfHttp2) {
  start({"--request-head-timeout=1s"});
  const auto large = connect_http1(&credentials.alice);
  // The answer may come, and the connection end, before all of it is sent.
  large->send("GET /version HTTP/1.1\r\nHost: kubernetes\r\nX-Large: " + std::string(300'000, 'x') +
              "\r\n\r\n");
  const Reply reply = large->read();
  EXPECT_EQ(reply.status, 431);
  EXPECT_TRUE(reply.body.contains(R"("kind":"Status")")) << reply.body;
  EXPECT_TRUE(large->ends());
  const auto roomy = connect_http1(&credentials.alice);
  EXPECT_EQ(roomy->get("/version", "X-Large: " + std::string(200'000, 'x') + "\r\n").status, 200);
  // A head must be whole in its time, also the second one.
  const Clock::time_point begun = Clock::now();
  roomy->send("GET /version HTTP/1.1\r\nHo");
  EXPECT_TRUE(roomy->ends());
  EXPECT_GE(Clock::now() - begun, 800ms);
  EXPECT_LE(Clock::now() - begun, 5s);
  // One that only rests may rest.
  const auto resting = connect_http1(&credentials.alice);
  EXPECT_EQ(resting->get("/version").status, 200);
  EXPECT_FALSE(resting->raw().wait_end(2s));
  EXPECT_EQ(resting->get("/version").status, 200);
}

// --- ends ------------------------------------------------------------------------------------

TEST_F(Http1Test, AnAnswerWhoseBackendIsLostIsNotWhole) {
  start({}, {"--servers=1", "--pods=30000", "--pod-bytes=1000"});
  struct Case {
    std::string path, version, framing;
  };
  for (const Case& each : {Case{"/bench/60m", "1.1", "transfer-encoding"},
                           Case{"/api/v1/pods", "1.0", "connection"}}) {
    const auto client = connect_http1(&credentials.alice);
    client->send(fmt::format("GET {} HTTP/{}\r\nHost: k\r\n\r\n", each.path, each.version));
    ASSERT_TRUE(client->raw().read_until([&] { return client->rest().size() > 1'000'000; }));
    apisim->post("/servers/0/kill");
    const Reply reply = client->read();
    EXPECT_EQ(reply.status, 200);
    EXPECT_NE(reply.field(each.framing), "") << each.path;
    EXPECT_FALSE(reply.whole) << each.path;
    EXPECT_TRUE(client->ends());
    apisim->post("/servers/0/restart");
    ASSERT_TRUE(sluice->wait_page("/readyz", 200));
  }
}

TEST_F(Http1Test, ADrainEndsEachConnectionWithItsAnswerAndWatchesCleanly) {
  start({"--shutdown-delay-duration=0s", "--drain-timeout=4s"}, {"--pods=5"});
  const auto idle = connect_http1(&credentials.alice);
  EXPECT_EQ(idle->get(object_path).status, 200);
  const auto busy = connect_http1(&credentials.alice);
  EXPECT_EQ(busy->get(object_path).status, 200);
  const auto watcher = connect_http1(&credentials.alice);
  watcher->send("GET /api/v1/pods?watch=1&resourceVersion=0 HTTP/1.1\r\nHost: k\r\n\r\n");
  Reply watch = watcher->read_head_only();
  while (std::ranges::count(watch.body, '\n') < 5) ASSERT_TRUE(watcher->read_chunk(watch));
  apisim->post("/servers/all/set?latency=1s");
  busy->send(fmt::format("GET {} HTTP/1.1\r\nHost: k\r\n\r\n", object_path));
  ASSERT_TRUE(eventually([&] { return sluice->metric("sluice_exchanges") == 2; }));
  const Clock::time_point told = Clock::now();
  sluice->child().signal(SIGTERM);
  const Reply last = busy->read();
  EXPECT_EQ(last.status, 200);
  EXPECT_TRUE(last.whole);
  EXPECT_TRUE(last.closes());
  EXPECT_TRUE(busy->ends());
  EXPECT_TRUE(idle->ends());
  EXPECT_EQ(idle->raw().end(), RawClient::End::close_notify);
  EXPECT_GE(Clock::now() - told, 500ms);  // a request that was on its way would have been answered
  while (watcher->read_chunk(watch)) continue;
  EXPECT_TRUE(watch.whole);
  EXPECT_TRUE(watcher->ends());
  EXPECT_TRUE(sluice->child().wait_exit(8s));
  EXPECT_EQ(sluice->child().exit_code(), 0);
}

TEST_F(Http1Test, AWatchWhoseClientLeavesIsGivenUp) {
  start({}, {"--pods=5"});
  {
    const auto watcher = connect_http1(&credentials.alice);
    watcher->send("GET /api/v1/pods?watch=1&resourceVersion=0 HTTP/1.1\r\nHost: k\r\n\r\n");
    EXPECT_EQ(watcher->read_head_only().status, 200);
    watcher->send("GET /version HTTP/1.1\r\nHost: k\r\n\r\n");  // held behind it
    ASSERT_TRUE(eventually([&] { return sluice->metric("sluice_exchanges") == 1; }));
  }
  EXPECT_TRUE(eventually([&] { return sluice->metric("sluice_exchanges") == 0; }, 5s));
  EXPECT_EQ(sluice->metric("sluice_client_connections"), 0.0);
}

// --- a foreign client ------------------------------------------------------------------------

TEST_F(Http1Test, CurlIsServed) {
  if (std::system("command -v curl >/dev/null 2>&1") != 0) GTEST_SKIP() << "no curl here";
  TemporaryDirectory directory;
  start({"--access-log=" + directory.file("access.log")}, {"--pods=5"});
  write_file(directory.file("body"), std::string(3'000'000, 'x'));
  const auto curl = [&](std::string_view arguments) {
    const std::string command = fmt::format(
        "curl --http1.1 --silent --show-error --max-time 20 --noproxy '*' --cacert {} --cert {} "
        "--key {} --connect-to ::{} {} >{} 2>&1",
        credentials.file("gateway-ca.crt"), credentials.file("alice.crt"),
        credentials.file("alice.key"), sluice->address().to_string(), arguments,
        directory.file("out"));
    EXPECT_EQ(std::system(command.c_str()), 0) << command << read_file(directory.file("out"));
    return read_file(directory.file("out"));
  };
  const std::string base = fmt::format("https://{}", api_server_name);
  EXPECT_EQ(curl(fmt::format("-w '%{{http_version}} %{{http_code}} %{{num_connects}} ' -o "
                             "/dev/null {0}/version -o /dev/null {0}{1} -o /dev/null {0}/bench/1m",
                             base, object_path)),
            "1.1 200 1 1.1 200 0 1.1 200 0 ");
  // Above a megabyte it expects to be told to go on, and does not wait for ever.
  EXPECT_EQ(curl(fmt::format("-o /dev/null -w '%{{http_code}}' --data-binary @{} {}/version",
                             directory.file("body"), base)),
            "405");
  EXPECT_TRUE(eventually(
      [&] { return read_file(directory.file("access.log")).contains(R"("protocol":"http1")"); }));
}

}  // namespace
}  // namespace sluice::test
