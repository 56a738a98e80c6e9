// SPDX-License-Identifier: GPL-3.0-or-later
// A tunnel between a client's connection and a backend's, with what lies between them: the first
// byte of the input chooses the request and the window, the others who does what next. Whatever
// the order is, each side gets exactly the bytes that the other has said, no more than a window of
// them waits between the two, each end is passed on as it was said, and nothing turns in vain.
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "sluice/base/check.h"
#include "sluice/http1/session.h"
#include "sluice/http1/upgrade.h"

namespace {

using namespace sluice;
using namespace sluice::http1;

constexpr std::array<std::size_t, 8> sizes{1, 2, 3, 17, 100, 1000, 5000, 16384};
constexpr std::size_t batch_bytes = 16384;
// Input that a session holds at most: before a tunnel as much as it wants, and a record behind it.
constexpr std::size_t held_bytes_max = 64 * 1024 + batch_bytes;
constexpr std::string_view request_body = "body";
constexpr std::string_view backend_head =
    "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: p\r\n\r\n";
constexpr std::string_view client_head =
    "HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: p\r\n\r\n";

// What one side says: any byte is told from its neighbours.
std::string say(std::size_t said, std::size_t bytes) {
  std::string text(bytes, '\0');
  for (std::size_t i = 0; i < bytes; ++i) text[i] = static_cast<char>((said + i) * 131 >> 3);
  return text;
}

// Between the two, as an exchange is.
class Relay final : public SessionHandler, public UpgradeHandler {
 public:
  explicit Relay(const SessionOptions& options)
      : session(*this, options), upgrade(*this, {}), window_(options.window_bytes) {}

  void on_request(const Request& request, http::RequestHead&& head) override {
    CHECK(id_ == 0);
    id_ = request.id;
    body_ended_ = request.end_of_stream;
    CHECK(upgrade.begin(head, !request.end_of_stream));
  }
  void on_head_too_large(RequestId, http::RequestHead&&) override { CHECK(false); }
  void on_malformed(RequestId, http::RequestHead&&, Refusal) override { CHECK(false); }
  void on_data(RequestId id, Bytes bytes) override {
    CHECK(is_open(id) && !client_end && !bytes.empty());
    CHECK(switched || !body_ended_);
    to_backend += as_text(bytes);
    CHECK(to_backend.size() <= window_);
    upgrade.resume_body();
  }
  void on_end_of_stream(RequestId id) override {
    CHECK(is_open(id) && !body_ended_ && !switched);
    body_ended_ = true;
    upgrade.resume_body();
  }
  void on_tunnel_ended(RequestId id, bool in_order) override {
    CHECK(is_open(id) && switched && !client_end);
    client_end = in_order;
    upgrade.resume_body();
  }
  void on_closed(RequestId id, bool its_whole) override {
    CHECK(is_open(id));
    closed = true;
    whole = its_whole;
  }
  http::BodyResult on_body_wanted(RequestId id, MutableBytes room) override {
    CHECK(is_open(id) && switched && !room.empty());
    return give(room, to_client, backend_end);
  }

  void on_interim(http::ResponseHead&&) override { CHECK(false); }
  void on_answer(http::ResponseHead&& head, bool end) override {
    CHECK(!switched && body_ended_ && !end && head.status == 101);
    switched = true;
    session.submit_response(id_, head, true);
  }
  void on_data(Bytes bytes) override {
    CHECK(switched && !backend_end && !bytes.empty());
    to_client += as_text(bytes);
    session.resume_body(id_);
  }
  void on_end(bool in_order) override {
    CHECK(switched && !backend_end);
    backend_end = in_order;
    session.resume_body(id_);
  }
  http::BodyResult on_body_wanted(MutableBytes room) override {
    CHECK(id_ != 0 && !room.empty());
    std::optional<bool> end = client_end;
    if (body_ended_ && !switched) end = true;
    const http::BodyResult result = give(room, to_backend, end);
    session.consume(id_, result.bytes);
    return result;
  }

  void grow_window(std::uint32_t bytes) {
    if (id_ == 0 || bytes <= window_) return;
    window_ = bytes;
    session.grow_window(id_, bytes);
  }
  void cut() { session.cut(id_); }
  // Behind a complete answer: what is left is credited, and nobody takes it.
  bool stop_upload() {
    if (closed || !session.output_ended()) return false;
    session.consume(id_, to_backend.size());
    to_backend.clear();
    session.stop_upload(id_);
    return true;
  }

  Session session;
  Upgrade upgrade;
  std::string to_client;
  std::string to_backend;
  std::optional<bool> client_end;
  std::optional<bool> backend_end;
  bool switched = false;
  bool closed = false;
  bool whole = false;

 private:
  bool is_open(RequestId id) const { return id_ != 0 && id == id_ && !closed; }

  static http::BodyResult give(MutableBytes room, std::string& from, std::optional<bool> end) {
    const std::size_t n = std::min(room.size(), from.size());
    if (n > 0) std::memcpy(room.data(), from.data(), n);
    from.erase(0, n);
    if (!from.empty() || !end) return {n, http::BodyStatus::more};
    return {n, *end ? http::BodyStatus::finished : http::BodyStatus::cut};
  }

  RequestId id_ = 0;
  std::uint32_t window_;
  bool body_ended_ = false;
};

// Both ends, and what they have said and heard.
class World {
 public:
  explicit World(std::uint8_t shape)
      : relay_({.window_bytes = (shape & 2) != 0 ? 5U : 64U * 1024U}) {
    std::string request = "POST /exec HTTP/1.1\r\nHost: k\r\nConnection: Upgrade\r\nUpgrade: p\r\n";
    if ((shape & 1) != 0) {
      request += "Content-Length: 4\r\n\r\n";
      request += request_body;
    } else {
      request += "\r\n";
    }
    relay_.session.feed(as_bytes(request));
  }

