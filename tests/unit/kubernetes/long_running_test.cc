// SPDX-License-Identifier: GPL-3.0-or-later
// Classes of requests.
#include "sluice/kubernetes/long_running.h"

#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <vector>

namespace sluice::kubernetes {
namespace {

struct Row {
  std::string_view method;
  std::string_view path;
  RequestClass request_class;
};

TEST(LongRunningTest, ClassifiesRequests) {
  using enum RequestClass;
  const std::vector<Row> rows = {
      {"GET", "/api/v1/namespaces/x/pods/web", short_read},
      {"HEAD", "/api/v1/namespaces/x/pods/web", short_read},
      {"GET", "/api/v1/namespaces/x/pods/web?watch=1", short_read},
      {"GET", "/version", short_read},
      {"GET", "/openapi/v3/apis/apps/v1", short_read},
      {"GET", "/debug/pprof", short_read},
      {"POST", "/api/v1/namespaces/x/pods", short_write},
      {"POST", "/api/v1/namespaces/x/pods/web/eviction", short_write},
      {"PUT", "/api/v1/namespaces/x/pods/web", short_write},
      {"PATCH", "/api/v1/namespaces/x/pods/web", short_write},
      {"DELETE", "/api/v1/namespaces/x/pods/web", short_write},
      {"DELETE", "/api/v1/namespaces/x/pods", short_write},
      {"POST", "/version", short_write},
      {"GET", "/api/v1/pods", list},
      {"GET", "/api/v1/pods?watch=false&sendInitialEvents=true", list},
      {"GET", "/api/v1/pods?watch=1&resourceVersion=5", watch},
      {"GET", "/api/v1/pods?watch=1&resourceVersion=5&sendInitialEvents=false", watch},
      {"GET", "/api/v1/pods?watch=1&resourceVersion=0&sendInitialEvents=false", watch},
      {"GET", "/api/v1/watch/pods?resourceVersion=5", watch},
      {"GET", "/api/v1/pods?watch=1", watch_list},
      {"GET", "/api/v1/pods?watch=1&resourceVersion=0", watch_list},
      {"GET", "/api/v1/pods?watch=1&resourceVersion=5&sendInitialEvents=true", watch_list},
      {"GET", "/api/v1/watch/pods", watch_list},
      {"GET", "/api/v1/namespaces/x/pods/web/log", long_running_other},
      {"GET", "/api/v1/namespaces/x/pods/web/log?follow=true", long_running_other},
      {"POST", "/api/v1/namespaces/x/pods/web/exec", long_running_other},
      {"GET", "/api/v1/namespaces/x/pods/web/attach", long_running_other},
      {"POST", "/api/v1/namespaces/x/pods/web/portforward", long_running_other},
      {"GET", "/api/v1/namespaces/x/services/web/proxy/", long_running_other},
      {"DELETE", "/api/v1/proxy/nodes/n", long_running_other},
      {"GET", "/debug/pprof/profile", long_running_other},
      {"GET", "/debug%2Fpprof/heap", long_running_other},
      // What is not understood.
      {"get", "/api/v1/pods", long_running_other},
      {"QUERY", "/api/v1/pods", long_running_other},
      {"QUERY", "/version", long_running_other},
      {"CONNECT", "/api/v1/namespaces/x/pods/web", long_running_other},
      {"GET", "/api/v1/watch", long_running_other},
      // The verb is watch, and yet they may write.
      {"POST", "/api/v1/watch/pods?resourceVersion=5", long_running_other},
      {"POST", "/apis/apps/v1/watch/deployments", long_running_other},
      {"DELETE", "/api/v1/watch/namespaces/x/pods/web", long_running_other},
      {"HEAD", "/api/v1/pods?watch=1&resourceVersion=5", long_running_other},
      {"GET", "/api/v1/pods/%zz", long_running_other},
  };
  for (const Row& row : rows) {
    EXPECT_EQ(classify(parse_request_info(row.method, row.path)), row.request_class)
        << row.method << ' ' << row.path << ": "
        << to_string(classify(parse_request_info(row.method, row.path)));
  }
}

TEST(LongRunningTest, GivesNoDeadlineToAnythingThatTheApiServerLetsRun) {
  for (const std::string_view path :
       {"/api/v1/pods?watch", "/api/v1/watch/pods", "/api/v1/pods/a/log", "/api/v1/pods/a/exec",
        "/api/v1/pods/a/attach", "/api/v1/pods/a/portforward", "/api/v1/pods/a/proxy",
        "/api/v1/proxy/pods/a", "/debug/pprof/heap"}) {
    const RequestInfo info = parse_request_info("GET", path);
    EXPECT_TRUE(is_long_running(info)) << path;
    EXPECT_FALSE(has_deadline(classify(info))) << path;
  }
  for (const std::string_view path :
       {"/api/v1/pods", "/api/v1/pods/a", "/api/v1/pods/log", "/debug/pprof"}) {
    const RequestInfo info = parse_request_info("GET", path);
    EXPECT_FALSE(is_long_running(info)) << path;
    EXPECT_TRUE(has_deadline(classify(info))) << path;
  }
}

TEST(LongRunningTest, ReplaysLostGetsAndResumedWatchesOnly) {
  EXPECT_TRUE(may_replay_when_lost(RequestClass::short_read));
  EXPECT_TRUE(may_replay_when_lost(RequestClass::watch));
  EXPECT_FALSE(may_replay_when_lost(RequestClass::short_write));
  EXPECT_FALSE(may_replay_when_lost(RequestClass::list));
  EXPECT_FALSE(may_replay_when_lost(RequestClass::watch_list));
  EXPECT_FALSE(may_replay_when_lost(RequestClass::long_running_other));
}

}  // namespace
}  // namespace sluice::kubernetes
