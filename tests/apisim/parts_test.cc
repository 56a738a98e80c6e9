// SPDX-License-Identifier: GPL-3.0-or-later
// The small readers of the simulated servers: JSON, paths, selectors, settings, protobuf.
#include <gtest/gtest.h>

#include <string>

#include "json.h"
#include "protobuf.h"
#include "request.h"
#include "selector.h"
#include "settings.h"

namespace sluice::apisim {
namespace {

using namespace std::string_literals;

TEST(JsonTest, WritesWhatItRead) {
  const std::string text = R"({"a":[1,-2.5e+10,true,false,null],"b":{"c":"\"\\\n"},"":{},"d":[]})";
  const auto json = Json::parse(text);
  ASSERT_TRUE(json);
  EXPECT_EQ(json->to_string(), text);
}

TEST(JsonTest, DecodesEscapesAndSurrogates) {
  const auto json = Json::parse(R"("\u00e4\ud83d\ude00\ud83dx\/")");
  ASSERT_TRUE(json);
  EXPECT_EQ(*json->string(), "\u00e4\U0001F600\uFFFDx/");
}

TEST(JsonTest, RefusesWhatIsNoJson) {
  for (const std::string_view text : {"", "{", "{\"a\"}", "[1,]", "\"\n\"", "01x", "nul",
                                      "{\"a\":1}}", "\"\\x\"", "-", "1.", "1e"}) {
    EXPECT_FALSE(Json::parse(text)) << text;
  }
  EXPECT_FALSE(Json::parse(std::string(200, '[')));
}

TEST(JsonTest, MergePatchReplacesMergesAndRemoves) {
  auto target = Json::parse(R"({"a":{"b":1,"c":2},"d":3})");
  const auto patch = Json::parse(R"({"a":{"b":null,"e":{"f":null,"g":5}},"d":[1]})");
  merge_patch(*target, *patch);
  EXPECT_EQ(target->to_string(), R"({"a":{"c":2,"e":{"g":5}},"d":[1]})");
}

struct PathCase {
  std::string_view method, path;
  Verb verb;
  std::string_view resource, subresource, namespace_, name;
};

TEST(RequestTest, ReadsPathsAsTheApiServerDoes) {
  const PathCase cases[] = {
      {"GET", "/api/v1/pods", Verb::list, "pods", "", "", ""},
      {"GET", "/api/v1/pods?watch=true", Verb::watch, "pods", "", "", ""},
      {"GET", "/api/v1/pods?watch=0", Verb::list, "pods", "", "", ""},
      {"GET", "/api/v1/watch/namespaces/a/pods/b", Verb::watch, "pods", "", "a", "b"},
      {"GET", "/api/v1/namespaces/a/pods/b/log?follow=1", Verb::get, "pods", "log", "a", "b"},
      {"GET", "/api/v1/namespaces", Verb::list, "namespaces", "", "", ""},
      {"GET", "/api/v1/namespaces/a", Verb::get, "namespaces", "", "a", "a"},
      {"PUT", "/api/v1/namespaces/a/finalize", Verb::update, "namespaces", "finalize", "a", "a"},
      {"POST", "/api/v1/namespaces/a/configmaps", Verb::create, "configmaps", "", "a", ""},
      {"DELETE", "/api/v1/namespaces/a/configmaps/x%20y", Verb::remove, "configmaps", "", "a",
       "x y"},
      {"PATCH", "/apis/apps/v1/namespaces/a/deployments/d/scale", Verb::patch, "deployments",
       "scale", "a", "d"},
      {"OPTIONS", "/api/v1/pods", Verb::other, "pods", "", "", ""},
  };
  for (const PathCase& each : cases) {
    const Request request = Request::parse(each.method, each.path);
    EXPECT_TRUE(request.resource_request) << each.path;
    EXPECT_EQ(request.verb, each.verb) << each.path;
    EXPECT_EQ(request.resource, each.resource) << each.path;
    EXPECT_EQ(request.subresource, each.subresource) << each.path;
    EXPECT_EQ(request.namespace_, each.namespace_) << each.path;
    EXPECT_EQ(request.name, each.name) << each.path;
  }
  for (const std::string_view path :
       {"/", "/version", "/api", "/api/v1", "/apis/apps", "/apis/apps/v1"}) {
    EXPECT_FALSE(Request::parse("GET", path).resource_request) << path;
  }
}

