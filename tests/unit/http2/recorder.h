// SPDX-License-Identifier: GPL-3.0-or-later
// A session with an owner that writes down every event and sends bodies from strings; and a pair of
// them wired back to back.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "sluice/http2/codec_memory.h"
#include "sluice/http2/session.h"
#include "support/frames.h"

namespace sluice::http2::test {

using namespace sluice::test;

inline constexpr Instant start{};

inline Instant after(double seconds) {
  return start + std::chrono::duration_cast<Duration>(std::chrono::duration<double>(seconds));
}

inline SessionOptions server_options() { return {}; }

inline SessionOptions client_options() {
  SessionOptions options;
  options.server = false;
  return options;
}

struct Body {
  std::string left;  // the part behind `at`
  std::size_t at = 0;
  bool finished = true;  // what follows `left`: the end, or more later
  http::Fields trailers;
  std::size_t asked = 0;

  std::size_t size() const { return left.size() - at; }
};

class Recorder : public SessionHandler {
 public:
  explicit Recorder(const SessionOptions& options) : session(*this, options, start) {}

  void on_request(StreamRef ref, http::RequestHead&& head, bool end) override {
    note("request " + std::to_string(ref.id) + " " + head.method + " " + head.path +
         (end ? " end" : ""));
    requests[ref.id] = std::move(head);
    if (react) react(ref.id);
  }
  void on_response(StreamRef ref, http::ResponseHead&& head, bool end) override {
    note("response " + std::to_string(ref.id) + " " + std::to_string(head.status) +
         (end ? " end" : ""));
    responses[ref.id] = std::move(head);
    tags[ref.id] = ref.tag;
  }
  void on_head_too_large(StreamRef ref, http::RequestHead&& line) override {
    requests[ref.id] = std::move(line);
    note("head_too_large " + std::to_string(ref.id));
    if (react_too_large) react_too_large(ref.id);
  }
  void on_malformed(StreamRef ref, http::RequestHead&& head, std::string_view why) override {
    note("malformed " + std::to_string(ref.id) + " " + head.method + " " + head.path + ": " +
         std::string(why));
    if (react_malformed) react_malformed(ref.id);
  }
  void on_data(StreamRef ref, Bytes bytes) override {
    received[ref.id] += as_text(bytes);
    if (consume_at_once) session.consume(ref.id, bytes.size());
  }
  void on_trailers(StreamRef ref, http::Fields&& fields) override {
    note("trailers " + std::to_string(ref.id));
    trailers[ref.id] = std::move(fields);
  }
  void on_end_of_stream(StreamRef ref) override { note("end " + std::to_string(ref.id)); }
  void on_stream_closed(StreamRef ref, ErrorCode code, bool by_peer) override {
    note("closed " + std::to_string(ref.id) + " " + std::to_string(static_cast<unsigned>(code)) +
         (by_peer ? " by_peer" : ""));
    written_at_close[ref.id] = session.request_written(ref.id);
  }
  BodyResult on_body_wanted(StreamRef ref, MutableBytes room) override {
    order.push_back(ref.id);
    Body& body = bodies[ref.id];
    ++body.asked;
    const std::size_t n = std::min(room.size(), body.size());
    std::memcpy(room.data(), body.left.data() + body.at, n);
    body.at += n;
    if (body.size() == 0) {
      body.left.clear();
      body.at = 0;
    }
    return {n, body.size() == 0 && body.finished ? BodyStatus::finished : BodyStatus::more};
  }
  const http::Fields* on_trailers_wanted(StreamRef ref) override {
    return &bodies[ref.id].trailers;
  }
  void on_goaway(StreamId last, ErrorCode code) override {
    note("goaway " + std::to_string(last) + " " + std::to_string(static_cast<unsigned>(code)));
  }
  void on_settings() override { note("settings"); }
  void on_ping_answer(std::uint64_t opaque) override { note("pong " + std::to_string(opaque)); }
  void on_output_ready() override { ++outputs_announced; }

