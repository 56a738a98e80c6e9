// SPDX-License-Identifier: GPL-3.0-or-later
// The budgets alone.
#include "http2/abuse_limits.h"

#include <gtest/gtest.h>

namespace sluice::http2 {
namespace {

constexpr Instant start{};
constexpr Duration young = std::chrono::milliseconds(999);
constexpr Duration old = std::chrono::seconds(1);

FrameHeader frame(FrameType type, std::uint32_t length = 8, std::uint8_t flags = 0) {
  return {length, type, flags, 1};
}

TEST(TokenBucketTest, GivesItsBurstThenItsRate) {
  TokenBucket bucket(3, 2, start);
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(bucket.take(start));
  EXPECT_FALSE(bucket.take(start));
  EXPECT_FALSE(bucket.take(start + std::chrono::milliseconds(400)));
  EXPECT_TRUE(bucket.take(start + std::chrono::milliseconds(500)));
  EXPECT_FALSE(bucket.take(start + std::chrono::milliseconds(500)));
}

TEST(TokenBucketTest, NeverHoldsMoreThanItsBurst) {
  TokenBucket bucket(3, 2, start);
  const Instant later = start + std::chrono::hours(1);
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(bucket.take(later));
  EXPECT_FALSE(bucket.take(later));
}

TEST(TokenBucketTest, ATimeInThePastGivesNothing) {
  TokenBucket bucket(1, 1000, start + std::chrono::seconds(10));
  EXPECT_TRUE(bucket.take(start + std::chrono::seconds(10)));
  EXPECT_FALSE(bucket.take(start));
}

TEST(AbuseLimitsTest, OnlyPrematureResetsCost) {
  SessionOptions options;
  options.resets_burst = 1;
  AbuseLimits limits(options, start);
  for (int i = 0; i < 100; ++i) {
    EXPECT_TRUE(limits.on_reset_received(old, false, start));
    EXPECT_TRUE(limits.on_reset_received(young, true, start));
  }
  EXPECT_TRUE(limits.on_reset_received(young, false, start));
  EXPECT_FALSE(limits.on_reset_received(young, false, start));
  EXPECT_EQ(limits.exceeded(), AbuseKind::resets);
}

TEST(AbuseLimitsTest, ResetsAndStreamErrorsShareOneBudget) {
  SessionOptions options;
  options.resets_burst = 2;
  AbuseLimits limits(options, start);
  EXPECT_TRUE(limits.on_stream_error(start));
  EXPECT_TRUE(limits.on_reset_received(young, false, start));
  EXPECT_FALSE(limits.on_stream_error(start));
}

TEST(AbuseLimitsTest, ABackendsResetsAreOurOwnRequests) {
  SessionOptions options;
  options.server = false;
  options.resets_burst = 1;
  AbuseLimits limits(options, start);
  for (int i = 0; i < 100; ++i) {
    EXPECT_TRUE(limits.on_reset_received(young, false, start));
    EXPECT_TRUE(limits.on_stream_error(start));
    EXPECT_TRUE(limits.on_late_reset_received(start));
  }
}

TEST(AbuseLimitsTest, ALateResetIsFreeOncePerFinishedStream) {
  SessionOptions options;
  options.resets_burst = 1;
  AbuseLimits limits(options, start);
  limits.on_stream_finished();
  limits.on_stream_finished();
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(limits.on_late_reset_received(start));
  EXPECT_FALSE(limits.on_late_reset_received(start));
}

TEST(AbuseLimitsTest, FramesThatCarrySomethingAreFree) {
  SessionOptions options;
  options.control_frames_burst = 1;
  options.control_frames_per_second = 0;
  AbuseLimits limits(options, start);
  for (int i = 0; i < 1000; ++i) {
    EXPECT_TRUE(limits.on_frame(frame(FrameType::headers), start));
    EXPECT_TRUE(limits.on_frame(frame(FrameType::data), start));
    EXPECT_TRUE(limits.on_frame(frame(FrameType::data, 0, frame_flag::end_stream), start));
    EXPECT_TRUE(limits.on_frame(frame(FrameType::continuation, 10), start));
    EXPECT_TRUE(limits.on_frame(frame(FrameType::rst_stream), start));
  }
  EXPECT_EQ(limits.exceeded(), AbuseKind::none);
}

// Whoever pads before an API server does so for everybody on the connection; frames that are all
// padding are a flood all the same.
TEST(AbuseLimitsTest, PaddedDataOfABackendIsFree) {
  for (const bool server : {false, true}) {
    SessionOptions options;
    options.server = server;
    options.control_frames_burst = 10;
    options.control_frames_per_second = 0;
    AbuseLimits limits(options, start);
    const auto padded = [&](std::uint32_t length) {
      return limits.on_frame(frame(FrameType::data, length, frame_flag::padded), start);
    };
    for (int i = 0; i < 10; ++i) EXPECT_TRUE(padded(1000));
    EXPECT_EQ(padded(1000), !server);
    for (int i = 0; i < 10; ++i) EXPECT_EQ(padded(256), !server);
    EXPECT_FALSE(padded(256));
    EXPECT_EQ(limits.exceeded(), AbuseKind::control_frames);
  }
}

TEST(AbuseLimitsTest, HeaderBlocksAreBoundedInBytes) {
  SessionOptions options;
  for (const std::uint32_t list_bytes : {100'000U, 4U * 1024 * 1024}) {
    options.header_list_bytes_max = list_bytes;
    AbuseLimits limits(options, start);
    EXPECT_TRUE(limits.on_frame(frame(FrameType::headers, 16384), start));
    int continuations = 0;
    while (limits.on_frame(frame(FrameType::continuation, 16384), start)) ++continuations;
    // A mebibyte, or what is accepted and something for the encoding.
    EXPECT_EQ(continuations, list_bytes == 100'000 ? 63 : 256 + 4 - 1);
    EXPECT_EQ(limits.exceeded(), AbuseKind::header_block);
  }
}

TEST(AbuseLimitsTest, WindowUpdatesAreEarnedByData) {
  SessionOptions options;
  options.control_frames_burst = 1;
  options.control_frames_per_second = 0;
  AbuseLimits limits(options, start);
  const auto count = [&] {
    int n = 0;
    for (AbuseLimits probe = limits; probe.on_frame(frame(FrameType::window_update, 4), start);)
      ++n;
    return n;
  };
  const int at_start = count();
  limits.on_data_sent(16 * 1024, false);
  EXPECT_EQ(count(), at_start + 2 + 16);
  limits.on_data_sent(1, true);  // the peer's window allowed one byte
  EXPECT_EQ(count(), at_start + 2 + 16);
  limits.on_data_sent(1, false);  // there was only one byte
  EXPECT_EQ(count(), at_start + 2 + 16 + 2);
}

TEST(AbuseLimitsTest, AnswersAreFreeOncePerQuestion) {
  SessionOptions options;
  options.control_frames_burst = 0;
  AbuseLimits limits(options, start);
  EXPECT_TRUE(limits.on_frame(frame(FrameType::settings, 0, frame_flag::ack), start));
  limits.on_ping_sent();
  EXPECT_TRUE(limits.on_frame(frame(FrameType::ping, 8, frame_flag::ack), start));
  EXPECT_FALSE(limits.on_frame(frame(FrameType::ping, 8, frame_flag::ack), start));
}

TEST(AbuseLimitsTest, TheFirstBreachNamesTheReason) {
  SessionOptions options;
  options.control_frames_burst = 0;
  options.resets_burst = 0;
  AbuseLimits limits(options, start);
  EXPECT_FALSE(limits.on_frame(frame(FrameType::ping), start));
  EXPECT_FALSE(limits.on_stream_error(start));
  EXPECT_EQ(limits.exceeded(), AbuseKind::control_frames);
}

}  // namespace
}  // namespace sluice::http2
