// SPDX-License-Identifier: GPL-3.0-or-later
// An answer: what is kept of it, what replaces it, and whether its client takes it.
#include "answer.h"

#include <gtest/gtest.h>

#include <string>

namespace sluice::proxy {
namespace {

using namespace std::chrono_literals;

class AnswerTest : public testing::Test {
 protected:
  AnswerTest() { answer.begin(options, start); }
  ~AnswerTest() override { answer.body().end(); }

  static http::ResponseHead head(int status) {
    http::ResponseHead head;
    head.status = status;
    return head;
  }
  void append(std::string_view bytes) { answer.body().append(as_bytes(bytes)); }
  void take(std::size_t bytes) {
    std::string room(bytes, '\0');
    answer.body().pull({reinterpret_cast<std::uint8_t*>(room.data()), room.size()});
  }
  bool stands_still(Instant now) { return answer.stands_still(true, now, timeout); }

  static constexpr Instant start{1s};
  static constexpr Duration timeout = 60s;
  ProxyOptions options;
  BlockPool blocks{4};
  Budget budget{
      {.bytes_max = 100'000'000, .client_bytes_max = 100'000'000, .replay_bytes_max = 10'000}};
  Answer answer{blocks, budget};
};

TEST_F(AnswerTest, OurReplyTakesThePlaceOfWhatCame) {
  answer.take_head(head(429), false);
  append("half of something");
  answer.become({head(503), "ours"}, false);
  EXPECT_EQ(answer.head().status, 503);
  EXPECT_EQ(answer.body().peek(), "ours");
  EXPECT_FALSE(answer.head_only());
}

TEST_F(AnswerTest, OurReplyToAHeadRequestHasNoBody) {
  answer.become({head(503), "ours"}, true);
  EXPECT_TRUE(answer.head_only());
  EXPECT_EQ(answer.body().pending(), 0U);
}

TEST_F(AnswerTest, NothingIsLeftOfABackendThatIsLeft) {
  answer.take_head(head(429), false);
  append("half of something");
  answer.forget();
  EXPECT_EQ(answer.head().status, 0);
  EXPECT_EQ(answer.body().pending(), 0U);
}

TEST_F(AnswerTest, TrailersAreThereOrNull) {
  EXPECT_EQ(answer.trailers(), nullptr);
  http::Fields trailers;
  trailers.add("grpc-status", "0");
  answer.take_trailers(std::move(trailers));
  ASSERT_NE(answer.trailers(), nullptr);
  EXPECT_EQ(answer.trailers()->find("grpc-status"), "0");
  answer.begin(options, start);
  EXPECT_EQ(answer.trailers(), nullptr);
}

TEST_F(AnswerTest, InterimHeadsHaveABoundOfTheirOwn) {
  std::size_t taken = 0;
  while (taken < 1000 && answer.take_interim(head(103))) ++taken;
  EXPECT_EQ(taken, Answer::interim_bytes_max / Answer::interim_overhead);
  answer.begin(options, start);
  EXPECT_TRUE(answer.take_interim(head(103)));
}

TEST_F(AnswerTest, StandsStillWhenItsClientTakesTooLittleForTooLong) {
  append(std::string(10'000, 'x'));
  EXPECT_FALSE(stands_still(start));
  take(Answer::progress_bytes_min - 1);
  EXPECT_FALSE(stands_still(start + timeout - 1s));
  EXPECT_TRUE(stands_still(start + timeout));
  take(1);
  EXPECT_FALSE(stands_still(start + timeout));
  EXPECT_FALSE(stands_still(start + timeout + timeout - 1s));
  EXPECT_TRUE(stands_still(start + timeout + timeout));
}

TEST_F(AnswerTest, WhatDoesNotWaitForItsClientDoesNotStandStill) {
  EXPECT_FALSE(stands_still(start + timeout));
  append("held back by us");
  EXPECT_FALSE(answer.stands_still(false, start + 2 * timeout, timeout));
  EXPECT_FALSE(stands_still(start + 3 * timeout - 1s)) << "its time has only begun";
  EXPECT_TRUE(stands_still(start + 3 * timeout));
}

TEST_F(AnswerTest, TheTrailersOfWhatWasLeftAreNobodyElses) {
  http::Fields trailers;
  trailers.add("x-checksum", "1");
  const auto with_trailers = [&] {
    http::Fields copy = trailers;
    answer.take_trailers(std::move(copy));
    EXPECT_NE(answer.trailers(), nullptr);
  };
  with_trailers();
  answer.forget();
  EXPECT_EQ(answer.trailers(), nullptr);
  with_trailers();
  answer.become(make_local_reply(503, "later", 1), false);
  EXPECT_EQ(answer.trailers(), nullptr);
  answer.body().end();
}

}  // namespace
}  // namespace sluice::proxy
