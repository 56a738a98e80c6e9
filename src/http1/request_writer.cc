// SPDX-License-Identifier: GPL-3.0-or-later
// Requests as text.
#include "request_writer.h"

#include <algorithm>
#include <optional>
#include <string_view>

#include "field_values.h"
#include "sluice/base/ascii.h"
#include "sluice/http/authority.h"
#include "sluice/http/connection_fields.h"

namespace sluice::http1 {
namespace {

constexpr std::string_view line_end = "\r\n";

bool is_path(std::string_view text) {
  return text.starts_with('/') &&
         std::ranges::all_of(text, [](char c) { return c > 0x20 && c < 0x7f && c != '#'; });
}

void append_line(std::string& out, std::string_view name, std::string_view value) {
  out += name;
  out += ": ";
  out += value;
  out += line_end;
}

// What is said of the body's length; nothing when that is no length, or said twice.
std::optional<std::string_view> length_of(const http::Fields& fields) {
  std::string_view length;
  for (std::size_t i = 0; i < fields.size(); ++i) {
    if (fields[i].name != "content-length") continue;
    if (!length.empty() || !is_length(fields[i].value)) return std::nullopt;
    length = fields[i].value;
  }
  return length;
}

bool can_be_written(const http::RequestHead& head, bool has_body) {
  const auto length = length_of(head.fields);
  const bool says_body = length && !length->empty() && *length != "0";
  if (!length || says_body != has_body) return false;
  if (!ascii::is_token(head.method) || head.method == "CONNECT" || !is_path(head.path)) {
    return false;
  }
  if (!http::is_authority(head.authority)) return false;
  if (!is_protocol(head.protocol) || is_h2c(head.protocol)) return false;
  for (std::size_t i = 0; i < head.fields.size(); ++i) {
    const http::Field field = head.fields[i];
    if (!ascii::is_token(field.name) || field.name == "host" || !is_value(field.value)) {
      return false;
    }
  }
  return true;
}

}  // namespace

bool append_upgrade_request(const http::RequestHead& head, bool has_body, std::string& out) {
  if (!can_be_written(head, has_body)) return false;
  out += head.method;
  out += ' ';
  out += head.path;
  out += " HTTP/1.1\r\n";
  append_line(out, "host", head.authority);
  append_line(out, "connection", "Upgrade");
  append_line(out, "upgrade", head.protocol);
  for (std::size_t i = 0; i < head.fields.size(); ++i) {
    const http::Field field = head.fields[i];
    if (!http::is_connection_field(field.name)) append_line(out, field.name, field.value);
  }
  out += line_end;
  return true;
}

}  // namespace sluice::http1
