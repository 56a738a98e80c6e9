// SPDX-License-Identifier: GPL-3.0-or-later
// A client's HTTP/1.1 connection.
#include "sluice/http1/session.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "answer_writer.h"
#include "request_reader.h"
#include "sluice/base/check.h"

namespace sluice::http1 {
namespace {

using Event = RequestReader::Event;

// As much as comes in one piece: a record.
constexpr std::size_t held_bytes_max = 16 * 1024;
// The same before a tunnel.
constexpr std::size_t early_bytes_max = 64 * 1024;
constexpr int switching_protocols = 101;
// Memory that an idle connection keeps for input that waits, and for heads of answers.
constexpr std::size_t kept_bytes_max = 4096;

void give_back_unless_usual(std::string& empty) {
  if (empty.capacity() > kept_bytes_max) std::string().swap(empty);
}
// What may be left of an upload when its answer begins, so that the connection stays: the client is
// given a moment to send it.
constexpr std::uint64_t rest_bytes_max = 64 * 1024;

enum class Upload : std::uint8_t {
  reading,
  over,  // all of it came, or nothing more of it is read
};

enum class Answer : std::uint8_t {
  waited_for,
  body,      // its head is written
  complete,  // and all of its body
  cut,
};

}  // namespace

struct Session::State {
  State(SessionHandler& session_handler, const SessionOptions& session_options)
      : handler(session_handler),
        options(session_options),
        reader({.fields_max = session_options.header_fields_max,
                .head_bytes_max = session_options.header_list_bytes_max,
                .list_bytes_max = session_options.header_list_bytes_max}) {}

  bool open() const { return id != 0; }
  bool is_current(RequestId request) const { return open() && request == id; }
  // Input is of use: for the current request, or for the next.
  bool may_read() const { return open() ? upload == Upload::reading : !closing; }
  bool may_switch() const { return open() && !protocol.empty() && answer == Answer::waited_for; }
  // Everything of a tunnel's input has left for the other side.
  bool taken() const { return held.empty() && window_left == window; }
  bool answered() const {
    return answer == Answer::cut || (answer == Answer::complete && text.empty());
  }

  void feed(Bytes plain);
  void drop_useless();
  Bytes read(Bytes input);
  Bytes read_tunnel(Bytes input);
  void end_input();
  void handle(const RequestReader::Read& read);
  void begin_request();
  void refuse();
  void submit(const http::ResponseHead& head, bool has_body);
  void switch_protocol(const http::ResponseHead& head);
  std::size_t take_text(MutableBytes batch);
  std::size_t collect_body(MutableBytes batch);
  void cut();
  void settle();

