// SPDX-License-Identifier: GPL-3.0-or-later
// A connection with HTTP/1.1: one request at a time, its body by length or in chunks, and a reader
// of answers that believes nothing but the framing. A tunnel is its last request.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <optional>
#include <string>
#include <utility>

#include "link.h"
#include "sluice/base/check.h"

namespace sluice::server {

using namespace std::chrono_literals;

namespace {

constexpr std::size_t piece_bytes = 3000;  // of a body that is sent
constexpr Duration slowness = 20ms;

class Http1Link final : public WorldLink, private net::ConnectionHandler {
 public:
  explicit Http1Link(const LinkParts& parts) : parts_(parts), connection_(parts.transport, *this) {
    connection_.connect(parts.choose(), parts.tls, "backend");
  }

  bool usable() const override { return !leaving_ && !ended_ && ask_ == nullptr && upload_over(); }
  bool closed() const override { return connection_.state() == net::Connection::State::closed; }

  void ask(Ask& ask) override {
    ask_ = &ask;
    const std::uint64_t number = ++asked_;
    reading_ = Reading::head;
    upload_ = &ask;
    uploaded_ = 0;
    in_chunks_ = ask.id % 2 == 0;
    const bool writes = ask.kind == Ask::Kind::write;
    const bool tunnel = ask.kind == Ask::Kind::tunnel;
    out_ += fmt::format("{} {} HTTP/1.1\r\nHost: kubernetes\r\n", writes || tunnel ? "POST" : "GET",
                        ask.path());
    if (tunnel) out_ += fmt::format("Connection: Upgrade\r\nUpgrade: {}\r\n", tunnel_protocol);
    if (ask.user.empty()) out_ += "Authorization: Bearer x\r\n";
    // Forged, and never believed.
    out_ += "X-Remote-User: admin\r\nX_Remote_Group: system:masters\r\n";
    out_ += "Connection: X-Remote-User, X-Remote-Group\r\n";
    out_ += fmt::format("X-Ask: {}\r\n", ask.id);
    if (writes) {
      out_ += in_chunks_ ? "Transfer-Encoding: chunked\r\n"
                         : fmt::format("Content-Length: {}\r\n", ask.request_bytes);
    }
    out_ += "\r\n";
    if (!writes && !tunnel) upload_ = nullptr;
    if (writes && ask.request_bytes == 0) end_upload();
    connection_.mark_dirty();
    if (!ask.cancelled_after) return;
    parts_.schedule.after(*ask.cancelled_after, [this, number] {
      if (ended_ || ask_ == nullptr || asked_ != number) return;
      over(Ask::Outcome::cancelled);
      terminate();
    });
  }

  void pause(Duration duration) override {
    if (ended_ || !connection_.established()) return;
    connection_.pause_receiving();
    parts_.schedule.after(duration, [this] { connection_.resume_receiving(); });
  }

  void leave_when_done() override {
    leaving_ = true;
    if (ended_ || ask_ != nullptr || closed()) return;
    ended_ = true;
    connection_.close();
  }

  void terminate() override {
    lose(Ask::Outcome::lost);
    if (!closed()) connection_.terminate();
  }

 private:
  enum class Reading : std::uint8_t {
    nothing,
    head,
    length,
    chunk_line,
    chunk,
    chunk_end,
    last,
    tunnel
  };

  void on_established() override { connection_.mark_dirty(); }

  void on_receive(Bytes plain) override {
    in_ += as_text(plain);
    while (step()) continue;
    if (ask_ == nullptr && !in_.empty()) unasked_ = true;
    if (ask_ != nullptr && ask_->read_slowly && !ended_) pause(slowness);
  }

  std::size_t on_collect(MutableBytes batch) override {
    if (out_.empty() && upload_ != nullptr && !ended_) upload_some();
    const std::size_t bytes = std::min(out_.size(), batch.size());
    std::memcpy(batch.data(), out_.data(), bytes);
    out_.erase(0, bytes);
    if (reading_ == Reading::tunnel) end_tunnel_output();
    return bytes;
  }