  void note(std::string event) { events.push_back(std::move(event)); }

  bool saw(const std::string& event) const {
    return std::ranges::find(events, event) != events.end();
  }
  std::size_t count(const std::string& beginning) const {
    return static_cast<std::size_t>(std::ranges::count_if(
        events, [&](const std::string& event) { return event.starts_with(beginning); }));
  }

  // Everything that can be sent now, through batches of the given size.
  std::string collect_all(std::size_t batch_bytes = 16384) {
    std::string out;
    std::vector<std::uint8_t> batch(batch_bytes);
    while (const std::size_t n = session.collect(batch)) {
      out.append(reinterpret_cast<const char*>(batch.data()), n);
    }
    return out;
  }
  std::vector<Frame> collect_frames(std::size_t batch_bytes = 16384) {
    FrameReader reader;
    reader.append(as_bytes(collect_all(batch_bytes)));
    reader.skip_magic();
    std::vector<Frame> frames = reader.all();
    EXPECT_EQ(reader.left(), 0u);
    return frames;
  }
  Result<void> feed(const FrameWriter& frames, Instant now = start) {
    return session.feed(frames.bytes(), now);
  }
  void respond(StreamId id, std::string body, int status = 200) {
    http::ResponseHead head;
    head.status = status;
    const bool has_body = !body.empty();
    bodies[id].left = std::move(body);
    session.submit_response(id, head, has_body);
  }

  std::vector<std::string> events;
  std::map<StreamId, http::RequestHead> requests;
  std::map<StreamId, http::ResponseHead> responses;
  std::map<StreamId, http::Fields> trailers;
  std::map<StreamId, std::string> received;
  std::map<StreamId, std::uint64_t> tags;
  std::map<StreamId, bool> written_at_close;
  std::map<StreamId, Body> bodies;
  std::vector<StreamId> order;  // in which bodies were asked for
  std::function<void(StreamId)> react;
  std::function<void(StreamId)> react_too_large;
  std::function<void(StreamId)> react_malformed;
  bool consume_at_once = true;
  int outputs_announced = 0;
  Session session;
};

// A server that has exchanged prefaces with a peer written by hand.
inline void open_server(Recorder& server) {
  ASSERT_TRUE(server.feed(FrameWriter().preface().settings_ack()));
  server.collect_all();
  server.events.clear();
}

inline http::RequestHead get(std::string path = "/") {
  http::RequestHead head;
  head.method = "GET";
  head.scheme = "https";
  head.authority = "kube";
  head.path = std::move(path);
  return head;
}

inline http::RequestHead post(std::string path = "/") {
  http::RequestHead head = get(std::move(path));
  head.method = "POST";
  return head;
}

// Client and server of the same class, with the bytes moved by hand.
struct Pair {
  explicit Pair(SessionOptions for_client = client_options(),
                SessionOptions for_server = server_options())
      : client(for_client), server(for_server) {}

  // Moves bytes until both sides are silent.
  void run(Instant now = start, std::size_t batch_bytes = 16384) {
    for (bool moved = true; moved;) {
      moved = false;
      moved |= move(client, server, now, batch_bytes);
      moved |= move(server, client, now, batch_bytes);
    }
  }
  static bool move(Recorder& from, Recorder& to, Instant now = start,
                   std::size_t batch_bytes = 16384) {
    const std::string bytes = from.collect_all(batch_bytes);
    if (bytes.empty()) return false;
    EXPECT_TRUE(to.session.feed(as_bytes(bytes), now));
    return true;
  }
  StreamId request(const http::RequestHead& head, std::string body = {}, std::uint64_t tag = 0) {
    const bool has_body = !body.empty();
    const Result<StreamId> id = client.session.submit_request(head, has_body, tag);
    EXPECT_TRUE(id);
    if (!id) return 0;
    client.bodies[*id].left = std::move(body);
    return *id;
  }

  Recorder client;
  Recorder server;
};

}  // namespace sluice::http2::test
