// SPDX-License-Identifier: GPL-3.0-or-later
// From a request's head, and what is known of its client, to what is done with it: for whom it
// travels, on which kind of connection, as which class; or how it is refused. Pure.
#pragma once

#include <expected>
#include <string>
#include <string_view>

#include "sluice/backend/connection_pool.h"
#include "sluice/kubernetes/identity_fields.h"
#include "sluice/kubernetes/long_running.h"
#include "sluice/kubernetes/request_info.h"
#include "sluice/proxy/client_side.h"
#include "sluice/proxy/local_reply.h"
#include "token_proofs.h"

namespace sluice::proxy {

// Answered by ourselves, with a Status.
struct Refusal {
  ReplyReason reason = ReplyReason::bad_path;
  int code = 400;
  std::string message;
  std::string_view why = {};  // for the access log; empty: the reason itself
};

struct RequestPlan {
  kubernetes::RequestInfo info;
  kubernetes::RequestClass request_class = kubernetes::RequestClass::short_read;
  backend::PoolKind pool = backend::PoolKind::suspect;
  std::string_view user;  // for whom we vouch; lives as long as the client's connection
  bool bearer = false;    // a token decides; this one:
  TokenHash token;
  bool anonymous = false;  // no credential at all
  // Among whom things are shared, and within it, see ClientKeys.
  std::uint64_t client = 0;
  std::uint64_t connection = 0;
  backend::Standing standing = backend::Standing::stranger;
  std::size_t identity_fields_dropped = 0;
};

struct IdentityPolicy {
  bool vouches = false;   // we have a front-proxy certificate
  bool anonymous = true;  // who has no credential may ask
  const kubernetes::IdentityFields& fields;
};

// What the request asks for.
std::expected<RequestPlan, Refusal> plan_request(const http::RequestHead& head);

// For whom it travels. On success the head is as the backend gets it: without what clients must not
// say, and with what we vouch for. `proofs` and `last` say what is known of a token.
std::expected<void, Refusal> plan_identity(RequestPlan& plan, http::RequestHead& head,
                                           const ClientFacts& client, const IdentityPolicy& policy,
                                           TokenProofs& proofs, LastToken& last, WallTime now);

// A balancer's or a service manager's question whether the API server lives.
bool is_probe(const RequestPlan& plan);

// By its certificate; see kubernetes::is_component.
bool is_component(const ClientFacts& client);

// What must be served as long as anything is, because a cluster falls apart without it: leases,
// node status, reviews of credentials and rights, and the cluster's own components. Proven ones
// only.
bool is_never_shed(const RequestPlan& plan, const ClientFacts& client);

}  // namespace sluice::proxy
