// SPDX-License-Identifier: GPL-3.0-or-later
// Which connection a stream gets, when connections come and go, and what a stream is told when its
// connection ends.
#include "sluice/backend/connection_pool.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <set>

#include "backend_fixture.h"
#include "mistake.h"

namespace sluice::backend {
namespace {

using testing::Each;
using testing::SizeIs;

// A timer comes late by a tick at most; two follow each other at most.
constexpr Duration late = 2 * io::TimerWheel::tick;

class ConnectionPoolTest : public testing::Test {
 protected:
  struct Event {
    PoolEvent what;
    Instant when;
  };

  void SetUp() override { context_ = test::ClusterKeys::get().plain_context(); }

  void TearDown() override {
    callers_.clear();
    if (pool_) pool_->terminate();
    if (backend_) backend_->stop();
    simulation_.settle();
    EXPECT_TRUE(!pool_ || pool_->terminated());
  }

  void start(PoolKind kind = PoolKind::bearer, test::ScriptedBackend::Options backend = {}) {
    backend_ =
        std::make_unique<test::ScriptedBackend>(simulation_.transport(), address_of(1), backend);
    make_pool(kind);
  }

  void make_pool(PoolKind kind = PoolKind::bearer, std::uint64_t seed = 1) {
    pool_ = std::make_unique<ConnectionPool>(
        simulation_.transport(), Endpoint{address_of(1), "api-1", "backend"}, kind, options_,
        context_, seed, [this](PoolEvent what, const std::string&) {
          events_.push_back({what, simulation_.now()});
        });
  }

  Caller& open(const OpenRequest& request = {}) {
    callers_.push_back(std::make_unique<Caller>());
    pool_->open(callers_.back()->stream, request);
    return *callers_.back();
  }
  // Opens one and lets it travel.
  Caller& opened(const OpenRequest& request = {}) {
    Caller& caller = open(request);
    simulation_.settle();
    return caller;
  }
  void answer_all(int status = 200) {
    for (test::ScriptedBackend::Request* request : backend_->requests()) {
      if (!request->closed) request->answer(status);
    }
    simulation_.settle();
  }
  // For two lives of a connection at most.
  Duration time_to_next_connection() {
    const std::size_t accepted = backend_->accepted();
    const Instant begin = simulation_.now();
    const Instant give_up = begin + 2 * options_.connection_age_max;
    while (backend_->accepted() == accepted && simulation_.now() < give_up) {
      simulation_.advance(options_.ping_interval);
    }
    return simulation_.now() - begin;
  }
  test::ScriptedBackend::Request& request(std::size_t number) {
    return *backend_->requests().at(number);
  }
  std::size_t count(PoolEvent what) const {
    return static_cast<std::size_t>(
        std::ranges::count_if(events_, [&](const Event& event) { return event.what == what; }));
  }
  // The times between failed connects.
  std::vector<Duration> gaps(std::size_t from = 0) const {
    std::vector<Duration> gaps;
    for (std::size_t i = from + 1; i < events_.size(); ++i) {
      gaps.push_back(events_[i].when - events_[i - 1].when);
    }
    return gaps;
  }

