// SPDX-License-Identifier: GPL-3.0-or-later
// Questions to a server of our own, over real sockets.
#include "sluice/discovery/resolver.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <future>
#include <string>
#include <utility>
#include <vector>

#include "dns_server.h"

namespace sluice::discovery {
namespace {

using namespace std::chrono_literals;
using test::DnsServer;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;
using Code = DnsServer::Code;

// For what comes at once on a busy machine.
constexpr auto patience = 20s;

std::vector<std::string> hosts(const std::optional<Records>& records) {
  std::vector<std::string> hosts;
  if (!records) return {"nothing is known"};
  for (const io::Address& address : records->addresses) hosts.push_back(address.host());
  return hosts;
}

class ResolverTest : public testing::Test {
 protected:
  std::future<NameAnswer> ask(const std::string& name, Duration deadline = patience) {
    std::promise<NameAnswer> promise;
    auto answer = promise.get_future();
    resolver_.ask({.name = name, .servers = servers_, .deadline = deadline},
                  [promise = std::move(promise)](NameAnswer answered) mutable {
                    promise.set_value(std::move(answered));
                  });
    return answer;
  }
  NameAnswer answer(const std::string& name, Duration deadline = patience) {
    auto answer = ask(name, deadline);
    if (answer.wait_for(patience) == std::future_status::ready) return answer.get();
    ADD_FAILURE() << "no answer for " << name;
    return {};
  }

  DnsServer server_;
  std::vector<io::Address> servers_{server_.address()};
  Resolver resolver_;
};

TEST_F(ResolverTest, FindsAllAddressesOfBothKindsAndHowLongTheyAreGoodFor) {
  server_.set("api.test", {.ipv4 = {"10.0.0.1", "10.0.0.2"}, .ipv6 = {"fd00::1"}, .ttl = 42});
  const NameAnswer got = answer("api.test");
  EXPECT_THAT(hosts(got.ipv4), ElementsAre("10.0.0.1", "10.0.0.2"));
  EXPECT_THAT(hosts(got.ipv6), ElementsAre("fd00::1"));
  EXPECT_EQ(got.ipv4->ttl, 42s);
  EXPECT_EQ(got.error, "");
}

TEST_F(ResolverTest, ANameOfOneKindAloneIsNoFailure) {
  server_.set("four.test", {.ipv4 = {"10.0.0.1"}});
  server_.set("six.test", {.ipv6 = {"fd00::1"}});
  const NameAnswer four = answer("four.test");
  EXPECT_THAT(hosts(four.ipv6), IsEmpty());
  EXPECT_EQ(four.error, "");
  const NameAnswer six = answer("six.test");
  EXPECT_THAT(hosts(six.ipv4), IsEmpty());
  EXPECT_EQ(six.error, "");
}

TEST_F(ResolverTest, TellsWhatDoesNotExistFromWhatIsNotKnown) {
  server_.set("broken.test", {.code = Code::server_failure});
  server_.set("closed.test", {.code = Code::refused});
  server_.set("empty.test", {});
  const NameAnswer none = answer("none.test");
  EXPECT_THAT(hosts(none.ipv4), IsEmpty());
  EXPECT_THAT(hosts(none.ipv6), IsEmpty());
  EXPECT_EQ(none.error, "there is no such name");
  const NameAnswer empty = answer("empty.test");
  EXPECT_THAT(hosts(empty.ipv4), IsEmpty());
  EXPECT_EQ(empty.error, "it has no addresses");
  for (const char* name : {"broken.test", "closed.test"}) {
    const NameAnswer got = answer(name);
    EXPECT_FALSE(got.ipv4 || got.ipv6) << name;
    EXPECT_NE(got.error, "") << name;
  }
}

TEST_F(ResolverTest, AKindThatFailsDoesNotHideTheOther) {
  server_.set("half.test", {.ipv4 = {"10.0.0.1"}, .ipv6_fails = true});
  const NameAnswer got = answer("half.test");
  EXPECT_THAT(hosts(got.ipv4), ElementsAre("10.0.0.1"));
  EXPECT_FALSE(got.ipv6.has_value());
  EXPECT_THAT(got.error, testing::HasSubstr("IPv6: "));
}

TEST_F(ResolverTest, FiftyAddressesComeAsOneAnswerAndACutOneComesWholeOverTcp) {
  std::vector<std::string> many;
  for (int i = 1; i <= 50; ++i) many.push_back("10.0.1." + std::to_string(i));
  server_.set("many.test", {.ipv4 = many});
  EXPECT_THAT(hosts(answer("many.test").ipv4), SizeIs(50));
  EXPECT_EQ(server_.asked_over_tcp(), 0U);
  server_.set("cut.test", {.ipv4 = many, .truncated = true});
  EXPECT_THAT(hosts(answer("cut.test").ipv4), SizeIs(50));
  EXPECT_GT(server_.asked_over_tcp(), 0U);
}

TEST_F(ResolverTest, AServerThatSaysNothingIsWaitedForNoLongerThanTheDeadlineAndDelaysNobody) {
  server_.set("silent.test", {.silent = true});
  server_.set("late.test", {.ipv4 = {"10.0.0.1"}, .delay = 10s});
  server_.set("api.test", {.ipv4 = {"10.0.0.1"}});
  auto silent = ask("silent.test", 300ms);
  auto late = ask("late.test", 300ms);
  EXPECT_THAT(hosts(answer("api.test").ipv4), ElementsAre("10.0.0.1"));
  for (auto* each : {&silent, &late}) {
    ASSERT_EQ(each->wait_for(5s), std::future_status::ready);
    const NameAnswer got = each->get();
    EXPECT_FALSE(got.ipv4 || got.ipv6);
    EXPECT_EQ(got.error, "no answer in time");
  }
}

TEST_F(ResolverTest, WhereOneServerIsNotThereTheNextOneIsAsked) {
  server_.set("api.test", {.ipv4 = {"10.0.0.1"}});
  servers_.insert(servers_.begin(), *io::Address::parse("127.0.0.1:9"));
  EXPECT_THAT(hosts(answer("api.test").ipv4), ElementsAre("10.0.0.1"));
}

TEST_F(ResolverTest, NoSearchDomainMakesAnotherNameOfIt) {
  server_.set("api", {.ipv4 = {"10.0.0.1"}});
  EXPECT_THAT(hosts(answer("api").ipv4), ElementsAre("10.0.0.1"));
  EXPECT_EQ(server_.asked("api"), 2U);  // A and AAAA
}

TEST_F(ResolverTest, MoreQuestionsThanItAsksAtOnceAreAllAnswered) {
  std::vector<std::future<NameAnswer>> answers;
  for (std::size_t i = 0; i < 3 * Resolver::at_once_max; ++i) {
    const std::string name = "api-" + std::to_string(i) + ".test";
    server_.set(name, {.ipv4 = {"10.0.0.1"}, .delay = 5ms});
    answers.push_back(ask(name));
  }
  for (auto& each : answers) {
    ASSERT_EQ(each.wait_for(patience), std::future_status::ready);
    EXPECT_THAT(hosts(each.get().ipv4), ElementsAre("10.0.0.1"));
  }
}

TEST_F(ResolverTest, ItsEndWaitsForNoServer) {
  server_.set("silent.test", {.silent = true});
  bool answered = false;
  {
    Resolver other;
    other.ask({.name = "silent.test", .servers = servers_, .deadline = 1h},
              [&](const NameAnswer&) { answered = true; });
  }
  EXPECT_FALSE(answered);
}

}  // namespace
}  // namespace sluice::discovery
