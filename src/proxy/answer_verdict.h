// SPDX-License-Identifier: GPL-3.0-or-later
// What the head of a backend's answer says about the backend and about the client's credential,
// before any of it is forwarded. Pure.
#pragma once

#include <cstdint>
#include <string_view>

#include "request_plan.h"
#include "sluice/http/message.h"

namespace sluice::proxy {

enum class Verdict : std::uint8_t {
  forward,           // it is the client's
  hold_back,         // it may be a backend's "I am shutting down": its body will tell
  identity_refused,  // the backend does not trust us: the 401 is ours, not the client's
};
Verdict judge_head(const http::ResponseHead& head, const RequestPlan& plan);

// Every request that passed API Priority and Fairness carries its UIDs in the answer
// (k8s.io/apiserver pkg/server/filters/priority-and-fairness.go): an answer without them comes from
// a filter before it.
bool passed_flow_control(const http::ResponseHead& head);

// What it says about the request's token. Only an answer from behind authentication proves one: a
// filter before it may refuse anybody's request (400 to a bad `timeout`, 403 to a CORS preflight,
// 504), and says nothing.
enum class TokenVerdict : std::uint8_t { nothing, proven, refused };
TokenVerdict judge_token(const http::ResponseHead& head, std::string_view method,
                         const RequestPlan& plan);

}  // namespace sluice::proxy