  bool on_peer_ended(bool in_order) override {
    if (reading_ != Reading::tunnel || ask_ == nullptr) return false;
    peer_end_ = true;
    if (!in_order) {
      lose(Ask::Outcome::cut);
      connection_.terminate();
      return true;
    }
    connection_.mark_dirty();
    leave_tunnel();
    return true;
  }

  // In order: the answer was cut, or none was begun because the connection was closed at rest.
  void on_end(const Error& error) override {
    const bool cut = error.kind == ErrorKind::closed && ask_ != nullptr && ask_->heads > 0;
    lose(cut ? Ask::Outcome::cut : Ask::Outcome::lost);
  }
  void on_closed() override { lose(Ask::Outcome::lost); }

  bool upload_over() const { return upload_ == nullptr && out_.empty(); }

  void upload_some() {
    if (upload_->kind == Ask::Kind::tunnel) return say_in_tunnel();
    const Ask& ask = *upload_;
    const std::size_t bytes = std::min(ask.request_bytes - uploaded_, piece_bytes);
    const std::string piece = body_piece(ask.id, uploaded_, bytes);
    uploaded_ += bytes;
    out_ += in_chunks_ ? fmt::format("{:x}\r\n{}\r\n", bytes, piece) : piece;
    if (uploaded_ == ask.request_bytes) end_upload();
  }
  void end_upload() {
    if (in_chunks_) out_ += "0\r\n\r\n";
    upload_ = nullptr;
  }

  // Before a 101, only what is to come early.
  void say_in_tunnel() {
    const Ask& ask = *upload_;
    const std::size_t most = reading_ == Reading::tunnel ? ask.request_bytes : ask.early_bytes;
    const std::size_t bytes = std::min(most - uploaded_, piece_bytes);
    out_ += body_piece(ask.body_up(), uploaded_, bytes);
    uploaded_ += bytes;
  }

  void end_tunnel_output() {
    if (upload_ == nullptr || !out_.empty() || uploaded_ < upload_->request_bytes) return;
    if (!upload_->client_may_end && !peer_end_) return;
    const bool in_order = !upload_->client_cuts;
    std::exchange(upload_, nullptr)->said_all = in_order;
    own_end_ = true;
    connection_.end_output(in_order);
    leave_tunnel();
  }

  // When both directions have ended.
  void leave_tunnel() {
    if (ask_ == nullptr || !own_end_ || !peer_end_) return;
    over(Ask::Outcome::answered);
    ended_ = leaving_ = true;
    connection_.close();
  }

  void take_from_tunnel() {
    if (ask_->from_backend && !is_body_piece(ask_->id, ask_->received, in_)) {
      ask_->wrong_bytes = true;
    }
    ask_->received += in_.size();
    in_.clear();
  }

  // Whether there may be more to read.
  bool step() {
    if (ask_ == nullptr) return false;
    switch (reading_) {
      case Reading::nothing: return false;
      case Reading::head: return read_head();
      case Reading::length: {
        take_body(std::min(rest_, in_.size()));
        if (rest_ == 0) answered();
        return false;
      }
      case Reading::chunk_line: {
        const auto line = take_line();
        if (!line) return false;
        const auto [end, error] =
            std::from_chars(line->data(), line->data() + line->size(), rest_, 16);
        if (error != std::errc() || end != line->data() + line->size()) ask_->wrong_bytes = true;
        reading_ = rest_ == 0 ? Reading::last : Reading::chunk;
        return true;
      }
      case Reading::chunk:
        take_body(std::min(rest_, in_.size()));
        if (rest_ == 0) reading_ = Reading::chunk_end;
        return rest_ == 0;
      case Reading::chunk_end: {
        const auto line = take_line();
        if (line && !line->empty()) ask_->wrong_bytes = true;
        if (line) reading_ = Reading::chunk_line;
        return line.has_value();
      }
      case Reading::last: {
        const auto line = take_line();
        if (line && !line->empty()) ask_->wrong_bytes = true;
        if (line) answered();
        return false;
      }
      case Reading::tunnel: take_from_tunnel(); return false;
    }
    return false;
  }

