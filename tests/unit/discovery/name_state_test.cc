// SPDX-License-Identifier: GPL-3.0-or-later
// What is known of a name while answers come, fail and change.
#include "sluice/discovery/name_state.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

namespace sluice::discovery {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

constexpr Instant start{1h};

Records records(const std::vector<std::string>& hosts, Duration ttl = 30s) {
  Records made{.addresses = {}, .ttl = ttl};
  for (const std::string& host : hosts) {
    const bool v6 = host.contains(':');
    const io::Address parsed = *io::Address::parse(v6 ? "[" + host + "]:1" : host + ":1");
    made.addresses.push_back(io::Address::from_ip(parsed.ip(), 0));
  }
  return made;
}
NameAnswer found(const std::vector<std::string>& hosts, Duration ttl = 30s) {
  return {records(hosts, ttl), Records{}, ""};
}
const NameAnswer unanswered{std::nullopt, std::nullopt, "no answer in time"};
const NameAnswer no_such_name{Records{}, Records{}, "there is no such name"};

class NameStateTest : public testing::Test {
 protected:
  void take(const NameAnswer& answer, Instant now = start) {
    name_.asked();
    name_.take(answer, now);
  }
  std::vector<std::string> hosts() const {
    std::vector<std::string> hosts;
    for (const io::Address& address : name_.addresses()) hosts.push_back(address.host());
    return hosts;
  }
  Duration wait() const { return name_.next() - start; }

  NameState name_;
};

TEST_F(NameStateTest, IsAskedAtOnceAndNotAgainBeforeItsAnswer) {
  EXPECT_TRUE(name_.due(Instant{}));
  name_.asked();
  EXPECT_FALSE(name_.due(start + 24h));
  EXPECT_FALSE(name_.settled());
  name_.take(found({"10.0.0.1"}), start);
  EXPECT_TRUE(name_.settled());
  EXPECT_FALSE(name_.due(start + 29s));
  EXPECT_TRUE(name_.due(start + 30s));
}

TEST_F(NameStateTest, HowLongAnAnswerIsGoodForIsBoundedOnBothSides) {
  take(found({"10.0.0.1"}, 0s));
  EXPECT_EQ(wait(), NameState::again_min);
  take(found({"10.0.0.1"}, 24h));
  EXPECT_EQ(wait(), NameState::again_max);
  take({records({"10.0.0.1"}, 60s), records({"fd00::1"}, 20s), ""});
  EXPECT_EQ(wait(), 20s);
  // A kind that has none says nothing about it.
  take({records({"10.0.0.1"}, 60s), Records{}, ""});
  EXPECT_EQ(wait(), 60s);
}

TEST_F(NameStateTest, TheSameSetIsTheSameListInWhateverOrderItCame) {
  take(found({"10.0.0.3", "10.0.0.1", "10.0.0.2", "10.0.0.1"}));
  EXPECT_THAT(hosts(), ElementsAre("10.0.0.1", "10.0.0.2", "10.0.0.3"));
  take({records({"10.0.0.2", "10.0.0.1"}), records({"fd00::2", "fd00::1"}), ""});
  EXPECT_THAT(hosts(), ElementsAre("10.0.0.1", "10.0.0.2", "fd00::1", "fd00::2"));
}

TEST_F(NameStateTest, NoFailureAndNoEmptyAnswerTakesAnAddressAway) {
  take(found({"10.0.0.1", "10.0.0.2"}));
  for (const NameAnswer& answer :
       {unanswered, no_such_name, NameAnswer{Records{}, Records{}, ""},
        NameAnswer{Records{}, std::nullopt, "IPv6: the server failed"}}) {
    take(answer);
    EXPECT_THAT(hosts(), ElementsAre("10.0.0.1", "10.0.0.2"));
    EXPECT_NE(name_.error(), "");
  }
  EXPECT_EQ(name_.failures(), 4U);
  take(found({"10.0.0.2"}));
  EXPECT_THAT(hosts(), ElementsAre("10.0.0.2"));
  EXPECT_EQ(name_.error(), "");
}

TEST_F(NameStateTest, AKindThatIsNotAnsweredKeepsItsAddressesWhileTheOtherChanges) {
  take({records({"10.0.0.1"}), records({"fd00::1"}), ""});
  take({records({"10.0.0.2"}), std::nullopt, "IPv6: no answer in time"});
  EXPECT_THAT(hosts(), ElementsAre("10.0.0.2", "fd00::1"));
  EXPECT_EQ(name_.failures(), 1U);
  // Said by somebody who knows.
  take({records({"10.0.0.2"}), Records{}, ""});
  EXPECT_THAT(hosts(), ElementsAre("10.0.0.2"));
}

TEST_F(NameStateTest, ThatThereAreNoneOfOneKindCountsOnlyBesideSomeOfTheOther) {
  take({records({"10.0.0.1"}), records({"fd00::1"}), ""});
  take({Records{}, std::nullopt, "IPv6: no answer in time"});
  EXPECT_THAT(hosts(), ElementsAre("10.0.0.1", "fd00::1"));
  EXPECT_EQ(wait(), NameState::again_min);
  take({std::nullopt, Records{}, "IPv4: the server failed"});
  EXPECT_THAT(hosts(), ElementsAre("10.0.0.1", "fd00::1"));
  take({Records{}, records({"fd00::1"}), ""});
  EXPECT_THAT(hosts(), ElementsAre("fd00::1"));
}

TEST_F(NameStateTest, WaitsLongerAfterEachFailureAndLessWhileNothingIsKnown) {
  std::vector<Duration> waits;
  for (int i = 0; i < 7; ++i) {
    take(unanswered);
    waits.push_back(wait());
  }
  EXPECT_THAT(waits, ElementsAre(1s, 2s, 4s, 8s, 16s, 30s, 30s));
  EXPECT_THAT(hosts(), IsEmpty());
  take(found({"10.0.0.1"}));
  waits.clear();
  for (int i = 0; i < 4; ++i) {
    take(no_such_name);
    waits.push_back(wait());
  }
  EXPECT_THAT(waits, ElementsAre(5s, 10s, 20s, 30s));
}

TEST_F(NameStateTest, AnAnswerWithoutEndIsBounded) {
  std::vector<std::string> hosts;
  for (int i = 0; i < 1000; ++i) {
    hosts.push_back("10.0." + std::to_string(i / 250) + "." + std::to_string(i % 250));
  }
  take(found(hosts));
  EXPECT_THAT(name_.addresses(), SizeIs(NameState::addresses_max));
}

}  // namespace
}  // namespace sluice::discovery
