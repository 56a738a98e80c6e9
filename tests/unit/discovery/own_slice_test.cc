// SPDX-License-Identifier: GPL-3.0-or-later
// What a slice that others may edit can do, and what it cannot.
#include "sluice/discovery/own_slice.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>
#include <string>
#include <vector>

#include "sluice/discovery/slices.h"
#include "sluice/discovery/target.h"

namespace sluice::discovery {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;
using Outcome = OwnSlice::Outcome;

io::Address at(const std::string& host, int port = 6443) {
  const bool v6 = host.contains(':');
  return *io::Address::parse((v6 ? "[" + host + "]" : host) + ":" + std::to_string(port));
}
io::Network network(std::string_view text) { return *io::Network::parse(text); }

class OwnSliceTest : public testing::Test {
 protected:
  OwnSliceTest() { slice_.use(options_); }

  OwnSlice::Known known() {
    return {.ours = [this](const io::Address& address) { return ours_.contains(address.host()); },
            .written =
                [this](const io::Address& address) { return written_.contains(address.host()); }};
  }
  // Whom it refuses anew.
  std::vector<std::string> take(const std::vector<std::string>& hosts) {
    std::vector<io::Address> named;
    for (const std::string& host : hosts) named.push_back(at(host));
    return texts(slice_.take(named, known(), now_));
  }
  static std::vector<std::string> texts(const std::vector<OwnSlice::Refused>& refused) {
    std::vector<std::string> texts;
    for (const auto& [address, why] : refused) {
      texts.push_back(address.to_string() + ": " + std::string(to_string(why)));
    }
    return texts;
  }
  static std::vector<std::string> hosts(const std::vector<io::Address>& addresses) {
    std::vector<std::string> hosts;
    for (const io::Address& address : addresses) hosts.push_back(address.host());
    return hosts;
  }
  std::vector<std::string> due() { return hosts(slice_.due(places_max, now_)); }
  std::vector<std::string> found() { return hosts(slice_.found()); }
  Outcome tried(const std::string& host, const std::string& why_not = "") {
    return slice_.tried(at(host), why_not, now_);
  }
  void find(const std::vector<std::string>& hosts) {
    take(hosts);
    for (const std::string& host : due()) EXPECT_EQ(tried(host), Outcome::found);
  }
  // Who is forgotten because of it; "": nobody.
  std::string lose(const std::vector<std::string>& hosts) {
    std::vector<io::Address> lost;
    for (const std::string& host : hosts) lost.push_back(at(host));
    const auto gone = slice_.look(lost, now_);
    return gone ? gone->host() : "";
  }

