// SPDX-License-Identifier: GPL-3.0-or-later
// One request that asks to switch protocols, and what comes of it.
#include "sluice/http1/upgrade.h"

#include <algorithm>
#include <cstring>
#include <optional>
#include <utility>

#include "answer_reader.h"
#include "request_writer.h"
#include "sluice/base/check.h"
#include "sluice/base/transitions.h"

namespace sluice::http1 {
namespace {

using Event = AnswerReader::Event;
using Output = Upgrade::Output;
using Input = Upgrade::Input;

constexpr Transitions<Output, 4> output_transitions{{
    0,                                     // request
    states(Output::request),               // held
    states(Output::held),                  // tunnel
    states(Output::held, Output::tunnel),  // ended
}};
constexpr Transitions<Input, 4> input_transitions{{
    0,                                                  // answer
    states(Input::answer),                              // body
    states(Input::answer),                              // tunnel
    states(Input::answer, Input::body, Input::tunnel),  // ended
}};

std::unexpected<Error> broken(ErrorKind kind, std::string_view why) {
  return fail(kind, std::string(why), Side::backend);
}

}  // namespace

std::string_view to_string(Upgrade::Output output) {
  switch (output) {
    case Output::request: return "request";
    case Output::held: return "held";
    case Output::tunnel: return "tunnel";
    case Output::ended: return "ended";
  }
  return "unknown";
}

std::string_view to_string(Upgrade::Input input) {
  switch (input) {
    case Input::answer: return "answer";
    case Input::body: return "body";
    case Input::tunnel: return "tunnel";
    case Input::ended: return "ended";
  }
  return "unknown";
}

struct Upgrade::State {
  State(UpgradeHandler& its_handler, const UpgradeOptions& its_options)
      : handler(its_handler), options(its_options) {}

  void set(Output next) {
    CHECK(output_transitions.allow(output, next));
    output = next;
  }
  void set(Input next) {
    CHECK(input_transitions.allow(input, next));
    input = next;
  }

  Result<void> read(Bytes plain);
  Result<void> handle(const AnswerReader::Read& read);
  Result<void> switched();
  std::size_t take_text(MutableBytes batch);
  std::size_t collect_body(MutableBytes batch);
  void body_ended(http::BodyStatus how);

