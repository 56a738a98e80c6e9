// SPDX-License-Identifier: GPL-3.0-or-later
// The answer to a request.
#include "answer.h"

#include <utility>

#include "sluice/base/check.h"

namespace sluice::proxy {

void Answer::begin(const ProxyOptions& options, Instant now) {
  CHECK_EQ(body_.pending(), std::size_t{0});
  head_.clear();
  trailers_.clear();
  body_.begin(options.stream_window_bytes, options.stream_window_bytes_max, now);
  head_only_ = false;
  interim_bytes_ = 0;
  progress_bytes_ = 0;
  progress_at_ = now;
}

void Answer::forget() {
  DCHECK(body_.passed() == 0);
  head_.clear();
  trailers_.clear();
  body_.drop();
}

void Answer::become(LocalReply&& reply, bool head_only) {
  DCHECK(body_.passed() == 0);
  head_ = std::move(reply.head);
  trailers_.clear();
  head_only_ = head_only;
  body_.drop();
  if (!head_only) body_.append(as_bytes(reply.body));
}

void Answer::forget_head(std::size_t audit_id_bytes_max) {
  head_.fields.keep_only("audit-id", audit_id_bytes_max);
}

bool Answer::take_interim(const http::ResponseHead& head) {
  CHECK_LT(head.status, 200);
  interim_bytes_ += head.fields.list_bytes() + interim_overhead;
  return interim_bytes_ <= interim_bytes_max;
}

void Answer::take_head(http::ResponseHead&& head, bool end_of_stream) {
  CHECK(head.status >= 200 || head.status == 101);
  head_ = std::move(head);
  head_only_ = end_of_stream;
}

bool Answer::stands_still(bool forwarded, Instant now, Duration timeout) {
  CHECK_GE(body_.passed(), progress_bytes_);
  const bool waits_for_client = forwarded && body_.pending() > 0;
  if (!waits_for_client || body_.passed() - progress_bytes_ >= progress_bytes_min) {
    progress_bytes_ = body_.passed();
    progress_at_ = now;
    return false;
  }
  return now - progress_at_ >= timeout;
}

}  // namespace sluice::proxy
