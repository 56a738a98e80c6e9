// SPDX-License-Identifier: GPL-3.0-or-later
// gzip through zlib.
#include "inflate_begin.h"

#define ZLIB_CONST
#include <zlib.h>

#include "sluice/kubernetes/watch_event.h"

namespace sluice::kubernetes {

std::optional<std::string_view> inflate_begin(std::string_view compressed, std::span<char> room) {
  constexpr int window_of_gzip = 15 + 16;  // zlib.h, inflateInit2
  z_stream stream{};
  if (inflateInit2(&stream, window_of_gzip) != Z_OK) return std::nullopt;
  stream.next_in = reinterpret_cast<const Bytef*>(compressed.data());
  stream.avail_in = static_cast<uInt>(compressed.size());
  stream.next_out = reinterpret_cast<Bytef*>(room.data());
  stream.avail_out = static_cast<uInt>(room.size());
  const int result = inflate(&stream, Z_SYNC_FLUSH);
  const std::size_t bytes = room.size() - stream.avail_out;
  inflateEnd(&stream);
  // Z_BUF_ERROR: nothing has come of it yet.
  if (result != Z_OK && result != Z_STREAM_END && result != Z_BUF_ERROR) return std::nullopt;
  return std::string_view(room.data(), bytes);
}

std::string inflater_version() { return zlibVersion(); }

}  // namespace sluice::kubernetes
