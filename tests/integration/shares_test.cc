// SPDX-License-Identifier: GPL-3.0-or-later
// A slow, flapping, overloaded or returning API server gets the share that it can carry, and an
// outage of all costs its clients no time.
#include <fmt/format.h>

#include <algorithm>
#include <functional>

#include "harness.h"

namespace sluice::test {
namespace {

const std::vector<std::string> gets = {"requests", "configmaps", "get"};

class SharesTest : public IntegrationTest {
 protected:
  // Requests of some clients for so long; how many were answered, and how many badly.
  struct Result {
    std::size_t asked = 0;
    std::size_t failed = 0;
    std::vector<std::uint64_t> shares;
    double share(std::size_t server) const {
      return static_cast<double>(shares.at(server)) /
             static_cast<double>(shares[0] + shares[1] + shares[2]);
    }
  };
  Result load(Http2Client& client, Duration time, std::size_t at_once,
              const std::function<void()>& meanwhile = {}) {
    Result result;
    const std::vector<std::uint64_t> before = apisim->counts(gets);
    const Clock::time_point end = Clock::now() + time;
    std::vector<Http2Client::Id> asked;
    while (Clock::now() < end) {
      while (asked.size() < at_once) {
        asked.push_back(client.ask({.path = std::string(object_path)}));
      }
      loop->run_for(2ms);
      if (meanwhile) meanwhile();
      std::erase_if(asked, [&](const Http2Client::Id id) {
        const Answer& answer = client.answer(id);
        if (!answer.over) return false;
        ++result.asked;
        if (answer.status != 200 || !answer.whole()) ++result.failed;
        return true;
      });
    }
    for (const Http2Client::Id id : asked) client.wait(id, 20s);
    const std::vector<std::uint64_t> after = apisim->counts(gets);
    for (std::size_t i = 0; i < after.size(); ++i) result.shares.push_back(after[i] - before[i]);
    return result;
  }
  double weight(std::size_t server) const {
    return sluice->metric("sluice_backend_weight",
                          {fmt::format("backend=\"{}\"", apisim->servers()[server].to_string())});
  }
};

TEST_F(SharesTest, ASlowServerGetsAThirdOfItsFairShareAtMostAndComesBack) {
  start();
  const auto client = connect(&credentials.alice);
  load(*client, 1s, 16);
  apisim->post("/servers/1/set?latency=500ms");
  EXPECT_TRUE(eventually(
      [&] {
        load(*client, 500ms, 16);
        return weight(1) < 0.34;
      },
      40s));
  EXPECT_EQ(sluice->metric("sluice_backend_lowered", {"reason=\"slow\""}), 1.0);
  EXPECT_TRUE(sluice->page("/backends").body.contains(R"("lowered":"slow")"));
  const Result slow = load(*client, 5s, 16);
  EXPECT_EQ(slow.failed, 0U);
  EXPECT_LT(slow.share(1), 1.0 / 9) << slow.shares[1];
  EXPECT_GT(slow.shares[1], 0U);  // by which it is seen to be good again
  apisim->post("/servers/1/set?latency=0ms");
  EXPECT_TRUE(eventually(
      [&] {
        load(*client, 500ms, 16);
        return weight(1) == 1.0;
      },
      60s));
}

TEST_F(SharesTest, AServerThatFailsGetsLess) {
  start();
  const auto client = connect(&credentials.alice);
  apisim->post("/servers/2/set?fail-500=0.5");
  EXPECT_TRUE(eventually(
      [&] {
        load(*client, 500ms, 16);
        return weight(2) < 0.34;
      },
      20s));
  EXPECT_EQ(sluice->metric("sluice_backend_lowered", {"reason=\"failing\""}), 1.0);
  const Result failing = load(*client, 3s, 16);
  EXPECT_LT(failing.share(2), 1.0 / 9);
}

TEST_F(SharesTest, WithoutAReviewNobodyGetsLess) {
  start({"--backend-review=false"});
  const auto client = connect(&credentials.alice);
  apisim->post("/servers/2/set?fail-500=0.5");
  const Result failing = load(*client, 5s, 16);
  EXPECT_GT(failing.share(2), 0.3);
  EXPECT_EQ(weight(2), 1.0);
}

TEST_F(SharesTest, AServerThatReturnsBeginsWithLittle) {
  start();
  const auto client = connect(&credentials.alice);
  load(*client, 1s, 8);
  apisim->post("/servers/1/kill");
  ASSERT_TRUE(eventually([&] { return sluice->metric("sluice_backend_ready") == 2; }, 10s));
  load(*client, 1s, 8);
  apisim->post("/servers/1/restart");
  ASSERT_TRUE(eventually([&] { return sluice->metric("sluice_backend_ready") == 3; }, 15s));
  const Result first = load(*client, 2s, 8);
  EXPECT_EQ(first.failed, 0U);
  EXPECT_LT(first.share(1), 0.2);
  EXPECT_GT(first.shares[1], 0U);
  for (int second = 2; second < 22; second += 2) {
    const Result later = load(*client, 2s, 8);
    EXPECT_LT(later.share(1), 0.36) << second;
  }
  const Result last = load(*client, 2s, 8);
  EXPECT_GT(last.share(1), 0.3);
}

TEST_F(SharesTest, AServerThatComesAndGoesIsLeftOutAndCostsOneRequestInAHundredAtMost) {
  start();
  const auto client = connect(&credentials.alice);
  load(*client, 1s, 8);
  bool up = true;
  Clock::time_point next = Clock::now();
  const Result all = load(*client, 36s, 8, [&] {
    if (Clock::now() < next) return;
    apisim->post(up ? "/servers/0/kill" : "/servers/0/restart");
    up = !up;
    next = Clock::now() + 3s;
  });
  EXPECT_GT(all.asked, 1000U);
  EXPECT_LE(static_cast<double>(all.failed), 0.01 * static_cast<double>(all.asked)) << all.failed;
  // In the second half it is not used at all.
  EXPECT_LE(sluice->metric("sluice_backend_ready"), 2.0);
  EXPECT_LT(all.share(0), 0.1);
}

// The smallest number of connects to one server is that of its probes.
TEST_F(SharesTest, WhileAllServersAreDownClientsAreToldAtOnceAndTheFirstThatIsBackServes) {
  start();
  const auto client = connect(&credentials.alice);
  load(*client, 1s, 8);
  apisim->post("/servers/all/kill");
  ASSERT_TRUE(sluice->wait_page("/readyz", 503, 10s));
  loop->run_for(5s);
  const auto attempts = [&] { return sluice->metric("sluice_backend_connects_total"); };
  const double before = attempts();
  std::vector<Duration> times;
  for (int i = 0; i < 100; ++i) {
    const Answer answer = client->fetch({.path = std::string(object_path)}, 10s);
    EXPECT_EQ(answer.status, 503) << answer.describe();
    EXPECT_NE(answer.field("retry-after"), "");
    times.push_back(answer.ended_at - answer.asked);
    loop->run_for(100ms);
  }
  std::ranges::sort(times);
  // On a machine that does other things meanwhile.
  EXPECT_LT(times[times.size() * 9 / 10], 10ms);
  EXPECT_LT(times.back(), 500ms);
  // Beside the probe's one a second.
  EXPECT_LE(attempts() - before, 3 * (10 + 3));
  EXPECT_EQ(sluice->metric("sluice_exchanges"), 0.0);

  apisim->post("/servers/1/restart");
  const Clock::time_point back = Clock::now();
  EXPECT_TRUE(eventually(
      [&] { return client->fetch({.path = std::string(object_path)}).status == 200; }, 10s));
  EXPECT_LE(Clock::now() - back, 2500ms);
}

}  // namespace
}  // namespace sluice::test
