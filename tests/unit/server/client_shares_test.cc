// SPDX-License-Identifier: GPL-3.0-or-later
// Who is refused, and who makes room for newcomers.
#include "client_shares.h"

#include <gtest/gtest.h>

#include <deque>
#include <memory>
#include <vector>

namespace sluice::server {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t connections_max = 160;  // of which 11 are kept free
constexpr std::uint64_t crowd = 1;

class Place final : public SharedPlace {
 public:
  explicit Place(Instant since) : since_(since) {}
  Instant resting_since() const override { return since_; }
  void make_room(Duration) override { asked = true; }
  bool asked = false;

 private:
  Instant since_;
};

class ClientSharesTest : public testing::Test {
 protected:
  Place& add(std::uint64_t client, bool proven = false) {
    places_.push_back(std::make_unique<Place>(now));
    shares.add(*places_.back(), client);
    if (proven) shares.prove(*places_.back());
    admission.connections.fetch_add(1);
    return *places_.back();
  }
  std::size_t asked() const {
    std::size_t count = 0;
    for (const auto& place : places_) count += place->asked ? 1U : 0U;
    return count;
  }
  std::uint64_t counted(Share share) const { return registry.total(metrics.shares.at(share)); }
  static proxy::ClientFacts from(std::uint64_t name) {
    proxy::ClientFacts client;
    client.keys = {.network = name, .user = name + 1000};
    return client;
  }

  balance::ChargeTable charges;
  net::AdmissionBudget admission{connections_max};
  ClientOptions options;
  metrics::Registry registry;
  ClientMetrics metrics{registry};
  metrics::Cells cells{registry};
  ClientShares shares{charges, admission, options, cells, metrics};
  Instant now{1h};

 private:
  std::deque<std::unique_ptr<Place>> places_;
};

TEST_F(ClientSharesTest, OneAddressHoldsUpToItsLimitAndOthersAreNotRefusedForIt) {
  options.connections_per_address = 3;
  std::vector<balance::ChargeLease> leases;
  for (int i = 0; i < 3; ++i) leases.push_back(std::move(*shares.of_address(from(7), now)));
  EXPECT_FALSE(shares.of_address(from(7), now));
  EXPECT_TRUE(shares.of_address(from(8), now));
  EXPECT_EQ(counted(Share::address), 1U);
  leases.pop_back();
  EXPECT_TRUE(shares.of_address(from(7), now));
  EXPECT_EQ(counted(Share::identity), 0U);
}

TEST_F(ClientSharesTest, IdentitiesAreCountedApartFromAddresses) {
  options.connections_per_address = 2;
  options.connections_per_identity = 1;
  const auto address = shares.of_address(from(7), now);
  const auto identity = shares.of_identity(from(7), now);
  EXPECT_TRUE(address && identity);
  EXPECT_FALSE(shares.of_identity(from(7), now));
  EXPECT_EQ(counted(Share::identity), 1U);
}

TEST_F(ClientSharesTest, WhoIsExemptIsCountedAndNotRefused) {
  options.connections_per_address = 1;
  options.connections_per_identity = 1;
  proxy::ClientFacts trusted = from(7);
  trusted.exempt = true;
  const auto first = shares.of_address(trusted, now);
  const auto second = shares.of_address(trusted, now);
  ASSERT_TRUE(first && second);
  EXPECT_EQ(second->held(), 2U);
  const auto third = shares.of_identity(trusted, now);
  EXPECT_TRUE(third && shares.of_identity(trusted, now));
  EXPECT_EQ(counted(Share::address) + counted(Share::identity), 0U);
}

TEST_F(ClientSharesTest, ZeroIsNoLimit) {
  options.connections_per_address = 0;
  std::vector<balance::ChargeLease> leases;
  for (int i = 0; i < 20'000; ++i) leases.push_back(std::move(*shares.of_address(from(7), now)));
  EXPECT_EQ(leases.back().held(), 20'000U);
}

TEST_F(ClientSharesTest, WhileThereIsRoomNobodyIsAsked) {
  for (int i = 0; i < 149; ++i) add(crowd);
  shares.make_room(now + 1h);
  EXPECT_EQ(asked(), 0U);
}

TEST_F(ClientSharesTest, WhoHoldsMostMakesRoomAndNoMoreThanIsNeeded) {
  Place& other = add(2);
  for (int i = 0; i < 151; ++i) add(crowd);
  shares.make_room(now + 1min);
  EXPECT_EQ(asked(), 3U);
  EXPECT_FALSE(other.asked);
  EXPECT_EQ(counted(Share::room), 3U);
  // They are on their way.
  shares.make_room(now + 1min);
  EXPECT_EQ(asked(), 3U);
  for (int i = 0; i < 3; ++i) {
    admission.connections.fetch_sub(1);
    shares.made_room();
  }
  shares.make_room(now + 1min);
  EXPECT_EQ(asked(), 3U);
}

TEST_F(ClientSharesTest, WhoWorksIsNotAsked) {
  for (int i = 0; i < 155; ++i) add(crowd).work();
  Place& idle = add(2);
  shares.make_room(now + 1min);
  EXPECT_TRUE(idle.asked);
  EXPECT_EQ(asked(), 1U);
}

TEST_F(ClientSharesTest, WhoHasJustComeHasTimeForItsHandshakeAndAMomentWithoutRoom) {
  for (int i = 0; i < 155; ++i) add(crowd);
  shares.make_room(now + 9s);
  EXPECT_EQ(asked(), 0U);
  admission.connections.store(connections_max);
  shares.make_room(now + 100ms);
  EXPECT_EQ(asked(), 0U);
  shares.make_room(now + 300ms);
  EXPECT_EQ(asked(), 11U);
}

TEST_F(ClientSharesTest, StrangersDisplaceEachOtherAndNotTheProven) {
  std::vector<Place*> proven;
  for (int i = 0; i < 100; ++i) proven.push_back(&add(crowd, true));
  for (std::uint64_t i = 0; i < 56; ++i) add(100 + i);
  shares.make_room(now + 1min);
  EXPECT_EQ(asked(), 7U);
  for (const Place* each : proven) EXPECT_FALSE(each->asked);
}

TEST_F(ClientSharesTest, FewStrangersAreLeftRoomByTheProven) {
  std::vector<Place*> strangers;
  for (int i = 0; i < 150; ++i) add(crowd, true);
  for (std::uint64_t i = 0; i < 10; ++i) strangers.push_back(&add(100 + i));
  shares.make_room(now + 1min);
  EXPECT_EQ(asked(), 11U);
  for (const Place* each : strangers) EXPECT_FALSE(each->asked);
}

TEST_F(ClientSharesTest, AfterAFailedAcceptSomeGoThoughThereIsRoom) {
  for (int i = 0; i < 20; ++i) add(crowd);
  admission.starved.store(true);
  shares.make_room(now + 1s);
  EXPECT_EQ(asked(), 8U);
  shares.make_room(now + 1s);
  EXPECT_EQ(asked(), 8U);
}

}  // namespace
}  // namespace sluice::server
