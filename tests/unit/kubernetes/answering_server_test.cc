// SPDX-License-Identifier: GPL-3.0-or-later
// Who answers a request to an API server.
#include "sluice/kubernetes/answering_server.h"

#include <gtest/gtest.h>

namespace sluice::kubernetes {
namespace {

bool by_another(std::string_view method, std::string_view path) {
  return may_be_answered_by_another(parse_request_info(method, path));
}

TEST(AnsweringServerTest, WhatAnApiServerHasItselfIsItsOwn) {
  for (const char* path :
       {"/api/v1/pods", "/api/v1/namespaces/a/pods/b", "/api/v1/namespaces/a/pods?watch=true",
        "/apis/apps/v1/deployments", "/apis/coordination.k8s.io/v1/namespaces/a/leases/b",
        "/apis/rbac.authorization.k8s.io/v1/clusterroles", "/apis/storagemigration.k8s.io/v1beta1",
        "/api", "/apis", "/apis/apps", "/apis/apps/v1", "/version", "/readyz", "/", "/metrics"}) {
    EXPECT_FALSE(by_another("GET", path)) << path;
  }
  EXPECT_FALSE(by_another("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews"));
}

TEST(AnsweringServerTest, AGroupThatItMayNotHaveMayBeAggregated) {
  for (const char* path :
       {"/apis/metrics.k8s.io/v1beta1/nodes", "/apis/metrics.k8s.io/v1beta1",
        "/apis/metrics.k8s.io", "/apis/example.com/v1/things?watch=true", "/apis/app/v1",
        "/apis/appsx/v1/deployments", "/openapi/v2", "/openapi/v3/apis/metrics.k8s.io/v1beta1"}) {
    EXPECT_TRUE(by_another("GET", path)) << path;
  }
}

TEST(AnsweringServerTest, WhatGoesThroughANodeAPodOrAServiceIsAnotherServers) {
  for (const char* path :
       {"/api/v1/nodes/n/proxy/metrics", "/api/v1/namespaces/a/services/s:80/proxy/",
        "/api/v1/namespaces/a/pods/p/proxy", "/api/v1/proxy/namespaces/a/pods/p",
        "/api/v1/namespaces/a/pods/p/log", "/api/v1/namespaces/a/pods/p/exec?command=a"}) {
    EXPECT_TRUE(by_another("GET", path)) << path;
  }
}

}  // namespace
}  // namespace sluice::kubernetes
