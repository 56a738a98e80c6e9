// SPDX-License-Identifier: GPL-3.0-or-later
// Tables for the request info and for the paths that must be refused. The million requests of
// differential_oracle.cc are compared with the API server's own code.
#include "sluice/kubernetes/request_info.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace sluice::kubernetes {
namespace {

struct Row {
  std::string_view method;
  std::string_view path;
  std::string_view verb;
  std::string_view prefix;
  std::string_view group;
  std::string_view version;
  std::string_view namespace_name;
  std::string_view resource;
  std::string_view subresource;
  std::string_view name;
};

void expect_row(const Row& row) {
  SCOPED_TRACE(std::string(row.method) + " " + std::string(row.path));
  const RequestInfo info = parse_request_info(row.method, row.path);
  EXPECT_EQ(info.verb, row.verb);
  EXPECT_EQ(info.api_prefix, row.prefix);
  EXPECT_EQ(info.api_group, row.group);
  EXPECT_EQ(info.api_version, row.version);
  EXPECT_EQ(info.namespace_name, row.namespace_name);
  EXPECT_EQ(info.resource, row.resource);
  EXPECT_EQ(info.subresource, row.subresource);
  EXPECT_EQ(info.name, row.name);
  EXPECT_EQ(info.is_resource, !row.version.empty());
  EXPECT_FALSE(info.malformed);
}

TEST(RequestInfoTest, ReadsResourcePaths) {
  const std::vector<Row> rows = {
      {"GET", "/api/v1/namespaces", "list", "api", "", "v1", "", "namespaces", "", ""},
      {"GET", "/api/v1/namespaces/x", "get", "api", "", "v1", "x", "namespaces", "", "x"},
      {"PUT", "/api/v1/namespaces/x/finalize", "update", "api", "", "v1", "x", "namespaces",
       "finalize", "x"},
      {"PUT", "/api/v1/namespaces/x/status", "update", "api", "", "v1", "x", "namespaces", "status",
       "x"},
      {"GET", "/api/v1/namespaces/x/pods", "list", "api", "", "v1", "x", "pods", "", ""},
      {"GET", "/api/v1/namespaces/x/pods/web", "get", "api", "", "v1", "x", "pods", "", "web"},
      {"HEAD", "/api/v1/namespaces/x/pods/web", "get", "api", "", "v1", "x", "pods", "", "web"},
      {"HEAD", "/api/v1/pods", "list", "api", "", "v1", "", "pods", "", ""},
      {"GET", "/api/v1/pods", "list", "api", "", "v1", "", "pods", "", ""},
      {"POST", "/api/v1/namespaces/x/pods", "create", "api", "", "v1", "x", "pods", "", ""},
      {"PATCH", "/api/v1/namespaces/x/pods/web", "patch", "api", "", "v1", "x", "pods", "", "web"},
      {"DELETE", "/api/v1/namespaces/x/pods/web", "delete", "api", "", "v1", "x", "pods", "",
       "web"},
      {"DELETE", "/api/v1/namespaces/x/pods", "deletecollection", "api", "", "v1", "x", "pods", "",
       ""},
      {"GET", "/apis/apps/v1/deployments", "list", "apis", "apps", "v1", "", "deployments", "", ""},
      {"GET", "/apis/g/v/namespaces/x", "get", "apis", "g", "v", "x", "namespaces", "", "x"},
      {"POST", "/apis/apps/v1/namespaces/x/deployments/d/scale", "create", "apis", "apps", "v1",
       "x", "deployments", "scale", "d"},
      {"POST", "/api/v1/namespaces/x/pods/web/exec?command=ls", "create", "api", "", "v1", "x",
       "pods", "exec", "web"},
      {"GET", "/api/v1/namespaces/x/services/https:s:443/proxy/a/b/c", "get", "api", "", "v1", "x",
       "services", "proxy", "https:s:443"},
      {"GET", "/api/v1/nodes/n/proxy/metrics", "get", "api", "", "v1", "", "nodes", "proxy", "n"},
      {"GET", "/api/v1/pods/web/log", "get", "api", "", "v1", "", "pods", "log", "web"},
  };
  for (const Row& row : rows) expect_row(row);
}

TEST(RequestInfoTest, ReadsNonResourcePaths) {
  const std::vector<Row> rows = {
      {"GET", "/", "get", "", "", "", "", "", "", ""},
      {"GET", "/healthz", "get", "", "", "", "", "", "", ""},
      {"POST", "/healthz", "post", "", "", "", "", "", "", ""},
      {"GET", "/a/b/c/d/e", "get", "", "", "", "", "", "", ""},
      {"GET", "/api", "get", "", "", "", "", "", "", ""},
      {"GET", "/api/v1", "get", "", "", "", "", "", "", ""},
      {"GET", "/apis", "get", "", "", "", "", "", "", ""},
      {"GET", "/apis/apps", "get", "", "", "", "", "", "", ""},
      {"GET", "/apis/apps/v1", "get", "apis", "", "", "", "", "", ""},
      {"DELETE", "/Api/v1/pods", "delete", "", "", "", "", "", "", ""},
      {"WEIRD", "/a", "weird", "", "", "", "", "", "", ""},
  };
  for (const Row& row : rows) expect_row(row);
}

TEST(RequestInfoTest, DecodesThePathOnceAndDoesNotCleanIt) {
  const std::vector<Row> rows = {
      {"GET", "//api/v1/pods", "list", "api", "", "v1", "", "pods", "", ""},
      {"GET", "/api/v1/pods///", "list", "api", "", "v1", "", "pods", "", ""},
      {"GET", "/%2Fapi/v1/pods%2F", "list", "api", "", "v1", "", "pods", "", ""},
      {"GET", "/a%70i/v1/namespaces/a%2Fpods", "list", "api", "", "v1", "a", "pods", "", ""},
      {"GET", "/api/v1/namespaces/a/pods/..%2f..%2fsecrets", "get", "api", "", "v1", "a", "pods",
       "..", ".."},
      {"GET", "/api/v1/namespaces/a/pods/%252e", "get", "api", "", "v1", "a", "pods", "", "%2e"},
      {"GET", "/api/v1/namespaces/a/pods/b+c", "get", "api", "", "v1", "a", "pods", "", "b+c"},
      {"GET", "/api/v1//pods", "get", "api", "", "v1", "", "", "", "pods"},
      {"GET", "/apis//v1/pods", "list", "apis", "", "v1", "", "pods", "", ""},
  };
  for (const Row& row : rows) expect_row(row);
}

TEST(RequestInfoTest, TakesUnknownAndLowerCaseMethodsForNoVerb) {
  for (const std::string_view method : {"get", "Get", "OPTIONS", "CONNECT", "", "PROPFIND"}) {
    EXPECT_EQ(parse_request_info(method, "/api/v1/pods").verb, "") << method;
  }
  const std::string method(64, 'A');
  EXPECT_EQ(parse_request_info(method, "/x").verb, std::string(64, 'a'));
  EXPECT_EQ(parse_request_info(method, "/api/v1/pods").verb, "");
}

TEST(RequestInfoTest, TakesTheVerbFromDeprecatedPaths) {
  expect_row({"GET", "/api/v1/watch/pods", "watch", "api", "", "v1", "", "pods", "", ""});
  expect_row({"GET", "/api/v1/watch/namespaces/x/pods/web", "watch", "api", "", "v1", "x", "pods",
              "", "web"});
  expect_row({"GET", "/apis/g/v/watch/things", "watch", "apis", "g", "v", "", "things", "", ""});
  expect_row({"DELETE", "/api/v1/proxy/namespaces/x/pods/web/a/b", "proxy", "api", "", "v1", "x",
              "pods", "", "web"});
  const RequestInfo info =
      parse_request_info("GET", "/api/v1/watch/pods?fieldSelector=metadata.name%3Da");
  EXPECT_TRUE(info.path_verb);
  EXPECT_EQ(info.name, "");
  EXPECT_EQ(info.field_selector, "");
}

TEST(RequestInfoTest, IsMalformedWhenNothingFollowsAPathVerb) {
  for (const std::string_view path : {"/api/v1/watch", "/api/v1/proxy/", "/apis/g/v/watch"}) {
    const RequestInfo info = parse_request_info("GET", path);
    EXPECT_TRUE(info.malformed) << path;
    EXPECT_TRUE(info.is_resource) << path;
    EXPECT_EQ(info.verb, "get") << path;
    EXPECT_EQ(info.resource, "") << path;
  }
  EXPECT_TRUE(parse_request_info("GET", "/api/v1/pods/%zz").malformed);
}

TEST(RequestInfoTest, TellsAWatchFromAListByTheFirstValueOfWatch) {
  const std::vector<std::pair<std::string_view, std::string_view>> rows = {
      {"", "list"},
      {"watch", "watch"},
      {"watch=", "watch"},
      {"watch=1", "watch"},
      {"watch=true", "watch"},
      {"watch=yes", "watch"},
      {"watch=00", "watch"},
      {"watch=0", "list"},
      {"watch=%30", "list"},
      {"watch=false", "list"},
      {"watch=FALSE", "list"},
      {"watch=fal%C5%BFe", "list"},           // folds to "false" while the options decode ...
      {"watch=fal%C5%BFe&limit=x", "watch"},  // ... and does not when they do not
      {"watch=1&watch=0", "watch"},
      {"watch=0&watch=1", "list"},
      {"w%61tch=1", "watch"},
      {"Watch=1", "list"},
      {"watch=1;a=b", "list"},         // a pair with a semicolon does not count
      {"watch=%zz&watch=1", "watch"},  // nor does one with a broken escape
      {"watch=%zz", "list"},
      {"limit=x&watch=1", "watch"},
      {"limit=x&watch=0", "list"},
      {"a=b&&watch=1", "watch"},
      {"a=?watch=1", "list"},
  };
  for (const auto& [query, verb] : rows) {
    const std::string path = "/api/v1/pods?" + std::string(query);
    EXPECT_EQ(parse_request_info("GET", path).verb, verb) << query;
  }
}

TEST(RequestInfoTest, IgnoresTheQueryOfARequestWithAName) {
  const RequestInfo info =
      parse_request_info("GET", "/api/v1/namespaces/x/pods/web?watch=1&limit=5");
  EXPECT_EQ(info.verb, "get");
  EXPECT_EQ(info.limit, 0);
}

TEST(RequestInfoTest, IgnoresAQueryOfMoreThanTenThousandPairs) {
  const std::string most(9'999, '&');
  EXPECT_EQ(parse_request_info("GET", "/api/v1/pods?" + most + "watch").verb, "watch");
  EXPECT_EQ(parse_request_info("GET", "/api/v1/pods?&" + most + "watch").verb, "list");
}

TEST(RequestInfoTest, FindsTheNameThatAFieldSelectorRequires) {
  const std::vector<std::pair<std::string_view, std::string_view>> rows = {
      {"fieldSelector=metadata.name%3Dx", "x"},
      {"fieldSelector=metadata.name=x", "x"},
      {"fieldSelector=metadata.name==x", "x"},
      {"fieldSelector=metadata.name!=x", ""},
      {"fieldSelector=spec.nodeName%3Dn,metadata.name%3Dx", "x"},
      {"fieldSelector=metadata.name%3Db,metadata.name%3Da", "a"},  // the API server sorts the terms
      {"fieldSelector=metadata.name%3Da,metadata.name%3D%3Db", "b"},  // "==" sorts before "=a"
      {"fieldSelector=,metadata.name%3Dx,", "x"},
      {"fieldSelector=metadata.name%3D", ""},
      {"fieldSelector=metadata.name%3Da%2Fb", ""},
      {"fieldSelector=metadata.name%3Da%25b", ""},
      {"fieldSelector=metadata.name%3D.", ""},
      {"fieldSelector=metadata.name%3D..", ""},
      {"fieldSelector=metadata.name%3D...", "..."},
      {"fieldSelector=metadata.name%3Da%5C,b", "a,b"},
      {"fieldSelector=metadata.name%3Da%5C%5Cb", "a\\b"},
      {"fieldSelector=metadata.name%3D%FF%5C=",
       "\xef\xbf\xbd="},  // rewriting replaces invalid UTF-8
      {"fieldSelector=metadata.name%3D%FF", "\xff"},
      {"fieldSelector=metadata.name%3Da%5Cb", ""},  // no such escape
      {"fieldSelector=metadata.name%3Da%3Db", ""},
      {"fieldSelector=metadata.name%3Dx,nonsense", ""},
      {"fieldSelector=metadata.name%3Dx&limit=many", ""},  // some option does not decode
      {"fieldSelector=metadata.name%3Dx&timeoutSeconds=1s", ""},
      {"fieldSelector=metadata.name%3Dx&labelSelector=a%3D%3D%3Db", ""},
      {"fieldSelector=metadata.name%3Dx&labelSelector=a+in+(b,c),!d", "x"},
      {"fieldSelector=a%3Db&fieldSelector=metadata.name%3Dx", ""},  // the first value counts
  };
  for (const auto& [query, name] : rows) {
    const std::string path = "/api/v1/namespaces/x/pods?" + std::string(query);
    const RequestInfo info = parse_request_info("GET", path);
    EXPECT_EQ(info.name, name) << query;
    EXPECT_EQ(info.verb, "list") << query;
  }
}

TEST(RequestInfoTest, KeepsSelectorsOfCollectionsOnly) {
  const std::string query = "?fieldSelector=a%3Db&labelSelector=c+d";
  for (const std::string_view method : {"GET", "DELETE"}) {
    const std::string path = "/api/v1/pods" + query;
    const RequestInfo info = parse_request_info(method, path);
    EXPECT_EQ(info.field_selector, "a=b");
    EXPECT_EQ(info.label_selector, "c d");
  }
  const std::string path = "/api/v1/pods/web" + query;
  EXPECT_EQ(parse_request_info("GET", path).field_selector, "");
}

TEST(RequestInfoTest, ReadsTheOptionsOfListsAndWatches) {
  const RequestInfo info = parse_request_info(
      "GET",
      "/api/v1/pods?watch=1&resourceVersion=%31%32&timeoutSeconds=300&limit=500&continue=a%3D&"
      "sendInitialEvents=true&resourceVersionMatch=NotOlderThan");
  EXPECT_EQ(info.resource_version, "12");
  EXPECT_EQ(info.timeout_seconds, 300);
  EXPECT_EQ(info.limit, 500);
  EXPECT_EQ(info.continue_token, "a=");
  EXPECT_EQ(info.send_initial_events, true);
  EXPECT_TRUE(info.has_resource_version_match);

  const RequestInfo plain = parse_request_info("GET", "/api/v1/pods");
  EXPECT_EQ(plain.resource_version, "");
  EXPECT_FALSE(plain.timeout_seconds.has_value());
  EXPECT_FALSE(plain.send_initial_events.has_value());
  EXPECT_FALSE(plain.has_resource_version_match);
}

TEST(RequestInfoTest, AWatchWithBookmarksAndATimeResumes) {
  const auto resumes = [](const std::string& query) {
    return parse_request_info("GET", "/api/v1/pods?" + query).resumes();
  };
  EXPECT_TRUE(resumes("watch=1&allowWatchBookmarks=true&timeoutSeconds=300"));
  EXPECT_TRUE(resumes("watch=1&timeoutSeconds=1&allowWatchBookmarks"));
  EXPECT_FALSE(resumes("watch=1&allowWatchBookmarks=true"));
  EXPECT_FALSE(resumes("watch=1&timeoutSeconds=300"));
  EXPECT_FALSE(resumes("watch=1&allowWatchBookmarks=false&timeoutSeconds=300"));
  EXPECT_FALSE(resumes("watch=1&allowWatchBookmarks=0&timeoutSeconds=300"));
  EXPECT_FALSE(resumes("watch=1&allowWatchBookmarks=true&timeoutSeconds=soon"));
  EXPECT_FALSE(resumes("allowWatchBookmarks=true&timeoutSeconds=300"));  // a list
}

TEST(RequestInfoTest, ReadsFollowOfLogs) {
  EXPECT_TRUE(parse_request_info("GET", "/api/v1/namespaces/x/pods/web/log?follow=true").follow);
  EXPECT_FALSE(parse_request_info("GET", "/api/v1/namespaces/x/pods/web/log?follow=false").follow);
  EXPECT_FALSE(parse_request_info("GET", "/api/v1/namespaces/x/pods/web/log").follow);
  EXPECT_FALSE(parse_request_info("GET", "/api/v1/namespaces/x/pods/web?follow=true").follow);
}

TEST(RequestInfoTest, NeedsNoMemoryWithoutEscapes) {
  const RequestInfo plain = parse_request_info(
      "GET", "/api/v1/namespaces/x/pods?watch=1&resourceVersion=5&fieldSelector=a!=b");
  EXPECT_EQ(plain.scratch, nullptr);
  const RequestInfo escaped = parse_request_info("GET", "/api/v1/pods?labelSelector=a%3Db");
  EXPECT_NE(escaped.scratch, nullptr);
}

TEST(RequestInfoTest, StaysValidWhenMoved) {
  RequestInfo first = parse_request_info("GET", "/api/v1/namespaces/a%62c/pods/%64");
  const RequestInfo second = std::move(first);
  EXPECT_EQ(second.namespace_name, "abc");
  EXPECT_EQ(second.name, "d");
}

TEST(CheckPathTest, AcceptsWhatClientsSend) {
  for (const std::string_view path :
       {"/", "//", "/api/v1/pods?labelSelector=a%3Db&limit=500",
        "/a~b!$&'()*+,;=:@|\"<>^`{}[]?x=?/", "/%20",
        "/api/v1/namespaces/x/services/http:web:80/proxy/?q=%C3%A9"}) {
    EXPECT_TRUE(check_path(path).has_value()) << path;
  }
  // The head has a limit, the path has none of its own.
  EXPECT_TRUE(check_path("/" + std::string(1024 * 1024, 'a')).has_value());
  EXPECT_TRUE(
      check_path("/api/v1/pods?labelSelector=" + std::string(1024 * 1024, 'a')).has_value());
}

// As a kube-apiserver, which drops the pairs that do not decode.
TEST(CheckPathTest, AcceptsInAQueryWhatAnApiServerReads) {
  for (const std::string_view path : {"/x?a=%00", "/x?a=%", "/x?%%20", "/x?a=%zz&b=1",
                                      "/x?a=\xc3\xa9", "/x?a=\xff", "/x?a=#b\\c"}) {
    EXPECT_TRUE(check_path(path).has_value()) << path;
  }
}

TEST(CheckPathTest, RefusesEveryByteThatNoPathMayHold) {
  for (int byte = 0; byte < 256; ++byte) {
    const char c = static_cast<char>(byte);
    const bool refused = byte < 0x21 || byte > 0x7e || c == '#' || c == '\\' || c == '%';
    if (c == '?') continue;
    for (const std::string& path : {std::string("/a") + c, std::string("/") + c + "xy"}) {
      EXPECT_EQ(check_path(path).has_value(), !refused) << byte << " in " << path;
    }
    const std::string query = std::string("/x?y=") + c + "z";
    EXPECT_EQ(check_path(query).has_value(), byte > 0x20 && byte != 0x7f)
        << byte << " in " << query;
  }
}

TEST(CheckPathTest, RefusesMalformedPaths) {
  for (const std::string_view path : {"", "*", "api/v1", "http://x/", "?a", "/%", "/%1", "/a%g0",
                                      "/a%0g", "/%00", "/%?a=1", "/a%00b?", "/a\xc3\xa9"}) {
    const Result<void> result = check_path(path);
    ASSERT_FALSE(result.has_value()) << path;
    EXPECT_EQ(result.error().side, Side::client);
    EXPECT_EQ(result.error().kind, ErrorKind::invalid_argument);
  }
}

TEST(RequestInfoDetach, KeepsTheNamesWithoutWhatWasParsed) {
  for (const char* escaped : {"a", "%61"}) {
    std::string path = std::string("/apis/apps/v1/namespaces/n/deployments/") + escaped +
                       "/scale?limit=5&resourceVersion=7&labelSelector=" + std::string(20'000, 'x');
    std::string method = "PATCH";
    RequestInfo info = parse_request_info(method, path);
    info.detach();
    std::ranges::fill(path, '#');
    std::ranges::fill(method, '#');
    const RequestInfo moved = std::move(info);
    EXPECT_EQ(moved.verb, "patch");
    EXPECT_EQ(moved.api_group, "apps");
    EXPECT_EQ(moved.namespace_name, "n");
    EXPECT_EQ(moved.resource, "deployments");
    EXPECT_EQ(moved.name, "a");
    EXPECT_EQ(moved.subresource, "scale");
    EXPECT_TRUE(moved.is_resource);
  }
}

TEST(RequestInfoDetach, AWatchStillSaysHowItEnds) {
  std::string path =
      "/api/v1/pods?watch=1&allowWatchBookmarks=true&timeoutSeconds=300&resourceVersion=7";
  RequestInfo info = parse_request_info("GET", path);
  const bool resumes = info.resumes();
  info.detach();
  std::ranges::fill(path, '#');
  EXPECT_TRUE(info.is_watch());
  EXPECT_EQ(info.resumes(), resumes);
  EXPECT_EQ(info.timeout_seconds, 300);
}

TEST(RequestInfoDetach, LongNamesAreCut) {
  const std::string path = "/api/v1/namespaces/n/configmaps/" + std::string(100'000, 'x');
  RequestInfo info = parse_request_info("GET", path);
  info.detach();
  EXPECT_EQ(info.name, std::string(253, 'x'));
  EXPECT_LE(info.path.size(), 253U);
}

}  // namespace
}  // namespace sluice::kubernetes