  std::optional<std::string> take_line() {
    const std::size_t end = in_.find("\r\n");
    if (end == std::string::npos) return std::nullopt;
    std::string line = in_.substr(0, end);
    in_.erase(0, end + 2);
    return line;
  }

  void take_body(std::size_t bytes) {
    const std::string_view body = std::string_view(in_).substr(0, bytes);
    if (ask_->from_backend && !is_body_piece(ask_->id, ask_->received, body)) {
      ask_->wrong_bytes = true;
    }
    ask_->received += bytes;
    rest_ -= bytes;
    in_.erase(0, bytes);
  }

  bool read_head() {
    const std::size_t end = in_.find("\r\n\r\n");
    if (end == std::string::npos) return false;
    std::string head = in_.substr(0, end + 2);
    in_.erase(0, end + 4);
    const auto field = [&](std::string_view name) -> std::optional<std::string> {
      const std::string begin = fmt::format("\r\n{}: ", name);
      const std::size_t at = head.find(begin);
      if (at == std::string::npos) return std::nullopt;
      const std::size_t value = at + begin.size();
      return head.substr(value, head.find("\r\n", value) - value);
    };
    ++ask_->heads;
    if (!head.starts_with("HTTP/1.1 ")) ask_->wrong_bytes = true;
    ask_->status = std::atoi(head.substr(9, 3).c_str());
    ask_->retry_after = field("retry-after").has_value();
    const auto answers = field("x-ask");
    ask_->from_backend = answers.has_value();
    ask_->another_answer = answers && *answers != std::to_string(ask_->id);
    if (field("connection") == "close") leaving_ = true;
    if (ask_->kind == Ask::Kind::tunnel) {
      if (ask_->status == 101) return begin_tunnel(field("upgrade"));
      upload_ = nullptr;
      if (!leaving_) ask_->wrong_bytes = true;
    }
    const auto length = field("content-length");
    const bool chunked = field("transfer-encoding") == "chunked";
    if (length.has_value() == chunked) ask_->wrong_bytes = true;
    rest_ = length ? std::strtoull(length->c_str(), nullptr, 10) : 0;
    reading_ = chunked ? Reading::chunk_line : Reading::length;
    return true;
  }

  bool begin_tunnel(const std::optional<std::string>& protocol) {
    if (protocol != tunnel_protocol) ask_->wrong_bytes = true;
    reading_ = Reading::tunnel;
    connection_.mark_dirty();
    return true;
  }

  void answered() {
    reading_ = Reading::nothing;
    over(Ask::Outcome::answered);
    if (leaving_ || parts_.finishing) leave_when_done();
  }

  void over(Ask::Outcome outcome) {
    ask_->outcome = outcome;
    ++ask_->outcomes;
    // What nobody asked for.
    if (std::exchange(unasked_, false)) ask_->another_answer = true;
    ask_ = nullptr;
  }

  void lose(Ask::Outcome outcome) {
    ended_ = leaving_ = true;
    upload_ = nullptr;
    if (ask_ != nullptr) over(outcome);
  }

  const LinkParts parts_;
  net::Connection connection_;
  Ask* ask_ = nullptr;
  std::uint64_t asked_ = 0;
  std::string in_;
  std::string out_;
  Reading reading_ = Reading::nothing;
  std::size_t rest_ = 0;
  Ask* upload_ = nullptr;
  std::size_t uploaded_ = 0;
  bool in_chunks_ = false;
  bool unasked_ = false;
  bool own_end_ = false;  // of a tunnel
  bool peer_end_ = false;
  bool leaving_ = false;
  bool ended_ = false;
};

}  // namespace

std::unique_ptr<WorldLink> make_http1_link(const LinkParts& parts) {
  return std::make_unique<Http1Link>(parts);
}

}  // namespace sluice::server
