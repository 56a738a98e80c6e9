// SPDX-License-Identifier: GPL-3.0-or-later
// Counts of one worker and of many, and that they always come back to nothing.
#include "sluice/balance/load_board.h"

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <barrier>
#include <limits>
#include <thread>
#include <utility>
#include <vector>

namespace sluice::balance {
namespace {

using std::chrono::hours;
using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr Instant at(Duration since) { return Instant{since}; }

double recent(const Load& load, AssignmentKind kind = AssignmentKind::brief) {
  return load.recent[static_cast<std::size_t>(kind)];
}

TEST(LoadBoardTest, CountsWorkFromTheAssignmentToTheEndOfTheLease) {
  LoadBoard board(1, 2);
  WorkerLoad worker(board, 0);
  {
    const LoadLease lease = worker.assign(1, RequestClass::list, 5);
    EXPECT_EQ(worker.view(at(milliseconds(1)))[1].work, 5u);
    EXPECT_EQ(worker.view(at(milliseconds(1)))[1].watches, 0u);
    EXPECT_EQ(board.total(1).work, 5u);
    EXPECT_EQ(board.total(0).work, 0u);
  }
  EXPECT_EQ(worker.view(at(milliseconds(1)))[1].work, 0u);
  EXPECT_EQ(board.total(1).work, 0u);
}

TEST(LoadBoardTest, KeepsASettledWatchAsAWatchWithoutWork) {
  LoadBoard board(1, 1);
  WorkerLoad worker(board, 0);
  LoadLease lease = worker.assign(0, RequestClass::watch_list, 5);
  EXPECT_EQ(board.total(0).work, 5u);
  EXPECT_EQ(board.total(0).watches, 1u);
  lease.settle();
  EXPECT_EQ(board.total(0).work, 0u);
  EXPECT_EQ(board.total(0).watches, 1u);
  lease.release();
  EXPECT_EQ(board.total(0).watches, 0u);
}

TEST(LoadBoardTest, CountsTunnelsApart) {
  LoadBoard board(2, 2);
  WorkerLoad one(board, 0);
  WorkerLoad other(board, 1);
  LoadLease first = one.assign(1, RequestClass::tunnel, 1);
  LoadLease second = other.assign(1, RequestClass::tunnel, 1);
  first.settle();
  EXPECT_EQ(board.total(1).tunnels, 2U);
  EXPECT_EQ(board.total(1).watches, 0U);
  EXPECT_EQ(board.total(1).work, 1U);
  EXPECT_EQ(one.view(Instant{})[1].tunnels, 2U);
  const LoadLease moved = std::move(second);
  EXPECT_EQ(board.total(1).tunnels, 2U);
  first.release();
  EXPECT_EQ(board.total(1).tunnels, 1U);
  EXPECT_EQ(one.view(Instant{})[1].tunnels, 1U);
}

TEST(LoadBoardTest, CorrectsAnEstimate) {
  LoadBoard board(1, 1);
  WorkerLoad worker(board, 0);
  LoadLease lease = worker.assign(0, RequestClass::list, 5);
  lease.set_work(90);
  EXPECT_EQ(worker.view(at(seconds(1)))[0].work, 90u);
  lease.set_work(2);
  EXPECT_EQ(lease.work(), 2u);
  EXPECT_EQ(worker.view(at(seconds(1)))[0].work, 2u);
}

TEST(LoadBoardTest, ANewcomerStartsWithTheMeanOfWhatOthersWereAssigned) {
  LoadBoard board(1, 4);
  WorkerLoad worker(board, 0);
  worker.view(at(seconds(1)));
  for (int i = 0; i < 30; ++i) worker.assign(0, RequestClass::read, 1).release();
  for (int i = 0; i < 10; ++i) worker.assign(1, RequestClass::read, 1).release();
  for (int i = 0; i < 50; ++i) worker.assign(3, RequestClass::read, 1).release();
  worker.assign(1, RequestClass::list, 1).release();
  const auto view = worker.view(at(seconds(1)));
  worker.join(mask_of(2), mask_of(0) | mask_of(1));
  EXPECT_DOUBLE_EQ(recent(view[2]), (recent(view[0]) + recent(view[1])) / 2);
  EXPECT_DOUBLE_EQ(recent(view[2], AssignmentKind::list),
                   recent(view[1], AssignmentKind::list) / 2);
  worker.join(mask_of(3), mask_of(0) | mask_of(1));  // it has more already
  EXPECT_GT(recent(view[3]), recent(view[0]));
  worker.join(~BackendMask{0}, 0);
  worker.join(0, ~BackendMask{0});
}

TEST(LoadBoardTest, ANewcomerGetsItsShareAndNotEveryTie) {
  LoadBoard board(1, 3);
  WorkerLoad worker(board, 0);
  Picker picker;
  Random random(1);
  Instant now = at(seconds(1));
  const auto run = [&](BackendMask usable, int requests) {
    std::array<int, 3> picks{};
    for (int i = 0; i < requests; ++i, now += milliseconds(5)) {
      const auto picked = picker.pick(worker.view(now), usable, RequestClass::read, random);
      ++picks[*picked];
      worker.assign(*picked, RequestClass::read, 1).release();
    }
    return picks;
  };
  run(0b011, 5000);
  worker.join(0b100, 0b011);
  const auto picks = run(0b111, 1800);  // of nine seconds
  for (const int count : picks) {
    EXPECT_GT(count, 1800 / 3 * 95 / 100);
    EXPECT_LT(count, 1800 / 3 * 105 / 100);
  }
}

TEST(LoadBoardTest, WhoeverHearsOfADrainTellsAllAndItIsForgottenInTime) {
  LoadBoard board(2, 3);
  WorkerLoad hears(board, 0);
  WorkerLoad other(board, 1);
  hears.view(at(seconds(10)));
  other.view(at(seconds(10)));
  EXPECT_EQ(hears.draining(), 0U);
  hears.note_drain(1, at(seconds(10)));
  EXPECT_EQ(hears.draining(), mask_of(1));
  EXPECT_EQ(board.drained_at(1), at(seconds(10)));
  EXPECT_EQ(board.drained_at(0), Instant{});
  other.view(at(seconds(10) + milliseconds(1)));
  EXPECT_EQ(other.draining(), mask_of(1));
  other.note_drain(2, at(seconds(11)));
  hears.view(at(seconds(12) - milliseconds(1)));
  EXPECT_EQ(hears.draining(), mask_of(1) | mask_of(2));
  hears.view(at(seconds(12)));
  EXPECT_EQ(hears.draining(), mask_of(2));
  hears.view(at(seconds(13)));
  EXPECT_EQ(hears.draining(), 0U);
}

TEST(LoadBoardTest, AShareIsHeededByAllWorkersAndByANewcomersBeginning) {
  LoadBoard board(2, 3);
  WorkerLoad worker(board, 1);
  EXPECT_EQ(board.share(2), Share{});
  EXPECT_EQ(worker.view(at(seconds(1)))[2].weight, 1.0F);
  EXPECT_EQ(worker.lowered(), 0U);
  board.set_share(2, {.weight = 0.25F, .why = Lowered::starting});
  EXPECT_EQ(board.share(2), (Share{.weight = 0.25F, .why = Lowered::starting}));
  EXPECT_EQ(worker.lowered(), 0U);
  for (int i = 0; i < 40; ++i) worker.assign(0, RequestClass::read, 1).release();
  const auto view = worker.view(at(seconds(1) + milliseconds(1)));
  EXPECT_EQ(view[2].weight, 0.25F);
  EXPECT_EQ(view[0].weight, 1.0F);
  EXPECT_EQ(worker.lowered(), mask_of(2));
  worker.join(mask_of(2), mask_of(0));
  EXPECT_DOUBLE_EQ(recent(view[2]), recent(view[0]) / 4);
  // There is nothing to make up for when the share grows.
  board.set_share(2, {});
  worker.view(at(seconds(2)));
  EXPECT_DOUBLE_EQ(recent(view[2]), recent(view[0]));
  EXPECT_EQ(view[2].weight, 1.0F);
  EXPECT_EQ(worker.lowered(), 0U);
}

TEST(LoadBoardTest, AnswersAreSummedOverAllWorkersAndOutliveThem) {
  LoadBoard board(3, 2);
  const auto kind = [&](AnswerKind of) {
    return board.answers(1).kinds[static_cast<std::size_t>(of)];
  };
  {
    WorkerLoad one(board, 0);
    WorkerLoad other(board, 2);
    one.note_answer(1, AnswerKind::read, 0);
    one.note_answer(1, AnswerKind::read, 7);
    other.note_answer(1, AnswerKind::read, 5);
    other.note_failure(1, AnswerKind::write);
    one.note_overload(1, AnswerKind::write);
    LoadLease whole = one.assign(1, RequestClass::list, 5);
    whole.complete();
    LoadLease watch = other.assign(1, RequestClass::watch_list, 4);
    watch.settle();
    watch.release();
    const LoadLease given_up = other.assign(1, RequestClass::list, 5);
  }
  const WorkerLoad again(board, 0);
  EXPECT_EQ(kind(AnswerKind::read).answers, 3U);
  EXPECT_EQ(kind(AnswerKind::read).slowness, 12U);
  EXPECT_EQ(kind(AnswerKind::write).answers, 2U);
  EXPECT_EQ(kind(AnswerKind::write).failures, 1U);
  EXPECT_EQ(board.answers(1).overloads, 1U);
  EXPECT_EQ(board.answers(1).completed, 9U);
  EXPECT_EQ(board.answers(0).completed, 0U);
}

TEST(LoadBoardTest, ALeaseMovesWithoutCountingTwice) {
  LoadBoard board(1, 2);
  WorkerLoad worker(board, 0);
  LoadLease first = worker.assign(0, RequestClass::watch, 1);
  LoadLease second = std::move(first);
  EXPECT_EQ(board.total(0).watches, 1u);
  second = worker.assign(1, RequestClass::read, 1);
  EXPECT_EQ(board.total(0).watches, 0u);
  EXPECT_EQ(board.total(0).work, 0u);
  EXPECT_EQ(board.total(1).work, 1u);
  EXPECT_EQ(second.backend(), 1u);
  second.release();
  second.release();
  EXPECT_EQ(board.total(1).work, 0u);
}

TEST(LoadBoardTest, SeesOtherWorkersAtMostAMillisecondLate) {
  LoadBoard board(2, 1);
  WorkerLoad mine(board, 0);
  WorkerLoad other(board, 1);
  EXPECT_EQ(mine.view(at(seconds(1)))[0].work, 0u);
  const LoadLease lease = other.assign(0, RequestClass::read, 1);
  EXPECT_EQ(mine.view(at(seconds(1) + microseconds(999)))[0].work, 0u);
  EXPECT_EQ(mine.view(at(seconds(1) + milliseconds(1)))[0].work, 1u);
}

TEST(LoadBoardTest, KeepsItsOwnCountsExactBetweenRefreshes) {
  LoadBoard board(2, 1);
  WorkerLoad mine(board, 0);
  WorkerLoad other(board, 1);
  const LoadLease theirs = other.assign(0, RequestClass::watch, 1);
  const auto view = mine.view(at(seconds(1)));
  EXPECT_EQ(view[0].work, 1u);
  {
    const LoadLease ours = mine.assign(0, RequestClass::watch, 3);
    EXPECT_EQ(view[0].work, 4u);
    EXPECT_EQ(view[0].watches, 2u);
  }
  EXPECT_EQ(view[0].work, 1u);
  EXPECT_EQ(view[0].watches, 1u);
}

TEST(LoadBoardTest, SumsAllWorkersForTheAdminPages) {
  LoadBoard board(3, 64);
  WorkerLoad a(board, 0);
  WorkerLoad b(board, 1);
  WorkerLoad c(board, 2);
  const LoadLease first = a.assign(63, RequestClass::read, 1);
  const LoadLease second = b.assign(63, RequestClass::watch, 2);
  const LoadLease third = c.assign(63, RequestClass::list, 5);
  EXPECT_EQ(board.total(63).work, 8u);
  EXPECT_EQ(board.total(63).watches, 1u);
  EXPECT_EQ(board.part(1, 63).work, 2u);
}

TEST(LoadBoardTest, RemembersAssignmentsByKind) {
  LoadBoard board(1, 1);
  WorkerLoad worker(board, 0);
  const Load& seen = worker.view(at(seconds(1)))[0];
  {
    const LoadLease lease = worker.assign(0, RequestClass::watch_list, 5);
  }
  EXPECT_EQ(recent(seen, AssignmentKind::watch), 1.0);
  EXPECT_EQ(recent(seen, AssignmentKind::list), 0.0);
  EXPECT_EQ(recent(seen, AssignmentKind::brief), 0.0);
}

TEST(LoadBoardTest, WhatWasAssignedLongAgoCountsLess) {
  LoadBoard board(1, 2);
  WorkerLoad worker(board, 0, {.decay = seconds(5)});
  worker.view(at(seconds(0)));
  for (int i = 0; i < 2; ++i) {
    const LoadLease lease = worker.assign(0, RequestClass::read, 1);
  }
  // After one time constant two old assignments weigh 2/e < 1.
  worker.view(at(seconds(5)));
  {
    const LoadLease lease = worker.assign(1, RequestClass::read, 1);
  }
  const auto view = worker.view(at(seconds(5)));
  EXPECT_LT(recent(view[0]), recent(view[1]));
  EXPECT_NEAR(recent(view[0]) / recent(view[1]), 2 / 2.718281828, 1e-6);
}

TEST(LoadBoardTest, DecayKeepsItsOrderOverDays) {
  LoadBoard board(1, 2);
  WorkerLoad worker(board, 0);
  for (int hour = 0; hour < 72; ++hour) {
    worker.view(at(hours(hour)));
    {
      const LoadLease lease = worker.assign(0, RequestClass::read, 1);
    }
    worker.view(at(hours(hour) + seconds(1)));
    {
      const LoadLease lease = worker.assign(1, RequestClass::read, 1);
    }
    const auto view = worker.view(at(hours(hour) + seconds(2)));
    EXPECT_LT(recent(view[0]), recent(view[1])) << hour;
    EXPECT_LT(recent(view[1]), std::numeric_limits<double>::infinity());
  }
}

TEST(LoadBoardTest, DecayKeepsItsOrderUnderSteadyTraffic) {
  LoadBoard board(1, 2);
  WorkerLoad worker(board, 0);
  // Long enough for the weights to be scaled down several times (every 230 time constants).
  for (int i = 0; i < 6000; ++i) {
    worker.view(at(seconds(i)));
    {
      const LoadLease lease = worker.assign(static_cast<std::size_t>(i % 2), RequestClass::read, 1);
    }
    const auto view = worker.view(at(seconds(i)));
    if (i < 2) continue;
    const auto later = static_cast<std::size_t>(i % 2);
    EXPECT_GT(recent(view[later]), recent(view[1 - later])) << i;
  }
}

TEST(LoadBoardDeathTest, RefusesAWorkerThatEndsBeforeItsLeases) {
  EXPECT_DEATH(
      {
        LoadBoard board(1, 1);
        LoadLease lease;
        {
          WorkerLoad worker(board, 0);
          lease = worker.assign(0, RequestClass::read, 1);
        }
      },
      "leases_");
}

// Four workers assign and release while an observer sums: no sum is ever impossible, and at the end
// all is zero. Run under the thread sanitizer, too.
TEST(LoadBoardTest, WorkersAgreeWithoutLocks) {
  constexpr std::size_t workers = 4;
  constexpr std::size_t backends = 3;
  constexpr std::size_t held_max = 32;
  LoadBoard board(workers, backends);
  std::barrier start(workers + 1);
  std::atomic<std::size_t> running{workers};
  std::vector<std::thread> threads;
  for (std::size_t index = 0; index < workers; ++index) {
    threads.emplace_back([&, index] {
      WorkerLoad worker(board, index);
      Picker picker;
      Random random(index);
      std::vector<LoadLease> held;
      start.arrive_and_wait();
      for (int i = 0; i < 20000; ++i) {
        const auto view = worker.view(at(microseconds(i * 50)));
        const RequestClass request = i % 7 == 0 ? RequestClass::watch : RequestClass::read;
        const auto pick = picker.pick(view, mask_of_first(backends), request, random);
        if (pick) held.push_back(worker.assign(*pick, request, 1));
        if (held.size() == held_max) held.erase(held.begin() + random.below(held_max));
      }
      held.clear();
      running.fetch_sub(1);
    });
  }
  start.arrive_and_wait();
  while (running.load() != 0) {
    for (std::size_t backend = 0; backend < backends; ++backend) {
      const Load seen = board.total(backend);
      EXPECT_LE(seen.work, workers * held_max);
      EXPECT_LE(seen.watches, workers * held_max);
    }
    std::this_thread::yield();
  }
  for (std::thread& thread : threads) thread.join();
  for (std::size_t backend = 0; backend < backends; ++backend) {
    EXPECT_EQ(board.total(backend).work, 0u);
    EXPECT_EQ(board.total(backend).watches, 0u);
  }
}

}  // namespace
}  // namespace sluice::balance
