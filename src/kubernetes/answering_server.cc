// SPDX-License-Identifier: GPL-3.0-or-later
// Who answers a request to an API server.
#include "sluice/kubernetes/answering_server.h"

#include <algorithm>
#include <string_view>

#include "sluice/kubernetes/long_running.h"

namespace sluice::kubernetes {
namespace {

// k8s.io/kubernetes pkg/controlplane/instance.go, pkg/controlplane/apiserver/apis.go, and those of
// the servers within it (apiextensions, kube-aggregator).
constexpr std::string_view own_groups[] = {
    "",
    "admissionregistration.k8s.io",
    "apiextensions.k8s.io",
    "apiregistration.k8s.io",
    "apps",
    "authentication.k8s.io",
    "authorization.k8s.io",
    "autoscaling",
    "batch",
    "certificates.k8s.io",
    "coordination.k8s.io",
    "discovery.k8s.io",
    "events.k8s.io",
    "flowcontrol.apiserver.k8s.io",
    "internal.apiserver.k8s.io",
    "networking.k8s.io",
    "node.k8s.io",
    "policy",
    "rbac.authorization.k8s.io",
    "resource.k8s.io",
    "scheduling.k8s.io",
    "storage.k8s.io",
    "storagemigration.k8s.io",
};
static_assert(std::ranges::is_sorted(own_groups));

bool is_own(std::string_view group) { return std::ranges::binary_search(own_groups, group); }

}  // namespace

bool may_be_answered_by_another(const RequestInfo& info) {
  if (info.malformed) return true;
  if (is_long_running(info) && !info.is_watch()) return true;
  if (info.is_resource) return !is_own(info.api_group);
  constexpr std::string_view apis = "/apis/";
  if (!info.path.starts_with(apis)) return info.path.starts_with("/openapi/");
  const std::string_view rest = info.path.substr(apis.size());
  return !is_own(rest.substr(0, rest.find('/')));
}

bool passed_flow_control(const http::ResponseHead& head) {
  return head.fields.contains("x-kubernetes-pf-flowschema-uid") ||
         head.fields.contains("x-kubernetes-pf-prioritylevel-uid");
}

}  // namespace sluice::kubernetes
