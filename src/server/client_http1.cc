// SPDX-License-Identifier: GPL-3.0-or-later
// HTTP/1.1 is told what is spoken here.
#include "client_http1.h"

#include <algorithm>
#include <cstring>

#include "outline.h"
#include "sluice/kubernetes/status.h"

namespace sluice::server {

Result<void> ClientHttp1::receive(Bytes, Instant) {
  if (answered_) return {};
  answered_ = true;
  cells_.add(metrics_.http1_refused);
  const std::string body = kubernetes::status_json(
      {.code = 505,
       .message = "this gateway serves HTTP/2 only: HTTP/1.1, and with it exec, attach and "
                  "port-forward, is not available through it",
       .reason = {}});
  answer_ =
      "HTTP/1.1 505 HTTP Version Not Supported\r\nContent-Type: application/json\r\n"
      "Content-Length: " +
      std::to_string(body.size()) + "\r\nConnection: close\r\n\r\n" + body;
  return {};
}

std::size_t ClientHttp1::collect(MutableBytes batch) {
  const std::size_t n = std::min(batch.size(), answer_.size());
  std::memcpy(batch.data(), answer_.data(), n);
  answer_.erase(0, n);
  return n;
}

void ClientHttp1::describe(Outline& outline) const {
  outline.add(2, answered_ ? "http1 refused" : "http1");
}

}  // namespace sluice::server
