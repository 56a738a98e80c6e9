// SPDX-License-Identifier: GPL-3.0-or-later
// Whether a request is served at all.
#include "admission.h"

#include <utility>

namespace sluice::proxy {
namespace {

std::unexpected<NotAdmitted> refused(const Refusal& why) {
  return std::unexpected(
      NotAdmitted{why.reason, make_local_reply(why.code, why.message, 0), why.why});
}

std::unexpected<NotAdmitted> no_room(const RequestPlan& plan, ReplyReason reason,
                                     std::string_view message, Shared& shared) {
  return std::unexpected(
      NotAdmitted{reason,
                  make_unanswered_reply(plan.request_class, reason, Retry::not_executed, message,
                                        shared.random),
                  {}});
}

}  // namespace

std::expected<ClientAccount*, NotAdmitted> admit(RequestPlan& plan, http::RequestHead& head,
                                                 ClientSide& client, Shared& shared) {
  auto asked = plan_request(head);
  if (!asked) return refused(asked.error());
  plan = std::move(*asked);
  if (shared.budget.used_up()) {
    return no_room(plan, ReplyReason::overloaded, "the proxy holds too many bytes for its clients",
                   shared);
  }
  const ProxyParts& parts = shared.parts;
  const auto planned = plan_identity(
      plan, head, client.facts(), {shared.options.vouches_for_identity, parts.identity_fields},
      shared.proofs, client.last_token(), parts.reactor.ring().wall_now());
  if (!planned) return refused(planned.error());
  if (plan.identity_fields_dropped > 0) {
    shared.count(parts.metrics.identity_fields_dropped, plan.identity_fields_dropped);
  }
  ClientAccount& account =
      shared.accounts.open(plan.client, client.facts().keys.network, client.last_account());
  if (shared.budget.used_up_by(account) && !is_never_shed(plan, client.facts())) {
    return no_room(plan, ReplyReason::client_overloads,
                   "the proxy holds too many bytes for this client already", shared);
  }
  const ProxyOptions& options = shared.options;
  if (plan.standing == backend::Standing::stranger && !is_probe(plan) &&
      account.anonymous >= options.anonymous_requests_per_address) {
    return no_room(plan, ReplyReason::anonymous_share,
                   "too many requests without a credential wait for this address already", shared);
  }
  if (plan.standing == backend::Standing::unproven &&
      account.unproven >= options.unproven_requests_per_address) {
    return no_room(plan, ReplyReason::unproven_share,
                   "too many requests with unknown tokens wait for this address already", shared);
  }
  return &account;
}

}  // namespace sluice::proxy
