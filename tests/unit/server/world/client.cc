// SPDX-License-Identifier: GPL-3.0-or-later
// A client of a world.
#include "client.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>

#include "sluice/base/check.h"

namespace sluice::server {

using namespace std::chrono_literals;

namespace {

constexpr std::size_t read_at_once = 4096;  // by one who reads slowly

}  // namespace

class WorldClient::Link final : public net::ConnectionHandler, public http2::SessionHandler {
 public:
  explicit Link(WorldClient& client)
      : client_(client),
        connection_(client.transport_, *this),
        session_(*this, {.server = false}, client.transport_.reactor().now()) {
    connection_.connect(client.choose_(), client.tls_, "backend");
  }

  bool usable() const { return !told_to_go_ && !ended_ && session_.can_open_stream(); }
  bool closed() const { return connection_.state() == net::Connection::State::closed; }

  void ask(Ask& ask) {
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
    client_.schedule_.after(*ask.cancelled_after, [this, id = *stream] {
      const auto found = streams_.find(id);
      if (ended_ || found == streams_.end()) return;
      over(found, Ask::Outcome::cancelled);
      session_.reset_stream(id, http2::ErrorCode::cancel);
      connection_.mark_dirty();
    });
  }

  void pause(Duration duration) {
    if (ended_ || !connection_.established()) return;
    connection_.pause_receiving();
    client_.schedule_.after(duration, [this] { connection_.resume_receiving(); });
  }

  void leave_when_done() {
    told_to_go_ = true;
    if (!ended_ && streams_.empty() && session_.open_streams() == 0) {
      ended_ = true;
      connection_.close();
    }
  }

  void terminate() {
    lose();
    if (!closed()) connection_.terminate();
  }

  // net::ConnectionHandler
  void on_established() override { connection_.mark_dirty(); }
  void on_receive(Bytes plain) override {
    if (!session_.feed(plain, client_.transport_.reactor().now())) return terminate();
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
    if (told_to_go_ || client_.finishing_) connection_.mark_dirty();
  }

  void lose() {
    ended_ = told_to_go_ = true;
    while (!streams_.empty()) over(streams_.begin(), Ask::Outcome::lost);
  }

  void read_later(http2::StreamId id) {
    client_.schedule_.after(20ms, [this, id] {
      const auto found = streams_.find(id);
      if (ended_ || found == streams_.end()) return;
      const std::size_t bytes = std::min(found->second.unread, read_at_once);
      found->second.unread -= bytes;
      session_.consume(id, bytes);
      connection_.mark_dirty();
      if (found->second.unread > 0) read_later(id);
    });
  }

  WorldClient& client_;
  net::Connection connection_;
  http2::Session session_;
  Streams streams_;
  bool told_to_go_ = false;
  bool ended_ = false;
};

WorldClient::WorldClient(net::Transport& transport, std::shared_ptr<const tls::ClientContext> tls,
                         ChooseAddress choose)
    : transport_(transport),
      tls_(std::move(tls)),
      choose_(std::move(choose)),
      schedule_(transport.reactor()) {}

WorldClient::~WorldClient() = default;

WorldClient::Link& WorldClient::link() {
  const auto usable = std::ranges::find_if(links_, [](const auto& link) { return link->usable(); });
  if (usable != links_.end()) return **usable;
  links_.push_back(std::make_unique<Link>(*this));
  return *links_.back();
}

void WorldClient::ask(Ask& ask) { link().ask(ask); }

void WorldClient::drop() {
  if (!links_.empty()) links_.back()->terminate();
}

void WorldClient::pause(Duration duration) {
  if (!links_.empty()) links_.back()->pause(duration);
}

void WorldClient::finish() {
  finishing_ = true;
  for (const auto& link : links_) link->leave_when_done();
}

void WorldClient::terminate() {
  schedule_.clear();
  for (const auto& link : links_) link->terminate();
}

}  // namespace sluice::server
