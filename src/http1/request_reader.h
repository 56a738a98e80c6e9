// SPDX-License-Identifier: GPL-3.0-or-later
// Requests out of bytes, one after the other: llhttp with every lenient flag off, and our own
// strictness above it. What two readers could understand differently is refused; what is read does
// not depend on how the bytes were cut.
//
// Bodies are handed out where they lie. Trailers are checked and dropped.
#pragma once

#include <llhttp.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "sluice/base/bytes.h"
#include "sluice/http/message.h"
#include "sluice/http1/refusal.h"

namespace sluice::http1 {

struct ReaderOptions {
  std::size_t fields_max = 64;
  std::size_t head_bytes_max = 8192;      // as they come
  std::size_t list_bytes_max = SIZE_MAX;  // as RFC 9113 section 6.5.2 counts
  std::string_view scheme = "https";      // of the connection
  bool whole_server = true;               // "OPTIONS *" is taken
};

class RequestReader {
 public:
  // A chunk's size and its extensions; all fields behind a body.
  static constexpr std::size_t chunk_line_bytes_max = 256;
  static constexpr std::size_t trailers_bytes_max = 8 * 1024;
  static constexpr std::size_t trailer_fields_max = 64;
  // Bytes around chunks that are always allowed, and how many more for each byte in them.
  static constexpr std::uint64_t chunk_overhead_bytes = 64 * 1024;
  static constexpr std::uint64_t chunk_overhead_factor = 2;

  explicit RequestReader(const ReaderOptions& options);
  RequestReader(const RequestReader&) = delete;
  RequestReader& operator=(const RequestReader&) = delete;

  enum class Event : std::uint8_t {
    none,     // all was taken, and more is needed
    head,     // head() and what it says
    data,     // some of the body
    end,      // of the request; until next() nothing more is taken
    refused,  // refusal(); nothing more is taken
  };
  struct Read {
    Event event = Event::none;
    std::size_t taken = 0;  // of the input
    Bytes data = {};        // of the input
  };
  // Takes bytes up to the next event. With no bytes at all: the event that is due without any.
  Read read(Bytes input);
  // Begins the next request.
  void next();

  // Of `head`; may be moved out. The field list is without Host.
  http::RequestHead& head() { return head_; }
  bool has_body() const { return has_body_; }
  bool chunked() const { return chunked_; }
  bool http_1_0() const { return parser_.http_minor == 0; }
  // The client will send another request on this connection.
  bool keep_alive() const { return keep_alive_; }
  bool expects_continue() const { return expects_continue_ && has_body_; }
  // The one protocol that it asks to switch to, as it says it; empty: none.
  std::string_view upgrade() const { return upgrades_ ? std::string_view(upgrade_) : ""; }
  // What is left of a body of known length.
  std::uint64_t rest_bytes() const { return parser_.content_length; }

  // Of `refused`. What was read of a head is in head().
  Refusal refusal() const { return *refusal_; }
  // Bytes of a head have come, but not all.
  bool in_head() const { return stage_ == Stage::head && taken_ > 0; }
  bool complete() const { return stage_ == Stage::complete; }
  std::size_t held_bytes() const {
    return head_.held_bytes() + name_.capacity() + value_.capacity() + upgrade_.capacity();
  }

 private:
  // Of a request. Each has its own bound.
  enum class Stage : std::uint8_t {
    head,
    length_body,
    chunk_line,
    chunk_data,
    trailers,
    complete,
    refused,
  };

  static const llhttp_settings_t* callbacks();
  static RequestReader& of(llhttp_t* parser) { return *static_cast<RequestReader*>(parser->data); }

  std::size_t room() const;
  std::size_t skip_empty_line(Bytes input);
  Read refused(std::size_t taken);
  void refuse_by_error(llhttp_errno error);
  Refusal too_large() const;

  // Callbacks; an error ends the parser.
  int refuse(Refusal refusal);
  int end_field();
  int end_trailer();
  int take_field();
  int take_transfer_encoding();
  int take_length();
  int take_host();
  int take_upgrade();
  int take_expect();
  int take_protocol(const char* at);
  int end_head();
  int split_target();
  int begin_chunk();

  const ReaderOptions options_;
  llhttp_t parser_{};
  Stage stage_ = Stage::head;
  Stage next_stage_ = Stage::head;
  Event event_ = Event::none;
  Bytes data_;
  std::optional<Refusal> refusal_;
  http::RequestHead head_;
  std::string name_;
  std::string value_;
  std::string upgrade_;
  std::size_t taken_ = 0;             // bytes of this stage
  const char* part_begin_ = nullptr;  // of the bytes behind them, while they are parsed
  std::size_t list_bytes_ = 0;
  std::size_t fields_ = 0;
  std::size_t trailers_ = 0;
  std::uint64_t overhead_bytes_ = 0;
  std::uint64_t body_bytes_ = 0;
  std::uint8_t empty_line_ = 0;  // bytes of it
  bool protocol_ = false;        // its name has begun
  bool line_begun_ = false;      // a field's name has begun
  bool in_value_ = false;
  bool host_ = false;
  bool length_ = false;
  bool coding_ = false;
  bool expect_ = false;
  bool has_body_ = false;
  bool chunked_ = false;
  bool keep_alive_ = false;
  bool expects_continue_ = false;
  bool upgrades_ = false;
};

}  // namespace sluice::http1
