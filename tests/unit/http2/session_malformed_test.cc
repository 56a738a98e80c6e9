// SPDX-License-Identifier: GPL-3.0-or-later
// Requests that break a rule of HTTP: their handler is told which, may answer, and the stream is
// reset afterwards.
#include "recorder.h"

namespace sluice::http2::test {
namespace {

struct Case {
  const char* name;
  const char* rule;  // a part of what is told
  std::string (*frames)();
};

// Head, and body if there is one, of stream 1.
std::string with_field(std::string_view name, std::string_view value) {
  return FrameWriter().headers(1, hpack_get("/x") + hpack_literal(name, value)).text();
}

class SessionMalformedTest : public testing::TestWithParam<Case> {
 protected:
  SessionMalformedTest() {
    open_server(server_);
    server_.react_malformed = [this](StreamId id) {
      if (answers_) server_.respond(id, "why", 400);
    };
  }
  // The types of the frames, with the code of a reset.
  std::vector<std::string> collect() {
    std::vector<std::string> all;
    for (const Frame& frame : server_.collect_frames()) {
      switch (frame.type) {
        case frame::headers: all.emplace_back("head"); break;
        case frame::data:
          all.emplace_back(frame.has(frame::end_stream) ? "body end" : "body");
          break;
        case frame::rst_stream: all.push_back("reset " + std::to_string(frame.number(0))); break;
        default: all.push_back(std::to_string(frame.type)); break;
      }
    }
    return all;
  }