  test::Simulation simulation_;
  PoolOptions options_;
  std::shared_ptr<const tls::ClientContext> context_;
  std::unique_ptr<test::ScriptedBackend> backend_;
  std::unique_ptr<ConnectionPool> pool_;
  std::vector<Event> events_;
  std::vector<std::unique_ptr<Caller>> callers_;
};

TEST_F(ConnectionPoolTest, CarriesAnAnswerToItsRequest) {
  start();
  Caller& caller = open();
  EXPECT_TRUE(caller.waiting());
  simulation_.settle();
  EXPECT_TRUE(caller.open());
  ASSERT_THAT(backend_->requests(), SizeIs(1));
  EXPECT_EQ(request(0).head.path, "/version");
  request(0).answer(200, "v1");
  simulation_.settle();
  EXPECT_EQ(caller.status, 200);
  EXPECT_EQ(caller.body, "v1");
  EXPECT_TRUE(caller.completed());
  EXPECT_EQ(pool_->open_streams(), 0U);
}

// --- places ----------------------------------------------------------------------------------

TEST_F(ConnectionPoolTest, WarmingUpOpensOneConnection) {
  start();
  pool_->warm_up();
  pool_->warm_up();
  simulation_.settle();
  EXPECT_EQ(backend_->accepted(), 1U);
  EXPECT_EQ(pool_->ready_connections(), 1U);
}

TEST_F(ConnectionPoolTest, OpensTheNextConnectionWhileATenthOfThePlacesIsFree) {
  options_.streams_per_connection_max = 20;
  start();
  for (int i = 0; i < 18; ++i) opened();
  EXPECT_EQ(backend_->accepted(), 1U);
  EXPECT_TRUE(open().open());  // at once: its place was there
  simulation_.settle();
  EXPECT_EQ(backend_->accepted(), 2U);
  for (int i = 0; i < 15; ++i) EXPECT_TRUE(open().open()) << i;
}

TEST_F(ConnectionPoolTest, NeverOpensMoreStreamsThanTheBackendAllows) {
  start(PoolKind::bearer, {.max_concurrent_streams = 5});
  for (int i = 0; i < 33; ++i) open();
  simulation_.settle();
  EXPECT_EQ(pool_->open_streams(), 33U);
  EXPECT_GE(backend_->accepted(), 7U);
  for (std::size_t i = 0; i < backend_->accepted(); ++i) {
    EXPECT_LE(backend_->connection(i).open_streams_max(), 5U) << i;
  }
  EXPECT_EQ(pool_->counters().refused_streams, 0U);
}

TEST_F(ConnectionPoolTest, KeepsBelowItsOwnBoundWhateverTheBackendAllows) {
  options_.streams_per_connection_max = 3;
  start(PoolKind::bearer, {.max_concurrent_streams = 1000});
  for (int i = 0; i < 10; ++i) open();
  simulation_.settle();
  EXPECT_EQ(pool_->open_streams(), 10U);
  for (std::size_t i = 0; i < backend_->accepted(); ++i) {
    EXPECT_LE(backend_->connection(i).open_streams_max(), 3U) << i;
  }
}

TEST_F(ConnectionPoolTest, OpensNoMoreConnectionsThanAllowedAndServesWhoWaitsWhenAPlaceIsFree) {
  options_.streams_per_connection_max = 2;
  options_.connections_max = 2;
  start();
  for (int i = 0; i < 5; ++i) open();
  simulation_.settle();
  EXPECT_EQ(pool_->connections(), 2U);
  EXPECT_TRUE(callers_[4]->waiting());
  request(0).answer(200);
  simulation_.settle();
  EXPECT_TRUE(callers_[4]->open());
}

TEST_F(ConnectionPoolTest, PlacesGoToClientsInTurnsHoweverManyOneWaitsFor) {
  options_.streams_per_connection_max = 1;
  options_.connections_max = 1;
  start();
  opened();
  for (int i = 0; i < 20; ++i) open({.client = 1});
  open({.client = 2});
  open({.client = 3});
  // One place after the other comes free.
  for (std::size_t i = 0; i < 4; ++i) {
    request(i).answer(200);
    simulation_.settle();
  }
  EXPECT_TRUE(callers_[21]->open() || callers_[21]->end);
  EXPECT_TRUE(callers_[22]->open() || callers_[22]->end);
  EXPECT_TRUE(callers_[3]->waiting());
}

TEST_F(ConnectionPoolTest, AnUnprovenTokenHasMoreTurnsThanStrangersOfTheSameNetwork) {
  options_.streams_per_connection_max = 1;
  options_.connections_max = 1;
  start(PoolKind::suspect);
  opened();
  for (int i = 0; i < 50; ++i) open({.client = 1, .standing = Standing::stranger});
  for (int i = 0; i < 4; ++i) open({.client = 1, .standing = Standing::unproven});
  for (std::size_t i = 0; i < 5; ++i) {
    request(i).answer(200);
    simulation_.settle();
  }
  int strangers = 0;
  for (std::size_t i = 1; i <= 50; ++i) strangers += callers_[i]->waiting() ? 0 : 1;
  EXPECT_EQ(strangers, 1);
  for (std::size_t i = 51; i < 55; ++i) EXPECT_FALSE(callers_[i]->waiting()) << i;
}

TEST_F(ConnectionPoolTest, WhoGivesUpWhileItWaitsLosesItsTurnAndNobodyElseDoes) {
  options_.streams_per_connection_max = 1;
  options_.connections_max = 1;
  start();
  opened();
  Caller& first = open({.client = 1});
  Caller& second = open({.client = 1});
  Caller& other = open({.client = 2});
  first.stream.cancel();
  request(0).answer(200);
  simulation_.settle();
  EXPECT_TRUE(second.open());
  request(1).answer(200);
  simulation_.settle();
  EXPECT_TRUE(other.open());
}

TEST_F(ConnectionPoolTest, WhoWaitsTooLongIsToldThatNothingWasSent) {
  options_.streams_per_connection_max = 1;
  options_.connections_max = 1;
  start();
  opened();
  Caller& late_comer = opened();
  simulation_.advance(options_.wait_timeout - 20ms);
  EXPECT_TRUE(late_comer.waiting());
  simulation_.advance(40ms);
  ASSERT_TRUE(late_comer.end);
  EXPECT_EQ(late_comer.end->cause, StreamEnd::Cause::no_place);
  EXPECT_EQ(late_comer.end->retry, Retry::not_executed);
  EXPECT_TRUE(callers_[0]->open());
}

TEST_F(ConnectionPoolTest, ACancelledStreamKeepsItsPlaceForASecondAndThenGivesItToWhoWaits) {
  options_.streams_per_connection_max = 1;
  options_.connections_max = 1;
  start();
  opened().stream.cancel();
  Caller& next = opened();
  EXPECT_TRUE(next.waiting());
  simulation_.advance(options_.cancelled_place_held - 20ms);
  EXPECT_TRUE(next.waiting());
  simulation_.advance(40ms);
  EXPECT_TRUE(next.open());
}

TEST_F(ConnectionPoolTest, AHandlerMayCancelAnotherStreamThatFailsWithIt) {
  make_pool();
  Caller& first = open();
  Caller& second = open();
  Caller& third = open();
  first.on_end = [&] { second.stream.cancel(); };
  simulation_.settle();  // nobody listens there
  EXPECT_TRUE(first.end.has_value());
  EXPECT_FALSE(second.end.has_value());
  EXPECT_TRUE(third.end.has_value());
  simulation_.advance(1s);
  EXPECT_GT(pool_->counters().connects, 1U);  // it goes on trying
}

TEST_F(ConnectionPoolTest, AHandlerMayCancelAnotherStreamThatWaitedTooLongWithIt) {
  options_.streams_per_connection_max = 1;
  options_.connections_max = 1;
  start();
  opened();
  Caller& first = open();
  Caller& second = open();
  first.on_end = [&] { second.stream.cancel(); };
  simulation_.advance(options_.wait_timeout + late);
  EXPECT_TRUE(first.end.has_value());
  EXPECT_FALSE(second.end.has_value());
}

// --- connects that fail ----------------------------------------------------------------------

TEST_F(ConnectionPoolTest, AConnectThatFailsEndsWhoWaitsAsNotExecuted) {
  make_pool();
  Caller& caller = opened();
  ASSERT_TRUE(caller.end);
  EXPECT_EQ(caller.end->cause, StreamEnd::Cause::not_connected);
  EXPECT_EQ(caller.end->retry, Retry::not_executed);
  EXPECT_TRUE(pool_->unreachable());
  EXPECT_EQ(pool_->counters().connect_failures, 1U);
}

TEST_F(ConnectionPoolTest, BackOffGrowsToItsBoundAndIsSpreadOverHalfOfIt) {
  make_pool();
  pool_->warm_up();
  simulation_.advance(30s);
  Duration bound = options_.reconnect_delay_min;
  const auto waits = gaps();
  ASSERT_GE(waits.size(), 10U);
  for (const Duration wait : waits) {
    bound = std::min(2 * bound, options_.reconnect_delay_max);
    EXPECT_GE(wait, bound / 2);
    EXPECT_LE(wait, bound + late);
  }
  EXPECT_EQ(bound, options_.reconnect_delay_max);
  EXPECT_EQ(count(PoolEvent::connect_failed), events_.size());
}

TEST_F(ConnectionPoolTest, PoolsDoNotReconnectInStep) {
  std::vector<std::vector<Duration>> waits;
  for (const std::uint64_t seed : {1U, 2U}) {
    events_.clear();
    make_pool(PoolKind::bearer, seed);
    pool_->warm_up();
    simulation_.advance(10s);
    waits.push_back(gaps());
    pool_->terminate();
    simulation_.settle();
  }
  EXPECT_NE(waits[0], waits[1]);
}

TEST_F(ConnectionPoolTest, ConnectionsThatAreLostComeBackOneAfterTheOther) {
  options_.connects_per_second = 10;
  options_.streams_per_connection_max = 1;
  options_.connecting_max = 100;
  start(PoolKind::bearer, {.max_concurrent_streams = 1});
  for (int i = 0; i < 40; ++i) open();
  simulation_.advance(900ms);
  EXPECT_GE(backend_->accepted(), static_cast<std::size_t>(ConnectPace::burst));
  EXPECT_LE(backend_->accepted(), 9U + ConnectPace::burst);
  simulation_.advance(4s);
  EXPECT_GE(pool_->open_streams(), 40U);
  EXPECT_LE(backend_->accepted(), 49U + ConnectPace::burst);
}

TEST_F(ConnectionPoolTest, WhoIsToldThatItMayConnectsAgainAtOnce) {
  make_pool();
  pool_->warm_up();
  simulation_.advance(20s);
  EXPECT_TRUE(pool_->hopeless());
  backend_ = std::make_unique<test::ScriptedBackend>(simulation_.transport(), address_of(1));
  pool_->retry();
  simulation_.settle();
  EXPECT_EQ(pool_->ready_connections(), 1U);
  EXPECT_FALSE(pool_->hopeless());
  pool_->retry();  // nothing to do
  simulation_.settle();
  EXPECT_EQ(pool_->connections(), 1U);
}

TEST_F(ConnectionPoolTest, AConnectionThatGetsReadyResetsTheBackOff) {
  make_pool();
  pool_->warm_up();
  simulation_.advance(20s);
  backend_ = std::make_unique<test::ScriptedBackend>(simulation_.transport(), address_of(1));
  simulation_.advance(options_.reconnect_delay_max + late);
  ASSERT_EQ(pool_->ready_connections(), 1U);
  EXPECT_FALSE(pool_->unreachable());

  const std::size_t before = events_.size();
  backend_->stop();
  simulation_.advance(1s);
  const auto waits = gaps(before);
  ASSERT_GE(waits.size(), 2U);
  EXPECT_LE(waits[0], 2 * options_.reconnect_delay_min + late);
}

TEST_F(ConnectionPoolTest, ABackendThatSaysNothingCountsAsAFailedConnect) {
  start();
  backend_->mute = true;  // the handshake is TLS's; SETTINGS would be its own
  Caller& caller = opened();
  simulation_.advance(options_.ping_timeout + late);
  ASSERT_TRUE(caller.end);
  EXPECT_EQ(caller.end->cause, StreamEnd::Cause::not_connected);
  EXPECT_EQ(count(PoolEvent::connect_failed), 1U);
}

TEST_F(ConnectionPoolTest, ASilentNetworkCountsAsAFailedConnectInTime) {
  simulation_.network().swallow(address_of(1));
  make_pool();
  Caller& caller = opened();
  EXPECT_TRUE(caller.waiting());
  simulation_.advance(simulation_.transport().options().connect_timeout + late);
  ASSERT_TRUE(caller.end);
  EXPECT_EQ(caller.end->cause, StreamEnd::Cause::not_connected);
  EXPECT_EQ(caller.end->retry, Retry::not_executed);
}

// --- how streams end -------------------------------------------------------------------------

TEST_F(ConnectionPoolTest, ARefusedStreamWasNotExecuted) {
  start();
  Caller& caller = opened();
  request(0).refuse();
  simulation_.settle();
  ASSERT_TRUE(caller.end);
  EXPECT_EQ(caller.end->cause, StreamEnd::Cause::refused);
  EXPECT_EQ(caller.end->retry, Retry::not_executed);
}

TEST_F(ConnectionPoolTest, AStreamThatIsLostSaysWhatMayHaveHappened) {
  start();
  Caller& unanswered = opened();
  Caller& begun = opened();
  request(1).begin(200);
  simulation_.settle();
  Caller& unwritten = open();  // not yet on its way
  ASSERT_TRUE(unwritten.open());
  pool_->terminate();
  for (const Caller* caller : {&unanswered, &begun, &unwritten}) {
    ASSERT_TRUE(caller->end);
    EXPECT_EQ(caller->end->cause, StreamEnd::Cause::connection_lost);
  }
  EXPECT_EQ(unanswered.end->retry, Retry::idempotent);
  EXPECT_EQ(begun.end->retry, Retry::never);
  EXPECT_EQ(unwritten.end->retry, Retry::not_executed);
}

TEST_F(ConnectionPoolTest, ALostConnectionEndsItsStreamsAndNoOthers) {
  options_.streams_per_connection_max = 2;
  start();
  for (int i = 0; i < 4; ++i) opened();
  backend_->connection(0).drop();
  simulation_.settle();
  EXPECT_TRUE(callers_[0]->end && callers_[1]->end);
  EXPECT_FALSE(callers_[2]->end || callers_[3]->end);
  EXPECT_EQ(count(PoolEvent::connection_lost), 1U);
}

TEST_F(ConnectionPoolTest, TerminatingEndsEverybodyOnce) {
  options_.streams_per_connection_max = 1;
  options_.connections_max = 1;
  start();
  Caller& running = opened();
  Caller& waiting = opened();
  pool_->terminate();
  EXPECT_EQ(running.end->cause, StreamEnd::Cause::connection_lost);
  EXPECT_EQ(waiting.end->cause, StreamEnd::Cause::not_connected);
  simulation_.settle();
  EXPECT_TRUE(pool_->terminated());
}

// --- GOAWAY ----------------------------------------------------------------------------------

TEST_F(ConnectionPoolTest, GoawayRetiresItsConnectionAloneAndWhatRunsThereGoesOn) {
  options_.streams_per_connection_max = 2;
  start();
  for (int i = 0; i < 4; ++i) opened();
  backend_->connection(0).goaway();
  simulation_.settle();
  EXPECT_EQ(pool_->counters().goaways, 1U);
  for (const auto& caller : callers_) EXPECT_TRUE(caller->open());
  Caller& next = opened();
  EXPECT_TRUE(next.open());
  EXPECT_THAT(backend_->connection(0).requests(), SizeIs(2));
  answer_all();
  for (const auto& caller : callers_) EXPECT_TRUE(caller->completed());
  EXPECT_TRUE(backend_->connection(0).closed());  // nothing left to do there
  EXPECT_FALSE(backend_->connection(1).closed());
}

TEST_F(ConnectionPoolTest, AfterGoawayTheReplacementIsOpenedFirst) {
  start();
  Caller& running = opened();
  backend_->connection(0).goaway();
  simulation_.settle();
  EXPECT_TRUE(running.open());
  EXPECT_FALSE(backend_->connection(0).closed());
  EXPECT_EQ(pool_->ready_connections(), 1U);
  EXPECT_TRUE(open().open());  // without a handshake on its way
}

TEST_F(ConnectionPoolTest, StreamsThatGoawayDoesNotCoverWereNotExecuted) {
  start();
  Caller& covered = opened();
  backend_->connection(0).goaway();
  Caller& crossing = open();  // on its way while GOAWAY is on its own
  simulation_.settle();
  EXPECT_TRUE(covered.open());
  ASSERT_TRUE(crossing.end);
  EXPECT_EQ(crossing.end->cause, StreamEnd::Cause::refused);
  EXPECT_EQ(crossing.end->retry, Retry::not_executed);
}

TEST_F(ConnectionPoolTest, TooManyDrainingConnectionsMakeTheOldestOnesStreamsMove) {
  options_.draining_max = 2;
  start();
  for (std::size_t i = 0; i < 3; ++i) {
    Caller& watch = opened();
    request(i).begin(200);
    backend_->connection(i).goaway();
    simulation_.settle();
    EXPECT_EQ(watch.told_to_move, 0) << i;
    EXPECT_EQ(callers_[0]->told_to_move, i == 2 ? 1 : 0) << i;
  }
  EXPECT_EQ(callers_[1]->told_to_move, 0);
  EXPECT_EQ(pool_->counters().retired, 1U);

  callers_[0]->stream.cancel();  // as a watch that has moved
  simulation_.settle();
  EXPECT_TRUE(backend_->connection(0).closed());
  EXPECT_FALSE(backend_->connection(1).closed());
}

TEST_F(ConnectionPoolTest, WhoDoesNotResumeMovesOnlyWhenNobodyElseCan) {
  options_.draining_max = 1;
  start();
  for (std::size_t i = 0; i < 4; ++i) {
    Caller& watch = opened();
    watch.resumes = i == 1;
    request(i).begin(200);
    backend_->connection(i).goaway();
    simulation_.settle();
    EXPECT_EQ(callers_[0]->told_to_move, i < 2 ? 0 : 1) << i;
    EXPECT_EQ(callers_[i == 0 ? 0 : 1]->told_to_move, i == 0 ? 0 : 1) << i;
  }
  EXPECT_EQ(callers_[2]->told_to_move, 1);
  EXPECT_EQ(callers_[3]->told_to_move, 0);
  EXPECT_EQ(pool_->counters().retired, 3U);
}

// --- what stays ------------------------------------------------------------------------------

TEST_F(ConnectionPoolTest, WhatStaysAndWhatIsSoonOverShareNoConnection) {
  start();
  for (int i = 0; i < 3; ++i) {
    opened();
    opened({.stay = Stay::lasting});
  }
  ASSERT_EQ(backend_->accepted(), 2U);
  EXPECT_THAT(backend_->connection(0).requests(), SizeIs(3));
  EXPECT_THAT(backend_->connection(1).requests(), SizeIs(3));
  backend_->connection(0).goaway();
  simulation_.settle();
  for (int i = 0; i < 3; ++i) opened({.stay = Stay::lasting});
  EXPECT_THAT(backend_->connection(1).requests(), SizeIs(6));
  EXPECT_EQ(pool_->ready_connections(), 2U);
}

TEST_F(ConnectionPoolTest, WhatIsSoonOverHasAConnectionHoweverMuchListsAndWhatStaysFill) {
  options_.connections_max = 8;
  options_.streams_per_connection_max = 5;
  start();
  for (std::uint64_t i = 0; i < 100; ++i) {
    opened({.stay = Stay::lasting, .client = i});
    opened({.stay = Stay::lengthy, .client = i});
  }
  EXPECT_EQ(pool_->open_streams(), 30U + 5U);
  for (int i = 0; i < 4; ++i) EXPECT_TRUE(opened().open());
}

// What comes behind a list on its connection waits for all of its bytes.
TEST_F(ConnectionPoolTest, ListsHaveConnectionsOfTheirOwnAndAnEighthOfThemAtMost) {
  options_.connections_max = 16;
  options_.streams_per_connection_max = 5;
  start();
  opened();
  for (std::uint64_t i = 0; i < 40; ++i) opened({.stay = Stay::lengthy, .client = i});
  EXPECT_EQ(pool_->open_streams(), 1U + 10U);
  EXPECT_TRUE(pool_->full(Stay::lengthy));
  EXPECT_THAT(backend_->connection(0).requests(), SizeIs(1));
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(opened().open());
  EXPECT_THAT(backend_->connection(0).requests(), SizeIs(4));
  EXPECT_TRUE(opened({.stay = Stay::lasting}).open());
}

TEST_F(ConnectionPoolTest, AnUnusedConnectionIsForWhoeverComesFirst) {
  start();
  pool_->warm_up();
  simulation_.settle();
  EXPECT_TRUE(open({.stay = Stay::lasting}).open());
  simulation_.settle();
  callers_[0]->stream.cancel();
  simulation_.advance(2 * options_.cancelled_place_held);
  const std::size_t before = backend_->accepted();
  EXPECT_TRUE(open().open());
  EXPECT_EQ(backend_->accepted(), before);
}

TEST_F(ConnectionPoolTest, WhereOneConnectionIsAllowedAllShareIt) {
  options_.connections_max = 1;
  start();
  EXPECT_TRUE(opened().open());
  EXPECT_TRUE(opened({.stay = Stay::lasting}).open());
  EXPECT_TRUE(opened({.stay = Stay::lengthy}).open());
  EXPECT_TRUE(opened().open());
  EXPECT_EQ(backend_->accepted(), 1U);
}

TEST_F(ConnectionPoolTest, WhatStaysLeavesAQuarterOfTheConnectionsToOthers) {
  options_.connections_max = 4;
  options_.streams_per_connection_max = 5;
  start();
  for (std::uint64_t i = 0; i < 40; ++i) opened({.stay = Stay::lasting, .client = i});
  EXPECT_EQ(pool_->open_streams(), 15U);
  EXPECT_TRUE(pool_->full(Stay::lasting));
  EXPECT_FALSE(pool_->full(Stay::brief));
  for (int i = 0; i < 5; ++i) EXPECT_TRUE(opened().open());
  EXPECT_TRUE(pool_->full(Stay::brief));
}

TEST_F(ConnectionPoolTest, TheLastPlacesAreForClientsWithFew) {
  options_.connections_max = 4;
  options_.streams_per_connection_max = 10;
  start();
  for (int i = 0; i < 100; ++i) opened({.stay = Stay::lasting, .client = 1});
  const std::size_t taken = pool_->open_streams();
  EXPECT_EQ(taken, 27U);  // nine tenths of three connections
  for (std::uint64_t other = 2; other < 5; ++other) {
    Caller& newcomer = open({.stay = Stay::lasting, .client = other});
    EXPECT_TRUE(newcomer.open()) << other;
  }
  EXPECT_EQ(pool_->open_streams(), 30U);
  EXPECT_TRUE(pool_->full(Stay::lasting));
}

// Also of what is soon over, where answers are not taken.
TEST_F(ConnectionPoolTest, TheLastPlacesForWhatIsSoonOverAreForClientsWithFewToo) {
  options_.connections_max = 1;
  options_.streams_per_connection_max = 20;
  start();
  for (int i = 0; i < 100; ++i) opened({.client = 1});
  EXPECT_EQ(pool_->open_streams(), 18U);
  EXPECT_TRUE(open({.client = 2}).open());
  EXPECT_TRUE(open({.client = 3}).open());
  Caller& fourth = open({.client = 4});
  EXPECT_TRUE(fourth.waiting());
  request(0).answer(200);
  simulation_.settle();
  EXPECT_TRUE(fourth.open());
}

// It carries nothing, and nothing can be put on it.
TEST_F(ConnectionPoolTest, AConnectionFullOfCancelledStreamsIsNoSpareOne) {
  options_.streams_per_connection_max = 10;
  start();
  for (int i = 0; i < 50; ++i) opened({.client = 1}).stream.cancel();
  simulation_.settle();
  EXPECT_GT(pool_->ready_connections(), 4U);
  EXPECT_TRUE(opened({.client = 2}).open());
}

// Each cancelled stream holds its place for a while, and a client can cancel without end.
TEST_F(ConnectionPoolTest, ThePlacesOfCancelledStreamsAreTheirClients) {
  options_.connections_max = 1;
  options_.streams_per_connection_max = 20;
  start();
  for (int i = 0; i < 100; ++i) opened({.client = 1}).stream.cancel();
  simulation_.settle();
  EXPECT_EQ(pool_->open_streams(), 0U);
  EXPECT_FALSE(pool_->full(Stay::brief));
  EXPECT_TRUE(open({.client = 1}).waiting());
  EXPECT_TRUE(open({.client = 2}).open());
  EXPECT_TRUE(open({.client = 3}).open());
  simulation_.advance(2 * options_.cancelled_place_held);
  EXPECT_TRUE(open({.client = 1}).open());
}

TEST_F(ConnectionPoolTest, AFreedPlaceGoesFirstToWhoHasFewHoweverLateItCame) {
  options_.connections_max = 2;  // one for what stays
  options_.streams_per_connection_max = 4;
  start();
  for (int i = 0; i < 10; ++i) opened({.stay = Stay::lasting, .client = 1});
  ASSERT_EQ(pool_->open_streams(), 4U);
  Caller& newcomer = opened({.stay = Stay::lasting, .client = 2});
  EXPECT_TRUE(newcomer.waiting());
  request(0).answer(200);
  simulation_.settle();
  EXPECT_TRUE(newcomer.open());
  EXPECT_TRUE(callers_[4]->waiting());
  // Who waits behind is not forgotten, either.
  for (std::size_t i = 1; i < 5; ++i) {
    request(i).answer(200);
    simulation_.settle();
  }
  EXPECT_TRUE(callers_[4]->open() || callers_[4]->end);
}

// Who floods has its share, and may not take the last places: whoever may is not behind it.
TEST_F(ConnectionPoolTest, WhoMayNotTakeAPlaceIsInNobodysWay) {
  options_.connections_max = 1;
  options_.streams_per_connection_max = 20;
  start();
  for (int i = 0; i < 10; ++i) opened({.client = 99});
  for (std::uint64_t client = 1; client < 9; ++client) opened({.client = client});
  EXPECT_TRUE(opened({.client = 1}).open());
  EXPECT_TRUE(opened({.client = 99}).waiting());
  Caller& third = opened({.client = 1});
  EXPECT_TRUE(third.waiting()) << "it has its share, too";
  request(10).answer(200);  // its first
  simulation_.settle();
  EXPECT_TRUE(third.open());
}

// Sixteen turns in a row are those of who is proven.
TEST_F(ConnectionPoolTest, WhoMayNotTakeAPlaceIsNotInTheWayOfAnotherLane) {
  options_.connections_max = 1;
  options_.streams_per_connection_max = 20;
  start();
  for (int i = 0; i < 10; ++i) opened({.client = 99});
  const auto stranger = [](std::uint64_t client) {
    return OpenRequest{.client = client, .connection = client, .standing = Standing::stranger};
  };
  for (std::uint64_t client = 1; client < 9; ++client) opened(stranger(client));
  EXPECT_TRUE(opened(stranger(1)).open());
  for (int i = 0; i < 20; ++i) EXPECT_TRUE(opened({.client = 99}).waiting());
  request(11).answer(200);
  simulation_.settle();
  EXPECT_TRUE(opened(stranger(2)).open());
  Caller& third = opened(stranger(1));
  EXPECT_TRUE(third.waiting());
  request(10).answer(200);
  simulation_.settle();
  EXPECT_TRUE(third.open());
}

TEST_F(ConnectionPoolTest, AnAnsweredStreamsPlaceIsFreeAtOnceWhereTheBackendAllowsFew) {
  options_.connections_max = 1;
  start(PoolKind::bearer, {.max_concurrent_streams = 2});
  opened({.stay = Stay::lasting});
  Caller& answered = opened();
  Caller& waits = opened();
  EXPECT_TRUE(waits.waiting());
  request(1).answer(200);
  simulation_.settle();
  EXPECT_TRUE(answered.completed());
  EXPECT_TRUE(waits.open());
  EXPECT_TRUE(opened().waiting());
}

TEST_F(ConnectionPoolTest, WhenTheBackendAllowsMoreWhoWaitsIsServed) {
  options_.connections_max = 1;
  start(PoolKind::bearer, {.max_concurrent_streams = 1});
  opened();
  Caller& waits = opened();
  EXPECT_TRUE(waits.waiting());
  // SETTINGS_MAX_CONCURRENT_STREAMS is 10 (RFC 9113 section 6.5).
  backend_->connection(0).say(std::string_view("\0\0\6\4\0\0\0\0\0\0\3\0\0\0\12", 15));
  simulation_.settle();
  // Which went there, and not to the connection that comes when that one ends by the
  // acknowledgement, of which our codec there knows nothing.
  EXPECT_TRUE(waits.end.has_value());
}

// Where many hold a little each the last places are soon gone.
TEST_F(ConnectionPoolTest, WhoHoldsMostIsAskedToMakeRoomForWhoWaits) {
  options_.connections_max = 2;  // one for what stays
  options_.streams_per_connection_max = 10;
  start();
  for (int i = 0; i < 8; ++i) opened({.stay = Stay::lasting, .client = 1});
  for (std::uint64_t other = 2; other < 4; ++other) {
    opened({.stay = Stay::lasting, .client = other});
  }
  ASSERT_EQ(pool_->open_streams(), 10U);
  Caller& newcomer = opened({.stay = Stay::lasting, .client = 9});
  EXPECT_TRUE(newcomer.waiting());
  simulation_.advance(600ms);
  std::size_t asked = 0;
  for (const auto& caller : callers_) asked += caller->told_to_move > 0 ? 1U : 0U;
  EXPECT_EQ(asked, 1U);  // as many as wait
  for (const auto& caller : callers_) {
    if (caller->told_to_move == 0) continue;
    EXPECT_EQ(caller->asked_by, Retiring::for_others);
    caller->stream.cancel();
  }
  simulation_.advance(2 * options_.cancelled_place_held);
  EXPECT_TRUE(newcomer.open());
  // Nobody waits any more, so nobody is asked.
  simulation_.advance(5s);
  asked = 0;
  for (const auto& caller : callers_) asked += caller->told_to_move > 0 ? 1U : 0U;
  EXPECT_EQ(asked, 1U);
}

TEST_F(ConnectionPoolTest, WhatKeepsDrainingConnectionsOpenIsAskedToGoWhenNoOtherCanBeOpened) {
  options_.connections_max = 2;
  options_.draining_max = 1;
  start();
  // Two may drain beside the two in use.
  for (std::size_t i = 0; i < 4; ++i) {
    Caller& log = opened();
    log.moves_for = Retiring::for_others;
    request(i).begin(200);
    backend_->connection(i).goaway();
    simulation_.settle();
  }
  Caller& newcomer = opened({.client = 9});
  EXPECT_TRUE(newcomer.waiting());
  simulation_.advance(600ms);
  std::size_t asked = 0;
  for (std::size_t i = 0; i < 4; ++i) {
    if (callers_[i]->told_to_move == 0) continue;
    ++asked;
    callers_[i]->stream.cancel();
  }
  EXPECT_GE(asked, 1U);
  simulation_.advance(1s);
  EXPECT_TRUE(newcomer.open());
}

TEST_F(ConnectionPoolTest, NobodyIsAskedToMakeRoomForWhoHoldsItsShare) {
  options_.connections_max = 2;
  options_.streams_per_connection_max = 10;
  start();
  for (int i = 0; i < 20; ++i) opened({.stay = Stay::lasting, .client = 1});
  simulation_.advance(3s);
  for (const auto& caller : callers_) EXPECT_EQ(caller->told_to_move, 0);
}

TEST_F(ConnectionPoolTest, WhoWaitsBehindIsToldInTimeToo) {
  options_.connections_max = 2;
  options_.streams_per_connection_max = 4;
  start();
  for (int i = 0; i < 6; ++i) opened({.stay = Stay::lasting, .client = 1});
  callers_[4]->stream.cancel();
  simulation_.advance(options_.wait_timeout + late);
  ASSERT_TRUE(callers_[5]->end);
  EXPECT_EQ(callers_[5]->end->cause, StreamEnd::Cause::no_place);
}

TEST_F(ConnectionPoolTest, ConnectionsThatDrainTakeUpNobodysRoom) {
  options_.connections_max = 2;
  options_.draining_max = 1;
  start();
  for (std::size_t i = 0; i < 2; ++i) {
    Caller& log = opened({.stay = Stay::lasting});
    EXPECT_TRUE(log.open());
    backend_->connection(i).goaway();
    simulation_.settle();
  }
  EXPECT_TRUE(opened().open());
  EXPECT_TRUE(opened({.stay = Stay::lasting}).open());
  EXPECT_LE(pool_->connections(), 2 * options_.connections_max);
  for (std::size_t i = 0; i < 20; ++i) {
    if (i < backend_->accepted()) backend_->connection(i).goaway();
    simulation_.settle();
    opened();
    EXPECT_LE(pool_->connections(), 2 * options_.connections_max);
  }
}

// --- suspects --------------------------------------------------------------------------------

class SuspectPoolTest : public ConnectionPoolTest {
 protected:
  void SetUp() override {
    ConnectionPoolTest::SetUp();
    options_.streams_per_connection_max = 4;
  }
};

TEST_F(SuspectPoolTest, OneUnansweredStreamPerConnection) {
  start(PoolKind::suspect);
  for (int i = 0; i < 6; ++i) open();
  simulation_.settle();
  ASSERT_EQ(pool_->open_streams(), 6U);
  for (std::size_t i = 0; i < backend_->accepted(); ++i) {
    EXPECT_LE(backend_->connection(i).open_streams_max(), 1U) << i;
  }
}

TEST_F(SuspectPoolTest, AConnectionTakesTheNextStreamOnceTheLastWasAnswered) {
  options_.connections_max = 1;
  start(PoolKind::suspect);
  Caller& watch = opened();
  Caller& next = opened();
  EXPECT_TRUE(next.waiting());
  request(0).begin(200);  // the head is enough: authentication is over
  simulation_.settle();
  EXPECT_TRUE(watch.open());
  EXPECT_TRUE(next.open());
}

TEST_F(SuspectPoolTest, ACancelledStreamMakesRoomForWhoWaits) {
  options_.connections_max = 1;
  start(PoolKind::suspect);
  Caller& gone = opened();
  Caller& next = opened();
  EXPECT_TRUE(next.waiting());
  gone.stream.cancel();
  simulation_.settle();
  EXPECT_TRUE(next.open());
}

TEST_F(SuspectPoolTest, APlaceThatCameFreeIsNotTakenWhileAnAnswerIsAwaited) {
  options_.connections_max = 1;
  start(PoolKind::suspect);
  opened();
  request(0).begin(200);
  simulation_.settle();
  opened().stream.cancel();
  Caller& unanswered = opened();
  Caller& next = opened();
  simulation_.advance(2 * options_.cancelled_place_held);
  EXPECT_TRUE(unanswered.open());
  EXPECT_TRUE(next.waiting());
  request(2).begin(200);
  simulation_.settle();
  EXPECT_TRUE(next.open());
}

TEST_F(SuspectPoolTest, AnAnonymousRequestIsTheLastOnItsConnection) {
  start(PoolKind::suspect);
  Caller& anonymous = opened({.ends_connection = true});
  request(0).begin(200);
  simulation_.settle();
  EXPECT_TRUE(anonymous.open());
  for (int i = 0; i < 3; ++i) opened();
  EXPECT_THAT(backend_->connection(0).requests(), SizeIs(1));
  request(0).finish();
  simulation_.settle();
  EXPECT_TRUE(anonymous.completed());
  EXPECT_TRUE(backend_->connection(0).closed());
}

TEST_F(SuspectPoolTest, NothingFollowsA401OnItsConnection) {
  start(PoolKind::suspect);
  Caller& unknown = opened();
  request(0).answer(401);
  simulation_.settle();
  EXPECT_EQ(unknown.status, 401);
  EXPECT_TRUE(unknown.completed());
  Caller& next = opened();
  EXPECT_TRUE(next.open());
  EXPECT_THAT(backend_->connection(0).requests(), SizeIs(1));
}

TEST_F(SuspectPoolTest, A401ElsewhereSaysNothingAboutTheConnection) {
  start(PoolKind::identity);
  opened();
  request(0).answer(401);
  simulation_.settle();
  opened();
  EXPECT_THAT(backend_->connection(0).requests(), SizeIs(2));
}

TEST_F(SuspectPoolTest, ConnectsAreSpaced) {
  options_.connect_spacing = 20ms;
  start(PoolKind::suspect);
  for (int i = 0; i < 10; ++i) open();
  simulation_.settle();
  EXPECT_EQ(backend_->accepted(), 1U);
  simulation_.advance(100ms + late);
  EXPECT_GE(backend_->accepted(), 4U);
  EXPECT_LE(backend_->accepted(), 6U);
}

// --- the life of a connection ----------------------------------------------------------------

TEST_F(ConnectionPoolTest, AnIdleConnectionIsClosedBeforeTheBackendWouldDoIt) {
  start();
  opened();
  answer_all();
  simulation_.advance(options_.idle_timeout - 1s);
  EXPECT_FALSE(backend_->connection(0).closed());
  simulation_.advance(1s + options_.ping_interval);
  EXPECT_TRUE(backend_->connection(0).closed());
}

TEST_F(ConnectionPoolTest, AnIdleConnectionComesBackOnDemandOnly) {
  start();
  opened();
  answer_all();
  simulation_.advance(10min);
  EXPECT_EQ(backend_->accepted(), 1U);
  EXPECT_EQ(pool_->connections(), 0U);
  EXPECT_FALSE(pool_->unreachable());
  EXPECT_TRUE(opened().open());
}

TEST_F(ConnectionPoolTest, AConnectionWithAStreamIsNotIdle) {
  start();
  Caller& watch = opened();
  request(0).begin(200);
  simulation_.advance(30min);
  EXPECT_TRUE(watch.open());
  EXPECT_EQ(backend_->accepted(), 1U);
  EXPECT_EQ(pool_->counters().ping_timeouts, 0U);
}

TEST_F(ConnectionPoolTest, AConnectionIsReplacedWhenItsAgeIsReached) {
  start();
  Caller& watch = opened();
  request(0).begin(200);
  const Duration lived = time_to_next_connection();
  EXPECT_GE(lived, options_.connection_age_max * 4 / 5);
  EXPECT_LE(lived, options_.connection_age_max + 2 * options_.ping_interval);
  EXPECT_TRUE(watch.open());  // until it ends by itself
  EXPECT_EQ(pool_->ready_connections(), 1U);
  EXPECT_TRUE(opened().open());
  EXPECT_THAT(backend_->connection(1).requests(), SizeIs(1));
  watch.stream.cancel();
  simulation_.settle();
  EXPECT_TRUE(backend_->connection(0).closed());
}

// A PING that is an hour away holds up neither.
TEST_F(ConnectionPoolTest, IdlenessAndAgeDoNotWaitForAPing) {
  options_.ping_interval = 1h;
  options_.connection_age_max = 10min;
  start();
  opened();
  answer_all();
  simulation_.advance(options_.idle_timeout + late);
  EXPECT_TRUE(backend_->connection(0).closed());
  opened();
  request(1).begin(200);
  simulation_.advance(options_.connection_age_max + late);
  EXPECT_EQ(backend_->accepted(), 3U);
}

TEST_F(ConnectionPoolTest, ConnectionsThatWereOpenedTogetherAreNotReplacedTogether) {
  start();
  std::set<Duration> lives;
  constexpr std::uint64_t pools = 6;
  for (std::uint64_t seed = 1; seed <= pools; ++seed) {
    pool_->terminate();
    simulation_.settle();
    make_pool(PoolKind::bearer, seed);
    opened();
    lives.insert(time_to_next_connection());
  }
  EXPECT_GE(lives.size(), pools - 1);
}

TEST_F(ConnectionPoolTest, ABackendThatFallsSilentLosesItsConnectionAfterAPing) {
  start();
  Caller& watch = opened();
  request(0).begin(200);
  simulation_.settle();
  backend_->mute = true;
  simulation_.advance(options_.ping_interval + options_.ping_timeout - 1s);
  EXPECT_TRUE(watch.open());
  simulation_.advance(1s + options_.ping_interval);
  ASSERT_TRUE(watch.end);
  EXPECT_EQ(watch.end->cause, StreamEnd::Cause::connection_lost);
  EXPECT_EQ(pool_->counters().ping_timeouts, 1U);
}

TEST_F(ConnectionPoolTest, AfterAFailedProbeASilentConnectionEndsSoonWhateverItsPings) {
  start();
  Caller& watch = opened();
  request(0).begin(200);
  simulation_.settle();
  backend_->mute = true;
  const Instant failed = simulation_.now();
  pool_->check([] { return true; });
  pool_->check([] { return true; });  // asked already
  simulation_.advance(options_.check_timeout + late);
  ASSERT_TRUE(watch.end);
  EXPECT_EQ(watch.end->cause, StreamEnd::Cause::connection_lost);
  EXPECT_EQ(pool_->counters().ping_timeouts, 1U);
  EXPECT_EQ(events_.back().what, PoolEvent::connection_lost);
  EXPECT_LE(events_.back().when - failed, options_.check_timeout + late);
}

TEST_F(ConnectionPoolTest, AConnectionThatAnswersItsPingLivesWhateverTheProbeSays) {
  start();
  Caller& watch = opened();
  request(0).begin(200);
  for (int i = 0; i < 10; ++i) {
    simulation_.settle();
    pool_->check([] { return true; });
    simulation_.advance(options_.check_timeout + late);
  }
  EXPECT_TRUE(watch.open());
  EXPECT_EQ(pool_->counters().ping_timeouts, 0U);
}

TEST_F(ConnectionPoolTest, WhereNoBackendAnswersNoConnectionIsEnded) {
  start();
  Caller& watch = opened();
  request(0).begin(200);
  simulation_.settle();
  backend_->mute = true;
  pool_->check([] { return false; });
  simulation_.advance(options_.check_timeout + late);
  EXPECT_TRUE(watch.open());
  pool_->check([] { return true; });  // later others do
  simulation_.advance(options_.check_timeout + late);
  EXPECT_TRUE(watch.end);
}

TEST_F(ConnectionPoolTest, WhoWasNotRunningAsksAgainBeforeItEndsAConnection) {
  start();
  Caller& watch = opened();
  request(0).begin(200);
  simulation_.settle();
  backend_->mute = true;
  pool_->check([] { return true; });
  simulation_.network().now_ += options_.check_timeout + 300ms;
  simulation_.settle();
  EXPECT_TRUE(watch.open());
  simulation_.advance(options_.check_timeout + late);
  EXPECT_TRUE(watch.end);
}

// --- mistakes of ours --------------------------------------------------------------------------

// By their positions in ConnectionOwner::Connected.
constexpr std::uint32_t into_ready = 1U << 1U;
constexpr std::uint32_t into_draining = 1U << 2U;

TEST_F(ConnectionPoolTest, AMistakeOfOursOnTheWayToReadyCostsThatConnectionAlone) {
  test::Mistake mistake("backend connection", into_ready);
  start();
  Caller& caller = opened();
  simulation_.advance(5s);
  EXPECT_TRUE(mistake.made());
  EXPECT_TRUE(caller.open()) << "on the next connection";
  EXPECT_EQ(pool_->connections(), pool_->ready_connections());
  EXPECT_TRUE(
      mistake.log_text().contains("a backend connection is ended by a mistake of this program"));
}

TEST_F(ConnectionPoolTest, AMistakeOfOursOnTheWayToDrainingEndsItsStreamsAndNoOthers) {
  options_.streams_per_connection_max = 1;
  start();
  Caller& lost = opened();
  Caller& other = opened();
  ASSERT_TRUE(lost.open() && other.open());
  test::Mistake mistake("backend connection", into_draining);
  backend_->requests().at(0)->connection->goaway();
  simulation_.settle();
  EXPECT_TRUE(mistake.made());
  ASSERT_TRUE(lost.end);
  EXPECT_EQ(lost.end->cause, StreamEnd::Cause::connection_lost);
  EXPECT_TRUE(other.open());
  EXPECT_GE(simulation_.transport().counters().wrong_transitions, 1U);
  EXPECT_TRUE(
      mistake.log_text().contains("a backend connection is ended by a mistake of this program"));
}

}  // namespace
}  // namespace sluice::backend
