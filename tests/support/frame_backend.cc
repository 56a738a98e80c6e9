// SPDX-License-Identifier: GPL-3.0-or-later
// Session and script share one connection: a script's bytes go out where the session has sent a
// whole number of frames.
#include "frame_backend.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "sluice/base/check.h"
#include "sluice/io/socket.h"

namespace sluice::test {

class FrameBackend::Connection final : public net::ConnectionHandler, public http2::SessionHandler {
 public:
  Connection(FrameBackend& backend, std::uint64_t number, int descriptor)
      : backend_(backend), number_(number), connection_(backend.loop_.transport(), *this) {
    connection_.accept(descriptor, [this](std::string_view) { return backend_.tls_; });
  }

  void send(std::string_view bytes) {
    raw_.append(bytes);
    connection_.mark_dirty();
  }
  std::size_t unsent_bytes() const { return raw_.size() - raw_sent_; }
  void terminate() {
    if (connection_.state() != net::Connection::State::closed) connection_.terminate();
  }

  void on_established() override {
    http2::SessionOptions options;
    options.max_concurrent_streams = 100;
    options.connection_window_bytes = 16 * 1024 * 1024;
    options.resets_burst = options.control_frames_burst = 1'000'000;
    session_ = std::make_unique<http2::Session>(*this, options, backend_.loop_.now());
    connection_.mark_dirty();
  }
  void on_receive(Bytes plain) override {
    if (!session_->feed(plain, backend_.loop_.now())) return connection_.close();
    connection_.mark_dirty();
  }
  std::size_t on_collect(MutableBytes batch) override {
    if (session_ == nullptr) return 0;
    if (raw_sent_ == 0) {
      if (const std::size_t bytes = session_->collect(batch); bytes > 0) return bytes;
    }
    const std::size_t bytes = std::min(batch.size(), unsent_bytes());
    std::memcpy(batch.data(), raw_.data() + raw_sent_, bytes);
    raw_sent_ += bytes;
    if (raw_sent_ == raw_.size()) {
      raw_.clear();
      raw_sent_ = 0;
      if (session_->wants_output()) connection_.mark_dirty();
    }
    return bytes;
  }
  void on_end(const Error&) override {}
  void on_closed() override { backend_.connections_.erase(number_); }  // destroys this

  void on_request(http2::StreamRef stream, http::RequestHead&& head, bool end) override {
    const auto script = backend_.scripts_.find(std::string_view(head.path));
    if (script == backend_.scripts_.end()) return answer_usually(stream.id, head);
    const auto id = static_cast<std::uint32_t>(stream.id);
    paths_[stream.id] = head.path;
    Seen& seen = backend_.seen_[std::string(head.path)];
    seen = {};
    seen.connection = number_;
    seen.stream = id;
    seen.head = std::move(head);
    seen.complete = end;
    send(script->second(id));
  }
  void on_data(http2::StreamRef stream, Bytes data) override {
    session_->consume(stream.id, data.size());
    if (Seen* seen = find(stream.id)) seen->body_bytes += data.size();
  }
  void on_end_of_stream(http2::StreamRef stream) override {
    if (Seen* seen = find(stream.id)) seen->complete = true;
  }
  void on_stream_closed(http2::StreamRef stream, http2::ErrorCode code, bool by_peer) override {
    if (Seen* seen = find(stream.id)) {
      seen->reset = by_peer;
      seen->code = code;
    }
    texts_.erase(stream.id);
    paths_.erase(stream.id);
  }
  http2::BodyResult on_body_wanted(http2::StreamRef stream, MutableBytes room) override {
    std::string& text = texts_[stream.id];
    const std::size_t bytes = std::min(text.size(), room.size());
    std::memcpy(room.data(), text.data(), bytes);
    text.erase(0, bytes);
    return {bytes, text.empty() ? http2::BodyStatus::finished : http2::BodyStatus::more};
  }
  void on_output_ready() override { connection_.mark_dirty(); }

 private:
  Seen* find(http2::StreamId id) {
    const auto path = paths_.find(id);
    if (path == paths_.end()) return nullptr;
    Seen& seen = backend_.seen_[path->second];
    const bool same = seen.connection == number_ && seen.stream == static_cast<std::uint32_t>(id);
    return same ? &seen : nullptr;
  }

  void answer_usually(http2::StreamId id, const http::RequestHead& head) {
    http::ResponseHead answer;
    answer.status = 200;
    texts_[id] = "ok";
    if (head.path.ends_with("/selfsubjectreviews")) {
      const auto user = head.fields.find("x-remote-user");
      answer.status = user ? 201 : 401;
      texts_[id] =
          R"({"status":{"userInfo":{"username":")" + std::string(user.value_or("")) + R"("}}})";
    }
    session_->submit_response(id, answer, true);
    connection_.mark_dirty();
  }

  FrameBackend& backend_;
  std::uint64_t number_;
  net::Connection connection_;
  std::unique_ptr<http2::Session> session_;
  std::map<http2::StreamId, std::string> texts_;
  std::map<http2::StreamId, std::string> paths_;
  std::string raw_;
  std::size_t raw_sent_ = 0;
};

FrameBackend::FrameBackend(ClientLoop& loop, const tls::ServerOptions& options)
    : loop_(loop), tls_(std::move(tls::ServerContext::create(options).value())) {
  const int descriptor = io::listen_on(io::Address::parse("127.0.0.1:0").value(), {}).value();
  address_ = io::local_address(descriptor).value();
  listener_ = std::make_unique<net::Listener>(loop_.transport(), descriptor, budget_,
                                              [this](int taken) { accepted(taken); });
  listener_->start();
}

FrameBackend::~FrameBackend() {
  listener_->stop();
  for (const auto& [number, connection] : connections_) connection->terminate();
  CHECK(loop_.run_until([this] { return connections_.empty() && listener_->stopped(); }));
}

void FrameBackend::accepted(int descriptor) {
  const std::uint64_t number = ++accepted_;
  connections_[number] = std::make_unique<Connection>(*this, number, descriptor);
}

const FrameBackend::Seen* FrameBackend::seen(std::string_view path) const {
  const auto found = seen_.find(path);
  return found == seen_.end() ? nullptr : &found->second;
}

FrameBackend::Connection* FrameBackend::connection_of(std::string_view path) const {
  const Seen* request = seen(path);
  if (request == nullptr) return nullptr;
  const auto found = connections_.find(request->connection);
  return found == connections_.end() ? nullptr : found->second.get();
}

bool FrameBackend::send(std::string_view path, const Script& script) {
  Connection* connection = connection_of(path);
  if (connection == nullptr) return false;
  connection->send(script(seen(path)->stream));
  return true;
}

std::size_t FrameBackend::unsent_bytes(std::string_view path) const {
  const Connection* connection = connection_of(path);
  return connection == nullptr ? 0 : connection->unsent_bytes();
}

}  // namespace sluice::test
