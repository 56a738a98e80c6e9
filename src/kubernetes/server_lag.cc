// SPDX-License-Identifier: GPL-3.0-or-later
// Requests and answers in which single API servers show.
#include "sluice/kubernetes/server_lag.h"

#include <algorithm>
#include <array>
#include <span>
#include <string>

#include "sluice/http/told_length.h"

namespace sluice::kubernetes {
namespace {

using std::string_view_literals::operator""sv;

constexpr std::array groups_that_servers_act_by = {
    "admissionregistration.k8s.io"sv, "apiextensions.k8s.io"sv, "apiregistration.k8s.io"sv,
    "rbac.authorization.k8s.io"sv};

// And what they learn from single resources of groups that hold much else.
struct Resource {
  std::string_view group;
  std::string_view name;
};
constexpr std::array resources_that_servers_act_by = {
    Resource{"", "namespaces"},                        // Pod Security, selectors of webhooks
    Resource{"networking.k8s.io", "ingressclasses"},   // the default one
    Resource{"node.k8s.io", "runtimeclasses"},         // overhead, scheduling
    Resource{"scheduling.k8s.io", "priorityclasses"},  // refuses pods that name an unknown one
    Resource{"storage.k8s.io", "storageclasses"},      // the default one
};

bool is_status_object(std::string_view type) {
  return type.starts_with("application/json") ||
         type.starts_with("application/vnd.kubernetes.protobuf") ||
         type.starts_with("application/cbor");
}

// A string of its own, not a part of one: in JSON no unescaped quote stands in a text; in the other
// two its length comes before it.
constexpr std::string_view cause = "ResourceVersionTooLarge";
constexpr std::array stale_marks = {
    R"("ResourceVersionTooLarge")"sv,
    "\x0a\x17"
    "ResourceVersionTooLarge"sv,  // Protobuf: field 1 of a StatusCause
    "\x57"
    "ResourceVersionTooLarge"sv,  // CBOR: a byte string, as API servers write texts
};
static_assert(cause.size() == 0x17);

// The same of a message. A missing object has a message of its own, which names it.
constexpr std::string_view no_such_path = "the server could not find the requested resource";
constexpr std::array no_such_path_marks = {
    R"("the server could not find the requested resource")"sv,
    "\x1a\x30"
    "the server could not find the requested resource"sv,  // Protobuf: field 3 of a Status
    "\x58\x30"
    "the server could not find the requested resource"sv,  // CBOR
};
static_assert(no_such_path.size() == 0x30);

// It may go on with what went wrong last.
constexpr std::string_view initializing = "storage is (re)initializing";

bool has_one_of(std::span<const std::string_view> marks, std::string_view body) {
  return std::ranges::any_of(marks, [&](std::string_view mark) { return body.contains(mark); });
}

constexpr std::string_view not_found_text = "404 page not found\n";

}  // namespace

bool changes_servers(const RequestInfo& info) {
  if (!info.is_resource || info.path_verb || info.malformed) return false;
  constexpr std::array verbs = {"create"sv, "update"sv, "patch"sv, "delete"sv,
                                "deletecollection"sv};
  if (std::ranges::find(verbs, info.verb) == verbs.end()) return false;
  if (std::ranges::find(groups_that_servers_act_by, info.api_group) !=
      groups_that_servers_act_by.end()) {
    return true;
  }
  // Without their status, and without what the controller of namespaces does to them.
  return info.subresource.empty() &&
         std::ranges::any_of(resources_that_servers_act_by, [&](const Resource& resource) {
           return info.api_group == resource.group && info.resource == resource.name;
         });
}

bool reads_any_version(const RequestInfo& info) {
  if (!info.is_resource) return false;
  if (info.resource_version == "0") return true;
  return info.is_watch() && info.resource_version.empty() && !info.send_initial_events;
}

bool describes_server(const RequestInfo& info) {
  if (info.is_resource) return false;
  const std::string_view path = info.path;
  const auto is_or_lies_below = [&](std::string_view folder) {
    return path.starts_with(folder) && (path.size() == folder.size() || path[folder.size()] == '/');
  };
  return is_or_lies_below("/api") || is_or_lies_below("/apis") || is_or_lies_below("/openapi") ||
         is_or_lies_below("/version");
}

ServerLag may_tell_lag(const http::ResponseHead& head) {
  ServerLag lag = ServerLag::none;
  switch (head.status) {
    case 404: lag = ServerLag::unknown_path; break;
    case 429: lag = ServerLag::initializing; break;
    case 504: lag = ServerLag::stale; break;
    default: return lag;
  }
  if (head.fields.contains("content-encoding")) return ServerLag::none;
  const std::string_view type = head.fields.find("content-type").value_or("");
  const bool as_text = lag == ServerLag::unknown_path && type.starts_with("text/plain");
  if (!as_text && !is_status_object(type)) return ServerLag::none;
  return http::told_length(head.fields).value_or(0) > lag_answer_bytes_max ? ServerLag::none : lag;
}

ServerLag lag_told_by(const http::ResponseHead& head, std::string_view body) {
  const ServerLag lag = may_tell_lag(head);
  if (body.size() > lag_answer_bytes_max) return ServerLag::none;
  bool told = false;
  switch (lag) {
    case ServerLag::none: break;
    case ServerLag::stale: told = has_one_of(stale_marks, body); break;
    case ServerLag::initializing: told = body.contains(initializing); break;
    case ServerLag::unknown_path:
      told = body == not_found_text || has_one_of(no_such_path_marks, body);
      break;
  }
  return told ? lag : ServerLag::none;
}

}  // namespace sluice::kubernetes
