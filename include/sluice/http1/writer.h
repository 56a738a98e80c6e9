// SPDX-License-Identifier: GPL-3.0-or-later
// Writes the HTTP/1.1 responses of our own small servers.
#pragma once

#include <string>
#include <string_view>

namespace sluice::http1 {

struct Response {
  int status = 200;
  std::string_view content_type = "text/plain; charset=utf-8";
  std::string_view body = {};
  bool keep_alive = false;
  bool head_only = false;  // the answer to HEAD: the length of the body, but not the body
  // Further lines, each ending in CRLF; made by us, never from a peer's bytes.
  std::string_view extra_fields = {};
};

void append_response(std::string& out, const Response& response);

// The usual phrase of a status; "Unknown" for one that has none here.
std::string_view reason_phrase(int status);

}  // namespace sluice::http1
