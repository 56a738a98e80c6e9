// SPDX-License-Identifier: GPL-3.0-or-later
// What is done with a request.
#include "request_plan.h"

#include <algorithm>
#include <array>

#include "sluice/base/ascii.h"
#include "sluice/http/connection_fields.h"

namespace sluice::proxy {
namespace {

using backend::PoolKind;
using backend::Standing;
using kubernetes::Credential;
using kubernetes::CredentialKind;
using kubernetes::NoIdentity;
using kubernetes::RequestClass;

// A client that presented a certificate in which an API server would see nobody either, and has no
// other credential: there it would not be taken for an anonymous one.
std::optional<NoIdentity> unauthenticated(const ClientFacts& client, const Credential& credential) {
  const bool presented = client.identity || client.why_not != NoIdentity::no_certificate;
  if (!presented || credential.kind != CredentialKind::none) return std::nullopt;
  return client.identity && !client.identity_withdrawn ? NoIdentity::expired : client.why_not;
}

}  // namespace

std::expected<RequestPlan, Refusal> plan_request(const http::RequestHead& head) {
  // RFC 9113 section 8.3.1: for the server itself. API servers answer it before they ask who asks.
  const bool whole_server = head.method == "OPTIONS" && head.path == "*";
  if (const auto path = kubernetes::check_path(head.path); !path && !whole_server) {
    return std::unexpected(Refusal{ReplyReason::bad_path, 400, path.error().context});
  }
  if (head.method == "CONNECT") {
    return std::unexpected(Refusal{ReplyReason::bad_method, 405, "CONNECT is not served here"});
  }
  RequestPlan plan;
  plan.info = kubernetes::parse_request_info(head.method, head.path);
  plan.request_class =
      head.protocol.empty() ? kubernetes::classify(plan.info) : RequestClass::upgrade;
  return plan;
}

std::expected<void, Refusal> plan_identity(RequestPlan& plan, http::RequestHead& head,
                                           const ClientFacts& client, const IdentityPolicy& policy,
                                           TokenProofs& proofs, LastToken& last, WallTime now) {
  if (!client.refusal.empty()) {
    return std::unexpected(Refusal{ReplyReason::certificate_refused, 401, client.refusal,
                                   kubernetes::to_string(client.why_not)});
  }
  // A certificate that has expired on a live connection is no identity any more, as at an API
  // server, which verifies it on every request.
  const bool identified = policy.vouches && client.identity.has_value() &&
                          !client.identity_withdrawn && now <= client.identity_not_after;
  http::remove_connection_fields(head.fields);
  const Credential credential = kubernetes::classify_credential(
      head.fields, ascii::equal_ignoring_case(head.protocol, "websocket"));
  const std::optional<std::string> decoded =
      credential.base64url ? kubernetes::decode_base64url(credential.token) : std::nullopt;
  plan.client = client.keys.network;
  plan.connection = client.keys.connection;
  if (identified) {
    plan.pool = client.anonymous ? PoolKind::suspect_identity : PoolKind::identity;
    plan.user = client.identity->user;
    if (!client.anonymous) {
      plan.standing = Standing::proven;
      plan.client = client.keys.user;
    }
  } else if (credential.kind == CredentialKind::bearer && (!credential.base64url || decoded)) {
    plan.bearer = true;
    plan.token = last.hash(decoded ? *decoded : credential.token, proofs);
    const bool proven = proofs.proven(plan.token);
    plan.pool = proven ? PoolKind::bearer : PoolKind::suspect;
    plan.standing = proven ? Standing::proven : Standing::unproven;
    // Whoever makes tokens up is one client all the same; but renewals do not wait for them.
    if (proven) {
      plan.client ^= plan.token.low;
    } else if (last.has_proven()) {
      plan.client = plan.connection;
    }
  } else if (const auto why = unauthenticated(client, credential)) {
    return std::unexpected(
        Refusal{ReplyReason::unauthenticated, 401, "Unauthorized", kubernetes::to_string(*why)});
  } else {
    plan.pool = PoolKind::suspect;
    plan.anonymous = credential.kind == CredentialKind::none;
  }
  plan.identity_fields_dropped = policy.fields.sanitize(head.fields, identified).identity_fields;
  kubernetes::IdentityFields::append_forwarded_for(client.address, head.fields);
  if (identified) policy.fields.append(*client.identity, head.fields);
  return {};
}

bool is_probe(const RequestPlan& plan) {
  if (plan.info.is_resource) return false;
  return std::ranges::any_of(std::array{"/livez", "/readyz", "/healthz"},
                             [&](std::string_view path) { return plan.info.path == path; });
}

bool is_component(const ClientFacts& client) {
  return client.identity && !client.identity_withdrawn &&
         kubernetes::is_component(*client.identity);
}

bool is_never_shed(const RequestPlan& plan, const ClientFacts& client) {
  if (plan.standing != Standing::proven) return false;
  const kubernetes::RequestInfo& info = plan.info;
  const auto is = [&](std::string_view group, std::string_view resource) {
    return info.is_resource && info.api_group == group && info.resource == resource;
  };
  if (is("coordination.k8s.io", "leases") || is("authentication.k8s.io", "tokenreviews") ||
      is("authorization.k8s.io", "subjectaccessreviews") ||
      (is("", "nodes") && info.subresource == "status")) {
    return true;
  }
  return !plan.user.empty() && is_component(client);
}

}  // namespace sluice::proxy
