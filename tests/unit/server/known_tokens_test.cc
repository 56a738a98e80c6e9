// SPDX-License-Identifier: GPL-3.0-or-later
// What is known of tokens, from one process's workers to another's.
#include "known_tokens.h"

#include <gmock/gmock.h>

#include <array>
#include <memory>
#include <optional>

#include "deaf_events.h"
#include "scripted_backend.h"
#include "simulation.h"
#include "worker.h"

namespace sluice::server {
namespace {

using namespace std::chrono_literals;
using proxy::TokenChange;
using testing::IsEmpty;
using testing::SizeIs;
using Gathered = std::vector<ClusterProofs>;

TokenChange token(std::uint64_t number, std::uint64_t network = 1) {
  return {{number, number}, network, true};
}

std::vector<std::uint64_t> numbers(const std::vector<TokenChange>& tokens) {
  std::vector<std::uint64_t> all;
  for (const TokenChange& each : tokens) all.push_back(each.token.high);
  return all;
}

TEST(WithoutRepetitionsTest, KeepsTheLastPlaceOfEach) {
  EXPECT_EQ(numbers(without_repetitions({token(1), token(2), token(1), token(3), token(2)})),
            (std::vector<std::uint64_t>{1, 3, 2}));
  EXPECT_THAT(without_repetitions({}), IsEmpty());
}

class KnownTokensTest : public testing::Test, public DeafEvents {
 protected:
  struct Port final : WorkerPort {
    void post(std::move_only_function<void(Worker&)> message) override {
      if (silent) return;
      ++messages;
      reactor->mailbox().post([this, message = std::move(message)]() mutable { message(*worker); });
    }
    bool stopped() const override { return gone; }
    std::optional<io::TurnState> turn() const override { return std::nullopt; }

    io::Reactor* reactor = nullptr;
    std::unique_ptr<Worker> worker;
    bool silent = false;
    bool gone = false;
    int messages = 0;
  };

  KnownTokensTest() {
    const test::ClusterKeys& keys = test::ClusterKeys::get();
    ClusterOptions& cluster = options_.clusters.emplace_back();
    cluster.tls.certificate_chain_pem = keys.serving.pem();
    cluster.tls.private_key_pem = keys.serving.key_pem();
    cluster.backend_tls.plain.ca_pem = keys.serving_ca.pem();
    cluster.backends = {{*io::Address::parse("10.0.0.1:6443"), "api-0", "backend"}};
    options_.cpus.assign(ports_.size(), -1);
    shared_ = std::move(*Shared::create(options_));
    for (std::size_t i = 0; i < ports_.size(); ++i) {
      ports_[i].reactor = &simulation_.add_reactor();
      ports_[i].worker = std::move(*Worker::create(*ports_[i].reactor, i, options_.thread.worker,
                                                   {*shared_, *this, {1, 2}}, i));
    }
  }
  ~KnownTokensTest() override {
    for (Port& port : ports_) port.worker->stop();
    simulation_.settle();
  }

  std::vector<WorkerPort*> ports() { return {&ports_[0], &ports_[1]}; }
  std::optional<Gathered> gather(TokenGathering& gathering) {
    std::optional<Gathered> answer;
    gathering.ask([&](Gathered proofs) { answer = std::move(proofs); });
    simulation_.settle();
    if (!answer) simulation_.advance(1100ms);
    return answer;
  }
  std::size_t known_to(std::size_t worker) {
    return ports_[worker].worker->proven_tokens().at(0).tokens.size();
  }

  test::Simulation simulation_;
  ServerOptions options_;
  std::unique_ptr<Shared> shared_;
  std::array<Port, 2> ports_;
};

TEST_F(KnownTokensTest, WhatAnyWorkerKnowsIsGatheredOnce) {
  ports_[0].worker->learn(0, token(1, 5));
  ports_[0].worker->learn(0, token(2));
  ports_[1].worker->learn(0, token(2));
  ports_[1].worker->learn(0, token(3));
  TokenGathering gathering(simulation_.reactor(), ports());
  const auto all = gather(gathering);
  ASSERT_TRUE(all);
  ASSERT_THAT(*all, SizeIs(1));
  EXPECT_EQ((*all)[0].cluster, "");
  EXPECT_THAT(numbers((*all)[0].tokens), testing::UnorderedElementsAre(1, 2, 3));
  for (const TokenChange& each : (*all)[0].tokens) {
    EXPECT_EQ(each.network, each.token.high == 1 ? 5U : 1U);
  }
  EXPECT_TRUE(gather(gathering));  // as often as it is asked
}

TEST_F(KnownTokensTest, AWorkerThatDoesNotAnswerIsNotWaitedForLong) {
  ports_[0].worker->learn(0, token(1));
  ports_[1].silent = true;
  TokenGathering gathering(simulation_.reactor(), ports());
  auto all = gather(gathering);
  ASSERT_TRUE(all);
  EXPECT_EQ(numbers((*all)[0].tokens), std::vector<std::uint64_t>{1});
  ports_[0].silent = true;
  ports_[1].gone = true;
  all = gather(gathering);
  ASSERT_TRUE(all);
  EXPECT_THAT(*all, IsEmpty());
}

TEST_F(KnownTokensTest, AWorkerIsToldInPiecesOfTheClusterThatItUses) {
  std::vector<TokenChange> many;
  for (std::uint64_t i = 1; i <= 1000; ++i) many.push_back(token(i));
  InheritedTokens inherited(simulation_.reactor(), {{"other", {token(5000)}}, {"", many}});
  inherited.tell(ports_[0], 0, "");
  EXPECT_EQ(ports_[0].messages, 1);
  simulation_.advance(100ms);
  EXPECT_EQ(known_to(0), 1000U);
  EXPECT_GE(ports_[0].messages, 4);
  EXPECT_EQ(known_to(1), 0U);
  inherited.tell(ports_[1], 0, "a cluster that the process before did not have");
  simulation_.settle();
  EXPECT_EQ(known_to(1), 0U);
}

TEST_F(KnownTokensTest, ANumberThatIsAnotherClustersThereIsToldNothing) {
  InheritedTokens inherited(simulation_.reactor(), {{"gone", {token(1)}}});
  inherited.tell(ports_[0], 0, "gone");
  simulation_.settle();
  EXPECT_EQ(ports_[0].messages, 1);
  EXPECT_EQ(known_to(0), 0U);
}

TEST_F(KnownTokensTest, WhatWasKnownGrowsOld) {
  InheritedTokens inherited(simulation_.reactor(), {{"", {token(1)}}});
  simulation_.advance(InheritedTokens::told_at_most + 1s);
  inherited.tell(ports_[0], 0, "");
  simulation_.settle();
  EXPECT_EQ(known_to(0), 0U);
}

}  // namespace
}  // namespace sluice::server
