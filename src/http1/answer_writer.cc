// SPDX-License-Identifier: GPL-3.0-or-later
// Answers as text.
#include "answer_writer.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <string_view>

#include "field_values.h"
#include "sluice/base/ascii.h"
#include "sluice/base/check.h"
#include "sluice/http/connection_fields.h"
#include "sluice/http/told_length.h"
#include "sluice/http1/writer.h"

namespace sluice::http1 {
namespace {

constexpr std::string_view line_end = "\r\n";
constexpr std::string_view last_chunk = "0\r\n\r\n";
// A chunk's size in a batch of usual size, and its line's end.
constexpr std::size_t chunk_head_bytes = 4 + line_end.size();
constexpr std::size_t chunk_bytes_max = 0xffff;
constexpr std::size_t room_min = 64;

bool has_no_body(int status) { return status < 200 || status == 204 || status == 304; }

void append_status_line(std::string& out, int status) {
  CHECK(status >= 100 && status <= 999);
  out += "HTTP/1.1 ";
  out += static_cast<char>('0' + status / 100);
  out += static_cast<char>('0' + status / 10 % 10);
  out += static_cast<char>('0' + status % 10);
  out += ' ';
  out += reason_phrase(status);
  out += line_end;
}

// Not those that are ours to say: of this connection, and where the body ends.
void append_field(std::string& out, const http::Field& field) {
  if (field.name == "content-length" || http::is_connection_field(field.name)) return;
  if (!ascii::is_token(field.name) || !is_line(field.value)) return;
  out += field.name;
  out += ": ";
  out += field.value;
  out += line_end;
}

}  // namespace

bool AnswerWriter::begin(const http::ResponseHead& head, bool has_body, const Request& request,
                         std::string& out) {
  broken_ = false;
  rest_bytes_ = 0;
  const bool bodiless = request.head_only || has_no_body(head.status);
  const auto length = http::told_length(head.fields);
  if (length == http::no_length) return false;
  rest_bytes_ = length.value_or(0);
  if (bodiless) {
    framing_ = Framing::none;
  } else if (length || !has_body) {
    framing_ = Framing::length;
  } else {
    framing_ = request.http_1_0 ? Framing::until_close : Framing::chunked;
  }
  append_status_line(out, head.status);
  // RFC 9110 section 8.6: 204 has none.
  const bool tells_length = length && head.status != 204;
  for (std::size_t i = 0; i < head.fields.size(); ++i) {
    append_field(out, head.fields[i]);
  }
  if (tells_length) {
    out += "content-length: ";
    out += std::to_string(rest_bytes_);
    out += line_end;
  } else if (framing_ == Framing::length) {
    out += "content-length: 0\r\n";
  } else if (framing_ == Framing::chunked) {
    out += "transfer-encoding: chunked\r\n";
  }
  if (request.last || framing_ == Framing::until_close) out += "connection: close\r\n";
  out += line_end;
  return true;
}

void AnswerWriter::begin_tunnel(const http::ResponseHead& head, std::string_view protocol,
                                std::string& out) {
  broken_ = false;
  framing_ = Framing::until_close;
  append_status_line(out, head.status);
  out += "connection: Upgrade\r\nupgrade: ";
  out += protocol;
  out += line_end;
  for (std::size_t i = 0; i < head.fields.size(); ++i) append_field(out, head.fields[i]);
  out += line_end;
}

void AnswerWriter::append_interim(const http::ResponseHead& head, std::string& out) {
  append_status_line(out, head.status);
  for (std::size_t i = 0; i < head.fields.size(); ++i) {
    append_field(out, head.fields[i]);
  }
  out += line_end;
}

MutableBytes AnswerWriter::room(MutableBytes batch) const {
  if (batch.size() < room_min) return {};
  if (framing_ != Framing::chunked) return batch;
  // With room for the last chunk behind it.
  const std::size_t around = chunk_head_bytes + line_end.size() + last_chunk.size();
  return batch.subspan(chunk_head_bytes, std::min(batch.size() - around, chunk_bytes_max));
}

std::size_t AnswerWriter::wrote(MutableBytes batch, std::size_t bytes) {
  if (bytes == 0) return 0;
  switch (framing_) {
    case Framing::none: return 0;
    case Framing::until_close: return bytes;
    case Framing::length:
      if (bytes > rest_bytes_) {
        broken_ = true;
        return 0;
      }
      rest_bytes_ -= bytes;
      return bytes;
    case Framing::chunked: break;
  }
  std::array<char, 4> digits{};
  const auto [end, error] = std::to_chars(digits.data(), digits.data() + digits.size(), bytes, 16);
  CHECK(error == std::errc());
  const auto size = static_cast<std::size_t>(end - digits.data());
  const std::size_t head = size + line_end.size();
  if (head < chunk_head_bytes) {
    std::memmove(batch.data() + head, batch.data() + chunk_head_bytes, bytes);
  }
  std::memcpy(batch.data(), digits.data(), size);
  std::memcpy(batch.data() + size, line_end.data(), line_end.size());
  std::memcpy(batch.data() + head + bytes, line_end.data(), line_end.size());
  return head + bytes + line_end.size();
}

void AnswerWriter::finish(std::string& out) {
  if (framing_ == Framing::chunked) out += last_chunk;
  if (framing_ == Framing::length && rest_bytes_ > 0) broken_ = true;
}

}  // namespace sluice::http1
