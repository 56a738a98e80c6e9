// SPDX-License-Identifier: GPL-3.0-or-later
// Whether a request is served at all, before anything is done for it: whether it is one, for whom
// it is, and whether its client, and the worker, have room for it.
#pragma once

#include <expected>
#include <string_view>

#include "request_plan.h"
#include "shared.h"

namespace sluice::proxy {

struct NotAdmitted {
  ReplyReason reason = ReplyReason::bad_path;
  LocalReply reply;
  std::string_view why;  // for the access log; empty: the reason itself
};

// Fills `plan` as far as it gets; on success `head` is as a backend gets it. Returns the account of
// its client.
std::expected<ClientAccount*, NotAdmitted> admit(RequestPlan& plan, http::RequestHead& head,
                                                 ClientSide& client, Shared& shared);

}  // namespace sluice::proxy
