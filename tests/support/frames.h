// SPDX-License-Identifier: GPL-3.0-or-later
// HTTP/2 frames written and read by hand (RFC 9113 section 4, RFC 7541 without compression), for
// tests that must send what no codec would. Independent of the codec under test.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "sluice/base/bytes.h"

namespace sluice::test {

namespace frame {
enum Type : std::uint8_t {
  data = 0,
  headers = 1,
  priority = 2,
  rst_stream = 3,
  settings = 4,
  push_promise = 5,
  ping = 6,
  goaway = 7,
  window_update = 8,
  continuation = 9,
  priority_update = 16,
  unknown = 0xbe,
};
enum Flag : std::uint8_t {
  none = 0,
  ack = 0x1,
  end_stream = 0x1,
  end_headers = 0x4,
  padded = 0x8,
  has_priority = 0x20,
};
enum Setting : std::uint16_t {
  header_table_size = 1,
  enable_push = 2,
  max_concurrent_streams = 3,
  initial_window_size = 4,
  max_frame_size = 5,
  max_header_list_size = 6,
  no_rfc7540_priorities = 9,
};
}  // namespace frame

using NameValue = std::pair<std::string_view, std::string_view>;
using NameValues = std::initializer_list<NameValue>;

inline std::string big_endian(std::uint64_t value, int bytes) {
  std::string out;
  for (int i = bytes - 1; i >= 0; --i) out += static_cast<char>((value >> (8 * i)) & 0xff);
  return out;
}

// An HPACK integer (RFC 7541 section 5.1) under the given pattern of high bits.
inline std::string hpack_integer(std::uint64_t value, int prefix_bits, std::uint8_t pattern) {
  const std::uint64_t limit = (std::uint64_t{1} << prefix_bits) - 1;
  std::string out;
  if (value < limit) {
    out += static_cast<char>(pattern | value);
    return out;
  }
  out += static_cast<char>(pattern | limit);
  value -= limit;
  for (; value >= 128; value >>= 7) out += static_cast<char>((value & 0x7f) | 0x80);
  out += static_cast<char>(value);
  return out;
}

enum class Indexing : std::uint8_t { without = 0x00, never = 0x10, incremental = 0x40 };

inline std::string hpack_literal(std::string_view name, std::string_view value,
                                 Indexing indexing = Indexing::without) {
  std::string out(1, static_cast<char>(indexing));
  out += hpack_integer(name.size(), 7, 0);
  out += name;
  out += hpack_integer(value.size(), 7, 0);
  out += value;
  return out;
}

inline std::string hpack_block(NameValues fields) {
  std::string block;
  for (const auto& [name, value] : fields) block += hpack_literal(name, value);
  return block;
}

inline std::string hpack_get(std::string_view path = "/") {
  return hpack_block(
      {{":method", "GET"}, {":scheme", "https"}, {":path", path}, {":authority", "k"}});
}

inline std::string hpack_post(std::string_view path = "/") {
  return hpack_block(
      {{":method", "POST"}, {":scheme", "https"}, {":path", path}, {":authority", "k"}});
}

// Collects frames; every call returns the writer, so that they can be chained.
class FrameWriter {
 public:
  FrameWriter& raw(std::string_view bytes) {
    bytes_ += bytes;
    return *this;
  }
  // A header that announces `length`, whatever follows.
  FrameWriter& header(std::size_t length, std::uint8_t type, std::uint8_t flags, std::uint32_t id) {
    bytes_ += big_endian(length, 3);
    bytes_ += static_cast<char>(type);
    bytes_ += static_cast<char>(flags);
    bytes_ += big_endian(id, 4);
    return *this;
  }
  FrameWriter& frame(std::uint8_t type, std::uint8_t flags, std::uint32_t id,
                     std::string_view payload) {
    header(payload.size(), type, flags, id);
    return raw(payload);
  }

  FrameWriter& magic() { return raw("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"); }
  FrameWriter& settings(
      std::initializer_list<std::pair<frame::Setting, std::uint32_t>> entries = {}) {
    std::string payload;
    for (const auto& [id, value] : entries) payload += big_endian(id, 2) + big_endian(value, 4);
    return frame(frame::settings, 0, 0, payload);
  }
  FrameWriter& settings_ack() { return frame(frame::settings, frame::ack, 0, ""); }
  FrameWriter& preface() { return magic().settings(); }

