// SPDX-License-Identifier: GPL-3.0-or-later
// Flow control and the order of bodies on one connection.
#include "recorder.h"

namespace sluice::http2::test {
namespace {

constexpr std::uint32_t connection_window = 16 * 1024 * 1024;
constexpr std::uint32_t large_window = 1 << 30;

// A server whose peer allows it to send without bounds.
void open_wide_server(Recorder& server) {
  ASSERT_TRUE(server.feed(FrameWriter()
                              .magic()
                              .settings({{frame::initial_window_size, large_window}})
                              .settings_ack()
                              .window_update(0, large_window)));
  server.collect_all();
}

TEST(SessionFlowTest, FillsARecordExactly) {
  Recorder server(server_options());
  open_wide_server(server);
  ASSERT_TRUE(server.feed(FrameWriter().headers(1, hpack_get())));
  server.respond(1, std::string(100'000, 'x'));
  std::vector<std::uint8_t> batch(16384);
  FrameReader reader;
  std::size_t data_frames = 0;
  for (int record = 0; record < 6; ++record) {
    ASSERT_EQ(server.session.collect(batch), 16384u) << record;
    reader.append(batch);
    for (const Frame& f : reader.all()) {
      data_frames += f.type == frame::data;
      EXPECT_LE(f.payload.size(), 16375u);
    }
    EXPECT_EQ(reader.left(), 0u);  // a record holds whole frames
  }
  EXPECT_EQ(data_frames, 6u);
  EXPECT_GT(server.session.collect(batch), 0u);
  EXPECT_EQ(server.session.collect(batch), 0u);
  EXPECT_FALSE(server.session.wants_output());
}

TEST(SessionFlowTest, AFrameEndsAtEachRecordOfALargeBatch) {
  Recorder server(server_options());
  open_wide_server(server);
  ASSERT_TRUE(server.feed(FrameWriter().headers(1, hpack_get())));
  server.respond(1, std::string(100'000, 'x'));
  std::vector<std::uint8_t> batch(65536);
  ASSERT_EQ(server.session.collect(batch), batch.size());
  for (std::size_t record = 0; record < 4; ++record) {
    FrameReader reader;
    reader.append(Bytes(batch).subspan(record * 16384, 16384));
    EXPECT_GE(reader.all().size(), 1u);
    EXPECT_EQ(reader.left(), 0u);
  }
}

TEST(SessionFlowTest, SeveralSmallBodiesShareARecord) {
  Recorder server(server_options());
  open_wide_server(server);
  FrameWriter requests;
  for (std::uint32_t i = 0; i < 10; ++i) requests.headers(2 * i + 1, hpack_get());
  ASSERT_TRUE(server.feed(requests));
  for (StreamId i = 0; i < 10; ++i) server.respond(2 * i + 1, std::string(1000, 'x'));
  std::vector<std::uint8_t> batch(16384);
  EXPECT_GT(server.session.collect(batch), 10'000u);
  EXPECT_FALSE(server.session.wants_output());
}

TEST(SessionFlowTest, EqualStreamsShareTheConnection) {
  Recorder server(server_options());
  open_wide_server(server);
  ASSERT_TRUE(server.feed(
      FrameWriter().headers(1, hpack_get()).headers(3, hpack_get()).headers(5, hpack_get())));
  for (const StreamId id : {1, 3, 5}) server.respond(id, std::string(300'000, 'x'));
  std::map<std::uint32_t, std::size_t> bytes;
  std::vector<std::uint8_t> batch(16384);
  FrameReader reader;
  for (int i = 0; i < 30; ++i) {
    reader.append(Bytes(batch).first(server.session.collect(batch)));
    for (const Frame& f : reader.all()) {
      if (f.type == frame::data) bytes[f.id] += f.payload.size();
    }
  }
  for (const std::uint32_t id : {1u, 3u, 5u}) {
    EXPECT_NEAR(static_cast<double>(bytes[id]), 10 * 16375.0, 2 * 16375.0) << id;
  }
}

// A connection whose rate is one record a turn, with streams of three kinds on it: long answers,
// watches that always have an event to send, and short requests of which the next is sent when one
// has its answer.
class SharingTest {
 public:
  struct Mix {
    int long_answers;
    int watches;
    std::size_t event_bytes;
    int short_requests;
    std::size_t short_bytes;
  };

  explicit SharingTest(const Mix& mix) : mix_(mix) { open_wide_server(server_); }

  // The longest that a stream with bytes to send waited, in its fair shares of the rate: what all
  // streams would have taken at a frame each.
  double longest_wait() {
    for (int i = 0; i < mix_.long_answers; ++i) open(std::string(4'000'000, 'l'), false);
    for (int i = 0; i < mix_.watches; ++i) watches_.push_back(open("", true));
    const int streams = mix_.long_answers + mix_.watches + mix_.short_requests;
    std::vector<std::uint8_t> batch(16384);
    for (int turn = 0; turn < 6 * streams + 200; ++turn) {
      for (const StreamId id : watches_) event(id);
      while (short_ < mix_.short_requests) {
        ++short_;
        open(std::string(mix_.short_bytes, 's'), false);
      }
      const std::size_t bytes = server_.session.collect(batch);
      sent_ += bytes;
      take(Bytes(batch).first(bytes));
    }
    // Who was never served waits until now.
    for (const auto& [id, since] : waiting_since_) note_wait(since);
    return static_cast<double>(longest_) / (16384.0 * streams);
  }

 private:
  StreamId open(std::string body, bool watch) {
    const StreamId id = next_;
    next_ += 2;
    EXPECT_TRUE(server_.feed(FrameWriter().headers(static_cast<std::uint32_t>(id), hpack_get())));
    http::ResponseHead head;
    head.status = 200;
    server_.bodies[id].finished = !watch;
    if (!body.empty()) waiting_since_[id] = sent_;
    server_.bodies[id].left = std::move(body);
    server_.session.submit_response(id, head, true);
    return id;
  }

  void event(StreamId id) {
    Body& body = server_.bodies[id];
    if (body.size() > 0) return;
    body.left.assign(mix_.event_bytes, 'w');
    waiting_since_[id] = sent_;
    server_.session.resume_body(id);
  }

  void take(Bytes batch) {
    reader_.append(batch);
    for (const Frame& frame : reader_.all()) {
      if (frame.type != frame::data || frame.payload.empty()) continue;
      const auto id = static_cast<StreamId>(frame.id);
      note_wait(waiting_since_[id]);
      waiting_since_[id] = sent_;
      if (server_.bodies[id].size() > 0) continue;
      waiting_since_.erase(id);
      if (frame.payload.front() == 's') --short_;
    }
  }

  void note_wait(std::uint64_t since) { longest_ = std::max(longest_, sent_ - since); }

  Mix mix_;
  Recorder server_{server_options()};
  FrameReader reader_;
  StreamId next_ = 1;
  int short_ = 0;
  std::vector<StreamId> watches_;
  std::map<StreamId, std::uint64_t> waiting_since_;  // bytes that had been sent then
  std::uint64_t sent_ = 0;
  std::uint64_t longest_ = 0;
};

TEST(SessionFlowTest, NoStreamWaitsLongerThanTwiceItsFairShareWhateverTheOthersDo) {
  for (const SharingTest::Mix& mix : std::vector<SharingTest::Mix>{
           {1, 0, 0, 1, 100},          // a lease beside a large list
           {0, 1, 1'000'000, 1, 300},  // a lease beside a watch with much to say
           {1, 100, 200, 1, 300},      // many watches with small events
           {1, 20, 16'000, 5, 1000},
           {10, 10, 4000, 10, 4000},
           {1, 0, 0, 50, 8000},  // short answers without end beside a large list
           {4, 1, 500'000, 90, 200},
           {30, 0, 0, 1, 300},
       }) {
    EXPECT_LE(SharingTest(mix).longest_wait(), 2.0)
        << mix.long_answers << " long, " << mix.watches << " watches of " << mix.event_bytes << ", "
        << mix.short_requests << " short of " << mix.short_bytes;
  }
}

TEST(SessionFlowTest, IgnoresThePriorityThatAClientAsksFor) {
  Recorder server(server_options());
  open_wide_server(server);
  ASSERT_TRUE(server.feed(FrameWriter()
                              .headers(1, hpack_get() + hpack_literal("priority", "u=7"))
                              .headers(3, hpack_get() + hpack_literal("priority", "u=0"))));
  server.respond(1, std::string(50'000, 'a'));
  server.respond(3, std::string(50'000, 'b'));
  std::map<std::uint32_t, int> frames;
  std::vector<std::uint8_t> batch(16384);
  FrameReader reader;
  for (int i = 0; i < 3; ++i) {
    reader.append(Bytes(batch).first(server.session.collect(batch)));
    for (const Frame& f : reader.all()) frames[f.id] += f.type == frame::data;
  }
  EXPECT_GE(frames[1], 1);
  EXPECT_GE(frames[3], 1);
}

TEST(SessionFlowTest, UploadsOfAClientTakeTurns) {
  Recorder client(client_options());
  ASSERT_TRUE(client.feed(FrameWriter()
                              .settings({{frame::initial_window_size, large_window}})
                              .window_update(0, large_window)));
  for (int i = 0; i < 3; ++i) {
    const Result<StreamId> id = client.session.submit_request(post(), true, 0);
    ASSERT_TRUE(id);
    client.bodies[*id].left = std::string(300'000, 'x');
  }
  std::map<std::uint32_t, std::size_t> bytes;
  std::vector<std::uint8_t> batch(16384);
  FrameReader reader;
  std::size_t last = 0;
  for (int i = 0; i < 30; ++i) {
    reader.append(Bytes(batch).first(client.session.collect(batch)));
    if (i == 0) reader.skip_magic();
    for (const Frame& f : reader.all()) {
      if (f.type == frame::data) bytes[f.id] += f.payload.size();
    }
    ASSERT_TRUE(client.session.wants_output());
    EXPECT_EQ(reader.left(), 0u);
  }
  for (const auto& [id, n] : bytes) last += n;
  EXPECT_GT(last, 29u * 16375);
  for (const std::uint32_t id : {1u, 3u, 5u}) {
    EXPECT_NEAR(static_cast<double>(bytes[id]), 10 * 16375.0, 2 * 16375.0) << id;
  }
  for (const Frame& f : client.collect_frames()) bytes[f.id] += f.payload.size();
  for (const std::uint32_t id : {1u, 3u, 5u}) EXPECT_EQ(bytes[id], 300'000u);
  EXPECT_FALSE(client.session.wants_output());
}

TEST(SessionFlowTest, AnUploadAloneIsNotHeldBack) {
  Recorder client(client_options());
  ASSERT_TRUE(client.feed(FrameWriter()
                              .settings({{frame::initial_window_size, large_window}})
                              .window_update(0, large_window)));
  // Two uploads, of which one has nothing to send.
  ASSERT_TRUE(client.session.submit_request(post(), true, 0));
  ASSERT_TRUE(client.session.submit_request(post(), true, 0));
  client.bodies[1].finished = false;
  client.bodies[3].left = std::string(60'000, 'x');
  std::size_t sent = 0;
  for (const Frame& f : client.collect_frames())
    sent += f.type == frame::data ? f.payload.size() : 0;
  EXPECT_EQ(sent, 60'000u);
  EXPECT_FALSE(client.session.wants_output());
}

TEST(SessionFlowTest, ABodyWithoutBytesIsAskedAgainOnlyAfterResume) {
  Recorder server(server_options());
  open_wide_server(server);
  ASSERT_TRUE(server.feed(FrameWriter().headers(1, hpack_get())));
  server.bodies[1].finished = false;
  http::ResponseHead head;
  head.status = 200;
  server.session.submit_response(1, head, true);
  server.collect_all();
  EXPECT_EQ(server.bodies[1].asked, 1u);
  EXPECT_FALSE(server.session.wants_output());
  server.session.ping(1);
  server.collect_all();
  EXPECT_EQ(server.bodies[1].asked, 1u);
  server.bodies[1].left = "event";
  server.session.resume_body(1);
  EXPECT_TRUE(server.session.wants_output());
  const std::vector<Frame> frames = server.collect_frames();
  ASSERT_EQ(frames.size(), 1u);
  EXPECT_EQ(frames[0].payload, "event");
  server.bodies[1].finished = true;
  server.session.resume_body(1);
  EXPECT_TRUE(server.collect_frames().at(0).has(frame::end_stream));
}

class ResumingRecorder : public Recorder {
 public:
  using Recorder::Recorder;
  BodyResult on_body_wanted(StreamRef ref, MutableBytes room) override {
    const BodyResult result = Recorder::on_body_wanted(ref, room);
    if (bodies[ref.id].asked == 1) {
      bodies[ref.id].left = "late";
      session.resume_body(ref.id);
    }
    return result;
  }
};

TEST(SessionFlowTest, AResumeWhileTheBodyIsAskedForIsNotLost) {
  ResumingRecorder server(server_options());
  open_wide_server(server);
  ASSERT_TRUE(server.feed(FrameWriter().headers(1, hpack_get())));
  server.bodies[1].finished = false;
  http::ResponseHead head;
  head.status = 200;
  server.session.submit_response(1, head, true);
  const std::vector<Frame> frames = server.collect_frames();
  ASSERT_EQ(frames.size(), 2u);
  EXPECT_EQ(frames[1].payload, "late");
}

TEST(SessionFlowTest, AStalledStreamDoesNotStopAnother) {
  Pair pair;
  pair.client.consume_at_once = false;  // nothing that arrives leaves for the other side
  const StreamId stalled = pair.request(get("/stalled"));
  pair.run();
  pair.server.respond(stalled, std::string(10'000'000, 's'));
  pair.run();
  EXPECT_LE(pair.client.received[stalled].size(), 65536u);
  EXPECT_GT(pair.server.bodies[stalled].size(), 9'900'000u);
  pair.client.consume_at_once = true;
  const StreamId other = pair.request(get("/other"));
  pair.run();
  pair.server.respond(other, std::string(40'000'000, 'o'));
  pair.run();
  EXPECT_EQ(pair.client.received[other].size(), 40'000'000u);
  EXPECT_LE(pair.client.received[stalled].size(), 65536u);
}

TEST(SessionFlowTest, AStreamFlowsOnWhenCreditIsReturned) {
  Pair pair;
  pair.client.consume_at_once = false;
  const StreamId id = pair.request(get());
  pair.run();
  pair.server.respond(id, std::string(200'000, 'x'));
  pair.run();
  std::size_t have = pair.client.received[id].size();
  EXPECT_LE(have, 65536u);
  pair.client.session.consume(id, have);
  pair.run();
  EXPECT_EQ(pair.client.received[id].size(), have + 65536);
  pair.client.session.consume(9999, 10);  // no such stream
}

TEST(SessionFlowTest, AStreamWindowCanGrow) {
  Pair pair;
  pair.client.consume_at_once = false;
  const StreamId id = pair.request(get());
  pair.run();
  pair.server.respond(id, std::string(1'000'000, 'x'));
  pair.run();
  const std::size_t before = pair.client.received[id].size();
  pair.client.session.grow_stream_window(id, 262'144);
  pair.client.session.grow_stream_window(id, 1000);  // never shrinks
  pair.run();
  EXPECT_EQ(pair.client.received[id].size(), 262'144u);
  EXPECT_GT(pair.client.received[id].size(), before);
}

TEST(SessionFlowTest, MoreThanTheStreamWindowEndsTheConnection) {
  Recorder server(server_options());
  open_server(server);
  server.consume_at_once = false;
  FrameWriter input;
  input.headers(1, hpack_post(), false);
  for (int i = 0; i < 5; ++i) input.data(1, std::string(16384, 'x'));
  EXPECT_FALSE(server.feed(input));
  EXPECT_LE(server.received[1].size(), 65536u);
  const std::vector<Frame> frames = server.collect_frames();
  ASSERT_FALSE(frames.empty());
  EXPECT_EQ(frames.back().type, frame::goaway);
  EXPECT_EQ(frames.back().number(4), static_cast<std::uint32_t>(ErrorCode::flow_control_error));
}

TEST(SessionFlowTest, PaddingIsCreditedLikeData) {
  Recorder server(server_options());
  open_server(server);
  ASSERT_TRUE(server.feed(FrameWriter().headers(1, hpack_post(), false)));
  const std::string payload = std::string(1, '\x09') + "x" + std::string(9, '\0');
  for (int i = 0; i < 100; ++i) {
    ASSERT_TRUE(server.feed(FrameWriter().frame(frame::data, frame::padded, 1, payload)));
  }
  EXPECT_EQ(server.received[1].size(), 100u);
  // What was taken and what was credited meet again: unreturned is at most half a window.
  EXPECT_EQ(server.session.receive_window(), static_cast<std::int32_t>(connection_window) - 1100);
}

// The connection window must not leak, whatever happens to the streams that used it.
TEST(SessionFlowTest, WindowsAreRestoredExactlyAfterManyAbortedBodies) {
  Recorder server(server_options());
  open_server(server);
  server.consume_at_once = false;
  // What the peer may still send: what it was given, less what it sent, plus what is credited.
  std::int64_t credit = connection_window;
  const auto sent = [&credit](std::size_t n) { credit -= static_cast<std::int64_t>(n); };
  const auto collect_credit = [&] {
    for (const Frame& f : server.collect_frames()) {
      if (f.type == frame::window_update && f.id == 0) credit += f.number(0);
    }
  };
  constexpr int bodies = 100'000;
  Instant now = start;
  for (int i = 0; i < bodies; ++i) {
    const auto id = static_cast<std::uint32_t>(2 * i + 1);
    FrameWriter input;
    input.headers(id, hpack_post(), false).data(id, std::string(700, 'x'));
    sent(700);
    if (i % 3 == 0) {  // the client gives up
      input.rst_stream(id, 8);
    } else if (i % 3 == 1) {  // a contradiction that makes us reset it, with bytes in between
      input.header(500, frame::data, 0, id).raw(std::string(500, 'y'));
      sent(500);
    }
    now += std::chrono::seconds(2);
    ASSERT_TRUE(server.feed(input, now)) << i;
    if (i % 3 != 0) {
      server.session.reset_stream(static_cast<StreamId>(id), ErrorCode::cancel);
      // Bytes for a stream that is being reset, and for one that has been.
      ASSERT_TRUE(server.feed(FrameWriter().data(id, std::string(300, 'z')), now));
      collect_credit();
      ASSERT_TRUE(server.feed(FrameWriter().data(id, std::string(200, 'z')), now));
      sent(500);
    }
    collect_credit();
    ASSERT_EQ(server.session.open_streams(), 0u);
    ASSERT_GT(credit, 0);
    server.events.clear();
    server.received.clear();
    server.requests.clear();
  }
  EXPECT_EQ(server.session.receive_window(), credit);
  EXPECT_GE(credit, std::int64_t{connection_window} / 2);
}

TEST(SessionFlowTest, RespectsBothWindowsOfThePeer) {
  Recorder server(server_options());
  ASSERT_TRUE(server.feed(
      FrameWriter().magic().settings({{frame::initial_window_size, 40'000}}).settings_ack()));
  server.collect_all();
  ASSERT_TRUE(server.feed(FrameWriter().headers(1, hpack_get()).headers(3, hpack_get())));
  server.respond(1, std::string(100'000, 'a'));
  server.respond(3, std::string(100'000, 'b'));
  std::map<std::uint32_t, std::size_t> bytes;
  const auto take = [&] {
    for (const Frame& f : server.collect_frames()) {
      if (f.type == frame::data) bytes[f.id] += f.payload.size();
    }
  };
  take();
  EXPECT_EQ(bytes[1] + bytes[3], 65535u);  // the connection's first window
  EXPECT_LE(bytes[1], 40'000u);
  EXPECT_EQ(server.session.send_window(), 0);
  EXPECT_FALSE(server.session.wants_output());
  ASSERT_TRUE(server.feed(FrameWriter().window_update(0, 1'000'000)));
  EXPECT_TRUE(server.session.wants_output());
  take();
  EXPECT_EQ(bytes[1], 40'000u);
  EXPECT_EQ(bytes[3], 40'000u);
  EXPECT_FALSE(server.session.wants_output());
  ASSERT_TRUE(server.feed(FrameWriter().window_update(3, 60'000)));
  take();
  EXPECT_EQ(bytes[3], 100'000u);
  EXPECT_TRUE(server.saw("closed 3 0"));
}

TEST(SessionFlowTest, TinyBatchesMoveControlFramesOnly) {
  Recorder server(server_options());
  open_wide_server(server);
  ASSERT_TRUE(server.feed(FrameWriter().headers(1, hpack_get()).ping(1)));
  server.respond(1, "body");
  std::vector<std::uint8_t> tiny(5);
  FrameReader reader;
  while (const std::size_t n = server.session.collect(tiny)) reader.append(Bytes(tiny).first(n));
  EXPECT_EQ(reader.all().size(), 2u);  // PING and HEADERS
  EXPECT_TRUE(server.session.wants_output());
  EXPECT_EQ(server.collect_frames().at(0).payload, "body");
}

}  // namespace
}  // namespace sluice::http2::test
