// SPDX-License-Identifier: GPL-3.0-or-later
// A request's body: when it is over, what its client is due for it, and what nobody waits for.
#include "upload.h"

#include <gtest/gtest.h>

#include <string>

namespace sluice::proxy {
namespace {

using namespace std::chrono_literals;

class UploadUnitTest : public testing::Test {
 protected:
  UploadUnitTest() { upload.begin(options, start); }
  ~UploadUnitTest() override { upload.body().end(); }

  void append(std::size_t bytes, Instant now = start) {
    upload.append(as_bytes(std::string(bytes, 'u')), now);
  }
  Upload::Step pull(std::size_t most) {
    std::string room(most, '\0');
    return upload.pull({reinterpret_cast<std::uint8_t*>(room.data()), room.size()}, start);
  }

  static constexpr Instant start{1s};
  ProxyOptions options;
  BlockPool blocks{4096};
  Budget budget{
      {.bytes_max = 100'000'000, .client_bytes_max = 100'000'000, .replay_bytes_max = 10'000}};
  Upload upload{blocks, budget};
};

TEST_F(UploadUnitTest, IsFinishedWithItsLastByteAndNotBeforeItIsComplete) {
  append(100);
  EXPECT_EQ(pull(1000).sent.status, http::BodyStatus::more);
  append(50);
  upload.complete(start);
  EXPECT_EQ(pull(20).sent.status, http::BodyStatus::more);
  const Upload::Step last = pull(1000);
  EXPECT_EQ(last.sent.bytes, 30U);
  EXPECT_EQ(last.credit, 30U);
  EXPECT_EQ(last.sent.status, http::BodyStatus::finished);
}

TEST_F(UploadUnitTest, OneThatBrokeARuleIsNeverFinished) {
  append(10);
  upload.break_off();
  upload.complete(start);
  EXPECT_EQ(pull(1000).sent.status, http::BodyStatus::more);
  EXPECT_EQ(pull(1000).sent.status, http::BodyStatus::more);
  EXPECT_TRUE(upload.is_complete());  // its client says no more
  upload.body().end();
  upload.begin(options, start);
  upload.complete(start);
  EXPECT_EQ(pull(1000).sent.status, http::BodyStatus::finished);
}

TEST_F(UploadUnitTest, MayHaveABodyUntilItIsKnownToHaveNone) {
  EXPECT_TRUE(upload.may_have_body());
  upload.complete(start);
  EXPECT_FALSE(upload.may_have_body());
  upload.begin(options, start);
  append(1);
  upload.complete(start);
  EXPECT_TRUE(upload.may_have_body());
}

TEST_F(UploadUnitTest, ItsLastByteIsWhateverCameLast) {
  EXPECT_EQ(upload.last_byte(), start);
  append(1, start + 1s);
  EXPECT_EQ(upload.last_byte(), start + 1s);
  upload.ignore(1, start + 2s);
  EXPECT_EQ(upload.last_byte(), start + 2s);
  upload.complete(start + 3s);
  EXPECT_EQ(upload.last_byte(), start + 3s);
}

TEST_F(UploadUnitTest, AWindowGrowsOnlyWhileMoreMayCome) {
  std::uint32_t window = 0;
  for (int i = 0; i < 40 && window == 0; ++i) {
    append(50'000);
    window = pull(50'000).window;
  }
  EXPECT_GT(window, options.stream_window_bytes);
  append(1'000'000);
  upload.complete(start);
  EXPECT_EQ(pull(1'000'000).window, 0U);
}

TEST_F(UploadUnitTest, WhatNobodyWantsIsWaitedForUpToABound) {
  EXPECT_TRUE(upload.ignore(Upload::end_bytes, start));
  EXPECT_FALSE(upload.ignore(1, start));
  upload.answer_is_out();
  EXPECT_TRUE(upload.ignore(Upload::end_bytes, start));
  EXPECT_FALSE(upload.ignore(1, start));
}

}  // namespace
}  // namespace sluice::proxy
