// SPDX-License-Identifier: GPL-3.0-or-later
// One HTTP/2 stream as the session sees it, and the table that finds it by id. The codec keeps the
// state of RFC 9113 section 5.1; here is what the codec does not tell: which part of the message
// each side is in, and who reset the stream.
//
//            sending (our direction)                  receiving (the peer's direction)
//   head ──submit──▶ body ──END_STREAM──▶ ended       head ──head──▶ body ──END_STREAM──▶ ended
#pragma once

#include <cstdint>
#include <vector>

#include "sluice/base/time.h"
#include "sluice/http2/session.h"

namespace sluice::http2 {

enum class Part : std::uint8_t { head, body, ended };

enum class Reset : std::uint8_t {
  none,
  by_us,     // the owner called reset_stream
  provoked,  // the peer broke a rule on this stream
  by_peer,
};

struct Stream {
  StreamId id = 0;
  std::uint64_t tag = 0;
  Instant opened{};
  Part sending = Part::head;
  Part receiving = Part::head;
  Reset reset = Reset::none;
  std::size_t queued_head_bytes = 0;  // role server
  bool announced = false;             // the handler knows this stream
  bool head_too_large = false;        // the rest of the head is decoded, but not kept
  bool malformed = false;             // role server: the request breaks a rule of HTTP,
  bool malformed_told = false;        // and the handler knows
  bool answered = false;              // role server: a response was submitted
  bool written = false;               // role client: bytes of the request have left
  bool uploading = false;             // role client: counted among the uploads
  bool had_turn = false;              // role client: sent DATA in this round
  bool stop_upload = false;           // reset with no_error as soon as END_STREAM is sent
  bool resumed = false;               // resume_body was called while its body was being asked for

  StreamRef ref() const { return {id, tag}; }
  // A part only moves forward.
  void send(Part part);
  void receive(Part part);
};

// Open addressing with linear probing; ids of one side are consecutive odd numbers, so that they
// fall into consecutive slots. Does not own the streams.
class StreamTable {
 public:
  Stream* find(StreamId id) const;
  void insert(Stream* stream);
  void erase(StreamId id);
  std::size_t size() const { return size_; }

  template <class F>
  void for_each(F&& f) const {
    for (Stream* stream : slots_) {
      if (stream != nullptr) f(*stream);
    }
  }

 private:
  std::size_t home(StreamId id) const {
    return (static_cast<std::uint32_t>(id) >> 1) & (slots_.size() - 1);
  }
  void resize(std::size_t slots);

  std::vector<Stream*> slots_;  // a power of two, or empty
  std::size_t size_ = 0;
};

}  // namespace sluice::http2
