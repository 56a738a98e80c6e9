// SPDX-License-Identifier: GPL-3.0-or-later
// Follows the frame boundaries in the plain bytes of one direction (RFC 9113 section 4.1) and shows
// each frame header once, however the bytes are cut. The codec reports neither unknown frames nor
// those of closed streams; abuse is therefore counted here, before the codec sees the bytes.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>

#include "sluice/base/bytes.h"

namespace sluice::http2 {

// RFC 9113 section 6.
enum class FrameType : std::uint8_t {
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
};

namespace frame_flag {
inline constexpr std::uint8_t ack = 0x1;
inline constexpr std::uint8_t end_stream = 0x1;
inline constexpr std::uint8_t end_headers = 0x4;
inline constexpr std::uint8_t padded = 0x8;
}  // namespace frame_flag

inline constexpr std::size_t frame_header_bytes = 9;
inline constexpr std::size_t client_preface_bytes = 24;

struct FrameHeader {
  std::uint32_t length;
  FrameType type;
  std::uint8_t flags;
  std::uint32_t stream_id;

  bool has(std::uint8_t flag) const { return (flags & flag) != 0; }
};

inline FrameHeader parse_frame_header(const std::uint8_t* p) {
  return {(std::uint32_t{p[0]} << 16) | (std::uint32_t{p[1]} << 8) | p[2],
          static_cast<FrameType>(p[3]), p[4],
          ((std::uint32_t{p[5]} & 0x7f) << 24) | (std::uint32_t{p[6]} << 16) |
              (std::uint32_t{p[7]} << 8) | p[8]};
}

class FrameScanner {
 public:
  explicit FrameScanner(bool expect_client_preface)
      : skip_(expect_client_preface ? client_preface_bytes : 0) {}

  // Calls accept(FrameHeader) for each header that is complete with `in`. Returns how many bytes
  // lie before the first refused header (0 when it began in an earlier call), or all of them.
  template <class F>
  std::size_t scan(Bytes in, F&& accept) {
    std::size_t at = 0;
    while (at < in.size()) {
      if (skip_ > 0) {
        const std::size_t n = std::min(skip_, in.size() - at);
        skip_ -= n;
        at += n;
        continue;
      }
      const std::size_t start = at;
      const std::size_t n = std::min(frame_header_bytes - have_, in.size() - at);
      std::memcpy(partial_.data() + have_, in.data() + at, n);
      have_ += n;
      at += n;
      if (have_ < frame_header_bytes) break;
      have_ = 0;
      const FrameHeader header = parse_frame_header(partial_.data());
      skip_ = header.length;
      follow_block(header);
      seen_frame_ = true;
      if (!accept(header)) return start;
    }
    return in.size();
  }

  // Between two frames, with no header block waiting for its CONTINUATION.
  bool at_boundary() const { return seen_frame_ && skip_ == 0 && have_ == 0 && !block_open_; }

 private:
  void follow_block(const FrameHeader& header) {
    if (header.type == FrameType::headers || header.type == FrameType::push_promise ||
        header.type == FrameType::continuation) {
      block_open_ = !header.has(frame_flag::end_headers);
    } else {
      block_open_ = false;  // Nothing may come between: the codec has given up here.
    }
  }

  std::size_t skip_;
  std::size_t have_ = 0;
  std::array<std::uint8_t, frame_header_bytes> partial_{};
  bool block_open_ = false;
  bool seen_frame_ = false;
};

}  // namespace sluice::http2