  SessionHandler& handler;
  const SessionOptions options;
  RequestReader reader;
  AnswerWriter writer;
  std::string held;  // input behind the window or the current request
  std::string text;  // heads and ends of bodies
  std::size_t text_taken = 0;
  RequestId id = 0;  // of the current request; 0: none
  RequestId last_id = 0;
  Upload upload = Upload::over;
  Answer answer = Answer::waited_for;
  std::uint32_t window = 0;
  std::uint32_t window_left = 0;
  bool head_only = false;
  bool http_1_0 = false;
  bool expects_continue = false;  // and has not got it
  bool body_ready = false;        // the handler may have some
  std::string protocol;           // to which the current request asks to switch; empty: to none
  bool tunnel = false;
  std::optional<bool> peer_end;    // of a tunnel: in order, or not
  std::optional<bool> output_end;  // the same
  bool last_announced = false;     // each answer that begins is the last one
  bool closing = false;            // no further request is taken
  bool unclean = false;
};

Session::Session(SessionHandler& handler, const SessionOptions& options)
    : state_(std::make_unique<State>(handler, options)) {}

Session::~Session() = default;

// ---------------------------------------------------------------- input

void Session::feed(Bytes plain) { state_->feed(plain); }

void Session::State::feed(Bytes plain) {
  if (held.empty()) {
    const Bytes rest = read(plain);
    held.assign(as_text(rest));
  } else {
    held.append(as_text(plain));
    std::string input = std::exchange(held, {});
    input.erase(0, input.size() - read(as_bytes(input)).size());
    held = std::move(input);
  }
  drop_useless();
  if (held.empty()) give_back_unless_usual(held);
  if (!tunnel) return;
  end_input();
  settle();
}

// Nothing will ever be read of it.
void Session::State::drop_useless() {
  if (closing && !may_read() && !may_switch()) held.clear();
}

// Returns what is left.
Bytes Session::State::read(Bytes input) {
  if (tunnel) return read_tunnel(input);
  while (may_read()) {
    const std::size_t most = open() ? window_left : input.size();
    const RequestReader::Read read = reader.read(input.first(std::min(most, input.size())));
    input = input.subspan(read.taken);
    if (read.event == Event::none && read.taken == 0) break;
    handle(read);
  }
  return input;
}

Bytes Session::State::read_tunnel(Bytes input) {
  if (upload == Upload::over) return input;
  const Bytes part = input.first(std::min<std::size_t>(input.size(), window_left));
  window_left -= static_cast<std::uint32_t>(part.size());
  if (!part.empty()) handler.on_data(id, part);
  return input.subspan(part.size());
}

void Session::State::end_input() {
  if (!peer_end || upload == Upload::over || !held.empty()) return;
  upload = Upload::over;
  handler.on_tunnel_ended(id, *peer_end);
}

bool Session::peer_ended(bool in_order) {
  State& s = *state_;
  if (!s.tunnel) return false;
  s.peer_end = in_order;
  s.end_input();
  s.settle();
  return true;
}

void Session::State::handle(const RequestReader::Read& read) {
  switch (read.event) {
    case Event::none: return;
    case Event::head: return begin_request();
    case Event::data:
      expects_continue = false;  // it does not wait
      DCHECK(read.data.size() <= window_left);
      window_left -= static_cast<std::uint32_t>(read.data.size());
      return handler.on_data(id, read.data);
    case Event::end: {
      upload = Upload::over;
      if (reader.has_body()) handler.on_end_of_stream(id);
      return settle();
    }
    case Event::refused: return refuse();
  }
}

void Session::State::begin_request() {
  id = ++last_id;
  upload = Upload::reading;
  answer = Answer::waited_for;
  window = window_left = options.window_bytes;
  head_only = reader.head().method == "HEAD";
  http_1_0 = reader.http_1_0();
  expects_continue = reader.expects_continue();
  body_ready = false;
  protocol = reader.upgrade();
  // What follows an upgrade is not HTTP, or nobody knows.
  if (http_1_0 || !reader.keep_alive() || !protocol.empty()) closing = true;
  reader.head().protocol = protocol;
  handler.on_request({.id = id, .end_of_stream = !reader.has_body()}, std::move(reader.head()));
}

void Session::State::refuse() {
  closing = true;
  upload = Upload::over;
  if (open()) return handler.on_malformed(id, {}, reader.refusal());  // what has begun goes on
  id = ++last_id;
  answer = Answer::waited_for;
  http::RequestHead& head = reader.head();
  head_only = head.method == "HEAD";
  http_1_0 = false;
  expects_continue = false;
  body_ready = false;
  if (reader.refusal() == Refusal::head_too_large) {
    return handler.on_head_too_large(id, std::move(head));
  }
  handler.on_malformed(id, std::move(head), reader.refusal());
}

bool Session::wants_input() const {
  const State& s = *state_;
  return s.held.size() < (s.may_switch() ? early_bytes_max : held_bytes_max);
}

bool Session::can_go_on() const {
  const State& s = *state_;
  if (s.tunnel && s.held.empty()) {
    return s.upload == Upload::reading ? s.peer_end.has_value() : s.answered() && s.taken();
  }
  return !s.held.empty() && s.may_read() && (!s.open() || s.window_left > 0);
}

void Session::consume(RequestId id, std::size_t bytes) {
  State& s = *state_;
  if (!s.is_current(id)) return;
  DCHECK(bytes <= std::size_t{s.window} - s.window_left);
  s.window_left +=
      static_cast<std::uint32_t>(std::min(bytes, std::size_t{s.window} - s.window_left));
}

void Session::grow_window(RequestId id, std::uint32_t bytes) {
  State& s = *state_;
  if (!s.is_current(id) || bytes <= s.window) return;
  s.window_left += bytes - s.window;
  s.window = bytes;
}

void Session::stop_upload(RequestId id) {
  State& s = *state_;
  if (!s.is_current(id) || s.upload == Upload::over) return;
  s.upload = Upload::over;
  s.closing = true;
  s.held.clear();
  s.window_left = s.window;
}

// ---------------------------------------------------------------- answers

void Session::submit_response(RequestId id, const http::ResponseHead& head, bool has_body) {
  State& s = *state_;
  if (s.is_current(id) && s.answer == Answer::waited_for) s.submit(head, has_body);
}

// The other side has all of the request, or it could not have agreed.
void Session::State::switch_protocol(const http::ResponseHead& head) {
  if (upload != Upload::over || protocol.empty()) return cut();
  writer.begin_tunnel(head, protocol, text);
  tunnel = true;
  answer = Answer::body;
  body_ready = true;
  upload = Upload::reading;
  window = window_left = options.window_bytes;
}

void Session::State::submit(const http::ResponseHead& head, bool has_body) {
  if (head.status == switching_protocols) return switch_protocol(head);
  if (!protocol.empty()) held.clear();
  const bool unfinished = upload == Upload::reading && reader.has_body() && !reader.complete();
  const bool long_rest = reader.chunked() || reader.rest_bytes() > rest_bytes_max;
  // Who was not told to go on may send the body or not: nobody can know what comes next.
  if (last_announced || (unfinished && (long_rest || expects_continue))) closing = true;
  expects_continue = false;
  const bool written = writer.begin(
      head, has_body, {.head_only = head_only, .http_1_0 = http_1_0, .last = closing}, text);
  if (!written) return cut();
  if (writer.framing() == Framing::until_close) closing = true;
  answer = Answer::body;
  body_ready = has_body;
  if (has_body) return;
  writer.finish(text);
  if (writer.broken()) return cut();
  answer = Answer::complete;
}

void Session::submit_interim(RequestId id, const http::ResponseHead& head) {
  State& s = *state_;
  CHECK(head.status >= 100 && head.status < 200);
  if (!s.is_current(id) || s.answer != Answer::waited_for || s.http_1_0 ||
      head.status == switching_protocols) {
    return;
  }
  if (head.status == 100 && !std::exchange(s.expects_continue, false)) return;
  AnswerWriter::append_interim(head, s.text);
}

void Session::resume_body(RequestId id) {
  State& s = *state_;
  if (s.is_current(id) && s.answer == Answer::body) s.body_ready = true;
}

void Session::cut(RequestId id) {
  State& s = *state_;
  if (s.is_current(id) && s.answer != Answer::cut) s.cut();
}

void Session::State::cut() {
  unclean = answer == Answer::body && writer.framing() == Framing::until_close;
  answer = Answer::cut;
  upload = Upload::over;
  closing = true;
  text.clear();
  text_taken = 0;
  held.clear();
}

// ---------------------------------------------------------------- output

std::size_t Session::collect(MutableBytes batch) {
  State& s = *state_;
  std::size_t bytes = s.take_text(batch);
  if (s.text.empty() && s.answer == Answer::body && s.body_ready) {
    bytes += s.collect_body(batch.subspan(bytes));
    bytes += s.take_text(batch.subspan(bytes));
  }
  s.settle();
  return bytes;
}

std::size_t Session::State::take_text(MutableBytes batch) {
  const std::size_t bytes = std::min(batch.size(), text.size() - text_taken);
  if (bytes == 0) return 0;
  std::memcpy(batch.data(), text.data() + text_taken, bytes);
  text_taken += bytes;
  if (text_taken == text.size()) {
    text.clear();
    text_taken = 0;
    give_back_unless_usual(text);
  }
  return bytes;
}

std::size_t Session::State::collect_body(MutableBytes batch) {
  std::size_t used = 0;
  while (answer == Answer::body) {
    const MutableBytes left = batch.subspan(used);
    const MutableBytes room = writer.room(left);
    if (room.empty()) return used;
    const http::BodyResult result = handler.on_body_wanted(id, room);
    CHECK_LE(result.bytes, room.size());
    if (answer != Answer::body) return used;
    used += writer.wrote(left, result.bytes);
    const bool over = result.status != http::BodyStatus::more;
    if (over && !writer.broken()) writer.finish(text);
    if (writer.broken()) {
      cut();
    } else if (over) {
      answer = Answer::complete;
      if (tunnel) output_end = result.status == http::BodyStatus::finished;
    } else if (result.bytes == 0) {
      body_ready = false;
      return used;
    }
  }
  return used;
}

// Ends the request when nothing is left to be said or read of it.
void Session::State::settle() {
  if (!open() || upload == Upload::reading || !answered()) return;
  if (tunnel && answer != Answer::cut && !taken()) return;
  const bool whole = answer == Answer::complete;
  const RequestId ended = std::exchange(id, 0);
  answer = Answer::waited_for;
  tunnel = false;
  if (closing) {
    held.clear();
  } else {
    reader.next();
  }
  handler.on_closed(ended, whole);
}

bool Session::wants_output() const {
  const State& s = *state_;
  if (!s.text.empty()) return true;
  if (!s.open()) return false;
  if (s.answer == Answer::body) return s.body_ready;
  // A request to be settled.
  return s.answer == Answer::cut ||
         (s.answer == Answer::complete && s.upload == Upload::over && (!s.tunnel || s.taken()));
}

std::optional<bool> Session::output_ended() const { return state_->output_end; }

bool Session::finished() const {
  const State& s = *state_;
  return s.closing && !s.open() && s.text.empty();
}

bool Session::must_not_close_cleanly() const {
  const State& s = *state_;
  return s.unclean ||
         (s.open() && s.answer == Answer::body && s.writer.framing() == Framing::until_close);
}

void Session::announce_end() { state_->last_announced = true; }

void Session::stop() {
  State& s = *state_;
  s.closing = true;
  s.drop_useless();
}

bool Session::receiving_head() const { return !state_->open() && state_->reader.in_head(); }

RequestId Session::last_request() const { return state_->last_id; }

std::size_t Session::held_bytes() const {
  const State& s = *state_;
  return s.held.size() + s.text.size() - s.text_taken +
         (receiving_head() ? s.reader.held_bytes() : 0);
}

std::string Session::describe() const {
  const State& s = *state_;
  return fmt::format("http1 requests={} open={} held={} window={} unsent={}{}", s.last_id, s.open(),
                     s.held.size(), s.window_left, s.text.size() - s.text_taken,
                     s.closing ? " closing" : "");
}

}  // namespace sluice::http1
