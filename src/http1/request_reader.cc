// SPDX-License-Identifier: GPL-3.0-or-later
// Requests out of bytes.
#include "request_reader.h"

#include <algorithm>
#include <array>
#include <utility>

#include "field_values.h"
#include "sluice/base/ascii.h"
#include "sluice/base/check.h"
#include "sluice/http/authority.h"

namespace sluice::http1 {
namespace {

// As an API server: no other method gets anywhere there.
constexpr std::array<std::string_view, 8> methods{"GET",   "HEAD",   "POST",    "PUT",
                                                  "PATCH", "DELETE", "OPTIONS", "TRACE"};

// What may stand in a request line: no controls, no space, no bytes above ASCII, no fragment.
bool is_target(std::string_view text) {
  return std::ranges::all_of(text, [](char c) { return c > 0x20 && c < 0x7f && c != '#'; });
}

// Names under which some reader might look for where a request ends, or whom it is for.
bool is_almost_framing(std::string_view name) {
  return name == "content_length" || name == "transfer_encoding";
}

// Fields that decide for whom a request is executed, or where it ends. A Connection field takes
// away what it names (RFC 9110 section 7.6.1), and must not name such: a gateway that impersonates
// its users would be believed to ask for itself, if one of them could nominate the impersonation
// away.
bool must_arrive(std::string_view option) {
  const std::string name = ascii::lowered(option);
  return name == "authorization" || name == "host" || name == "content-length" ||
         name == "content-type" || name == "content-encoding" || name == "cookie" ||
         name == "sec-websocket-protocol" || name.starts_with("impersonate-") ||
         name.starts_with("impersonate_");
}

}  // namespace

RequestReader::RequestReader(const ReaderOptions& options) : options_(options) { next(); }

void RequestReader::next() {
  llhttp_init(&parser_, HTTP_REQUEST, callbacks());
  parser_.data = this;
  stage_ = next_stage_ = Stage::head;
  event_ = Event::none;
  data_ = {};
  refusal_.reset();
  if (held_bytes() > 2 * http::usual_head_bytes) {
    // A large one would keep its memory for as long as its client stays.
    head_ = {};
    std::string().swap(name_);
    std::string().swap(value_);
    std::string().swap(upgrade_);
  }
  head_.clear();
  name_.clear();
  value_.clear();
  upgrade_.clear();
  taken_ = list_bytes_ = fields_ = trailers_ = 0;
  overhead_bytes_ = body_bytes_ = 0;
  empty_line_ = 0;
  part_begin_ = nullptr;
  protocol_ = line_begun_ = in_value_ = host_ = length_ = coding_ = expect_ = false;
  has_body_ = chunked_ = keep_alive_ = expects_continue_ = upgrades_ = false;
}

const llhttp_settings_t* RequestReader::callbacks() {
  static const llhttp_settings_t settings = [] {
    llhttp_settings_t s;
    llhttp_settings_init(&s);
    s.on_method = [](llhttp_t* p, const char* at, std::size_t n) {
      of(p).head_.method.append(at, n);
      return 0;
    };
    s.on_url = [](llhttp_t* p, const char* at, std::size_t n) {
      of(p).head_.path.append(at, n);
      return 0;
    };
    s.on_protocol = [](llhttp_t* p, const char* at, std::size_t n) {
      return n == 0 ? 0 : of(p).take_protocol(at);
    };
    s.on_header_field = [](llhttp_t* p, const char* at, std::size_t n) {
      of(p).line_begun_ = true;
      of(p).name_.append(at, n);
      return 0;
    };
    s.on_header_field_complete = [](llhttp_t* p) {
      of(p).in_value_ = true;
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
      RequestReader& reader = of(p);
      reader.event_ = Event::data;
      reader.data_ = as_bytes(std::string_view(at, n));
      reader.body_bytes_ += n;
      return HPE_PAUSED;
    };
    s.on_chunk_header = [](llhttp_t* p) { return of(p).begin_chunk(); };
    s.on_chunk_complete = [](llhttp_t* p) -> int {
      RequestReader& reader = of(p);
      if (reader.stage_ == Stage::trailers) return 0;  // the last one, which is none
      reader.next_stage_ = Stage::chunk_line;
      return HPE_PAUSED;
    };
    s.on_message_complete = [](llhttp_t* p) -> int {
      of(p).event_ = Event::end;
      of(p).next_stage_ = Stage::complete;
      return HPE_PAUSED;
    };
    return s;
  }();
  return &settings;
}

// ---------------------------------------------------------------- reading

std::size_t RequestReader::room() const {
  switch (stage_) {
    case Stage::head: return options_.head_bytes_max - taken_;
    case Stage::chunk_line: return chunk_line_bytes_max - taken_;
    case Stage::trailers: return trailers_bytes_max - taken_;
    case Stage::length_body:
    case Stage::chunk_data: return SIZE_MAX;
    case Stage::complete:
    case Stage::refused: break;
  }
  return 0;
}

Refusal RequestReader::too_large() const {
  if (stage_ == Stage::head) return Refusal::head_too_large;
  return stage_ == Stage::trailers ? Refusal::trailers_too_large : Refusal::chunk_line;
}

// Old clients send one behind a body (RFC 9112 section 2.2).
std::size_t RequestReader::skip_empty_line(Bytes input) {
  constexpr std::string_view empty_line = "\r\n";
  std::size_t taken = 0;
  while (taken < input.size() && (input[taken] == '\r' || input[taken] == '\n')) {
    if (empty_line_ == empty_line.size() || input[taken] != empty_line[empty_line_]) {
      refuse(Refusal::line_end);
      return taken;
    }
    ++empty_line_;
    ++taken;
  }
  if (taken < input.size() && empty_line_ == 1) refuse(Refusal::line_end);
  return taken;
}

RequestReader::Read RequestReader::refused(std::size_t taken) {
  DCHECK(refusal_.has_value());
  stage_ = Stage::refused;
  return {Event::refused, taken};
}

RequestReader::Read RequestReader::read(Bytes input) {
  if (stage_ == Stage::complete || stage_ == Stage::refused) return {};
  std::size_t taken = 0;
  if (stage_ == Stage::head && taken_ == 0) {
    taken = skip_empty_line(input);
    if (refusal_) return refused(taken);
    if (taken == input.size()) return {Event::none, taken};
  }
  for (;;) {
    const Bytes rest = input.subspan(taken);
    const Bytes part = rest.first(std::min(rest.size(), room()));
    if (part.empty() && !rest.empty()) {
      refuse(too_large());
      return refused(taken);
    }
    const char* begin = part.empty() ? "" : as_text(part).data();
    part_begin_ = begin;
    const llhttp_errno result = llhttp_execute(&parser_, begin, part.size());
    if (result != HPE_OK && result != HPE_PAUSED) {
      refuse_by_error(result);
      return refused(taken);
    }
    const std::size_t used = result == HPE_OK
                                 ? part.size()
                                 : static_cast<std::size_t>(llhttp_get_error_pos(&parser_) - begin);
    CHECK_LE(used, part.size());
    taken += used;
    if (stage_ != Stage::length_body && stage_ != Stage::chunk_data) taken_ += used;
    if (result == HPE_PAUSED) {
      llhttp_resume(&parser_);
      if (next_stage_ != stage_) {
        if (stage_ == Stage::chunk_line) overhead_bytes_ += taken_ + 2;
        stage_ = next_stage_;
        taken_ = 0;
        if (overhead_bytes_ > chunk_overhead_bytes + chunk_overhead_factor * body_bytes_) {
          refuse(Refusal::chunk_overhead);
          return refused(taken);
        }
      }
      if (event_ != Event::none) return {std::exchange(event_, Event::none), taken, data_};
    } else if (taken == input.size()) {
      return {Event::none, taken};
    }
  }
}

// Where the parser stood tells more than its own codes.
void RequestReader::refuse_by_error(llhttp_errno error) {
  if (refusal_) return;
  const std::string_view reason = parser_.reason == nullptr ? "" : parser_.reason;
  const bool line_end =
      reason.find("CR") != std::string_view::npos || reason.find("LF") != std::string_view::npos;
  switch (stage_) {
    case Stage::length_body:
    case Stage::chunk_line:
    case Stage::chunk_data:
      refuse(error == HPE_INVALID_CHUNK_SIZE ? Refusal::chunk_size : Refusal::chunk_line);
      return;
    case Stage::trailers: refuse(Refusal::trailer); return;
    case Stage::head:
    case Stage::complete:
    case Stage::refused: break;
  }
  if (error == HPE_PAUSED_H2_UPGRADE) {
    refuse(Refusal::http2);
  } else if (error == HPE_INVALID_METHOD) {
    const bool ended = reason == "Expected space after method";
    refuse(ended ? Refusal::request_line : Refusal::method);
  } else if (error == HPE_UNEXPECTED_CONTENT_LENGTH || error == HPE_INVALID_CONTENT_LENGTH) {
    refuse(coding_   ? Refusal::length_and_coding
           : length_ ? Refusal::length_repeated
                     : Refusal::length);
  } else if (error == HPE_INVALID_TRANSFER_ENCODING) {
    refuse(length_ ? Refusal::length_and_coding : Refusal::coding);
  } else if (line_end) {
    refuse(Refusal::line_end);
  } else if (in_value_) {
    refuse(Refusal::field_value);
  } else if (line_begun_ || error == HPE_INVALID_HEADER_TOKEN || error == HPE_UNEXPECTED_SPACE) {
    refuse(Refusal::field_name);
  } else if (error == HPE_INVALID_VERSION) {
    refuse(Refusal::version);
  } else {
    refuse(error == HPE_INVALID_URL ? Refusal::target : Refusal::request_line);
  }
}

int RequestReader::refuse(Refusal refusal) {
  if (!refusal_) refusal_ = refusal;
  return HPE_USER;
}

// ---------------------------------------------------------------- fields

int RequestReader::end_field() {
  if (stage_ == Stage::trailers) return end_trailer();
  std::ranges::transform(name_, name_.begin(), ascii::to_lower);
  list_bytes_ += name_.size() + value_.size() + field_overhead;
  if (++fields_ > options_.fields_max || list_bytes_ > options_.list_bytes_max) {
    return refuse(Refusal::head_too_large);
  }
  if (!is_value(value_)) return refuse(Refusal::field_value);
  const int taken = take_field();
  name_.clear();
  value_.clear();
  in_value_ = false;
  line_begun_ = false;
  return taken;
}

int RequestReader::take_field() {
  // Before blanks behind the value are forgotten: a length has none.
  if (name_ == "content-length") {
    if (const int wrong = take_length()) return wrong;
  }
  while (!value_.empty() && ascii::is_blank(value_.back())) value_.pop_back();
  if (name_ == "host") return take_host();
  if (name_ == "transfer-encoding") return take_transfer_encoding();
  if (is_almost_framing(name_)) return refuse(Refusal::framing_name);
  if (name_ == "upgrade" || name_ == "http2-settings") {
    if (const int wrong = take_upgrade()) return wrong;
  } else if (name_ == "expect") {
    return take_expect();
  } else if (name_ == "connection") {
    if (any_member(value_, must_arrive)) return refuse(Refusal::connection_option);
  } else if (name_ == "trailer") {
    return 0;  // those that it announces are dropped
  }
  head_.fields.add(name_, value_);
  return 0;
}

int RequestReader::take_length() {
  if (coding_) return refuse(Refusal::length_and_coding);
  if (std::exchange(length_, true)) return refuse(Refusal::length_repeated);
  return is_length(value_) ? 0 : refuse(Refusal::length);
}

int RequestReader::take_transfer_encoding() {
  if (length_) return refuse(Refusal::length_and_coding);
  if (std::exchange(coding_, true) || !ascii::equal_ignoring_case(value_, "chunked") ||
      parser_.http_minor == 0) {
    return refuse(Refusal::coding);
  }
  head_.fields.add(name_, value_);  // it ends here, as other fields of the connection do
  return 0;
}

int RequestReader::take_host() {
  if (std::exchange(host_, true)) return refuse(Refusal::host_repeated);
  if (!http::is_authority(value_)) return refuse(Refusal::host);
  head_.authority = value_;
  return 0;
}

int RequestReader::take_upgrade() {
  if (name_ != "upgrade" || any_member(value_, is_h2c)) return refuse(Refusal::h2c);
  if (!upgrade_.empty()) upgrade_ += ", ";
  upgrade_ += value_;
  return 0;
}

// As at an API server: the first field counts, and in it the word, among whatever else. What is
// passed on is what was understood.
int RequestReader::take_expect() {
  if (std::exchange(expect_, true) || value_.empty()) return 0;
  if (!has_word(value_, "100-continue")) return refuse(Refusal::expectation);
  if (parser_.http_minor == 0) return 0;  // RFC 9110 section 10.1.1
  expects_continue_ = true;
  head_.fields.add(name_, "100-continue");
  return 0;
}

int RequestReader::end_trailer() {
  std::ranges::transform(name_, name_.begin(), ascii::to_lower);
  const bool frames = name_ == "content-length" || name_ == "transfer-encoding" ||
                      name_ == "host" || is_almost_framing(name_);
  const bool good = !frames && is_value(value_);
  name_.clear();
  value_.clear();
  if (++trailers_ > trailer_fields_max) return refuse(Refusal::trailers_too_large);
  return good ? 0 : refuse(Refusal::trailer);
}

// ---------------------------------------------------------------- heads and chunks

int RequestReader::end_head() {
  if (parser_.http_major != 1 || parser_.http_minor > 1) return refuse(Refusal::version);
  if (head_.method == "CONNECT") return refuse(Refusal::connect);
  if (std::ranges::find(methods, head_.method) == methods.end()) return refuse(Refusal::method);
  head_.scheme = options_.scheme;
  if (const int wrong = split_target()) return wrong;
  if (parser_.http_minor == 1 && !host_) return refuse(Refusal::no_host);
  list_bytes_ += head_.method.size() + head_.path.size() + 2 * field_overhead;
  if (list_bytes_ > options_.list_bytes_max) return refuse(Refusal::head_too_large);
  keep_alive_ = llhttp_should_keep_alive(&parser_) != 0;
  // Of a list nobody can know which one a server takes: it is a request like any other, as at one.
  upgrades_ = parser_.upgrade != 0 && parser_.http_minor == 1 && is_protocol(upgrade_);
  parser_.upgrade = 0;  // the body ends where it says that it ends
  chunked_ = (parser_.flags & F_CHUNKED) != 0;
  // Ours and the parser's reading of the framing are one.
  if (chunked_ != coding_ || (!length_ && parser_.content_length != 0)) {
    return refuse(Refusal::coding);
  }
  if (upgrades_ && chunked_) return refuse(Refusal::upgrade_body);
  has_body_ = chunked_ || parser_.content_length > 0;
  next_stage_ = chunked_ ? Stage::chunk_line : Stage::length_body;
  event_ = Event::head;
  return HPE_PAUSED;
}

// RFC 9112 section 3: one space behind the method and one behind the target. The parser takes more,
// and other protocols.
int RequestReader::take_protocol(const char* at) {
  if (std::exchange(protocol_, true)) return 0;
  if (*at != 'H') return refuse(Refusal::version);
  const std::size_t position = taken_ + static_cast<std::size_t>(at - part_begin_);
  return position == head_.method.size() + head_.path.size() + 2 ? 0
                                                                 : refuse(Refusal::request_line);
}

// A path, or an absolute form (RFC 9112 section 3.2.2) of our scheme, which must name whom Host
// names; or `*`, which asks for the server itself (section 3.2.4).
int RequestReader::split_target() {
  std::string& path = head_.path;
  if (!is_target(path)) return refuse(Refusal::target);
  if (options_.whole_server && path == "*" && head_.method == "OPTIONS") return 0;
  if (path.starts_with('/')) return 0;
  const std::size_t scheme = options_.scheme.size();
  const std::string_view target = path;
  if (!ascii::equal_ignoring_case(target.substr(0, scheme), options_.scheme) ||
      target.substr(scheme, 3) != "://") {
    return refuse(Refusal::target);
  }
  const std::size_t begin = scheme + 3;
  const std::size_t end = std::min(target.find_first_of("/?", begin), target.size());
  const std::string_view authority = target.substr(begin, end - begin);
  if (!http::is_authority(authority)) return refuse(Refusal::target);
  if (!host_) {
    head_.authority = authority;
  } else if (!http::same_authority(authority, head_.authority,
                                   options_.scheme == "https" ? "443" : "80")) {
    return refuse(Refusal::host_differs);
  }
  path.erase(0, end);
  if (!path.starts_with('/')) path.insert(0, 1, '/');
  return 0;
}

int RequestReader::begin_chunk() {
  next_stage_ = parser_.content_length == 0 ? Stage::trailers : Stage::chunk_data;
  return HPE_PAUSED;
}

}  // namespace sluice::http1
