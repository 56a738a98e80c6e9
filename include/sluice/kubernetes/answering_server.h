// SPDX-License-Identifier: GPL-3.0-or-later
// Who answers a request to an API server.
#pragma once

#include "sluice/http/message.h"
#include "sluice/kubernetes/request_info.h"

namespace sluice::kubernetes {

// Whether another server may have made the answer: the API server hands on what belongs to an
// aggregated API (k8s.io/kube-aggregator pkg/apiserver/handler_proxy.go), also its discovery and
// its OpenAPI document, and what goes through a node, pod or service. Such an answer's status says
// nothing about the API server itself. Groups that a kube-apiserver has itself are known by name;
// all others may be anybody's.
bool may_be_answered_by_another(const RequestInfo& info);

// Every request that passed API Priority and Fairness carries its UIDs in the answer
// (k8s.io/apiserver pkg/server/filters/priority-and-fairness.go): an answer without them comes from
// a filter before it.
bool passed_flow_control(const http::ResponseHead& head);

}  // namespace sluice::kubernetes
