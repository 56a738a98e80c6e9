// SPDX-License-Identifier: GPL-3.0-or-later
// Whether a request is served at all.
#include "admission.h"

#include <algorithm>
#include <utility>

namespace sluice::proxy {
namespace {

std::unexpected<NotAdmitted> refused(const Refusal& why) {
  return std::unexpected(
      NotAdmitted{why.reason, make_local_reply(why.code, why.message, 0), why.why, nullptr});
}

std::unexpected<NotAdmitted> no_room(const RequestPlan& plan, ReplyReason reason,
                                     std::string_view message, Shared& shared) {
  return std::unexpected(
      NotAdmitted{reason,
                  make_unanswered_reply(plan.request_class, reason, Retry::not_executed, message,
                                        shared.random),
                  {},
                  nullptr});
}

// Of the requests without an answer that an address may have, before anything is proven.
std::expected<CountLease, NotAdmitted> take_share(const RequestPlan& plan,
                                                  const ClientFacts& client, Shared& shared) {
  using backend::Standing;
  if (plan.standing == Standing::proven || (plan.anonymous && is_probe(plan)) || client.exempt) {
    return CountLease();
  }
  const std::uint64_t network = client.keys.network;
  // Renewals on a connection that has proven a token count for it alone.
  AccountRef account =
      shared.accounts.open(plan.standing == Standing::unproven ? plan.client : network, network);
  if (plan.standing == Standing::stranger) {
    if (account.get()->anonymous >= shared.options.anonymous_requests_per_address) {
      return no_room(plan, ReplyReason::anonymous_share,
                     "too many requests without a credential wait for this address already",
                     shared);
    }
    return CountLease(std::move(account), &ClientAccount::anonymous);
  }
  if (account.get()->unproven >= shared.options.unproven_requests_per_address) {
    return no_room(plan, ReplyReason::unproven_share,
                   "too many requests with unknown tokens wait for this address already", shared);
  }
  return CountLease(std::move(account), &ClientAccount::unproven);
}

// Of the tunnels that a client may have; strangers at one address have theirs together.
std::expected<CountLease, NotAdmitted> take_tunnel(const RequestPlan& plan,
                                                   const ClientFacts& client, Shared& shared) {
  const std::uint32_t max = shared.options.tunnels_per_client;
  if (plan.request_class != kubernetes::RequestClass::upgrade || max == 0 || client.exempt) {
    return CountLease();
  }
  const bool proven = plan.standing == backend::Standing::proven;
  const std::uint64_t network = client.keys.network;
  AccountRef account = shared.accounts.open(proven ? plan.client : network, network, proven);
  const std::uint32_t own_max = proven ? max : std::min(max, shared.options.unproven_tunnels);
  if (account.get()->tunnels >= own_max) {
    return no_room(plan, ReplyReason::tunnel_share,
                   "this client has as many tunnels (exec, attach, port-forward) as it may have",
                   shared);
  }
  return CountLease(std::move(account), &ClientAccount::tunnels);
}

// Whether the worker has too much to do for this one.
bool is_busy(const RequestPlan& plan, const ClientFacts& client, Shared& shared) {
  Governor& governor = shared.governor;
  governor.look(shared.parts.reactor.load());
  if (!governor.watches()) return false;
  if (is_probe(plan) || client.exempt || is_never_shed(plan, client)) {
    governor.charge(plan.client, 1);
    return false;
  }
  return governor.refuses(plan.client, plan.request_class, shared.random);
}

std::unexpected<NotAdmitted> overloaded(const RequestPlan& plan, Shared& shared) {
  return no_room(plan, ReplyReason::overloaded, "the proxy holds too many bytes for its clients",
                 shared);
}

// Whether there is room for it, where it is known who pays.
std::expected<Admitted, NotAdmitted> admit_to(ClientAccount& account, const RequestPlan& plan,
                                              const ClientFacts& client, Shared& shared) {
  const auto never_shed = [&] { return is_never_shed(plan, client); };
  if (shared.budget.used_up_for(account) && !never_shed()) return overloaded(plan, shared);
  if (shared.budget.used_up_by(account) && !never_shed()) {
    return no_room(plan, ReplyReason::client_overloads,
                   "the proxy holds too many bytes for this client already", shared);
  }
  if (is_busy(plan, client, shared)) [[unlikely]] {
    return no_room(plan, ReplyReason::worker_busy,
                   "the proxy is short of CPU time, and this client uses much of it", shared);
  }
  auto unanswered = take_share(plan, client, shared);
  if (!unanswered) return std::unexpected(std::move(unanswered.error()));
  auto tunnel = take_tunnel(plan, client, shared);
  if (!tunnel) return std::unexpected(std::move(tunnel.error()));
  return Admitted{&account, std::move(*unanswered), std::move(*tunnel)};
}

}  // namespace

std::expected<Admitted, NotAdmitted> admit(RequestPlan& plan, http::RequestHead& head,
                                           ClientSide& client, Shared& shared) {
  auto asked = plan_request(head);
  if (!asked) return refused(asked.error());
  plan = std::move(*asked);
  if (shared.budget.exhausted()) return overloaded(plan, shared);
  const ProxyParts& parts = shared.parts;
  const auto planned =
      plan_identity(plan, head, client.facts(),
                    {shared.options.vouches_for_identity, shared.options.anonymous_requests,
                     *shared.identity_fields},
                    shared.proofs, client.last_token(), parts.reactor.ring().wall_now());
  if (!planned) return refused(planned.error());
  if (plan.identity_fields_dropped > 0) {
    shared.count(parts.metrics.identity_fields_dropped, plan.identity_fields_dropped);
  }
  const bool proven = plan.standing == backend::Standing::proven;
  ClientAccount& account =
      shared.accounts.open(proven ? plan.client : plan.connection, client.facts().keys.network,
                           proven, client.last_account());
  auto admitted = admit_to(account, plan, client.facts(), shared);
  if (!admitted) admitted.error().account = &account;
  return admitted;
}

}  // namespace sluice::proxy
