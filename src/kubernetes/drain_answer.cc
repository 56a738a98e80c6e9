// SPDX-License-Identifier: GPL-3.0-or-later
// The exact texts of the API server's shutdown answers.
#include "sluice/kubernetes/drain_answer.h"

#include <algorithm>

#include "sluice/http/told_length.h"
#include "sluice/kubernetes/answering_server.h"

namespace sluice::kubernetes {
namespace {

constexpr std::string_view too_many_requests_text =
    "The apiserver is shutting down, please try again later.";
constexpr std::string_view service_unavailable_text =
    R"({"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure",)"
    R"("message":"apiserver is shutting down","reason":"ServiceUnavailable","code":503})";

static_assert(service_unavailable_text.size() + 2 <= drain_answer_bytes_max);

}  // namespace

bool may_be_drain_answer(const http::ResponseHead& head, RequestClass request_class) {
  if (head.status != 429 && head.status != 503) return false;
  if (request_class == RequestClass::long_running_other || request_class == RequestClass::upgrade) {
    return false;
  }
  if (head.fields.find("retry-after") != (head.status == 429 ? "5" : "1")) return false;
  if (passed_flow_control(head)) return false;
  if (head.fields.contains("content-encoding")) return false;
  const std::string_view type = head.fields.find("content-type").value_or("");
  if (!type.starts_with(head.status == 429 ? "text/plain" : "application/json")) return false;
  return http::told_length(head.fields).value_or(0) <= drain_answer_bytes_max;
}

bool is_drain_answer(const http::ResponseHead& head, std::string_view body,
                     RequestClass request_class) {
  if (body.size() > drain_answer_bytes_max || !may_be_drain_answer(head, request_class))
    return false;
  while (body.ends_with('\n')) body.remove_suffix(1);
  return body == (head.status == 429 ? too_many_requests_text : service_unavailable_text);
}

}  // namespace sluice::kubernetes
