// SPDX-License-Identifier: GPL-3.0-or-later
// Status objects.
#include "sluice/kubernetes/status.h"

#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace sluice::kubernetes {
namespace {

TEST(StatusTest, WritesTheObjectAsTheApiServerDoes) {
  EXPECT_EQ(status_json({.code = 503, .message = "apiserver is shutting down"}),
            R"({"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure",)"
            R"("message":"apiserver is shutting down","reason":"ServiceUnavailable","code":503})"
            "\n");
  EXPECT_EQ(
      status_json({.code = 429, .message = "later", .retry_after_seconds = 2}),
      R"({"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"later",)"
      R"("reason":"TooManyRequests","details":{"retryAfterSeconds":2},"code":429})"
      "\n");
}

TEST(StatusTest, LeavesOutWhatIsEmpty) {
  EXPECT_EQ(status_json({.code = 421, .message = ""}),
            R"({"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","code":421})"
            "\n");
}

TEST(StatusTest, TakesAnotherReasonWhenOneIsGiven) {
  EXPECT_NE(status_json({.code = 410, .message = "", .reason = "Gone"}).find(R"("reason":"Gone")"),
            std::string::npos);
}

TEST(StatusTest, EscapesTheMessage) {
  const std::vector<std::pair<std::string, std::string>> rows = {
      {"a\"b\\c", R"(a\"b\\c)"},
      {"\n\r\t", R"(\n\r\t)"},
      {std::string("\0\x1f", 2), R"(\u0000\u001f)"},
      {"<&>", R"(\u003c\u0026\u003e)"},
      {"Zo\xc3\xab \xf0\x9f\x91\xa9", "Zo\xc3\xab \xf0\x9f\x91\xa9"},
      {"\xff-\xc3", R"(\ufffd-\ufffd)"},
      {"\xed\xa0\x80", R"(\ufffd\ufffd\ufffd)"},
  };
  for (const auto& [message, escaped] : rows) {
    const std::string json = status_json({.code = 400, .message = message});
    EXPECT_NE(json.find("\"message\":\"" + escaped + "\","), std::string::npos) << json;
  }
}

TEST(StatusTest, KnowsTheReasonsOfOurCodes) {
  const std::vector<std::pair<int, std::string_view>> rows = {
      {400, "BadRequest"},
      {401, "Unauthorized"},
      {403, "Forbidden"},
      {404, "NotFound"},
      {405, "MethodNotAllowed"},
      {408, "Timeout"},
      {413, "RequestEntityTooLarge"},
      {421, ""},
      {429, "TooManyRequests"},
      {431, ""},
      {500, "InternalError"},
      {502, "InternalError"},
      {503, "ServiceUnavailable"},
      {504, "Timeout"},
  };
  for (const auto& [code, reason] : rows) EXPECT_EQ(status_reason(code), reason) << code;
}

}  // namespace
}  // namespace sluice::kubernetes
