// SPDX-License-Identifier: GPL-3.0-or-later
// Objects, lists and watches, without a network.
#include "api.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace sluice::apisim {
namespace {

class ApiTest : public testing::Test {
 protected:
  static StoreOptions options() {
    StoreOptions small;
    small.pods = 7;
    small.configmaps = 2;
    small.pod_bytes = 600;
    small.history_events = 8;
    return small;
  }

  Reply ask(std::string_view method, std::string_view path, std::string_view body = {},
            std::string_view accept = "application/json",
            std::string_view content_type = "application/json") {
    request_ = Request::parse(method, path);
    return answer({.store = store_,
                   .random = random_,
                   .ready = true,
                   .history_floor = history_floor_,
                   .index = server_,
                   .lag = lag_,
                   .minor = minor_},
                  {request_, accept, content_type, body, {}});
  }

  // What a body gives until it waits or ends, in pieces of `room` bytes.
  static std::string read(Body& body, bool* ended = nullptr, std::size_t room = 100) {
    std::string out;
    std::vector<std::uint8_t> buffer(room);
    while (true) {
      const http2::BodyResult result = body.produce(buffer);
      out.append(as_text(Bytes(buffer).first(result.bytes)));
      if (ended != nullptr) *ended = result.status == http2::BodyStatus::finished;
      if (result.status == http2::BodyStatus::finished || result.bytes == 0) return out;
    }
  }
  static std::string read(const Reply& reply) {
    return reply.text ? *reply.text : read(*reply.body);
  }
  static Json parsed(const std::string& text) {
    auto json = Json::parse(text);
    EXPECT_TRUE(json) << text;
    return json ? std::move(*json) : Json();
  }
  static std::vector<Json> events(const std::string& text) {
    std::vector<Json> all;
    for (std::size_t begin = 0; begin < text.size();) {
      const std::size_t end = text.find('\n', begin);
      all.push_back(parsed(text.substr(begin, end - begin)));
      begin = end + 1;
    }
    return all;
  }
  static std::string_view name_of(const Json& event) {
    return event.find("object")->find("metadata")->text("name");
  }

  Store store_{options()};
  Random random_{1};
  Request request_;
  std::uint64_t history_floor_ = 0;
  std::size_t server_ = 0;
  Duration lag_{};
  std::uint32_t minor_ = 37;
};

TEST_F(ApiTest, MetricsSayWhenTheServerWasStartedToWhoMayRead) {
  const std::string_view path = "/metrics";
  request_ = Request::parse("GET", path);
  EXPECT_TRUE(needs_identity(request_));
  const ServerView server{store_, random_, true, 0, 1764325101.53};
  const Identity monitoring{"probe", "", {"system:monitoring"}, {}};
  const Reply page = answer(server, {request_, "text/plain", "", "", monitoring});
  EXPECT_EQ(page.status, 200);
  EXPECT_TRUE(read(page).contains("\nprocess_start_time_seconds 1.76432510153e+09\n"));
  const Identity other{"alice", "", {"dev"}, {}};
  EXPECT_EQ(answer(server, {request_, "text/plain", "", "", other}).status, 403);
}

TEST_F(ApiTest, ListsAllPagesWithTheRevisionOfTheFirst) {
  std::string next;
  std::size_t pods = 0;
  std::string revision;
  do {
    const Json page = parsed(read(ask("GET", "/api/v1/pods?limit=3&continue=" + next)));
    const Json& metadata = *page.find("metadata");
    if (revision.empty()) revision = metadata.text("resourceVersion");
    EXPECT_EQ(metadata.text("resourceVersion"), revision);
    pods += page.find("items")->array()->size();
    next = metadata.text("continue");
    store_.simulate_events(1);
  } while (!next.empty());
  EXPECT_GE(pods, 6U);  // an event may have replaced one
}

TEST_F(ApiTest, KeepsToNamespacesAndSelectors) {
  const Json all = parsed(read(ask("GET", "/api/v1/pods")));
  const Json one = parsed(read(ask("GET", "/api/v1/namespaces/kube-system/pods")));
  EXPECT_EQ(all.find("items")->array()->size(), 7U);
  EXPECT_LT(one.find("items")->array()->size(), 7U);
  const Json named =
      parsed(read(ask("GET", "/api/v1/pods?fieldSelector=metadata.name%3Dpod-00003")));
  ASSERT_EQ(named.find("items")->array()->size(), 1U);
  EXPECT_EQ(ask("GET", "/api/v1/pods?fieldSelector=spec.x%3D1").status, 400);
}

TEST_F(ApiTest, ShowsTablesToThoseWhoAsk) {
  const Reply reply = ask("GET", "/api/v1/pods", {},
                          "application/json;as=Table;v=v1;g=meta.k8s.io,application/json");
  EXPECT_EQ(reply.content_type, table_content);
  const Json table = parsed(read(reply));
  EXPECT_EQ(table.text("kind"), "Table");
  EXPECT_EQ(table.find("rows")->array()->size(), 7U);
  EXPECT_EQ(table.find("rows")->array()->front().find("cells")->array()->size(),
            table.find("columnDefinitions")->array()->size());
}

TEST_F(ApiTest, CreatesOnceUpdatesWithTheRightRevisionAndDeletes) {
  const std::string path = "/api/v1/namespaces/default/configmaps";
  const std::string body = R"({"metadata":{"name":"x","labels":{"l":"1"}},"data":{"a":"b"}})";
  const Reply created = ask("POST", path, body);
  EXPECT_EQ(created.status, 201);
  const std::string revision(parsed(read(created)).find("metadata")->text("resourceVersion"));
  EXPECT_EQ(ask("POST", path, body).status, 409);
  EXPECT_EQ(ask("POST", "/api/v1/namespaces/nowhere/configmaps", body).status, 404);
  EXPECT_EQ(ask("POST", path, "{").status, 400);
  EXPECT_EQ(ask("POST", path, body, "application/json", "text/yaml").status, 415);

  EXPECT_EQ(ask("PUT", path + "/x", R"({"metadata":{"name":"x","resourceVersion":"1"}})").status,
            409);
  EXPECT_EQ(
      ask("PUT", path + "/x", R"({"metadata":{"name":"x","resourceVersion":")" + revision + "\"}}")
          .status,
      200);
  const Reply patched =
      ask("PATCH", path + "/x", R"({"data":{"c":"d"}})", "", "application/merge-patch+json");
  EXPECT_EQ(parsed(read(patched)).find("data")->text("c"), "d");
  EXPECT_EQ(ask("DELETE", path + "/x").status, 200);
  EXPECT_EQ(ask("GET", path + "/x").status, 404);
  EXPECT_EQ(ask("DELETE", path + "/x").status, 404);
}

