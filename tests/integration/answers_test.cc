// SPDX-License-Identifier: GPL-3.0-or-later
// What a backend answers: what has to pass passes unchanged.
#include <zlib.h>

#include <algorithm>
#include <array>
#include <sstream>

#include "harness.h"

namespace sluice::test {
namespace {

using AnswersTest = IntegrationTest;

// All members, which must be whole.
std::string gunzip(std::string_view compressed) {
  std::string out;
  z_stream stream{};
  EXPECT_EQ(inflateInit2(&stream, 15 + 16), Z_OK);
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(compressed.data()));
  stream.avail_in = static_cast<uInt>(compressed.size());
  int result = Z_OK;
  std::array<char, 65536> buffer{};
  while (result == Z_OK) {
    stream.next_out = reinterpret_cast<Bytef*>(buffer.data());
    stream.avail_out = buffer.size();
    result = inflate(&stream, Z_NO_FLUSH);
    out.append(buffer.data(), buffer.size() - stream.avail_out);
    if (result == Z_STREAM_END && stream.avail_in > 0) result = inflateReset(&stream);
  }
  EXPECT_EQ(result, Z_STREAM_END);
  EXPECT_EQ(stream.avail_in, 0U);
  inflateEnd(&stream);
  return out;
}

TEST_F(AnswersTest, CompressedOnesPassAsTheyAreToThoseWhoAskForThem) {
  start({}, {"--pods=2000", "--pod-bytes=500"});
  const ClientOptions roomy{.body_bytes_kept = 64 << 20};
  const auto client = connect(&credentials.alice, roomy);
  // Of fixed text, and made while they are sent.
  for (const std::string path : {"/api/v1/namespaces/bench-1m/configmaps", "/api/v1/pods"}) {
    const Answer& plain = client->fetch({.path = path});
    EXPECT_EQ(plain.status, 200);
    EXPECT_EQ(plain.field("content-encoding"), "");
    const Answer& compressed =
        client->fetch({.path = path, .fields = {{"accept-encoding", "deflate, gzip"}}});
    EXPECT_EQ(compressed.status, 200);
    EXPECT_TRUE(compressed.whole());
    EXPECT_EQ(compressed.field("content-encoding"), "gzip");
    EXPECT_EQ(compressed.field("vary"), "Accept-Encoding");
    EXPECT_LT(compressed.bytes, plain.bytes / 2);
    EXPECT_TRUE(gunzip(compressed.body) == plain.body) << path;
  }
  // Not what is small, and no watch.
  EXPECT_EQ(
      client->fetch({.path = std::string(object_path), .fields = {{"accept-encoding", "gzip"}}})
          .field("content-encoding"),
      "");
  const auto watch = open_watches(*client, 1, {{"accept-encoding", "gzip"}})[0];
  EXPECT_EQ(client->answer(watch).field("content-encoding"), "");
}

// It is the API server's answer to this client, not a word about the server.
TEST_F(AnswersTest, WhatPriorityAndFairnessRefusesIsPassedOnAsItIsAndAskedForOnce) {
  start({}, {"--max-in-flight=1", "--latency=300ms"});
  const auto by_certificate = connect(&credentials.alice);
  const auto by_token = connect();
  const std::string path = "/api/v1/namespaces/default/configmaps/refused-by-fairness";
  constexpr std::size_t each = 10;
  std::vector<std::pair<Http2Client*, Http2Client::Id>> asked;
  for (std::size_t i = 0; i < each; ++i) {
    asked.emplace_back(by_certificate.get(), by_certificate->ask({.path = path}));
    asked.emplace_back(by_token.get(), by_token->ask({.path = path, .fields = bearer()}));
  }
  std::size_t refused = 0;
  for (const auto& [client, id] : asked) {
    const Answer& answer = client->wait(id, 10s);
    EXPECT_TRUE(answer.whole()) << answer.describe();
    if (answer.status != 429) continue;
    ++refused;
    EXPECT_EQ(answer.field("retry-after"), "1");
    EXPECT_TRUE(answer.field("content-type").starts_with("text/plain"));
    EXPECT_NE(answer.field("x-kubernetes-pf-flowschema-uid"), "");
    EXPECT_NE(answer.field("x-kubernetes-pf-prioritylevel-uid"), "");
    EXPECT_EQ(answer.body, "Too many requests, please try again later.\n");
  }
  EXPECT_GT(refused, each / 2);
  EXPECT_EQ(apisim->seen("refused-by-fairness").size(), asked.size());
  EXPECT_EQ(sluice->metric("sluice_replays_total"), 0.0);
  EXPECT_EQ(sluice->metric("sluice_backend_ready"), 3.0);
}

// The frames of our answer to a request that ends, and to one that does not.
TEST_F(AnswersTest, AMalformedRequestIsToldWhatIsWrongThenResetAndLogged) {
  start_apisim();
  const TemporaryDirectory directory;
  const std::string log = directory.file("access.log");
  start_sluice({.flags = {"--access-log=" + log}});
  const struct {
    std::string name, value, told;
    bool ends;
  } rows[] = {
      {"te", "gzip", "\\\"te\\\" may only be", true},
      {"connection", "close", "\\\"connection\\\" belongs to HTTP/1.1", true},
      {"upgrade", "websocket", "\\\"upgrade\\\" belongs to HTTP/1.1", false},
      {"host", "elsewhere", "host names another authority", true},
      {"content-length", "4", "\\\"content-length\\\" says", true},
  };
  const auto client = connect_raw(&credentials.alice);
  ASSERT_TRUE(client->begin_http2());
  std::uint32_t id = 1;
  for (const auto& row : rows) {
    ASSERT_TRUE(client->send(
        FrameWriter()
            .headers(id, hpack_get(object_path) + hpack_literal(row.name, row.value), row.ends)
            .text()));
    const auto of_stream = [&](std::uint8_t type) {
      const auto found = std::ranges::find_if(client->frames(), [&](const Frame& frame) {
        return frame.id == id && frame.type == type;
      });
      return found == client->frames().end() ? nullptr : &*found;
    };
    ASSERT_TRUE(client->read_until([&] { return of_stream(frame::rst_stream) != nullptr; }));
    ASSERT_NE(of_stream(frame::headers), nullptr) << row.name;
    ASSERT_NE(of_stream(frame::data), nullptr) << row.name;
    EXPECT_TRUE(of_stream(frame::data)->has(frame::end_stream)) << row.name;
    EXPECT_TRUE(of_stream(frame::data)->payload.contains(R"("code":400)")) << row.name;
    EXPECT_TRUE(of_stream(frame::data)->payload.contains(row.told))
        << of_stream(frame::data)->payload;
    EXPECT_LT(of_stream(frame::data), of_stream(frame::rst_stream)) << row.name;
    EXPECT_EQ(of_stream(frame::rst_stream)->number(0), 1U) << row.name;
    id += 2;
  }
  const auto lines = [&] {
    const std::string text = read_file(log);
    return static_cast<std::size_t>(std::ranges::count(text, '\n'));
  };
  EXPECT_TRUE(eventually([&] { return lines() >= std::size(rows); }, 10s)) << read_file(log);
  std::istringstream text(read_file(log));
  for (std::string line; std::getline(text, line);) {
    const auto json = Json::parse(line);
    ASSERT_TRUE(json.has_value() && json->is_object()) << line;
    EXPECT_TRUE(line.contains(R"("status":400)")) << line;
    EXPECT_EQ(json->text("reason"), "malformed") << line;
    EXPECT_EQ(json->text("method"), "GET") << line;
    EXPECT_EQ(json->text("path"), object_path) << line;
    EXPECT_NE(json->text("client"), "") << line;
  }
  EXPECT_EQ(sluice->metric("sluice_local_replies_total", {"reason=\"malformed\""}),
            double{std::size(rows)});
}

TEST_F(AnswersTest, QueriesAreLimitedByTheHeadAloneAndBlanksPass) {
  start();
  const auto client = connect();
  const std::string pods = "/api/v1/namespaces/default/pods?limit=1";
  for (const std::string& path :
       {pods + "&labelSelector=a%3D" + std::string(200'000, 'b'), pods + "&x=%", pods + "&x=%zz",
        pods + "&x=%00", pods + "&x=\xc3\xa9"}) {
    const Answer& answer = client->fetch({.path = path, .fields = bearer()});
    EXPECT_NE(answer.status, 431) << path.substr(0, 100);
    EXPECT_FALSE(answer.body.contains("the path")) << answer.describe();
  }
  EXPECT_EQ(client->fetch({.path = pods + std::string(300'000, 'a'), .fields = bearer()}).status,
            431);
  EXPECT_EQ(client->fetch({.path = "/a%", .fields = bearer()}).status, 400);
  EXPECT_EQ(client
                ->fetch({.path = std::string(object_path),
                         .fields = {{"authorization", "Bearer token-1 "}}})
                .status,
            200);
}

// Word for word as an API server answers; in one piece, byte by byte, and with more behind it.
TEST_F(AnswersTest, HttpWithoutTlsIsToldSo) {
  start_apisim();
  start_sluice();
  const std::string request = "GET /version HTTP/1.1\r\nHost: x\r\n\r\n";
  const auto ask = [&](const io::Address& address, const std::vector<std::string>& pieces) {
    RawClient client(address, nullptr);
    for (const std::string& piece : pieces) {
      EXPECT_TRUE(client.send(piece));
      client.read_until([] { return false; }, 5ms);
    }
    EXPECT_TRUE(client.wait_end());
    EXPECT_EQ(client.end(), RawClient::End::fin);
    return client.received();
  };
  const std::string expected =
      "HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n";
  EXPECT_EQ(ask(sluice->address(), {request}), expected);
  EXPECT_EQ(ask(sluice->address(), {"P", "O", "S", "T", " "}), expected);
  EXPECT_EQ(ask(sluice->address(), {request + std::string(100'000, 'x')}), expected);
}

TEST_F(AnswersTest, ACompressedWatchListShowsEachEventWhenItHappens) {
  start({}, {"--pods=200"});
  const auto client = connect(&credentials.alice);
  const auto id = client->ask(
      {.path = "/api/v1/configmaps?watch=1&allowWatchBookmarks=true&sendInitialEvents=true"
               "&resourceVersionMatch=NotOlderThan",
       .fields = {{"accept-encoding", "gzip"}}});
  ASSERT_EQ(client->wait_head(id).status, 200);
  EXPECT_EQ(client->answer(id).field("content-encoding"), "gzip");
  const auto shows = [&](std::string_view text) {
    return loop->run_until(
        [&] {
          const Answer& answer = client->answer(id);
          return answer.bytes > 0 && gunzip(answer.body).contains(text);
        },
        5s);
  };
  EXPECT_TRUE(shows("k8s.io/initial-events-end"));
  for (const std::string name : {"first", "second"}) {
    const Answer& created = client->fetch({.method = "POST",
                                           .path = "/api/v1/namespaces/default/configmaps",
                                           .fields = {{"content-type", "application/json"}},
                                           .body = R"({"metadata":{"name":")" + name + R"("}})"});
    EXPECT_EQ(created.status, 201);
    EXPECT_TRUE(shows("\"" + name + "\"")) << name;
  }
}

}  // namespace
}  // namespace sluice::test
