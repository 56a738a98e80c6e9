// SPDX-License-Identifier: GPL-3.0-or-later
// What each completion says about its operation.
#include "completion_rules.h"

#include <gtest/gtest.h>

#include <array>
#include <cerrno>
#include <vector>

namespace sluice::io {
namespace {

using Kind = OperationKind;

constexpr std::array all_kinds = {Kind::accept, Kind::receive, Kind::receive_once,
                                  Kind::send,   Kind::connect, Kind::poll};

TEST(CompletionRulesTest, MeanTheSameInEveryRow) {
  struct Row {
    Kind kind;
    std::int32_t result;
    Verdict verdict;  // without MORE, not cancelled
  };
  const std::vector<Row> table = {
      {Kind::accept, 7, Verdict::deliver_and_rearm},
      {Kind::accept, 0, Verdict::deliver_and_rearm},
      {Kind::accept, -EMFILE, Verdict::deliver_last},
      {Kind::accept, -ENFILE, Verdict::deliver_last},
      {Kind::accept, -ENOMEM, Verdict::deliver_last},
      {Kind::accept, -EINVAL, Verdict::deliver_last},
      {Kind::accept, -EAGAIN, Verdict::rearm},
      {Kind::accept, -EINTR, Verdict::rearm},
      {Kind::accept, -ECONNABORTED, Verdict::rearm},
      {Kind::accept, -EPROTO, Verdict::rearm},
      {Kind::receive, 100, Verdict::deliver_and_rearm},
      {Kind::receive, 0, Verdict::deliver_last},
      {Kind::receive, -ENOBUFS, Verdict::starved},
      {Kind::receive, -EAGAIN, Verdict::rearm},
      {Kind::receive, -EINTR, Verdict::rearm},
      {Kind::receive, -ECONNRESET, Verdict::deliver_last},
      {Kind::receive, -ECANCELED, Verdict::deliver_last},
      {Kind::receive_once, 100, Verdict::deliver_last},
      {Kind::receive_once, 0, Verdict::deliver_last},
      {Kind::receive_once, -ENOBUFS, Verdict::starved},
      {Kind::receive_once, -EAGAIN, Verdict::rearm},
      {Kind::receive_once, -ECONNRESET, Verdict::deliver_last},
      {Kind::send, 100, Verdict::deliver_last},
      {Kind::send, -EAGAIN, Verdict::rearm},
      {Kind::send, -EINTR, Verdict::rearm},
      {Kind::send, -EPIPE, Verdict::deliver_last},
      {Kind::send, -ENOBUFS, Verdict::deliver_last},
      {Kind::connect, 0, Verdict::deliver_last},
      {Kind::connect, -ECONNREFUSED, Verdict::deliver_last},
      {Kind::connect, -EAGAIN, Verdict::deliver_last},
      {Kind::poll, 1, Verdict::deliver_and_rearm},
      {Kind::poll, -EINTR, Verdict::rearm},
      {Kind::poll, -EBADF, Verdict::deliver_last},
  };
  for (const Row& row : table) {
    EXPECT_EQ(judge(row.kind, row.result, false, false), row.verdict)
        << static_cast<int>(row.kind) << " " << row.result;
  }
}

TEST(CompletionRulesTest, EndNothingWhileTheKernelPromisesMore) {
  for (const Kind kind : all_kinds) {
    EXPECT_EQ(judge(kind, 1, true, false), Verdict::deliver);
    EXPECT_EQ(judge(kind, 1, true, true), Verdict::deliver);
  }
}

TEST(CompletionRulesTest, EndEverythingThatWasCancelled) {
  for (const Kind kind : all_kinds) {
    for (const std::int32_t result : {0, 5, -ENOBUFS, -EAGAIN, -ECANCELED, -EPIPE}) {
      EXPECT_EQ(judge(kind, result, false, true), Verdict::deliver_last);
    }
  }
}

TEST(CompletionRulesTest, TellTheOwnerOfACancelledOperationNoFlowControl) {
  for (const int error : {ENOBUFS, ENOENT, EAGAIN, EINTR, EALREADY, ECANCELED}) {
    EXPECT_EQ(result_after_cancel(-error), -ECANCELED);
  }
  EXPECT_EQ(result_after_cancel(17), 17);
  EXPECT_EQ(result_after_cancel(0), 0);
  EXPECT_EQ(result_after_cancel(-ECONNRESET), -ECONNRESET);
}

TEST(CompletionRulesTest, AKernelWithoutMemoryIsWaitedForButNotForEver) {
  Duration waited{};
  Duration last{};
  int refusals = 0;
  for (; const auto pause = pause_after_refusal(refusals); ++refusals) {
    EXPECT_GE(*pause, last);
    last = *pause;
    waited += last;
  }
  EXPECT_EQ(pause_after_refusal(0), Duration::zero());  // only full, most likely
  EXPECT_GE(waited, std::chrono::seconds(25));
  EXPECT_LE(waited, std::chrono::seconds(35));
  EXPECT_LE(last, std::chrono::milliseconds(200));
}

}  // namespace
}  // namespace sluice::io
