// SPDX-License-Identifier: GPL-3.0-or-later
// What the end of a backend's stream means, for each cause.
#include "stream_failure.h"

#include <gtest/gtest.h>

#include <map>
#include <set>
#include <string>

namespace sluice::proxy {
namespace {

using Cause = backend::StreamEnd::Cause;
using observability::EndedBy;

const std::map<Cause, ReplyReason> reasons{
    {Cause::reset, ReplyReason::backend_reset},
    {Cause::too_large, ReplyReason::answer_too_large},
    {Cause::refused, ReplyReason::backend_refused},
    {Cause::connection_lost, ReplyReason::backend_lost},
    {Cause::not_connected, ReplyReason::no_backend},
    {Cause::no_place, ReplyReason::no_place},
};

StreamFailure failure(Cause cause, Retry retry = Retry::never) {
  return explain({cause, retry, "somewhere"});
}

TEST(StreamFailureTest, EachCauseHasItsReasonAndItsSentence) {
  std::set<std::string_view> sentences;
  for (const auto& [cause, reason] : reasons) {
    EXPECT_EQ(failure(cause).reason, reason) << to_string(cause);
    EXPECT_TRUE(failure(cause).message.contains("the API server")) << failure(cause).message;
    sentences.insert(failure(cause).message);
  }
  EXPECT_EQ(sentences.size(), reasons.size());
}

TEST(StreamFailureTest, OneThatBreaksALimitNamesTheOptions) {
  EXPECT_TRUE(failure(Cause::too_large).message.contains("--response-head-bytes-max"));
}

TEST(StreamFailureTest, AnAnswerIsCutByItsStreamOrByTheLossOfItsConnection) {
  for (const auto& [cause, reason] : reasons) {
    const bool stream = cause == Cause::reset || cause == Cause::too_large;
    EXPECT_EQ(failure(cause).ended_by, stream ? EndedBy::backend_reset : EndedBy::backend_lost)
        << to_string(cause);
  }
}

TEST(StreamFailureTest, AReplayIsCountedByWhatIsKnownOfTheExecution) {
  EXPECT_EQ(failure(Cause::connection_lost, Retry::not_executed).replay, ReplayCause::not_executed);
  EXPECT_EQ(failure(Cause::refused, Retry::not_executed).replay, ReplayCause::not_executed);
  EXPECT_EQ(failure(Cause::connection_lost, Retry::idempotent).replay,
            ReplayCause::lost_before_answer);
}

}  // namespace
}  // namespace sluice::proxy
