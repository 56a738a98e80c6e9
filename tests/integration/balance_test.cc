// SPDX-License-Identifier: GPL-3.0-or-later
// Every stream is balanced on its own, also of one client on one connection.
#include <fmt/format.h>

#include <algorithm>

#include "harness.h"

namespace sluice::test {
namespace {

const std::vector<std::string> gets = {"requests", "configmaps", "get"};

struct OneConnection {
  bool by_certificate;
  std::size_t at_once;
};

class BalanceOfOneConnectionTest : public IntegrationTest,
                                   public testing::WithParamInterface<OneConnection> {};

TEST_P(BalanceOfOneConnectionTest, SharesAreEven) {
  start();
  const auto client = connect(GetParam().by_certificate ? &credentials.alice : nullptr);
  ASSERT_TRUE(client->ready());
  constexpr std::size_t requests = 3000;
  std::size_t good = 0;
  run({client.get()},
      {.count = requests,
       .at_once = GetParam().at_once,
       .ask =
           [&](std::size_t) {
             return Ask{.path = std::string(object_path),
                        .fields = GetParam().by_certificate ? FieldList() : bearer()};
           },
       .check = [&](std::size_t,
                    const Answer& answer) { good += answer.status == 200 && answer.whole(); }});
  EXPECT_EQ(good, requests);
  const std::vector<std::uint64_t> shares = apisim->counts(gets);
  EXPECT_EQ(shares[0] + shares[1] + shares[2], requests);
  EXPECT_LE(max_over_mean(shares), 1.05)
      << fmt::format("{} {} {}", shares[0], shares[1], shares[2]);
}

INSTANTIATE_TEST_SUITE_P(All, BalanceOfOneConnectionTest,
                         testing::Values(OneConnection{true, 1}, OneConnection{true, 16},
                                         OneConnection{false, 1}, OneConnection{false, 16}),
                         [](const auto& param_info) {
                           return fmt::format(
                               "{}{}AtOnce",
                               param_info.param.by_certificate ? "Certificate" : "Token",
                               param_info.param.at_once);
                         });

using BalanceTest = IntegrationTest;

// With one slow backend the policies that look at work avoid it, the others do not.
class BalancePolicyTest : public IntegrationTest,
                          public testing::WithParamInterface<std::string> {};

TEST_P(BalancePolicyTest, ServesAndTreatsASlowBackendAsItsNameSays) {
  const std::string policy = GetParam();
  start({"--balance=" + policy}, {"--latency=0=20ms"});
  const auto client = connect();
  constexpr std::size_t requests = 1500;
  std::size_t good = 0;
  run({client.get()},
      {.count = requests,
       .at_once = 16,
       .ask = [](std::size_t) { return Ask{.path = std::string(object_path), .fields = bearer()}; },
       .check = [&](std::size_t,
                    const Answer& answer) { good += answer.status == 200 && answer.whole(); }});
  EXPECT_EQ(good, requests);
  const std::vector<std::uint64_t> shares = apisim->counts(gets);
  EXPECT_EQ(shares[0] + shares[1] + shares[2], requests);
  const double slow = static_cast<double>(shares[0]) / requests;
  if (policy == "power-of-two" || policy == "least") {
    EXPECT_LT(slow, 0.25) << shares[0];
  } else if (policy == "round-robin") {
    EXPECT_NEAR(slow, 1.0 / 3, 0.01) << shares[0];
  } else {
    // Five standard deviations.
    EXPECT_NEAR(slow, 1.0 / 3, 0.061) << shares[0];
  }
}

INSTANTIATE_TEST_SUITE_P(All, BalancePolicyTest,
                         testing::Values("power-of-two", "least", "random", "round-robin"),
                         [](const auto& param_info) {
                           std::string name = param_info.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

// Each worker alone would share evenly, too: what tells them apart is a worker that must make up
// for what only the other one has done.
TEST_F(BalanceTest, TwoWorkersShareOnePicture) {
  start_apisim();
  apisim->post("/servers/1/kill");
  apisim->post("/servers/2/kill");
  start_sluice({.flags = {"--workers=2", "--backend-slow-start=0s"}});
  const auto first = connect(&credentials.alice);
  open_watches(*first, 60);
  EXPECT_EQ(apisim->counts({"watches_open"}), (std::vector<std::uint64_t>{60, 0, 0}));
  apisim->post("/servers/1/restart");
  apisim->post("/servers/2/restart");
  ASSERT_TRUE(eventually([&] { return sluice->metric("sluice_backend_ready") == 3; }, 15s));
  // The kernel deals them to both workers, but for one run in a thousand.
  std::vector<std::unique_ptr<Http2Client>> clients;
  for (int i = 0; i < 10; ++i) {
    clients.push_back(connect(&credentials.alice));
    open_watches(*clients.back(), 6);
  }
  const std::vector<std::uint64_t> watches = apisim->counts({"watches_open"});
  EXPECT_EQ(watches[0], 60U);
  EXPECT_EQ(watches[1] + watches[2], 60U);
  // Two of three are compared, and one of them is the full one in two of three cases: the
  // difference walks at random towards nothing and is n or more in about one of 2^n runs.
  EXPECT_LE(max_over_mean({watches[1], watches[2]}), 1.34)
      << fmt::format("{} {}", watches[1], watches[2]);
}

TEST_F(BalanceTest, WatchesAreSpreadByTheirNumber) {
  start();
  const auto client = connect(&credentials.alice);
  const auto other = connect();
  open_watches(*client, 45);
  open_watches(*other, 45, bearer());
  const std::vector<std::uint64_t> watches = apisim->counts({"watches_open"});
  EXPECT_EQ(watches[0] + watches[1] + watches[2], 90U);
  EXPECT_LE(max_over_mean(watches), 1.1)
      << fmt::format("{} {} {}", watches[0], watches[1], watches[2]);
  // Watches are no work: short requests still come out even.
  std::size_t good = 0;
  run({client.get()},
      {.count = 300,
       .at_once = 4,
       .ask = [](std::size_t) { return Ask{.path = std::string(object_path)}; },
       .check = [&](std::size_t, const Answer& answer) { good += answer.status == 200; }});
  EXPECT_EQ(good, 300U);
  EXPECT_LE(max_over_mean(apisim->counts(gets)), 1.15);
}

TEST_F(BalanceTest, BackendsPageTellsWhatEachBackendGot) {
  start();
  const auto client = connect(&credentials.alice);
  open_watches(*client, 6);
  for (int i = 0; i < 30; ++i)
    EXPECT_EQ(client->fetch({.path = std::string(object_path)}).status, 200);
  const auto page = Json::parse(sluice->page("/backends").body);
  ASSERT_TRUE(page.has_value());
  std::uint64_t requests = 0;
  std::uint64_t watches = 0;
  for (const Json& backend : *page->find("backends")->array()) {
    EXPECT_EQ(backend.text("health"), "ready");
    EXPECT_EQ(backend.find("trustsIdentity")->to_string(), "true");
    requests += std::strtoull(backend.find("requests")->to_string().c_str(), nullptr, 10);
    watches += std::strtoull(backend.find("watches")->to_string().c_str(), nullptr, 10);
  }
  EXPECT_EQ(requests, 36U);
  EXPECT_EQ(watches, 6U);
}

TEST_F(BalanceTest, ABackendsStreamLimitIsRespectedAndMoreConnectionsOpenInTime) {
  start({}, {"--max-streams=10"});
  const auto client = connect(&credentials.alice);
  open_watches(*client, 60);
  apisim->post("/servers/all/set?latency=50ms");
  constexpr std::size_t requests = 1000;
  std::size_t good = 0;
  run({client.get()},
      {.count = requests,
       .at_once = 150,
       .ask = [](std::size_t) { return Ask{.path = std::string(object_path)}; },
       .check = [&](std::size_t, const Answer& answer) { good += answer.status == 200; }});
  EXPECT_EQ(good, requests);
  loop->run_for(600ms);  // counters of connections are published twice a second
  EXPECT_EQ(sluice->metric("sluice_backend_streams_refused_total"), 0.0);
  EXPECT_EQ(sluice->metric("sluice_backend_connections_lost_total"), 0.0);
  EXPECT_EQ(apisim->total({"protocol_errors"}), 0U);
  EXPECT_GE(apisim->total({"connections_open"}), 9U);
}

}  // namespace
}  // namespace sluice::test
