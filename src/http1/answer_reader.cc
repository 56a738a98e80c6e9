// SPDX-License-Identifier: GPL-3.0-or-later
// Answers out of bytes.
#include "answer_reader.h"

#include <algorithm>
#include <utility>

#include "field_values.h"
#include "sluice/base/ascii.h"
#include "sluice/base/check.h"

namespace sluice::http1 {
namespace {

constexpr int switching_protocols = 101;

constexpr std::string_view no_answer = "what is no answer of HTTP/1.1";
constexpr std::string_view two_lengths = "an answer that says twice where it ends";

bool has_no_body(int status) { return status < 200 || status == 204 || status == 304; }

}  // namespace

AnswerReader::AnswerReader(const AnswerLimits& limits, std::string_view protocol, bool head_request)
    : limits_(limits), protocol_(protocol), head_request_(head_request) {
  begin_head();
}

void AnswerReader::begin_head() {
  llhttp_init(&parser_, HTTP_RESPONSE, callbacks());
  parser_.data = this;
  stage_ = next_stage_ = Stage::head;
  head_.clear();
  name_.clear();
  value_.clear();
  upgrade_.clear();
  taken_ = list_bytes_ = fields_ = 0;
  connection_upgrade_ = length_ = coding_ = false;
}

const llhttp_settings_t* AnswerReader::callbacks() {
  static const llhttp_settings_t settings = [] {
    llhttp_settings_t s;
    llhttp_settings_init(&s);
    s.on_header_field = [](llhttp_t* p, const char* at, std::size_t n) {
      of(p).name_.append(at, n);
      return 0;
    };
    s.on_header_value = [](llhttp_t* p, const char* at, std::size_t n) {
      of(p).value_.append(at, n);
      return 0;
    };
    s.on_header_value_complete = [](llhttp_t* p) { return of(p).end_field(); };
    s.on_headers_complete = [](llhttp_t* p) { return of(p).end_head(); };
    s.on_body = [](llhttp_t* p, const char* at, std::size_t n) -> int {
      if (n == 0) return 0;
      of(p).event_ = Event::data;
      of(p).data_ = as_bytes(std::string_view(at, n));
      return HPE_PAUSED;
    };
    s.on_chunk_header = [](llhttp_t* p) -> int {
      of(p).next_stage_ = p->content_length == 0 ? Stage::trailers : Stage::body;
      return HPE_PAUSED;
    };
    s.on_chunk_complete = [](llhttp_t* p) -> int {
      if (of(p).stage_ == Stage::trailers) return 0;  // the last one, which is none
      of(p).next_stage_ = Stage::chunk_line;
      return HPE_PAUSED;
    };
    s.on_message_complete = [](llhttp_t* p) -> int {
      of(p).event_ = Event::end;
      of(p).next_stage_ = Stage::over;
      return HPE_PAUSED;
    };
    return s;
  }();
  return &settings;
}

std::size_t AnswerReader::room() const {
  switch (stage_) {
    case Stage::head: return limits_.head_bytes_max - taken_;
    case Stage::chunk_line: return chunk_line_bytes_max - taken_;
    case Stage::trailers: return trailers_bytes_max - taken_;
    case Stage::body: return SIZE_MAX;
    case Stage::over:
    case Stage::broken: break;
  }
  return 0;
}

AnswerReader::Event AnswerReader::break_off(std::string_view why) {
  if (why_.empty()) why_ = why;
  stage_ = Stage::broken;
  return Event::broken;
}

AnswerReader::Read AnswerReader::read(Bytes input) {
  if (std::exchange(end_due_, false)) {
    stage_ = Stage::over;
    return {Event::end, 0};
  }
  if (std::exchange(head_due_, false)) begin_head();
  if (stage_ == Stage::over || stage_ == Stage::broken) return {};
  std::size_t taken = 0;
  for (;;) {
    const Bytes rest = input.subspan(taken);
    const Bytes part = rest.first(std::min(rest.size(), room()));
    if (part.empty() && !rest.empty()) {
      too_large_ = true;
      return {break_off("a head, or what is around its body, above a limit"), taken};
    }
    const char* begin = part.empty() ? "" : as_text(part).data();
    const llhttp_errno result = llhttp_execute(&parser_, begin, part.size());
    if (result != HPE_OK && result != HPE_PAUSED) return {break_off(no_answer), taken};
    const std::size_t used = result == HPE_OK
                                 ? part.size()
                                 : static_cast<std::size_t>(llhttp_get_error_pos(&parser_) - begin);
    CHECK_LE(used, part.size());
    taken += used;
    if (stage_ != Stage::body) taken_ += used;
    if (result == HPE_OK) {
      if (taken == input.size()) return {Event::none, taken};
      continue;
    }
    llhttp_resume(&parser_);
    if (next_stage_ != stage_) {
      stage_ = next_stage_;
      taken_ = 0;
    }
    const Event event = std::exchange(event_, Event::none);
    if (event != Event::none) return {event, taken, data_};
  }
}

AnswerReader::Event AnswerReader::connection_ended(bool in_order) {
  if (stage_ == Stage::over || stage_ == Stage::broken) return Event::none;
  if (stage_ == Stage::head) return break_off("no answer before the end of its connection");
  if (framing_ != Framing::until_close || !in_order) {
    return break_off("an answer that is not whole");
  }
  stage_ = Stage::over;
  return Event::end;
}

// ---------------------------------------------------------------- heads

int AnswerReader::refuse(std::string_view why) {
  if (why_.empty()) why_ = why;
  return HPE_USER;
}

int AnswerReader::end_field() {
  if (stage_ != Stage::head) {  // a trailer: dropped
    name_.clear();
    value_.clear();
    return 0;
  }
  list_bytes_ += name_.size() + value_.size() + field_overhead;
  if (++fields_ > limits_.fields_max || list_bytes_ > limits_.head_bytes_max) {
    too_large_ = true;
    return refuse("a head above a limit");
  }
  std::ranges::transform(name_, name_.begin(), ascii::to_lower);
  const int wrong = take_field();
  name_.clear();
  value_.clear();
  return wrong;
}

int AnswerReader::take_field() {
  if (!is_value(value_)) return refuse("a field with a control character");
  if (name_ == "content-length") {
    if (const int wrong = take_length()) return wrong;
  }
  while (!value_.empty() && ascii::is_blank(value_.back())) value_.pop_back();
  if (name_ == "transfer-encoding") {
    if (length_ || coding_) return refuse(two_lengths);
    coding_ = true;
    if (!ascii::equal_ignoring_case(value_, "chunked")) return refuse("a Transfer-Encoding");
  } else if (name_ == "upgrade") {
    if (!upgrade_.empty()) upgrade_ += ", ";
    upgrade_ += value_;
  } else if (name_ == "connection") {
    connection_upgrade_ |= any_member(
        value_, [](std::string_view o) { return ascii::equal_ignoring_case(o, "upgrade"); });
  }
  head_.fields.add(name_, value_);
  return 0;
}

int AnswerReader::take_length() {
  if (length_ || coding_) return refuse(two_lengths);
  length_ = true;
  const bool number = !value_.empty() && value_.size() <= length_digits_max &&
                      std::ranges::all_of(value_, ascii::is_digit);
  return number ? 0 : refuse("a Content-Length that is no number");
}

int AnswerReader::end_head() {
  const int status = parser_.status_code;
  if (parser_.http_major != 1 || parser_.http_minor > 1) return refuse(no_answer);
  if (status < 100 || status > 599) return refuse("an answer without a status");
  if (coding_ && parser_.http_minor == 0) return refuse("a Transfer-Encoding");
  head_.status = status;
  parser_.upgrade = 0;
  if (status < 200) {
    if (length_ || coding_) return refuse("an interim answer with a body");
    if (status == switching_protocols) return switch_protocol();
    event_ = Event::interim;
    head_due_ = true;
    return HPE_PAUSED;
  }
  const bool chunked = (parser_.flags & F_CHUNKED) != 0;
  // Ours and the parser's reading of the framing are one.
  if (chunked != coding_) return refuse("a Transfer-Encoding");
  event_ = Event::head;
  if (head_request_ || has_no_body(status) || (length_ && parser_.content_length == 0)) {
    framing_ = Framing::none;
    end_due_ = true;
    return HPE_PAUSED;
  }
  framing_ = chunked ? Framing::chunked : length_ ? Framing::length : Framing::until_close;
  next_stage_ = chunked ? Stage::chunk_line : Stage::body;
  return HPE_PAUSED;
}

// RFC 9110 section 15.2.2: the answer names what is spoken from here on.
int AnswerReader::switch_protocol() {
  if (parser_.http_minor != 1 || !connection_upgrade_ ||
      !ascii::equal_ignoring_case(upgrade_, protocol_)) {
    return refuse("a 101 to another protocol than it was asked for");
  }
  event_ = Event::switched;
  next_stage_ = Stage::over;
  return HPE_PAUSED;
}

}  // namespace sluice::http1
