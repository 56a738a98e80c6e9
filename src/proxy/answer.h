// SPDX-License-Identifier: GPL-3.0-or-later
// The answer to a request, as far as it is known: its head, its trailers, what waits of its body,
// and whether its client takes that. A backend's, or our own.
#pragma once

#include "body_flow.h"
#include "sluice/http/message.h"
#include "sluice/proxy/local_reply.h"
#include "sluice/proxy/proxy.h"

namespace sluice::proxy {

class Answer {
 public:
  // What a client must take within --client-stall-timeout of what waits for it, in bytes.
  static constexpr std::uint64_t progress_bytes_min = 1024;
  // Interim heads (1xx) of one exchange, each counted with what it takes to queue it. They are not
  // flow-controlled: without an end they would pile up before a client that does not read.
  static constexpr std::size_t interim_bytes_max = 64 * 1024;
  static constexpr std::size_t interim_overhead = 1024;

  // Both outlive this.
  Answer(BlockPool& blocks, Budget& budget) : body_(blocks, budget) {}

  // For a new exchange; the memory of the last one's head is used again.
  void begin(const ProxyOptions& options, Instant now);
  // What came from a backend that is left.
  void forget();
  // Ours, in place of whatever came. `head_only`: the body is left out.
  void become(LocalReply&& reply, bool head_only);

  // False when there have been too many of them.
  bool take_interim(const http::ResponseHead& head);
  // A final one, or that of a tunnel.
  void take_head(http::ResponseHead&& head, bool end_of_stream);
  void take_trailers(http::Fields&& trailers) { trailers_ = std::move(trailers); }

  http::ResponseHead& head() { return head_; }
  const http::ResponseHead& head() const { return head_; }
  // Null when there are none.
  const http::Fields* trailers() const { return trailers_.empty() ? nullptr : &trailers_; }
  // END_STREAM came, or goes, with the head.
  bool head_only() const { return head_only_; }
  // The end is held back, whatever the backend's head said.
  void end_later() { head_only_ = false; }

  // Whether its client has not taken enough for so long of what waited for it. Who reads a byte now
  // and then makes no progress, either. `forwarded`: the client has been given the head. Called a
  // few times within `timeout`.
  bool stands_still(bool forwarded, Instant now, Duration timeout);

  // The client has the head: no more of it is kept than what is told of it.
  void forget_head(std::size_t audit_id_bytes_max);
  std::size_t held_bytes() const { return head_.fields.held_bytes() + trailers_.held_bytes(); }
  BodyFlow& body() { return body_; }
  const BodyFlow& body() const { return body_; }

 private:
  http::ResponseHead head_;
  http::Fields trailers_;
  BodyFlow body_;
  bool head_only_ = false;
  std::size_t interim_bytes_ = 0;
  // The last time that the client took enough.
  std::uint64_t progress_bytes_ = 0;
  Instant progress_at_{};
};

}  // namespace sluice::proxy
