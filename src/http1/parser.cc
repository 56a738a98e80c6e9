// SPDX-License-Identifier: GPL-3.0-or-later
// llhttp with every lenient flag off, and refusals of our own.
#include "sluice/http1/parser.h"

#include <fmt/format.h>
#include <llhttp.h>

#include <algorithm>
#include <string>

#include "sluice/base/ascii.h"
#include "sluice/base/check.h"

namespace sluice::http1 {

namespace {

// uri-host [ ":" port ] (RFC 9110 section 7.2), loosely: no byte that means something elsewhere.
bool is_authority(std::string_view text) {
  return !text.empty() && std::ranges::all_of(text, [](char c) {
    return ascii::is_alphanumeric(c) ||
           std::string_view("-._~:[]%").find(c) != std::string_view::npos;
  });
}

// What may stand in a request line: no controls, no space, no bytes above ASCII.
bool is_target(std::string_view text) {
  return text.starts_with('/') &&
         std::ranges::all_of(text, [](char c) { return c > 0x20 && c < 0x7f && c != '#'; });
}

bool is_value(std::string_view text) {
  return std::ranges::none_of(text, [](char c) { return ascii::is_control(c) && c != '\t'; });
}

}  // namespace

struct RequestParser::State {
  explicit State(ParserOptions parser_options) : options(parser_options) { begin(); }

  static const llhttp_settings_t* callbacks();
  static State& of(llhttp_t* parser) { return *static_cast<State*>(parser->data); }

  void begin() {
    llhttp_init(&parser, HTTP_REQUEST, callbacks());
    parser.data = this;
    head.clear();
    name.clear();
    value.clear();
    taken = 0;
    hosts = 0;
    content_lengths = 0;
    complete = false;
    reason = {};
    limit_reached = false;
  }
  int refuse(std::string_view why) {
    reason = why;
    return HPE_USER;
  }
  int end_field();
  int end_head();

  const ParserOptions options;
  llhttp_t parser{};
  http::RequestHead head;
  std::string name;
  std::string value;
  std::size_t taken = 0;  // bytes of this request
  std::size_t hosts = 0;
  std::size_t content_lengths = 0;
  bool complete = false;
  bool keep_alive = false;
  bool limit_reached = false;
  std::string_view reason;
};

const llhttp_settings_t* RequestParser::State::callbacks() {
  static const llhttp_settings_t settings = [] {
    llhttp_settings_t s;
    llhttp_settings_init(&s);
    s.on_method = [](llhttp_t* p, const char* at, std::size_t n) {
      of(p).head.method.append(at, n);
      return 0;
    };
    s.on_url = [](llhttp_t* p, const char* at, std::size_t n) {
      of(p).head.path.append(at, n);
      return 0;
    };
    s.on_header_field = [](llhttp_t* p, const char* at, std::size_t n) {
      of(p).name.append(at, n);
      return 0;
    };
    s.on_header_value = [](llhttp_t* p, const char* at, std::size_t n) {
      of(p).value.append(at, n);
      return 0;
    };
    s.on_header_value_complete = [](llhttp_t* p) { return of(p).end_field(); };
    s.on_headers_complete = [](llhttp_t* p) { return of(p).end_head(); };
    s.on_body = [](llhttp_t* p, const char*, std::size_t) {
      return of(p).refuse("A request body is not accepted.");
    };
    s.on_message_complete = [](llhttp_t* p) {
      State& state = of(p);
      state.complete = true;
      state.keep_alive = llhttp_should_keep_alive(p) != 0;
      return static_cast<int>(HPE_PAUSED);
    };
    return s;
  }();
  return &settings;
}

int RequestParser::State::end_field() {
  std::ranges::transform(name, name.begin(), ascii::to_lower);
  while (!value.empty() && ascii::is_blank(value.back())) value.pop_back();
  if (head.fields.size() + hosts >= options.fields_max) {
    limit_reached = true;
    return refuse("The request has too many fields.");
  }
  if (!is_value(value)) return refuse("A field value holds a control character.");
  if (name == "transfer-encoding") return refuse("A request body is not accepted.");
  if (name == "content-length") {
    // One, and it is zero: any other spelling might be read as something else.
    if (++content_lengths > 1 || value != "0") return refuse("A request body is not accepted.");
  }
  if (name == "host") {
    if (++hosts > 1) return refuse("The request has two Host fields.");
    if (!is_authority(value)) return refuse("The Host field is malformed.");
    head.authority = value;
  } else {
    head.fields.add(name, value);
  }
  name.clear();
  value.clear();
  return 0;
}

int RequestParser::State::end_head() {
  if (parser.http_major != 1 || parser.http_minor > 1) {
    return refuse("Only HTTP/1.0 and HTTP/1.1 are spoken here.");
  }
  if (parser.http_minor == 1 && hosts == 0) return refuse("The request has no Host field.");
  if (!is_target(head.path)) return refuse("The request target is not a path.");
  if (ascii::equal_ignoring_case(head.method, "connect"))
    return refuse("CONNECT is not served here.");
  head.scheme = "http";
  // An upgrade is not offered: the request is answered as if it had not asked.
  parser.upgrade = 0;
  return 0;
}

RequestParser::RequestParser(ParserOptions options) : state_(std::make_unique<State>(options)) {}

RequestParser::~RequestParser() = default;

Result<std::size_t> RequestParser::feed(Bytes bytes) {
  State& s = *state_;
  if (s.complete || bytes.empty()) return 0;
  const auto too_large = [&] {
    return fail(
        ErrorKind::limit,
        fmt::format("The head of the request is larger than {} bytes.", s.options.head_bytes_max),
        Side::client);
  };
  const std::size_t room = s.options.head_bytes_max - s.taken;
  const Bytes input = bytes.first(std::min(bytes.size(), room));
  if (input.empty()) return too_large();
  const char* begin = as_text(input).data();
  const llhttp_errno_t result = llhttp_execute(&s.parser, begin, input.size());
  if (s.complete && result == HPE_PAUSED) {
    const auto used = static_cast<std::size_t>(llhttp_get_error_pos(&s.parser) - begin);
    CHECK_LE(used, input.size());
    s.taken += used;
    return used;
  }
  if (result != HPE_OK) {
    const std::string_view why = !s.reason.empty() ? s.reason : llhttp_get_error_reason(&s.parser);
    return fail(s.limit_reached ? ErrorKind::limit : ErrorKind::invalid_argument, std::string(why),
                Side::client);
  }
  s.taken += input.size();
  if (input.size() < bytes.size()) return too_large();
  return input.size();
}

bool RequestParser::complete() const { return state_->complete; }

const http::RequestHead& RequestParser::head() const {
  CHECK(state_->complete);
  return state_->head;
}

bool RequestParser::keep_alive() const { return state_->complete && state_->keep_alive; }

bool RequestParser::started() const { return state_->taken > 0 && !state_->complete; }

void RequestParser::reset() { state_->begin(); }

std::string library_version() {
  return fmt::format("{}.{}.{}", LLHTTP_VERSION_MAJOR, LLHTTP_VERSION_MINOR, LLHTTP_VERSION_PATCH);
}

}  // namespace sluice::http1