  FrameWriter& headers(std::uint32_t id, std::string_view block, bool end_stream = true,
                       bool end_headers = true) {
    return frame(frame::headers,
                 static_cast<std::uint8_t>((end_stream ? frame::end_stream : 0) |
                                           (end_headers ? frame::end_headers : 0)),
                 id, block);
  }
  FrameWriter& continuation(std::uint32_t id, std::string_view block, bool end_headers) {
    return frame(frame::continuation, end_headers ? frame::end_headers : 0, id, block);
  }
  // A header block of any size, cut into as many frames as it takes.
  FrameWriter& long_headers(std::uint32_t id, std::string_view block, bool end_stream = true) {
    constexpr std::size_t max = 16384;
    headers(id, block.substr(0, max), end_stream, block.size() <= max);
    while (block.size() > max) {
      block.remove_prefix(max);
      continuation(id, block.substr(0, max), block.size() <= max);
    }
    return *this;
  }
  FrameWriter& data(std::uint32_t id, std::string_view body, bool end_stream = false) {
    return frame(frame::data, end_stream ? frame::end_stream : 0, id, body);
  }
  FrameWriter& rst_stream(std::uint32_t id, std::uint32_t code) {
    return frame(frame::rst_stream, 0, id, big_endian(code, 4));
  }
  FrameWriter& window_update(std::uint32_t id, std::uint32_t increment) {
    return frame(frame::window_update, 0, id, big_endian(increment, 4));
  }
  FrameWriter& ping(std::uint64_t opaque = 0, bool ack = false) {
    return frame(frame::ping, ack ? frame::ack : 0, 0, big_endian(opaque, 8));
  }
  FrameWriter& priority(std::uint32_t id, std::uint32_t depends_on = 0) {
    return frame(frame::priority, 0, id, big_endian(depends_on, 4) + "\x10");
  }
  FrameWriter& goaway(std::uint32_t last_id, std::uint32_t code, std::string_view debug = {}) {
    return frame(frame::goaway, 0, 0,
                 big_endian(last_id, 4) + big_endian(code, 4) + std::string(debug));
  }

  Bytes bytes() const { return as_bytes(bytes_); }
  const std::string& text() const { return bytes_; }
  void clear() { bytes_.clear(); }

 private:
  std::string bytes_;
};

struct Frame {
  std::uint8_t type = 0;
  std::uint8_t flags = 0;
  std::uint32_t id = 0;
  std::string payload;

  bool has(std::uint8_t flag) const { return (flags & flag) != 0; }
  // A number of the payload, in network order.
  std::uint32_t number(std::size_t at) const {
    std::uint32_t value = 0;
    for (std::size_t i = 0; i < 4 && at + i < payload.size(); ++i) {
      value = (value << 8) | static_cast<std::uint8_t>(payload[at + i]);
    }
    return value;
  }
};

// Takes whole frames from the front of a stream of bytes.
class FrameReader {
 public:
  void append(Bytes bytes) { bytes_ += as_text(bytes); }
  // A client's magic at the front; true when it was there.
  bool skip_magic() {
    if (!std::string_view(bytes_).starts_with("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")) return false;
    bytes_.erase(0, 24);
    return true;
  }
  std::optional<Frame> next() {
    if (bytes_.size() < 9) return std::nullopt;
    const auto at = [this](std::size_t i) { return static_cast<std::uint8_t>(bytes_[i]); };
    const std::size_t length = (std::size_t{at(0)} << 16) | (std::size_t{at(1)} << 8) | at(2);
    if (bytes_.size() < 9 + length) return std::nullopt;
    Frame frame;
    frame.type = at(3);
    frame.flags = at(4);
    frame.id = ((std::uint32_t{at(5)} & 0x7f) << 24) | (std::uint32_t{at(6)} << 16) |
               (std::uint32_t{at(7)} << 8) | at(8);
    frame.payload = bytes_.substr(9, length);
    bytes_.erase(0, 9 + length);
    return frame;
  }
  std::vector<Frame> all() {
    std::vector<Frame> frames;
    while (auto frame = next()) frames.push_back(std::move(*frame));
    return frames;
  }
  std::size_t left() const { return bytes_.size(); }

 private:
  std::string bytes_;
};

}  // namespace sluice::test
