// SPDX-License-Identifier: GPL-3.0-or-later
// An answer as the bytes of HTTP/1.1: its head, and its body by length, in chunks, or up to the end
// of the connection.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "sluice/base/bytes.h"
#include "sluice/http/message.h"

namespace sluice::http1 {

// How its reader learns where the body ends.
enum class Framing : std::uint8_t {
  none,    // it has none, whatever its fields say: HEAD, 204, 304
  length,  // Content-Length
  chunked,
  until_close,  // HTTP/1.0
};

class AnswerWriter {
 public:
  struct Request {
    bool head_only = false;  // HEAD
    bool http_1_0 = false;
    bool last = false;  // of its connection
  };
  // Appends the head to `out`. False: what it says of its length is no length; nothing was written.
  bool begin(const http::ResponseHead& head, bool has_body, const Request& request,
             std::string& out);
  // A 101, and behind it whatever comes, up to an end that its carrier tells.
  void begin_tunnel(const http::ResponseHead& head, std::string_view protocol, std::string& out);
  static void append_interim(const http::ResponseHead& head, std::string& out);

  Framing framing() const { return framing_; }

  // Where in a batch bytes of the body are to be written; empty when there is too little room.
  MutableBytes room(MutableBytes batch) const;
  // `bytes` of them were. Returns how many of the batch are used, the framing included; 0 when none
  // are, or when these bytes are more than there may be (then broken() is true).
  std::size_t wrote(MutableBytes batch, std::size_t bytes);
  // The body is over: appends its end to `out`. broken() is true when bytes are missing.
  void finish(std::string& out);
  bool broken() const { return broken_; }

 private:
  Framing framing_ = Framing::none;
  std::uint64_t rest_bytes_ = 0;  // by length
  bool broken_ = false;
};

}  // namespace sluice::http1
