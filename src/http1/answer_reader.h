// SPDX-License-Identifier: GPL-3.0-or-later
// A backend's answer to one request that asks to switch protocols, out of bytes: llhttp with every
// lenient flag off, and our own strictness above it. What two readers could understand differently
// breaks the answer; what is read does not depend on how the bytes were cut.
//
// A 101 that names the protocol which was asked for is the end of HTTP on its connection. Any other
// answer is read to its end, and what is behind that is nothing.
#pragma once

#include <llhttp.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "sluice/base/bytes.h"
#include "sluice/http/message.h"

namespace sluice::http1 {

struct AnswerLimits {
  std::size_t fields_max = 4096;
  std::size_t head_bytes_max = 256 * 1024;  // as they come, and as RFC 9113 section 6.5.2 counts
};

class AnswerReader {
 public:
  // A chunk's size and its extensions; all fields behind a body.
  static constexpr std::size_t chunk_line_bytes_max = 256;
  static constexpr std::size_t trailers_bytes_max = 64 * 1024;

  // `protocol`: what was asked for. `head_request`: the answer has no body, whatever it says.
  AnswerReader(const AnswerLimits& limits, std::string_view protocol, bool head_request);
  AnswerReader(const AnswerReader&) = delete;
  AnswerReader& operator=(const AnswerReader&) = delete;

  enum class Event : std::uint8_t {
    none,      // all was taken, and more is needed
    interim,   // head(): an answer of 1xx; another one follows
    switched,  // head(): 101; what is behind it is not HTTP
    head,      // head(): the answer; its body follows
    data,      // some of the body
    end,       // of the answer
    broken,    // why(); nothing more is taken
  };
  struct Read {
    Event event = Event::none;
    std::size_t taken = 0;  // of the input
    Bytes data = {};        // of the input
  };
  // Takes bytes up to the next event. With no bytes at all: the event that is due without any.
  Read read(Bytes input);
  // The connection has ended, in order or not: `end` if the answer may end so.
  Event connection_ended(bool in_order);

  // Of `interim`, `switched` and `head`; may be moved out.
  http::ResponseHead& head() { return head_; }
  // The head is the whole answer: `end` is due without any more bytes.
  bool ends_with_head() const { return end_due_; }
  // Of `broken`: a sentence's end, "sent ...".
  std::string_view why() const { return why_; }
  bool too_large() const { return too_large_; }

 private:
  enum class Stage : std::uint8_t { head, body, chunk_line, trailers, over, broken };
  enum class Framing : std::uint8_t { none, length, chunked, until_close };

  static const llhttp_settings_t* callbacks();
  static AnswerReader& of(llhttp_t* parser) { return *static_cast<AnswerReader*>(parser->data); }

  void begin_head();
  std::size_t room() const;
  Event break_off(std::string_view why);
  int refuse(std::string_view why);
  int end_field();
  int take_field();
  int take_length();
  int end_head();
  int switch_protocol();

  const AnswerLimits limits_;
  const std::string protocol_;
  const bool head_request_;
  llhttp_t parser_{};
  Stage stage_ = Stage::head;
  Stage next_stage_ = Stage::head;
  Event event_ = Event::none;
  Framing framing_ = Framing::none;
  Bytes data_;
  std::string_view why_;
  bool too_large_ = false;
  http::ResponseHead head_;
  std::string name_;
  std::string value_;
  std::string upgrade_;
  std::size_t taken_ = 0;  // bytes of this stage
  std::size_t list_bytes_ = 0;
  std::size_t fields_ = 0;
  bool connection_upgrade_ = false;
  bool length_ = false;
  bool coding_ = false;
  bool end_due_ = false;   // without any more bytes
  bool head_due_ = false;  // another one
};

}  // namespace sluice::http1
