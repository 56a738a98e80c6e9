// SPDX-License-Identifier: GPL-3.0-or-later
// The inside of CodecMemory, for the session alone.
#pragma once

#include <nghttp2/nghttp2.h>

#include <memory>
#include <vector>

#include "http2/stream.h"
#include "sluice/http/fields.h"
#include "sluice/http2/codec_memory.h"

namespace sluice::http2 {

struct CodecMemory::Impl {
  Impl();

  // What the codec allocates through. While a session is created, its frame buffer (the one
  // allocation of that size) becomes the shared one.
  nghttp2_mem hooks();

  std::unique_ptr<Stream> take_stream();
  void give_back(std::unique_ptr<Stream> stream);

  static constexpr std::size_t streams_kept_max = 1024;

  std::size_t sessions = 0;
  bool creating = false;  // between the hooks being handed out and the session being there
  bool packing = false;   // a session is inside collect()
  std::unique_ptr<std::uint8_t[]> frame_buffer;
  std::size_t frame_buffer_bytes = 0;
  std::vector<std::unique_ptr<Stream>> free_streams;
  std::vector<nghttp2_nv> header_list;  // scratch of the submit functions
  http::Fields roomy;                   // empty, with room for a usual head: copied, not grown
};

}  // namespace sluice::http2
