// SPDX-License-Identifier: GPL-3.0-or-later
// A client that is spread over servers sees what one server would have shown it: what it has
// written, lists that are not behind what it knows, one version.
#include <set>

#include "harness.h"

namespace sluice::test {
namespace {

constexpr std::string_view definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const FieldList json = {{"content-type", "application/json"}};

class AffinityTest : public IntegrationTest {
 protected:
  static std::string group(int number) { return "group-" + std::to_string(number) + ".test"; }
  static std::string things(int number) { return "/apis/" + group(number) + "/v1/things"; }

  int define(Http2Client& client, int number) {
    return client
        .fetch({.method = "POST",
                .path = std::string(definitions),
                .fields = json,
                .body = R"({"spec":{"group":")" + group(number) + R"("}})"})
        .status;
  }
  // Without the answers that are no failures of ours.
  int create(Http2Client& client, int number) {
    return client.fetch({.method = "POST", .path = things(number), .fields = json, .body = "{}"})
        .status;
  }
};

TEST_F(AffinityTest, WhatAClientHasDefinedItCanUseAtOnceWhileOtherServersLag) {
  start({"--workers=2", "--write-affinity=60s"}, {"--servers=3", "--lag=1h"});
  for (int i = 0; i < 30; ++i) {
    const auto client = connect(&credentials.alice);
    ASSERT_EQ(define(*client, i), 201);
    for (int n = 0; n < 4; ++n) EXPECT_EQ(create(*client, i), 201) << i;
    EXPECT_EQ(client->fetch({.path = things(i)}).status, 200) << i;
  }
  EXPECT_GE(sluice->metric("sluice_preferred_requests_total", {"reason=\"client_wrote\""}), 150);
}

// The connections are different workers', by chance: sixteen of them are hardly all of one.
TEST_F(AffinityTest, ItsNextConnectionCanToo) {
  start({"--workers=2", "--write-affinity=60s"}, {"--servers=3", "--lag=1h"});
  ASSERT_EQ(define(*connect(&credentials.alice), 1), 201);
  for (int i = 0; i < 16; ++i) {
    // A program takes longer to start than a message from one worker to the other.
    const auto client = connect(&credentials.alice);
    EXPECT_TRUE(eventually([&] { return create(*client, 1) == 201; }, 100ms)) << i;
    EXPECT_EQ(create(*client, 1), 201) << i;
  }
}

TEST_F(AffinityTest, AnotherClientMeetsServersThatLag) {
  start({"--write-affinity=60s"}, {"--servers=3", "--lag=1h"});
  ASSERT_EQ(define(*connect(&credentials.alice), 1), 201);
  const auto bob = connect(&credentials.bob);
  int missing = 0;
  for (int i = 0; i < 30; ++i) missing += create(*bob, 1) == 404;
  EXPECT_GT(missing, 5);
  EXPECT_LT(missing, 30);
}

TEST_F(AffinityTest, WithoutItTheClientMeetsThemItself) {
  start({"--write-affinity=0s"}, {"--servers=3", "--lag=1h"});
  const auto client = connect(&credentials.alice);
  ASSERT_EQ(define(*client, 1), 201);
  int missing = 0;
  for (int i = 0; i < 30; ++i) missing += create(*client, 1) == 404;
  EXPECT_GT(missing, 5);
}

TEST_F(AffinityTest, AServerWhoseCacheLagsSendsAListToWhereTheLastOneCameFrom) {
  start({}, {"--servers=3", "--fail-stale=0=1", "--fail-stale=1=1"});
  const auto client = connect(&credentials.alice);
  // Until the last list was that of the server that does not lag.
  const auto lists = [&](std::size_t server) {
    return apisim->count(server, {"requests", "pods", "list"});
  };
  ASSERT_TRUE(eventually([&] {
    const std::uint64_t before = lists(2);
    EXPECT_EQ(client->fetch({.path = "/api/v1/pods"}).status, 200);
    return lists(2) > before;
  }));
  int stale = 0;
  for (int i = 0; i < 60; ++i) {
    stale += client->fetch({.path = "/api/v1/pods?resourceVersion=1"}).status != 200;
  }
  EXPECT_EQ(stale, 0);
  EXPECT_GT(sluice->metric("sluice_replays_total", {"cause=\"stale_cache\""}), 10);
  EXPECT_EQ(sluice->metric("sluice_replays_in_vain_total", {"cause=\"stale_cache\""}), 0);
}

TEST_F(AffinityTest, AServerWhoseCacheIsNotFilledLeavesListsAndWatchesToOthers) {
  start({}, {"--servers=3", "--fail-initializing=0=1"});
  const auto client = connect(&credentials.alice);
  for (int i = 0; i < 40; ++i) {
    EXPECT_EQ(client->fetch({.path = "/api/v1/pods?limit=1"}).status, 200) << i;
  }
  open_watches(*client, 20);
  EXPECT_GT(sluice->metric("sluice_replays_total", {"cause=\"initializing\""}), 5);
}

TEST_F(AffinityTest, WhileVersionsDifferDiscoveryIsTheLowestsAndWhatIsNewWorks) {
  start({}, {"--servers=3", "--minor=1=38"});
  ASSERT_TRUE(eventually([&] {
    // Each of the three: what a server of an unknown version does not know is not moved.
    const auto of_version = [&](std::string_view minor) {
      const std::string page = sluice->page("/backends").body;
      const std::string version = std::string(R"("version":"1.)") + std::string(minor) + '"';
      std::ptrdiff_t found = 0;
      for (std::size_t at = page.find(version); at != std::string::npos;
           at = page.find(version, at + 1)) {
        ++found;
      }
      return found;
    };
    return of_version("38") == 1 && of_version("37") == 2;
  })) << sluice->page("/backends").body;
  const auto client = connect(&credentials.alice);
  std::set<std::string> answers;
  for (int i = 0; i < 40; ++i) {
    answers.insert(client->fetch({.path = "/apis"}).body);
    EXPECT_TRUE(client->fetch({.path = "/version"}).body.contains(R"("minor": "37")"));
  }
  EXPECT_EQ(answers.size(), 1U) << "it flaps";
  const std::string path = "/apis/resource.k8s.io/v1/resourceslices";
  for (int i = 0; i < 30; ++i) {
    EXPECT_EQ(client->fetch({.path = path}).status, 200);
    EXPECT_EQ(client->fetch({.method = "POST", .path = path, .fields = json, .body = "{}"}).status,
              201);
  }
  EXPECT_GT(sluice->metric("sluice_replays_total", {"cause=\"unknown_path\""}), 20);
  EXPECT_EQ(client->fetch({.path = "/apis/apps/v7/things"}).status, 404);
}

}  // namespace
}  // namespace sluice::test
