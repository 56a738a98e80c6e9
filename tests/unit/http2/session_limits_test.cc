// SPDX-License-Identifier: GPL-3.0-or-later
// What a hostile peer can do to a session, and where it ends.
#include <malloc.h>

#include "recorder.h"

namespace sluice::http2::test {
namespace {

std::uint32_t code(ErrorCode c) { return static_cast<std::uint32_t>(c); }

constexpr int resets_burst = static_cast<int>(SessionOptions{}.resets_burst);

// Feeds what `next` makes until the session fails; returns how often, or `rounds` if it never did.
template <class F>
int feed_until_failure(Recorder& recorder, int rounds, F&& next, Instant now = start) {
  for (int i = 0; i < rounds; ++i) {
    FrameWriter frames;
    next(frames, i);
    if (!recorder.feed(frames, now)) return i + 1;
  }
  return rounds;
}

void expect_ended_for(Recorder& recorder, AbuseKind kind) {
  EXPECT_EQ(recorder.session.abuse(), kind);
  const Result<void> again = recorder.session.feed(as_bytes("x"), start);
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().kind,
            kind == AbuseKind::protocol ? ErrorKind::protocol : ErrorKind::limit);
  const std::vector<Frame> frames = recorder.collect_frames();
  const auto goaway = std::ranges::find(frames, frame::goaway, &Frame::type);
  ASSERT_NE(goaway, frames.end());
  if (kind == AbuseKind::protocol) {
    EXPECT_TRUE(recorder.session.finished());
  } else {
    EXPECT_EQ(goaway->number(4), code(ErrorCode::enhance_your_calm));
    EXPECT_EQ(recorder.session.finished(), recorder.session.open_streams() == 0);
  }
}

TEST(SessionLimitsTest, WhatIsOpenWhenABudgetIsExceededCanBeAnsweredToItsEnd) {
  SessionOptions options;
  options.resets_burst = 3;
  Recorder server(options);
  open_server(server);
  ASSERT_TRUE(server.feed(FrameWriter().headers(1, hpack_get("/watch"))));
  server.bodies[1].finished = false;
  server.respond(1, "event;");
  FrameWriter resets;
  for (std::uint32_t id = 3; id <= 13; id += 2) resets.headers(id, hpack_get()).rst_stream(id, 8);
  EXPECT_FALSE(server.feed(resets));
  EXPECT_EQ(server.session.abuse(), AbuseKind::resets);
  EXPECT_EQ(server.count("request"), 5u);  // 1, and four until the budget was exceeded
  server.collect_all();
  EXPECT_FALSE(server.session.finished());
  EXPECT_FALSE(server.feed(FrameWriter().headers(15, hpack_get()).rst_stream(1, 8)));
  server.bodies[1].left = "last event;";
  server.bodies[1].finished = true;
  server.session.resume_body(1);
  std::string body;
  bool ended = false;
  for (const Frame& frame : server.collect_frames()) {
    if (frame.type != frame::data || frame.id != 1) continue;
    body += frame.payload;
    ended = frame.has(frame::end_stream);
  }
  EXPECT_EQ(body, "last event;");
  EXPECT_TRUE(ended);
  EXPECT_TRUE(server.session.finished());
}

TEST(SessionLimitsTest, RefusesStreamsAboveTheAdvertisedLimit) {
  SessionOptions options;
  options.max_concurrent_streams = 3;
  Recorder server(options);
  // Before the client has acknowledged the limit, it may not know better: one stream is refused.
  ASSERT_TRUE(server.feed(FrameWriter().preface()));
  for (std::uint32_t id = 1; id <= 7; id += 2) {
    ASSERT_TRUE(server.feed(FrameWriter().headers(id, hpack_get())));
  }
  EXPECT_EQ(server.count("request"), 3u);
  const std::vector<Frame> frames = server.collect_frames();
  EXPECT_EQ(frames.back().type, frame::rst_stream);
  EXPECT_EQ(frames.back().id, 7u);
  EXPECT_EQ(frames.back().number(0), code(ErrorCode::refused_stream));
  // Afterwards it does: the connection ends.
  ASSERT_TRUE(server.feed(FrameWriter().settings_ack()));
  EXPECT_FALSE(server.feed(FrameWriter().headers(9, hpack_get())));
  EXPECT_EQ(server.count("request"), 3u);
  EXPECT_EQ(server.session.open_streams(), 3u);
}

TEST(SessionLimitsTest, AStreamThatEndedMakesRoom) {
  SessionOptions options;
  options.max_concurrent_streams = 1;
  Recorder server(options);
  ASSERT_TRUE(server.feed(FrameWriter().preface().settings_ack()));
  server.react = [&](StreamId id) { server.respond(id, "x"); };
  for (std::uint32_t i = 0; i < 1000; ++i) {
    ASSERT_TRUE(server.feed(FrameWriter().headers(2 * i + 1, hpack_get())));
    server.collect_all();
  }
  EXPECT_EQ(server.count("closed"), 1000u);
}

// --- what a peer makes us hold -------------------------------------------------------------------

TEST(SessionLimitsTest, AHeadThatIsNotCompleteIsCountedWhileItIsHeld) {
  Recorder server(server_options());
  open_server(server);
  EXPECT_EQ(server.session.held_bytes(), 0U);
  // One field of 3000 bytes, and 50 times the same out of the dynamic table.
  const std::string block = hpack_get() +
                            hpack_literal("x", std::string(3000, 'v'), Indexing::incremental) +
                            std::string(50, '\xbe');
  ASSERT_TRUE(server.feed(FrameWriter().headers(1, block, true, false)));
  EXPECT_GE(server.session.held_bytes(), 51U * 3000);
  EXPECT_LE(server.session.held_bytes(), 2U * 51 * 3000);
  ASSERT_TRUE(server.feed(FrameWriter().continuation(1, "", true)));
  EXPECT_EQ(server.count("request"), 1U);
  EXPECT_EQ(server.session.held_bytes(), 0U);
}

// Others would wait for all of it.
TEST(SessionLimitsTest, HeadsThatDecompressToMuchAreDecodedAPartAtATime) {
  SessionOptions options;
  options.decoded_at_once = std::size_t{128} * 1024;
  Recorder server(options);
  open_server(server);
  FrameWriter writer;
  constexpr std::uint32_t requests = 100;
  for (std::uint32_t i = 0; i < requests; ++i) {
    std::string block = hpack_get();
    if (i == 0) block += hpack_literal("x", std::string(3000, 'v'), Indexing::incremental);
    writer.headers(2 * i + 1, block + std::string(50, '\xbe'));
  }
  ASSERT_TRUE(server.feed(writer));
  EXPECT_TRUE(server.session.can_go_on());
  EXPECT_LE(server.count("request"), 1U);
  EXPECT_FALSE(server.session.receiving_head());  // it has come
  // What follows waits behind it.
  ASSERT_TRUE(server.feed(FrameWriter().headers(2 * requests + 1, hpack_get("/last"))));
  std::size_t most = 0;
  std::size_t seen = server.count("request");
  for (int turn = 0; server.session.can_go_on(); ++turn) {
    ASSERT_LE(turn, 1000);
    ASSERT_TRUE(server.feed(FrameWriter()));
    most = std::max(most, server.count("request") - seen);
    seen = server.count("request");
  }
  EXPECT_EQ(seen, requests + 1);
  EXPECT_LE(most, 2U);
  EXPECT_EQ(server.session.held_bytes(), 0U);
}

TEST(SessionLimitsTest, InputThatWaitsForItsDecodingIsNotWantedWithoutEnd) {
  SessionOptions options;
  options.decoded_at_once = std::size_t{128} * 1024;
  Recorder server(options);
  open_server(server);
  FrameWriter heads;
  for (std::uint32_t i = 0; i < 4; ++i) {
    std::string block = hpack_get();
    if (i == 0) block += hpack_literal("x", std::string(3000, 'v'), Indexing::incremental);
    heads.headers(2 * i + 1, block + std::string(70, '\xbe'), false);
  }
  ASSERT_TRUE(server.feed(heads));
  EXPECT_TRUE(server.session.wants_input());
  for (int i = 0; i < 2; ++i) {
    ASSERT_TRUE(server.feed(FrameWriter().data(7, std::string(9000, 'x'))));
  }
  EXPECT_TRUE(server.session.can_go_on());
  EXPECT_FALSE(server.session.wants_input());
  EXPECT_GE(server.session.held_bytes(), 18'000U);
  while (server.session.can_go_on()) ASSERT_TRUE(server.feed(FrameWriter()));
  EXPECT_TRUE(server.session.wants_input());
  EXPECT_EQ(server.count("request"), 4U);
  EXPECT_EQ(server.received[7].size(), 18'000U);
}

TEST(SessionLimitsTest, AnswersThatNobodyTakesAreCountedUntilTheyAreCollected) {
  Recorder server(server_options());
  open_server(server);
  http::ResponseHead head;
  head.status = 200;
  head.fields.add("x", std::string(5000, 'v'));
  for (std::uint32_t i = 0; i < 10; ++i) {
    ASSERT_TRUE(server.feed(FrameWriter().headers(2 * i + 1, hpack_get())));
    server.session.submit_response(static_cast<StreamId>(2 * i + 1), head, false);
  }
  ASSERT_TRUE(server.feed(FrameWriter().ping()));
  EXPECT_GE(server.session.held_bytes(), 50'000U);
  EXPECT_LE(server.session.held_bytes(), 60'000U);
  // One is cancelled, the others are taken.
  ASSERT_TRUE(server.feed(FrameWriter().rst_stream(1, 8)));
  EXPECT_LE(server.session.held_bytes(), 55'000U);
  server.collect_all();
  EXPECT_EQ(server.session.held_bytes(), 0U);
}

#ifdef __GLIBC__
TEST(SessionLimitsTest, QueuedFramesAreCountedWithAboutWhatTheyCost) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "the sanitizer's allocator says nothing of itself";
#endif
  Recorder server(server_options());
  open_server(server);
  const std::size_t before = mallinfo2().uordblks;
  constexpr int pings = 150;
  FrameWriter writer;
  for (int i = 0; i < pings; ++i) writer.ping();
  ASSERT_TRUE(server.feed(writer));
  const std::size_t real = mallinfo2().uordblks - before;
  EXPECT_GE(server.session.held_bytes(), real * 2 / 3);
  EXPECT_LE(server.session.held_bytes(), real * 2);
}
#endif

TEST(SessionLimitsTest, RapidResetEndsTheConnection) {
  Recorder server(server_options());
  open_server(server);
  const int rounds = feed_until_failure(server, 100'000, [](FrameWriter& w, int i) {
    const auto id = static_cast<std::uint32_t>(2 * i + 1);
    w.headers(id, hpack_get()).rst_stream(id, 8);
  });
  EXPECT_EQ(rounds, resets_burst + 1);
  EXPECT_LE(server.count("request"), SessionOptions{}.resets_burst + 1);
  expect_ended_for(server, AbuseKind::resets);
}

TEST(SessionLimitsTest, RapidResetInOneBufferIsCutShort) {
  Recorder server(server_options());
  open_server(server);
  FrameWriter w;
  for (std::uint32_t i = 0; i < 10'000; ++i)
    w.headers(2 * i + 1, hpack_get()).rst_stream(2 * i + 1, 8);
  EXPECT_FALSE(server.feed(w));
  EXPECT_EQ(server.count("request"), SessionOptions{}.resets_burst + 1);
  expect_ended_for(server, AbuseKind::resets);
}

TEST(SessionLimitsTest, RapidResetIsAlsoCountedAfterOurGoaway) {
  Recorder server(server_options());
  open_server(server);
  ASSERT_TRUE(server.feed(FrameWriter().headers(1, hpack_get())));
  server.session.goaway_notice();
  server.collect_all();
  const int rounds = feed_until_failure(server, 100'000, [](FrameWriter& w, int i) {
    const auto id = static_cast<std::uint32_t>(2 * i + 3);
    w.headers(id, hpack_get()).rst_stream(id, 8);
  });
  EXPECT_EQ(rounds, resets_burst + 1);
  EXPECT_EQ(server.session.abuse(), AbuseKind::resets);
}

TEST(SessionLimitsTest, SlowResetsAreTolerated) {
  Recorder server(server_options());
  open_server(server);
  Instant now = start;
  for (int i = 0; i < 5000; ++i) {
    now += std::chrono::milliseconds(60);
    const auto id = static_cast<std::uint32_t>(2 * i + 1);
    ASSERT_TRUE(server.feed(FrameWriter().headers(id, hpack_get()).rst_stream(id, 8), now)) << i;
  }
}

// A controller that stops cancels all its watches at once.
TEST(SessionLimitsTest, AThousandOldOrAnsweredStreamsMayBeResetAtOnce) {
  for (const bool answered : {true, false}) {
    SessionOptions options;
    options.max_concurrent_streams = 1000;
    Recorder server(options);
    open_server(server);
    if (answered) {
      server.react = [&](StreamId id) {
        server.bodies[id].finished = false;
        server.respond(id, "event");
      };
    }
    FrameWriter open;
    FrameWriter cancel;
    for (std::uint32_t i = 0; i < 1000; ++i) {
      open.headers(2 * i + 1, hpack_get("/watch"));
      cancel.rst_stream(2 * i + 1, 8);
    }
    ASSERT_TRUE(server.feed(open, start));
    server.collect_all();
    ASSERT_TRUE(server.feed(cancel, answered ? start : after(1.0)));
    EXPECT_EQ(server.count("closed"), 1000u);
  }
}

TEST(SessionLimitsTest, ResetsThatCrossTheEndOfTheirStreamAreFree) {
  SessionOptions options;
  options.max_concurrent_streams = 1000;
  Recorder server(options);
  open_server(server);
  server.react = [&](StreamId id) { server.respond(id, "done"); };
  FrameWriter open;
  FrameWriter cancel;
  for (std::uint32_t i = 0; i < 900; ++i) {
    open.headers(2 * i + 1, hpack_get());
    cancel.rst_stream(2 * i + 1, 8);
  }
  ASSERT_TRUE(server.feed(open));
  server.collect_all();
  EXPECT_EQ(server.session.open_streams(), 65535u / 4 > 900 ? 0u : 1u);
  ASSERT_TRUE(server.feed(cancel));
  // But not a second time.
  EXPECT_FALSE(server.feed(cancel));
  EXPECT_EQ(server.session.abuse(), AbuseKind::resets);
}

struct Primitive {
  const char* name;
  void (*write)(FrameWriter&, std::uint32_t id);
};
void PrintTo(const Primitive& primitive, std::ostream* out) { *out << primitive.name; }

class MadeYouResetTest : public testing::TestWithParam<Primitive> {};

// CVE-2025-8671: the client makes the server reset its streams.
TEST_P(MadeYouResetTest, EndsTheConnection) {
  Recorder server(server_options());
  open_server(server);
  const int rounds = feed_until_failure(server, 10'000, [&](FrameWriter& w, int i) {
    GetParam().write(w, static_cast<std::uint32_t>(2 * i + 1));
    server.collect_all();
  });
  EXPECT_LE(rounds, resets_burst + 2);
  EXPECT_NE(server.session.abuse(), AbuseKind::none);
}

// Also when the peer does not read what it provokes.
TEST_P(MadeYouResetTest, EndsTheConnectionWithoutReading) {
  Recorder server(server_options());
  open_server(server);
  const int rounds = feed_until_failure(server, 10'000, [&](FrameWriter& w, int i) {
    GetParam().write(w, static_cast<std::uint32_t>(2 * i + 1));
  });
  EXPECT_LE(rounds, 252);
  EXPECT_NE(server.session.abuse(), AbuseKind::none);
}

INSTANTIATE_TEST_SUITE_P(
    Session, MadeYouResetTest,
    testing::Values(
        Primitive{"window_update_of_zero",
                  [](FrameWriter& w, std::uint32_t id) {
                    w.headers(id, hpack_post(), false).window_update(id, 0);
                  }},
        Primitive{"window_overflow",
                  [](FrameWriter& w, std::uint32_t id) {
                    w.headers(id, hpack_post(), false).window_update(id, 0x7fffffff);
                  }},
        Primitive{"content_length_mismatch",
                  [](FrameWriter& w, std::uint32_t id) {
                    w.headers(id, hpack_post() + hpack_literal("content-length", "1"), false)
                        .data(id, "22", true);
                  }},
        Primitive{
            "data_after_end",
            [](FrameWriter& w, std::uint32_t id) { w.headers(id, hpack_get()).data(id, "x"); }},
        Primitive{"headers_after_end",
                  [](FrameWriter& w, std::uint32_t id) {
                    w.headers(id, hpack_get()).headers(id, hpack_get());
                  }},
        Primitive{"bad_priority_length",
                  [](FrameWriter& w, std::uint32_t id) {
                    w.headers(id, hpack_get()).frame(frame::priority, 0, id, "1234");
                  }},
        Primitive{"depends_on_itself",
                  [](FrameWriter& w, std::uint32_t id) {
                    w.frame(frame::headers,
                            frame::end_headers | frame::end_stream | frame::has_priority, id,
                            big_endian(id, 4) + '\x10' + hpack_get());
                  }},
        Primitive{"malformed_head",
                  [](FrameWriter& w, std::uint32_t id) {
                    w.headers(id, hpack_get() + hpack_literal("Upper", "x"));
                  }},
        Primitive{"bad_value",
                  [](FrameWriter& w, std::uint32_t id) {
                    w.headers(id, hpack_get() + hpack_literal("x", "a\nb"));
                  }},
        Primitive{"connect",
                  [](FrameWriter& w, std::uint32_t id) {
                    w.headers(id, hpack_block({{":method", "CONNECT"}, {":authority", "k:1"}}));
                  }},
        Primitive{"trailers_without_end",
                  [](FrameWriter& w, std::uint32_t id) {
                    w.headers(id, hpack_post(), false).headers(id, hpack_literal("x", "y"), false);
                  }}),
    [](const auto& param_info) { return param_info.param.name; });

TEST(SessionLimitsTest, AContinuationFloodEndsTheConnection) {
  for (const std::string& piece : {std::string(), hpack_literal("x", std::string(16'000, 'a'))}) {
    Recorder server(server_options());
    open_server(server);
    ASSERT_TRUE(server.feed(FrameWriter().headers(1, hpack_get(), true, false)));
    const int rounds = feed_until_failure(
        server, 10'000, [&](FrameWriter& w, int) { w.continuation(1, piece, false); });
    EXPECT_LE(rounds, 80);
    EXPECT_NE(server.session.abuse(), AbuseKind::none);
    EXPECT_NE(server.session.abuse(), AbuseKind::protocol);
    EXPECT_EQ(server.count("request"), 0u);
    EXPECT_EQ(server.collect_frames().back().number(4), code(ErrorCode::enhance_your_calm));
  }
}

TEST(SessionLimitsTest, FourThousandAndNinetySevenFieldsAreTooMany) {
  for (const int fields : {4096, 4097}) {
    Recorder server(server_options());
    open_server(server);
    std::string block = hpack_get();
    for (int i = 4; i < fields; ++i) block += hpack_literal("a", "b");
    ASSERT_TRUE(server.feed(FrameWriter().long_headers(1, block)));
    if (fields == 4096) {
      EXPECT_TRUE(server.saw("request 1 GET / end"));
      EXPECT_EQ(server.requests[1].fields.size(), 4092u);
    } else {
      EXPECT_EQ(server.events.at(0), "head_too_large 1");
      EXPECT_EQ(server.events.at(1), "end 1");
      server.respond(1, "sorry", 431);
      server.collect_all();
      EXPECT_EQ(server.events.back(), "closed 1 0");
    }
  }
}

TEST(SessionLimitsTest, CookieCrumbsCountAsFields) {
  SessionOptions options;
  options.header_fields_max = 10;
  Recorder server(options);
  open_server(server);
  std::string block = hpack_get();
  for (int i = 0; i < 7; ++i) block += hpack_literal("cookie", "a=b");
  ASSERT_TRUE(server.feed(FrameWriter().headers(1, block)));
  EXPECT_TRUE(server.saw("head_too_large 1"));
}

TEST(SessionLimitsTest, AHeadOf300KilobytesIsTooLargeAndTheNextIsRead) {
  Recorder server(server_options());
  open_server(server);
  std::string block = hpack_get();
  for (int i = 0; i < 30; ++i) block += hpack_literal("x-group", std::string(10'000, 'g'));
  ASSERT_TRUE(server.feed(
      FrameWriter().long_headers(1, block + hpack_literal("x-kept", "v", Indexing::incremental))));
  EXPECT_TRUE(server.saw("head_too_large 1"));
  EXPECT_EQ(server.count("request"), 0u);
  server.respond(1, "", 431);
  server.collect_all();
  EXPECT_TRUE(server.saw("closed 1 0"));
  // The compression state is intact: the field that the large head put into the table.
  ASSERT_TRUE(server.feed(FrameWriter().headers(3, hpack_get() + hpack_integer(62, 7, 0x80))));
  EXPECT_EQ(server.requests[3].fields.find("x-kept"), "v");
}

TEST(SessionLimitsTest, AHeadIsAnsweredUpToAMebibyteAndEndsTheConnectionAboveIt) {
  for (const std::size_t bytes : {1'000'000U, 1'100'000U}) {
    Recorder server(server_options());
    open_server(server);
    std::string block = hpack_get();
    while (block.size() < bytes) block += hpack_literal("x-group", std::string(20'000, 'g'));
    const Result<void> fed = server.feed(FrameWriter().long_headers(1, block));
    EXPECT_EQ(server.saw("head_too_large 1"), bytes < 1024 * 1024);
    EXPECT_EQ(fed.has_value(), bytes < 1024 * 1024);
    if (!fed) expect_ended_for(server, AbuseKind::header_block);
  }
}

// One byte on the wire may stand for a field of 4 KB: what it decodes to is bounded as well.
TEST(SessionLimitsTest, AHeadThatDecodesToMoreThanAMebibyteIsReset) {
  for (const std::size_t fields : {200U, 300U}) {
    Recorder server(server_options());
    open_server(server);
    std::string block =
        hpack_get() + hpack_literal("x", std::string(4000, 'v'), Indexing::incremental);
    for (std::size_t i = 0; i < fields; ++i) block += hpack_integer(62, 7, 0x80);
    ASSERT_TRUE(server.feed(FrameWriter().long_headers(1, block)));
    EXPECT_EQ(server.saw("head_too_large 1"), fields == 200);
    const std::vector<Frame> frames = server.collect_frames();
    const bool reset = !frames.empty() && frames[0].type == frame::rst_stream;
    EXPECT_EQ(reset, fields == 300);
    if (reset) {
      EXPECT_EQ(frames[0].number(0), code(ErrorCode::enhance_your_calm));
    }
    ASSERT_TRUE(server.feed(FrameWriter().headers(3, hpack_get())));
    EXPECT_TRUE(server.saw("request 3 GET / end"));
  }
}

TEST(SessionLimitsTest, AnAnswersHeadHasLimitsOfItsOwn) {
  SessionOptions options = client_options();
  options.header_list_bytes_max = 1024 * 1024;
  options.header_fields_max = 8192;
  Pair pair(options);
  const StreamId id = pair.request(get());
  pair.run();
  http::ResponseHead head;
  head.status = 200;
  for (int i = 0; i < 8000; ++i) head.fields.add("warning", std::string(90, 'w'));
  pair.server.bodies[id].left = "body";
  pair.server.session.submit_response(id, head, true);
  pair.run();
  EXPECT_EQ(pair.client.responses[id].fields.size(), 8000U);
  EXPECT_EQ(pair.client.received[id], "body");
}

TEST(SessionLimitsTest, AHeadOf250KilobytesPassesBothWays) {
  Pair pair;
  http::RequestHead head = get();
  for (int i = 0; i < 24; ++i) head.fields.add("impersonate-group", std::string(10'000, 'g'));
  const StreamId id = pair.request(head);
  pair.run();
  EXPECT_EQ(pair.server.requests[id].fields.size(), 24u);
}

TEST(SessionLimitsTest, FourThousandSmallFieldsPassBothWays) {
  Pair pair;
  http::RequestHead head = get();
  for (int i = 0; i < 4000; ++i) head.fields.add("impersonate-group", "team-" + std::to_string(i));
  const StreamId id = pair.request(head);
  pair.run();
  EXPECT_EQ(pair.server.requests[id].fields.size(), 4000u);
}

TEST(SessionLimitsTest, ManyHeadsThatAreTooLargeEndTheConnection) {
  SessionOptions options;
  options.header_fields_max = 10;
  Recorder server(options);
  open_server(server);
  server.react_too_large = [&](StreamId id) { server.respond(id, "", 431); };
  std::string block = hpack_get();
  for (int i = 0; i < 10; ++i) block += hpack_literal("a", "b");
  const int rounds = feed_until_failure(server, 1000, [&](FrameWriter& w, int i) {
    server.collect_all();
    w.headers(static_cast<std::uint32_t>(2 * i + 1), block);
  });
  EXPECT_EQ(rounds, 21);
  expect_ended_for(server, AbuseKind::header_block);
}

TEST(SessionLimitsTest, TooLargeTrailersAreReset) {
  SessionOptions options;
  options.header_fields_max = 10;
  Recorder server(options);
  open_server(server);
  std::string trailers;
  for (int i = 0; i < 11; ++i) trailers += hpack_literal("a", "b");
  ASSERT_TRUE(server.feed(FrameWriter().headers(1, hpack_post(), false).headers(1, trailers)));
  EXPECT_EQ(server.count("trailers"), 0u);
  server.collect_all();
  EXPECT_EQ(server.events.back(), "closed 1 11");
}

TEST(SessionLimitsTest, ABackendsHeadThatIsTooLargeIsReset) {
  Recorder client(client_options());
  ASSERT_TRUE(client.feed(FrameWriter().settings()));
  ASSERT_TRUE(client.session.submit_request(get(), false, 0));
  ASSERT_TRUE(client.session.submit_request(get(), false, 0));
  client.collect_all();
  std::string block = hpack_block({{":status", "200"}});
  for (int i = 0; i < 30; ++i) block += hpack_literal("x", std::string(10'000, 'g'));
  ASSERT_TRUE(client.feed(FrameWriter().long_headers(1, block, false)));
  EXPECT_EQ(client.count("response"), 0u);
  client.collect_all();
  EXPECT_EQ(client.events.back(), "closed 1 11");
  ASSERT_TRUE(client.feed(FrameWriter().headers(3, hpack_block({{":status", "204"}}))));
  EXPECT_TRUE(client.saw("response 3 204 end"));
}

TEST(SessionLimitsTest, OneLongFieldIsTakenUpToTheLimitOfTheHead) {
  Recorder server(server_options());
  open_server(server);
  const std::string value(200'000, 'v');
  ASSERT_TRUE(server.feed(FrameWriter().long_headers(1, hpack_get() + hpack_literal("x", value))));
  ASSERT_TRUE(server.saw("request 1 GET / end"));
  EXPECT_EQ(server.requests.at(1).fields.find("x"), value);
}

// Longer than what the codec keeps of a string: it is decoded past, so that the client is answered.
TEST(SessionLimitsTest, AStringBeyondTheCodecsLimitCostsItsRequestAlone) {
  const std::string longest(300'000, 'v');
  const std::string blocks[] = {
      hpack_get() + hpack_literal("x", longest),
      hpack_get() + hpack_literal("x", longest, Indexing::incremental),
      hpack_get() + hpack_literal(longest, "x") + hpack_literal("y", "z"),
      hpack_get("/" + longest),
  };
  for (const std::string& block : blocks) {
    Recorder server(server_options());
    open_server(server);
    ASSERT_TRUE(server.feed(FrameWriter().long_headers(1, block)));
    EXPECT_TRUE(server.saw("head_too_large 1"));
    ASSERT_TRUE(server.feed(FrameWriter().headers(3, hpack_get())));
    EXPECT_TRUE(server.saw("request 3 GET / end"));
  }
}

// RFC 7541 section 4.4: an entry that is larger than the table empties it.
TEST(SessionLimitsTest, AStringThatIsNotKeptEmptiesTheTableWhenItIsIndexed) {
  const auto reference = [](std::uint8_t index) {
    return hpack_get() + std::string(1, static_cast<char>(0x80 | index));
  };
  for (const Indexing indexing : {Indexing::without, Indexing::incremental}) {
    Recorder server(server_options());
    open_server(server);
    ASSERT_TRUE(server.feed(
        FrameWriter().headers(1, hpack_get() + hpack_literal("old", "1", Indexing::incremental))));
    ASSERT_TRUE(server.feed(FrameWriter().long_headers(
        3, hpack_get() + hpack_literal("x", std::string(300'000, 'v'), indexing))));
    ASSERT_TRUE(server.feed(
        FrameWriter().headers(5, hpack_get() + hpack_literal("new", "2", Indexing::incremental))));
    ASSERT_TRUE(server.feed(FrameWriter().headers(7, reference(62))));
    ASSERT_TRUE(server.saw("request 7 GET / end"));
    EXPECT_EQ(server.requests.at(7).fields.find("new"), "2");
    const bool kept = indexing == Indexing::without;
    EXPECT_EQ(server.feed(FrameWriter().headers(9, reference(63))).has_value(), kept);
    EXPECT_EQ(server.saw("request 9 GET / end"), kept);
  }
}

// A pod behind the API server's proxy may answer with a head of any size (net/http lets 10 MB
// through): the connection carries the streams of others.
TEST(SessionLimitsTest, ABackendsConnectionSurvivesAHeadOfManyMegabytes) {
  const std::string blocks[] = {
      hpack_literal("x", std::string(10'000'000, 'v')),
      hpack_literal("x", std::string(10'000'000, 'v'), Indexing::incremental),
      hpack_literal(std::string(10'000'000, 'n'), "v"),
  };
  for (const std::string& block : blocks) {
    Recorder client(client_options());
    ASSERT_TRUE(client.feed(FrameWriter().settings()));
    ASSERT_TRUE(client.session.submit_request(get(), false, 0));
    ASSERT_TRUE(client.session.submit_request(get(), false, 0));
    client.collect_all();
    ASSERT_TRUE(client.feed(
        FrameWriter().long_headers(1, hpack_block({{":status", "200"}}) + block, false)));
    EXPECT_EQ(client.count("response"), 0u);
    client.collect_all();
    EXPECT_EQ(client.events.back(), "closed 1 11");
    ASSERT_TRUE(client.feed(FrameWriter().headers(3, hpack_block({{":status", "204"}}))));
    EXPECT_TRUE(client.saw("response 3 204 end"));
  }
}

// CVE-2016-6581 and its heirs: one byte on the wire stands for four kilobytes.
TEST(SessionLimitsTest, AnHpackBombIsNotStored) {
  SessionOptions options;
  options.header_list_bytes_max = 64 * 1024;
  Recorder server(options);
  open_server(server);
  std::string bomb =
      hpack_get() + hpack_literal("x", std::string(4000, 'v'), Indexing::incremental);
  bomb += std::string(16'000 - bomb.size(), static_cast<char>(0x80 | 62));
  ASSERT_TRUE(server.feed(FrameWriter().headers(1, bomb)));
  EXPECT_EQ(server.collect_frames().back().number(0), code(ErrorCode::enhance_your_calm));
#if !defined(__SANITIZE_ADDRESS__)
  const auto before = mallinfo2().uordblks;
#endif
  const std::string again = hpack_get() + std::string(16'000, static_cast<char>(0x80 | 62));
  for (std::uint32_t id = 3; id < 33; id += 2)
    ASSERT_TRUE(server.feed(FrameWriter().headers(id, again)));
  server.collect_all();
  EXPECT_EQ(server.session.open_streams(), 0u);
  EXPECT_TRUE(server.events.empty());
#if !defined(__SANITIZE_ADDRESS__)
  EXPECT_LT(mallinfo2().uordblks, before + 65'536);
#endif
  // The connection is intact until the budget for this is used up.
  ASSERT_TRUE(server.feed(FrameWriter().headers(33, hpack_get())));
  EXPECT_TRUE(server.saw("request 33 GET / end"));
  for (std::uint32_t id = 35; id < 47; id += 2) (void)server.feed(FrameWriter().headers(id, again));
  EXPECT_EQ(server.session.abuse(), AbuseKind::header_block);
}

TEST(SessionLimitsTest, APingFloodEndsTheConnection) {
  Recorder server(server_options());
  open_server(server);
  FrameWriter w;
  for (int i = 0; i < 1000; ++i) w.ping(1);
  EXPECT_FALSE(server.feed(w));
  EXPECT_LE(server.session.queued_frames(), 201u);
  expect_ended_for(server, AbuseKind::control_frames);
}

TEST(SessionLimitsTest, PingsAtAnHonestRateAreAnswered) {
  Recorder server(server_options());
  open_server(server);
  Instant now = start;
  for (int i = 0; i < 2000; ++i) {
    now += std::chrono::milliseconds(60);
    ASSERT_TRUE(server.feed(FrameWriter().ping(7), now));
    ASSERT_EQ(server.collect_frames().size(), 1u);
  }
}

TEST(SessionLimitsTest, AnswersThatNobodyReadsEndTheConnection) {
  SessionOptions options;
  options.control_frames_burst = 100'000;
  options.outbound_queue_frames_max = 300;
  for (const bool pings : {true, false}) {
    Recorder server(options);
    open_server(server);
    const int rounds = feed_until_failure(
        server, 1000, [&](FrameWriter& w, int) { pings ? w.ping(1) : w.settings(); });
    EXPECT_EQ(rounds, 301);
    EXPECT_LE(server.session.queued_frames(), 302u);
    expect_ended_for(server, AbuseKind::outbound_queue);
  }
}

TEST(SessionLimitsTest, AnswersToAsManyStreamsAsWereGrantedAreNoFlood) {
  SessionOptions options;
  options.max_concurrent_streams = 3000;
  Recorder server(options);
  open_server(server);
  for (std::uint32_t id = 1; id < 2 * options.max_concurrent_streams; id += 2) {
    ASSERT_TRUE(server.feed(FrameWriter().headers(id, hpack_get()))) << id;
    server.respond(static_cast<StreamId>(id), "x");
  }
  EXPECT_GE(server.session.queued_frames(), options.max_concurrent_streams);
  EXPECT_TRUE(server.feed(FrameWriter().ping(1)));
  server.collect_all();
  EXPECT_EQ(server.session.open_streams(), 0u);
}

struct Flood {
  const char* name;
  void (*write)(FrameWriter&);
};
void PrintTo(const Flood& flood, std::ostream* out) { *out << flood.name; }

class ControlFloodTest : public testing::TestWithParam<Flood> {};

TEST_P(ControlFloodTest, EndsTheConnection) {
  Recorder server(server_options());
  open_server(server);
  ASSERT_TRUE(server.feed(FrameWriter().headers(1, hpack_post(), false).headers(3, hpack_get())));
  server.respond(3, "x");
  server.collect_all();
  const int rounds = feed_until_failure(server, 10'000, [&](FrameWriter& w, int) {
    GetParam().write(w);
    server.collect_all();
  });
  EXPECT_LE(rounds, 260);
  expect_ended_for(server, AbuseKind::control_frames);
}

INSTANTIATE_TEST_SUITE_P(
    Session, ControlFloodTest,
    testing::Values(
        Flood{"settings", [](FrameWriter& w) { w.settings(); }},
        Flood{"ping_ack", [](FrameWriter& w) { w.ping(0, true); }},
        Flood{"priority", [](FrameWriter& w) { w.priority(1); }},
        Flood{"priority_update",
              [](FrameWriter& w) {
                w.frame(frame::priority_update, 0, 0, big_endian(1, 4) + "u=1");
              }},
        Flood{"empty_data", [](FrameWriter& w) { w.data(1, ""); }},
        Flood{"padded_data",
              [](FrameWriter& w) { w.frame(frame::data, frame::padded, 1, std::string(1, '\0')); }},
        Flood{"empty_data_of_a_closed_stream", [](FrameWriter& w) { w.data(3, ""); }},
        Flood{"unknown", [](FrameWriter& w) { w.frame(frame::unknown, 0, 0, "x"); }},
        Flood{"window_update", [](FrameWriter& w) { w.window_update(0, 1); }},
        Flood{"window_update_of_a_closed_stream", [](FrameWriter& w) { w.window_update(3, 1); }}),
    [](const auto& param_info) { return param_info.param.name; });

TEST(SessionLimitsTest, CreditForEveryFourKilobytesIsHonest) {
  Recorder server(server_options());
  open_server(server);
  ASSERT_TRUE(server.feed(FrameWriter().headers(1, hpack_get())));
  server.respond(1, std::string(20'000'000, 'x'));
  while (server.bodies[1].size() > 0) {
    std::size_t got = 0;
    for (const Frame& f : server.collect_frames())
      got += f.type == frame::data ? f.payload.size() : 0;
    ASSERT_GT(got, 0u);
    FrameWriter credit;
    for (std::size_t i = 0; i < got; i += 4096) {
      const auto n = static_cast<std::uint32_t>(std::min<std::size_t>(4096, got - i));
      credit.window_update(0, n).window_update(1, n);
    }
    ASSERT_TRUE(server.feed(credit));
  }
}

TEST(SessionLimitsTest, AWindowOpenedByteByByteEndsTheConnection) {
  Recorder server(server_options());
  ASSERT_TRUE(server.feed(
      FrameWriter().magic().settings({{frame::initial_window_size, 0}}).settings_ack()));
  ASSERT_TRUE(server.feed(FrameWriter().headers(1, hpack_get())));
  server.respond(1, std::string(20'000'000, 'x'));
  server.collect_all();
  const int rounds = feed_until_failure(server, 10'000, [&](FrameWriter& w, int) {
    w.window_update(1, 1);
    server.collect_all();
  });
  EXPECT_LE(rounds, 260);
  EXPECT_EQ(server.session.abuse(), AbuseKind::control_frames);
}

TEST(SessionLimitsTest, OwnPingsDoNotChargeThePeer) {
  Recorder client(client_options());
  ASSERT_TRUE(client.feed(FrameWriter().settings().settings_ack()));
  for (std::uint64_t i = 0; i < 1000; ++i) {
    client.session.ping(i);
    client.collect_all();
    ASSERT_TRUE(client.feed(FrameWriter().ping(i, true)));
  }
  EXPECT_EQ(client.count("pong"), 1000u);
}

struct Violation {
  const char* name;
  void (*write)(FrameWriter&);
};
void PrintTo(const Violation& violation, std::ostream* out) { *out << violation.name; }

class ViolationTest : public testing::TestWithParam<Violation> {};

TEST_P(ViolationTest, IsReportedByFeedAndAnsweredWithGoaway) {
  Recorder server(server_options());
  open_server(server);
  ASSERT_TRUE(server.feed(FrameWriter().headers(1, hpack_post(), false)));
  FrameWriter w;
  GetParam().write(w);
  const Result<void> result = server.feed(w);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().kind, ErrorKind::protocol);
  expect_ended_for(server, AbuseKind::protocol);
}

INSTANTIATE_TEST_SUITE_P(
    Session, ViolationTest,
    testing::Values(
        Violation{"data_on_stream_zero", [](FrameWriter& w) { w.data(0, "x"); }},
        Violation{"data_on_idle_stream", [](FrameWriter& w) { w.data(9, "x"); }},
        Violation{"headers_on_even_stream", [](FrameWriter& w) { w.headers(2, hpack_get()); }},
        Violation{"headers_on_stream_zero", [](FrameWriter& w) { w.headers(0, hpack_get()); }},
        Violation{"short_ping", [](FrameWriter& w) { w.frame(frame::ping, 0, 0, "1234"); }},
        Violation{"ping_on_stream", [](FrameWriter& w) { w.frame(frame::ping, 0, 1, "12345678"); }},
        Violation{"settings_on_stream", [](FrameWriter& w) { w.frame(frame::settings, 0, 1, ""); }},
        Violation{"odd_settings", [](FrameWriter& w) { w.frame(frame::settings, 0, 0, "12345"); }},
        Violation{"window_above_the_maximum",
                  [](FrameWriter& w) { w.settings({{frame::initial_window_size, 0x80000000}}); }},
        Violation{"frame_size_below_the_minimum",
                  [](FrameWriter& w) { w.settings({{frame::max_frame_size, 100}}); }},
        Violation{"window_update_of_zero", [](FrameWriter& w) { w.window_update(0, 0); }},
        Violation{"too_large_frame", [](FrameWriter& w) { w.data(1, std::string(16385, 'x')); }},
        Violation{"unexpected_continuation", [](FrameWriter& w) { w.continuation(1, "", true); }},
        Violation{"interleaved_header_block",
                  [](FrameWriter& w) { w.headers(3, hpack_get(), true, false).ping(); }},
        Violation{"broken_compression",
                  [](FrameWriter& w) { w.headers(3, "\xff\xff\xff\xff\xff"); }},
        Violation{"too_large_table",
                  [](FrameWriter& w) { w.headers(3, hpack_integer(4097, 5, 0x20) + hpack_get()); }},
        Violation{"reset_of_idle_stream", [](FrameWriter& w) { w.rst_stream(99, 8); }},
        Violation{"push_promise",
                  [](FrameWriter& w) {
                    w.frame(frame::push_promise, frame::end_headers, 1,
                            big_endian(2, 4) + hpack_get());
                  }},
        Violation{"priority_on_stream_zero", [](FrameWriter& w) { w.priority(0); }},
        Violation{"unexpected_settings_ack", [](FrameWriter& w) { w.settings_ack(); }},
        Violation{"bad_padding",
                  [](FrameWriter& w) { w.frame(frame::data, frame::padded, 1, "\x05xx"); }}),
    [](const auto& param_info) { return param_info.param.name; });

TEST(SessionLimitsTest, AnIdleSessionWithSharedMemoryIsSmall) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "a sanitizer's allocator does not tell";
#else
  struct Quiet : SessionHandler {
    void on_data(StreamRef, Bytes) override {}
    void on_end_of_stream(StreamRef) override {}
    void on_stream_closed(StreamRef, ErrorCode, bool) override {}
    BodyResult on_body_wanted(StreamRef, MutableBytes) override { return {}; }
  };
  CodecMemory memory;
  SessionOptions options;
  options.memory = &memory;
  Quiet quiet;
  std::vector<std::uint8_t> batch(16384);
  const FrameWriter hello = FrameWriter().preface().settings_ack();
  const auto open = [&] {
    auto session = std::make_unique<Session>(quiet, options, start);
    session->collect(batch);
    EXPECT_TRUE(session->feed(hello.bytes(), start));
    session->collect(batch);
    return session;
  };
  std::vector<std::unique_ptr<Session>> sessions;
  sessions.reserve(1001);
  sessions.push_back(open());
  const auto before = mallinfo2().uordblks;
  for (int i = 0; i < 1000; ++i) sessions.push_back(open());
  const auto each = (mallinfo2().uordblks - before) / 1000;
  RecordProperty("bytes_per_idle_session", static_cast<int>(each));
  EXPECT_LT(each, 8192u);
#endif
}

}  // namespace
}  // namespace sluice::http2::test