  Recorder server_{server_options()};
  bool answers_ = true;
};

TEST_P(SessionMalformedTest, IsToldAnsweredAndReset) {
  ASSERT_TRUE(server_.session.feed(as_bytes(GetParam().frames()), start));
  ASSERT_EQ(server_.count("malformed 1 "), 1U) << testing::PrintToString(server_.events);
  const auto told = std::ranges::find_if(
      server_.events, [](const std::string& event) { return event.starts_with("malformed"); });
  EXPECT_NE(told->find(GetParam().rule), std::string::npos) << *told;
  EXPECT_EQ(collect(), (std::vector<std::string>{"head", "body end", "reset 1"}));
  EXPECT_EQ(server_.count("closed 1 "), 1U);
  EXPECT_EQ(server_.session.open_streams(), 0U);
  // The connection and its compression state live.
  ASSERT_TRUE(server_.feed(FrameWriter().headers(3, hpack_get("/next"))));
  EXPECT_TRUE(server_.saw("request 3 GET /next end"));
}

TEST_P(SessionMalformedTest, IsResetAtOnceWhenNobodyAnswers) {
  answers_ = false;
  ASSERT_TRUE(server_.session.feed(as_bytes(GetParam().frames()), start));
  EXPECT_EQ(collect(), (std::vector<std::string>{"reset 1"}));
  EXPECT_EQ(server_.events.back(), "closed 1 1");
}

TEST_P(SessionMalformedTest, CostsATokenOfTheResets) {
  SessionOptions options;
  options.resets_burst = 1;
  options.resets_per_second = 0;
  for (const bool answered : {true, false}) {
    Recorder server(options);
    open_server(server);
    server.react_malformed = [&](StreamId id) {
      if (answered) server.respond(id, "why", 400);
    };
    const std::string frames = GetParam().frames();
    ASSERT_TRUE(server.session.feed(as_bytes(frames), start));
    server.collect_all();
    ASSERT_TRUE(server.feed(FrameWriter().headers(3, hpack_get("/next"))));
    EXPECT_FALSE(
        server.feed(FrameWriter().headers(5, hpack_get() + hpack_literal("connection", "close"))));
    EXPECT_EQ(server.session.abuse(), AbuseKind::resets);
    EXPECT_EQ(server.count("malformed 5"), 0U);
  }
}

INSTANTIATE_TEST_SUITE_P(
    Rules, SessionMalformedTest,
    testing::Values(
        Case{"te", "\"te\" may only be", [] { return with_field("te", "gzip"); }},
        Case{"connection", "\"connection\" belongs", [] { return with_field("connection", "x"); }},
        Case{"keep_alive", "\"keep-alive\" belongs", [] { return with_field("keep-alive", "5"); }},
        Case{"transfer_encoding", "\"transfer-encoding\" belongs",
             [] { return with_field("transfer-encoding", "chunked"); }},
        Case{"upgrade", "\"upgrade\" belongs", [] { return with_field("upgrade", "websocket"); }},
        Case{"upper_case", "lower case", [] { return with_field("Accept", "x"); }},
        Case{"bad_name", "in its name", [] { return with_field("a b", "x"); }},
        Case{"bad_value", "in its value", [] { return with_field("x", "a\nb"); }},
        Case{"two_hosts", "\"host\" is not one authority",
             [] {
               return FrameWriter()
                   .headers(1,
                            hpack_get() + hpack_literal("host", "k") + hpack_literal("host", "k"))
                   .text();
             }},
        Case{"other_host", "host names another authority",
             [] { return with_field("host", "other"); }},
        Case{"late_pseudo", "out of its place",
             [] {
               return FrameWriter()
                   .headers(1, hpack_get() + hpack_literal("a", "b") + hpack_literal(":path", "/y"))
                   .text();
             }},
        Case{"no_path", ":path is missing",
             [] {
               return FrameWriter()
                   .headers(1, hpack_block(
                                   {{":method", "GET"}, {":scheme", "https"}, {":authority", "k"}}))
                   .text();
             }},
        Case{"relative_path", ":path does not begin with a slash",
             [] { return FrameWriter().headers(1, hpack_get("relative")).text(); }},
        Case{"no_number", "decimal number", [] { return with_field("content-length", "5x"); }},
        Case{"length_without_body", "\"content-length\" says",
             [] { return with_field("content-length", "5"); }},
        Case{"body_too_short", "\"content-length\" says",
             [] {
               return FrameWriter()
                   .headers(1, hpack_post() + hpack_literal("content-length", "5"), false)
                   .data(1, "four", true)
                   .text();
             }},
        Case{"body_too_long", "\"content-length\" says",
             [] {
               return FrameWriter()
                   .headers(1, hpack_post() + hpack_literal("content-length", "3"), false)
                   .data(1, "four", true)
                   .text();
             }},
        Case{"bad_trailer", "\"upgrade\" belongs",
             [] {
               return FrameWriter()
                   .headers(1, hpack_post(), false)
                   .headers(1, hpack_literal("upgrade", "x"), true)
                   .text();
             }}),
    [](const auto& param_info) { return param_info.param.name; });

// What the codec has let through before it saw the rule broken does not reach anybody.
TEST(SessionMalformedFieldsTest, NoFieldsOfAMalformedHeadAreShownAsARequest) {
  Recorder server(server_options());
  open_server(server);
  server.react_malformed = [&](StreamId id) { server.respond(id, "why", 400); };
  ASSERT_TRUE(server.feed(
      FrameWriter().headers(1, hpack_get("/x") + hpack_literal("connection", "x") +
                                   hpack_literal("later", "y", Indexing::incremental))));
  EXPECT_EQ(server.count("request"), 0U);
  EXPECT_TRUE(server.events.at(0).starts_with("malformed 1 GET /x: "));
  server.collect_all();
  ASSERT_TRUE(server.feed(FrameWriter().headers(3, hpack_get() + hpack_integer(62, 7, 0x80))));
  EXPECT_EQ(server.requests.at(3).fields.find("later"), "y");
}

TEST(SessionMalformedFieldsTest, AnUploadMayEndBeforeTheResetThatFollowsTheAnswer) {
  for (const bool ends : {true, false}) {
    Recorder server(server_options());
    open_server(server);
    server.react_malformed = [&](StreamId id) { server.respond(id, "why", 400); };
    ASSERT_TRUE(
        server.feed(FrameWriter().headers(1, hpack_post() + hpack_literal("te", "gzip"), false)));
    for (const Frame& frame : server.collect_frames()) EXPECT_NE(frame.type, frame::rst_stream);
    ASSERT_TRUE(server.feed(FrameWriter().data(1, "more", ends)));
    EXPECT_EQ(server.received[1], "more");
    if (!ends) server.session.reset_stream(1, ErrorCode::no_error);
    const std::vector<Frame> frames = server.collect_frames();
    ASSERT_EQ(frames.size(), 1U);
    EXPECT_EQ(frames[0].type, frame::rst_stream);
    EXPECT_EQ(frames[0].number(0), 1U);
  }
}

TEST(SessionMalformedFieldsTest, AnAnswerThatHasBegunGoesOnWhenTheBodyIsWrong) {
  for (const std::string_view body : {"", "four", "longer"}) {
    Recorder server(server_options());
    open_server(server);
    ASSERT_TRUE(server.feed(
        FrameWriter().headers(1, hpack_post() + hpack_literal("content-length", "5"), false)));
    server.bodies[1].finished = false;
    server.respond(1, "begun");
    server.collect_all();
    ASSERT_TRUE(server.feed(FrameWriter().data(1, std::string(body), true)));
    EXPECT_EQ(server.count("malformed 1 "), 1U);
    EXPECT_EQ(server.collect_frames().size(), 0U);
    server.bodies[1].left = "rest";
    server.bodies[1].finished = true;
    server.session.resume_body(1);
    const std::vector<Frame> frames = server.collect_frames();
    ASSERT_EQ(frames.size(), 2U) << body;
    EXPECT_EQ(frames[0].payload, "rest");
    EXPECT_TRUE(frames[0].has(frame::end_stream));
    EXPECT_EQ(frames[1].type, frame::rst_stream);
    EXPECT_EQ(server.events.back(), "closed 1 0");
  }
}

TEST(SessionMalformedFieldsTest, BlanksAroundAValueAreKept) {
  Pair pair;
  http::RequestHead head = get();
  head.fields.add("authorization", "Bearer token ");
  head.fields.add("impersonate-user", "\tadmin \t");
  const StreamId id = pair.request(head);
  pair.run();
  ASSERT_EQ(pair.server.requests.count(id), 1U);
  EXPECT_EQ(pair.server.requests[id].fields.find("authorization"), "Bearer token ");
  EXPECT_EQ(pair.server.requests[id].fields.find("impersonate-user"), "\tadmin \t");
}

TEST(SessionMalformedFieldsTest, TheSameAuthorityMayBeWrittenInAnotherWay) {
  const struct {
    const char* scheme;
    const char* authority;
    const char* host;
    bool same;
  } rows[] = {
      {"https", "name", "name:443", true},     {"https", "name:443", "NAME", true},
      {"https", "Name", "name", true},         {"https", "name:", "name", true},
      {"http", "name", "name:80", true},       {"https", "[::1]:443", "[::1]", true},
      {"https", "name", "name:80", false},     {"http", "name", "name:443", false},
      {"https", "name:6443", "name", false},   {"https", "name", "name2", false},
      {"https", "[::1]", "[::1]:6443", false}, {"https", "name:443", "name:444", false},
  };
  for (const auto& row : rows) {
    Recorder server(server_options());
    open_server(server);
    ASSERT_TRUE(server.feed(FrameWriter().headers(1, hpack_block({{":method", "GET"},
                                                                  {":scheme", row.scheme},
                                                                  {":path", "/"},
                                                                  {":authority", row.authority},
                                                                  {"host", row.host}}))));
    EXPECT_EQ(server.saw("request 1 GET / end"), row.same) << row.authority << ' ' << row.host;
    EXPECT_EQ(server.requests[1].authority, row.same ? row.authority : "");
  }
}

}  // namespace
}  // namespace sluice::http2::test
