// SPDX-License-Identifier: GPL-3.0-or-later
// Classes of requests.
#include "sluice/kubernetes/long_running.h"

namespace sluice::kubernetes {

bool is_long_running(const RequestInfo& info) {
  if (info.verb == "watch" || info.verb == "proxy") return true;
  if (!info.is_resource) return info.path.starts_with("/debug/pprof/");
  const std::string_view sub = info.subresource;
  return sub == "attach" || sub == "exec" || sub == "proxy" || sub == "log" || sub == "portforward";
}

RequestClass classify(const RequestInfo& info) {
  if (info.malformed) return RequestClass::long_running_other;
  // A POST to the deprecated /watch/ has the verb, too, and must not be sent a second time.
  if (info.is_watch() && info.subresource.empty() && info.is_get) {
    return info.has_initial_events() ? RequestClass::watch_list : RequestClass::watch;
  }
  if (is_long_running(info)) return RequestClass::long_running_other;
  const std::string_view verb = info.verb;
  if (!info.is_resource) {
    if (verb == "get" || verb == "head" || verb == "options") return RequestClass::short_read;
    if (verb == "post" || verb == "put" || verb == "patch" || verb == "delete") {
      return RequestClass::short_write;
    }
    return RequestClass::long_running_other;
  }
  if (verb == "get") return RequestClass::short_read;
  if (verb == "list") return RequestClass::list;
  if (verb == "create" || verb == "update" || verb == "patch" || verb == "delete" ||
      verb == "deletecollection") {
    return RequestClass::short_write;
  }
  return RequestClass::long_running_other;
}

std::string_view to_string(RequestClass request_class) {
  switch (request_class) {
    case RequestClass::short_read: return "short_read";
    case RequestClass::short_write: return "short_write";
    case RequestClass::list: return "list";
    case RequestClass::watch: return "watch";
    case RequestClass::watch_list: return "watch_list";
    case RequestClass::long_running_other: return "long_running_other";
    case RequestClass::upgrade: return "upgrade";
  }
  return "unknown";
}

}  // namespace sluice::kubernetes
