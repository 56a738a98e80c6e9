// SPDX-License-Identifier: GPL-3.0-or-later
// Which backends may be picked, and what a set passes on to its pools.
#include "sluice/backend/backend_set.h"

#include <gmock/gmock.h>

#include "backend_fixture.h"
#include "sluice/base/enumerators.h"

namespace sluice::backend {
namespace {

using testing::ElementsAre;

constexpr std::uint64_t all = 0b111;

class BackendSetTest : public testing::Test {
 protected:
  static constexpr int backends = 3;

  void TearDown() override {
    callers_.clear();
    if (set_) set_->terminate();
    for (const auto& backend : backends_) backend->stop();
    simulation_.settle();
    EXPECT_TRUE(!set_ || set_->terminated());
  }

  void listen(int number) {
    backends_.push_back(
        std::make_unique<test::ScriptedBackend>(simulation_.transport(), address_of(number)));
  }
  void listen() {
    for (int i = 1; i <= backends; ++i) listen(i);
  }

  void make_set(bool with_identity = true) {
    const test::ClusterKeys& keys = test::ClusterKeys::get();
    const BackendContexts contexts{keys.plain_context(),
                                   with_identity ? keys.identity_context() : nullptr};
    set_ = std::make_unique<BackendSet>(
        simulation_.transport(), cluster_, contexts, options_, 1,
        [this](std::size_t backend, PoolKind kind, PoolEvent event, const std::string&) {
          if (event == PoolEvent::connect_failed) failed_.emplace_back(backend, kind);
        });
  }

  Caller& open(std::size_t backend, PoolKind kind) {
    callers_.push_back(std::make_unique<Caller>());
    set_->pool(backend, kind)->open(callers_.back()->stream, {});
    return *callers_.back();
  }
  void set_health(std::size_t backend, Health health) {
    cluster_.backends[backend]->health.store(health);
  }