  OwnSliceOptions options_{.networks = {network("10.0.0.0/24"), network("fd00::/64")},
                           .port = 6443};
  std::set<std::string> ours_, written_;
  OwnSlice slice_;
  Instant now_{1h};
};

TEST_F(OwnSliceTest, WhoIsNamedIsFoundOnceHeHasShownThatHeIsOne) {
  EXPECT_FALSE(slice_.settled());
  EXPECT_THAT(take({"10.0.0.2", "fd00::3"}), IsEmpty());
  EXPECT_THAT(found(), IsEmpty());
  EXPECT_FALSE(slice_.settled());
  EXPECT_THAT(due(), ElementsAre("10.0.0.2", "fd00::3"));
  EXPECT_THAT(due(), IsEmpty());
  EXPECT_EQ(tried("fd00::3"), Outcome::found);
  EXPECT_THAT(found(), ElementsAre("fd00::3"));
  EXPECT_EQ(slice_.candidates(), 1U);
  EXPECT_EQ(tried("10.0.0.2", "no answer in time"), Outcome::waits);
  EXPECT_THAT(found(), ElementsAre("fd00::3"));
  EXPECT_TRUE(slice_.settled());
}

TEST_F(OwnSliceTest, WhoDoesNotPassIsTriedAgainAtLongerAndLongerIntervals) {
  take({"10.0.0.2"});
  std::vector<Duration> waits;
  for (int i = 0; i < 9; ++i) {
    const Instant before = now_;
    while (due().empty()) now_ += 500ms;
    waits.push_back(now_ - before);
    EXPECT_EQ(tried("10.0.0.2", "refused"), i == 0 ? Outcome::waits : Outcome::repeats);
  }
  EXPECT_THAT(waits, ElementsAre(0s, 1s, 2s, 4s, 8s, 16s, 32s, 60s, 60s));
  now_ += 1min;
  EXPECT_THAT(due(), SizeIs(1));
  EXPECT_EQ(tried("10.0.0.2", "another reason"), Outcome::waits);
}

TEST_F(OwnSliceTest, OtherPortsOtherNetworksAndOurOwnAddressesAreNotEvenTried) {
  ours_ = {"10.0.0.9"};
  EXPECT_THAT(take({"10.0.1.2", "10.0.0.9", "fd01::1", "10.0.0.2"}),
              ElementsAre("10.0.1.2:6443: outside of the networks", "10.0.0.9:6443: our own",
                          "[fd01::1]:6443: outside of the networks"));
  EXPECT_THAT(due(), ElementsAre("10.0.0.2"));
  EXPECT_THAT(texts(slice_.take({at("10.0.0.2", 443)}, known(), now_)),
              ElementsAre("10.0.0.2:443: another port"));
  EXPECT_EQ(slice_.refused(), 1U);
  EXPECT_EQ(slice_.refused_total(), 4U);
}

TEST_F(OwnSliceTest, WhoIsRefusedIsToldOnceForEachTimeThatItComes) {
  EXPECT_THAT(take({"10.0.1.2"}), SizeIs(1));
  EXPECT_THAT(take({"10.0.1.2", "10.0.0.2"}), IsEmpty());
  EXPECT_THAT(texts(slice_.judge_again(known(), now_)), IsEmpty());
  EXPECT_THAT(take({"10.0.0.2"}), IsEmpty());
  EXPECT_THAT(take({"10.0.1.2"}), SizeIs(1));
}

TEST_F(OwnSliceTest, LoopbackAndLinkLocalNeedANetworkThatIsOfThemAlone) {
  const auto refused = [](const std::string& net, const std::string& host) {
    return refusal_of({.networks = {network(net)}, .port = 6443}, at(host)).has_value();
  };
  EXPECT_TRUE(refused("0.0.0.0/1", "127.0.0.1"));
  EXPECT_FALSE(refused("127.0.0.0/8", "127.0.0.1"));
  EXPECT_FALSE(refused("127.0.0.1/32", "127.0.0.1"));
  EXPECT_TRUE(refused("169.0.0.0/8", "169.254.1.1"));
  EXPECT_FALSE(refused("169.254.0.0/16", "169.254.1.1"));
  EXPECT_TRUE(refused("::/1", "::1"));
  EXPECT_FALSE(refused("::1/128", "::1"));
  EXPECT_TRUE(refused("fe00::/8", "fe80::1"));
  EXPECT_TRUE(refused("fe00::/8", "febf::1"));
  EXPECT_FALSE(refused("fe80::/10", "febf::1"));
  EXPECT_FALSE(refused("fe00::/8", "fec0::1"));
  EXPECT_TRUE(refused("224.0.0.0/4", "224.0.0.1"));
  EXPECT_TRUE(refused("ff00::/8", "ff02::1"));
}

TEST_F(OwnSliceTest, WhomAnOperatorNamesIsNobodysBusinessHere) {
  written_ = {"10.0.0.1", "10.0.7.7"};
  EXPECT_THAT(take({"10.0.0.1", "10.0.7.7"}), IsEmpty());
  EXPECT_THAT(due(), IsEmpty());
  EXPECT_TRUE(slice_.settled());
}

TEST_F(OwnSliceTest, WhoIsNotNamedAnyMoreStaysAsLongAsHeLives) {
  find({"10.0.0.2", "10.0.0.3"});
  take({"10.0.0.4"});
  now_ += 24h;
  EXPECT_EQ(lose({}), "");
  EXPECT_THAT(found(), ElementsAre("10.0.0.2", "10.0.0.3"));
}

TEST_F(OwnSliceTest, WhoIsLostAndNotNamedIsForgottenAfterAWhileAndNobodyElse) {
  find({"10.0.0.2", "10.0.0.3", "10.0.0.4"});
  take({"10.0.0.4"});
  EXPECT_EQ(lose({"10.0.0.2", "10.0.0.4"}), "");
  now_ += 29s;
  EXPECT_EQ(lose({"10.0.0.2", "10.0.0.4"}), "");
  now_ += 1s;
  EXPECT_EQ(lose({"10.0.0.2", "10.0.0.4"}), "10.0.0.2");
  now_ += 1h;
  // It is lost, and named.
  EXPECT_EQ(lose({"10.0.0.4"}), "");
  EXPECT_THAT(found(), ElementsAre("10.0.0.3", "10.0.0.4"));
}

TEST_F(OwnSliceTest, OneLossTakesOneAwayHoweverOftenTheSliceChanges) {
  find({"10.0.0.2", "10.0.0.3", "10.0.0.4"});
  take({"10.0.0.9"});
  lose({"10.0.0.2", "10.0.0.3"});
  now_ += 30s;
  EXPECT_EQ(lose({"10.0.0.2", "10.0.0.3"}), "10.0.0.2");
  // It has come back meanwhile.
  for (int i = 0; i < 100; ++i) {
    take({i % 2 == 0 ? "10.0.0.8" : "10.0.0.9"});
    EXPECT_EQ(lose({}), "");
    now_ += 1s;
  }
  EXPECT_EQ(lose({"10.0.0.3"}), "");
  EXPECT_THAT(found(), ElementsAre("10.0.0.3", "10.0.0.4"));
}

TEST_F(OwnSliceTest, ASliceWithoutAnybodySaysNothing) {
  find({"10.0.0.2"});
  EXPECT_THAT(take({}), IsEmpty());
  lose({"10.0.0.2"});
  now_ += 1h;
  EXPECT_EQ(lose({"10.0.0.2"}), "");
}

TEST_F(OwnSliceTest, WhoHasBecomeOursIsForgottenAtOnce) {
  find({"10.0.0.2", "10.0.0.3"});
  ours_ = {"10.0.0.2", "10.0.0.3"};
  take({"10.0.0.3"});
  EXPECT_THAT(found(), IsEmpty());
  EXPECT_EQ(slice_.refused(), 1U);
}

TEST_F(OwnSliceTest, OtherNetworksLetNobodyStayThatTheyDoNotHave) {
  find({"10.0.0.2", "fd00::3"});
  take({"10.0.0.2", "fd00::3", "10.0.0.4"});
  EXPECT_THAT(due(), ElementsAre("10.0.0.4"));
  options_.networks = {network("fd00::/64")};
  slice_.use(options_);
  EXPECT_THAT(found(), ElementsAre("fd00::3"));
  // What was under way when they changed.
  EXPECT_EQ(tried("10.0.0.4"), Outcome::nobodys);
  EXPECT_THAT(texts(slice_.judge_again(known(), now_)), SizeIs(2));
  EXPECT_THAT(found(), ElementsAre("fd00::3"));
}

TEST_F(OwnSliceTest, WhoIsNamedNoLongerWhileHeIsTriedIsNotFound) {
  take({"10.0.0.2"});
  EXPECT_THAT(due(), SizeIs(1));
  take({"10.0.0.3"});
  EXPECT_EQ(tried("10.0.0.2"), Outcome::nobodys);
  EXPECT_EQ(tried("10.0.0.77"), Outcome::nobodys);
  EXPECT_THAT(found(), IsEmpty());
}

TEST_F(OwnSliceTest, FewAreTriedAtATimeAndNobodyIsPassedOverHoweverManyAreNamed) {
  options_.networks = {network("10.0.0.0/8")};
  slice_.use(options_);
  std::vector<std::string> many;
  for (std::size_t i = 0; i < Slices::addresses_max; ++i) {
    many.push_back("10.1." + std::to_string(i / 256) + "." + std::to_string(i % 256));
  }
  take(many);
  EXPECT_THAT(due(), SizeIs(OwnSlice::tried_at_once));
  EXPECT_THAT(due(), IsEmpty());
  std::set<std::string> seen = {"10.1.0.0", "10.1.0.1", "10.1.0.2", "10.1.0.3"};
  for (const std::string& host : std::set(seen)) tried(host, "refused");
  for (int i = 0; i < 1000 && seen.size() < many.size(); ++i) {
    now_ += 100ms;
    for (const std::string& host : due()) {
      seen.insert(host);
      tried(host, "refused");
    }
  }
  // Those that were tried and are due again wait behind those that never were.
  EXPECT_EQ(seen.size(), many.size());
  EXPECT_LT(now_ - Instant{1h}, 30s);
}

TEST_F(OwnSliceTest, NoMoreAreFoundThanThereIsRoomFor) {
  find({"10.0.0.2", "10.0.0.3"});
  take({"10.0.0.2", "10.0.0.3", "10.0.0.4"});
  EXPECT_THAT(slice_.due(2, now_), IsEmpty());
  EXPECT_THAT(slice_.due(3, now_), SizeIs(1));
}

}  // namespace
}  // namespace sluice::discovery
