// SPDX-License-Identifier: GPL-3.0-or-later
// The body of a request.
#include "upload.h"

#include "sluice/base/check.h"

namespace sluice::proxy {

void Upload::begin(const ProxyOptions& options, Instant now) {
  CHECK_EQ(body_.pending(), std::size_t{0});
  body_.begin(options.stream_window_bytes, options.stream_window_bytes_max, now);
  complete_ = broken_ = tunnel_ = false;
  in_order_ = true;
  last_byte_ = now;
  unwanted_bytes_ = 0;
}

void Upload::append(Bytes bytes, Instant now) {
  DCHECK(!complete_);
  last_byte_ = now;
  body_.append(bytes);
}

void Upload::complete(Instant now) {
  complete_ = true;
  last_byte_ = now;
}

void Upload::begin_tunnel() {
  CHECK(complete_);
  CHECK_EQ(body_.pending(), std::size_t{0});
  body_.release();
  complete_ = false;
  tunnel_ = true;
}

void Upload::end_tunnel(bool in_order, Instant now) {
  DCHECK(tunnel_);
  in_order_ = in_order;
  complete(now);
}

Upload::Step Upload::pull(MutableBytes room, Instant now) {
  const BodyFlow::Pulled pulled = body_.pull(room);
  const bool grows = pulled.credit > 0 && !complete_ && !tunnel_;
  const std::uint32_t window = grows ? body_.grow_window(now) : 0;
  const bool over = complete_ && !broken_ && body_.pending() == 0;
  const http::BodyStatus end = in_order_ ? http::BodyStatus::finished : http::BodyStatus::cut;
  return {.sent = {pulled.bytes, over ? end : http::BodyStatus::more},
          .credit = pulled.credit,
          .window = window};
}

bool Upload::ignore(std::size_t bytes, Instant now) {
  DCHECK(!complete_);
  last_byte_ = now;
  unwanted_bytes_ += bytes;
  return unwanted_bytes_ <= end_bytes;
}

}  // namespace sluice::proxy