  void act(std::uint8_t byte) {
    const std::size_t size = sizes[byte >> 3 & 7];
    const bool other = (byte & 0x40) != 0;
    switch (byte & 7) {
      case 0: return client_says(size);
      case 1: return backend_says(size);
      case 2: return collect_client(std::max<std::size_t>(size, 64));
      case 3: return collect_backend(size);
      case 4:
        if (relay_.session.can_go_on()) relay_.session.feed({});
        return;
      case 5: return other ? end_client((byte & 8) != 0) : client_says(size);
      case 6: return other ? end_backend((byte & 8) != 0) : backend_says(size);
      default: break;
    }
    if (size == sizes[0]) return relay_.grow_window(100'000);
    if (!other || size != sizes[1] || relay_.closed) return;
    if ((byte & 0x80) == 0) {
      broken_ |= relay_.stop_upload();
    } else {
      broken_ = true;
      relay_.cut();
    }
  }

  // Everybody says what is left to be said.
  void finish() {
    settle();
    backend_says(1);
    settle();
    CHECK(broken_ || client_gone_ || relay_.switched);
    end_client(true);
    settle();
    end_backend(true);
    settle();
    check();
  }

 private:
  void client_says(std::size_t bytes) {
    if (client_ended_ || client_gone_ || !relay_.session.wants_input()) return;
    const std::string text = say(client_said_.size(), bytes);
    client_said_ += text;
    relay_.session.feed(as_bytes(text));
    CHECK(relay_.session.held_bytes() <= held_bytes_max + client_head.size());
  }
  void backend_says(std::size_t bytes) {
    if (backend_ended_ || relay_.to_client.size() > batch_bytes) return;
    std::string text;
    if (!relay_.switched) {
      if (relay_.upgrade.output() != Upgrade::Output::held) return;
      text = backend_head;
    }
    const std::string said = say(backend_said_.size(), bytes);
    backend_said_ += said;
    CHECK(relay_.upgrade.feed(as_bytes(text + said)).has_value());
    CHECK(relay_.switched);
  }
  // Of a connection that is no tunnel yet nothing is left then.
  void end_client(bool in_order) {
    if (client_ended_ || client_gone_) return;
    if (relay_.session.peer_ended(in_order)) {
      client_ended_ = in_order;
    } else {
      client_gone_ = true;
    }
  }
  void end_backend(bool in_order) {
    if (backend_ended_ || !relay_.switched) return;
    backend_ended_ = in_order;
    CHECK(relay_.upgrade.peer_ended(in_order).has_value());
  }
  std::size_t collect(std::size_t size, auto& from, std::string& to) {
    std::vector<std::uint8_t> batch(size);
    const std::size_t n = from.collect(batch);
    CHECK(n <= size);
    to += as_text(Bytes(batch).first(n));
    return n;
  }
  void collect_client(std::size_t size) {
    if (!client_gone_) collect(size, relay_.session, client_heard_);
  }
  void collect_backend(std::size_t size) { collect(size, relay_.upgrade, backend_heard_); }

  // Until nothing is left to be done; each turn gets on with something.
  void settle() {
    for (int turn = 0;; ++turn) {
      CHECK(turn < 100'000);
      bool moved = false;
      if (!client_gone_ && relay_.session.can_go_on()) {
        relay_.session.feed({});
        moved = true;
      }
      if (!client_gone_ && relay_.session.wants_output()) {
        collect_client(batch_bytes);
        moved = true;
      }
      if (relay_.upgrade.wants_output()) {
        collect_backend(batch_bytes);
        moved = true;
      }
      if (!moved) return;
    }
  }

  void check() const {
    CHECK(!relay_.session.describe().empty());
    std::string_view to_client = client_heard_;
    const std::size_t of_head = std::min(to_client.size(), client_head.size());
    CHECK(client_head.starts_with(to_client.substr(0, of_head)));
    to_client.remove_prefix(of_head);
    CHECK(backend_said_.starts_with(to_client));
    std::string_view to_backend = backend_heard_;
    const std::size_t head = to_backend.find("\r\n\r\n");
    CHECK(head != std::string_view::npos || broken_ || client_gone_);
    if (head != std::string_view::npos) {
      to_backend.remove_prefix(head + 4);
      if (backend_heard_.contains("content-length")) {
        CHECK(to_backend.starts_with(request_body) || client_gone_ || broken_);
        to_backend.remove_prefix(std::min(to_backend.size(), request_body.size()));
      }
      CHECK(client_said_.starts_with(to_backend));
    }
    if (broken_ || client_gone_) return;
    CHECK(to_client == backend_said_ && to_backend == client_said_);
    CHECK(relay_.closed && relay_.whole && relay_.session.finished() && relay_.upgrade.over());
    CHECK(relay_.session.held_bytes() == 0 && relay_.upgrade.held_bytes() == 0);
    CHECK(relay_.client_end == client_ended_ && relay_.backend_end == backend_ended_);
    CHECK(relay_.session.output_ended() == backend_ended_);
    CHECK(relay_.upgrade.ended_in_order() == client_ended_);
  }

  Relay relay_;
  std::string client_said_;
  std::string client_heard_;
  std::string backend_said_;
  std::string backend_heard_;
  std::optional<bool> client_ended_;
  std::optional<bool> backend_ended_;
  bool client_gone_ = false;  // before there was a tunnel
  bool broken_ = false;       // by what lies between them
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  World world(data[0]);
  for (const std::uint8_t byte : Bytes(data + 1, std::min<std::size_t>(size - 1, 4000))) {
    world.act(byte);
  }
  world.finish();
  return 0;
}
