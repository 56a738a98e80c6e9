// SPDX-License-Identifier: GPL-3.0-or-later
// Requests and answers in which single API servers show. The texts of answers are those of a
// kube-apiserver 1.37.
#include "sluice/kubernetes/server_lag.h"

#include <gtest/gtest.h>

#include <string>
#include <string_view>

namespace sluice::kubernetes {
namespace {

using std::string_view_literals::operator""sv;

constexpr std::string_view stale =
    R"({"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"Timeout: Too large resource version: 900, current: 800","reason":"Timeout","details":{"causes":[{"reason":"ResourceVersionTooLarge","message":"Too large resource version"}],"retryAfterSeconds":1},"code":504})"
    "\n";
constexpr std::string_view initializing =
    R"({"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"storage is (re)initializing","reason":"TooManyRequests","details":{"retryAfterSeconds":1},"code":429})"
    "\n";
constexpr std::string_view unknown_path = "404 page not found\n";
constexpr std::string_view unknown_version =
    R"({"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"the server could not find the requested resource","reason":"NotFound","details":{},"code":404})"
    "\n";
constexpr std::string_view no_such_pod =
    R"({"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"pods \"p\" not found","reason":"NotFound","details":{"name":"p","kind":"pods"},"code":404})"
    "\n";

http::ResponseHead head(int status, std::string_view type = "application/json") {
  http::ResponseHead head;
  head.status = status;
  head.fields.add("content-type", type);
  return head;
}
http::ResponseHead text_404() { return head(404, "text/plain; charset=utf-8"); }

RequestInfo request(std::string_view method, std::string_view path) {
  return parse_request_info(method, path);
}

TEST(ServerLagTest, WritesOfWhatServersActByChangeThem) {
  for (const char* path :
       {"/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
        "/apis/rbac.authorization.k8s.io/v1/namespaces/a/rolebindings",
        "/apis/apiregistration.k8s.io/v1/apiservices/v1.a",
        "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations",
        "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/a/status", "/api/v1/namespaces",
        "/api/v1/namespaces/a", "/apis/scheduling.k8s.io/v1/priorityclasses",
        "/apis/storage.k8s.io/v1/storageclasses/a", "/apis/networking.k8s.io/v1/ingressclasses/a",
        "/apis/node.k8s.io/v1/runtimeclasses"}) {
    for (const char* method : {"POST", "PUT", "PATCH", "DELETE"}) {
      EXPECT_TRUE(changes_servers(request(method, path))) << method << path;
    }
    EXPECT_FALSE(changes_servers(request("GET", path))) << path;
  }
}

TEST(ServerLagTest, OtherWritesDoNot) {
  for (const char* path :
       {"/api/v1/namespaces/a/pods", "/apis/apps/v1/namespaces/a/deployments/d",
        "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", "/apis/example.com/v1/things",
        "/api/v1/namespaces/a/finalize", "/api/v1/namespaces/a/status", "/api/v1/nodes/a",
        "/apis/storage.k8s.io/v1/volumeattachments",
        "/apis/networking.k8s.io/v1/namespaces/a/ingresses", "/apis/example.com/v1/namespaces",
        "/apis/apiextensions.k8s.io", "/apis/apiextensions.k8s.io/v1"}) {
    EXPECT_FALSE(changes_servers(request("POST", path))) << path;
  }
}

TEST(ServerLagTest, ReadsAtVersion0AndWatchesWithoutOneAreAnsweredFromTheCacheAsItIs) {
  for (const char* path :
       {"/api/v1/pods?resourceVersion=0", "/api/v1/namespaces/a/pods/p?resourceVersion=0",
        "/api/v1/pods?limit=5&resourceVersion=0&watch=1", "/api/v1/pods?watch=1",
        "/api/v1/pods?watch=1&sendInitialEvents=true&resourceVersion=0"}) {
    EXPECT_TRUE(reads_any_version(request("GET", path))) << path;
  }
  for (const char* path :
       {"/api/v1/pods", "/api/v1/pods?resourceVersion=", "/api/v1/pods?resourceVersion=7",
        "/api/v1/namespaces/a/pods/p", "/api/v1/namespaces/a/pods/p?resourceVersion=00",
        "/api/v1/pods?watch=1&resourceVersion=7", "/api/v1/pods?watch=1&sendInitialEvents=true",
        "/version?resourceVersion=0"}) {
    EXPECT_FALSE(reads_any_version(request("GET", path))) << path;
  }
}

