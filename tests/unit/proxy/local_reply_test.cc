// SPDX-License-Identifier: GPL-3.0-or-later
// Which answer a client gets when no backend gave one.
#include "sluice/proxy/local_reply.h"

#include <gtest/gtest.h>

#include <array>

namespace sluice::proxy {
namespace {

using kubernetes::RequestClass;

LocalReply unanswered(RequestClass request_class, ReplyReason reason, Retry retry) {
  Random random(1);
  return make_unanswered_reply(request_class, reason, retry, "why", random);
}

TEST(LocalReplyTest, AWatchThatCannotStartGets429WithRetryAfter) {
  for (const RequestClass c : {RequestClass::watch, RequestClass::watch_list, RequestClass::list}) {
    for (const Retry retry : {Retry::never, Retry::idempotent, Retry::not_executed}) {
      const LocalReply reply = unanswered(c, ReplyReason::backend_lost, retry);
      EXPECT_EQ(reply.head.status, 429);
      EXPECT_TRUE(reply.head.fields.contains("retry-after"));
    }
  }
}

TEST(LocalReplyTest, RetryAfterNeverAccompaniesAWriteOfUnknownOutcome) {
  for (const ReplyReason reason :
       {ReplyReason::backend_lost, ReplyReason::backend_reset, ReplyReason::timeout}) {
    for (const Retry retry : {Retry::never, Retry::idempotent}) {
      const LocalReply reply = unanswered(RequestClass::short_write, reason, retry);
      EXPECT_GE(reply.head.status, 502);
      EXPECT_FALSE(reply.head.fields.contains("retry-after"));
      EXPECT_EQ(reply.body.find("retryAfterSeconds"), std::string::npos);
    }
  }
}

TEST(LocalReplyTest, AWriteThatWasSurelyNotExecutedMayBeRepeated) {
  const LocalReply reply =
      unanswered(RequestClass::short_write, ReplyReason::no_backend, Retry::not_executed);
  EXPECT_EQ(reply.head.status, 503);
  EXPECT_TRUE(reply.head.fields.contains("retry-after"));
}

constexpr std::array every_class = {RequestClass::short_read, RequestClass::short_write,
                                    RequestClass::list,       RequestClass::watch,
                                    RequestClass::watch_list, RequestClass::long_running_other};

// client-go would ask ten times more for what took too long, or whose answer does not fit.
TEST(LocalReplyTest, WhatWouldCostTheSameAgainHasNoRetryAfter) {
  for (const RequestClass c : every_class) {
    for (const Retry retry : {Retry::never, Retry::idempotent, Retry::not_executed}) {
      for (const ReplyReason reason : {ReplyReason::timeout, ReplyReason::answer_too_large}) {
        const LocalReply reply = unanswered(c, reason, retry);
        EXPECT_EQ(reply.head.status, reason == ReplyReason::timeout ? 504 : 502);
        EXPECT_FALSE(reply.head.fields.contains("retry-after"));
        EXPECT_EQ(reply.body.find("retryAfterSeconds"), std::string::npos);
      }
    }
  }
}

TEST(LocalReplyTest, AReadWhoseConnectionWasLostMayBeRepeatedAndOneThatWasResetMayNot) {
  for (const RequestClass c : {RequestClass::list, RequestClass::short_read}) {
    const LocalReply lost = unanswered(c, ReplyReason::backend_lost, Retry::idempotent);
    EXPECT_EQ(lost.head.status, c == RequestClass::list ? 429 : 503);
    EXPECT_TRUE(lost.head.fields.contains("retry-after"));
    const LocalReply reset = unanswered(c, ReplyReason::backend_reset, Retry::never);
    EXPECT_EQ(reset.head.status, 502);
    EXPECT_FALSE(reset.head.fields.contains("retry-after"));
  }
}

TEST(LocalReplyTest, TheBodyIsAStatusOfTheDeclaredLength) {
  const LocalReply reply = make_local_reply(401, "Unauthorized", 0);
  EXPECT_EQ(reply.head.fields.find("content-length"), std::to_string(reply.body.size()));
  EXPECT_NE(reply.body.find(R"("kind":"Status")"), std::string::npos);
  EXPECT_NE(reply.body.find(R"("reason":"Unauthorized")"), std::string::npos);
}

TEST(LocalReply, AClientThatAsksTooMuchIsToldSoHoweverItAsks) {
  Random random(1);
  for (const kubernetes::RequestClass request_class :
       {kubernetes::RequestClass::short_read, kubernetes::RequestClass::short_write,
        kubernetes::RequestClass::watch, kubernetes::RequestClass::list,
        kubernetes::RequestClass::long_running_other}) {
    const LocalReply reply = make_unanswered_reply(request_class, ReplyReason::client_overloads,
                                                   Retry::not_executed, "too much", random);
    EXPECT_EQ(reply.head.status, 429);
    EXPECT_TRUE(reply.head.fields.contains("retry-after"));
  }
}

}  // namespace
}  // namespace sluice::proxy
