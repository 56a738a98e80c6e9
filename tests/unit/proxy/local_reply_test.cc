// SPDX-License-Identifier: GPL-3.0-or-later
// Which answer a client gets when no backend gave one.
#include "sluice/proxy/local_reply.h"

#include <gtest/gtest.h>

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

TEST(LocalReplyTest, ATimeoutIs504) {
  EXPECT_EQ(unanswered(RequestClass::short_write, ReplyReason::timeout, Retry::never).head.status,
            504);
  EXPECT_EQ(unanswered(RequestClass::short_read, ReplyReason::timeout, Retry::never).head.status,
            504);
}

TEST(LocalReplyTest, TheBodyIsAStatusOfTheDeclaredLength) {
  const LocalReply reply = make_local_reply(401, "Unauthorized", 0);
  EXPECT_EQ(reply.head.fields.find("content-length"), std::to_string(reply.body.size()));
  EXPECT_NE(reply.body.find(R"("kind":"Status")"), std::string::npos);
  EXPECT_NE(reply.body.find(R"("reason":"Unauthorized")"), std::string::npos);
}

}  // namespace
}  // namespace sluice::proxy
