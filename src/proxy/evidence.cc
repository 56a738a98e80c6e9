// SPDX-License-Identifier: GPL-3.0-or-later
// Which answers are evidence.
#include "evidence.h"

#include "sluice/kubernetes/answering_server.h"

namespace sluice::proxy {

balance::RequestClass balance_class(kubernetes::RequestClass request_class) {
  switch (request_class) {
    case kubernetes::RequestClass::short_read: return balance::RequestClass::read;
    case kubernetes::RequestClass::short_write: return balance::RequestClass::write;
    case kubernetes::RequestClass::list: return balance::RequestClass::list;
    case kubernetes::RequestClass::watch: return balance::RequestClass::watch;
    case kubernetes::RequestClass::watch_list: return balance::RequestClass::watch_list;
    case kubernetes::RequestClass::long_running_other: return balance::RequestClass::long_running;
    case kubernetes::RequestClass::upgrade: return balance::RequestClass::tunnel;
  }
  return balance::RequestClass::read;
}

std::optional<balance::AnswerKind> compared_as(const RequestPlan& plan) {
  if (is_suspect(plan.pool)) return std::nullopt;
  return balance::answer_kind(balance_class(plan.request_class));
}

// A 5xx behind flow control may be a webhook's or etcd's fault, which meets all servers alike;
// those that are counted are what a server says that cannot do what it should. A list may be turned
// away because it costs more than there is, or because the server's caches are not filled yet.
Evidence evidence_of(const http::ResponseHead& head, const RequestPlan& plan, bool late) {
  const int status = head.status;
  if (status == 429) {
    const bool overload = plan.request_class != kubernetes::RequestClass::list &&
                          kubernetes::passed_flow_control(head) &&
                          !kubernetes::may_be_answered_by_another(plan.info);
    return overload ? Evidence::overload : Evidence::nothing;
  }
  const bool failed = status >= 500;
  if (!failed && !late) return Evidence::answer;
  if (kubernetes::may_be_answered_by_another(plan.info)) return Evidence::nothing;
  if (!failed) return Evidence::answer;
  const bool unable = status == 500 || status == 503 || status == 504;
  return unable || !kubernetes::passed_flow_control(head) ? Evidence::failure : Evidence::nothing;
}

}  // namespace sluice::proxy
