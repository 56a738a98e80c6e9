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
  std::string_view why;              // for the access log; empty: the reason itself
  ClientAccount* account = nullptr;  // who pays for the refusal; null: its connection
};

struct Admitted {
  // Who pays for its bytes. Before anything is proven this is its connection: those behind one
  // address have nothing else in common, and whoever holds most there is found all the same.
  ClientAccount* account = nullptr;
  CountLease unanswered;  // until it has an answer; of its address, when nothing is proven
  CountLease tunnel;      // to its end; of its address, the same
};

// Fills `plan` as far as it gets; on success `head` is as a backend gets it.
std::expected<Admitted, NotAdmitted> admit(RequestPlan& plan, http::RequestHead& head,
                                           ClientSide& client, Shared& shared);

}  // namespace sluice::proxy
