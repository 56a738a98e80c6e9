// SPDX-License-Identifier: GPL-3.0-or-later
// What a peer may do to us before we end its connection: token buckets, fed by the session, with
// the time as an argument. Judges only frames that cost us more than they cost the peer; honest
// clients stay far below (a controller that cancels a thousand watches at once costs nothing here).
#pragma once

#include <cstddef>
#include <cstdint>

#include "http2/frame_scanner.h"
#include "sluice/base/time.h"
#include "sluice/http2/session.h"

namespace sluice::http2 {

// How many bytes a header block may have on the wire. Above it the connection ends. A client's may
// be somewhat larger than what is accepted, to be decoded to its end and answered with 431; a
// backend's connection is shared, so that a head which is too large must cost its stream alone.
std::uint64_t header_block_bytes_max(const SessionOptions& options);

class TokenBucket {
 public:
  TokenBucket(double burst, double per_second, Instant now)
      : burst_(burst), per_second_(per_second), tokens_(burst), last_(now) {}

  // False when fewer than `cost` tokens are left; nothing is taken then.
  bool take(Instant now, double cost = 1.0);

 private:
  double burst_;
  double per_second_;
  double tokens_;
  Instant last_;
};

class AbuseLimits {
 public:
  AbuseLimits(const SessionOptions& options, Instant now);

  // Each returns false when a budget is exceeded; exceeded() says which from then on.

  // Any frame of the peer, before it is processed.
  bool on_frame(const FrameHeader& frame, Instant now);
  // RST_STREAM for a stream that is open. Free when the stream has lived for a second or our answer
  // has begun: then it has done what a stream is for (CVE-2023-44487 resets at once).
  bool on_reset_received(Duration stream_age, bool answered, Instant now);
  // RST_STREAM for a stream that has ended; it may have crossed our END_STREAM.
  bool on_late_reset_received(Instant now);
  // The peer made us reset a stream (CVE-2025-8671).
  bool on_stream_error(Instant now);
  // A head that broke a limit: decoding it was work for nothing.
  bool on_head_too_large(Instant now);

  // What the peer earns: WINDOW_UPDATEs for DATA that we sent, PING answers for PINGs.
  void on_data_sent(std::size_t bytes, bool window_limited);
  void on_ping_sent() { ++answers_owed_to_us_; }
  void on_stream_finished();

  AbuseKind exceeded() const { return exceeded_; }

 private:
  bool charge(TokenBucket& bucket, AbuseKind kind, Instant now);
  bool fail_with(AbuseKind kind);
  void earn_window_updates(double count);

  const bool server_;
  const std::uint64_t block_bytes_max_;
  TokenBucket resets_;
  TokenBucket control_frames_;
  TokenBucket large_heads_;
  double window_updates_free_;
  std::uint32_t late_resets_free_ = 0;
  std::uint32_t answers_owed_to_us_;
  std::uint64_t block_bytes_ = 0;
  AbuseKind exceeded_ = AbuseKind::none;
};

}  // namespace sluice::http2
