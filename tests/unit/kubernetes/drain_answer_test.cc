// SPDX-License-Identifier: GPL-3.0-or-later
// The two answers of an API server that shuts down, and what must not be taken for them.
#include "sluice/kubernetes/drain_answer.h"

#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "sluice/kubernetes/status.h"

namespace sluice::kubernetes {
namespace {

constexpr std::string_view text = "The apiserver is shutting down, please try again later.\n";
const std::string json = status_json({.code = 503, .message = "apiserver is shutting down"}) + "\n";

http::ResponseHead head(int status, const std::vector<std::pair<std::string, std::string>>& list) {
  http::ResponseHead head;
  head.status = status;
  for (const auto& [name, value] : list) head.fields.add(name, value);
  return head;
}

http::ResponseHead too_many_requests() {
  return head(429, {{"content-type", "text/plain; charset=utf-8"},
                    {"retry-after", "5"},
                    {"x-content-type-options", "nosniff"},
                    {"content-length", "56"}});
}

http::ResponseHead service_unavailable() {
  return head(503, {{"content-type", "application/json"},
                    {"retry-after", "1"},
                    {"x-content-type-options", "nosniff"},
                    {"content-length", std::to_string(json.size())}});
}

TEST(DrainAnswerTest, RecognizesBothAnswers) {
  for (const RequestClass request_class :
       {RequestClass::short_read, RequestClass::short_write, RequestClass::list,
        RequestClass::watch, RequestClass::watch_list}) {
    EXPECT_TRUE(is_drain_answer(too_many_requests(), text, request_class));
    EXPECT_TRUE(is_drain_answer(service_unavailable(), json, request_class));
  }
}

TEST(DrainAnswerTest, IgnoresThemOnRequestsWhoseAnswersATenantCanForge) {
  EXPECT_FALSE(may_be_drain_answer(too_many_requests(), RequestClass::long_running_other));
  EXPECT_FALSE(is_drain_answer(service_unavailable(), json, RequestClass::long_running_other));
}

TEST(DrainAnswerTest, IgnoresAnswersThatFlowControlLetThrough) {
  for (const std::string name :
       {"x-kubernetes-pf-flowschema-uid", "x-kubernetes-pf-prioritylevel-uid"}) {
    http::ResponseHead marked = too_many_requests();
    marked.fields.add(name, "7");
    EXPECT_FALSE(may_be_drain_answer(marked, RequestClass::short_read)) << name;
  }
}

TEST(DrainAnswerTest, WantsTheExactHead) {
  using RC = RequestClass;
  EXPECT_FALSE(may_be_drain_answer(head(200, {{"retry-after", "5"}}), RC::short_read));
  EXPECT_FALSE(may_be_drain_answer(head(429, {{"content-type", "text/plain"}}), RC::short_read));
  EXPECT_FALSE(may_be_drain_answer(
      head(429, {{"content-type", "text/plain"}, {"retry-after", "1"}}), RC::short_read));
  EXPECT_FALSE(may_be_drain_answer(
      head(429, {{"content-type", "application/json"}, {"retry-after", "5"}}), RC::short_read));
  EXPECT_FALSE(may_be_drain_answer(
      head(503, {{"content-type", "text/plain"}, {"retry-after", "1"}}), RC::short_read));
  for (const std::string length : {"257", "x", "-"}) {
    EXPECT_FALSE(may_be_drain_answer(
        head(429,
             {{"content-type", "text/plain"}, {"retry-after", "5"}, {"content-length", length}}),
        RC::short_read));
  }
  EXPECT_FALSE(may_be_drain_answer(
      head(429,
           {{"content-type", "text/plain"}, {"retry-after", "5"}, {"content-encoding", "gzip"}}),
      RC::short_read));
  EXPECT_TRUE(may_be_drain_answer(head(429, {{"content-type", "text/plain"}, {"retry-after", "5"}}),
                                  RC::short_read));
}

TEST(DrainAnswerTest, WantsTheExactBody) {
  const std::string body(text);
  for (std::size_t size = 0; size + 1 < body.size(); ++size) {
    EXPECT_FALSE(
        is_drain_answer(too_many_requests(), body.substr(0, size), RequestClass::short_read))
        << size;
  }
  EXPECT_TRUE(is_drain_answer(too_many_requests(), body.substr(0, body.size() - 1),
                              RequestClass::short_read));
  EXPECT_FALSE(is_drain_answer(too_many_requests(), body + "x", RequestClass::short_read));
  EXPECT_FALSE(is_drain_answer(too_many_requests(), json, RequestClass::short_read));
  EXPECT_FALSE(is_drain_answer(service_unavailable(), body, RequestClass::short_read));
  EXPECT_FALSE(is_drain_answer(too_many_requests(), "Too many requests, please try again later.\n",
                               RequestClass::short_read));
  EXPECT_FALSE(is_drain_answer(too_many_requests(), body + std::string(300, '\n'),
                               RequestClass::short_read));
}

}  // namespace
}  // namespace sluice::kubernetes