  UpgradeHandler& handler;
  const UpgradeOptions options;
  std::optional<AnswerReader> reader;
  Output output = Output::request;
  Input input = Input::answer;
  std::string text;  // the request's head
  std::size_t text_taken = 0;
  bool has_body = false;    // of the request, and it is not collected to its end
  bool body_ready = false;  // the handler may have some
  bool in_order = true;
};

Upgrade::Upgrade(UpgradeHandler& handler, const UpgradeOptions& options)
    : state_(std::make_unique<State>(handler, options)) {}

Upgrade::~Upgrade() = default;

bool Upgrade::begin(const http::RequestHead& head, bool has_body) {
  State& s = *state_;
  CHECK(!s.reader.has_value());
  if (!append_upgrade_request(head, has_body, s.text)) return false;
  s.reader.emplace(AnswerLimits{.fields_max = s.options.header_fields_max,
                                .head_bytes_max = s.options.header_list_bytes_max},
                   head.protocol, head.method == "HEAD");
  s.has_body = has_body;
  s.body_ready = has_body;
  return true;
}

// ---------------------------------------------------------------- input

Result<void> Upgrade::feed(Bytes plain) {
  State& s = *state_;
  CHECK(s.reader.has_value());
  if (s.input == Input::answer || s.input == Input::body) return s.read(plain);
  if (s.input == Input::tunnel && !plain.empty()) s.handler.on_data(plain);
  return {};
}

Result<void> Upgrade::State::read(Bytes plain) {
  // Nobody answers what he has not heard.
  if (output == Output::request && text_taken == 0) {
    return broken(ErrorKind::protocol, "an answer before the request");
  }
  for (;;) {
    const AnswerReader::Read read = reader->read(plain);
    plain = plain.subspan(read.taken);
    if (auto handled = handle(read); !handled) return handled;
    if (input == Input::ended) return {};  // what is behind an answer is nothing
    if (input == Input::tunnel) {
      if (!plain.empty()) handler.on_data(plain);
      return {};
    }
    if (read.event == Event::none) return {};
  }
}

Result<void> Upgrade::State::handle(const AnswerReader::Read& read) {
  switch (read.event) {
    case Event::none: return {};
    case Event::interim: handler.on_interim(std::move(reader->head())); return {};
    case Event::switched: return switched();
    case Event::head: {
      // With its end, if that is due without another byte.
      const AnswerReader::Read next = reader->ends_with_head() ? reader->read({}) : read;
      const bool end = next.event == Event::end;
      set(end ? Input::ended : Input::body);
      handler.on_answer(std::move(reader->head()), end);
      return {};
    }
    case Event::data: handler.on_data(read.data); return {};
    case Event::end:
      set(Input::ended);
      handler.on_end(true);
      return {};
    case Event::broken:
      return broken(reader->too_large() ? ErrorKind::limit : ErrorKind::protocol, reader->why());
  }
  return {};
}

Result<void> Upgrade::State::switched() {
  if (output != Output::held) {
    return broken(ErrorKind::protocol, "a 101 before it had the whole request");
  }
  set(Output::tunnel);
  set(Input::tunnel);
  body_ready = true;
  handler.on_answer(std::move(reader->head()), false);
  return {};
}

Result<void> Upgrade::peer_ended(bool in_order) {
  State& s = *state_;
  CHECK(s.reader.has_value());
  if (s.input == Input::ended) return {};
  if (s.input == Input::tunnel) {
    s.set(Input::ended);
    s.handler.on_end(in_order);
    return {};
  }
  if (s.reader->connection_ended(in_order) != Event::end) {
    return broken(ErrorKind::closed, s.reader->why());
  }
  s.set(Input::ended);
  s.handler.on_end(true);
  return {};
}

// ---------------------------------------------------------------- output

std::size_t Upgrade::collect(MutableBytes batch) {
  State& s = *state_;
  if (!s.reader) return 0;
  std::size_t bytes = s.take_text(batch);
  if (s.text_taken == s.text.size()) bytes += s.collect_body(batch.subspan(bytes));
  if (s.output == Output::request && !s.has_body && s.text_taken == s.text.size()) {
    s.set(Output::held);
  }
  return bytes;
}

std::size_t Upgrade::State::take_text(MutableBytes batch) {
  const std::size_t bytes = std::min(batch.size(), text.size() - text_taken);
  if (bytes > 0) std::memcpy(batch.data(), text.data() + text_taken, bytes);
  text_taken += bytes;
  return bytes;
}

std::size_t Upgrade::State::collect_body(MutableBytes batch) {
  std::size_t used = 0;
  while (body_ready && used < batch.size()) {
    const MutableBytes room = batch.subspan(used);
    const http::BodyResult result = handler.on_body_wanted(room);
    CHECK_LE(result.bytes, room.size());
    used += result.bytes;
    if (result.status != http::BodyStatus::more) {
      body_ended(result.status);
    } else if (result.bytes == 0) {
      body_ready = false;
    }
  }
  return used;
}

void Upgrade::State::body_ended(http::BodyStatus how) {
  body_ready = false;
  if (output == Output::request) {
    has_body = false;
    return;
  }
  CHECK(output == Output::tunnel);
  in_order = how == http::BodyStatus::finished;
  set(Output::ended);
}

bool Upgrade::wants_output() const {
  const State& s = *state_;
  return s.reader && (s.text_taken < s.text.size() || s.body_ready);
}

void Upgrade::resume_body() {
  State& s = *state_;
  if (s.output == Output::tunnel || (s.output == Output::request && s.has_body)) {
    s.body_ready = true;
  }
}

bool Upgrade::written() const { return state_->text_taken > 0; }

Upgrade::Output Upgrade::output() const { return state_->output; }

Upgrade::Input Upgrade::input() const { return state_->input; }

bool Upgrade::ended_in_order() const { return state_->in_order; }

bool Upgrade::over() const {
  const State& s = *state_;
  return s.input == Input::ended && s.output != Output::tunnel;
}

std::size_t Upgrade::held_bytes() const { return state_->text.size() - state_->text_taken; }

}  // namespace sluice::http1
