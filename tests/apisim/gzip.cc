// SPDX-License-Identifier: GPL-3.0-or-later
// gzip through zlib.
#include "gzip.h"

#include <algorithm>
#include <array>
#include <utility>

#include "sluice/base/check.h"

namespace sluice::apisim {

namespace {

constexpr std::size_t piece_bytes = std::size_t{64} * 1024;

void begin(z_stream& stream) {
  constexpr int window_of_gzip = 15 + 16;  // zlib.h, deflateInit2
  constexpr int memory_level = 8;
  CHECK_EQ(deflateInit2(&stream, Z_BEST_SPEED, Z_DEFLATED, window_of_gzip, memory_level,
                        Z_DEFAULT_STRATEGY),
           Z_OK);
}

// Compresses all of `text` to the end of `out`.
void deflate_to(z_stream& stream, std::string_view text, bool last, std::string& out) {
  std::array<char, 16384> buffer{};
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));  // only read
  stream.avail_in = static_cast<uInt>(text.size());
  do {
    stream.next_out = reinterpret_cast<Bytef*>(buffer.data());
    stream.avail_out = buffer.size();
    CHECK(deflate(&stream, last ? Z_FINISH : Z_NO_FLUSH) != Z_STREAM_ERROR);
    out.append(buffer.data(), buffer.size() - stream.avail_out);
  } while (stream.avail_out == 0);
}

}  // namespace

bool accepts_gzip(const http::Fields& fields) {
  std::string_view rest = fields.find("accept-encoding").value_or("");
  while (!rest.empty()) {
    std::string_view token = rest.substr(0, rest.find(','));
    rest.remove_prefix(std::min(rest.size(), token.size() + 1));
    while (token.starts_with(' ')) token.remove_prefix(1);
    while (token.ends_with(' ')) token.remove_suffix(1);
    if (token == "gzip") return true;
  }
  return false;
}

std::string gzip(std::string_view text) {
  std::string out;
  z_stream stream{};
  begin(stream);
  deflate_to(stream, text, true, out);
  deflateEnd(&stream);
  return out;
}

bool compress(Reply& reply) {
  if (reply.watch_list) {
    reply.body = std::make_unique<GzipWatchBody>(std::move(reply.body));
    return true;
  }
  if (reply.watch != nullptr || !reply.content_type.starts_with(json_content)) return false;
  if (reply.text != nullptr) {
    if (reply.text->size() <= gzip_bytes_min) return false;
    reply.text = std::make_shared<const std::string>(gzip(*reply.text));
    return true;
  }
  // How long it will be is known only when it is made.
  std::string begun(gzip_bytes_min + 1, '\0');
  std::size_t size = 0;
  http2::BodyResult result;
  while (size < begun.size() && result.status != http2::BodyStatus::finished) {
    result = reply.body->produce(
        {reinterpret_cast<std::uint8_t*>(begun.data()) + size, begun.size() - size});
    size += result.bytes;
  }
  begun.resize(size);
  if (result.status == http2::BodyStatus::finished) {
    reply.body.reset();
    const bool large = size > gzip_bytes_min;
    reply.text = std::make_shared<const std::string>(large ? gzip(begun) : std::move(begun));
    return large;
  }
  reply.body = std::make_unique<GzipBody>(std::move(reply.body), std::move(begun));
  return true;
}

GzipBody::GzipBody(std::unique_ptr<Body> body, std::string begun)
    : body_(std::move(body)), piece_(std::move(begun)) {
  begin(stream_);
}

GzipBody::~GzipBody() { deflateEnd(&stream_); }

Body::Next GzipBody::next(std::string& out) {
  while (out.empty() && body_ != nullptr) {
    bool last = false;
    if (piece_.empty()) {
      piece_.resize(piece_bytes);
      const http2::BodyResult result =
          body_->produce({reinterpret_cast<std::uint8_t*>(piece_.data()), piece_.size()});
      piece_.resize(result.bytes);
      last = result.status == http2::BodyStatus::finished;
    }
    deflate_to(stream_, piece_, last, out);
    piece_.clear();
    if (last) body_.reset();
  }
  return out.empty() ? Next::end : Next::piece;
}

Body::Next GzipWatchBody::next(std::string& out) {
  if (ended_) return Next::end;
  std::string text(piece_bytes, '\0');
  const http2::BodyResult result =
      body_->produce({reinterpret_cast<std::uint8_t*>(text.data()), text.size()});
  text.resize(result.bytes);
  ended_ = result.status == http2::BodyStatus::finished;
  if (text.empty()) return ended_ ? Next::end : Next::wait;
  out = gzip(text);
  return Next::piece;
}

}  // namespace sluice::apisim