TEST_F(ApiTest, WatchTellsEachChangeAfterItsRevision) {
  const std::uint64_t begin = store_.revision();
  const std::string watch_path =
      "/api/v1/namespaces/default/configmaps?watch=1&resourceVersion=" + std::to_string(begin);
  const Reply watch = ask("GET", watch_path);
  ASSERT_NE(watch.watch, nullptr);
  EXPECT_EQ(read(*watch.body), "");
  const std::string path = "/api/v1/namespaces/default/configmaps";
  ask("POST", path, R"({"metadata":{"name":"x"}})");
  ask("POST", "/api/v1/namespaces/kube-system/configmaps", R"({"metadata":{"name":"other"}})");
  ask("PATCH", path + "/x", R"({"data":{"c":"d"}})");
  ask("DELETE", path + "/x");
  for (const Reply* each : {&watch}) {
    const std::vector<Json> seen = events(read(*each->body));
    ASSERT_EQ(seen.size(), 3U);
    EXPECT_EQ(seen[0].text("type"), "ADDED");
    EXPECT_EQ(seen[1].text("type"), "MODIFIED");
    EXPECT_EQ(seen[2].text("type"), "DELETED");
    EXPECT_EQ(name_of(seen[2]), "x");
  }
  // The same from history.
  EXPECT_EQ(events(read(*ask("GET", watch_path).body)).size(), 3U);
}

TEST_F(ApiTest, WatchWithASelectorSeesObjectsComeAndGo) {
  const Reply watch = ask("GET", "/api/v1/configmaps?watch=1&labelSelector=l%3D1&resourceVersion=" +
                                     std::to_string(store_.revision()));
  const std::string path = "/api/v1/namespaces/default/configmaps";
  ask("POST", path, R"({"metadata":{"name":"x"}})");
  ask("PATCH", path + "/x", R"({"metadata":{"labels":{"l":"1"}}})");
  ask("PATCH", path + "/x", R"({"metadata":{"labels":{"l":"2"}}})");
  const std::vector<Json> seen = events(read(*watch.body));
  ASSERT_EQ(seen.size(), 2U);
  EXPECT_EQ(seen[0].text("type"), "ADDED");
  EXPECT_EQ(seen[1].text("type"), "DELETED");
}

TEST_F(ApiTest, WatchListSendsAllObjectsThenTheMarkedBookmark) {
  const Reply watch = ask("GET",
                          "/api/v1/pods?watch=1&sendInitialEvents=true&allowWatchBookmarks=true"
                          "&resourceVersionMatch=NotOlderThan");
  const std::vector<Json> seen = events(read(*watch.body));
  ASSERT_EQ(seen.size(), 8U);
  EXPECT_EQ(seen.back().text("type"), "BOOKMARK");
  EXPECT_EQ(seen.back()
                .find("object")
                ->find("metadata")
                ->find("annotations")
                ->text("k8s.io/initial-events-end"),
            "true");
  EXPECT_EQ(ask("GET", "/api/v1/pods?watch=1&sendInitialEvents=true").status, 422);
}

TEST_F(ApiTest, WatchFromAForgottenRevisionGetsAnErrorEvent) {
  store_.simulate_events(100);
  const Reply old = ask("GET", "/api/v1/pods?watch=1&resourceVersion=1");
  EXPECT_EQ(old.status, 200);
  const std::vector<Json> seen = events(read(old));
  ASSERT_EQ(seen.size(), 1U);
  EXPECT_EQ(seen[0].text("type"), "ERROR");
  EXPECT_EQ(seen[0].find("object")->find("code")->to_string(), "410");

  // A server with an empty cache has forgotten what the others know.
  const std::string recent =
      "/api/v1/pods?watch=1&resourceVersion=" + std::to_string(store_.revision());
  EXPECT_NE(ask("GET", recent).watch, nullptr);
  store_.simulate_events(1);
  history_floor_ = store_.revision();
  EXPECT_EQ(ask("GET", recent).watch, nullptr);
}

