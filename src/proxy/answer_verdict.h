// SPDX-License-Identifier: GPL-3.0-or-later
// What a backend's answer says about the backend and about the client's credential, before any of
// it is forwarded: most by their heads alone, a few when they are whole. Pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "request_plan.h"
#include "sluice/http/message.h"
#include "sluice/kubernetes/drain_answer.h"
#include "sluice/kubernetes/server_lag.h"

namespace sluice::proxy {

enum class Verdict : std::uint8_t {
  forward,           // it is the client's
  hold_back,         // whether it is, is known when it is whole: see judge_whole()
  identity_refused,  // the backend does not trust us: the 401 is ours, not the client's
};
// `versions_differ`: there is a server of another version, to which the request may go.
Verdict judge_head(const http::ResponseHead& head, const RequestPlan& plan,
                   bool versions_differ = false);

// What an answer that was held back says of the server that gave it, when it is whole.
enum class Finding : std::uint8_t {
  nothing,   // it is the client's
  draining,  // it shuts down, and has not executed the request
  // The same of the others, see kubernetes/server_lag.h.
  stale,         // it has not seen yet what the client has
  unknown_path,  // its version does not serve that; of another one it may be known
  initializing,  // it cannot serve lists and watches of that resource yet
};
// More bytes than the body of an answer has that says any of it: a longer one is the client's.
inline constexpr std::size_t judged_bytes_max = kubernetes::lag_answer_bytes_max;
static_assert(judged_bytes_max >= kubernetes::drain_answer_bytes_max);
Finding judge_whole(const http::ResponseHead& head, std::string_view body, const RequestPlan& plan);

// An answer that is held back until it is whole, or longer than this: its client sees nothing of
// one that is lost with its server, and a read goes to another.
inline constexpr std::size_t brief_bytes_max = 32 * 1024;
// Of requests that the API server itself answers, and never bit by bit; of others what says that it
// is short.
bool may_be_brief(const http::ResponseHead& head, const RequestPlan& plan);

// What it says about the request's token. Only an answer from behind authentication proves one: a
// filter before it may refuse anybody's request (400 to a bad `timeout`, 403 to a CORS preflight,
// 504), and says nothing.
enum class TokenVerdict : std::uint8_t { nothing, proven, refused };
TokenVerdict judge_token(const http::ResponseHead& head, std::string_view method,
                         const RequestPlan& plan);

}  // namespace sluice::proxy
