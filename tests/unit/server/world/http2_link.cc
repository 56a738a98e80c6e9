// SPDX-License-Identifier: GPL-3.0-or-later
// A connection with HTTP/2: any number of requests at once.
#include <algorithm>
#include <cstring>
#include <map>
#include <string>

#include "link.h"
#include "sluice/base/check.h"
#include "sluice/http2/session.h"

namespace sluice::server {

using namespace std::chrono_literals;

namespace {

constexpr std::size_t read_at_once = 4096;  // by one who reads slowly

class Http2Link final : public WorldLink,
                        private net::ConnectionHandler,
                        private http2::SessionHandler {
 public:
  explicit Http2Link(const LinkParts& parts)
      : parts_(parts),
        connection_(parts.transport, *this),
        session_(*this, {.server = false}, parts.transport.reactor().now()) {
    connection_.connect(parts.choose(), parts.tls, "backend");
  }

  bool usable() const override { return !told_to_go_ && !ended_ && session_.can_open_stream(); }
  bool closed() const override { return connection_.state() == net::Connection::State::closed; }

  void ask(Ask& ask) override {
    http::RequestHead head;
    head.method = ask.kind == Ask::Kind::write ? "POST" : "GET";
    head.scheme = "https";
    head.authority = "kubernetes";
    head.path = ask.path();
    if (ask.user.empty()) head.fields.add("authorization", "Bearer x");
    // Forged, and never believed.
    head.fields.add("x-remote-user", "admin");
    head.fields.add("x-remote-group", "system:masters");
    head.fields.add("x-ask", std::to_string(ask.id));
    if (ask.kind == Ask::Kind::write) {
      head.fields.add("content-length", std::to_string(ask.request_bytes));
    }
    const auto stream = session_.submit_request(head, ask.request_bytes > 0, 0);
    CHECK(stream.has_value());
    streams_[*stream] = {&ask, 0, 0};
    connection_.mark_dirty();
    if (!ask.cancelled_after) return;
    parts_.schedule.after(*ask.cancelled_after, [this, id = *stream] {
      const auto found = streams_.find(id);
      if (ended_ || found == streams_.end()) return;
      over(found, Ask::Outcome::cancelled);
      session_.reset_stream(id, http2::ErrorCode::cancel);
      connection_.mark_dirty();
    });
  }

  void pause(Duration duration) override {
    if (ended_ || !connection_.established()) return;
    connection_.pause_receiving();
    parts_.schedule.after(duration, [this] { connection_.resume_receiving(); });
  }

  void leave_when_done() override {
    told_to_go_ = true;
    if (!ended_ && streams_.empty() && session_.open_streams() == 0) {
      ended_ = true;
      connection_.close();
    }
  }

  void terminate() override {
    lose();
    if (!closed()) connection_.terminate();
  }

  // net::ConnectionHandler
  void on_established() override { connection_.mark_dirty(); }
  void on_receive(Bytes plain) override {
    if (!session_.feed(plain, parts_.transport.reactor().now())) return terminate();
    connection_.mark_dirty();
  }
  std::size_t on_collect(MutableBytes batch) override {
    const std::size_t bytes = session_.collect(batch);
    if (bytes == 0 && told_to_go_) leave_when_done();
    return bytes;
  }
  void on_end(const Error&) override { lose(); }
  void on_closed() override { lose(); }

  // http2::SessionHandler
  void on_response(http2::StreamRef ref, http::ResponseHead&& head, bool) override {
    const auto found = streams_.find(ref.id);
    if (found == streams_.end() || head.status < 200) return;
    Ask& ask = *found->second.ask;
    ++ask.heads;
    ask.status = head.status;
    ask.retry_after = head.fields.contains("retry-after");
    const auto answered = head.fields.find("x-ask");
    ask.from_backend = answered.has_value();
    ask.another_answer = answered && *answered != std::to_string(ask.id);
  }
  void on_data(http2::StreamRef ref, Bytes bytes) override {
    const auto found = streams_.find(ref.id);
    if (found == streams_.end()) return session_.consume(ref.id, bytes.size());
    Ask& ask = *found->second.ask;
    if (ask.from_backend && !is_body_piece(ask.id, ask.received, as_text(bytes))) {
      ask.wrong_bytes = true;
    }
    ask.received += bytes.size();
    if (!ask.read_slowly) return session_.consume(ref.id, bytes.size());
    if (found->second.unread == 0) read_later(ref.id);
    found->second.unread += bytes.size();
  }
  void on_end_of_stream(http2::StreamRef ref) override {
    const auto found = streams_.find(ref.id);
    if (found != streams_.end()) found->second.ended = true;
  }
  void on_stream_closed(http2::StreamRef ref, http2::ErrorCode code, bool) override {
    const auto found = streams_.find(ref.id);
    if (found == streams_.end()) return;
    // RFC 9113 section 8.1: a server may stop an upload behind a whole answer.
    if (found->second.ended) return over(found, Ask::Outcome::answered);
    over(found,
         code == http2::ErrorCode::refused_stream ? Ask::Outcome::refused : Ask::Outcome::cut);
  }
  http2::BodyResult on_body_wanted(http2::StreamRef ref, MutableBytes room) override {
    const auto found = streams_.find(ref.id);
    if (found == streams_.end()) return {0, http2::BodyStatus::more};
    Stream& stream = found->second;
    const std::size_t bytes = std::min(room.size(), stream.ask->request_bytes - stream.sent);
    const std::string piece = body_piece(stream.ask->id, stream.sent, bytes);
    std::memcpy(room.data(), piece.data(), bytes);
    stream.sent += bytes;
    return {bytes, stream.sent == stream.ask->request_bytes ? http2::BodyStatus::finished
                                                            : http2::BodyStatus::more};
  }
  void on_goaway(http2::StreamId, http2::ErrorCode) override { told_to_go_ = true; }
  void on_output_ready() override { connection_.mark_dirty(); }

 private:
  struct Stream {
    Ask* ask = nullptr;
    std::size_t sent = 0;
    std::size_t unread = 0;  // received, and no credit given for it
    bool ended = false;
  };
  using Streams = std::map<http2::StreamId, Stream>;

  void over(Streams::iterator stream, Ask::Outcome outcome) {
    Ask& ask = *stream->second.ask;
    ask.outcome = outcome;
    ++ask.outcomes;
    streams_.erase(stream);
    if (told_to_go_ || parts_.finishing) connection_.mark_dirty();
  }

  void lose() {
    ended_ = told_to_go_ = true;
    while (!streams_.empty()) over(streams_.begin(), Ask::Outcome::lost);
  }

  void read_later(http2::StreamId id) {
    parts_.schedule.after(20ms, [this, id] {
      const auto found = streams_.find(id);
      if (ended_ || found == streams_.end()) return;
      const std::size_t bytes = std::min(found->second.unread, read_at_once);
      found->second.unread -= bytes;
      session_.consume(id, bytes);
      connection_.mark_dirty();
      if (found->second.unread > 0) read_later(id);
    });
  }

  const LinkParts parts_;
  net::Connection connection_;
  http2::Session session_;
  Streams streams_;
  bool told_to_go_ = false;
  bool ended_ = false;
};

}  // namespace

std::unique_ptr<WorldLink> make_http2_link(const LinkParts& parts) {
  return std::make_unique<Http2Link>(parts);
}

}  // namespace sluice::server
