// SPDX-License-Identifier: GPL-3.0-or-later
// How streams and connections end: resets, GOAWAY, drain.
#include "recorder.h"

namespace sluice::http2::test {
namespace {

std::uint32_t code(ErrorCode c) { return static_cast<std::uint32_t>(c); }

TEST(SessionEndTest, AResetOfThePeerIsReportedWithItsCode) {
  Pair pair;
  const StreamId id = pair.request(get());
  pair.run();
  pair.server.session.reset_stream(id, ErrorCode::internal_error);
  pair.run();
  EXPECT_EQ(pair.client.events.back(), "closed 1 2 by_peer");
  EXPECT_EQ(pair.server.events.back(), "closed 1 2");
}

TEST(SessionEndTest, ACancelledRequestIsReportedToTheServer) {
  Pair pair;
  const StreamId id = pair.request(get());
  pair.run();
  pair.client.session.reset_stream(id, ErrorCode::cancel);
  EXPECT_EQ(pair.client.session.open_streams(), 1u);  // until RST_STREAM has left
  pair.run();
  EXPECT_EQ(pair.server.events.back(), "closed 1 8 by_peer");
  EXPECT_EQ(pair.client.events.back(), "closed 1 8");
  EXPECT_EQ(pair.client.session.open_streams(), 0u);
  pair.client.session.reset_stream(id, ErrorCode::cancel);  // ended: no effect
  EXPECT_FALSE(pair.client.session.wants_output());
}

TEST(SessionEndTest, DropsWhatArrivesForAStreamThatWeReset) {
  Recorder server(server_options());
  open_server(server);
  ASSERT_TRUE(server.feed(FrameWriter().headers(1, hpack_post(), false)));
  server.session.reset_stream(1, ErrorCode::cancel);
  ASSERT_TRUE(server.feed(FrameWriter().data(1, "late", true)));
  EXPECT_EQ(server.received.count(1), 0u);
  EXPECT_FALSE(server.saw("end 1"));
  server.collect_all();
  EXPECT_EQ(server.events.back(), "closed 1 8");
}

TEST(SessionEndTest, ARequestCancelledBeforeItLeftWasNeverWritten) {
  Pair pair;
  pair.run();
  const StreamId id = pair.request(get());
  EXPECT_FALSE(pair.client.session.request_written(id));
  pair.client.session.reset_stream(id, ErrorCode::cancel);
  pair.run();
  EXPECT_EQ(pair.client.events.back(), "closed 1 8");
  EXPECT_FALSE(pair.client.written_at_close[id]);
  EXPECT_EQ(pair.server.count("request"), 0u);
}

TEST(SessionEndTest, ARequestIsWrittenFromItsFirstByteOn) {
  Recorder client(client_options());
  ASSERT_TRUE(client.feed(FrameWriter().settings()));
  client.collect_all();
  http::RequestHead head = get();
  head.fields.add("x-large", std::string(40'000, 'x'));
  const Result<StreamId> id = client.session.submit_request(head, false, 0);
  ASSERT_TRUE(id);
  EXPECT_FALSE(client.session.request_written(*id));
  std::vector<std::uint8_t> batch(1);
  ASSERT_EQ(client.session.collect(batch), 1u);
  EXPECT_TRUE(client.session.request_written(*id));
  EXPECT_FALSE(client.session.request_written(99));
}

// RFC 9113 section 8.1: an early answer is complete, the rest of the upload is not wanted.
TEST(SessionEndTest, AnEarlyAnswerFollowedByAResetIsComplete) {
  Pair pair;
  const StreamId id = pair.request(post(), std::string(1'000'000, 'u'));
  pair.server.consume_at_once = false;
  pair.run();
  pair.server.respond(id, "too large", 413);
  pair.server.session.reset_stream(id, ErrorCode::no_error);  // waits for END_STREAM
  pair.run();
  ASSERT_GE(pair.client.events.size(), 3u);
  EXPECT_EQ(*(pair.client.events.end() - 3), "response 1 413");
  EXPECT_EQ(*(pair.client.events.end() - 2), "end 1");
  EXPECT_EQ(pair.client.events.back(), "closed 1 0 by_peer");
  EXPECT_EQ(pair.client.received[id], "too large");
  EXPECT_EQ(pair.server.events.back(), "closed 1 0");
}

TEST(SessionEndTest, StoppingAnUploadAfterTheEndWorks) {
  Recorder server(server_options());
  open_server(server);
  ASSERT_TRUE(server.feed(FrameWriter().headers(1, hpack_post(), false)));
  server.respond(1, "no");
  EXPECT_EQ(server.collect_frames().size(), 2u);
  EXPECT_FALSE(server.saw("closed 1 0"));
  server.session.reset_stream(1, ErrorCode::no_error);
  const std::vector<Frame> frames = server.collect_frames();
  ASSERT_EQ(frames.size(), 1u);
  EXPECT_EQ(frames[0].type, frame::rst_stream);
  EXPECT_EQ(frames[0].number(0), 0u);
  EXPECT_TRUE(server.saw("closed 1 0"));
}

TEST(SessionEndTest, StoppingAnUploadThatHasEndedSendsNothing) {
  Recorder server(server_options());
  open_server(server);
  ASSERT_TRUE(server.feed(FrameWriter().headers(1, hpack_get())));
  server.respond(1, "x");
  server.session.reset_stream(1, ErrorCode::no_error);
  for (const Frame& f : server.collect_frames()) EXPECT_NE(f.type, frame::rst_stream);
  EXPECT_TRUE(server.saw("closed 1 0"));
}

TEST(SessionEndTest, ATruncatedAnswerIsAReset) {
  Pair pair;
  const StreamId id = pair.request(get());
  pair.run();
  pair.server.bodies[id].finished = false;
  pair.server.respond(id, "part");
  pair.run();
  pair.server.session.reset_stream(id, ErrorCode::internal_error);
  pair.run();
  EXPECT_EQ(pair.client.received[id], "part");
  EXPECT_FALSE(pair.client.saw("end 1"));
  EXPECT_EQ(pair.client.events.back(), "closed 1 2 by_peer");
}

TEST(SessionEndTest, DrainsInTwoSteps) {
  Pair pair;
  const StreamId open = pair.request(get("/open"));
  pair.run();
  pair.server.session.goaway_notice();
  // This request crosses the notice: it is still served.
  const StreamId crossing = pair.request(get("/crossing"));
  pair.run();
  EXPECT_TRUE(pair.client.saw("goaway 2147483647 0"));
  EXPECT_TRUE(pair.client.session.goaway_received());
  EXPECT_FALSE(pair.client.session.can_open_stream());
  EXPECT_FALSE(pair.client.session.submit_request(get(), false, 0));
  EXPECT_TRUE(pair.server.saw("request 3 GET /crossing end"));
  pair.server.session.goaway_final();
  pair.run();
  EXPECT_TRUE(pair.client.saw("goaway 3 0"));
  EXPECT_FALSE(pair.server.session.finished());
  pair.server.respond(open, "1");
  pair.server.respond(crossing, "2");
  pair.run();
  EXPECT_EQ(pair.client.received[open], "1");
  EXPECT_EQ(pair.client.received[crossing], "2");
  EXPECT_TRUE(pair.server.session.finished());
  EXPECT_TRUE(pair.client.session.finished());
  EXPECT_EQ(pair.client.count("closed"), 2u);
}

TEST(SessionEndTest, AfterTheFinalGoawayNewRequestsAreIgnored) {
  Recorder server(server_options());
  open_server(server);
  ASSERT_TRUE(server.feed(FrameWriter().headers(1, hpack_get())));
  server.session.goaway_final(ErrorCode::no_error, "bye");
  const std::vector<Frame> frames = server.collect_frames();
  ASSERT_EQ(frames.size(), 1u);
  EXPECT_EQ(frames[0].number(0), 1u);
  EXPECT_EQ(frames[0].payload.substr(8), "bye");
  ASSERT_TRUE(server.feed(FrameWriter().headers(3, hpack_get())));
  EXPECT_EQ(server.count("request 3"), 0u);
  EXPECT_EQ(server.session.last_peer_stream(), 1);
}

// The frame may leave long after it was decided on, behind megabytes that a slow client has to take
// first. A request that is executed though GOAWAY says it was not is executed twice.
// What is refused unread is decoded all the same, for the fields that others refer to.
TEST(SessionEndTest, HeadsBehindTheLastStreamAreDecodedAPartAtATime) {
  SessionOptions options = server_options();
  options.decoded_at_once = std::size_t{128} * 1024;
  Recorder server(options);
  open_server(server);
  ASSERT_TRUE(server.feed(FrameWriter().headers(1, hpack_get())));
  server.session.goaway_final();
  FrameWriter writer;
  for (std::uint32_t i = 1; i <= 20; ++i) {
    std::string block = hpack_get();
    if (i == 1) block += hpack_literal("x", std::string(3000, 'v'), Indexing::incremental);
    writer.headers(2 * i + 1, block + std::string(50, '\xbe'));
  }
  ASSERT_TRUE(server.feed(writer));
  EXPECT_TRUE(server.session.can_go_on());
  for (int turn = 0; server.session.can_go_on(); ++turn) {
    ASSERT_LE(turn, 1000);
    ASSERT_TRUE(server.feed(FrameWriter()));
  }
  EXPECT_EQ(server.count("request"), 1U);
}

TEST(SessionEndTest, NothingIsHandedOverThatAGoawayStillToLeaveDoesNotName) {
  Recorder server(server_options());
  open_server(server);
  ASSERT_TRUE(server.feed(FrameWriter().headers(1, hpack_get())));
  server.respond(1, std::string(60'000, 'x'));
  std::vector<std::uint8_t> batch(16384);
  ASSERT_GT(server.session.collect(batch), 0u);  // on its way, and not taken yet
  server.session.goaway_notice();
  ASSERT_TRUE(server.feed(FrameWriter().headers(3, hpack_get("/crossing"))));
  EXPECT_TRUE(server.saw("request 3 GET /crossing end"));
  server.session.goaway_final();
  ASSERT_TRUE(server.feed(FrameWriter()
                              .headers(5, hpack_post("/late"), false)
                              .data(5, "body", true)
                              .headers(7, hpack_get("/late"))));
  EXPECT_EQ(server.count("request 5"), 0u);
  EXPECT_EQ(server.count("request 7"), 0u);
  EXPECT_EQ(server.received.count(5), 0u);
  server.respond(3, "served");
  std::vector<std::uint32_t> last_streams;
  std::vector<std::uint32_t> answered;
  for (const Frame& frame : server.collect_frames()) {
    if (frame.type == frame::goaway) last_streams.push_back(frame.number(0));
    if (frame.type == frame::headers) answered.push_back(frame.id);
    if (frame.type == frame::rst_stream) {
      EXPECT_GT(frame.id, 3u);
      EXPECT_EQ(frame.number(0), code(ErrorCode::refused_stream));
    }
  }
  EXPECT_EQ(last_streams, (std::vector<std::uint32_t>{2147483647, 3}));
  EXPECT_EQ(answered, (std::vector<std::uint32_t>{3}));
  EXPECT_EQ(server.count("closed 5"), 0u);  // its owner never knew it
  EXPECT_EQ(server.session.open_streams(), 0u + server.session.streams().size());
}

TEST(SessionEndTest, RequestsAboveTheLastIdOfAGoawayAreRefused) {
  Recorder client(client_options());
  ASSERT_TRUE(client.feed(FrameWriter().settings()));
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(client.session.submit_request(get(), false, 0));
  client.collect_all();
  ASSERT_TRUE(client.session.submit_request(get(), false, 0));  // 7 has not left yet
  ASSERT_TRUE(client.feed(FrameWriter().goaway(3, 0)));
  EXPECT_TRUE(client.saw("goaway 3 0"));
  EXPECT_TRUE(client.saw("closed 5 7 by_peer"));
  EXPECT_TRUE(client.written_at_close[5]);
  client.collect_all();
  EXPECT_TRUE(client.saw("closed 7 7 by_peer"));
  EXPECT_FALSE(client.written_at_close[7]);
  EXPECT_EQ(client.session.open_streams(), 2u);
  // The others go on.
  ASSERT_TRUE(client.feed(FrameWriter()
                              .headers(1, hpack_block({{":status", "200"}}), false)
                              .data(1, "x", true)
                              .headers(3, hpack_block({{":status", "204"}}))));
  EXPECT_EQ(client.received[1], "x");
  EXPECT_TRUE(client.saw("closed 3 0"));
  EXPECT_TRUE(client.session.finished());
}

TEST(SessionEndTest, ARefusedStreamIsReportedAsSuch) {
  Recorder client(client_options());
  ASSERT_TRUE(client.feed(FrameWriter().settings()));
  ASSERT_TRUE(client.session.submit_request(get(), false, 0));
  client.collect_all();
  ASSERT_TRUE(client.feed(FrameWriter().rst_stream(1, code(ErrorCode::refused_stream))));
  EXPECT_EQ(client.events.back(), "closed 1 7 by_peer");
}

TEST(SessionEndTest, NamesTheStreamsThatTheEndOfAConnectionLeaves) {
  Recorder client(client_options());
  ASSERT_TRUE(client.feed(FrameWriter().settings()));
  ASSERT_TRUE(client.session.submit_request(get(), false, 11));
  client.collect_all();
  ASSERT_TRUE(client.session.submit_request(get(), false, 12));
  EXPECT_FALSE(client.feed(FrameWriter().data(0, "x")));
  std::vector<StreamRef> left = client.session.streams();
  std::ranges::sort(left, {}, &StreamRef::id);
  ASSERT_EQ(left.size(), 2u);
  EXPECT_EQ(left[0].tag, 11u);
  EXPECT_TRUE(client.session.request_written(left[0].id));
  EXPECT_EQ(left[1].tag, 12u);
  EXPECT_FALSE(client.session.request_written(left[1].id));
}

TEST(SessionEndTest, NeverOpensMoreStreamsThanThePeerAllows) {
  Recorder client(client_options());
  EXPECT_EQ(client.session.peer_max_concurrent_streams(), 100u);
  EXPECT_FALSE(client.session.settings_received());
  ASSERT_TRUE(client.feed(FrameWriter().settings({{frame::max_concurrent_streams, 2}})));
  EXPECT_TRUE(client.session.settings_received());
  EXPECT_EQ(client.session.peer_max_concurrent_streams(), 2u);
  ASSERT_TRUE(client.session.submit_request(get(), false, 0));
  ASSERT_TRUE(client.session.submit_request(get(), false, 0));
  EXPECT_FALSE(client.session.can_open_stream());
  const Result<StreamId> third = client.session.submit_request(get(), false, 0);
  ASSERT_FALSE(third);
  EXPECT_EQ(third.error().retry, Retry::not_executed);
  client.collect_all();
  ASSERT_TRUE(client.feed(FrameWriter().headers(1, hpack_block({{":status", "204"}}))));
  EXPECT_TRUE(client.session.can_open_stream());
}

TEST(SessionEndTest, AssumesAHundredStreamsBeforeTheSettings) {
  Recorder client(client_options());
  for (int i = 0; i < 100; ++i) ASSERT_TRUE(client.session.submit_request(get(), false, 0)) << i;
  EXPECT_FALSE(client.session.can_open_stream());
}

TEST(SessionEndTest, AMalformedResponseIsReset) {
  const std::vector<std::string> blocks = {
      hpack_block({{"x", "y"}}),
      hpack_block({{":status", "20"}}),
      hpack_block({{":status", "101"}}),
      hpack_block({{":status", "200"}, {"connection", "close"}}),
      hpack_block({{":status", "200"}, {"x", "a\r\nb"}}),
      hpack_block({{":status", "200"}, {":path", "/"}}),
  };
  Recorder client(client_options());
  ASSERT_TRUE(client.feed(FrameWriter().settings()));
  std::uint32_t id = 1;
  for (const std::string& block : blocks) {
    ASSERT_TRUE(client.session.submit_request(get(), false, 0));
    client.collect_all();
    client.events.clear();
    ASSERT_TRUE(client.feed(FrameWriter().headers(id, block, false)));
    EXPECT_TRUE(client.events.empty());
    client.collect_all();
    ASSERT_EQ(client.events.size(), 1u);
    EXPECT_EQ(client.events[0], "closed " + std::to_string(id) + " 1");
    id += 2;
  }
}

}  // namespace
}  // namespace sluice::http2::test