  test::Simulation simulation_;
  Cluster cluster_{{Endpoint{address_of(1), "api-1", "backend"},
                    Endpoint{address_of(2), "api-2", "backend"},
                    Endpoint{address_of(3), "api-3", "backend"}}};
  BackendSetOptions options_;
  std::vector<std::unique_ptr<test::ScriptedBackend>> backends_;
  std::unique_ptr<BackendSet> set_;
  std::vector<std::pair<std::size_t, PoolKind>> failed_;
  std::vector<std::unique_ptr<Caller>> callers_;
};

TEST(PoolKindTest, AreAsManyAsTheirNames) {
  EXPECT_EQ(enumerator_names<PoolKind>().size(), pool_kinds);
}

TEST_F(BackendSetTest, WhatWasNotProbedYetMayBeUsed) {
  make_set();
  EXPECT_FALSE(cluster_.any_usable());
  EXPECT_EQ(set_->usable(PoolKind::bearer, 0), all);
}

TEST_F(BackendSetTest, LeavesOutWhatIsNotReadyOrDrains) {
  make_set();
  set_health(0, Health::not_ready);
  set_health(1, Health::ready);
  EXPECT_TRUE(cluster_.any_usable());
  EXPECT_EQ(set_->usable(PoolKind::bearer, 0), 0b110U);
  EXPECT_EQ(set_->usable(PoolKind::bearer, 0b010), 0b100U);
}

TEST_F(BackendSetTest, LeavesOutSlowOnesWhileHalfOfThoseThatLiveRemain) {
  make_set();
  for (std::size_t i = 0; i < backends; ++i) set_health(i, Health::ready);
  set_health(0, Health::slow);
  EXPECT_EQ(set_->usable(PoolKind::bearer, 0), 0b110U);
  set_health(1, Health::slow);
  EXPECT_EQ(set_->usable(PoolKind::bearer, 0), all);
  set_health(0, Health::not_ready);
  EXPECT_EQ(set_->usable(PoolKind::bearer, 0), 0b100U);  // one of the two that live
  set_health(2, Health::slow);
  EXPECT_EQ(set_->usable(PoolKind::bearer, 0), 0b110U);
  EXPECT_TRUE(cluster_.any_usable());
}

TEST_F(BackendSetTest, AFailedProbeEndsSilentConnectionsOnlyWhileSomebodyAnswers) {
  listen();
  make_set();
  const Caller& caller = open(0, PoolKind::bearer);
  simulation_.settle();
  ASSERT_TRUE(caller.open());
  backends_[0]->mute = true;
  set_->check(0);
  simulation_.advance(options_.pool.check_timeout * 2);
  EXPECT_TRUE(caller.open());
  cluster_.backends[1]->answers.store(true);
  set_->check(0);
  simulation_.advance(options_.pool.check_timeout * 2);
  EXPECT_TRUE(caller.end);
}

TEST_F(BackendSetTest, WhenNoneLooksGoodThoseThatCanBeReachedAreUsed) {
  make_set();
  for (std::size_t i = 0; i < backends; ++i) set_health(i, Health::not_ready);
  EXPECT_EQ(set_->usable(PoolKind::bearer, all), all);
}

TEST_F(BackendSetTest, LeavesOutWhereTheLastConnectFailedUnlessItFailedEverywhere) {
  listen(1);
  make_set();
  set_->warm_up(PoolKind::bearer);
  simulation_.settle();
  EXPECT_EQ(failed_.size(), 2U);
  EXPECT_EQ(set_->usable(PoolKind::bearer, 0), 0b001U);
  set_health(0, Health::not_ready);
  EXPECT_EQ(set_->usable(PoolKind::bearer, 0), 0b001U);    // it can be reached, at least
  EXPECT_EQ(set_->usable(PoolKind::identity, 0), 0b110U);  // pools learn for themselves
  backends_[0]->stop();
  simulation_.settle();
  EXPECT_EQ(set_->usable(PoolKind::bearer, 0), all);  // any guess is better than none
}

// All pools share one pace: one that is asked for the first time might wait for seconds for its
// turn.
TEST_F(BackendSetTest, WhereNeitherProbesNorOthersGetThroughNobodyWaitsForAPoolThatHasNotTried) {
  make_set();
  set_->warm_up(PoolKind::bearer);
  simulation_.advance(20s);
  EXPECT_EQ(set_->usable(PoolKind::suspect, 0), all);  // probes have not said so
  for (std::size_t i = 0; i < backends; ++i) set_health(i, Health::not_ready);
  EXPECT_EQ(set_->usable(PoolKind::suspect, 0), 0U);
  cluster_.backends[2]->answers.store(true);
  EXPECT_EQ(set_->usable(PoolKind::suspect, 0), 0b100U);
}

TEST_F(BackendSetTest, WhereConnectingFailsAgainAndAgainNobodyWaitsAndAnAnsweredProbeEndsIt) {
  make_set();
  set_->warm_up(PoolKind::bearer);
  simulation_.settle();
  EXPECT_EQ(set_->usable(PoolKind::bearer, 0), all);  // one failure may be chance
  simulation_.advance(20s);
  EXPECT_EQ(set_->usable(PoolKind::bearer, 0), 0U);
  set_->look_after();
  listen();
  cluster_.backends[1]->answers.store(true);
  set_->look_after();
  simulation_.settle();
  EXPECT_EQ(set_->usable(PoolKind::bearer, 0), 0b010U);
  // Once, and not as often as somebody looks.
  backends_[1]->stop();
  simulation_.settle();
  const std::size_t failed = failed_.size();
  simulation_.advance(10s);
  for (int i = 0; i < 100; ++i) set_->look_after();
  simulation_.settle();
  EXPECT_LE(failed_.size(), failed + 30);
}

TEST_F(BackendSetTest, PoolsToABackendThatIsDownConnectOnceASecondTogether) {
  make_set();
  for (const PoolKind kind :
       {PoolKind::identity, PoolKind::bearer, PoolKind::suspect, PoolKind::suspect_identity}) {
    set_->warm_up(kind);
  }
  simulation_.advance(10s);
  failed_.clear();
  simulation_.advance(60s);
  EXPECT_LE(failed_.size(), 3 * 61U);
  EXPECT_GE(failed_.size(), 3 * 20U);
}

TEST_F(BackendSetTest, OnlyIdentityPoolsNeedTrust) {
  make_set();
  cluster_.backends[1]->trusts_identity.store(false);
  EXPECT_EQ(set_->usable(PoolKind::identity, 0), 0b101U);
  EXPECT_EQ(set_->usable(PoolKind::suspect_identity, 0), 0b101U);
  EXPECT_EQ(set_->usable(PoolKind::bearer, 0), all);
  EXPECT_EQ(set_->usable(PoolKind::suspect, 0), all);
}

TEST_F(BackendSetTest, WithoutTrustAnywhereNoIdentityTravels) {
  make_set();
  for (const auto& backend : cluster_.backends) backend->trusts_identity.store(false);
  EXPECT_EQ(set_->usable(PoolKind::identity, 0), 0U);
}

TEST_F(BackendSetTest, WithoutAFrontProxyCertificateThereAreNoIdentityPools) {
  make_set(false);
  EXPECT_EQ(set_->pool(0, PoolKind::identity), nullptr);
  EXPECT_EQ(set_->pool(0, PoolKind::suspect_identity), nullptr);
  EXPECT_EQ(set_->usable(PoolKind::identity, 0), 0U);
}

TEST_F(BackendSetTest, TheFirstUseOfAKindOpensAConnectionToEveryBackend) {
  listen();
  make_set();
  set_->warm_up(PoolKind::bearer);
  simulation_.settle();
  for (const auto& backend : backends_) EXPECT_EQ(backend->accepted(), 1U);
  set_->warm_up(PoolKind::bearer);
  simulation_.settle();
  for (const auto& backend : backends_) EXPECT_EQ(backend->accepted(), 1U);
  set_->warm_up(PoolKind::suspect);
  simulation_.settle();
  for (const auto& backend : backends_) EXPECT_EQ(backend->accepted(), 2U);
}

TEST_F(BackendSetTest, OnlyPoolsThatVouchShowTheFrontProxyCertificate) {
  listen();
  make_set();
  const std::vector kinds{PoolKind::identity, PoolKind::bearer, PoolKind::suspect,
                          PoolKind::suspect_identity};
  std::vector<bool> shown;
  for (const PoolKind kind : kinds) {
    EXPECT_EQ(set_->pool(0, kind)->kind(), kind);
    open(0, kind);
    simulation_.settle();
    shown.push_back(backends_[0]->requests().back()->connection->with_certificate());
    EXPECT_EQ(shown.back(), vouches(kind));
  }
  EXPECT_THAT(shown, ElementsAre(true, false, false, true));
}

TEST_F(BackendSetTest, SuspectsConnectMoreSlowlyThanOthers) {
  listen();
  make_set();
  for (int i = 0; i < 4; ++i) open(0, PoolKind::suspect);
  simulation_.settle();
  EXPECT_EQ(set_->pool(0, PoolKind::suspect)->open_streams(), 1U);
  simulation_.advance(options_.suspect_connect_spacing * 5);
  EXPECT_EQ(set_->pool(0, PoolKind::suspect)->open_streams(), 4U);
}

TEST_F(BackendSetTest, TheOwnerLearnsOfWhichPoolAnEventSpeaks) {
  make_set();
  open(2, PoolKind::identity);
  simulation_.settle();
  EXPECT_THAT(failed_, ElementsAre(std::pair(std::size_t{2}, PoolKind::identity)));
}

TEST_F(BackendSetTest, WhoHasMoreHistoryIsWhoIsNotYoungElseTheOldest) {
  make_set();
  const Instant now = Instant() + std::chrono::hours(100);
  const auto age = [&](std::size_t backend, Duration how_old) {
    cluster_.backends[backend]->started.store(now - how_old);
  };
  EXPECT_EQ(set_->younger_than(15min, now), 0U);
  age(0, 1min);
  EXPECT_EQ(set_->younger_than(15min, now), 0b001U);
  EXPECT_EQ(set_->younger_than(1min, now), 0U);
  EXPECT_EQ(set_->younger_than(Duration::zero(), now), 0U);
  EXPECT_EQ(set_->with_more_history(0, all, 15min, now), 0b110U);
  EXPECT_EQ(set_->with_more_history(0, 0b101, 15min, now), 0b100U);
  EXPECT_EQ(set_->with_more_history(0, 0b001, 15min, now), 0U);
  age(1, 3min);
  age(2, 2min);
  EXPECT_EQ(set_->with_more_history(0, all, 15min, now), 0b010U);
  EXPECT_EQ(set_->with_more_history(2, all, 15min, now), 0b010U);
  EXPECT_EQ(set_->with_more_history(1, all, 15min, now), 0U) << "it is the oldest";
  EXPECT_EQ(set_->with_more_history(0, 0b101, 15min, now), 0b100U);
}

}  // namespace
}  // namespace sluice::backend
