// SPDX-License-Identifier: GPL-3.0-or-later
// What an answer says of how its backend is, beside its peers. Only the API server's own word
// counts, and only that to a client who has proven who it is: what somebody else may have answered,
// or may choose to bring about, is no evidence. Pure.
#pragma once

#include <cstdint>
#include <optional>

#include "request_plan.h"
#include "sluice/balance/answers.h"
#include "sluice/http/message.h"

namespace sluice::proxy {

balance::RequestClass balance_class(kubernetes::RequestClass request_class);

// As which kind the request's answer is compared; nothing: it is not.
std::optional<balance::AnswerKind> compared_as(const RequestPlan& plan);

enum class Evidence : std::uint8_t {
  nothing,
  answer,    // as late as it is
  failure,   // the server's own
  overload,  // API Priority and Fairness has turned it away
};
// `late`: later than usual, so that it matters who has answered.
Evidence evidence_of(const http::ResponseHead& head, const RequestPlan& plan, bool late);

}  // namespace sluice::proxy
