// SPDX-License-Identifier: GPL-3.0-or-later
// Heads, bodies and trailers through a session, in both roles.
#include "recorder.h"

namespace sluice::http2::test {
namespace {

TEST(SessionTest, CarriesARequestAndItsResponse) {
  Pair pair;
  pair.server.react = [&](StreamId id) { pair.server.respond(id, "hello"); };
  const StreamId id = pair.request(get("/api/v1/pods?watch=1"), {}, 77);
  pair.run();
  EXPECT_TRUE(pair.server.saw("request 1 GET /api/v1/pods?watch=1 end"));
  EXPECT_TRUE(pair.server.saw("end 1"));
  EXPECT_EQ(pair.server.requests[id].authority, "kube");
  EXPECT_EQ(pair.server.requests[id].scheme, "https");
  EXPECT_TRUE(pair.client.saw("response 1 200"));
  EXPECT_EQ(pair.client.tags[id], 77u);
  EXPECT_EQ(pair.client.received[id], "hello");
  EXPECT_EQ(pair.client.events.back(), "closed 1 0");
  EXPECT_EQ(pair.server.events.back(), "closed 1 0");
  EXPECT_EQ(pair.client.session.open_streams(), 0u);
  EXPECT_EQ(pair.server.session.open_streams(), 0u);
}

TEST(SessionTest, EndsTheStreamOnTheLastDataFrameWithoutAnEmptyOne) {
  Recorder server(server_options());
  open_server(server);
  ASSERT_TRUE(server.feed(FrameWriter().headers(1, hpack_get())));
  server.respond(1, "abc");
  const std::vector<Frame> frames = server.collect_frames();
  ASSERT_EQ(frames.size(), 2u);
  EXPECT_EQ(frames[0].type, frame::headers);
  EXPECT_FALSE(frames[0].has(frame::end_stream));
  EXPECT_EQ(frames[1].type, frame::data);
  EXPECT_EQ(frames[1].payload, "abc");
  EXPECT_TRUE(frames[1].has(frame::end_stream));
}

TEST(SessionTest, AResponseWithoutABodyEndsWithItsHead) {
  Recorder server(server_options());
  open_server(server);
  ASSERT_TRUE(server.feed(FrameWriter().headers(1, hpack_get())));
  server.respond(1, "", 204);
  const std::vector<Frame> frames = server.collect_frames();
  ASSERT_EQ(frames.size(), 1u);
  EXPECT_TRUE(frames[0].has(frame::end_stream));
  EXPECT_EQ(server.bodies[1].asked, 0u);
  EXPECT_TRUE(server.saw("closed 1 0"));
}

TEST(SessionTest, AnEmptyBodyThatFinishesEndsWithAnEmptyDataFrame) {
  Recorder server(server_options());
  open_server(server);
  ASSERT_TRUE(server.feed(FrameWriter().headers(1, hpack_get())));
  http::ResponseHead head;
  head.status = 200;
  server.session.submit_response(1, head, true);
  const std::vector<Frame> frames = server.collect_frames();
  ASSERT_EQ(frames.size(), 2u);
  EXPECT_EQ(frames[1].payload, "");
  EXPECT_TRUE(frames[1].has(frame::end_stream));
}

TEST(SessionTest, TrailersTravelBothWays) {
  Pair pair;
  const StreamId id = pair.request(post(), "upload");
  pair.client.bodies[id].trailers.add("x-checksum", "1");
  pair.run();
  EXPECT_TRUE(pair.server.saw("trailers 1"));
  EXPECT_EQ(pair.server.trailers[id].find("x-checksum"), "1");
  EXPECT_EQ(pair.server.received[id], "upload");
  EXPECT_EQ(pair.server.events.back(), "end 1");
  pair.server.bodies[id].trailers.add("grpc-status", "0");
  pair.server.respond(id, "answer");
  pair.run();
  EXPECT_EQ(pair.client.received[id], "answer");
  EXPECT_EQ(pair.client.trailers[id].find("grpc-status"), "0");
  ASSERT_GE(pair.client.events.size(), 3u);
  EXPECT_EQ(*(pair.client.events.end() - 2), "end 1");
  EXPECT_EQ(pair.client.events.back(), "closed 1 0");
}

TEST(SessionTest, TrailersMayFollowABodyWithoutBytes) {
  Pair pair;
  const StreamId id = pair.request(get());
  pair.run();
  http::ResponseHead head;
  head.status = 200;
  pair.server.bodies[id].trailers.add("x-t", "v");
  pair.server.session.submit_response(id, head, true);
  pair.run();
  EXPECT_EQ(pair.client.trailers[id].find("x-t"), "v");
  EXPECT_EQ(pair.client.events.back(), "closed 1 0");
}

TEST(SessionTest, InterimHeadsPrecedeTheFinalOne) {
  Pair pair;
  const StreamId id = pair.request(post(), "body");
  pair.run();
  http::ResponseHead interim;
  interim.status = 103;
  interim.fields.add("link", "</x>");
  pair.server.session.submit_interim(id, interim);
  pair.run();
  EXPECT_EQ(pair.client.events.back(), "response 1 103");
  EXPECT_EQ(pair.client.responses[id].fields.find("link"), "</x>");
  pair.server.respond(id, "done", 201);
  pair.run();
  EXPECT_TRUE(pair.client.saw("response 1 201"));
  EXPECT_EQ(pair.client.received[id], "done");
  EXPECT_EQ(pair.client.count("end 1"), 1u);
}

TEST(SessionTest, KeepsTheOrderAndRepetitionOfFields) {
  Pair pair;
  http::RequestHead head = get();
  head.fields.add("impersonate-group", "b");
  head.fields.add("accept", "application/json");
  head.fields.add("impersonate-group", "a");
  const StreamId id = pair.request(head);
  pair.run();
  const http::Fields& fields = pair.server.requests[id].fields;
  ASSERT_EQ(fields.size(), 3u);
  EXPECT_EQ(fields[0].value, "b");
  EXPECT_EQ(fields[1].name, "accept");
  EXPECT_EQ(fields[2].value, "a");
}

TEST(SessionTest, KeepsFieldsOutOfTheTableThatMustNotBeIndexed) {
  Pair pair;
  http::RequestHead head = get();
  head.fields.add("x-secret", "s3cret", true);
  head.fields.add("authorization", "Bearer abc");
  head.fields.add("x-plain", "p");
  ASSERT_TRUE(pair.client.session.submit_request(head, false, 0));
  const std::string wire = pair.client.collect_all();
  ASSERT_TRUE(pair.server.session.feed(as_bytes(wire), start));
  const http::Fields& fields = pair.server.requests[1].fields;
  ASSERT_EQ(fields.size(), 3u);
  EXPECT_TRUE(fields[0].never_indexed);
  EXPECT_TRUE(fields[1].never_indexed);
  EXPECT_FALSE(fields[2].never_indexed);
  // And the flag survives the next hop.
  ASSERT_TRUE(pair.client.session.submit_request(pair.server.requests[1], false, 0));
  Pair::move(pair.client, pair.server);
  EXPECT_TRUE(pair.server.requests[3].fields[0].never_indexed);
}

TEST(SessionTest, ReadsANeverIndexedFieldOfAPeer) {
  Recorder server(server_options());
  open_server(server);
  ASSERT_TRUE(server.feed(
      FrameWriter().headers(1, hpack_get() + hpack_literal("x-token", "t", Indexing::never) +
                                   hpack_literal("x-open", "o", Indexing::incremental))));
  const http::Fields& fields = server.requests[1].fields;
  ASSERT_EQ(fields.size(), 2u);
  EXPECT_TRUE(fields[0].never_indexed);
  EXPECT_FALSE(fields[1].never_indexed);
}

TEST(SessionTest, FoldsHostIntoTheAuthority) {
  Recorder server(server_options());
  open_server(server);
  ASSERT_TRUE(server.feed(FrameWriter().headers(
      1,
      hpack_block({{":method", "GET"}, {":scheme", "https"}, {":path", "/"}, {"host", "h:1"}}))));
  EXPECT_EQ(server.requests[1].authority, "h:1");
  EXPECT_FALSE(server.requests[1].fields.contains("host"));
  ASSERT_TRUE(server.feed(FrameWriter().headers(3, hpack_get() + hpack_literal("host", "K"))));
  EXPECT_EQ(server.requests[3].authority, "k");
  EXPECT_FALSE(server.requests[3].fields.contains("host"));
}

struct BadHead {
  const char* name;
  std::string block;
};
void PrintTo(const BadHead& head, std::ostream* out) { *out << head.name; }

class BadRequestTest : public testing::TestWithParam<BadHead> {};

TEST_P(BadRequestTest, IsResetAndNeverShownAsARequest) {
  Recorder server(server_options());
  open_server(server);
  ASSERT_TRUE(server.feed(FrameWriter().headers(1, GetParam().block)));
  EXPECT_EQ(server.count("malformed 1 "), 1u);
  const std::vector<Frame> frames = server.collect_frames();
  ASSERT_EQ(frames.size(), 1u);
  EXPECT_EQ(frames[0].type, frame::rst_stream);
  EXPECT_EQ(frames[0].number(0), static_cast<std::uint32_t>(ErrorCode::protocol_error));
  EXPECT_EQ(server.count("request"), 0u);
  EXPECT_EQ(server.session.open_streams(), 0u);
  // The connection lives on.
  ASSERT_TRUE(server.feed(FrameWriter().headers(3, hpack_get())));
  EXPECT_TRUE(server.saw("request 3 GET / end"));
}

INSTANTIATE_TEST_SUITE_P(
    Session, BadRequestTest,
    testing::Values(
        BadHead{"no_method",
                hpack_block({{":scheme", "https"}, {":path", "/"}, {":authority", "k"}})},
        BadHead{"no_path",
                hpack_block({{":method", "GET"}, {":scheme", "https"}, {":authority", "k"}})},
        BadHead{"no_scheme",
                hpack_block({{":method", "GET"}, {":path", "/"}, {":authority", "k"}})},
        BadHead{"no_authority",
                hpack_block({{":method", "GET"}, {":scheme", "https"}, {":path", "/"}})},
        BadHead{"connect", hpack_block({{":method", "CONNECT"}, {":authority", "k:443"}})},
        BadHead{"extended_connect", hpack_block({{":method", "CONNECT"},
                                                 {":protocol", "websocket"},
                                                 {":scheme", "https"},
                                                 {":path", "/"},
                                                 {":authority", "k"}})},
        BadHead{"foreign_scheme",
                hpack_block(
                    {{":method", "GET"}, {":scheme", "ftp"}, {":path", "/"}, {":authority", "k"}})},
        BadHead{"relative_path", hpack_block({{":method", "GET"},
                                              {":scheme", "https"},
                                              {":path", "api"},
                                              {":authority", "k"}})},
        BadHead{"userinfo", hpack_block({{":method", "GET"},
                                         {":scheme", "https"},
                                         {":path", "/"},
                                         {":authority", "me@k"}})},
        BadHead{"two_authorities", hpack_get() + hpack_literal("host", "other")},
        BadHead{"two_paths", hpack_get() + hpack_literal(":path", "/b")},
        BadHead{"pseudo_after_regular", hpack_block({{":method", "GET"},
                                                     {":scheme", "https"},
                                                     {"x", "y"},
                                                     {":path", "/"},
                                                     {":authority", "k"}})},
        BadHead{"unknown_pseudo", hpack_get() + hpack_literal(":user", "x")},
        BadHead{"status_in_request", hpack_get() + hpack_literal(":status", "200")},
        BadHead{"upper_case", hpack_get() + hpack_literal("X-Remote-User", "admin")},
        BadHead{"empty_name", hpack_get() + hpack_literal("", "x")},
        BadHead{"space_in_name", hpack_get() + hpack_literal("x y", "z")},
        BadHead{"line_break_in_value", hpack_get() + hpack_literal("x", "a\r\nX-Remote-User: b")},
        BadHead{"nul_in_value", hpack_get() + hpack_literal("x", std::string_view("a\0b", 3))},
        BadHead{"line_break_in_path", hpack_block({{":method", "GET"},
                                                   {":scheme", "https"},
                                                   {":path", "/ HTTP/1.1\r\nx: y"},
                                                   {":authority", "k"}})},
        BadHead{"bad_method", hpack_block({{":method", "GE T"},
                                           {":scheme", "https"},
                                           {":path", "/"},
                                           {":authority", "k"}})},
        BadHead{"connection_field", hpack_get() + hpack_literal("connection", "x-remote-user")},
        BadHead{"transfer_encoding", hpack_get() + hpack_literal("transfer-encoding", "chunked")},
        BadHead{"upgrade", hpack_get() + hpack_literal("upgrade", "h2c")},
        BadHead{"te_other", hpack_get() + hpack_literal("te", "gzip")},
        BadHead{"content_length_without_body", hpack_get() + hpack_literal("content-length", "5")},
        BadHead{"two_content_lengths", hpack_get() + hpack_literal("content-length", "0") +
                                           hpack_literal("content-length", "0")},
        BadHead{"signed_content_length", hpack_get() + hpack_literal("content-length", "+0")}),
    [](const auto& param_info) { return param_info.param.name; });

TEST(SessionTest, ABodyThatContradictsItsLengthIsReset) {
  Recorder server(server_options());
  open_server(server);
  ASSERT_TRUE(
      server.feed(FrameWriter()
                      .headers(1, hpack_post() + hpack_literal("content-length", "3"), false)
                      .data(1, "four", true)));
  EXPECT_TRUE(server.saw("request 1 POST /"));
  EXPECT_FALSE(server.saw("end 1"));
  const std::vector<Frame> frames = server.collect_frames();
  ASSERT_EQ(frames.size(), 1u);
  EXPECT_EQ(frames[0].type, frame::rst_stream);
  EXPECT_TRUE(server.saw("closed 1 1"));
}

TEST(SessionTest, EventsAreTheSameHoweverTheBytesAreCut) {
  FrameWriter input;
  input.preface().settings_ack();
  input.headers(1, hpack_get("/a"));
  const std::string head = hpack_post("/b") + hpack_literal("x-long", std::string(300, 'v'));
  input.headers(3, head.substr(0, 20), false, false)
      .continuation(3, head.substr(20, 100), false)
      .continuation(3, head.substr(120), true);
  input.data(3, "some ").ping(9).data(3, "bytes").window_update(3, 100).priority(7);
  input.headers(3, hpack_literal("x-trailer", "t"), true);
  input.headers(5, hpack_get("/c")).rst_stream(5, 8);
  input.frame(frame::unknown, 0x55, 9, "whatever");
  input.frame(frame::data, frame::padded | frame::end_stream, 99, std::string("\x02") + "x\0\0");

  const auto run = [&](std::size_t step) {
    Recorder server(server_options());
    const Bytes bytes = input.bytes();
    bool failed = false;
    for (std::size_t at = 0; at < bytes.size(); at += step) {
      failed |= !server.session.feed(bytes.subspan(at, std::min(step, bytes.size() - at)), start);
    }
    server.note("body " + server.received[3] + (failed ? " failed" : ""));
    server.note("frames " + std::to_string(server.collect_frames().size()));
    return server.events;
  };
  const std::vector<std::string> whole = run(input.bytes().size());
  EXPECT_TRUE(std::ranges::find(whole, "trailers 3") != whole.end());
  // DATA for stream 99, which was never opened, ends the connection; all before it is seen.
  EXPECT_TRUE(std::ranges::find(whole, "body some bytes failed") != whole.end());
  for (const std::size_t step : {1u, 2u, 3u, 7u, 10u, 64u}) EXPECT_EQ(run(step), whole) << step;
}

TEST(SessionTest, FramesAreTheSameHoweverSmallTheBatches) {
  const auto run = [](std::size_t batch_bytes) {
    Recorder server(server_options());
    open_server(server);
    EXPECT_TRUE(server.feed(FrameWriter().headers(1, hpack_get()).headers(3, hpack_get())));
    http::ResponseHead head;
    head.status = 200;
    head.fields.add("x-large", std::string(20'000, 'z'));
    server.bodies[1].left = std::string(5000, 'a');
    server.bodies[3].left = std::string(700, 'b');
    server.session.submit_response(1, head, true);
    server.session.submit_response(3, head, true);
    std::map<std::uint32_t, std::string> bodies;
    std::size_t ends = 0;
    for (const Frame& f : server.collect_frames(batch_bytes)) {
      if (f.type == frame::data) bodies[f.id] += f.payload;
      ends += f.type == frame::data && f.has(frame::end_stream);
    }
    EXPECT_EQ(ends, 2u);
    return bodies;
  };
  const auto whole = run(65536);
  EXPECT_EQ(whole.at(1), std::string(5000, 'a'));
  EXPECT_EQ(whole.at(3), std::string(700, 'b'));
  for (const std::size_t bytes : {80u, 100u, 1000u, 16384u}) EXPECT_EQ(run(bytes), whole) << bytes;
}

TEST(SessionTest, APeerWithoutThePrefaceIsRefused) {
  Recorder server(server_options());
  const Result<void> result =
      server.session.feed(as_bytes("GET / HTTP/1.1\r\nHost: x\r\n\r\n"), start);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().kind, ErrorKind::protocol);
  EXPECT_EQ(result.error().side, Side::client);
  const std::vector<Frame> frames = server.collect_frames();
  ASSERT_FALSE(frames.empty());
  EXPECT_EQ(frames.back().type, frame::goaway);
  EXPECT_TRUE(server.session.finished());
  EXPECT_FALSE(server.session.feed(as_bytes("more"), start));
}

TEST(SessionTest, AnnouncesItsSettings) {
  Recorder server(server_options());
  const std::vector<Frame> frames = server.collect_frames();
  ASSERT_EQ(frames.size(), 2u);
  ASSERT_EQ(frames[0].type, frame::settings);
  std::map<std::uint32_t, std::uint32_t> settings;
  for (std::size_t at = 0; at + 6 <= frames[0].payload.size(); at += 6) {
    settings[frames[0].number(at) >> 16] = frames[0].number(at + 2);
  }
  EXPECT_EQ(settings[frame::max_concurrent_streams], 250u);
  EXPECT_EQ(settings[frame::initial_window_size], 65536u);
  EXPECT_EQ(settings[frame::max_header_list_size], 256u * 1024);
  EXPECT_EQ(settings[frame::no_rfc7540_priorities], 1u);
  EXPECT_EQ(settings.count(8), 0u);  // never SETTINGS_ENABLE_CONNECT_PROTOCOL
  EXPECT_EQ(frames[1].type, frame::window_update);
  EXPECT_EQ(frames[1].number(0), 16u * 1024 * 1024 - 65535);
}

TEST(SessionTest, AClientTurnsPushOff) {
  Recorder client(client_options());
  FrameReader reader;
  reader.append(as_bytes(client.collect_all()));
  ASSERT_TRUE(reader.skip_magic());
  const std::vector<Frame> frames = reader.all();
  ASSERT_FALSE(frames.empty());
  EXPECT_EQ(frames[0].number(0) >> 16, frame::enable_push);
  EXPECT_EQ(frames[0].number(2), 0u);
  ASSERT_TRUE(client.feed(FrameWriter().settings()));
  ASSERT_TRUE(client.session.submit_request(get(), false, 0));
  client.collect_all();
  EXPECT_FALSE(client.feed(FrameWriter().frame(frame::push_promise, frame::end_headers, 1,
                                               big_endian(2, 4) + hpack_get())));
}

TEST(SessionTest, AnnouncesOutputOnceUntilItIsCollected) {
  Pair pair;
  pair.run();
  pair.client.outputs_announced = 0;
  pair.request(get("/1"));
  pair.request(get("/2"));
  pair.client.session.ping(1);
  EXPECT_EQ(pair.client.outputs_announced, 1);
  EXPECT_TRUE(pair.client.session.wants_output());
  pair.client.collect_all();
  EXPECT_FALSE(pair.client.session.wants_output());
  pair.client.session.ping(2);
  EXPECT_EQ(pair.client.outputs_announced, 2);
}

TEST(SessionTest, AnswersAndReportsPings) {
  Pair pair;
  pair.run();
  pair.client.session.ping(0x0102030405060708);
  pair.run();
  EXPECT_TRUE(pair.client.saw("pong " + std::to_string(0x0102030405060708)));
}

TEST(SessionTest, DescribesItselfInOneLine) {
  Pair pair;
  pair.request(get());
  pair.run();
  const std::string text = pair.server.session.describe();
  EXPECT_NE(text.find("http2 server streams=1 last_peer_stream=1"), std::string::npos) << text;
  EXPECT_EQ(text.find('\n'), std::string::npos);
}

TEST(SessionTest, SessionsThatShareMemoryDoNotMixTheirBytes) {
  CodecMemory memory;
  SessionOptions for_client = client_options();
  SessionOptions for_server = server_options();
  for_client.memory = &memory;
  for_server.memory = &memory;
  {
    std::vector<std::unique_ptr<Pair>> pairs;
    for (int i = 0; i < 8; ++i) pairs.push_back(std::make_unique<Pair>(for_client, for_server));
    EXPECT_EQ(memory.sessions(), 16u);
    for (int i = 0; i < 8; ++i) {
      http::RequestHead head = post("/" + std::to_string(i));
      head.fields.add("x-large", std::string(40'000, static_cast<char>('a' + i)));
      pairs[static_cast<std::size_t>(i)]->request(head,
                                                  std::string(30'000, static_cast<char>('A' + i)));
    }
    // One small batch of each in turn: frames of all sessions are half sent at the same time.
    std::vector<std::uint8_t> batch(1000);
    for (bool moved = true; moved;) {
      moved = false;
      for (auto& pair : pairs) {
        for (auto [from, to] :
             {std::pair{&pair->client, &pair->server}, std::pair{&pair->server, &pair->client}}) {
          const std::size_t n = from->session.collect(batch);
          moved |= n > 0;
          ASSERT_TRUE(to->session.feed(Bytes(batch).first(n), start));
        }
      }
    }
    for (int i = 0; i < 8; ++i) {
      Recorder& server = pairs[static_cast<std::size_t>(i)]->server;
      EXPECT_TRUE(server.saw("request 1 POST /" + std::to_string(i)));
      EXPECT_EQ(server.requests[1].fields.find("x-large"),
                std::string(40'000, static_cast<char>('a' + i)));
      EXPECT_EQ(server.received[1], std::string(30'000, static_cast<char>('A' + i)));
    }
  }
  EXPECT_EQ(memory.sessions(), 0u);
}

// As a retry does that opens a new connection when it learns that a stream is over.
TEST(SessionTest, ASessionCreatedInsideAnEventDoesNotDisturbTheFrameBeingSent) {
  struct Creator : Recorder {
    using Recorder::Recorder;
    void on_stream_closed(StreamRef ref, ErrorCode error, bool by_peer) override {
      Recorder::on_stream_closed(ref, error, by_peer);
      SessionOptions options = client_options();
      options.memory = memory;
      created = std::make_unique<Recorder>(options);
    }
    CodecMemory* memory = nullptr;
    std::unique_ptr<Recorder> created;
  };
  CodecMemory memory;
  {
    SessionOptions options = server_options();
    options.memory = &memory;
    Creator server(options);
    server.memory = &memory;
    open_server(server);
    ASSERT_TRUE(server.feed(FrameWriter().headers(1, hpack_get())));
    http::ResponseHead head;
    head.status = 404;
    head.fields.add("x-long", std::string(500, 'z'));
    server.session.submit_response(1, head, false);
    const std::string wire = server.collect_all();  // the stream ends while its HEADERS are packed
    ASSERT_NE(server.created, nullptr);
    Recorder client(client_options());
    ASSERT_TRUE(client.session.submit_request(get(), false, 0));
    client.collect_all();
    ASSERT_TRUE(client.session.feed(FrameWriter().settings().bytes(), start));
    ASSERT_TRUE(client.session.feed(as_bytes(wire), start));
    EXPECT_EQ(client.responses[1].fields.find("x-long"), std::string(500, 'z'));
    EXPECT_TRUE(server.created->collect_all().starts_with("PRI * HTTP/2.0"));
  }
}

TEST(SessionTest, AHeadThatCannotBeSentEndsItsStream) {
  SessionOptions options;
  options.sent_fields_max = 16;
  options.sent_list_bytes_max = 1024;
  Recorder server(options);
  open_server(server);
  ASSERT_TRUE(server.feed(FrameWriter().headers(1, hpack_get())));
  http::ResponseHead head;
  head.status = 200;
  head.fields.add("x-long", std::string(100'000, 'z'));
  server.session.submit_response(1, head, true);
  const std::vector<Frame> frames = server.collect_frames();
  ASSERT_EQ(frames.size(), 1u);
  EXPECT_EQ(frames[0].type, frame::rst_stream);
  EXPECT_EQ(server.events.back(), "closed 1 2");
}

TEST(SessionTest, APeersWordsAreFitForALogLine) {
  Recorder client(client_options());
  ASSERT_TRUE(client.feed(FrameWriter().settings().goaway(0, 0, "bye\nforged line\x1b[2J")));
  EXPECT_NE(client.session.describe().find("reason=bye?forged line?[2J"), std::string::npos);
}

TEST(SessionTest, ATagCanBeGivenLater) {
  Pair pair;
  const StreamId id = pair.request(get());
  pair.client.session.set_tag(id, 5);
  pair.client.session.set_tag(99, 6);  // no such stream
  pair.run();
  pair.server.respond(id, "x");
  pair.run();
  EXPECT_EQ(pair.client.tags[id], 5u);
}

}  // namespace
}  // namespace sluice::http2::test