TEST(RequestTest, DecodesQueriesAndKeepsTheFirstOfEqualNames) {
  const Query query = Query::parse("a=1&a=2&b=x%2By+z&&c&bad=%zz");
  EXPECT_EQ(query.get("a"), "1");
  EXPECT_EQ(query.get("b"), "x+y z");
  EXPECT_EQ(query.get("c"), "");
  EXPECT_EQ(query.get("bad"), "");
}

TEST(SelectorTest, MatchesEachOperator) {
  const Labels labels = {{"a", "1"}, {"b", "2"}};
  const auto matches = [&labels](std::string_view text) {
    const auto selector = LabelSelector::parse(text);
    EXPECT_TRUE(selector) << text;
    return selector && selector->matches(labels);
  };
  EXPECT_TRUE(matches(""));
  EXPECT_TRUE(matches("a=1,b==2"));
  EXPECT_FALSE(matches("a=1,b=3"));
  EXPECT_TRUE(matches("a!=2,c!=1"));
  EXPECT_TRUE(matches("a in (0, 1),b notin (1,3)"));
  EXPECT_FALSE(matches("a notin (1)"));
  EXPECT_TRUE(matches("a,!c"));
  EXPECT_FALSE(matches("!a"));
  EXPECT_FALSE(LabelSelector::parse("a b"));
  EXPECT_FALSE(LabelSelector::parse("a near (1)"));
}

TEST(SelectorTest, KnowsTheTwoFieldsOfEveryResource) {
  const auto selector = FieldSelector::parse("metadata.name=x,metadata.namespace==y");
  ASSERT_TRUE(selector);
  EXPECT_EQ(selector->name, "x");
  EXPECT_EQ(selector->namespace_, "y");
  EXPECT_FALSE(FieldSelector::parse("spec.nodeName=x"));
  EXPECT_FALSE(FieldSelector::parse("metadata.name!=x"));
}

TEST(SettingsTest, ReadsUnitsAndRefusesTheRest) {
  EXPECT_EQ(*parse_duration("1.5s"), std::chrono::milliseconds(1500));
  EXPECT_EQ(*parse_duration("0"), Duration::zero());
  EXPECT_FALSE(parse_duration("5"));
  EXPECT_FALSE(parse_duration("-1s"));
  EXPECT_EQ(*parse_size("100k"), 102400U);
  EXPECT_FALSE(parse_size("2000m"));
  EXPECT_FALSE(parse_size("1x"));

  Settings settings;
  EXPECT_TRUE(apply_setting(settings, "latency", "10ms-30ms"));
  EXPECT_EQ(settings.latency_max, std::chrono::milliseconds(30));
  EXPECT_TRUE(apply_setting(settings, "fail-500", "0.25"));
  EXPECT_EQ(settings.fail_500, 0.25);
  EXPECT_FALSE(apply_setting(settings, "latency", "30ms-10ms"));
  EXPECT_FALSE(apply_setting(settings, "fail-500", "1.5"));
  EXPECT_FALSE(apply_setting(settings, "no-such", "1"));
}

std::string delimited(char number, std::string_view bytes) {
  std::string out(1, static_cast<char>(number << 3 | 2));
  out.push_back(static_cast<char>(bytes.size()));
  return out.append(bytes);
}

TEST(ProtobufTest, ReadsAConfigMapInItsEnvelope) {
  const std::string metadata =
      delimited(1, "x") + delimited(3, "ns") + delimited(11, delimited(1, "k") + delimited(2, "v"));
  const std::string object = delimited(1, metadata) +
                             delimited(2, delimited(1, "a") + delimited(2, "b")) +
                             delimited(3, delimited(1, "c") + delimited(2, "hell"));
  const std::string body = "k8s\0"s + delimited(1, delimited(1, "v1") + delimited(2, "ConfigMap")) +
                           delimited(2, object);
  const auto json = read_protobuf(body, Resource::configmaps);
  ASSERT_TRUE(json);
  EXPECT_EQ(json->to_string(),
            R"({"metadata":{"name":"x","namespace":"ns","labels":{"k":"v"}},"data":{"a":"b"},)"
            R"("binaryData":{"c":"aGVsbA=="}})");
  for (std::size_t size = 0; size < body.size(); ++size) {
    (void)read_protobuf(std::string_view(body).substr(0, size), Resource::configmaps);
  }
  EXPECT_FALSE(
      read_protobuf(std::string_view(body).substr(0, body.size() - 1), Resource::configmaps));
}

}  // namespace
}  // namespace sluice::apisim
