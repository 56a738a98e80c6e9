// SPDX-License-Identifier: GPL-3.0-or-later
// The budgets of one connection.
#include "http2/abuse_limits.h"

#include <algorithm>

namespace sluice::http2 {

namespace {

constexpr Duration premature_reset_age = std::chrono::seconds(1);

// An answer's head may come from behind the API server: what its Go client accepts (net/http
// Transport.MaxResponseHeaderBytes, 10 MB), and something for the encoding.
constexpr std::uint64_t backend_block_bytes_max = 16 * 1024 * 1024;

constexpr double large_heads_per_second = 2;

// Go's client returns credit every 4 KB on both levels, others after each DATA frame.
constexpr double window_updates_at_start = 16;
constexpr double window_updates_per_stream = 2;
constexpr double window_updates_per_data_frame = 2;
constexpr double window_updates_per_kilobyte = 1;
constexpr double window_updates_saved_max = 4096;
// A frame that was cut below this by the peer's own window earns nothing, else a window that is
// opened byte by byte would pay for itself.
constexpr std::size_t dribble_bytes = 512;

// RFC 9113 section 6.1: its length, and as much padding; what is longer carries data.
constexpr std::uint32_t padding_bytes_max = 256;

constexpr std::uint32_t late_resets_saved_max = 1000;

}  // namespace

std::uint64_t header_block_bytes_max(const SessionOptions& options) {
  if (!options.server) return backend_block_bytes_max;
  return std::max<std::uint64_t>(head_answered_bytes_max,
                                 std::uint64_t{options.header_list_bytes_max} + 65536);
}

bool TokenBucket::take(Instant now, double cost) {
  if (now > last_) {
    tokens_ = std::min(burst_, tokens_ + to_seconds(now - last_) * per_second_);
    last_ = now;
  }
  if (tokens_ < cost) return false;
  tokens_ -= cost;
  return true;
}

AbuseLimits::AbuseLimits(const SessionOptions& options, Instant now)
    : server_(options.server),
      block_bytes_max_(header_block_bytes_max(options)),
      resets_(options.resets_burst, options.resets_per_second, now),
      control_frames_(options.control_frames_burst, options.control_frames_per_second, now),
      large_heads_(options.large_heads_burst, large_heads_per_second, now),
      window_updates_free_(window_updates_at_start),
      answers_owed_to_us_(1) {}  // The acknowledgement of our SETTINGS.

bool AbuseLimits::fail_with(AbuseKind kind) {
  if (exceeded_ == AbuseKind::none) exceeded_ = kind;
  return false;
}

bool AbuseLimits::charge(TokenBucket& bucket, AbuseKind kind, Instant now) {
  return bucket.take(now) || fail_with(kind);
}

bool AbuseLimits::on_frame(const FrameHeader& frame, Instant now) {
  switch (frame.type) {
    case FrameType::data:
      // Empty frames move nothing, and padding has no use here (CVE-2019-9518); whoever stands
      // before an API server may pad what it sends to everybody.
      if (frame.length == 0 && !frame.has(frame_flag::end_stream)) break;
      if (frame.has(frame_flag::padded) && (server_ || frame.length <= padding_bytes_max)) break;
      return true;
    case FrameType::headers:
      block_bytes_ = frame.length;
      earn_window_updates(window_updates_per_stream);
      return true;
    case FrameType::continuation:
      block_bytes_ += frame.length;
      if (block_bytes_ > block_bytes_max_) return fail_with(AbuseKind::header_block);
      if (frame.length > 0 || frame.has(frame_flag::end_headers)) return true;
      break;
    case FrameType::rst_stream: return true;  // Judged when it is known what it resets.
    case FrameType::settings:
    case FrameType::ping:
      if (frame.has(frame_flag::ack) && answers_owed_to_us_ > 0) {
        --answers_owed_to_us_;
        return true;
      }
      break;
    case FrameType::window_update:
      if (window_updates_free_ >= 1) {
        window_updates_free_ -= 1;
        return true;
      }
      break;
    case FrameType::push_promise:
      // Clients must not send it, and we told backends so in our very first frame. The codec would
      // accept it until our SETTINGS are acknowledged.
      return fail_with(AbuseKind::protocol);
    case FrameType::priority:
      // The codec ignores these frames altogether (RFC 9113 section 6.3).
      if (frame.stream_id == 0) return fail_with(AbuseKind::protocol);
      break;
    case FrameType::goaway:
    default: break;
  }
  return charge(control_frames_, AbuseKind::control_frames, now);
}

// A backend resets streams that we opened: our own rate bounds it, and cutting the connection would
// hurt everybody on it.
bool AbuseLimits::on_reset_received(Duration stream_age, bool answered, Instant now) {
  if (!server_ || answered || stream_age >= premature_reset_age) return true;
  return charge(resets_, AbuseKind::resets, now);
}

bool AbuseLimits::on_late_reset_received(Instant now) {
  if (!server_) return true;
  if (late_resets_free_ > 0) {
    --late_resets_free_;
    return true;
  }
  return charge(resets_, AbuseKind::resets, now);
}

bool AbuseLimits::on_stream_error(Instant now) {
  return !server_ || charge(resets_, AbuseKind::resets, now);
}

bool AbuseLimits::on_head_too_large(Instant now) {
  return !server_ || charge(large_heads_, AbuseKind::header_block, now);
}

void AbuseLimits::on_data_sent(std::size_t bytes, bool window_limited) {
  if (window_limited && bytes < dribble_bytes) return;
  earn_window_updates(window_updates_per_data_frame +
                      window_updates_per_kilobyte * static_cast<double>(bytes) / 1024.0);
}

void AbuseLimits::earn_window_updates(double count) {
  window_updates_free_ = std::min(window_updates_saved_max, window_updates_free_ + count);
}

void AbuseLimits::on_stream_finished() {
  late_resets_free_ = std::min(late_resets_saved_max, late_resets_free_ + 1);
}

}  // namespace sluice::http2