TEST_F(ApiTest, BookmarksCarryTheNewestRevisionAndWatchesEndOnDemand) {
  const Reply watch =
      ask("GET", "/api/v1/pods?watch=1&resourceVersion=" + std::to_string(store_.revision()));
  ask("POST", "/api/v1/namespaces/default/configmaps", R"({"metadata":{"name":"x"}})");
  watch.watch->want_bookmark();
  const std::vector<Json> seen = events(read(*watch.body));
  ASSERT_EQ(seen.size(), 1U);
  EXPECT_EQ(seen[0].find("object")->find("metadata")->text("resourceVersion"),
            std::to_string(store_.revision()));
  bool ended = false;
  watch.watch->finish(true);
  EXPECT_EQ(events(read(*watch.body, &ended)).size(), 1U);
  EXPECT_TRUE(ended);
}

TEST_F(ApiTest, WatchThatIsOvertakenByTheHistoryEnds) {
  const Reply watch =
      ask("GET", "/api/v1/pods?watch=1&resourceVersion=" + std::to_string(store_.revision()));
  store_.simulate_events(100);
  bool ended = false;
  EXPECT_EQ(read(*watch.body, &ended), "");
  EXPECT_TRUE(ended);
}

TEST_F(ApiTest, BenchTextsHaveTheExactSize) {
  const auto size = [](std::string_view path) {
    const auto text = bench_text(Request::parse("GET", path));
    EXPECT_TRUE(text) << path;
    return text ? text->size() : 0;
  };
  EXPECT_EQ(size("/bench/77"), 77U);
  EXPECT_EQ(size("/api/v1/namespaces/bench/configmaps/kb-1"), 1024U);
  EXPECT_EQ(size("/api/v1/namespaces/bench/configmaps/b-700"), 700U);
  EXPECT_EQ(size("/api/v1/namespaces/bench-100k/configmaps"), 102400U);
  EXPECT_EQ(size("/api/v1/namespaces/bench-10m/configmaps"), 10U << 20);
  const Json list =
      parsed(*bench_text(Request::parse("GET", "/api/v1/namespaces/bench-100k/configmaps")));
  EXPECT_GE(list.find("items")->array()->size(), 99U);
  EXPECT_FALSE(bench_text(Request::parse("GET", "/api/v1/namespaces/default/configmaps")));
  const std::uint64_t revision = store_.revision();
  EXPECT_EQ(ask("POST", "/api/v1/namespaces/bench/configmaps", "anything").status, 201);
  EXPECT_EQ(store_.revision(), revision);
}

TEST_F(ApiTest, ACustomResourceIsThereAtOnceWhereItWasDefinedAndLaterElsewhere) {
  const std::string things = "/apis/example.com/v1/things";
  lag_ = std::chrono::hours(1);
  EXPECT_EQ(ask("POST", things, "{}").status, 404);
  EXPECT_EQ(ask("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
                R"({"spec":{"group":"example.com"}})")
                .status,
            201);
  EXPECT_EQ(ask("POST", things, R"({"a":1})").status, 201);
  EXPECT_EQ(ask("GET", things).status, 200);
  server_ = 1;
  const Reply unknown = ask("POST", things, "{}");
  EXPECT_EQ(unknown.status, 404);
  EXPECT_EQ(unknown.content_type, text_content);
  EXPECT_EQ(read(unknown), "404 page not found\n");
  lag_ = {};
  EXPECT_EQ(ask("POST", things, "{}").status, 201);
}

TEST_F(ApiTest, NewerServersHaveAGroupMore) {
  const std::string slices = "/apis/resource.k8s.io/v1/resourceslices";
  EXPECT_EQ(ask("GET", slices).status, 404);
  EXPECT_FALSE(read(ask("GET", "/apis")).contains("resource.k8s.io"));
  minor_ = 38;
  EXPECT_EQ(ask("GET", slices).status, 200);
  EXPECT_TRUE(read(ask("GET", "/apis")).contains("resource.k8s.io"));
  EXPECT_TRUE(read(ask("GET", "/version")).contains(R"("minor": "38")"));
}

TEST_F(ApiTest, AnonymousMayAskForHealthAndVersionAlone) {
  EXPECT_FALSE(forbid_anonymous(Request::parse("GET", "/readyz")));
  EXPECT_FALSE(forbid_anonymous(Request::parse("GET", "/version")));
  EXPECT_TRUE(forbid_anonymous(Request::parse("POST", "/version")));
  EXPECT_TRUE(forbid_anonymous(Request::parse("GET", "/api")));
  EXPECT_TRUE(forbid_anonymous(Request::parse("GET", "/api/v1/pods")));
}

}  // namespace
}  // namespace sluice::apisim
