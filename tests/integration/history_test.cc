// SPDX-License-Identifier: GPL-3.0-or-later
// API servers that are restarted one after the other, quickly: each comes back without the history
// that watches need to go on, and answers 410 to those that were elsewhere. What counts is how
// often clients then list everything.
#include <fmt/format.h>

#include <map>
#include <set>

#include "harness.h"

namespace sluice::test {
namespace {

class HistoryTest : public IntegrationTest {
 protected:
  static constexpr std::size_t watches = 50;

  // Pods change, namespaces do not.
  void start_watching(const Flags& sluice_flags = {}) {
    start(sluice_flags, {"--pods=10", "--bookmark-interval=1h"});
    client_ = connect(&credentials.alice);
    for (std::size_t i = 0; i < watches; ++i) go_on(i, revision());
    EXPECT_TRUE(settle_until([&] { return open_at_servers() == watches; }));
  }
  std::uint64_t revision() {
    return static_cast<std::uint64_t>(
        std::stoull(apisim->get("/counters").find("revision")->to_string()));
  }
  void go_on(std::size_t number, std::uint64_t from) {
    Watch& watch = watches_[number];
    watch.revision = from;
    watch.id = client_->ask(
        {.path = fmt::format("/api/v1/{}?watch=1&allowWatchBookmarks=true&timeoutSeconds=600"
                             "&resourceVersion={}",
                             number % 2 == 0 ? "pods" : "namespaces", from)});
    by_id_[watch.id] = number;
  }
  // As client-go does: a clean end is gone on from, at the last version that was seen; a 410 is
  // answered by a list.
  void look_after_watches() {
    for (const Http2Client::Id id : client_->take_over()) {
      const auto found = by_id_.find(id);
      if (found == by_id_.end()) continue;
      const std::size_t number = found->second;
      by_id_.erase(found);
      const Answer& answer = client_->answer(id);
      EXPECT_EQ(answer.ending, Ending::end_stream) << answer.describe();
      EXPECT_EQ(answer.status, 200);
      if (answer.body.contains(R"("code":410)")) {
        listed_.insert(number);
        ++lists_;
        go_on(number, revision());
      } else {
        go_on(number, last_version(answer.body, watches_[number].revision));
      }
    }
  }
  static std::uint64_t last_version(const std::string& events, std::uint64_t otherwise) {
    constexpr std::string_view name = R"("resourceVersion":")";
    const std::size_t at = events.rfind(name);
    return at == std::string::npos ? otherwise : std::stoull(events.substr(at + name.size()));
  }
  bool settle_until(const std::function<bool()>& done) {
    return loop->run_until([&] {
      look_after_watches();
      return done();
    });
  }
  void settle_for(Duration duration) {
    const Clock::time_point until = Clock::now() + duration;
    settle_until([&] { return Clock::now() >= until; });
  }
  std::uint64_t open_at_servers() { return apisim->total({"watches_open"}); }

  // It is gone and back, and all watches are somewhere.
  void restart(std::size_t server) {
    apisim->post(fmt::format("/servers/{}/kill", server));
    EXPECT_TRUE(settle_until([&] { return health(server) == "not_ready"; }));
    settle_for(200ms);
    // Whatever it knew before, some time has passed.
    apisim->post("/events?count=5");
    apisim->post(fmt::format("/servers/{}/restart?history=empty", server));
    EXPECT_TRUE(settle_until([&] { return health(server) == "ready" && age(server) <= 10; }));
    EXPECT_TRUE(settle_until([&] { return open_at_servers() == watches; }));
    settle_for(2500ms);  // watches that have just begun end late
    EXPECT_EQ(open_at_servers(), watches);
  }
  const Json backend(std::size_t server) {
    auto page = Json::parse(sluice->page("/backends").body);
    return page->find("backends")->array()->at(server);
  }
  std::string health(std::size_t server) { return std::string(backend(server).text("health")); }
  std::uint64_t age(std::size_t server) {
    const Json its = backend(server);
    const Json* seconds = its.find("ageSeconds");
    return seconds == nullptr ? UINT64_MAX : std::stoull(seconds->to_string());
  }

  struct Watch {
    Http2Client::Id id = 0;
    std::uint64_t revision = 0;
  };
  std::unique_ptr<Http2Client> client_;
  std::map<std::size_t, Watch> watches_;
  std::map<Http2Client::Id, std::size_t> by_id_;
  std::set<std::size_t> listed_;
  std::size_t lists_ = 0;
};

TEST_F(HistoryTest, ServersThatWereHereBeforeUsAreAsOldAsTheySay) {
  start();
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_TRUE(eventually([&] { return age(i) >= 86'000 && age(i) < 90'000; })) << age(i);
  }
  // Once each: the page is long.
  loop->run_for(3s);
  EXPECT_EQ(apisim->seen("/metrics").size(), 3U);
}

TEST_F(HistoryTest, WhileAnOldServerIsLeftNobodyListsAgain) {
  start_watching();
  restart(0);
  restart(1);
  EXPECT_EQ(lists_, 0U);
  EXPECT_GT(sluice->metric("sluice_replays_total", {"no_history"}), 0.0);
  EXPECT_GT(sluice->metric("sluice_watches_held_total"), 0.0);
  EXPECT_EQ(sluice->metric("sluice_watches_expired_total"), 0.0);
}

TEST_F(HistoryTest, ARollOfAllServersCostsAQuietWatchOneListAndABusyOneNone) {
  start_watching();
  for (std::size_t server = 0; server < 3; ++server) {
    restart(server);
    apisim->post("/events?count=50");
    settle_for(200ms);
  }
  // Of the 25 that see no event, only those that were at the last server.
  EXPECT_LE(lists_, 25U);
  for (const std::size_t number : listed_) EXPECT_EQ(number % 2, 1U) << number;
  EXPECT_EQ(lists_, listed_.size()) << "somebody listed twice";
}

TEST_F(HistoryTest, WithoutThatARollCostsMoreThanAListEach) {
  start_watching({"--watch-history-age=0s", "--watch-steering-age=0s"});
  for (std::size_t server = 0; server < 3; ++server) restart(server);
  EXPECT_GT(lists_, 25U);
  EXPECT_EQ(sluice->metric("sluice_watches_held_total"), 0.0);
}

}  // namespace
}  // namespace sluice::test