TEST(ServerLagTest, DiscoveryOpenApiAndTheVersionDescribeAServer) {
  for (const char* path :
       {"/api", "/api/", "/apis", "/api/v1", "/apis/apps", "/apis/apps/v1", "/apis/apps/v1/",
        "/openapi/v2", "/openapi/v3/api/v1?hash=A", "/openapi/v3", "/version", "/version/"}) {
    EXPECT_TRUE(describes_server(request("GET", path))) << path;
  }
  for (const char* path : {"/api/v1/pods", "/apis/apps/v1/deployments", "/readyz", "/", "/metrics",
                           "/apisx", "/versions", "/logs"}) {
    EXPECT_FALSE(describes_server(request("GET", path))) << path;
  }
}

TEST(ServerLagTest, ReadsWhatAnswersSayInJson) {
  EXPECT_EQ(lag_told_by(head(504), stale), ServerLag::stale);
  EXPECT_EQ(lag_told_by(head(429), initializing), ServerLag::initializing);
  EXPECT_EQ(lag_told_by(text_404(), unknown_path), ServerLag::unknown_path);
  EXPECT_EQ(lag_told_by(head(404), unknown_version), ServerLag::unknown_path);
  const std::string pretty =
      "{\n  \"details\": {\n    \"causes\": [\n      {\n        \"reason\": "
      "\"ResourceVersionTooLarge\"\n      }\n    ]\n  }\n}";
  EXPECT_EQ(lag_told_by(head(504), pretty), ServerLag::stale);
}

TEST(ServerLagTest, ReadsTheCauseInProtobufAndCbor) {
  const std::string protobuf =
      std::string("k8s\0\x0a\x0c", 6) + "\x0a\x17" + "ResourceVersionTooLarge\x12\x03msg";
  EXPECT_EQ(lag_told_by(head(504, "application/vnd.kubernetes.protobuf"), protobuf),
            ServerLag::stale);
  EXPECT_EQ(lag_told_by(head(504, "application/cbor"),
                        "\xd9\xd9\xf7\xa1\x46"
                        "reason\x57"
                        "ResourceVersionTooLarge"),
            ServerLag::stale);
  const std::string text = "the server could not find the requested resource";
  EXPECT_EQ(lag_told_by(head(404, "application/vnd.kubernetes.protobuf"), "k8s\x1a\x30" + text),
            ServerLag::unknown_path);
  EXPECT_EQ(lag_told_by(head(404, "application/cbor"), "\x47message\x58\x30" + text),
            ServerLag::unknown_path);
  EXPECT_EQ(lag_told_by(head(404, "application/cbor"), "\x58\x31 " + text), ServerLag::none);
}

TEST(ServerLagTest, ATextThatNamesTheCauseIsNotTheCause) {
  EXPECT_EQ(lag_told_by(head(504), R"({"message":"a \"ResourceVersionTooLarge\" b"})"),
            ServerLag::none);
  EXPECT_EQ(lag_told_by(head(504), R"({"message":"no ResourceVersionTooLarge here"})"),
            ServerLag::none);
  EXPECT_EQ(lag_told_by(head(504, "application/vnd.kubernetes.protobuf"),
                        "\x0a\x18 ResourceVersionTooLarge"),
            ServerLag::none);
  EXPECT_EQ(lag_told_by(head(504), R"({"reason":"Timeout","message":"request timed out"})"),
            ServerLag::none);
}

TEST(ServerLagTest, WantsStatusTypeAndExactText) {
  EXPECT_EQ(may_tell_lag(head(200)), ServerLag::none);
  EXPECT_EQ(lag_told_by(head(404), no_such_pod), ServerLag::none);
  EXPECT_EQ(may_tell_lag(head(504, "text/plain")), ServerLag::none);
  EXPECT_EQ(may_tell_lag(head(429, "text/plain")), ServerLag::none);
  EXPECT_EQ(lag_told_by(head(503), initializing), ServerLag::none);
  for (const auto text : {""sv, "404 page not found, or"sv, "404 page not found\n\n"sv,
                          "the server could not find the requested resource"sv}) {
    EXPECT_EQ(lag_told_by(text_404(), text), ServerLag::none) << text;
  }
  EXPECT_EQ(lag_told_by(head(429), R"({"message":"Too many requests, please try again later."})"),
            ServerLag::none);
}

TEST(ServerLagTest, DoesNotLookIntoLongOrCompressedAnswers) {
  http::ResponseHead packed = head(504);
  packed.fields.add("content-encoding", "gzip");
  EXPECT_EQ(may_tell_lag(packed), ServerLag::none);
  for (const char* length : {"4097", "x", ""}) {
    http::ResponseHead longer = head(504);
    longer.fields.add("content-length", length);
    EXPECT_EQ(may_tell_lag(longer), ServerLag::none) << length;
  }
  http::ResponseHead fits = head(504);
  fits.fields.add("content-length", "4096");
  EXPECT_EQ(may_tell_lag(fits), ServerLag::stale);
  EXPECT_EQ(lag_told_by(head(504), std::string(stale) + std::string(4096, ' ')), ServerLag::none);
}

}  // namespace
}  // namespace sluice::kubernetes
