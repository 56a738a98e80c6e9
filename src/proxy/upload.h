// SPDX-License-Identifier: GPL-3.0-or-later
// The body of a request: on its way to a backend, and of no more use once the answer is complete.
#pragma once

#include "body_flow.h"
#include "sluice/http/body.h"
#include "sluice/proxy/proxy.h"

namespace sluice::proxy {

class Upload {
 public:
  // A client that still uploads has this long, and may send this much, to end its direction behind
  // a complete answer: one that finds RST_STREAM together with the answer may drop both (curl
  // 7.88).
  static constexpr Duration end_wait = std::chrono::milliseconds(100);
  static constexpr std::uint64_t end_bytes = 64 * 1024;

  // Both outlive this.
  Upload(BlockPool& blocks, Budget& budget) : body_(blocks, budget) {}

  // For a new exchange, whose request's head is here.
  void begin(const ProxyOptions& options, Instant now);

  void append(Bytes bytes, Instant now);
  void complete(Instant now);
  bool is_complete() const { return complete_; }
  // It breaks a rule of HTTP (its length, say): its backend never sees the end of it.
  void break_off() { broken_ = true; }
  bool is_broken() const { return broken_; }
  // Of a tunnel: its end was said.
  bool is_in_order() const { return in_order_; }
  // All of it has left; what comes now is a tunnel's, and its sender is granted no more than
  // before.
  void begin_tunnel();
  // The last byte was that. `in_order`: its sender has said so.
  void end_tunnel(bool in_order, Instant now);
  // When the last byte of the request arrived, its head's included.
  Instant last_byte() const { return last_byte_; }
  // There is a body, or there may be one.
  bool may_have_body() const { return !complete_ || !body_.empty(); }

  // What the backend gets, and what the client is due for it.
  struct Step {
    http::BodyResult sent;
    std::size_t credit = 0;
    std::uint32_t window = 0;  // from now on; 0: as before
  };
  Step pull(MutableBytes room, Instant now);

  // All of the answer is on its way: what comes now is counted anew.
  void answer_is_out() { unwanted_bytes_ = 0; }
  // Bytes that nobody wants any more; false when they are more than should be waited for.
  bool ignore(std::size_t bytes, Instant now);

  BodyFlow& body() { return body_; }
  const BodyFlow& body() const { return body_; }

 private:
  BodyFlow body_;
  bool complete_ = false;
  bool broken_ = false;
  bool tunnel_ = false;
  bool in_order_ = true;
  Instant last_byte_{};
  std::uint64_t unwanted_bytes_ = 0;
};

}  // namespace sluice::proxy
